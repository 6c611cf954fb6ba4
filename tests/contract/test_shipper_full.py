"""When there is no room in memory: refuse, give up the oldest, or wait; each exact, counted and told once."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from typing import Any

import pytest

from beats_core import Receiver, Shipper
from beats_core.inbox import OVERHEAD
from support.shippers import closed_port, ids, in_parallel, put, unaccounted, wait_until

ROOM = 64 << 10


def event(number: int, size: int = 500) -> dict[str, Any]:
    return {"id": number, "message": "x" * size}


def insist(shipper: Shipper, number: int, level: int = 20) -> None:
    """Put it until it is accepted: while our thread is about to make room, there is nothing that could give way."""
    wait_until(lambda: shipper.put(event(number), level))


def shipper_without_receiver(**options: Any) -> Shipper:
    return Shipper(closed_port(), queue_mem_bytes=ROOM, shutdown_timeout=0.05, **options)


def test_the_oldest_events_are_given_up_and_the_newest_arrive() -> None:
    host = closed_port()
    shipper = Shipper(host, queue_mem_bytes=ROOM, on_full="drop_oldest", backoff_init=0.01, backoff_max=0.01)
    for number in range(1_000):
        insist(shipper, number)
    with Receiver(host) as receiver:
        stats = shipper.close(30)
        dropped = stats.dropped["oldest"]
        arrived = ids(receiver.events)

    assert arrived == sorted(set(arrived))  # some of those between the oldest and the newest may be missing
    assert 999 == arrived[-1]
    assert stats.acked == len(arrived) == 1_000 - dropped
    assert 0 == unaccounted(stats)
    assert 1_000 - dropped > ROOM * 3 // 4 // (700 + OVERHEAD)  # no more than was needed


def test_errors_outlive_debug_lines_that_are_younger() -> None:
    host = closed_port()
    shipper = Shipper(host, queue_mem_bytes=ROOM, on_full="drop_oldest", backoff_init=0.01, backoff_max=0.01)
    for number in range(1_000):
        insist(shipper, number, level=40 if number < 10 else 10)
    wait_until(lambda: not shipper.stats().inbox)
    with Receiver(host) as receiver:
        shipper.close(30)

        assert list(range(10)) == ids(receiver.events)[:10]


def test_memory_stays_within_its_bound_when_sixteen_threads_put_and_each_loss_is_counted() -> None:
    shipper = shipper_without_receiver(on_full="drop_oldest")
    most: list[int] = []

    def body(thread: int) -> None:
        for number in range(500):
            shipper.put(event(thread * 500 + number))
            most.append(shipper.stats().waiting_bytes)

    in_parallel(16, body)
    stats = shipper.close()

    assert max(most) <= ROOM
    assert 0 == unaccounted(stats)
    assert 8_000 == stats.accepted + stats.dropped.get("full", 0)
    assert stats.accepted == stats.dropped["oldest"] + stats.dropped["shutdown"]


def test_a_flush_says_when_something_was_given_up_meanwhile() -> None:
    host = closed_port()
    shipper = Shipper(host, queue_mem_bytes=ROOM, on_full="drop_oldest", backoff_init=0.01, backoff_max=0.01)
    put(shipper, 0)
    answers: list[bool] = []
    flushing = threading.Thread(target=lambda: answers.append(shipper.flush(60)))
    flushing.start()
    for number in range(1, 1_000):
        insist(shipper, number)
    with Receiver(host):
        flushing.join(60)
        assert [False] == answers
        assert shipper.flush(60)
        shipper.close()


def test_losses_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    shipper = shipper_without_receiver(on_full="drop_oldest")
    for number in range(1_000):
        insist(shipper, number)
    wait_until(lambda: [text for text in caplog.messages if "given up" in text])
    shipper.close()

    assert 1 == len([text for text in caplog.messages if "given up" in text])


def test_waiting_for_room_loses_nothing() -> None:
    with Receiver() as receiver:
        shipper = Shipper(receiver.host, queue_mem_bytes=ROOM, on_full="block", block_timeout=60, bulk_max_size=16)

        def body(thread: int) -> None:
            for number in range(200):
                assert shipper.put(event(thread * 200 + number))

        in_parallel(16, body)
        stats = shipper.close(60)

        assert Counter(range(3_200)) == Counter(ids(receiver.events))
    assert {} == stats.dropped


def test_waiting_ends_with_the_time_for_it_and_the_event_is_refused_and_counted() -> None:
    shipper = shipper_without_receiver(on_full="block", block_timeout=0.05)
    accepted = [shipper.put(event(number)) for number in range(120)]
    stats = shipper.close()

    assert accepted == sorted(accepted, reverse=True)
    assert {"full": accepted.count(False), "shutdown": accepted.count(True)} == stats.dropped


def test_a_thread_that_runs_an_event_loop_never_waits() -> None:
    shipper = shipper_without_receiver(on_full="block", block_timeout=3_600)

    async def log() -> list[bool]:
        return [shipper.put(event(number)) for number in range(200)]

    assert asyncio.run(log()).count(False)  # and not after an hour
    shipper.close()


def test_who_waits_for_room_is_refused_when_the_shipper_closes() -> None:
    shipper = shipper_without_receiver(on_full="block", block_timeout=3_600)
    refused: list[bool] = []

    def body() -> None:
        while shipper.put(event(1)):
            pass
        refused.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    wait_until(lambda: shipper.stats().waiting_bytes > ROOM * 8 // 10)
    stats = shipper.close()
    thread.join(30)

    assert [True] == refused
    assert 0 == unaccounted(stats)
