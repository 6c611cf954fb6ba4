"""What the Shipper does when lines are lost and receivers misbehave: nothing is lost, and little is sent twice."""

from __future__ import annotations

import threading
import time
from collections import Counter
from itertools import count
from typing import Any

import pytest

from beats_core import Options, Receiver, Shipper, Stats
from beats_core.backlog import REFUSALS
from beats_core.backoff import Backoff
from support.lines import black_hole
from support.scripted import (
    Answer,
    Peer,
    Scripted,
    Window,
    ack,
    acknowledged,
    after,
    answering,
    closes,
    ends,
    resets,
    sends,
)
from support.shippers import closed_port, ids, put, unaccounted, wait_until

LONG = 60.0  # seconds that no test waits out


def options(host: str, **values: Any) -> Options:
    """Options with which hardly anything is waited for: neither before the next try nor for a window to fill."""
    defaults: dict[str, Any] = {"backoff_init": 0.001, "backoff_max": 0.002, "flush_interval": 0.001}
    return Options(hosts=host, **{**defaults, **values})


def ship(shipper_options: Options, count: int) -> Stats:
    """Put that many events, wait until all are acknowledged, and close."""
    with Shipper(options=shipper_options) as shipper:
        put(shipper, *range(count))
        assert shipper.flush(LONG)
        stats = shipper.close()
    assert (0, 0, 0) == (stats.lost, stats.dead, unaccounted(stats))
    return stats


def one_window(server: Scripted, shipper: Shipper, *ids: int) -> Peer:
    """Have these events in flight, as one window, and nothing else; return the connection."""
    put(shipper, -1)
    peer = server.accept()
    assert [-1] == peer.window().ids
    put(shipper, *ids)  # they gather
    peer.ack(1)
    assert list(ids) == peer.window().ids
    return peer


# Lost lines.


def test_after_a_partial_ack_only_the_rest_is_sent_again() -> None:
    with Scripted() as server, Shipper(options=options(server.host, flush_interval=LONG)) as shipper:
        peer = one_window(server, shipper, 1, 2, 3)
        peer.ack(2)
        peer.close()
        peer = server.accept()

        assert [3] == peer.window().ids
        peer.ack(1)
        assert shipper.flush()
        assert shipper.stats().resent == 1


def test_what_was_in_flight_goes_first_on_the_next_line_oldest_first() -> None:
    with Scripted() as server, Shipper(options=options(server.host, bulk_max_size=1)) as shipper:
        put(shipper, *range(4))
        peer = server.accept()
        assert [[0], [1]] == [peer.window().ids, peer.window().ids]
        peer.reset()
        peer = server.accept()

        for number in range(4):
            assert [number] == peer.window().ids
            peer.ack(1)
        assert shipper.flush()
        assert shipper.stats().resent == 2


def test_an_acknowledged_window_is_not_sent_again_when_the_line_ends_with_its_ack() -> None:
    with Scripted(answering(acknowledged, after(acknowledged, closes)), answering(acknowledged)) as server:
        ship(options(server.host, bulk_max_size=1, pipelining=1), 10)

        assert list(range(10)) == server.ids


@pytest.mark.parametrize("end", [closes, ends, resets])
def test_whatever_way_lines_end_everything_arrives(end: Answer) -> None:
    every_third = answering(acknowledged, acknowledged, end)
    with Scripted(every_third) as server:
        stats = ship(options(server.host, bulk_max_size=7), 200)

        assert set(range(200)) == set(server.ids)
        assert len(server.ids) - 200 <= stats.resent


def test_an_event_has_the_same_id_each_time_it_is_sent() -> None:
    with Scripted(answering(closes), answering(closes), answering(acknowledged)) as server:
        ship(options(server.host), 1)

        assert [0, 0, 0] == server.ids
        assert len({event["@metadata"]["_id"] for window in server.windows for event in window.events}) == 1


