"""One line takes the place of another: when its time is up, or when it was idle for too long."""

from __future__ import annotations

import socket
import time
from itertools import count

import pytest

from beats_core import Shipper
from support.lines import LONG, Hesitant, lagging, lively, state
from support.scripted import PATIENCE, Peer, Scripted, acknowledged, answering, silence
from support.shippers import QUIET, in_parallel, put, repeated, unaccounted, wait_until

# Its time is up.


def test_lines_change_under_load_and_each_is_closed_after_its_last_ack() -> None:
    left: list[int] = []
    with Scripted(lagging(4, left)) as server:
        with Shipper(options=lively(server.host, ttl=0.05, pipelining=4, bulk_max_size=5)) as shipper:
            for number in count():
                put(shipper, number)
                if number % 100 == 0:
                    time.sleep(0.001)
                    if shipper.stats().hosts and shipper.stats().hosts[server.host].connections >= 6:
                        break
            stats = shipper.close(LONG)
        wait_until(lambda: len(left) == len(server.peers))

        assert list(range(number + 1)) == sorted(server.ids)
        assert [] == repeated(server.ids)
        assert (0, 0, 0) == (stats.resent, stats.lost, unaccounted(stats))
        assert stats.hosts[server.host].connections == len(server.peers) >= 6
        assert {0} == set(left)
        assert all(peer.windows for peer in server.peers[:-1])


def test_new_windows_go_to_the_new_line_and_the_old_one_waits_for_its_acks() -> None:
    first = Hesitant(2)
    with Scripted(first, answering(acknowledged)) as server, Shipper(options=lively(server.host, ttl=0.2)) as shipper:
        put(shipper, 0, 1)
        wait_until(lambda: len(server.peers) == 2)
        put(shipper, 2, 3)
        wait_until(lambda: shipper.stats().acked == 2)
        stats = shipper.stats()
        assert ("connected", 2) == (stats.hosts[server.host].state, stats.hosts[server.host].in_flight)
        first.go.set()

        assert shipper.flush(LONG)
        assert first.ended.wait(PATIENCE)
        assert [0, 1, 2, 3] == sorted(server.ids)
        assert shipper.stats().resent == 0


def test_while_no_other_line_can_be_opened_the_old_one_goes_on() -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    with Shipper(options=lively(f"127.0.0.1:{port}", ttl=0.05)) as shipper:
        put(shipper, 0)
        peer = Peer(listener.accept()[0])
        listener.close()
        peer.window()
        wait_until(lambda: "refused" in (shipper.stats().hosts[f"127.0.0.1:{port}"].error or ""))
        peer.ack(1)
        for number in (1, 2, 3):
            put(shipper, number)
            assert [number] == peer.window().ids
            peer.ack(1)
        with Scripted(answering(acknowledged), port=port) as server:
            wait_until(lambda: server.peers)  # it is tried again
            assert b"" == peer.wait_for_end()
            put(shipper, 4)
            assert shipper.flush(LONG)

            assert [4] == server.ids
        assert shipper.stats().resent == 0
    peer.close()


def test_an_old_line_that_is_silent_is_given_up_like_any_other() -> None:
    with Scripted(answering(silence), answering(acknowledged)) as server:
        with Shipper(options=lively(server.host, ttl=0.1, ack_timeout=0.5)) as shipper:
            put(shipper, 0, 1)
            wait_until(lambda: len(server.peers) >= 2)
            assert shipper.flush(LONG)
            stats = shipper.stats()

        assert (2, 2) == (stats.acked, stats.resent)
        assert "silent" in (stats.hosts[server.host].error or "")


def test_an_old_line_that_only_keeps_alive_is_given_up_like_any_other() -> None:
    def keeps_alive(peer: Peer) -> None:
        peer.window()
        while not peer.closed.wait(0.02):
            peer.keep_alive()

    with (
        Scripted(keeps_alive, answering(acknowledged)) as server,
        Shipper(options=lively(server.host, ttl=0.1, stall_timeout=0.5)) as shipper,
    ):
        put(shipper, 0)
        wait_until(lambda: len(server.peers) >= 2)
        put(shipper, 1)
        wait_until(lambda: shipper.stats().acked == 2)

        assert shipper.stats().resent == 1


