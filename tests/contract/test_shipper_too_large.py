"""What becomes of an event that is too large: dropped, shortened, or a dead letter, and always counted."""

from __future__ import annotations

from typing import Any

import pytest

from beats_core import Client, EventTooLarge, Receiver, Shipper, Stats
from beats_core.errors import HEAD_BYTES
from support.shippers import closed_port, ids, in_parallel, put, unaccounted, wait_until

LARGE = {"id": 7, "message": "x" * 10_000}


def test_dropped_it_is_refused_and_counted() -> None:
    with Receiver() as receiver, Shipper(receiver.host, max_event_bytes=1_000) as shipper:
        assert not shipper.put(LARGE)
        assert shipper.put({"message": "x" * 500})

        assert {"too_large": 1} == shipper.close().dropped


def test_truncated_it_arrives_with_a_tag() -> None:
    options: dict[str, Any] = {"max_event_bytes": 1_000, "on_too_large": "truncate"}
    with Receiver() as receiver:
        with Shipper(receiver.host, **options) as shipper:
            assert shipper.put(LARGE)
            assert shipper.put(b'{"id": 8, "message": "' + b"y" * 10_000 + b'"}')
            assert not shipper.put({str(number): number for number in range(1_000)})
            assert not shipper.put(b'{"id": 9, "message": nonsense' + b" " * 10_000 + b"}")
            stats = shipper.close()
        with Client(receiver.host, **options) as client:
            assert 1 == client.send([LARGE])

        assert (2, 2, {"too_large": 2}) == (stats.accepted, stats.acked, stats.dropped)
        assert [7, 8, 7] == ids(receiver.events)
        for event in receiver.events:
            assert ["_beats_truncated"] == event["tags"]
            assert 600 < len(event["message"]) < 1_000
        assert [True, False, True] == ["_id" in event.get("@metadata", {}) for event in receiver.events]


def test_as_a_dead_letter_it_is_accepted_and_counted_and_kept_with_its_reason() -> None:
    with Receiver() as receiver, Shipper(receiver.host, max_event_bytes=1_000, on_too_large="dead_letter") as shipper:
        put(shipper, 1)
        assert shipper.put(LARGE)
        put(shipper, 2)
        assert shipper.put(b'{"id": 8, "message": "' + b"y" * 10_000 + b'"}')
        assert shipper.flush()
        stats = shipper.close()
        letters = shipper.dead_letters()

        assert [1, 2] == ids(receiver.events)
    assert (4, 2, 2, {}, 0) == (stats.accepted, stats.acked, stats.dead, stats.dropped, unaccounted(stats))
    assert (0, 0) == (stats.waiting_bytes, stats.lost)
    assert [b'{"id":7,"mes', b'{"id": 8, "m'] == [letter[:12] for letter in letters]
    assert all("limit is 1000 (max_event_bytes)" in letter.reason for letter in letters)


def test_of_a_huge_one_only_the_head_is_kept() -> None:
    with Receiver() as receiver, Shipper(receiver.host, max_event_bytes=1_000, on_too_large="dead_letter") as shipper:
        for _ in range(100):
            assert shipper.put({"message": "x" * 1_000_000})
        assert shipper.flush()

        assert {HEAD_BYTES} == set(map(len, shipper.dead_letters()))
        assert 100 == shipper.stats().dead


def test_a_client_has_no_dead_letters_and_raises() -> None:
    with Receiver() as receiver, Client(receiver.host, max_event_bytes=1_000, on_too_large="dead_letter") as client:
        with pytest.raises(EventTooLarge) as refused:
            client.send([{"id": 1}, LARGE])

        assert refused.value.head.startswith(b'{"id":7,')
        assert [] == receiver.events


def test_without_room_a_dead_letter_is_refused_like_any_other() -> None:
    with Shipper(
        closed_port(), max_event_bytes=1_000, on_too_large="dead_letter", queue_mem_bytes=5_000, shutdown_timeout=0
    ) as shipper:
        while shipper.put({"message": "x" * 100}):
            pass
        full = shipper.stats().dropped["full"]
        assert not shipper.put(LARGE)

        assert full + 1 == shipper.stats().dropped["full"]


def test_dead_letters_that_come_while_the_shipper_closes_are_accounted_for() -> None:
    for _ in range(10):
        with Receiver() as receiver:
            shipper = Shipper(receiver.host, max_event_bytes=1_000, on_too_large="dead_letter")
            accepted = [0] * 4
            stats: list[Stats] = []

            def go_on(thread: int, shipper: Shipper = shipper, accepted: list[int] = accepted) -> None:
                if thread == 4:
                    wait_until(lambda: sum(accepted) > 50)
                    stats.append(shipper.close())  # noqa: B023 - called before the next turn
                while thread < 4 and not shipper.closed:
                    accepted[thread] += shipper.put(LARGE) + shipper.put({"id": 1})

            in_parallel(5, go_on)
            final = shipper.close()

            assert sum(accepted) == final.accepted
            assert 0 == unaccounted(final)
            assert 0 == unaccounted(stats[0])
