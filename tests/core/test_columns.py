"""The receivers of the matrix are what they stand for: each answers as its original, also to what no client sends."""

from __future__ import annotations

import threading

import pytest

from support.columns import Column, GoLumber, Graylog, NiFi
from support.probes import GOOD, PROBES, Probe, answer
from support.receivers import Receiver, busy, overloaded
from support.scripted import Peer, Scripted
from support.wire import Sender, a, c, d, events, w


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_it_answers_as_its_original(column: Column, probe: Probe) -> None:
    expected = probe.answer_of(column)
    if expected is None:
        return
    arrived = threading.Event()

    def serve_what_has_come(peer: Peer) -> None:
        arrived.wait()
        column(peer).serve()

    with Scripted(serve_what_has_come) as receiver, Sender(receiver.host) as sender:
        sender.send(probe.data)
        arrived.set()
        assert expected == answer(sender, expected)


def test_it_answers_version_1_in_version_1_or_ends_the_line(column: Column) -> None:
    pairs = {b"@timestamp": b"2026-01-02T03:04:05.678Z", b"line": b"text"}
    with Scripted(column.script()) as receiver, Sender(receiver.host) as sender:
        sender.send(w(2, 1), d(1, pairs), d(2, pairs))
        expected = b"" if column in {GoLumber, Graylog, NiFi} else a(2, 1)
        assert expected == sender.read(6)


def test_keep_alives_are_of_version_2_and_come_from_logstash_and_go_lumber_alone(column: Column) -> None:
    with Scripted(column.script(busy)) as receiver, Sender(receiver.host) as sender:
        sender.send(w(3) + c(events([GOOD] * 3)))
        expected = (a(0) + a(0) if column.keeps_alive else b"") + a(3)
        assert expected == sender.read(len(expected))


def test_an_end_of_stream_before_the_ack_costs_the_ack(column: Column) -> None:
    """Of those that look: Logstash, whose channel closes, and go-lumber."""
    if not column.keeps_alive:
        return
    ended = threading.Event()

    def wait_for_the_end(receiver: Receiver) -> None:
        ended.wait()

    with Scripted(column.script(wait_for_the_end)) as receiver, Sender(receiver.host) as sender:
        sender.send(w(3) + c(events([GOOD] * 3)))
        sender.line.shutdown(1)
        ended.set()
        assert b"" == sender.rest()
    assert 3 == len(receiver.peers[0].delivered)


def test_an_overloaded_nifi_answers_for_one_window_in_the_place_of_another() -> None:
    """Whoever has both in flight takes the second number for the rest of the first window: one at a time."""
    with Scripted(NiFi.script(overloaded)) as receiver, Sender(receiver.host) as sender:
        sender.send(2 * (w(3) + c(events([GOOD] * 3))))
        assert a(2) + a(3) == sender.read(12)

    assert 5 == len(receiver.peers[0].delivered)
