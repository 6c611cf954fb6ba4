"""A shipper with a spool: closed twice, flushed at odd moments, and flushed to a disk that takes nothing."""

# ruff: noqa: SLF001 - what is between two steps is not to be seen from outside
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from beats_core import Receiver, Shipper
from support.shippers import closed_port, ids, put, unaccounted, wait_until

QUICK = {"backoff_init": 0.01, "backoff_max": 0.01, "spool_min_free_bytes": 0}


@pytest.fixture(params=["spool", "journal"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def new_shipper(host: str, spool: Path, durability: str, **options: Any) -> Shipper:
    return Shipper(host, spool=str(spool), durability=durability, **{**QUICK, **options})


def test_to_close_twice_changes_nothing(tmp_path: Path, durability: str, caplog: pytest.LogCaptureFixture) -> None:
    options = {"queue_mem_bytes": 64 << 10, "on_full": "block", "block_timeout": 60, "shutdown_timeout": 0.0}
    shipper = new_shipper(closed_port(), tmp_path, durability, **options)
    for number in range(1_000):
        assert shipper.put({"id": number, "message": "x" * 200})
    first = shipper.close()
    second = shipper.close()

    assert (1_000, {}) == (first.spooled, first.dropped)
    assert (1_000, {}) == (second.spooled, second.dropped)
    assert 0 == unaccounted(second)
    assert "are lost" not in caplog.text


def test_a_flush_to_disk_fails_for_what_is_only_in_memory(tmp_path: Path) -> None:
    shipper = new_shipper(closed_port(), tmp_path, "spool", spool_min_free_bytes=1 << 47, shutdown_timeout=0.1)
    put(shipper, *range(10))

    assert not shipper.flush(5, durable=True)
    assert 0 == shipper.stats().spooled
    shipper.close()


def test_a_flush_does_not_succeed_when_an_event_before_it_is_given_up(tmp_path: Path) -> None:
    host = closed_port()
    options = {"spool_max_bytes": 256 << 10, "queue_mem_bytes": 64 << 10, "on_full": "drop_oldest"}
    shipper = new_shipper(host, tmp_path, "spool", **options)
    intake: Any = shipper._delivery._intake
    spooler = intake._spooler
    number = 0
    while not spooler.given_up or spooler.spool.room > 8_000:
        assert shipper.put({"id": number, "message": "x" * 300})
        number += 1
        wait_until(lambda: not shipper.stats().inbox)
    with spooler.busy:  # the disk is slow
        for _ in range(60):
            assert shipper.put({"id": number, "message": "x" * 300})
            number += 1
        before = shipper.stats().dropped["oldest"]
        request = intake.flush()
    with Receiver(host):
        answer = request.wait(30)
        stats = shipper.close(30)

    assert stats.dropped["oldest"] > before
    assert not answer


def test_a_flush_after_the_end_is_not_deceived_by_what_came_late(tmp_path: Path, durability: str) -> None:
    with Receiver() as receiver:
        shipper = new_shipper(receiver.host, tmp_path, durability)
        put(shipper, 1)
        shipper.close()
        assert shipper.flush(1)
        put(shipper, 2)

        assert not shipper.flush(1)
        assert [1] == ids(receiver.events)


def test_a_flush_is_not_told_yes_by_the_end(tmp_path: Path) -> None:
    shipper = new_shipper(closed_port(), tmp_path, "journal")
    delivery: Any = shipper._delivery
    delivery.start = lambda: None  # the thread is slow
    put(shipper, 1)
    request = delivery._intake.flush()
    delivery._intake.end()

    assert not request.wait(5)
    assert 1 == shipper.stats().spooled
