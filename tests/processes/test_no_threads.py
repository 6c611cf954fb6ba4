"""No thread or descriptor can be had: events are kept, nobody is harmed, and it is tried again."""

from __future__ import annotations

import os

import pytest

from beats_core import Receiver
from support.programs import run
from support.scripted import Scripted, acknowledged, answering, closes
from support.shippers import closed_port, ids

# Stacks for which no address space has room: as if the system had no thread left.
NO_THREAD = "threading.stack_size(1 << 46)"
A_THREAD = "threading.stack_size(0)"


def test_without_threads_flush_and_close_deliver_in_the_thread_that_calls_them() -> None:
    with Receiver() as receiver:
        ended = run(
            f"""
            {NO_THREAD}
            shipper = Shipper([sys.argv[2], host], loadbalance=True, backoff_init=0.01)
            put(shipper, *range(10))
            assert shipper.flush()
            put(shipper, *range(10, 20))
            stats = shipper.close()
            print(threading.active_count(), stats.accepted, stats.acked, stats.lost)
            """,
            receiver.host,
            closed_port(),
            complains=True,
        )

        assert ended.stdout == "1 20 20 0\n"
        assert list(range(20)) == ids(receiver.events)
    assert "no thread can be started, events wait for flush() or close()" in ended.stderr


def test_without_threads_the_end_of_the_program_delivers() -> None:
    with Receiver() as receiver:
        run(
            f"""
            {NO_THREAD}
            put(Shipper(host), *range(10))
            """,
            receiver.host,
            complains=True,
        )

        assert list(range(10)) == ids(receiver.events)


def test_without_threads_and_receivers_closing_ends_in_time() -> None:
    ended = run(
        f"""
        {NO_THREAD}
        shipper = Shipper([host, host], loadbalance=True, shutdown_timeout=0.2)
        put(shipper, 1)
        print(shipper.flush(0.1), dict(shipper.close().dropped))
        """,
        closed_port(),
        complains=True,
    )

    assert ended.stdout == "False {'shutdown': 1}\n"


def test_threads_start_as_soon_as_they_can() -> None:
    with Receiver() as receiver:
        run(
            f"""
            {NO_THREAD}
            shipper = Shipper(host)
            put(shipper, 0)
            assert shipper.flush()
            put(shipper, 1)
            {A_THREAD}
            number = 2
            while threading.active_count() == 1:
                put(shipper, number)
                number += 1
                time.sleep(0.05)
            while shipper.stats().acked < number:
                time.sleep(0.001)
            """,
            receiver.host,
            complains=True,
        )

        numbers = ids(receiver.events)
    assert list(range(len(numbers))) == numbers


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user who may have no more threads")
@pytest.mark.parametrize("threads", [0, 1, 2])
def test_a_user_who_may_have_no_more_threads_loses_nothing_and_gets_them_later(threads: int) -> None:
    """None for the intake; for it, and none for the senders; for it and one of two senders."""
    with Receiver() as receiver:
        ended = run(
            f"""
            import encodings.idna, resource
            os.setuid(54_321)
            limits = resource.getrlimit(resource.RLIMIT_NPROC)
            resource.setrlimit(resource.RLIMIT_NPROC, (1 + {threads}, limits[1]))
            shipper = Shipper([host, host.replace("127.0.0.1", "localhost")], loadbalance=True, shutdown_timeout=30)
            put(shipper, *range(100))
            assert threading.active_count() == 1
            resource.setrlimit(resource.RLIMIT_NPROC, limits)
            number = 100
            while threading.active_count() == 1:
                put(shipper, number)
                number += 1
                time.sleep(0.01)
            assert shipper.flush()
            stats = shipper.close()
            assert (stats.accepted, stats.lost) == (stats.acked, 0), stats
            print(number)
            """,
            receiver.host,
            complains=True,
        )

        # The one sender that had begun was stopped with a window in flight.
        assert set(range(int(ended.stdout))) == set(ids(receiver.events))
    assert 1 == ended.stderr.count("no thread can be started")


def test_without_descriptors_put_accepts_and_later_all_is_delivered() -> None:
    with Receiver() as receiver:
        run(
            """
            import resource
            shipper = Shipper(host)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            put(shipper, 0)
            assert not shipper.flush(0.1)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            put(shipper, 1)
            assert shipper.flush()
            """,
            receiver.host,
            complains=True,
        )

        assert [0, 1] == ids(receiver.events)


def test_a_program_that_runs_out_of_descriptors_meanwhile_delivers_when_it_has_some_again() -> None:
    with Scripted(answering(closes), answering(acknowledged)) as server:
        run(
            """
            import resource
            shipper = Shipper(host, backoff_init=0.01, backoff_max=0.02)
            limits = resource.getrlimit(resource.RLIMIT_NOFILE)
            put(shipper, 0)
            while not shipper.stats().hosts:
                time.sleep(0.001)
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            put(shipper, 1)
            assert not shipper.flush(0.2)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
            assert shipper.flush()
            """,
            server.host,
            complains=True,
        )

        assert {0, 1} == set(server.ids)
