"""The spool behind the intake thread, with a failure or another thread in between two of its steps."""

# ruff: noqa: SLF001 - what is between two steps is not to be seen from outside
from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from beats_core import Receiver, Shipper
from beats_core.spool import Important
from support.faulty_os import FaultyOs, faulty_os
from support.shippers import closed_port, put, unaccounted
from support.spools import MUCH, events, make, read_all

QUICK = {"backoff_init": 0.01, "backoff_max": 0.01, "spool_min_free_bytes": 0}


@pytest.fixture
def system() -> Iterator[FaultyOs]:
    with faulty_os() as system:
        yield system


def without_threads(spool: Path, **options: Any) -> Shipper:
    """A shipper whose threads never start: who tests does their work, step by step."""
    shipper = Shipper(closed_port(), spool=str(spool), **{**QUICK, "shutdown_timeout": 0.0, **options})
    delivery: Any = shipper._delivery
    delivery.start = lambda: None
    return shipper


def test_a_flush_waits_for_what_is_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipper = without_threads(tmp_path, durability="journal")
    intake: Any = shipper._delivery._intake
    put(shipper, *range(10))
    request = intake.flush()
    spool = intake._spooler.spool
    read = spool.read

    def read_slowly(*limits: int) -> list[bytes]:
        payloads: list[bytes] = read(*limits)
        with intake.settling():  # a sender is at it meanwhile
            pass
        return payloads

    monkeypatch.setattr(spool, "read", read_slowly)
    request.until = 10
    intake._inbox.drain()
    intake._flushes.append(request)
    intake.move()

    assert not request.wait(0)


def test_what_was_read_when_reading_failed_comes_with_the_next_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for number in range(4):
        spool.append(events(number))
    finish = spool._reader.finish

    def fail(segment: object) -> None:
        monkeypatch.setattr(spool._reader, "finish", finish)
        raise MemoryError

    monkeypatch.setattr(spool._reader, "finish", fail)
    with pytest.raises(MemoryError):
        spool.read(100, MUCH)

    assert events(0, 1, 2, 3) == read_all(spool)


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENOMEM])
def test_what_cannot_be_read_for_now_is_rescued_later(tmp_path: Path, system: FaultyOs, error: int) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for number in range(3):
        spool.append(events(number))
    system.arm(1, errno.EIO, ("fdatasync",))
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*arguments: Any) -> int:
            raise OSError(error, os.strerror(error))

        patch.setattr("beats_core.spool.segment.Segment.open", refuse)
        spool.sync()
    assert spool.sync_failures

    assert set(events(0, 1, 2)) == set(read_all(spool))
    assert 0 == spool.lost


def test_what_cannot_be_read_for_now_is_not_given_up_as_damaged(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    spool.append([Important(b"1"), b"2" * 100])
    spool.append(events(3))
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*arguments: Any) -> int:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        patch.setattr("beats_core.spool.segment.Segment.open", refuse)
        spool.drop_oldest()

    assert 3 == len(read_all(spool))
    assert 0 == spool.lost


class Hostile(logging.Handler):
    """A handler of the application's that fails."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("no")


@pytest.fixture
def hostile_logging() -> Iterator[None]:
    handler = Hostile()
    logger = logging.getLogger("beats_core")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("hostile_logging")
def test_a_handler_that_raises_stops_no_event_when_the_disk_is_full(tmp_path: Path) -> None:
    shipper = without_threads(tmp_path)
    intake: Any = shipper._delivery._intake
    volume = intake._spooler.spool._volume
    volume.min_free_bytes = 1 << 60
    put(shipper, 1)
    for _ in range(3):
        with suppress(RuntimeError):
            intake.move()
        intake._spooler._retry_at = 0.0
    assert 1 == shipper._delivery._backlog.appended
    volume.min_free_bytes = 0
    put(shipper, 2)
    for _ in range(3):
        with suppress(RuntimeError):
            intake.move()
    assert 2 == shipper._delivery._backlog.appended
    assert 0 == unaccounted(shipper.stats())


@pytest.mark.usefixtures("hostile_logging")
def test_a_handler_that_raises_makes_no_flush_forgotten(tmp_path: Path) -> None:
    dead = make(tmp_path)
    dead.append(events(1))
    dead.abandon()
    with Receiver() as receiver:
        options: Any = QUICK
        shipper = Shipper(receiver.host, spool=str(tmp_path), **options)
        delivery: Any = shipper._delivery
        delivery.start = lambda: None
        put(shipper, 2)
        request = delivery._intake.flush()
        del delivery.start
        delivery.start()

        assert request.wait(10)
        assert 2 == len(receiver.events)
        shipper.close()
