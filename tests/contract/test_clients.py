"""What both clients send, what they make of acks, and how they wait for them; see tests/core for each receiver."""

from __future__ import annotations

import struct
import zlib

import pytest

from beats_core import Batch
from support.clients import MakeDriver, ids, numbered
from support.scripted import Peer, Scripted, ack, acknowledged, answering


def test_a_window_is_these_bytes(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, compression_level=0) as client:
        client.post([b'{"a":1}', '{"b":"ü"}', b'{"c":null}'])
        window = receiver.accept().window()

    assert (
        b"2W\x00\x00\x00\x03"
        b'2J\x00\x00\x00\x01\x00\x00\x00\x07{"a":1}'
        b'2J\x00\x00\x00\x02\x00\x00\x00\x0a{"b":"\xc3\xbc"}'
        b'2J\x00\x00\x00\x03\x00\x00\x00\x0a{"c":null}' == window.raw
    )


@pytest.mark.parametrize("level", range(1, 10))
def test_a_compressed_window_is_one_frame_with_a_finished_zlib_stream(driver: MakeDriver, level: int) -> None:
    with Scripted() as receiver, driver(receiver.host, compression_level=level) as client:
        client.post([b'{"a":1}', b'{"b":2}'])
        raw = receiver.accept().window().raw

    frames = b'2J\x00\x00\x00\x01\x00\x00\x00\x07{"a":1}2J\x00\x00\x00\x02\x00\x00\x00\x07{"b":2}'
    assert b"2W\x00\x00\x00\x022C" + struct.pack(">I", len(raw) - 12) == raw[:12]
    assert frames == zlib.decompress(raw[12:])


def test_each_window_is_numbered_from_one(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host, bulk_max_size=3) as client:
        client.send(numbered(7))
        client.send(numbered(2))

        assert [[1, 2, 3], [1, 2, 3], [1], [1, 2]] == [window.sequences for window in receiver.windows]


@pytest.mark.parametrize("level", [0, 3])
def test_each_window_is_one_write_that_waits_for_no_other(driver: MakeDriver, level: int) -> None:
    """With TCP_NODELAY every write of this size travels as one segment, and the receiver's kernel counts segments."""
    with Scripted() as receiver, driver(receiver.host, compression_level=level) as client:
        peer = receiver.accept()
        for count in range(1, 6):
            client.post(numbered(10))
            assert 10 == peer.window().count
            assert count == peer.segments


