"""Senders settle while the owner appends, reads, rolls, syncs and adopts."""

from __future__ import annotations

import os
import random
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.shippers import in_parallel
from support.spools import ENDLESS, adopted, died, events, files, make, read_all, settle_all

EVENTS = 3000
SENDERS = 4


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Have CPython change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Ledger:
    """What the Backlog is to a spool: it knows which of the events it was given are not settled."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.known = 0
        self.leases: list[tuple[int, int]] = []
        self.taken: list[bytes] = []

    def append(self, payloads: list[bytes]) -> None:
        with self.lock:
            self.leases.append((self.known, self.known + len(payloads)))
            self.known += len(payloads)
            self.taken += payloads

    def ack(self, chance: random.Random) -> list[tuple[int, int]] | None:
        """Settle a part of some lease and return what is not settled then."""
        with self.lock:
            if not self.leases:
                return None
            place = chance.randrange(min(5, len(self.leases)))
            first, end = self.leases.pop(place)
            first += chance.randint(1, end - first)
            if first < end:
                self.leases.insert(place, (first, end))
            return [*self.leases, (self.known, ENDLESS)]


@pytest.mark.parametrize("fsync", ["none", "second", "each"])
def test_senders_settle_while_the_owner_works(tmp_path: Path, often_switching: None, fsync: str) -> None:
    for number in range(5):
        old = make(tmp_path)
        old.append(events(*range(number * 100, number * 100 + 100)))
        died(old)
    spool = make(tmp_path, segment_bytes=1000, fsync=fsync)
    ledger = Ledger()
    ended = threading.Event()

    def own() -> None:
        chance = random.Random(0)
        number = 500
        while number < EVENTS:
            batch = events(*range(number, min(EVENTS, number + chance.randint(1, 20))))
            number += len(batch)
            if spool.append(batch, read=True):
                ledger.append(batch)
            if chance.random() < 0.3:
                take(chance.randint(1, 50))
            if chance.random() < 0.05:
                spool.adopt()
                spool.sync()
                spool.tend()
        while spool.unread or spool.adopt():
            take(100)
        ended.set()

    def take(most: int) -> None:
        if taken := spool.read(most, 1 << 20):
            ledger.append(taken)

    def send(sender: int) -> None:
        chance = random.Random(sender)
        over = False
        while not over:
            over = ended.is_set()
            while (unsettled := ledger.ack(chance)) is not None:
                spool.settle(unsettled)

    in_parallel(1 + SENDERS, lambda number: own() if not number else send(number))

    assert events(*range(EVENTS)) == sorted(ledger.taken, key=lambda event: int(event[5:-1]))
    spool.tend()
    assert (0, 0, 0, 0) == (spool.unread, spool.events, spool.lost, spool.damaged)
    assert spool.bytes == sum(path.stat().st_size for path in files(tmp_path, [".open", ".seg", ".acks"]))
    spool.close()
    assert [] == os.listdir(tmp_path)


def test_a_death_in_the_middle_of_it_leaves_what_was_not_settled(tmp_path: Path, often_switching: None) -> None:
    """What the disk holds after each settle is what it said."""
    spool = make(tmp_path, segment_bytes=400)
    ledger = Ledger()
    for number in range(0, 300, 10):
        batch = events(*range(number, number + 10))
        assert spool.append(batch, read=True)
        ledger.append(batch)

    def send(sender: int) -> None:
        for number in range(sender, 40, SENDERS):
            spool.settle(ledger.ack(random.Random(number)) or [])

    in_parallel(SENDERS, send)
    died(spool)

    expected = [event for first, end in ledger.leases for event in ledger.taken[first:end]]
    again = adopted(tmp_path)
    assert expected == read_all(again)
    settle_all(again)
    again.close()
    assert [] == os.listdir(tmp_path)
