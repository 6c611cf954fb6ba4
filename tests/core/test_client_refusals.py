"""What both clients promise when a receiver of the field takes long, or does not take what it is given.

Each test is a row of the matrix that `make matrix` prints; its name is the promise.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from beats_core import AckTimeout, ConnectionLost
from support.clients import ids
from support.columns import Column, GoLumber, Graylog, NiFi
from support.receivers import PATIENCE, UNBOUNDED, busy, overloaded, slow
from support.rows import Link, delivered, events, windows_at_once

STAMP = b'"@timestamp":"2026-01-02T03:04:05.678Z"'
POISON = {
    "broken": b'{"id":9,' + STAMP + b',"x":}',
    "text beside message": b'{"id":9,' + STAMP + b',"message":"m","event":"text"}',
    "without timestamp": b'{"id":9}',
}


def test_a_slow_window_is_waited_for_as_long_as_keep_alives_come(link: Link, column: Column) -> None:
    with link(column.script(slow), column.script(), timeout=PATIENCE) as (receiver, client):
        if column.keeps_alive:
            assert 10 == client.send(events(10))
        else:
            with pytest.raises(AckTimeout) as lost:
                client.send(events(10))
            acked = column.acked_before_last(10)
            assert list(range(acked, 10)) == ids(lost.value.unacked)
            assert 10 - acked == client.send(lost.value.unacked)

    assert (1 if column.keeps_alive else 2) == len(receiver.peers)


def test_a_window_behind_a_slow_one_is_waited_for_too(link: Link, column: Column) -> None:
    """Logstash sends no keep-alives for it. Who sends none at all needs a longer time-out."""
    timeout = PATIENCE if column.keeps_alive else 30
    options = {"bulk_max_size": 5, "pipelining": windows_at_once(column), "timeout": timeout}
    with link(column.script(busy, slow if column.keeps_alive else busy), **options) as (receiver, client):
        assert 10 == client.send(events(10))

    assert 1 == len(receiver.peers)
    assert list(range(10)) == delivered(receiver)


def test_what_is_behind_the_receiver_takes_no_more(link: Link, column: Column) -> None:
    """Keep-alives without end, silence or a closed line, each with its own error; Graylog's acks say nothing of it."""
    options = {"timeout": PATIENCE, "stall_timeout": 0.5}
    with link(column.script(overloaded), column.script(), **options) as (receiver, client):
        if column.overload is None:
            assert 10 == client.send(events(10))
        else:
            with pytest.raises(ConnectionLost) as lost:
                client.send(events(10))
            assert type(lost.value) is column.overload
            acked = column.acked_by_overload(10)
            assert list(range(acked, 10)) == ids(lost.value.unacked)
            assert column is not NiFi or "NiFi" in lost.value.reason

            assert 10 - acked == client.send(lost.value.unacked)

    if column.overload is not None:
        again = receiver.peers[1]
        assert list(range(1, 11 - acked)) == again.windows[0].sequences
        assert list(range(acked, 10)) == again.windows[0].ids


@pytest.mark.parametrize("kind", POISON)
def test_an_event_that_the_receiver_refuses_costs_the_line_and_shows_as_unacked(
    link: Link, column: Column, kind: str
) -> None:
    """Who does not look at events before the ack acknowledges it."""
    with link(column.script()) as (receiver, client):
        batch: list[Any] = [*events(9), POISON[kind]]
        if kind in column.poison:
            with pytest.raises(ConnectionLost) as lost:
                client.send(batch)
            acked = column.acked_before_last(10)
            assert 10 - acked == len(lost.value.unacked)
            assert POISON[kind] == lost.value.unacked.payloads[-1]
        else:
            assert 10 == client.send(batch)

    dropped = kind == "broken" and column is Graylog
    if kind not in column.poison:
        assert 10 - dropped == len(receiver.peers[0].delivered)


