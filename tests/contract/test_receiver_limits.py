"""What a sender can do to a Receiver: make mistakes, be slow, be greedy; it costs nobody else anything."""

from __future__ import annotations

from typing import Any

import pytest

from beats_core import Receiver
from support.consumer import Consumer
from support.wire import Sender, a, c, d, events, j, raw_c, w, window

pytestmark = pytest.mark.usefixtures("no_receiver_left_behind")


MISTAKES: dict[str, bytes] = {
    "HTTP": b"GET / HTTP/1.1\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "JSON": b'{"a":1}\n',
    "version 3": b"3W\0\0\0\x01",
    "unknown frame": b"2X\0\0\0\x01",
    "ack": a(1),
    "event without a window": j(1, b"{}"),
    "window in a window": w(2) + j(1, b"{}") + w(1),
    "more events than the window": w(1) + c(events([b"{}", b"{}"])),
    "versions mixed": w(2) + j(1, b"{}") + j(2, b"{}", 1),
    "version 1 window, version 2 event": w(1, 1) + j(1, b"{}"),
    "empty event": w(1) + j(1, b""),
    "empty compressed frame": w(1) + raw_c(b""),
    "no zlib": w(1) + raw_c(b"plain text"),
    "gzip": w(1) + raw_c(b"\x1f\x8b\x08\0\0\0\0\0\0\x03"),
    "window in a compressed frame": c(w(1) + j(1, b"{}")),
    "compressed frame in a compressed frame": w(1) + c(c(j(1, b"{}"))),
    "half an event in a compressed frame": w(1) + c(j(1, b'{"a":1}')[:-1]),
    "not JSON": window(b"{nonsense}"),
    "NaN": window(b'{"a":NaN}'),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=MISTAKES)
def test_a_senders_mistake_costs_it_the_connection_and_nobody_else(mistake: bytes) -> None:
    with Receiver() as receiver, Sender(receiver.host) as other:
        with Sender(receiver.host) as sender:
            sender.send(mistake)
            assert sender.rest() in (b"", a(1))  # surplus events come after a window that was complete
        other.send(window(b'{"id":1}'))
        assert a(1) == other.read(6)

        assert {"id": 1} == receiver.events[-1]


LIMITS: dict[str, tuple[dict[str, Any], bytes, bytes]] = {
    "events of a window": ({"max_window": 2}, window(b"{}", b"{}"), w(3)),
    "events of a window, by default": ({}, window(*[b"{}"] * 10_000), w(10_001)),
    "bytes of an event": (
        {"max_bytes": 10_000},
        window(b'{"a":"%s"}' % (b"x" * 5_000)),
        w(1) + j(1, b"{}" * 10_000)[:10],
    ),
    "bytes of a compressed frame": ({"max_bytes": 10_000}, window(b"{}"), w(1) + raw_c(b"x" * 10_001)[:6]),
    "bytes of a compressed frame, inflated": ({"max_bytes": 10_000}, window(b"{}"), w(1) + c(b" " * 10_001)),
    "bytes of a window": (
        {"max_bytes": 10_000},
        window(b'{"a":"%s"}' % (b"x" * 5_000)),
        w(3) + j(1, b"x" * 5_000) + j(2, b"x" * 5_000),
    ),
    "many small events": ({"max_bytes": 10_000}, window(*[b"{}"] * 20), w(1_000) + c(events([b"1"] * 900))),
    "pairs": (
        {},
        w(1, 1) + d(1, {b"%d" % n: b"" for n in range(1_024)}),
        w(1, 1) + d(1, {b"%d" % n: b"" for n in range(1_025)}),
    ),
    "bytes of a text": (
        {"max_bytes": 10_000},
        w(1, 1) + d(1, {b"a": b"b"}),
        w(1, 1) + d(1, {b"a": b"b" * 10_000})[:30],
    ),
}


@pytest.mark.parametrize(("limits", "within", "beyond"), LIMITS.values(), ids=LIMITS)
def test_every_length_has_a_limit(consumer: Consumer, limits: dict[str, Any], within: bytes, beyond: bytes) -> None:
    with Receiver(consume=consumer, **limits) as receiver, Sender(receiver.host) as sender:
        sender.send(within)
        assert sender.read(6)[1:2] == b"A"
        sender.send(beyond)
        assert b"" == sender.rest()

    assert 1 == len(consumer.windows)


def test_what_is_kept_has_a_limit() -> None:
    with Receiver(max_bytes=20_000) as receiver, Sender(receiver.host) as sender:
        event = b'{"a":"%s"}' % (b"x" * 5_000)
        for _ in range(3):
            sender.send(window(event))
            assert a(1) == sender.read(6)
        sender.send(window(event))
        assert b"" == sender.rest()

        receiver.clear()
        assert [] == receiver.events
        with Sender(receiver.host) as again:
            again.send(window(event))
            assert a(1) == again.read(6)


def test_what_all_connections_hold_together_has_a_limit(consumer: Consumer) -> None:
    consumer.go_on.clear()
    with Receiver(consume=consumer, max_bytes=12_000) as receiver, Sender(receiver.host) as first:
        first.send(window(b'{"a":"%s"}' % (b"x" * 5_000)))
        consumer.begun.acquire()
        assert 5_000 < receiver.held_bytes < 6_000
        with Sender(receiver.host) as second:
            second.send(w(1), j(1, b"x" * 9_000)[:-1])
            assert b"" == second.rest()

        consumer.go_on.set()
        assert a(1) == first.read(6)
        first.send(w(0))
        assert a(0) == first.read(6)
        assert receiver.held_bytes < 100


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    with Receiver(max_connections=2) as receiver, Sender(receiver.host) as first, Sender(receiver.host) as second:
        for sender in (first, second):
            sender.send(window(b"{}"))
            assert a(1) == sender.read(6)
        assert 2 == receiver.connections
        with Sender(receiver.host) as third:
            assert b"" == third.rest()
        first.line.close()
        second.send(window(b"{}"))
        assert a(1) == second.read(6)

        answer = b""
        while not answer:  # until the place of the first is free
            with Sender(receiver.host) as fourth:
                fourth.send(window(b"{}"))
                answer = fourth.rest() if receiver.connections > 2 else fourth.read(6)
        assert a(1) == answer


def test_a_sender_may_rest_between_windows_but_not_within_one() -> None:
    with Receiver(timeout=0.2) as receiver, Sender(receiver.host) as sender:
        sender.send(window(b"{}"))
        assert a(1) == sender.read(6)
        assert sender.is_quiet(0.6)
        sender.send(window(b"{}"))
        assert a(1) == sender.read(6)

        sender.send(w(2), j(1, b"{}"))
        assert b"" == sender.rest()


@pytest.mark.parametrize("part", [b"2", b"2W", w(1), w(1) + b"2J\0\0", w(1) + c(j(1, b"{}"))[:-1]])
def test_part_of_a_window_may_not_wait_for_ever(part: bytes) -> None:
    with Receiver(timeout=0.2) as receiver, Sender(receiver.host) as sender:
        sender.send(part)

        assert b"" == sender.rest()


def test_a_sender_that_reads_no_acks_is_closed() -> None:
    with Receiver(timeout=0.2) as receiver, Sender(receiver.host) as sender:
        closed = False
        while not closed:
            try:
                sender.send(w(0) * 100_000)
            except ConnectionError:
                closed = True
        assert 0 == receiver.held_bytes
