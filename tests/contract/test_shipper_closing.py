"""Flush and close: what they promise, how long they take, and that nothing stays behind."""

from __future__ import annotations

import threading
from math import inf
from pathlib import Path
from typing import Any

import pytest

from beats_core import Options, Receiver, Shipper
from support.scripted import Peer, Scripted, Window, answering, silence
from support.shippers import (
    QUIET,
    closed_port,
    ids,
    in_parallel,
    put,
    unaccounted,
    wait_until,
)

LONG = 60.0  # seconds that no test waits out
MOST = 1_728_000.0  # seconds; no option takes more


def shipper_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "beats-shipper"]


def ended(body: threading.Thread) -> bool:
    body.join(LONG / 2)
    return not body.is_alive()


# Flush.


def test_a_flush_is_true_only_when_everything_is_acknowledged() -> None:
    with Scripted() as server, Shipper(server.host) as shipper:
        put(shipper, 1)
        peer = server.accept()
        peer.window()
        assert not shipper.flush(0.05)

        peer.ack(1)
        assert shipper.flush()
        assert shipper.stats().acked == 1


def test_a_flush_of_nothing_is_true_and_starts_nothing() -> None:
    shipper = Shipper(closed_port())

    assert shipper.flush()
    assert [] == shipper_threads()
    shipper.close()
    assert shipper.flush()


def test_a_flush_does_not_wait_for_a_window_to_fill() -> None:
    with Receiver() as receiver, Shipper(receiver.host, flush_interval=LONG) as shipper:
        for number in range(50):
            put(shipper, number)
            assert shipper.flush()

        assert list(range(50)) == ids(receiver.events)


def test_a_flush_that_comes_while_the_first_window_is_stuck_sends_what_gathered() -> None:
    with Scripted() as server, Shipper(server.host, flush_interval=LONG) as shipper:
        put(shipper, 0)
        peer = server.accept()
        assert [0] == peer.window().ids
        put(shipper, 1, 2)
        flushing = threading.Thread(target=shipper.flush)
        flushing.start()

        assert [1, 2] == peer.window().ids
        peer.ack(1)
        peer.ack(2)
        flushing.join()


def test_a_flush_is_about_what_was_accepted_before_it() -> None:
    """It ends although others go on putting."""
    with Receiver() as receiver, Shipper(receiver.host) as shipper:
        stop = threading.Event()

        def go_on(thread: int) -> None:
            if thread == 0:
                for number in range(20):
                    put(shipper, number)
                    assert shipper.flush(LONG)
                    assert number in ids(receiver.events)
                stop.set()
            while not stop.is_set():
                shipper.put({"id": -1})
                stop.wait(0.0001)

        in_parallel(4, go_on)


def test_flushes_of_several_threads_are_all_answered() -> None:
    with Receiver() as receiver, Shipper(receiver.host) as shipper:

        def put_and_flush(thread: int) -> None:
            for number in range(20):
                put(shipper, thread * 100 + number)
                assert shipper.flush(LONG)

        in_parallel(8, put_and_flush)

        assert len(receiver.events) == 160


@pytest.mark.parametrize("timeout", [inf, 1e12])
def test_a_flush_and_a_close_may_wait_for_ever(timeout: float) -> None:
    with Receiver() as receiver:
        shipper = Shipper(receiver.host)
        put(shipper, 1)

        assert shipper.flush(timeout)
        assert shipper.close(timeout).acked == 1


@pytest.mark.parametrize("values", [{"flush_interval": MOST}, {"timeout": MOST, "stall_timeout": MOST}], ids=str)
def test_an_option_may_say_as_good_as_for_ever(values: dict[str, Any]) -> None:
    with Scripted() as server, Shipper(options=Options(hosts=server.host, **values)) as shipper:
        put(shipper, 1)
        peer = server.accept()
        peer.window()
        put(shipper, 2)
        assert not shipper.flush(0.05)
        peer.ack(1)
        peer.window()
        peer.ack(1)

        assert shipper.flush()


def test_a_flush_is_answered_when_the_shipper_closes_meanwhile() -> None:
    with Scripted(answering(silence)) as server:
        for closes_first in (True, False):
            shipper = Shipper(server.host)
            put(shipper, 1)
            answers: list[bool] = []
            flushing = threading.Thread(target=lambda s=shipper, a=answers: a.append(s.flush(LONG)))
            if closes_first:
                shipper.close(0)
            flushing.start()
            shipper.close(0.05)

            assert ended(flushing)
            assert [False] == answers


# Close.


def test_a_close_delivers_and_tells_what_became_of_everything() -> None:
    with Receiver() as receiver:
        with Shipper(receiver.host) as shipper:
            put(shipper, *range(1_000))
            stats = shipper.close()

            assert shipper.closed
        assert (1_000, 1_000, 0, 0) == (stats.accepted, stats.acked, stats.lost, stats.waiting_bytes)
        assert stats == shipper.close()
        assert not stats.hosts[receiver.host].connected
        assert list(range(1_000)) == ids(receiver.events)
    assert [] == shipper_threads()


