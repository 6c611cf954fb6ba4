"""The shipper's threads: when there are some, what they do when there is nothing to do, and when nobody wants them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from beats_core import Receiver
from support.programs import run
from support.scripted import Scripted, acknowledged, after, answering, closes, silence
from support.shippers import closed_port, ids

# `switches()`: how often each of our threads has been woken, or has given way, so far.
# `at_rest()`: the same, when that has stopped changing.
SWITCHES = """
from pathlib import Path

def switches():
    counts = []
    for thread in threading.enumerate():
        if thread.name == "beats-shipper":
            status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
            counts.append([line.split()[1] for line in status.splitlines() if "ctxt_switches" in line])
    return counts

def at_rest():
    before = None
    while before != (before := switches()):
        time.sleep(0.1)
    return before
"""
# Half a second in which nothing happens.
IDLE = """
before = at_rest()
time.sleep(0.5)
assert switches() == before, (switches(), before)
print(len(before))
"""


def test_importing_and_making_a_shipper_start_no_thread() -> None:
    ended = run(
        """
        shipper = Shipper(host)
        shipper.flush(), shipper.stats()
        print(threading.active_count())
        """,
        closed_port(),
    )

    assert ended.stdout == "1\n"


def test_threads_start_with_the_first_put_and_end_with_the_close() -> None:
    with Receiver() as receiver:
        ended = run(
            """
            shipper = Shipper([host, host.replace("127.0.0.1", "localhost")], loadbalance=True)
            put(shipper, 1)
            print(threading.active_count(), {thread.daemon for thread in threading.enumerate()[1:]})
            put(shipper, 2)
            print(threading.active_count())
            shipper.close()
            print(threading.active_count())
            """,
            receiver.host,
        )

    assert ended.stdout == "4 {True}\n4\n1\n"


# Nothing to do.


def test_with_an_idle_line_no_thread_wakes() -> None:
    with Receiver() as receiver:
        ended = run(
            f"""
            shipper = Shipper(host)
            put(shipper, *range(100))
            assert shipper.flush()
            {indented(SWITCHES + IDLE)}
            """,
            receiver.host,
        )

    assert ended.stdout == "2\n"


def test_while_a_window_is_in_flight_no_thread_wakes() -> None:
    with Scripted(answering(silence)) as server:
        ended = run(
            f"""
            shipper = Shipper(host, shutdown_timeout=0)
            put(shipper, 1)
            while not shipper.stats().in_flight:
                time.sleep(0.001)
            {indented(SWITCHES + IDLE)}
            """,
            server.host,
            complains=True,
        )

    assert ended.stdout == "2\n"


def test_when_the_receiver_has_closed_an_idle_line_no_thread_wakes() -> None:
    with Scripted(answering(after(acknowledged, closes))) as server:
        ended = run(
            f"""
            shipper = Shipper(host)
            put(shipper, 1)
            assert shipper.flush()
            while shipper.stats().hosts[host].connected:
                time.sleep(0.001)
            {indented(SWITCHES + IDLE)}
            """,
            server.host,
        )

    assert ended.stdout == "2\n"


def test_a_put_wakes_nobody_while_others_gather_behind_a_window() -> None:
    with Scripted(answering(silence)) as server:
        run(
            f"""
            shipper = Shipper(host, flush_interval=60, shutdown_timeout=0)
            put(shipper, 0)
            while not shipper.stats().in_flight:
                time.sleep(0.001)
            {indented(SWITCHES)}
            before = at_rest()
            put(shipper, *range(1, 500))
            assert switches() == before, (switches(), before)
            """,
            server.host,
            complains=True,
        )


# In the middle of something else.


def test_signal_handlers_and_finalisers_may_put_at_any_moment() -> None:
    with Receiver() as receiver:
        ended = run(
            """
            import gc, itertools
            shipper = Shipper(host, bulk_max_size=50, shutdown_timeout=30)
            numbers = itertools.count()
            accepted = []

            def put_one(*_):
                if shipper.put({"id": next(numbers)}):
                    accepted.append(None)

            class Finalised:
                def __init__(self):
                    self.itself = self

                def __del__(self):
                    put_one()

            signal.signal(signal.SIGALRM, put_one)
            signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
            gc.set_threshold(7)
            for _ in range(20):
                for _ in range(200):
                    Finalised()
                    put_one()
                assert shipper.flush(30)
                shipper.stats()
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.collect()
            stats = shipper.close()
            assert len(accepted) == stats.accepted == stats.acked, (len(accepted), stats)
            print(stats.accepted)
            """,
            receiver.host,
        )

        assert list(range(int(ended.stdout))) == sorted(ids(receiver.events))


@pytest.mark.parametrize("library", ["logging", "loguru"])
def test_signal_handlers_and_finalisers_may_log_while_everything_ends(library: str) -> None:
    setup = {
        "logging": (
            "from beats_integrations.logging import BeatsHandler; import logging; beats = BeatsHandler(hosts=[host]); "
            "logging.getLogger().addHandler(beats); log = logging.warning"
        ),
        "loguru": (
            "from beats_integrations.loguru import BeatsSink; from loguru import logger; logger.remove(); "
            "beats = BeatsSink(hosts=[host]); logger.add(beats, catch=False); log = logger.warning"
        ),
    }[library]
    with Receiver() as receiver:
        run(
            f"""
            import gc, itertools
            {setup}

            def log_one(*signalled):
                try:
                    log("interrupted")
                except RuntimeError as error:  # loguru's, where its own lock is held: nothing of ours hangs on it
                    assert "deadlock avoided" in str(error), error
                if signalled and next(signals) < 2_000:  # not before: a slow machine would do nothing else
                    signal.setitimer(signal.ITIMER_REAL, 0.0005)

            class Finalised:
                def __init__(self):
                    self.itself = self

                def __del__(self):
                    log_one()

            signal.signal(signal.SIGALRM, log_one)
            signals = itertools.count()
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            gc.set_threshold(7)
            for _ in range(500):
                Finalised()
                log_one()
            beats.outlet.flush()
            beats.outlet.close()
            beats.outlet.shipper.close()
            signal.setitimer(signal.ITIMER_REAL, 0)
            stats = beats.outlet.shipper.stats()
            assert (stats.accepted, stats.acked) == (stats.acked, stats.accepted) != (0, 0), stats
            """,
            receiver.host,
            complains=True,
        )


# Without anybody who refers to it.


def test_a_shipper_that_nobody_refers_to_delivers_and_ends_by_itself() -> None:
    host = closed_port()
    program = """
            def left():
                return threading.active_count(), len(os.listdir("/proc/self/fd"))

            before = left()
            shippers = [Shipper(host, index=f"i{number}", backoff_init=0.01, backoff_max=0.05) for number in range(5)]
            for number, shipper in enumerate(shippers):
                put(shipper, number)
            del shipper, shippers
            print("dropped", flush=True)
            while left() != before:
                time.sleep(0.001)
            """
    with ThreadPoolExecutor(1) as pool:
        ended = pool.submit(run, program, host, complains=True)
        with Receiver(host) as receiver:
            assert "dropped\n" == ended.result().stdout
            assert [0, 1, 2, 3, 4] == sorted(ids(receiver.events))


def test_a_program_that_ends_meanwhile_delivers_it_or_says_that_it_is_lost() -> None:
    program = """
            shipper = Shipper(host, shutdown_timeout=float(sys.argv[2]))
            put(shipper, *range(100))
            del shipper
            """
    with Receiver() as receiver:
        run(program, receiver.host, "30")
        assert list(range(100)) == ids(receiver.events)
    assert "0 delivered, 0 spooled, 100 lost (shutdown 100)" in run(program, closed_port(), "0", complains=True).stderr


def indented(program: str) -> str:
    """Return lines so that they stand in a program of a test."""
    return program.replace("\n", "\n" + " " * 12)
