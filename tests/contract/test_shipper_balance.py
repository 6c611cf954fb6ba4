"""Several hosts at once: whoever has room takes, and nobody waits for one that is slow or dead."""

from __future__ import annotations

import time

import pytest

from beats_core import Receiver, Shipper
from support.lines import LONG, Hesitant, lively, state
from support.scripted import PATIENCE, Peer, Script, Scripted, acknowledged, answering
from support.shippers import closed_port, ids, put, unaccounted, wait_until


def test_each_host_has_as_many_windows_as_it_may_and_the_next_goes_to_whichever_is_free() -> None:
    with Scripted() as one, Scripted() as two, Scripted() as three:
        servers = [one, two, three]
        options = lively([server.host for server in servers], loadbalance=True, idle_timeout=None)
        with Shipper(options=options) as shipper:
            put(shipper, *range(7))
            peers = [server.accept() for server in servers]
            held = [number for peer in peers for number in peer.window().ids + peer.window().ids]
            assert list(range(6)) == sorted(held)
            assert {2} == {stats.in_flight for stats in shipper.stats().hosts.values()}

            peers[1].ack(1)
            assert [6] == peers[1].window().ids
            for peer in peers:
                peer.ack(1)
                peer.ack(1)
            assert shipper.flush(LONG)
            assert shipper.stats().resent == 0


def test_each_host_has_so_many_workers() -> None:
    scripts = [Hesitant(1) for _ in range(4)]
    with Scripted(*scripts[:2]) as one, Scripted(*scripts[2:]) as other:
        options = lively([one.host, other.host], loadbalance=True, workers=2, pipelining=1)
        with Shipper(options=options) as shipper:
            put(shipper, *range(4))
            for script in scripts:
                assert script.holding.wait(PATIENCE)
            assert {one.host: 2, other.host: 2} == {
                host: stats.connections for host, stats in shipper.stats().hosts.items()
            }
            for script in scripts:
                script.go.set()
            assert shipper.flush(LONG)


def resets(peer: Peer) -> None:
    peer.window()
    peer.reset()


def keeps_alive(peer: Peer) -> None:
    while not peer.closed.wait(0.02):
        peer.keep_alive()


@pytest.mark.parametrize("script", [Peer.close, resets], ids=["closes at once", "takes a window and resets"])
def test_a_host_that_closes_each_connection_delays_nothing(script: Script) -> None:
    with Scripted(script) as bad, Receiver() as one, Receiver() as two:
        options = lively([bad.host, one.host, two.host], loadbalance=True, backoff_init=LONG, backoff_max=LONG)
        with Shipper(options=options) as shipper:
            put(shipper, *range(200))
            wait_until(lambda: state(shipper, bad.host) == "resting")
            put(shipper, *range(200, 400))
            assert shipper.flush(PATIENCE)
            stats = shipper.stats()

        assert list(range(400)) == sorted(ids(one.events + two.events))
    assert (0, 0, 0) == (stats.lost, stats.dead, unaccounted(stats))


def test_a_dead_host_of_three_delays_nothing() -> None:
    dead = closed_port()
    with Receiver() as one, Receiver() as two:
        options = lively([dead, one.host, two.host], loadbalance=True, backoff_init=LONG, backoff_max=LONG)
        with Shipper(options=options) as shipper:
            for number in range(50):
                put(shipper, number)
                assert shipper.flush(PATIENCE)
            resting = shipper.stats().hosts[dead]

        assert ("resting", 0) == (resting.state, resting.acked)
        assert resting.retry_at is not None
        assert resting.retry_at > time.time()
        assert list(range(50)) == sorted(ids(one.events + two.events))


def test_what_a_host_that_stalls_holds_goes_to_the_others_at_once_and_it_rests() -> None:
    with Scripted(keeps_alive) as bad, Receiver() as one, Receiver() as two:
        options = lively(
            [bad.host, one.host, two.host], loadbalance=True, stall_timeout=0.3, backoff_init=LONG, backoff_max=LONG
        )
        with Shipper(options=options) as shipper:
            number = 0
            while not shipper.stats().hosts or not shipper.stats().hosts[bad.host].in_flight:
                put(shipper, number)
                number += 1
            assert shipper.flush(PATIENCE)

            wait_until(lambda: state(shipper, bad.host) == "resting")
            assert "keep-alives" in (shipper.stats().hosts[bad.host].error or "")
        assert list(range(number)) == sorted(ids(one.events + two.events))
        assert len(bad.peers) == 1


# Slow start.


def test_windows_begin_small_grow_with_each_ack_and_are_no_smaller_on_the_next_line_than_half() -> None:
    with (
        Scripted() as server,
        Shipper(server.host, slow_start=True, pipelining=1, flush_interval=LONG, backoff_init=0.001) as shipper,
    ):
        put(shipper, -1)
        peer = server.accept()
        peer.window()
        put(shipper, *range(400))  # they gather
        peer.ack(1)
        sizes = []
        for _ in range(4):
            sizes.append(peer.window().count)
            peer.ack(sizes[-1])
        assert [10, 15, 23, 35] == sizes
        assert peer.window().count == 53
        assert shipper.stats().hosts[server.host].window_size == 53

        peer.reset()
        peer = server.accept()
        sizes = []
        while sum(sizes) < 400 - 83:
            sizes.append(peer.window().count)
            peer.ack(sizes[-1])
        assert shipper.flush(LONG)

        assert [26, 27] == sizes[:2]  # all of what was refused, in two
        assert set(range(400)) == set(server.ids) - {-1}
        assert shipper.stats().resent == 53


def test_what_was_learned_of_a_host_outlives_its_lines() -> None:
    with Scripted(answering(acknowledged)) as server:
        options = lively(server.host, slow_start=True, bulk_max_size=100, ttl=0.05)
        with Shipper(options=options) as shipper:
            number = 0
            while not shipper.stats().hosts or shipper.stats().hosts[server.host].window_size != 100:
                put(shipper, *range(number, number + 50))
                number += 50
            connections = shipper.stats().hosts[server.host].connections
            wait_until(lambda: shipper.stats().hosts[server.host].connections > connections)

            assert shipper.stats().hosts[server.host].window_size == 100
            assert shipper.flush(LONG)
        assert list(range(number)) == sorted(server.ids)