def test_partial_acks_are_progress_within_the_oldest_window(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        client.post(numbered(10))
        peer = receiver.accept()
        peer.window()

        peer.ack(4)
        assert 4 == client.wait_ack()
        assert list(range(4, 10)) == ids(client.unacked)
        peer.ack(9)
        assert 5 == client.wait_ack()
        assert 1 == client.in_flight
        peer.ack(10)
        assert 1 == client.wait_ack()
        assert 0 == client.in_flight
        assert 0 == len(client.unacked)


def test_acks_settle_posted_batches_oldest_first(driver: MakeDriver) -> None:
    batches = [Batch([b'{"n":1}'] * size) for size in (3, 5, 2)]
    with Scripted() as receiver, driver(receiver.host) as client:
        for batch in batches:
            client.post(batch)
        peer = receiver.accept()
        for batch in batches:
            assert len(batch) == peer.window().count

        peer.send(ack(2) + ack(3) + ack(5) + ack(1))
        settled = client.read_acks()

    assert [(batches[0], 2), (batches[0], 1), (batches[1], 5), (batches[2], 1)] == settled


@pytest.mark.parametrize("acks", [ack(10), ack(0) + ack(3) + ack(10)], ids=["one", "several"])
def test_acks_that_arrive_byte_by_byte_count_when_they_are_whole(driver: MakeDriver, acks: bytes) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        client.post(numbered(10))
        peer = receiver.accept()
        peer.window()

        settled = []
        for position in range(len(acks)):
            peer.send(acks[position : position + 1])
            settled.append(client.wait_ack())

    assert 10 == sum(settled)
    assert {0} == {count for position, count in enumerate(settled) if position % 6 != 5}


def test_an_ack_that_does_not_advance_is_ignored(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        client.post(numbered(10))
        peer = receiver.accept()
        peer.window()

        settled = []
        for sequence in (6, 4, 6, 1, 0, 7, 10):
            peer.ack(sequence)
            settled.append(client.wait_ack())

    assert [6, 0, 0, 0, 0, 1, 3] == settled


def test_a_keep_alive_is_neither_progress_nor_loss(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        client.post(numbered(10))
        peer = receiver.accept()
        peer.window()
        slow = [client.slow]

        peer.keep_alive()
        assert [] == client.read_acks()
        slow.append(client.slow)
        peer.ack(10)
        assert 10 == client.wait_ack()
        slow.append(client.slow)

    assert [False, True, False] == slow


def test_a_keep_alive_on_an_idle_line_is_harmless(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        peer = receiver.accept()
        peer.keep_alive()
        client.post(numbered(1))
        peer.window()
        peer.ack(1)

        assert 1 == client.wait_ack()
        assert not client.slow


def test_windows_are_pipelined(driver: MakeDriver) -> None:
    """The receiver acknowledges nothing before it has as many windows as may be in flight."""

    def serve(peer: Peer) -> None:
        for _ in range(3):
            windows = [peer.window() for _ in range(3)]
            assert peer.is_quiet(0.05)
            for window in windows:
                peer.ack(window.count)

    with Scripted(serve) as receiver, driver(receiver.host, bulk_max_size=10, pipelining=3) as client:
        assert 90 == client.send(numbered(90))


def test_after_a_keep_alive_one_window_is_in_flight_until_all_is_settled(driver: MakeDriver) -> None:
    def serve(peer: Peer) -> None:
        first, second = peer.window(), peer.window()
        peer.keep_alive()
        peer.ack(first.count)
        assert peer.is_quiet(0.2)
        peer.ack(second.count)
        third, fourth = peer.window(), peer.window()  # again two
        peer.ack(third.count)
        peer.ack(fourth.count)

    with Scripted(serve) as receiver, driver(receiver.host, bulk_max_size=10, pipelining=2) as client:
        assert 40 == client.send(numbered(40))


def test_nothing_in_flight_means_nothing_to_wait_for(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        assert [] == client.read_acks()
        assert 0 == client.wait_ack()
        client.send(numbered(1))
        assert [] == client.read_acks()
        assert [] == client.read_acks(at_most=0)
        assert client.ack_due is None


def test_a_look_for_acks_does_not_wait(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, timeout=1000) as client:
        client.post(numbered(1))
        peer = receiver.accept()
        peer.window()

        assert [] == client.read_acks(at_most=0)
        assert [] == client.read_acks(at_most=0.01)
        due = client.ack_due
        assert due is not None
        assert 0 < due <= 1000
        peer.ack(1)
        assert 1 == client.wait_ack(at_most=60)


def test_large_windows_arrive_whole(driver: MakeDriver) -> None:
    """Larger than the buffers of the kernel: the driver has to wait for room while it writes."""
    events = [{"id": number, "message": f"{number:x}" * 300_000} for number in range(20)]
    options = {"compression_level": 0, "bulk_max_bytes": 64 << 20}
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host, **options) as client:
        assert 20 == client.send(events)

        assert [[event["message"] for event in events]] == [
            [event["message"] for event in window.events] for window in receiver.windows
        ]


def test_windows_are_bounded_in_events_and_bytes(driver: MakeDriver) -> None:
    small = [b'{"id":%d}' % number for number in range(10)]  # 8 bytes each
    large = b'{"id":10,"x":"%s"}' % (b"x" * 100)
    with Scripted(answering(acknowledged)) as receiver:
        with driver(receiver.host, bulk_max_size=4, bulk_max_bytes=24) as client:
            assert 11 == client.send([*small, large])

        assert [3, 3, 3, 1, 1] == [window.count for window in receiver.windows]
        assert list(range(11)) == receiver.ids