def test_good_windows_before_one_that_is_refused(link: Link, column: Column) -> None:
    """What was acknowledged before counts; the window with the event that was refused is all unacked."""
    windows: list[list[Any]] = [events(5), events(5, first=5), [*events(4, first=10), POISON["broken"]]]
    with link(column.script()) as (receiver, client):
        acked = 0
        lost: ConnectionLost | None = None
        try:
            for window in windows:
                client.post(window)
                while client.in_flight >= windows_at_once(column):
                    acked += client.wait_ack()
            while client.in_flight:
                acked += client.wait_ack()
        except ConnectionLost as error:
            lost = error

    if "broken" not in column.poison:
        assert lost is None
        assert 15 == acked
        return
    assert lost is not None
    assert 15 == acked + len(lost.unacked)
    assert POISON["broken"] == lost.unacked.payloads[-1]
    # go-lumber reads ahead: the ack to a window is lost when the one behind it is refused at once.
    expected = {5, 10} if column is GoLumber else {10 + column.acked_before_last(5)}
    assert acked in expected
    assert list(range(acked)) == delivered(receiver)[:acked]


def test_a_window_above_the_limit_costs_the_line_and_shows_as_unacked(link: Link, column: Column) -> None:
    payloads = [b'{"id":1,' + STAMP + b"}"] * 10_001
    with link(column.script(), bulk_max_size=20_000) as (receiver, client):
        if column.largest_window < len(payloads):
            with pytest.raises(ConnectionLost) as lost:
                client.send(payloads)
            assert payloads == list(lost.value.unacked.payloads)
            assert "at most 10,000 events, this window had 10,001" in lost.value.reason
        else:
            assert len(payloads) == client.send(payloads)

    assert [10_001] * (column.largest_window > 10_001) == [window.count for window in receiver.windows]


def test_windows_and_events_within_the_default_options_are_within_all_limits(link: Link, column: Column) -> None:
    large = [b'{"id":%d,%s,"message":"%s"}' % (number, STAMP, b"x" * (9 << 20)) for number in range(2)]
    with link(column.script(), pipelining=min(2, windows_at_once(column))) as (receiver, client):
        assert 2 == client.send(large)
        assert 2_500 == client.send([b'{"id":1,' + STAMP + b"}"] * 2_500)

    assert 1 == len(receiver.peers)


def test_an_event_above_the_limit_costs_the_line_and_shows_as_unacked(link: Link, column: Column) -> None:
    size = column.largest_event if column.largest_event < UNBOUNDED else 2 << 20
    payload = b'{"id":1,%s,"message":"%s"}' % (STAMP, b"x" * size)
    with link(column.script(), max_event_bytes=1 << 30, compression_level=1) as (receiver, client):
        if column.largest_event < UNBOUNDED:
            with pytest.raises(ConnectionLost) as lost:
                client.send([payload])
            assert 1 == len(lost.value.unacked)
            assert "max_event_bytes" in lost.value.reason
        else:
            assert 1 == client.send([payload])

    assert (column.largest_event == UNBOUNDED) == bool(receiver.peers[0].delivered)


def test_what_json_has_no_word_for_is_taken_by_every_receiver(link: Link, column: Column) -> None:
    cycle: list[object] = []
    cycle.append(cycle)
    deep: object = "bottom"
    for _ in range(2_000):
        deep = [deep]
    values = [float("nan"), -float("inf"), 10**400, datetime(2026, 1, 2, tzinfo=UTC), b"\xff\0", {1, 2}, "\ud800\0\x1f"]
    values += [Decimal("1.10"), UUID(int=1), {None: 1, (2, 3): 4, "x" * 60_000: 5}, ValueError(), cycle, deep]
    odd = [{**event, "value": value} for event, value in zip(events(len(values)), values, strict=True)]
    with link(column.script()) as (receiver, client):
        assert len(odd) == client.send(odd)

    assert list(range(len(odd))) == delivered(receiver)
