"""What was accepted and what arrived, kept by the processes that know it, and the sum that is drawn afterwards.

Each process appends to a file of its own, one record of a fixed size per event, with one system call: what a killed
process had noted is there, and a file's size says how many events it names. An event's text follows from its numbers,
so that what arrived can be told from what was damaged or invented, without asking the producer.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

RECORD_BYTES = 62
DAMAGED = "-" * 40


class Entry(NamedTuple):
    """One event, as either side has noted it."""

    pid: int
    thread: int
    seq: int
    sha1: str

    def record(self) -> bytes:
        return f"{self.pid:7} {self.thread:3} {self.seq:8} {self.sha1}\n".encode()


class Ledger:
    """A file that entries are appended to, from any thread of any process."""

    def __init__(self, path: str | Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        # A killed process can have written a part of its last record: the kernel writes page by page.
        os.ftruncate(self._descriptor, os.fstat(self._descriptor).st_size // RECORD_BYTES * RECORD_BYTES)

    def note(self, *entries: Entry) -> None:
        # Not `write`: the rows that make the spool's writes fail, or kill at them, are not to mean this one.
        os.writev(self._descriptor, [b"".join(entry.record() for entry in entries)])

    def close(self) -> None:
        os.close(self._descriptor)


def count(path: Path) -> int:
    """Return how many entries a ledger has; 0 if there is none."""
    return path.stat().st_size // RECORD_BYTES if path.exists() else 0


def read(path: Path) -> list[Entry]:
    if not path.exists():
        return []
    lines = path.read_text()[: count(path) * RECORD_BYTES].splitlines()
    return [Entry(int(line[:7]), int(line[8:11]), int(line[12:20]), line[21:]) for line in lines]


def text(run: str, pid: int, thread: int, seq: int, size: int) -> str:
    """Return what the event with these numbers says: so many characters that hardly can be compressed."""
    return hashlib.shake_128(f"{run} {pid} {thread} {seq}".encode()).hexdigest((size + 1) // 2)[:size]


def sha1(said: str) -> str:
    return hashlib.sha1(said.encode(), usedforsecurity=False).hexdigest()


def make_event(run: str, pid: int, thread: int, seq: int, size: int) -> tuple[dict[str, Any], Entry]:
    said = text(run, pid, thread, seq, size)
    entry = Entry(pid, thread, seq, sha1(said))
    return {"run": run, **entry._asdict(), "size": size, "text": said}, entry


def arrival(payload: bytes) -> Entry:
    """Return what arrived, by the hash of what is there, not by the one that it brought along."""
    try:
        event = json.loads(payload)
        # What else was damaged shows here, too: the text must follow from the numbers.
        said = text(event["run"], event["pid"], event["thread"], event["seq"], event["size"])
        whole = said == event["text"] and event["sha1"] == sha1(said)
        return Entry(event["pid"], event["thread"], event["seq"], event["sha1"] if whole else DAMAGED)
    except (KeyError, TypeError, ValueError):
        return Entry(0, 0, 0, DAMAGED)


@dataclass(frozen=True)
class Balance:
    """The sum of both sides.

    Attributes:
        missing: Accepted, and did not arrive.
        duplicated: How many arrivals were not the first.
        damaged: How many arrivals were not what anybody put.
        unclaimed: Arrived whole, and no ledger says it was accepted: the process ended between the two.
    """

    accepted: int
    arrived: int
    missing: frozenset[Entry]
    duplicated: int
    damaged: int
    unclaimed: int


def balance(accepted: Iterable[Entry], arrivals: Iterable[Entry]) -> Balance:
    claimed = set(accepted)
    counted = Counter(arrivals)
    whole = {entry for entry in counted if entry.sha1 != DAMAGED}
    return Balance(
        accepted=len(claimed),
        arrived=len(claimed & whole),
        missing=frozenset(claimed - whole),
        duplicated=sum(counted[entry] - 1 for entry in whole),
        damaged=counted.total() - sum(counted[entry] for entry in whole),
        unclaimed=len(whole - claimed),
    )


def tally(accepted: Iterable[Path], arrived: Iterable[Path], threads: int, events: int) -> Balance:
    """Draw the sum of one producer's many events, in a byte for each instead of an entry."""
    claims, arrivals = ([bytearray(events) for _ in range(threads)] for _ in range(2))
    damaged = 0
    for paths, counts in ((accepted, claims), (arrived, arrivals)):
        for path in paths:
            for record in _records(path):
                if record.endswith(DAMAGED.encode()):
                    damaged += 1
                    continue
                thread, seq = int(record[8:11]), int(record[12:20])
                counts[thread][seq] = min(255, counts[thread][seq] + 1)
    accepted_count = arrived_count = duplicated = unclaimed = 0
    missing = []
    for thread in range(threads):
        for seq, (claim, arrival) in enumerate(zip(claims[thread], arrivals[thread], strict=True)):
            accepted_count += claim > 0
            arrived_count += claim > 0 and arrival > 0
            duplicated += max(0, arrival - 1)
            unclaimed += arrival > 0 and not claim
            if claim and not arrival:
                missing.append(Entry(0, thread, seq, ""))
    return Balance(accepted_count, arrived_count, frozenset(missing), duplicated, damaged, unclaimed)


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(RECORD_BYTES * 10_000):
            for position in range(0, len(block) - RECORD_BYTES + 1, RECORD_BYTES):
                yield block[position : position + RECORD_BYTES - 1]
