"""What the Shipper does with receivers that work: windows, pipelining, several hosts, and what it tells of them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from beats_core import HostStats, Options, ReceivedWindow, Receiver, Shipper
from support.authority import Authority
from support.scripted import Peer, Scripted, acknowledged, after, answering, closes, resets
from support.shippers import QUIET, closed_port, ids, in_parallel, put, repeated, unaccounted, wait_until

LONG = 60.0  # seconds that no test waits out


# Windows.


def test_events_arrive_once_and_in_order() -> None:
    with Receiver() as receiver, Shipper(receiver.host, bulk_max_size=100) as shipper:
        put(shipper, *range(5_000))
        stats = shipper.close()

        assert list(range(5_000)) == ids(receiver.events)
    assert (5_000, 5_000, 0, 0) == (stats.accepted, stats.acked, stats.resent, stats.lost)


def test_events_of_sixteen_threads_arrive_once_each_and_in_the_order_of_its_thread() -> None:
    with Receiver() as receiver, Shipper(receiver.host) as shipper:
        in_parallel(16, lambda thread: put(shipper, *range(thread * 1_000, thread * 1_000 + 500)))
        assert shipper.flush(LONG)
        arrived = ids(receiver.events)

    assert [] == repeated(arrived)
    for thread in range(16):
        own = [number for number in arrived if number // 1_000 == thread]
        assert list(range(thread * 1_000, thread * 1_000 + 500)) == own


def test_with_nothing_in_flight_an_event_leaves_at_once_and_then_a_window_gathers_until_the_ack() -> None:
    with Scripted() as server, Shipper(server.host, flush_interval=LONG) as shipper:
        put(shipper, 1)
        peer = server.accept()
        assert [1] == peer.window().ids

        put(shipper, 2, 3, 4)
        assert peer.is_quiet(QUIET)
        peer.ack(1)

        assert [2, 3, 4] == peer.window().ids
        peer.ack(3)
        assert shipper.flush()


def test_a_window_that_is_full_does_not_wait_for_the_ack() -> None:
    with Scripted() as server, Shipper(server.host, flush_interval=LONG, bulk_max_size=300) as shipper:
        put(shipper, 0)
        peer = server.accept()
        assert [0] == peer.window().ids

        event = {"id": 1, "message": "x" * 3_000}  # 100 of them are more than wakes the intake thread
        for count in range(1, 301):
            shipper.put(event)
            if count in (100, 200):
                wait_until(lambda: shipper.stats().inbox == 0)
        assert peer.window().count == 300
        peer.ack(1)
        peer.ack(300)
        assert shipper.flush()


def test_the_flush_interval_is_honoured_while_the_first_window_is_stuck() -> None:
    with Scripted() as server, Shipper(server.host, flush_interval=0.02) as shipper:
        put(shipper, 1)
        peer = server.accept()
        assert [1] == peer.window().ids

        put(shipper, 2)
        assert [2] == peer.window().ids
        peer.ack(1)
        peer.ack(1)
        assert shipper.flush()


@pytest.mark.parametrize("pipelining", [1, 2, 3])
def test_as_many_windows_are_in_flight_as_pipelining_says(pipelining: int) -> None:
    with (
        Scripted() as server,
        Shipper(server.host, flush_interval=0, bulk_max_size=1, pipelining=pipelining) as shipper,
    ):
        put(shipper, *range(6))
        peer = server.accept()
        assert list(range(pipelining)) == [number for _ in range(pipelining) for number in peer.window().ids]
        assert peer.is_quiet(QUIET)

        for number in range(pipelining, 6):
            peer.ack(1)
            assert [number] == peer.window().ids
        for _ in range(pipelining):
            peer.ack(1)
        assert shipper.flush()


def test_a_receiver_that_sends_keep_alives_has_one_window_at_a_time_until_it_acknowledges() -> None:
    """Logstash sends none for a second window, which would look dead then."""
    with Scripted() as server, Shipper(server.host, flush_interval=0, bulk_max_size=1) as shipper:
        put(shipper, 0)
        peer = server.accept()
        peer.window()
        peer.keep_alive()
        assert peer.is_quiet(QUIET)  # it has long been heard
        put(shipper, 1, 2, 3)
        assert peer.is_quiet(QUIET)

        peer.ack(1)
        assert [[1], [2]] == [peer.window().ids, peer.window().ids]
        for _ in range(2):
            peer.ack(1)
        assert [3] == peer.window().ids
        peer.ack(1)
        assert shipper.flush()


def test_windows_are_bounded_in_events_and_bytes() -> None:
    windows: list[ReceivedWindow] = []
    with (
        Receiver(consume=windows.append) as receiver,
        Shipper(receiver.host, bulk_max_size=10, bulk_max_bytes=2_000) as shipper,
    ):
        put(shipper, *range(100))
        shipper.put({"message": "x" * 5_000})
        assert shipper.flush()

    assert sum(map(len, windows)) == 101
    assert max(map(len, windows)) <= 10
    large = [window for window in windows if sum(map(len, window.payloads)) > 2_000]
    assert [1] == list(map(len, large))


def test_a_receiver_is_reached_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with (
        Receiver(ssl=authority.server()) as receiver,
        Shipper(receiver.host, ssl=authority.option, bulk_max_size=50) as shipper,
    ):
        put(shipper, *range(1_000))
        assert shipper.flush()

        assert list(range(1_000)) == ids(receiver.events)


# Several hosts.


def test_the_first_host_that_works_gets_everything() -> None:
    nobody = closed_port()
    with Receiver() as second, Receiver() as third, Shipper([nobody, second.host, third.host]) as shipper:
        put(shipper, *range(100))
        stats = shipper.close()

        assert list(range(100)) == ids(second.events)
        assert [] == third.events
    assert "connection refused" in (stats.hosts[nobody].error or "")
    assert (100, 1) == (stats.hosts[second.host].acked, stats.hosts[second.host].connections)


def test_after_a_loss_the_first_host_is_tried_first_again() -> None:
    absent = closed_port()
    with Scripted(answering(acknowledged, resets)) as second, Shipper([absent, second.host]) as shipper:
        put(shipper, 1)
        assert shipper.flush()
        with Receiver(absent) as first:
            put(shipper, 2)  # which the second host does not like
            assert shipper.flush()

            assert [2] == ids(first.events)


def test_a_host_that_accepts_connections_and_nothing_else_is_passed_over() -> None:
    with Scripted(Peer.close) as first, Receiver() as second:
        with Shipper([first.host, second.host]) as shipper:
            put(shipper, *range(10))
            assert shipper.flush()

        assert list(range(10)) == ids(second.events)


def test_load_is_balanced_over_two_hosts_each_event_going_to_one() -> None:
    with Receiver() as one, Receiver() as other:
        with Shipper([one.host, other.host], loadbalance=True, bulk_max_size=10) as shipper:
            put(shipper, *range(2_000))
            stats = shipper.close()

        assert list(range(2_000)) == sorted(ids(one.events + other.events))
        assert one.events
        assert other.events
    assert {one.host: len(one.events), other.host: len(other.events)} == {
        host: stats.acked for host, stats in stats.hosts.items()
    }


def test_while_one_host_is_stuck_the_others_get_everything_else() -> None:
    with Scripted() as stuck, Receiver() as other:
        options = Options(hosts=(stuck.host, other.host), loadbalance=True, bulk_max_size=1, flush_interval=0)
        with Shipper(options=options) as shipper:
            put(shipper, *range(100))
            peer = stuck.accept()
            held = peer.window().ids + peer.window().ids
            wait_until(lambda: shipper.stats().acked == 98)

            assert shipper.stats().in_flight == 2
            assert list(range(100)) == sorted(held + ids(other.events))
            peer.ack(1)
            peer.ack(1)
            assert shipper.flush()


def test_what_a_lost_host_held_goes_to_the_other() -> None:
    with Scripted() as mortal, Receiver() as other:
        options = Options(
            hosts=(mortal.host, other.host), loadbalance=True, bulk_max_size=1, flush_interval=0, backoff_init=LONG
        )
        with Shipper(options=options) as shipper:
            put(shipper, *range(10))
            peer = mortal.accept()
            peer.window()
            peer.window()
            wait_until(lambda: shipper.stats().acked == 8)  # the other has nothing to do
            peer.close()
            wait_until(lambda: shipper.stats().acked == 10)

            assert list(range(10)) == sorted(ids(other.events))


# What it tells.


def test_the_numbers_follow_an_event_on_its_way() -> None:
    with Scripted() as server, Shipper(server.host) as shipper:
        assert {} == shipper.stats().hosts
        put(shipper, 1, 2)
        peer = server.accept()
        first = peer.window()
        stats = shipper.stats()
        assert (2, first.count, 0) == (stats.accepted, stats.in_flight, stats.acked)
        assert stats.last_ack is None
        assert stats.waiting_bytes > 0
        assert HostStats(state="connected", connections=1, in_flight=1) == stats.hosts[server.host]

        before = time.time()
        peer.ack(first.count)
        if first.count == 1:
            peer.window()
            peer.ack(1)
        assert shipper.flush()
        stats = shipper.stats()
        assert (2, 0, 0, 2) == (stats.accepted, stats.inbox, stats.in_flight, stats.acked)
        assert stats.acked_bytes == sum(len(payload) for window in server.windows for payload in window.payloads)
        assert stats.waiting_bytes == 0
        assert stats.last_ack is not None
        assert before - 1 <= stats.last_ack <= time.time()
        assert stats.hosts[server.host].acked == 2
        assert unaccounted(stats) == 0


def test_trouble_is_told_once_and_so_is_its_end(caplog: pytest.LogCaptureFixture) -> None:
    host = closed_port()
    with Shipper(host, backoff_init=0.01, backoff_max=0.01) as shipper:
        put(shipper, 1)
        wait_until(lambda: len(caplog.records) > 0)
        wait_until(lambda: shipper.stats().hosts[host].error)
        with Receiver(host) as receiver:
            put(shipper, 2)
            assert shipper.flush()
            receiver.wait_for(2)

    assert [
        f"{host}: cannot connect to {host}: connection refused; trying on",
        f"delivering to {host} again",
    ] == caplog.messages


def test_a_line_that_ends_after_its_work_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    with Scripted(answering(after(acknowledged, closes))) as server, Shipper(server.host) as shipper:
        for number in range(3):
            put(shipper, number)
            assert shipper.flush()
            wait_until(lambda: not shipper.stats().hosts[server.host].connected)

        assert [0, 1, 2] == server.ids
    assert [] == caplog.messages
