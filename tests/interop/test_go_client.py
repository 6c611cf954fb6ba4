"""go-lumber's own client against our Receiver."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from beats_core import ReceivedWindow, Receiver
from support.authority import Authority
from support.go_lumber import run_sender

EVENTS: list[dict[str, Any]] = [
    {
        "id": number,
        "message": f'event {number}: Grüße, 世界 🌍 \u2028 \x00 <a>&amp; \\ "',
        "number": 2**53 + number,
        "nested": {"list": [number, None, True, {"a.b": 0.1}]},
    }
    for number in range(3_000)
]


@pytest.mark.parametrize("level", [0, 6])
@pytest.mark.parametrize("pipeline", [0, 4], ids=["sync", "async"])
def test_events_arrive_as_they_were_sent_and_in_order(pipeline: int, level: int) -> None:
    with Receiver() as receiver:
        report = run_sender(receiver.host, EVENTS, window=700, pipeline=pipeline, compression=level)

        assert ("", 3_000, 5) == (report.error, report.acked, report.windows)
        assert EVENTS == receiver.wait_for(3_000)


@pytest.mark.parametrize("pipeline", [0, 2], ids=["sync", "async"])
def test_many_events_arrive_once(pipeline: int) -> None:
    with Receiver() as receiver:
        report = run_sender(receiver.host, 50_000, pipeline=pipeline)

        assert ("", 50_000) == (report.error, report.acked)
        assert list(range(50_000)) == [event["id"] for event in receiver.wait_for(50_000)]


def test_the_largest_window_go_lumber_allows_is_taken() -> None:
    with Receiver() as receiver:
        assert "" == run_sender(receiver.host, 10_000, window=10_000).error
        assert 10_000 == len(receiver.wait_for(10_000))


def test_keepalives_hold_the_line_while_our_consumer_works() -> None:
    received: list[int] = []

    def work(window: ReceivedWindow) -> None:
        threading.Event().wait(1.5)  # work that takes longer than the sender is willing to wait in silence
        received.extend(event["id"] for event in window.events)

    with Receiver(consume=work, keepalive=0.1) as receiver:
        report = run_sender(receiver.host, 10, read_timeout=0.75)

    assert ("", 10) == (report.error, report.acked)
    assert list(range(10)) == received


def test_a_consumer_that_raises_is_never_acked() -> None:
    def refuse(window: ReceivedWindow) -> None:
        if window.events[0]["id"] == 200:
            raise OSError("disk full")

    with Receiver(consume=refuse) as receiver:
        report = run_sender(receiver.host, 300, window=100)

    assert report.error
    assert 200 == report.acked


def test_tls(authority: Authority) -> None:
    with Receiver(ssl=authority.server()) as receiver:
        report = run_sender(receiver.host, EVENTS, window=700, pipeline=2, authorities=authority.path)

        assert ("", 3_000) == (report.error, report.acked)
        assert EVENTS == receiver.wait_for(3_000)
