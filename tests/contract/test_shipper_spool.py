"""A shipper with a spool: what it accepted is on disk until it is acknowledged, and the next process finds it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from beats_core import OptionError, Receiver, Shipper
from support.consumer import Consumer
from support.shippers import closed_port, ids, in_parallel, put, unaccounted, wait_until

QUICK = {"backoff_init": 0.01, "backoff_max": 0.01, "spool_min_free_bytes": 0}


@pytest.fixture(params=["spool", "journal"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def new_shipper(host: str, spool: Path, durability: str, **options: Any) -> Shipper:
    return Shipper(host, spool=str(spool), durability=durability, **{**QUICK, **options})


def insist(shipper: Shipper, event: dict[str, Any], level: int) -> None:
    wait_until(lambda: shipper.put(event, level))


def left_on_disk(spool: Path) -> list[Path]:
    return [path for path in spool.rglob("*") if path.is_file()]


def test_what_is_put_arrives_in_order_and_leaves_nothing_on_disk(
    receiver: Receiver, tmp_path: Path, durability: str
) -> None:
    shipper = new_shipper(receiver.host, tmp_path, durability)
    put(shipper, *range(5_000))
    stats = shipper.close()

    assert list(range(5_000)) == ids(receiver.events)
    assert (5_000, 5_000, 0, 0) == (stats.accepted, stats.acked, stats.pending, stats.spooled)
    assert {} == stats.dropped
    assert [] == left_on_disk(tmp_path)


def test_nothing_is_written_before_the_first_event(tmp_path: Path, durability: str) -> None:
    new_shipper(closed_port(), tmp_path, durability).close()

    assert [] == list(tmp_path.iterdir())


def test_what_nobody_took_is_left_for_the_next_shipper(tmp_path: Path, durability: str) -> None:
    host = closed_port()
    first = new_shipper(host, tmp_path, durability, shutdown_timeout=0.1)
    put(first, *range(1_000))
    stats = first.close()
    assert (1_000, 0, 1_000, 1_000) == (stats.accepted, stats.acked, stats.pending, stats.spooled)
    assert {} == stats.dropped
    assert 0 == unaccounted(stats)

    with Receiver(host) as receiver:
        second = new_shipper(host, tmp_path, durability)
        put(second, 1_000)
        stats = second.close()

        assert list(range(1_001)) == ids(receiver.events)
    assert (1, 1_000, 1_001, 0) == (stats.accepted, stats.adopted, stats.acked, stats.spooled)
    assert [] == left_on_disk(tmp_path)


def test_a_flush_waits_for_what_is_on_disk(receiver: Receiver, tmp_path: Path, durability: str) -> None:
    with new_shipper(receiver.host, tmp_path, durability, bulk_max_size=16) as shipper:
        for number in range(10):
            put(shipper, *range(number * 300, number * 300 + 300))
            assert shipper.flush(30)
            assert number * 300 + 300 == len(receiver.events)


def test_a_flush_to_disk_needs_no_receiver(tmp_path: Path, durability: str) -> None:
    shipper = new_shipper(closed_port(), tmp_path, durability, shutdown_timeout=0.1)
    put(shipper, *range(100))

    assert shipper.flush(30, durable=True)
    assert not shipper.flush(0.05)
    assert 100 == shipper.stats().spooled
    shipper.close()


def test_without_a_spool_nothing_can_be_flushed_to_disk(receiver: Receiver) -> None:
    with Shipper(receiver.host) as shipper:
        put(shipper, 1)

        assert not shipper.flush(5, durable=True)


def test_more_than_memory_holds_waits_on_disk(tmp_path: Path, durability: str) -> None:
    host = closed_port()
    shipper = new_shipper(host, tmp_path, durability, queue_mem_bytes=64 << 10, on_full="block", block_timeout=60)
    for number in range(3_000):
        assert shipper.put({"id": number, "message": "x" * 200})
    wait_until(lambda: shipper.stats().spooled == 3_000)
    assert 0 == unaccounted(shipper.stats())
    with Receiver(host) as receiver:
        stats = shipper.close(60)

        assert list(range(3_000)) == ids(receiver.events)
    assert (3_000, 0) == (stats.acked, stats.spooled)


def test_sixteen_threads_lose_and_repeat_nothing(receiver: Receiver, tmp_path: Path, durability: str) -> None:
    shipper = new_shipper(receiver.host, tmp_path, durability, bulk_max_size=100)
    in_parallel(16, lambda thread: put(shipper, *range(thread * 500, thread * 500 + 500)))
    stats = shipper.close(60)

    assert Counter(range(8_000)) == Counter(ids(receiver.events))
    assert 8_000 == stats.accepted == stats.acked


def test_a_full_spool_refuses_the_newest_and_goes_on_when_there_is_room(tmp_path: Path, durability: str) -> None:
    host = closed_port()
    options = {"spool_max_bytes": 256 << 10, "queue_mem_bytes": 64 << 10, "on_full": "block", "block_timeout": 0.5}
    shipper = new_shipper(host, tmp_path, durability, **options)
    accepted: list[int] = []
    while shipper.put({"id": len(accepted), "message": "x" * 300}):
        accepted.append(len(accepted))
    assert len(accepted) > 300
    assert shipper.stats().spool_bytes <= (256 << 10) + 8192  # the journal's next segment may begin at the last moment
    with Receiver(host) as receiver:
        assert shipper.flush(60)
        put(shipper, len(accepted))
        stats = shipper.close(60)

        assert [*accepted, len(accepted)] == ids(receiver.events)
    assert {"full": 1} == stats.dropped


def test_a_full_spool_gives_up_the_oldest_but_keeps_errors(tmp_path: Path, durability: str) -> None:
    host = closed_port()
    options = {"spool_max_bytes": 256 << 10, "queue_mem_bytes": 32 << 10, "on_full": "drop_oldest"}
    shipper = new_shipper(host, tmp_path, durability, **options)
    for number in range(3_000):
        insist(shipper, {"id": number, "message": "x" * 300}, level=40 if number in (500, 501) else 20)
    with Receiver(host) as receiver:
        stats = shipper.close(60)

        arrived = ids(receiver.events)
    assert {500, 501, 2_999} <= set(arrived)
    assert len(arrived) == len(set(arrived)) == stats.acked
    assert stats.accepted == stats.acked + stats.dropped["oldest"]
    assert 0 == unaccounted(stats)


def test_what_comes_after_the_end_is_left_on_disk(receiver: Receiver, tmp_path: Path, durability: str) -> None:
    first = new_shipper(receiver.host, tmp_path, durability)
    put(first, 1)
    first.close()
    put(first, 2, 3)
    stats = first.stats()
    assert (3, 1, 2, 2) == (stats.accepted, stats.acked, stats.pending, stats.spooled)
    assert 0 == unaccounted(stats)


def test_a_dead_letter_is_kept_with_what_is_known_of_it(tmp_path: Path, durability: str) -> None:
    def consume(window: Any) -> None:
        if any(b"poison" in payload for payload in window.payloads):
            raise ValueError("poison")

    with Receiver(consume=consume) as receiver:
        shipper = new_shipper(receiver.host, tmp_path, durability, bulk_max_size=4)
        put(shipper, 1)
        assert shipper.put({"message": "poison"})
        number = 2
        while not shipper.stats().dead:
            put(shipper, number)
            shipper.flush(0.01)
            number += 1
        stats = shipper.close(30)
    [letter] = [json.loads(line) for line in (tmp_path / "dead-letters.ndjson").read_text().splitlines()]

    assert 1 == stats.dead
    assert "poison" == json.loads(letter["event"])["message"]
    assert ("refused while others were accepted", receiver.host) == (letter["reason"], letter["receiver"])
    assert letter["attempts"] >= 6
    assert letter["time"].endswith("Z")


def test_a_dead_letter_that_is_too_large_is_kept_too(receiver: Receiver, tmp_path: Path, durability: str) -> None:
    options = {"max_event_bytes": 1_000, "on_too_large": "dead_letter"}
    with new_shipper(receiver.host, tmp_path, durability, **options) as shipper:
        put(shipper, 1)
        assert shipper.put({"id": 2, "message": "x" * 2_000})
        put(shipper, 3)
    [letter] = [json.loads(line) for line in (tmp_path / "dead-letters.ndjson").read_text().splitlines()]

    assert [1, 3] == ids(receiver.events)
    assert "max_event_bytes" in letter["reason"]
    assert (3, 1) == (shipper.stats().accepted, shipper.stats().dead)
    assert 0 == unaccounted(shipper.stats())


def test_an_event_in_flight_at_the_end_is_left_on_disk_too(tmp_path: Path, durability: str) -> None:
    consumer = Consumer()
    consumer.go_on.clear()
    with Receiver(consume=consumer) as receiver:
        shipper = new_shipper(receiver.host, tmp_path, durability)
        put(shipper, 1, 2)
        consumer.begun.acquire()
        stats = shipper.close(0.1)
        consumer.go_on.set()

    assert (2, 0, {}) == (stats.spooled, stats.acked, stats.dropped)


@pytest.mark.parametrize("durability", ["spool", "journal"])
def test_to_be_durable_needs_a_directory(durability: str) -> None:
    with pytest.raises(OptionError, match=r"durability='.*': needs a directory"):
        Shipper(closed_port(), durability=durability)


def test_a_directory_that_cannot_be_made_is_an_error_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OptionError, match=f"spool='{tmp_path}/file/beats'"):
        Shipper(closed_port(), spool=str(tmp_path / "file" / "beats"))


def test_with_durability_memory_a_directory_is_left_alone(receiver: Receiver, tmp_path: Path) -> None:
    with new_shipper(receiver.host, tmp_path, "memory") as shipper:
        put(shipper, 1)

    assert [] == list(tmp_path.iterdir())