def test_an_end_that_came_with_an_ack_is_noticed_at_once() -> None:
    """What is behind the acknowledged window does not wait for a time-out of 30 seconds."""
    with Scripted() as server, Shipper(options=options(server.host, bulk_max_size=1)) as shipper:
        put(shipper, 0, 1)
        peer = server.accept()
        assert [[0], [1]] == [peer.window().ids, peer.window().ids]
        peer.send(ack(1) + b"garbage")
        peer = server.accept()

        assert [1] == peer.window().ids
        peer.ack(1)
        assert shipper.flush()


@pytest.mark.parametrize(
    "answer",
    [sends(ack(99)), sends(b"garbage"), sends(ack(1, version=1)), sends(b"2J\0\0\0\1\0\0\0\2{}")],
    ids=["over-ack", "garbage", "version 1", "an event"],
)
def test_what_no_receiver_may_say_costs_the_line_and_nothing_else(answer: Answer) -> None:
    with Scripted(answering(answer), answering(answer), answering(acknowledged)) as server:
        stats = ship(options(server.host), 1)

        assert [0, 0, 0] == server.ids
    assert stats.resent == 2


# Receivers that do not answer.


def test_a_silent_receiver_is_given_up_again_and_again_and_no_event_is_held_guilty() -> None:
    """The same window each time: what is refused would be halved by now."""
    with Scripted() as server, Shipper(options=options(server.host, flush_interval=LONG, timeout=0.05)) as shipper:
        peer = one_window(server, shipper, 1, 2, 3)
        for _ in range(4):
            peer = server.accept()
            assert [1, 2, 3] == peer.window().ids
        wait_until(lambda: "silent" in (shipper.stats().hosts[server.host].error or ""))
        server.accept().window()
        shipper.close(0)


def test_keep_alives_are_patience_until_the_stall_timeout() -> None:
    def stalls(peer: Peer, window: Window) -> None:
        while not peer.closed.wait(0.02):
            peer.keep_alive()

    with Scripted(answering(stalls), answering(acknowledged)) as server:
        stats = ship(options(server.host, timeout=0.5, stall_timeout=0.2), 3)

    assert "keep-alives" in (stats.hosts[server.host].error or "")


def test_a_receiver_that_works_longer_than_the_timeout_gets_nothing_twice() -> None:
    def works(peer: Peer, window: Window) -> None:
        for _ in range(4):
            peer.keep_alive()
            assert not peer.closed.wait(0.3)
        peer.ack(window.count)

    with Scripted(answering(works)) as server:
        stats = ship(options(server.host, timeout=1.0), 1)

        assert [0] == server.ids
    assert stats.resent == 0


def test_a_receiver_that_takes_no_bytes_is_given_up() -> None:
    def takes_nothing(peer: Peer) -> None:
        peer.closed.wait(LONG)

    with Scripted(takes_nothing, answering(acknowledged), receive_buffer=4_096) as server:
        with Shipper(options=options(server.host, timeout=0.2, compression_level=0)) as shipper:
            for number in range(20):
                shipper.put({"id": number, "message": "x" * 1_000_000}, level=40)
            assert shipper.flush(LONG)
        server.peers[0].close()

        assert set(range(20)) == set(server.ids)


def test_a_host_that_does_not_answer_at_all_is_passed_over() -> None:
    with black_hole() as hole, Receiver() as receiver:
        with Shipper([hole, receiver.host], timeout=0.1) as shipper:
            put(shipper, *range(10))
            assert shipper.flush(LONG)
            assert "timed out" in (shipper.stats().hosts[hole].error or "")

        assert list(range(10)) == ids(receiver.events)


def test_closing_does_not_wait_for_a_connection_that_does_not_come_about() -> None:
    with black_hole() as hole:
        shipper = Shipper(hole, timeout=LONG)
        put(shipper, 1)
        wait_until(lambda: shipper.stats().pending)
        stats = shipper.close(0.1)

        assert ({"shutdown": 1}, 0) == (stats.dropped, unaccounted(stats))


# Back-off.


def test_waits_grow_while_a_host_accepts_connections_and_closes_them_at_once() -> None:
    """To be connected proves nothing. Half of each wait is certain: 5, 10, 20, 40 and 80 milliseconds."""
    with Scripted(Peer.close) as server, Shipper(server.host, backoff_init=0.01, shutdown_timeout=0) as shipper:
        began = time.monotonic()
        put(shipper, 1)
        wait_until(lambda: (stats := shipper.stats().hosts.get(server.host)) and stats.connections >= 6)

        assert time.monotonic() - began >= 0.155


