"""What both clients promise with every receiver of the field: what arrives, and what is left to send again.

Each test is a row of the matrix that `make matrix` prints; its name is the promise.
"""

from __future__ import annotations

import re
import threading
from itertools import pairwise
from typing import Any

import pytest

from beats_core import Batch, ConnectionLost, ProtocolError
from support.clients import ids
from support.columns import Column, VectorBefore2026
from support.receivers import PATIENCE, Receiver, dying, refusing, undisturbed
from support.rows import Link, delivered, events, windows_at_once
from support.scripted import Peer


@pytest.mark.parametrize("level", [0, 3, 9])
def test_all_events_arrive_once_and_in_order(link: Link, column: Column, level: int) -> None:
    options = {"compression_level": level, "bulk_max_size": 100, "pipelining": windows_at_once(column)}
    with link(column.script(), **options) as (receiver, client):
        assert 1_050 == client.send(events(1_050))
        assert 0 == client.in_flight

    assert list(range(1_050)) == delivered(receiver)
    assert [100] * 10 + [50] == [window.count for window in receiver.windows]
    assert 1 == len(receiver.peers)


def test_windows_of_every_size_are_acknowledged(link: Link, column: Column) -> None:
    sizes = [1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 19, 99, 1, 2]
    with link(column.script()) as (receiver, client):
        assert sizes == [client.send(events(size)) for size in sizes]

    assert sizes == [window.count for window in receiver.windows]
    assert 1 == len(receiver.peers)


def test_every_window_is_numbered_from_one_in_one_frame(link: Link, column: Column) -> None:
    with link(column.script(), bulk_max_size=4, pipelining=windows_at_once(column)) as (receiver, client):
        assert 10 == client.send(events(10))

    assert [[1, 2, 3, 4], [1, 2, 3, 4], [1, 2]] == [window.sequences for window in receiver.windows]
    assert ["C", "C", "C"] == [window.frames for window in receiver.windows]


def test_posted_windows_settle_oldest_first(link: Link, column: Column) -> None:
    batches = [Batch([b'{"id":%d,"@timestamp":"2026-01-02T03:04:05.678Z"}' % n] * n) for n in (7, 20, 1, 6)]
    with link(column.script()) as (receiver, client):
        settled = []
        for batch in batches:
            client.post(batch)
            while client.in_flight >= windows_at_once(column):
                settled += client.read_acks()
        while client.in_flight:
            settled += client.read_acks()

    assert [7] * 7 + [20] * 20 + [1] + [6] * 6 == delivered(receiver)
    whole = {id(batch): 0 for batch in batches}
    for batch, count in settled:
        whole[id(batch)] += count
    assert [7, 20, 1, 6] == list(whole.values())
    assert batches == list(dict.fromkeys(batch for batch, _ in settled))


def test_a_line_is_whole_at_both_ends_until_the_last_ack(link: Link, column: Column) -> None:
    """A receiver that sees the end of the stream closes, and its ack is lost: no half-close."""
    quiet = []

    def listen(receiver: Receiver) -> None:
        quiet.append(receiver.peer.is_quiet(0.02))

    with link(column.script(listen, listen)) as (_, client):
        assert 3 == client.send(events(3))
        client.post(events(3))
        while client.in_flight:
            client.wait_ack()
        client.close()

    assert [True, True] == quiet


def test_a_receiver_that_ends_the_line_instead_of_acking_gets_the_unacked_tail_again(
    link: Link, column: Column
) -> None:
    acked = column.acked_before_last(20)
    with link(column.script(refusing), column.script()) as (receiver, client):
        with pytest.raises(ConnectionLost) as lost:
            client.send(events(20))
        assert list(range(acked, 20)) == ids(lost.value.unacked)
        assert 0 == client.in_flight

        assert 20 - acked == client.send(lost.value.unacked)
    assert list(range(acked, 20)) == ids(Batch(receiver.peers[1].delivered))
    assert [list(range(1, 21 - acked))] == [window.sequences for window in receiver.peers[1].windows]