def test_a_close_with_a_dead_receiver_ends_in_time_and_says_what_is_lost(caplog: pytest.LogCaptureFixture) -> None:
    shipper = Shipper(closed_port(), shutdown_timeout=0.1)
    put(shipper, *range(10))
    stats = shipper.close()

    assert ({"shutdown": 10}, 0, 0) == (stats.dropped, stats.pending, unaccounted(stats))
    assert "10 events were not acknowledged before the end and are lost" in caplog.messages
    assert not shipper.flush()
    assert [] == shipper_threads()


def reads_nothing(peer: Peer) -> None:
    peer.closed.wait(LONG)


def says_it_lives(peer: Peer, window: Window) -> None:
    while not peer.closed.wait(0.01):
        peer.keep_alive()


@pytest.mark.parametrize(
    "script",
    [answering(silence), answering(says_it_lives), reads_nothing],
    ids=["silent", "keep-alives", "reads nothing"],
)
def test_a_close_ends_in_time_whatever_the_receiver_does(script: object) -> None:
    with Scripted(script, receive_buffer=4_096) as server:  # type: ignore[arg-type] # three kinds of functions
        shipper = Shipper(server.host, timeout=LONG, compression_level=0)
        for number in range(20):
            shipper.put({"id": number, "message": "x" * 100_000})
        wait_until(lambda: shipper.stats().in_flight)
        stats = shipper.close(0.1)

    assert ({"shutdown": 20}, 0) == (stats.dropped, unaccounted(stats))


def test_a_close_cuts_the_wait_before_the_next_try_short() -> None:
    host = closed_port()
    shipper = Shipper(host, backoff_init=LONG)
    put(shipper, 1)
    wait_until(lambda: shipper.stats().hosts and shipper.stats().hosts[host].error)
    with Receiver(host) as receiver:
        assert shipper.close().acked == 1

        assert [1] == ids(receiver.events)


def test_a_close_ends_with_the_last_ack_of_whichever_host() -> None:
    with Scripted() as slow, Receiver() as quick:
        options = Options(hosts=(slow.host, quick.host), loadbalance=True, bulk_max_size=1, flush_interval=0)
        shipper = Shipper(options=options)
        put(shipper, *range(10))
        peer = slow.accept()
        peer.window()
        peer.window()
        wait_until(lambda: shipper.stats().acked == 8)
        closing = threading.Thread(target=shipper.close, args=(LONG,))
        closing.start()
        wait_until(lambda: len(shipper_threads()) == 2)
        assert peer.is_quiet(QUIET)  # the quick host's thread waits for the slow one
        peer.ack(1)
        peer.ack(1)

        assert ended(closing)
        assert shipper.stats().acked == 10


def test_what_is_put_after_the_close_is_refused_and_counted() -> None:
    with Receiver() as receiver:
        shipper = Shipper(receiver.host)
        put(shipper, 1)
        shipper.close()

        assert not shipper.put({"id": 2})
        assert not shipper.put({"id": 3}, level=50)
        stats = shipper.close()
    assert ({"closed": 2}, 1, 0) == (stats.dropped, stats.accepted, unaccounted(stats))


def test_each_put_during_a_close_is_either_delivered_or_refused() -> None:
    with Receiver() as receiver:
        for _ in range(5):
            receiver.clear()
            shipper = Shipper(receiver.host)
            accepted = [0] * 4

            def put_or_close(thread: int, shipper: Shipper = shipper, accepted: list[int] = accepted) -> None:
                if thread == 4:
                    wait_until(lambda: all(accepted))
                    shipper.close(LONG)
                while thread < 4 and shipper.put({"id": thread}):
                    accepted[thread] += 1

            in_parallel(5, put_or_close)
            stats = shipper.stats()

            assert sum(accepted) == stats.accepted == stats.acked == len(receiver.events)
            assert unaccounted(stats) == 0


def test_several_threads_may_close_at_once() -> None:
    with Receiver() as receiver:
        shipper = Shipper(receiver.host)
        put(shipper, *range(100))
        in_parallel(8, lambda _: shipper.close())

        assert shipper.stats().acked == 100


def test_a_close_in_the_very_moment_of_the_start_loses_nothing() -> None:
    with Receiver() as receiver:
        accepted = 0
        for _ in range(50):
            shipper = Shipper(receiver.host)

            def begin_or_end(thread: int, shipper: Shipper = shipper) -> None:
                if thread == 0:
                    shipper.put({"id": 0})
                elif thread == 1:
                    assert shipper.flush(LONG)
                else:
                    shipper.close(LONG)

            in_parallel(3, begin_or_end)
            stats = shipper.stats()
            assert (stats.accepted, 0) == (stats.acked, unaccounted(stats))
            accepted += stats.accepted

        assert accepted == len(receiver.events)
    assert [] == shipper_threads()


def test_nothing_of_a_closed_shipper_stays_open() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    with Receiver() as receiver:
        before = descriptors()
        for hosts in ([receiver.host], [closed_port()], [receiver.host, closed_port()]):
            shipper = Shipper(hosts, loadbalance=True)
            put(shipper, *range(100))
            shipper.close(0.2)
        wait_until(lambda: descriptors() == before)
