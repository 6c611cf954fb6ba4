"""What both clients promise every receiver of the field: windows, acks, and how they are waited for."""

from __future__ import annotations

import json
import struct
import zlib
from typing import Any

import pytest

from beats_core import Batch, Client, ConnectionLost, EventTooLarge, OptionError
from support.clients import MakeDriver, ids, numbered
from support.columns import COLUMNS, Column
from support.scripted import Gone, Peer, Scripted, Window, ack, acknowledged, answering


@pytest.fixture(params=COLUMNS, ids=str)
def column(request: pytest.FixtureRequest) -> Column:
    found: Column = request.param
    return found


@pytest.mark.parametrize("level", [0, 3])
def test_every_receiver_gets_all_events_once_and_in_order(driver: MakeDriver, column: Column, level: int) -> None:
    pipelining = 1 if column.merges else 4
    options = {"compression_level": level, "bulk_max_size": 100, "pipelining": pipelining}
    with Scripted(column.script()) as receiver, driver(receiver.host, **options) as client:
        assert 1_050 == client.send(numbered(1_050))
        assert 0 == client.in_flight

        assert list(range(1_050)) == receiver.ids
        assert [100] * 10 + [50] == [window.count for window in receiver.windows]


def test_every_receiver_acknowledges_windows_of_every_size(driver: MakeDriver, column: Column) -> None:
    sizes = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 19, 99, 1, 2]
    with Scripted(column.script()) as receiver, driver(receiver.host) as client:
        assert sizes == [client.send(numbered(size)) for size in sizes]

        assert sizes == [window.count for window in receiver.windows]
        assert 1 == len(receiver.peers)


def test_a_receiver_that_closes_instead_of_acking_gets_the_same_events_again(
    driver: MakeDriver, column: Column
) -> None:
    def refuse(peer: Peer, window: Window) -> None:
        column.closes(peer)
        raise Gone

    with Scripted(column.script(refuse), column.script()) as receiver, driver(receiver.host) as client:
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(20))
        assert list(range(20)) == ids(lost.value.unacked)

        assert 20 == client.send(lost.value.unacked)
        assert [*range(20), *range(20)] == receiver.ids


def test_an_idle_line_that_the_receiver_closed_is_replaced_in_silence(driver: MakeDriver, column: Column) -> None:
    def serve_once(peer: Peer) -> None:
        column.answer(peer, peer.window())
        column.closes(peer)

    with Scripted(serve_once, column.script()) as receiver, driver(receiver.host) as client:
        assert 3 == client.send(numbered(3))
        wait_for_end_of(receiver)

        assert 4 == client.send(numbered(4, first=3))
        assert [[0, 1, 2], [3, 4, 5, 6]] == [window.ids for window in receiver.windows]


def wait_for_end_of(receiver: Scripted) -> None:
    """Wait until the first connection is closed; on loopback the client's kernel knows as soon as ours does."""
    receiver.peers[0].closed.wait()


def test_a_window_is_these_bytes(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, compression_level=0) as client:
        client.post([b'{"a":1}', '{"b":"ü"}', {"c": None}])
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

        assert [events] == [window.events for window in receiver.windows]


def test_windows_are_bounded_in_events_and_bytes(driver: MakeDriver) -> None:
    small = [b'{"id":%d}' % number for number in range(10)]  # 8 bytes each
    large = b'{"id":10,"x":"%s"}' % (b"x" * 100)
    with Scripted(answering(acknowledged)) as receiver:
        with driver(receiver.host, bulk_max_size=4, bulk_max_bytes=24) as client:
            assert 11 == client.send([*small, large])

        assert [3, 3, 3, 1, 1] == [window.count for window in receiver.windows]
        assert list(range(11)) == receiver.ids


def test_ready_json_is_sent_as_it_is(driver: MakeDriver) -> None:
    ready: list[bytes | str] = [b'{"a": 1.10}', '{"b":"\\u00fc"}', b' {"c":1}\n']
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        client.send(ready)

        assert [b'{"a": 1.10}', b'{"b":"\\u00fc"}', b'{"c":1}'] == receiver.windows[0].payloads