def test_a_receiver_that_dies_after_acking_a_part_gets_the_rest_again(link: Link, column: Column) -> None:
    options = {"bulk_max_size": 10, "pipelining": windows_at_once(column)}
    with link(column.script(undisturbed, dying), column.script(), **options) as (receiver, client):
        with pytest.raises(ConnectionLost) as lost:
            client.send(events(45))
        left = list(range(10 + column.acked_before_last(10), 45))
        assert left == ids(lost.value.unacked)

        assert len(left) == client.send(lost.value.unacked)
    assert left == ids(Batch(receiver.peers[1].delivered))


def test_what_is_acked_was_delivered_on_that_line_and_all_arrives_by_sending_the_rest_again(
    link: Link, column: Column
) -> None:
    scripts = [column.script(*[undisturbed] * survived, dying) for survived in (0, 1, 2, 3)]
    acked = [0]  # by the first line, by it and the second, and so on
    with link(*scripts, column.script(), bulk_max_size=7, pipelining=windows_at_once(column)) as (receiver, client):
        left: Any = events(100)
        while len(left):
            try:
                client.send(left)
                left = []
            except ConnectionLost as lost:
                left = lost.unacked
            acked.append(100 - len(left))

    for (first, end), peer in zip(pairwise(acked), receiver.peers, strict=True):
        assert set(range(first, end)) <= set(ids(Batch(peer.delivered)))
    assert 5 == len(receiver.peers)


def test_an_event_keeps_its_id_and_its_time_when_it_is_sent_again(link: Link, column: Column) -> None:
    with link(column.script(refusing), column.script()) as (receiver, client):
        with pytest.raises(ConnectionLost) as lost:
            client.send(events(20))
        client.send(lost.value.unacked)

    first, again = ([envelope(event) for event in peer.windows[0].events] for peer in receiver.peers)
    assert first[column.acked_before_last(20) :] == again
    assert 20 == len({name for name, _ in first})
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", time) for _, time in first)


def envelope(event: dict[str, Any]) -> tuple[str, str]:
    return event["@metadata"]["_id"], event["@timestamp"]


def test_an_idle_line_that_the_receiver_has_ended_is_replaced_in_silence(link: Link, column: Column) -> None:
    ended = threading.Event()

    def serve_once(peer: Peer) -> None:
        served = column(peer)
        served.serve(windows=1)
        served.retire()
        ended.set()
        peer.wait_for_end()

    with link(serve_once, column.script()) as (receiver, client):
        assert 3 == client.send(events(3))
        ended.wait()

        assert 4 == client.send(events(4, first=3))
    assert list(range(7)) == delivered(receiver)
    assert 2 == len(receiver.peers)


@pytest.mark.parametrize("sizes", [(6, 20), (20, 6), (8, 8)])
def test_two_windows_at_once_lose_nothing_whatever_their_ack(
    link: Link, column: Column, sizes: tuple[int, int]
) -> None:
    """Vector before mid-2026 takes both for one, and says the number of the last."""
    posted = threading.Event()

    def serve_what_has_come(peer: Peer) -> None:
        posted.wait()
        column(peer).serve()

    count = sum(sizes)
    with link(serve_what_has_come, column.script(), timeout=PATIENCE) as (receiver, client):
        client.post(events(sizes[0]))
        client.post(events(sizes[1], first=sizes[0]))
        posted.set()
        acked = 0
        try:
            while client.in_flight:
                acked += client.wait_ack()
        except ConnectionLost as lost:
            assert column is VectorBefore2026
            assert list(range(acked, count)) == ids(lost.unacked)  # noqa: PT017 - or it is acknowledged
            assert (sizes == (6, 20)) == isinstance(lost.__cause__, ProtocolError)  # noqa: PT017 - as above
            client.send(lost.unacked)

    assert set(range(count)) == set(delivered(receiver))
