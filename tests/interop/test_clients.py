"""Client and AsyncClient against go-lumber's server."""

from __future__ import annotations

import decimal
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest

from beats_core import AckTimeout, ConnectionLost, Stalled, encode_event
from support.clients import DRIVERS, Driver, MakeDriver, bare, ids, numbered
from support.go_lumber import GoReceiver

VARIED: list[dict[str, Any]] = [
    {"id": 0, "message": "plain"},
    {"id": 1, "message": "Grüße, 世界 🌍 \u2028 \x00 \x1f \x7f \" \\ / <a href='x'>&amp;"},
    {"id": 2, "größe": "a key that is not ASCII", "a.b": "dots", "": "no name"},
    {"id": 3, "integer": 2**53 + 1, "negative": -(2**63), "unsigned": 2**64 - 1},
    {"id": 4, "float": 0.1, "tiny": 5e-324, "huge": 1.7976931348623157e308, "zero": -0.0},
    {"id": 5, "nothing": None, "yes": True, "no": False, "empty": {}, "list": [[], {}, "", 0]},
    {"id": 6, "nested": {"a": {"b": {"c": [{"d": [1, 2, {"e": "f"}]}]}}}},
    {"id": 7, "message": "long " * 100_000},
    {
        "id": 8,
        "@timestamp": "2026-01-02T03:04:05.678Z",
        "@metadata": {"beat": "s", "type": "_", "version": "1", "_id": "x"},
    },
]


def wait_for_all(client: Driver) -> int:
    acked = 0
    while client.in_flight:
        acked += client.wait_ack()
    return acked


@pytest.mark.parametrize("level", [0, 3])
def test_events_arrive_as_they_were_sent_and_in_order(driver: MakeDriver, level: int) -> None:
    with GoReceiver() as receiver, driver(receiver.host, compression_level=level) as client:
        assert len(VARIED) == client.send(VARIED)

        assert VARIED == bare(receiver.wait_for(len(VARIED)), VARIED)


def test_ready_json_arrives_byte_for_byte(driver: MakeDriver) -> None:
    ready: list[bytes | str] = [b'{"id":1,"exact":1.10,"twice":1,"twice":2}', '{"id":2,"ü":"\\u00fc"}']
    with GoReceiver() as receiver, driver(receiver.host) as client:
        assert len(ready) == client.send(ready)

        receiver.wait_until(len(ready))
        assert [b'{"id":1,"exact":1.10,"twice":1,"twice":2}', b'{"id":2,"\xc3\xbc":"\\u00fc"}'] == receiver.lines()


class Grumpy:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def test_go_lumber_reads_what_json_has_no_word_for(driver: MakeDriver) -> None:
    """One window: go-lumber refuses a window for a single event it cannot read."""
    cycle: dict[str, object] = {}
    cycle["self"] = cycle
    deep: object = "bottom"
    for _ in range(5_000):
        deep = [deep]
    values: list[object] = [
        float("nan"),
        float("inf"),
        -float("inf"),
        2**70,
        10**400,
        "a\ud800b",
        b"\xff\x00bytes",
        datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        decimal.Decimal("1.1"),
        uuid.UUID(int=1),
        {1, 2},
        ValueError("oops"),
        Grumpy(),
        {1: "a", None: "b", (2, 3): "c", "x" * 60_000: "d"},
        cycle,
        deep,
    ]
    events = [{"id": number, "value": value} for number, value in enumerate(values)]
    with GoReceiver() as receiver, driver(receiver.host) as client:
        assert len(events) == client.send(events)

        assert [json.loads(encode_event(event)) for event in events] == bare(receiver.wait_for(len(events)), events)


@pytest.mark.parametrize("level", [0, 3])
def test_more_events_than_a_window_holds_travel_in_several_windows(driver: MakeDriver, level: int) -> None:
    with GoReceiver(write="windows") as receiver, driver(receiver.host, compression_level=level) as client:
        assert 5_000 == client.send(numbered(5_000))

        assert [2_048, 2_048, 904] == receiver.wait_for(5_000)


def test_windows_are_bounded_in_bytes(driver: MakeDriver) -> None:
    events = [b'{"message":"%s"}' % (b"x" * 1_000)] * 10
    with GoReceiver(write="windows") as receiver, driver(receiver.host, bulk_max_bytes=4_500) as client:
        assert 10 == client.send(events)

        assert [4, 4, 2] == receiver.wait_for(10)


def test_twenty_megabytes_in_one_window_arrive(driver: MakeDriver) -> None:
    events = [{"id": number, "message": "x" * 1_000_000} for number in range(20)]
    with (
        GoReceiver(write="windows") as receiver,
        driver(receiver.host, bulk_max_bytes=64 << 20, compression_level=0) as client,
    ):
        assert 20 == client.send(events)

        assert [20] == receiver.wait_for(20)


