"""Spool directories as they are found: with parts of processes that live, were killed, or are of another version."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from beats_core.letters import FILE, Letter

REPOSITORY = Path(__file__).parents[2]
NOBODY = "127.0.0.1:1"
_PROGRAM = """
import json, sys, time
from beats_core import Shipper
host, spool, durability, options, first, count = sys.argv[1:7]
shipper = Shipper(host, spool=spool, durability=durability, spool_min_free_bytes=0, backoff_init=0.01,
                  backoff_max=0.05, **json.loads(options))
for number in range(int(first), int(first) + int(count)):
    assert shipper.put({"id": number, "message": f"order {number}", "level": "INFO"})
assert shipper.flush(30, durable=True)
print("kept", flush=True)
while True:
    time.sleep(0.001)
    if "busy" in sys.argv:
        shipper.put({"id": -1, "message": "x" * 200})
"""


@contextmanager
def living(
    spool: Path,
    *ids: int,
    host: str = NOBODY,
    durability: str = "spool",
    options: str = "{}",
    busy: bool = False,
) -> Iterator[subprocess.Popen[str]]:
    """Have a process with these events in its spool, and kill it in the end. It takes over what dead ones left."""
    first, count = (ids[0], len(ids)) if ids else (0, 0)
    arguments = [host, str(spool), durability, options, str(first), str(count), *(["busy"] if busy else [])]
    process = subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )
    with process:
        try:
            assert process.stdout is not None
            assert "kept\n" == process.stdout.readline()
            yield process
        finally:
            process.send_signal(signal.SIGKILL)


def left_by_a_killed(spool: Path, *ids: int, host: str = NOBODY, durability: str = "spool") -> Path:
    """Have a process keep these events and be killed; return its part."""
    before = set(parts_of(spool))
    with living(spool, *ids, host=host, durability=durability):
        pass
    (part,) = set(parts_of(spool)) - before
    return part


def parts_of(spool: Path) -> list[Path]:
    return sorted(path for path in spool.glob("*-*-*-*") if path.is_dir() and not path.name.startswith("dead"))


def segments_of(part: Path) -> list[Path]:
    return sorted(path for path in part.iterdir() if path.suffix in (".open", ".seg"))


def make_foreign(part: Path, version: int = 2) -> None:
    """Have the first segment be of another format, as a future version would write it."""
    name = b"BEATSPL" + bytes((version,))
    segment = segments_of(part)[0]
    segment.write_bytes(name + zlib.crc32(name).to_bytes(4, "big") + b"who knows what")


def damage(part: Path) -> tuple[Path, int]:
    """Flip a byte in the middle of the first segment; return it and where that is."""
    segment = segments_of(part)[0]
    content = bytearray(segment.read_bytes())
    place = len(content) // 2
    content[place] ^= 0xFF
    segment.write_bytes(content)
    return segment, place


def add_letters(spool: Path, *events: str, time: str = "2026-01-17T08:00:00.123Z") -> Path:
    """Write dead letters as a process does."""
    path = spool / FILE
    with path.open("ab") as file:
        for event in events:
            letter = Letter(
                time=time, reason="refused while others were accepted", receiver="ls1:5044", attempts=6, event=event
            )
            file.write(msgspec.json.encode(letter) + b"\n")
    return path


def snapshot(spool: Path) -> dict[str, tuple[int, bytes]]:
    """All files there are: their inodes and contents."""
    return {
        str(path.relative_to(spool)): (path.stat().st_ino, path.read_bytes())
        for path in spool.rglob("*")
        if path.is_file()
    }
