"""How long both clients wait: for silence, for keep-alives without progress, for bytes to be taken."""

from __future__ import annotations

import threading

import pytest

from beats_core import AckTimeout, ConnectionLost, Stalled
from support.clients import MakeDriver, ids, numbered
from support.scripted import (
    Answer,
    Peer,
    Scripted,
    acknowledged,
    acks,
    after,
    answering,
    silence,
)


def test_silence_is_an_ack_timeout(driver: MakeDriver) -> None:
    with Scripted(answering(after(acks(3), silence))) as receiver, driver(receiver.host, timeout=0.3) as client:
        with pytest.raises(AckTimeout, match=r"the peer was silent for 0.3 seconds") as lost:
            client.send(numbered(10))

        assert list(range(3, 10)) == ids(lost.value.unacked)


def test_keep_alives_end_silence_only_while_they_come(driver: MakeDriver) -> None:
    with Scripted(answering(after(acks(0, 0), silence))) as receiver, driver(receiver.host, timeout=0.3) as client:
        with pytest.raises(AckTimeout) as lost:
            client.send(numbered(10))

        assert list(range(10)) == ids(lost.value.unacked)


def keep_alives(every: float, *, then: Answer = silence, count: int = 1 << 30) -> Answer:
    """Send keep-alives at that pace."""
    pace = threading.Event()

    def answer(peer: Peer, window: object) -> None:
        for _ in range(count):
            peer.keep_alive()
            pace.wait(every)
        then(peer, peer.windows[-1])

    return answer


def test_keep_alives_for_ever_are_a_stall(driver: MakeDriver) -> None:
    script = answering(after(acks(2), keep_alives(0.02)))
    with Scripted(script) as receiver, driver(receiver.host, stall_timeout=0.4) as client:
        with pytest.raises(Stalled, match=r"keep-alives, but no acknowledgement for 0.4 seconds") as lost:
            client.send(numbered(10))

        assert list(range(2, 10)) == ids(lost.value.unacked)


def test_keep_alives_hold_a_line_longer_than_its_timeout(driver: MakeDriver) -> None:
    script = answering(keep_alives(0.05, then=acknowledged, count=20))
    with Scripted(script) as receiver, driver(receiver.host, timeout=0.5) as client:
        assert 10 == client.send(numbered(10))


def test_a_flood_of_keep_alives_drowns_nobody(driver: MakeDriver) -> None:
    script = answering(after(acks(*[0] * 200_000), acknowledged))
    with Scripted(script) as receiver, driver(receiver.host) as client:
        assert 10 == client.send(numbered(10))
        client.post(numbered(10))
        threading.Event().wait(0.1)  # more comes than is read at once
        while client.in_flight:
            client.wait_ack()


def test_without_a_stall_timeout_keep_alives_hold_a_line(driver: MakeDriver) -> None:
    script = answering(keep_alives(0.02, then=acknowledged, count=20))
    with Scripted(script) as receiver, driver(receiver.host, stall_timeout=None) as client:
        assert 10 == client.send(numbered(10))


def test_partial_acks_are_no_stall(driver: MakeDriver) -> None:
    pace = threading.Event()

    def serve(peer: Peer) -> None:
        for sequence in range(1, peer.window().count + 1):
            pace.wait(0.05)
            peer.ack(sequence)

    options = {"timeout": 0.6, "stall_timeout": 0.6}
    with Scripted(serve) as receiver, driver(receiver.host, **options) as client:
        assert 20 == client.send(numbered(20))


def test_a_window_behind_a_slow_one_is_not_given_up_for_silence(driver: MakeDriver) -> None:
    """Logstash sends no keep-alive for it."""

    def serve(peer: Peer) -> None:
        first, second = peer.window(), peer.window()
        peer.keep_alive()
        peer.ack(first.count)
        assert peer.is_quiet(0.9)
        peer.ack(second.count)

    with Scripted(serve) as receiver, driver(receiver.host, bulk_max_size=5, timeout=0.3) as client:
        assert 10 == client.send(numbered(10))


def test_a_window_behind_a_slow_one_is_given_up_for_lack_of_progress(driver: MakeDriver) -> None:
    def serve(peer: Peer) -> None:
        first, second = peer.window(), peer.window()
        peer.keep_alive()
        peer.ack(first.count)
        silence(peer, second)

    options = {"bulk_max_size": 5, "timeout": 0.1, "stall_timeout": 0.4}
    with Scripted(serve) as receiver, driver(receiver.host, **options) as client:
        with pytest.raises(Stalled) as lost:
            client.send(numbered(10))

        assert [5, 6, 7, 8, 9] == ids(lost.value.unacked)


def large_events(count: int, size: int) -> list[dict[str, object]]:
    return [{"id": number, "message": "x" * size} for number in range(count)]


SMALL_BUFFERS = 8 << 10


def test_a_receiver_that_takes_no_bytes_is_given_up(driver: MakeDriver) -> None:
    def serve(peer: Peer) -> None:
        peer.read(10)
        hold.wait()

    hold = threading.Event()
    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "timeout": 0.3}
    with Scripted(serve, receive_buffer=SMALL_BUFFERS) as receiver, driver(receiver.host, **options) as client:
        with pytest.raises(ConnectionLost, match=r"the peer took no bytes for 0.3 seconds") as lost:
            client.send(large_events(20, 1_000_000))

        assert list(range(20)) == ids(lost.value.unacked)
        hold.set()


def test_a_receiver_that_takes_bytes_slowly_is_alive(driver: MakeDriver) -> None:
    """Reading the window takes longer than the time-out for silence: it counts from when all is written."""
    pace = threading.Event()

    def serve(peer: Peer) -> None:
        for _ in range(30):
            peer.take(512 << 10)
            pace.wait(0.05)
        peer.ack(peer.window().count)

    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "timeout": 0.7, "stall_timeout": 0.7}
    with Scripted(serve) as receiver, driver(receiver.host, **options) as client:
        assert 20 == client.send(large_events(20, 1_000_000))


def test_a_receiver_that_takes_no_bytes_but_sends_keep_alives_is_alive(driver: MakeDriver) -> None:
    """go-lumber reads no further while its consumer works."""
    pace = threading.Event()

    def serve(peer: Peer) -> None:
        first = peer.window()
        for _ in range(20):
            peer.keep_alive()
            pace.wait(0.05)
        peer.ack(first.count)
        peer.ack(peer.window().count)

    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "timeout": 0.5}
    with Scripted(serve, receive_buffer=SMALL_BUFFERS) as receiver, driver(receiver.host, **options) as client:
        client.post([{"id": -1}])
        assert 20 == client.send(large_events(20, 1_000_000))


def test_keep_alives_do_not_excuse_for_ever_that_no_bytes_are_taken(driver: MakeDriver) -> None:
    def serve(peer: Peer) -> None:
        peer.window()
        keep_alives(0.05)(peer, peer.windows[0])

    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "timeout": 0.2, "stall_timeout": 0.5}
    with Scripted(serve, receive_buffer=SMALL_BUFFERS) as receiver, driver(receiver.host, **options) as client:
        client.post([{"id": -1}])
        with pytest.raises(ConnectionLost) as lost:
            client.send(large_events(20, 1_000_000))

        assert list(range(-1, 20)) == ids(lost.value.unacked)
