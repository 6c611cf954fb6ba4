"""What the Receiver promises to senders and to the program around it, seen from raw sockets."""

from __future__ import annotations

import json
import logging
import threading

import pytest

from beats_core import OptionError, ReceivedWindow, Receiver
from support.clients import MakeDriver, numbered
from support.consumer import Consumer
from support.wire import Sender, a, c, d, events, j, w, window

pytestmark = pytest.mark.usefixtures("no_receiver_left_behind")


def test_a_window_is_acknowledged_and_its_events_are_kept() -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(window(b'{"n":1}', b'{"n":2}', b'{"n":3}'))

        assert a(3) == sender.read(6)
        assert [{"n": 1}, {"n": 2}, {"n": 3}] == receiver.events


FORMS = {
    "compressed": w(2) + c(events([b'{"n":1}', b'{"n":2}'])),
    "plain": w(2) + events([b'{"n":1}', b'{"n":2}']),
    "mixed": w(2) + j(1, b'{"n":1}') + c(j(2, b'{"n":2}')),
    "two compressed frames": w(2) + c(j(1, b'{"n":1}')) + c(j(2, b'{"n":2}')),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_events_may_come_compressed_or_not_and_cut_anywhere(form: bytes) -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(form)
        assert a(2) == sender.read(6)
        for position in range(len(form)):
            sender.send(form[position : position + 1])
        assert a(2) == sender.read(6)
        sender.send(form, form)
        assert a(2) + a(2) == sender.read(12)

        assert [{"n": 1}, {"n": 2}] * 4 == receiver.events


def test_version_1_is_acknowledged_in_version_1(consumer: Consumer) -> None:
    with Receiver(consume=consumer) as receiver, Sender(receiver.host) as sender:
        frames = d(7, {b"line": b"gr\xc3\xbc\xc3\x9fe", b"host": b"web"}) + d(8, {b"line": b"\xff", b"": b""})
        sender.send(w(2, 1), c(frames, 1), w(1, 1), d(9, {}))

        assert a(8, 1) + a(9, 1) == sender.read(12)
    assert [[{"line": "grüße", "host": "web"}, {"line": "\ufffd", "": ""}], [{}]] == [
        w.events for w in consumer.windows
    ]
    assert [1, 1] == [received.version for received in consumer.windows]


def test_versions_may_take_turns_on_one_connection() -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(w(1, 1), d(1, {b"a": b"b"}), window(b"{}"), w(1, 1), j(1, b"{}", 1))

        assert a(1, 1) + a(1) + a(1, 1) == sender.read(18)


def test_the_ack_is_the_sequence_of_the_last_event() -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(w(2), c(events([b"{}", b"{}"], first=1001)))

        assert a(1002) == sender.read(6)


def test_an_empty_window_is_answered_with_a_keep_alive() -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(w(0), window(b"{}"), w(0, 1))

        answers = sender.read(18)
    assert sorted([a(0), a(0), a(1)]) == sorted([answers[:6], answers[6:12], answers[12:]])


def test_the_consumer_is_told_all_there_is_to_know(consumer: Consumer) -> None:
    with Receiver(consume=consumer) as receiver, Sender(receiver.host) as sender:
        sender.send(window(b'{"n":1}', b'{"n": 2}'))
        assert a(2) == sender.read(6)
        name, port = sender.line.getsockname()

    (received,) = consumer.windows
    assert [b'{"n":1}', b'{"n": 2}'] == received.payloads
    assert [{"n": 1}, {"n": 2}] == received.events
    assert (2, 2, 2, 2) == (len(received), received.count, received.version, received.sequence)
    assert f"{name}:{port}" == received.peer
    assert 15 <= received.size <= 1_000


def test_the_ack_is_sent_after_the_consumer_returned(consumer: Consumer) -> None:
    consumer.go_on.clear()
    with Receiver(consume=consumer) as receiver, Sender(receiver.host) as sender:
        sender.send(window(b"{}"))
        consumer.begun.acquire()
        assert sender.is_quiet(0.2)

        consumer.go_on.set()
        assert a(1) == sender.read(6)


@pytest.mark.parametrize("version", [1, 2])
def test_keep_alives_are_sent_while_the_consumer_works(consumer: Consumer, version: int) -> None:
    """Of version 2 always, as Logstash's are."""
    consumer.go_on.clear()
    with Receiver(consume=consumer, keepalive=0.05) as receiver, Sender(receiver.host) as sender:
        sender.send(w(1, version), j(1, b"{}", version))
        assert a(0) * 3 == sender.read(18)

        consumer.go_on.set()
        answers = b""
        while not answers.endswith(a(1, version)):
            answers += sender.read(6)
        assert b"" == answers.replace(a(0), b"").replace(a(1, version), b"")
        assert sender.is_quiet(0.2)


def test_keep_alives_can_be_turned_off(consumer: Consumer) -> None:
    consumer.go_on.clear()
    with Receiver(consume=consumer, keepalive=0) as receiver, Sender(receiver.host) as sender:
        sender.send(window(b"{}"))
        consumer.begun.acquire()
        assert sender.is_quiet(0.2)
        consumer.go_on.set()
        assert a(1) == sender.read(6)


def test_a_window_is_acknowledged_before_the_next_is_consumed(consumer: Consumer) -> None:
    def consume(received: ReceivedWindow) -> None:
        if len(received) == 1:
            consumer(received)

    consumer.go_on.clear()
    with Receiver(consume=consume) as receiver, Sender(receiver.host) as sender:
        sender.send(window(b"{}", b"{}"), window(b"{}"))
        assert a(2) == sender.read(6)
        assert sender.is_quiet(0.1)
        consumer.go_on.set()
        assert a(1) == sender.read(6)


def test_a_consumer_that_raises_costs_the_connection_and_no_ack(
    consumer: Consumer, caplog: pytest.LogCaptureFixture
) -> None:
    consumer.failure = RuntimeError("the disk is full")
    with Receiver(consume=consumer) as receiver:
        with Sender(receiver.host) as sender:
            sender.send(window(b"{}"))
            assert b"" == sender.rest()
        consumer.failure = None
        with Sender(receiver.host) as sender:
            sender.send(window(b"{}"))
            assert a(1) == sender.read(6)

    assert ["beats_core.receiver"] == [record.name for record in caplog.records if record.levelno >= logging.ERROR]
    assert "the disk is full" in caplog.text


def test_windows_before_one_that_is_not_consumed_are_acknowledged() -> None:
    def consume(received: ReceivedWindow) -> None:
        if len(received) == 2:
            raise RuntimeError("no")

    with Receiver(consume=consume) as receiver, Sender(receiver.host) as sender:
        sender.send(window(b"{}"), window(b"{}", b"{}"), window(b"{}"))

        assert a(1) == sender.rest()


def test_windows_before_a_mistake_of_the_sender_are_consumed_and_acknowledged() -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(window(b'{"n":1}'), window(b'{"n":2}'), b"nonsense")

        assert a(1) + a(1) == sender.rest()
        assert [{"n": 1}, {"n": 2}] == receiver.events


def test_both_clients_deliver(driver: MakeDriver) -> None:
    with Receiver() as receiver, driver(receiver.host, bulk_max_size=100, pipelining=4) as client:
        assert 2_000 == client.send(numbered(2_000))

        assert list(range(2_000)) == [event["id"] for event in receiver.wait_for(2_000)]


def test_keep_alives_hold_both_clients(driver: MakeDriver) -> None:
    pace = threading.Event()
    with (
        Receiver(consume=lambda _: pace.wait(0.7), keepalive=0.1) as receiver,
        driver(receiver.host, timeout=0.4, bulk_max_size=10) as client,
    ):
        assert 20 == client.send(numbered(20))


def test_many_senders_at_once() -> None:
    def deliver(number: int) -> None:
        with Sender(receiver.host) as sender:
            for sequence in range(20):
                sender.send(window(*(json.dumps({"id": [number, sequence, n]}).encode() for n in range(50))))
                assert a(50) == sender.read(6)

    with Receiver() as receiver:
        senders = [threading.Thread(target=deliver, args=(number,)) for number in range(10)]
        for thread in senders:
            thread.start()
        received = receiver.wait_for(10_000)
        for thread in senders:
            thread.join()

    expected = {(number, sequence, n) for number in range(10) for sequence in range(20) for n in range(50)}
    assert expected == {tuple(event["id"]) for event in received}
    assert 10_000 == len(received)


def test_waiting_for_events_has_an_end() -> None:
    with Receiver() as receiver, Sender(receiver.host) as sender:
        sender.send(window(b"{}", b"{}"))
        assert [{}, {}] == receiver.wait_for(2)

        with pytest.raises(TimeoutError, match=r"2 of 3 events came within 0.1 seconds"):
            receiver.wait_for(3, timeout=0.1)


def test_a_receiver_listens_on_no_unix_socket() -> None:
    with pytest.raises(OptionError, match="a receiver listens on TCP"):
        Receiver("unix:///run/beats.sock")
