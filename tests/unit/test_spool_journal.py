"""The journal: any thread writes an event of its own accord, and whatever it is in the middle of."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core.errors import SpoolError
from beats_core.spool import Important, Spool
from beats_core.spool.records import encode_event
from support.shippers import in_parallel
from support.spools import MUCH, adopted, died, events, files, make, read_all, settle_all


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Have CPython change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def journal(directory: Path, **options: object) -> Spool:
    return make(directory, journal=True, **options)


def test_what_is_written_is_there_for_this_life_and_the_next(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    assert [] == os.listdir(tmp_path)
    for event in events(1, 2, 3):
        spool.write(event)
    assert (3, 3) == (spool.unread, spool.events)
    assert events(1, 2) == spool.read(2, MUCH)
    spool.settle([(1, 2)])
    spool.write(Important(b"4"))
    died(spool)

    again = adopted(tmp_path)
    found = read_all(again)
    assert [*events(2, 3), b"4"] == found
    assert [bytes, bytes, Important] == [type(event) for event in found]
    settle_all(again)
    again.close()
    assert [] == os.listdir(tmp_path)


def test_sixteen_threads_write_and_one_reads_and_rolls(tmp_path: Path, often_switching: None) -> None:
    """Every event once, those of one thread in order."""
    threads, each = 16, 400
    spool = journal(tmp_path, segment_bytes=2000, fsync="none")
    found: list[bytes] = []
    writing = threading.Event()

    def read() -> None:
        while not writing.is_set() or spool.unread:
            taken = spool.read(50, MUCH)
            found.extend(taken)
            spool.settle([])
            if not taken:
                spool.tend()

    def write(thread: int) -> None:
        for number in range(each):
            spool.write(b"%d %d" % (thread, number))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        in_parallel(threads, write)
    finally:
        writing.set()
        reader.join()

    pairs = [tuple(map(int, event.split())) for event in found]
    assert [(thread, number) for thread in range(threads) for number in range(each)] == sorted(pairs)
    for thread in range(threads):
        assert list(range(each)) == [number for one, number in pairs if one == thread]
    assert (0, 0, 0, 0) == (spool.events, spool.lost, spool.damaged, spool.torn)
    spool.tend()
    spool.close()
    assert [] == os.listdir(tmp_path)


def test_of_sixteen_threads_that_write_first_at_once_none_is_refused(tmp_path: Path, often_switching: None) -> None:
    for attempt in range(20):
        spool = journal(tmp_path / str(attempt))
        in_parallel(16, lambda number, spool=spool: spool.write(b"%d" % number))  # type: ignore[misc]
        assert sorted(b"%d" % number for number in range(16)) == sorted(read_all(spool))
        settle_all(spool)
        spool.close()
        assert [] == os.listdir(tmp_path / str(attempt))


@pytest.mark.parametrize("first", [True, False])
def test_a_finaliser_writes_in_the_middle_of_a_write(tmp_path: Path, first: bool) -> None:  # noqa: FBT001
    spool = journal(tmp_path, segment_bytes=1000)
    numbers = itertools.count()

    class Dying:
        def __init__(self) -> None:
            self.me = self

        def __del__(self) -> None:
            spool.write(b"finaliser %d" % next(numbers))

    before = gc.get_threshold()
    written = 0
    gc.collect()
    gc.set_threshold(1)
    try:
        if not first:
            spool.write(b"begin")
            written = 1
        for _ in range(300):
            Dying()
            spool.write(b"own")
            spool.tend()
            written += 1
    finally:
        gc.set_threshold(*before)
    gc.collect()

    found = read_all(spool)
    assert 300 == next(numbers) == sum(event.startswith(b"finaliser") for event in found)
    assert 300 + written == len(found)
    spool.close()


@pytest.mark.parametrize("segment_bytes", [1, 10_000])
def test_a_signal_handler_writes_in_the_middle_of_a_write(tmp_path: Path, segment_bytes: int) -> None:
    spool = journal(tmp_path, segment_bytes=segment_bytes, fsync="none")
    numbers = itertools.count()
    before = signal.signal(signal.SIGALRM, lambda *_: spool.write(b"handler %d" % next(numbers)))
    spool.write(b"own 0")
    written = 1
    signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
    try:
        deadline = time.monotonic() + 0.7
        while time.monotonic() < deadline:
            spool.write(b"own %d" % written)
            written += 1
            if written % 50 == 0:
                spool.tend()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    handled = next(numbers)
    assert handled > 20
    found = read_all(spool)
    assert [b"own %d" % number for number in range(written)] == [event for event in found if event.startswith(b"own")]
    assert [b"handler %d" % number for number in range(handled)] == sorted(
        (event for event in found if event.startswith(b"handler")), key=lambda event: int(event.split()[1])
    )


def test_a_signal_handler_writes_first_while_the_part_is_being_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = journal(tmp_path)
    real = os.rename

    def interrupted(*paths: str) -> None:
        monkeypatch.setattr(os, "rename", real)
        spool.write(b"handler")
        real(*paths)

    monkeypatch.setattr(os, "rename", interrupted)
    spool.write(b"own")

    assert [b"handler", b"own"] == read_all(spool)
    assert 1 == len(os.listdir(tmp_path))


def test_signals_that_come_sooner_than_a_part_can_be_made_end_somewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = journal(tmp_path)
    real = os.rename
    results = []

    def interrupted(*paths: str) -> None:
        try:
            spool.write(b"handler")
            results.append("kept")
        except SpoolError:
            results.append("refused")
        real(*paths)

    monkeypatch.setattr(os, "rename", interrupted)
    spool.write(b"own")

    assert ["refused", "kept", "kept", "kept", "kept"] == results
    assert [b"handler"] * 4 + [b"own"] == read_all(spool)
    settle_all(spool)
    spool.close()
    assert [] == os.listdir(tmp_path)


def test_a_segment_is_not_closed_under_a_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Although it is rolled, and closed, while the writer is in the middle of his write."""
    spool = journal(tmp_path, segment_bytes=1)
    spool.write(b"first")
    real = os.write

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", real)
        spool.tend()  # rolls
        spool.write(b"other")
        assert [b"first"] == spool.read(9, MUCH)  # what comes behind could be out of line
        spool.settle([])
        spool.tend()
        return real(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    spool.write(b"own")

    assert [b"own", b"other"] == read_all(spool)
    spool.tend()
    settle_all(spool)
    assert (0, 1) == (spool.events, spool.segments)


def test_closing_waits_for_writers_and_no_longer_than_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its part stays locked then: what is just being written is for the next life, and nobody else has it before."""
    spool = journal(tmp_path)
    spool.write(b"first")
    real = os.write

    def interrupted(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", real)
        began = time.monotonic()
        spool.close()
        assert 0.5 < time.monotonic() - began < 5
        assert 0 == make(tmp_path).adopt()
        return real(fd, data)

    monkeypatch.setattr(os, "write", interrupted)
    spool.write(b"own")
    (path,) = files(tmp_path)
    assert path.read_bytes().endswith(encode_event(b"first") + encode_event(b"own"))