def test_keepalives_hold_the_line_while_the_receiver_works(driver: MakeDriver) -> None:
    with (
        GoReceiver(write="ids", ack_delay=2.5, keepalive=0.1) as receiver,
        driver(receiver.host, timeout=1.0) as client,
    ):
        assert 10 == client.send(numbered(10))

        assert list(range(10)) == receiver.wait_for(10)


def test_an_ack_after_seventeen_seconds_is_waited_for() -> None:
    """With go-lumber's own pace of keep-alives, 3 s, and less patience for silence than the ack takes."""
    with GoReceiver(write="ids", ack_delay=17) as receiver, ThreadPoolExecutor() as threads:

        def send(make: MakeDriver, first: int) -> int:
            with make(receiver.host, timeout=10) as client:
                return client.send(numbered(10, first))

        sent = [threads.submit(send, make, 10 * number) for number, make in enumerate(DRIVERS.values())]
        assert [10] * len(DRIVERS) == [each.result() for each in sent]

    assert list(range(10 * len(DRIVERS))) == sorted(receiver.events())


def test_a_window_of_ten_thousand_events_is_the_largest(driver: MakeDriver) -> None:
    with GoReceiver(write="windows") as receiver, driver(receiver.host, bulk_max_size=20_000) as client:
        assert 10_000 == client.send(numbered(10_000))
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(10_001))

        assert list(range(10_001)) == ids(lost.value.unacked)
        assert [10_000] == receiver.events()
    for word in ("go-lumber", "10,000", "10,001", "bulk_max_size"):
        assert word in lost.value.reason


def test_silence_ends_in_an_ack_timeout_with_everything_unacked(driver: MakeDriver) -> None:
    with (
        GoReceiver(acks=False, keepalive=0) as receiver,
        driver(receiver.host, timeout=0.5) as client,
        pytest.raises(AckTimeout) as lost,
    ):
        client.send(numbered(10))

    assert list(range(10)) == ids(lost.value.unacked)


def test_keepalives_without_progress_end_in_stalled_with_everything_unacked(driver: MakeDriver) -> None:
    with (
        GoReceiver(acks=False, keepalive=0.05) as receiver,
        driver(receiver.host, stall_timeout=0.5) as client,
        pytest.raises(Stalled) as lost,
    ):
        client.send(numbered(10))

    assert list(range(10)) == ids(lost.value.unacked)


@pytest.mark.parametrize("pipelining", [1, 4])
def test_a_close_instead_of_an_ack_reports_exactly_the_unacked(driver: MakeDriver, pipelining: int) -> None:
    with (
        GoReceiver(write="ids", close_every=3) as receiver,
        driver(receiver.host, bulk_max_size=100, pipelining=pipelining) as client,
        pytest.raises(ConnectionLost) as lost,
    ):
        client.send(numbered(1_000))

    assert list(range(200, 1_000)) == ids(lost.value.unacked)


def test_a_posted_window_that_is_closed_instead_of_acked_is_all_that_is_unacked(driver: MakeDriver) -> None:
    with GoReceiver(write="ids", close_every=3) as receiver, driver(receiver.host) as client:
        for first in (0, 100, 200):
            client.post(numbered(100, first))
        with pytest.raises(ConnectionLost) as lost:
            wait_for_all(client)

    assert list(range(200, 300)) == ids(lost.value.unacked)


def test_what_was_unacked_can_be_sent_again_until_all_is_acked(driver: MakeDriver) -> None:
    with GoReceiver(write="ids", close_every=3) as receiver, driver(receiver.host, bulk_max_size=100) as client:
        remaining: Any = numbered(1_000)
        losses = 0
        while len(remaining):
            try:
                client.send(remaining)
                remaining = []
            except ConnectionLost as lost:
                remaining = lost.unacked
                losses += 1
                assert list(range(1_000 - len(remaining), 1_000)) == ids(remaining)

    assert losses >= 4  # of ten windows, one line carries two
    assert set(range(1_000)) == set(receiver.events())


def test_a_killed_server_is_a_lost_connection_and_the_restarted_one_gets_the_rest(driver: MakeDriver) -> None:
    with GoReceiver(write="ids", ack_delay=0.5) as receiver, driver(receiver.host) as client:
        client.post(numbered(100))
        receiver.wait_until(100)
        receiver.kill()
        with pytest.raises(ConnectionLost) as lost:
            client.wait_ack()
        receiver.start()

        assert 100 == client.send(lost.value.unacked)
        assert [*range(100), *range(100)] == receiver.wait_for(200)


def test_posted_windows_are_acked_in_order_while_more_are_posted(driver: MakeDriver) -> None:
    with GoReceiver(write="ids") as receiver, driver(receiver.host) as client:
        acked = 0
        for first in range(0, 10_000, 100):
            client.post(numbered(100, first))
            if client.in_flight == 8:
                acked += client.wait_ack()
        acked += wait_for_all(client)

        assert 10_000 == acked
        assert list(range(10_000)) == receiver.wait_for(10_000)