def test_only_an_ack_begins_the_waits_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a connection nor a keep-alive does."""
    noted: list[str] = []

    class Noting(Backoff):
        def reset(self) -> None:
            noted.append("reset")
            super().reset()

        def wait_time(self) -> float:
            noted.append("wait")
            return super().wait_time()

    monkeypatch.setattr("beats_core.sender.Backoff", Noting)
    alive = after(lambda peer, window: peer.keep_alive(), ends)
    with Scripted(Peer.close, answering(closes), answering(alive), answering(acknowledged)) as server:
        ship(options(server.host), 1)

    assert ["wait", "wait", "reset"] == noted[-3:]
    assert noted.count("reset") == 1


def test_a_host_that_is_down_is_tried_until_it_is_there() -> None:
    host = closed_port()
    with Shipper(options=options(host)) as shipper:
        put(shipper, *range(10))
        wait_until(lambda: shipper.stats().hosts and shipper.stats().hosts[host].error)
        with Receiver(host) as receiver:
            put(shipper, *range(10, 20))
            assert shipper.flush(LONG)

            assert list(range(20)) == ids(receiver.events)


# Poison.


def is_poisoned(window: Window) -> bool:
    return 666 in window.ids


def refuses_poison(peer: Peer, window: Window) -> None:
    (closes if is_poisoned(window) else acknowledged)(peer, window)


@pytest.mark.parametrize("end", [closes, ends, resets])
def test_a_poisonous_event_dies_alone_while_the_program_goes_on(end: Answer) -> None:
    def refuses(peer: Peer, window: Window) -> None:
        (end if is_poisoned(window) else acknowledged)(peer, window)

    with Scripted(answering(refuses)) as server:
        shipper = Shipper(options=options(server.host, bulk_max_size=64))
        put(shipper, *range(600), 666, *range(1_000, 1_400))
        number = count(2_000)
        while not shipper.stats().dead:  # only what refuses one event and takes others refuses that event
            put(shipper, next(number))
            shipper.flush(0.005)
        put(shipper, *range(9_000, 9_100))
        assert shipper.flush(LONG)
        stats = shipper.close()

        acked = [number for window in server.windows if not is_poisoned(window) for number in window.ids]
    assert stats.dead == 1
    assert (stats.accepted - 1, 0, 0) == (stats.acked, stats.lost, unaccounted(stats))
    assert stats.accepted - 1 == len(set(acked))
    assert {*range(600), *range(1_000, 1_400), *range(9_000, 9_100)} <= set(acked)


def test_a_flush_during_which_an_event_dies_is_not_true() -> None:
    with Scripted(answering(refuses_poison)) as server, Shipper(options=options(server.host)) as shipper:
        put(shipper, 666)
        wait_until(lambda: len(server.windows) >= 2 * REFUSALS)  # it is suspect
        answers: list[bool] = []
        flushing = threading.Thread(target=lambda: answers.append(shipper.flush(LONG)))
        flushing.start()
        for number in range(REFUSALS):
            put(shipper, number)
            wait_until(lambda: shipper.stats().acked > number)  # noqa: B023 - it is called at once
            tried = len(server.windows)
            wait_until(lambda: shipper.stats().dead or len(server.windows) >= tried + 2)  # noqa: B023
        flushing.join()

        assert ([False], 1) == (answers, shipper.stats().dead)
        put(shipper, REFUSALS)
        assert shipper.flush(LONG)


def test_an_outage_in_which_every_connection_is_closed_kills_nothing() -> None:
    outage = [answering(closes)] * 30
    with Scripted(*outage, answering(acknowledged)) as server:
        stats = ship(options(server.host, bulk_max_size=4), 20)

        arrived = Counter(number for peer in server.peers[30:] for window in peer.windows for number in window.ids)
    assert Counter(range(20)) == arrived
    assert stats.dead == 0