def test_any_iterable_of_events_can_be_sent(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        assert 3 == client.send(event for event in numbered(3))
        assert 2 == client.send(tuple(numbered(2)))
        assert 1 == client.send(Batch([b'{"id":7}']))

        assert [0, 1, 2, 0, 1, 7] == receiver.ids


def test_no_events_need_no_receiver(driver: MakeDriver) -> None:
    with Scripted() as receiver:
        gone = receiver.host
    with Scripted() as receiver, driver(receiver.host) as client:
        assert 0 == client.send([])
        assert 0 == client.post([])
        assert 0 == client.send(Batch([]))
        assert 0 == client.in_flight
        assert receiver.accept().is_quiet(0)
    assert 0 == Client(gone).send([])


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"message": "x" * 1000}, EventTooLarge),
        (b'{"message":"' + b"x" * 1000 + b'"}', EventTooLarge),
        (["no", "mapping"], TypeError),
        (None, TypeError),
        ("no object", ValueError),
        (b"[1]", ValueError),
    ],
    ids=["large mapping", "large bytes", "list", "None", "text", "array"],
)
def test_an_event_that_cannot_be_sent_is_refused_before_anything_is_sent(
    driver: MakeDriver, event: Any, error: type[Exception]
) -> None:
    options = {"max_event_bytes": 500, "bulk_max_size": 1}
    with Scripted() as receiver, driver(receiver.host, **options) as client:
        with pytest.raises(error):
            client.send([{"id": 1}, {"id": 2}, event])
        with pytest.raises(error):
            client.post([event])
        assert 0 == client.in_flight

        client.post([{"id": 3}])
        assert [3] == receiver.accept().window().ids


def test_more_events_than_a_window_may_have_are_refused_by_post(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, bulk_max_size=10) as client:
        with pytest.raises(ValueError, match="11 events in one window, bulk_max_size is 10"):
            client.post(numbered(11))
        assert 10 == client.post(numbered(10))
        assert 10 == receiver.accept().window().count


def test_a_closed_client_says_so_until_it_is_connected_again(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        client.close()
        client.close()
        assert [] == client.read_acks()
        with pytest.raises(RuntimeError, match="closed"):
            client.send(numbered(1))
        with pytest.raises(RuntimeError, match="closed"):
            client.post(numbered(1))

        client.connect()
        client.connect()
        assert 1 == client.send(numbered(1))
        assert 2 == len(receiver.peers)


def test_closing_forgets_what_is_in_flight(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        client.post(numbered(3))
        client.close()
        assert 0 == client.in_flight
        assert 0 == len(client.unacked)
        peer = receiver.accept()
        peer.window()
        assert b"" == peer.wait_for_end()


def test_a_client_connects_at_its_first_use() -> None:
    with Scripted(answering(acknowledged)) as receiver:
        client = Client(receiver.host)
        assert -1 == client.fileno()
        assert [] == client.read_acks()
        assert 1 == client.send([{"id": 1}])
        assert client.fileno() >= 0
        client.close()
        assert -1 == client.fileno()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": 0}, "timeout=0: seconds, more than 0"),
        ({"pipelining": 0}, "pipelining=0: a whole number of windows, 1 to 100"),
        ({"compression_level": 10}, "compression_level=10: a whole number, 0 (off) to 9"),
        ({"ssl": {"certificate_authorities": ["/nowhere.pem"]}}, "ssl.certificate_authorities='/nowhere.pem'"),
    ],
)
def test_a_bad_option_is_refused_at_the_call(driver: MakeDriver, options: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError) as refused:
        driver("localhost:5044", **options)

    assert str(refused.value).startswith(named)


def test_a_batch_shows_no_contents() -> None:
    batch = Batch([json.dumps({"password": "secret"}).encode()])

    assert "<Batch of 1 events, 22 bytes>" == repr(batch)
