"""Several hosts in order: away from one that fails or stalls, back to the first when it is there again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from itertools import count, pairwise

import pytest

from beats_core import Receiver, Shipper
from support.lines import LONG, Hesitant, black_hole, lagging, lively, state
from support.scripted import PATIENCE, Peer, Script, Scripted, acknowledged, answering, closes, silence
from support.shippers import QUIET, closed_port, ids, put, repeated, unaccounted, wait_until

# Back to the first.


def test_when_the_first_host_is_there_again_new_windows_go_there_and_nothing_is_repeated() -> None:
    absent, second = closed_port(), Hesitant(2)
    with (
        Scripted(second) as server,
        Shipper(options=lively([absent, server.host], failback_interval=0.1)) as shipper,
    ):
        put(shipper, 0, 1)
        assert second.holding.wait(PATIENCE)
        with Receiver(absent) as first:
            wait_until(lambda: state(shipper, absent) == "connected")
            assert state(shipper, server.host) == "draining"
            put(shipper, 2)
            first.wait_for(1)
            second.go.set()
            assert shipper.flush(LONG)
            assert second.ended.wait(PATIENCE)
            wait_until(lambda: state(shipper, server.host) == "idle")

            assert [2] == ids(first.events)
            assert ([0, 1], 0) == (server.ids, shipper.stats().resent)


def test_under_load_the_way_back_loses_and_repeats_nothing() -> None:
    absent = closed_port()
    left: list[int] = []
    with Scripted(lagging(4, left)) as second:
        options = lively([absent, second.host], failback_interval=0.05, pipelining=4, bulk_max_size=5)
        with Shipper(options=options) as shipper:
            numbers = count()

            def put_until(holds: Callable[[], bool]) -> None:
                while not holds():
                    put(shipper, *(next(numbers) for _ in range(20)))
                    time.sleep(0.001)

            put_until(lambda: shipper.stats().acked > 100)
            with Receiver(absent) as first:
                put_until(lambda: len(first.events) > 100)
                stats = shipper.close(LONG)
                arrived = second.ids + ids(first.events)

    assert list(range(next(numbers))) == sorted(arrived)
    assert [] == repeated(arrived)
    assert (0, 0, 0) == (stats.resent, stats.lost, unaccounted(stats))
    assert [0] == left


def test_while_the_first_host_does_not_answer_at_all_the_second_is_used_as_before() -> None:
    absent = closed_port()
    with Receiver() as second:
        shipper = Shipper(options=lively([absent, second.host], failback_interval=0.05))
        put(shipper, 0)
        assert shipper.flush(LONG)
        with black_hole(int(absent.rpartition(":")[2])):
            wait_until(lambda: state(shipper, absent) == "connecting")
            for number in range(1, 20):
                put(shipper, number)
                assert shipper.flush(LONG)
            assert state(shipper, absent) == "connecting"
            stats = shipper.close()  # and it does not wait for it either

        assert list(range(20)) == ids(second.events)
        assert stats.resent == 0


def test_a_first_host_that_takes_windows_and_closes_is_tried_once_an_interval() -> None:
    tried: list[float] = []

    def closes(peer: Peer) -> None:
        peer.window()
        tried.append(time.monotonic())

    with Scripted(closes) as first, Receiver() as second:
        with Shipper(options=lively([first.host, second.host], failback_interval=0.2)) as shipper:
            for number in count():
                put(shipper, number)
                time.sleep(0.002)
                if len(tried) >= 4:
                    break
            stats = shipper.close(LONG)

        assert set(range(number + 1)) == set(ids(second.events))
        assert stats.lost == 0
    assert min(later - before for before, later in pairwise(tried)) >= 0.9 * 0.2


def test_a_first_host_that_accepts_and_never_acknowledges_holds_one_window_and_no_more() -> None:
    """Everything else goes to the second meanwhile, and in the end that window too."""
    absent = closed_port()
    with Receiver() as second:
        shipper = Shipper(options=lively([absent, second.host], failback_interval=0.05))
        put(shipper, 0)
        assert shipper.flush(LONG)
        with Scripted(port=int(absent.rpartition(":")[2])) as first:
            peer = first.accept()
            put(shipper, *range(1, 50))
            assert 1 == len(peer.window().ids)
            wait_until(lambda: shipper.stats().acked == 49)
            assert peer.is_quiet(QUIET)
            peer.close()
            assert shipper.flush(LONG)
            assert 1 == len({peer for peer in first.peers if peer.windows})
        stats = shipper.close()

        assert list(range(50)) == sorted(ids(second.events))
        assert (1, 0, 0) == (stats.resent, stats.lost, unaccounted(stats))


def test_after_a_loss_a_first_host_that_was_silent_is_not_preferred() -> None:
    """It would hold up everything each time that the second closes a connection, as balancers do."""
    with (
        Scripted(answering(silence)) as first,
        Scripted(answering(acknowledged, closes), answering(acknowledged)) as second,
        Shipper(options=lively([first.host, second.host], ack_timeout=0.2, failback_interval=None)) as shipper,
    ):
        for number in range(3):
            put(shipper, number)
            assert shipper.flush(LONG)

        assert [0, 1, 1, 2] == second.ids
        assert 1 == len(first.peers)


def test_a_host_that_stalls_is_left_also_when_its_lines_have_less_time_than_that() -> None:
    def keeps_alive(peer: Peer) -> None:
        peer.window()
        while not peer.closed.wait(0.02):
            peer.keep_alive()

    with (
        Scripted(keeps_alive) as first,
        Receiver() as second,
        Shipper(options=lively([first.host, second.host], ttl=0.05, stall_timeout=0.3)) as shipper,
    ):
        put(shipper, *range(10))
        second.wait_for(10)
        assert shipper.flush(LONG)

        assert list(range(10)) == sorted(ids(second.events))


def test_a_first_host_on_trial_is_left_when_the_second_is_lost_meanwhile() -> None:
    with (
        Scripted(answering(silence)) as first,
        Scripted() as second,
        Shipper(options=lively([first.host, second.host], stall_timeout=1.0, failback_interval=0.05)) as shipper,
    ):
        put(shipper, 0)
        for number in range(3):
            peer = second.accept()
            assert [number] == peer.window().ids
            peer.ack(1)
            wait_until(partial(lambda seen: len(first.peers) == seen + 2, number))
            put(shipper, number + 1)
            wait_until(partial(lambda seen: first.peers[seen + 1].windows, number))
            peer.close()

        peer = second.accept()
        assert [3] == peer.window().ids
        peer.ack(1)
        assert shipper.flush(LONG)


def test_a_first_host_that_was_not_put_to_the_test_is_not_preferred_to_one_that_works() -> None:
    absent = closed_port()
    with Receiver() as second:
        options = lively([absent, second.host], failback_interval=0.05, idle_timeout=0.2)
        with Shipper(options=options) as shipper:
            put(shipper, 0)
            assert shipper.flush(LONG)
            with Scripted(answering(silence), port=int(absent.rpartition(":")[2])):
                wait_until(lambda: state(shipper, absent) == "connected")
                wait_until(lambda: state(shipper, absent) == state(shipper, second.host) == "idle")
                put(shipper, 1)
                assert shipper.flush(LONG)

        assert [0, 1] == ids(second.events)


def test_a_line_that_is_lost_does_not_wait_for_the_first_host_that_is_just_being_tried() -> None:
    absent = closed_port()
    go = threading.Event()

    def closes_when_told(peer: Peer) -> None:
        peer.window()
        assert go.wait(PATIENCE)

    with Scripted(closes_when_told) as second, Receiver() as third:
        with Shipper(options=lively([absent, second.host, third.host], failback_interval=0.05)) as shipper:
            put(shipper, 0)
            wait_until(lambda: state(shipper, second.host) == "connected")
            with black_hole(int(absent.rpartition(":")[2])):
                wait_until(lambda: state(shipper, absent) == "connecting")
                go.set()
                assert shipper.flush(PATIENCE)

        assert [0] == ids(third.events)


def test_without_an_interval_it_stays_where_it_is() -> None:
    absent = closed_port()
    with Receiver() as second, Shipper(options=lively([absent, second.host], failback_interval=None)) as shipper:
        put(shipper, 0)
        assert shipper.flush(LONG)
        with Receiver(absent) as first:
            time.sleep(QUIET)
            put(shipper, 1)
            assert shipper.flush(LONG)

            assert [] == first.events


def test_an_idle_line_that_was_closed_is_opened_again_at_the_host_it_was_at() -> None:
    """So that the next event does not wait for the first host to answer; that is tried aside."""
    absent = closed_port()
    with Receiver() as second:
        options = lively([absent, second.host], idle_timeout=0.05, failback_interval=None)
        with Shipper(options=options) as shipper:
            put(shipper, 0)
            assert shipper.flush(LONG)
            wait_until(lambda: state(shipper, second.host) == "idle")
            with black_hole(int(absent.rpartition(":")[2])):
                put(shipper, 1)
                assert shipper.flush(LONG)

        assert [0, 1] == ids(second.events)


# Away from one that does not get on.


def keeps_alive(peer: Peer) -> None:
    window = peer.window()
    peer.ack(window.count)
    while not peer.closed.wait(0.02):
        peer.keep_alive()


def is_silent(peer: Peer) -> None:
    window = peer.window()
    peer.ack(window.count)
    peer.closed.wait(LONG)


@pytest.mark.parametrize("script", [keeps_alive, is_silent], ids=["keep-alives only", "silent"])
def test_a_host_that_stops_acknowledging_is_left_for_the_next_although_it_had_worked(script: Script) -> None:
    with Scripted(script) as first, Receiver() as second:
        options = lively([first.host, second.host], stall_timeout=0.3, ack_timeout=0.3, failback_interval=LONG)
        with Shipper(options=options) as shipper:
            put(shipper, 0)
            wait_until(lambda: shipper.stats().acked == 1)
            put(shipper, 1, 2, 3)
            assert shipper.flush(LONG)

        assert [1, 2, 3] == sorted(ids(second.events))
        assert len(first.peers) == 1


def test_of_several_hosts_that_stall_each_is_tried_before_the_first_again() -> None:
    with Scripted(keeps_alive, answering(acknowledged)) as first, Scripted(keeps_alive) as second:
        options = lively([first.host, second.host], stall_timeout=0.2, pipelining=1, failback_interval=LONG)
        with Shipper(options=options) as shipper:
            put(shipper, 0, 1, 2)
            assert shipper.flush(LONG)

        assert ([0, 2], [1]) == (first.ids, second.ids)
        assert (2, 1) == (len(first.peers), len(second.peers))


def test_a_single_host_that_stalls_is_connected_to_again() -> None:
    with Scripted(keeps_alive, answering(acknowledged)) as server:
        with Shipper(options=lively(server.host, stall_timeout=0.1)) as shipper:
            put(shipper, 0, 1)
            assert shipper.flush(LONG)

        assert len(server.peers) == 2


# Several workers.


def test_so_many_workers_have_a_line_each_to_the_first_host_that_works() -> None:
    holding = [Hesitant(1) for _ in range(3)]
    absent = closed_port()
    with Scripted(*holding) as first, Receiver() as second:
        options = lively([absent, first.host, second.host], workers=3, pipelining=1)
        with Shipper(options=options) as shipper:
            put(shipper, 0, 1, 2)
            for script in holding:
                assert script.holding.wait(PATIENCE)
            stats = shipper.stats().hosts[first.host]
            assert ("connected", 3, 3) == (stats.state, stats.connections, stats.in_flight)
            for script in holding:
                script.go.set()
            assert shipper.flush(LONG)

            assert shipper.stats().hosts[first.host].acked == 3
        assert [0, 1, 2] == sorted(first.ids)
        assert [] == second.events


# Nothing at all.


def test_a_shipper_that_is_not_enabled_accepts_nothing_and_starts_nothing() -> None:
    with Receiver() as receiver, Shipper(receiver.host, enabled=False) as shipper:
        assert not shipper.put({"id": 1})
        assert shipper.flush()
        stats = shipper.close()

        assert [] == receiver.events
    assert (0, {}, {}) == (stats.accepted, stats.dropped, stats.hosts)
