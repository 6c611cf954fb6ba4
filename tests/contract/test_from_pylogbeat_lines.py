"""What the guide for users of PyLogBeat says of it and of us: acknowledgements, ends of lines, retries, threads."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import closing

import pytest
from pylogbeat import ConnectionException, PyLogBeatClient

from beats_core import AckTimeout, Client, ConnectionLost, ProtocolError, Shipper, Stalled
from support.clients import ids, numbered
from support.pylogbeats import SHORT, highest_sequence, nobody, pylogbeat
from support.scripted import (
    Answer,
    Peer,
    Scripted,
    Window,
    ack,
    acknowledged,
    acks,
    after,
    answering,
    closes,
    ends,
    resets,
    sends,
    silence,
)


def keep_alives(count: int, *, then: Answer) -> Answer:
    """Send so many keep-alives, twenty in a second, then answer."""

    def answer(peer: Peer, window: Window) -> None:
        for _ in range(count):
            peer.keep_alive()
            assert peer.is_quiet(0.05)
        then(peer, window)

    return answer


# Acknowledgements


def test_keep_alives_hold_pylogbeat_beyond_any_timeout_and_ours_until_its_stall_timeout() -> None:
    with Scripted(answering(keep_alives(30, then=acknowledged))) as receiver:
        with pylogbeat(receiver, timeout=0.5) as old:
            old.send(numbered(1))
        with Client(receiver.host, timeout=0.5, stall_timeout=60) as new:
            assert 1 == new.send(numbered(1))
    script = answering(after(acks(0), silence))
    with Scripted(script) as receiver, Client(receiver.host, stall_timeout=0.3) as new, pytest.raises(Stalled):
        new.send(numbered(1))


def test_half_an_acknowledgement_breaks_pylogbeat() -> None:
    def serve(peer: Peer) -> None:
        first, second = ack(peer.window().count)[:4], ack(1)[4:]
        peer.send(first)
        if peer.is_quiet(0.2):
            peer.send(second)
        peer.wait_for_end()

    with Scripted(serve) as receiver:
        with pylogbeat(receiver) as old, pytest.raises(struct.error):
            old.send(numbered(1))
        with Client(receiver.host) as new:
            assert 1 == new.send(numbered(1))


def test_pylogbeat_takes_acknowledgements_of_another_version() -> None:
    with Scripted(answering(sends(b"9A\x00\x00\x00\x01"))) as receiver:
        with pylogbeat(receiver) as old:
            old.send(numbered(1))
        with Client(receiver.host) as new, pytest.raises(ConnectionLost):
            new.send(numbered(1))


def test_after_half_a_window_pylogbeat_users_repeat_all_of_it_and_ours_the_rest() -> None:
    script = answering(after(acks(6), closes))
    events = numbered(10)
    with Scripted(script, answering(acknowledged)) as receiver:
        with pylogbeat(receiver) as old, pytest.raises(ConnectionException):
            old.send(events)
        with PyLogBeatClient("127.0.0.1", receiver.port) as old:
            old.send(events)
        assert [*range(10), *range(10)] == receiver.ids

    with Scripted(script, answering(acknowledged)) as receiver, Client(receiver.host) as new:
        with pytest.raises(ConnectionLost) as lost:
            new.send(events)
        new.send(lost.value.unacked)
        assert [*range(10), 6, 7, 8, 9] == receiver.ids
        assert [1, 2, 3, 4] == receiver.windows[1].sequences


# The end of a line


@pytest.mark.parametrize(
    ("end", "error", "broken"),
    [
        (closes, ConnectionException, False),
        (ends, ConnectionException, False),
        (resets, ConnectionResetError, False),
        (silence, TimeoutError, False),
        (after(sends(ack(1)[:3]), ends), struct.error, False),
        (acks(6), TimeoutError, True),
        (sends(b"HTTP/1.1 400 Bad Request\r\n"), ConnectionException, True),
    ],
    ids=["closed", "ended", "reset", "silent", "half an ack", "too much acknowledged", "another protocol"],
)
def test_a_line_of_ours_has_one_way_to_end(end: Answer, error: type[Exception], *, broken: bool) -> None:
    with Scripted(answering(end)) as receiver:
        with pylogbeat(receiver, timeout=SHORT) as old, pytest.raises(error):
            old.send(numbered(5))
        with Client(receiver.host, timeout=SHORT) as new, pytest.raises(ConnectionLost) as lost:
            new.send(numbered(5))
        assert [0, 1, 2, 3, 4] == ids(lost.value.unacked)
        assert isinstance(lost.value.__cause__, ProtocolError) == broken
        assert isinstance(lost.value, AckTimeout) == (end is silence)


def test_the_error_of_pylogbeat_is_no_os_error() -> None:
    assert not issubclass(ConnectionException, OSError)
    assert [ConnectionException, Exception] == list(ConnectionException.__mro__[:2])


def test_pylogbeat_keeps_a_line_that_was_lost() -> None:
    script = answering(closes)
    with Scripted(script, answering(highest_sequence)) as receiver, pylogbeat(receiver) as old:
        with pytest.raises(ConnectionException):
            old.send(numbered(1))
        for _ in range(3):
            with pytest.raises((OSError, ConnectionException)):
                old.send(numbered(1))
        assert 1 == len(receiver.peers)
        old.close()
        old.send(numbered(1))

    with Scripted(script, answering(acknowledged)) as receiver, Client(receiver.host) as new:
        with pytest.raises(ConnectionLost):
            new.send(numbered(1))
        assert 1 == new.send(numbered(1))


def test_pylogbeat_keeps_a_line_that_was_never_made() -> None:
    host = nobody()
    port = int(host.partition(":")[2])
    with closing(PyLogBeatClient("127.0.0.1", port)) as old, closing(Client(host)) as new:
        with pytest.raises(ConnectionRefusedError):
            old.connect()
        with pytest.raises(ConnectionLost):
            new.connect()
        with Scripted(answering(highest_sequence), port=port) as receiver:
            assert 1 == new.send(numbered(1))
            old.connect()  # it believes that it is
            with pytest.raises(OSError, match="Broken pipe"):
                old.send(numbered(1))
            assert 1 == len(receiver.peers)
            old.close()
            old.send(numbered(1))


def test_ours_looks_whether_an_idle_line_has_ended_before_it_sends() -> None:
    def serve_once(peer: Peer) -> None:
        peer.ack(peer.window().count)
        peer.reset()  # as Logstash does after a minute

    with Scripted(serve_once, answering(acknowledged)) as receiver, pylogbeat(receiver) as old:
        old.send(numbered(1))
        receiver.peers[0].closed.wait()
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            old.send(numbered(1))
    with Scripted(serve_once, answering(acknowledged)) as receiver, Client(receiver.host) as new:
        new.send(numbered(1))
        receiver.peers[0].closed.wait()
        assert 1 == new.send(numbered(1))
        assert 2 == len(receiver.peers)


# Addresses


def test_only_ours_speaks_ipv6() -> None:
    with Scripted(answering(acknowledged), name="::1") as receiver:
        with closing(PyLogBeatClient("::1", receiver.port)) as old, pytest.raises(socket.gaierror):
            old.connect()
        with Client(f"[::1]:{receiver.port}") as new:
            assert 1 == new.send(numbered(1))


def test_only_ours_tries_several_hosts() -> None:
    with Scripted(answering(acknowledged)) as receiver, Client([nobody(), receiver.host]) as new:
        assert 1 == new.send(numbered(1))


# Threads


def test_two_threads_with_one_client_of_pylogbeat_take_each_others_acknowledgements() -> None:
    errors: list[Exception] = []
    both_sent = threading.Event()

    def serve(peer: Peer) -> None:
        first = peer.window()
        second_thread.start()
        peer.window()
        both_sent.set()
        peer.ack(first.count)
        peer.wait_for_end()

    def send_second() -> None:
        try:
            old.send(numbered(1, first=1))
        except Exception as error:  # noqa: BLE001 - which of the two gets which half of the ack is chance
            errors.append(error)

    second_thread = threading.Thread(target=send_second)
    with Scripted(serve) as receiver, pylogbeat(receiver, timeout=SHORT) as old:
        with pytest.raises((ConnectionException, TimeoutError, struct.error)):
            old.send(numbered(1))  # acknowledged all the same
        second_thread.join()
        assert both_sent.is_set()
        assert 1 == len(errors)


def test_any_thread_may_give_events_to_a_shipper() -> None:
    with Scripted(answering(acknowledged)) as receiver:
        with Shipper(receiver.host) as shipper:
            threads = [
                threading.Thread(
                    target=lambda first: [shipper.put(event) for event in numbered(500, first)], args=(start,)
                )
                for start in range(0, 2_000, 500)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert shipper.flush()
        assert list(range(2_000)) == sorted(receiver.ids)


def test_a_shipper_retries_by_itself() -> None:
    with Scripted(answering(after(acks(6), closes)), answering(acknowledged)) as receiver:
        with Shipper(receiver.host, backoff_init=0.01) as shipper:
            for event in numbered(10):
                shipper.put(event)
            assert shipper.flush(timeout=10)
            assert 10 == shipper.stats().acked
        assert set(range(10)) == set(receiver.ids)