def test_a_line_that_is_lost_while_an_old_one_is_drained_is_replaced_at_once() -> None:
    first = Hesitant(2)

    def closes(peer: Peer) -> None:
        peer.window()

    with Scripted(first, closes, answering(acknowledged)) as server:
        with Shipper(options=lively(server.host, ttl=0.1)) as shipper:
            put(shipper, 0, 1)
            wait_until(lambda: len(server.peers) >= 2)
            put(shipper, 2)
            wait_until(lambda: shipper.stats().acked == 1)
            first.go.set()
            assert shipper.flush(LONG)

        assert [0, 1, 2, 2] == sorted(server.ids)
        assert first.ended.wait(PATIENCE)


def test_a_close_in_the_middle_of_a_hand_over_waits_for_both_lines() -> None:
    first, second = Hesitant(2), Hesitant(1)
    with Scripted(first, second) as server:
        shipper = Shipper(options=lively(server.host, ttl=0.1))
        put(shipper, 0, 1)
        wait_until(lambda: len(server.peers) == 2)
        put(shipper, 2)
        assert second.holding.wait(PATIENCE)

        def close_or_acknowledge(thread: int) -> None:
            if thread:
                assert shipper.close(LONG).acked == 3
            else:
                wait_until(lambda: shipper.closed)
                first.go.set()
                assert first.ended.wait(PATIENCE)
                second.go.set()

        in_parallel(2, close_or_acknowledge)
        assert second.ended.wait(PATIENCE)
        assert (0, 0) == (shipper.stats().resent, shipper.stats().lost)


def test_a_close_in_the_middle_of_a_hand_over_ends_in_time() -> None:
    with Scripted(answering(silence)) as server:
        shipper = Shipper(options=lively(server.host, ttl=0.1))
        put(shipper, 0, 1)
        wait_until(lambda: len(server.peers) == 2)
        put(shipper, 2)
        wait_until(lambda: 2 in server.ids)
        stats = shipper.close(0.1)

    assert ({"shutdown": 3}, 0) == (stats.dropped, unaccounted(stats))


# It is idle.


def test_an_idle_line_is_closed_without_a_word_and_the_next_event_opens_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with Scripted(answering(acknowledged)) as server, Shipper(options=lively(server.host, idle_timeout=0.1)) as shipper:
        for number in range(3):
            put(shipper, number)
            assert shipper.flush(LONG)
            assert server.peers[number].closed.wait(PATIENCE)
            wait_until(lambda: state(shipper, server.host) == "idle")

        assert [[0], [1], [2]] == [window.ids for window in server.windows]
        assert shipper.stats().hosts[server.host].error is None
    assert [] == caplog.messages


def test_lines_whose_time_is_up_sooner_than_they_are_idle_are_not_renewed_for_ever() -> None:
    with (
        Scripted(answering(acknowledged)) as server,
        Shipper(options=lively(server.host, ttl=0.05, idle_timeout=0.3)) as shipper,
    ):
        put(shipper, 0)
        wait_until(lambda: len(server.peers) >= 3)
        wait_until(lambda: state(shipper, server.host) == "idle")
        connections = len(server.peers)
        time.sleep(2 * QUIET)

        assert connections == len(server.peers)


def test_a_line_on_which_an_ack_is_due_is_not_idle() -> None:
    first = Hesitant(1)
    with (
        Scripted(first, answering(acknowledged)) as server,
        Shipper(options=lively(server.host, idle_timeout=0.05)) as shipper,
    ):
        put(shipper, 0)
        assert first.holding.wait(PATIENCE)
        assert not server.peers[0].closed.wait(QUIET)
        first.go.set()
        assert shipper.flush(LONG)
        assert first.ended.wait(PATIENCE)

        assert shipper.stats().resent == 0
