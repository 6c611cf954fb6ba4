"""What can happen to the files of a spool that nobody is writing to."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from pathlib import Path

_PAGE_BYTES = 4096
_CHANCE = random.Random(42)


def segments(spool: Path) -> list[Path]:
    """Return the files that hold events, oldest first."""
    return sorted(path for path in spool.glob("*/*") if path.suffix in (".open", ".seg") and path.stat().st_size)


def _flip(spool: Path) -> None:
    """Turn a bit over in three places of each segment."""
    for path in segments(spool):
        data = bytearray(path.read_bytes())
        for _ in range(3):
            data[_CHANCE.randrange(64, len(data))] ^= 1 << _CHANCE.randrange(8)
        path.write_bytes(data)


def _zero(spool: Path) -> None:
    """Have a page of each segment read as zeros."""
    for path in segments(spool):
        data = bytearray(path.read_bytes())
        begin = min(_PAGE_BYTES * 3, len(data) // 2)
        data[begin : begin + _PAGE_BYTES] = bytes(len(data[begin : begin + _PAGE_BYTES]))
        path.write_bytes(data)


def _truncate(spool: Path) -> None:
    """Cut the last tenth of each segment off, in the middle of whatever is there."""
    for path in segments(spool):
        with path.open("rb+") as file:
            file.truncate(path.stat().st_size * 9 // 10)


def _forget_acks(spool: Path) -> None:
    for path in spool.glob("*/*.acks"):
        path.unlink()


def _garbage_acks(spool: Path) -> None:
    for path in spool.glob("*/*.acks"):
        path.write_bytes(_CHANCE.randbytes(4096))


def _foreign_files(spool: Path) -> None:
    for part in [path for path in spool.iterdir() if path.is_dir()]:
        (part / "core").write_bytes(b"dumped")
        (part / "99999999.open").mkdir()
        (part / "notes.txt").symlink_to("/nowhere")
    (spool / "lost+found").mkdir()
    (spool / "README").write_text("not a part")


# By name: what is done, and most of the events that may be gone then, as a share of all.
KINDS: Mapping[str, tuple[Callable[[Path], None], float]] = {
    "three bits of each segment are turned over": (_flip, 0.2),
    "a page of each segment is zeros": (_zero, 0.2),
    "the last tenth of each segment is cut off": (_truncate, 0.2),
    "the acks are gone": (_forget_acks, 0.0),
    "the acks are garbage": (_garbage_acks, 0.0),
    "files that are not the spool's": (_foreign_files, 0.0),
}
