from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from time import monotonic

import pytest

from beats_core.inbox import KICK_BYTES, OVERHEAD, REFUSALS, Inbox, Refusals
from support.shippers import in_parallel, wait_until

LONG = 60.0  # seconds that no test waits out


@pytest.fixture
def often_switching() -> Iterator[None]:
    """Have CPython change threads as often as it can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def ends_at_once(body: Callable[[], object]) -> bool:
    """Tell whether a call that may wait for LONG returns before."""
    thread = threading.Thread(target=body, daemon=True)
    thread.start()
    thread.join(LONG / 2)
    return not thread.is_alive()


def test_events_and_markers_come_out_in_the_order_they_went_in() -> None:
    inbox: Inbox[str] = Inbox(1000)
    inbox.put(b"a", 20)
    inbox.mark("marker")
    inbox.put(b"b", 20)

    assert [b"a", "marker", b"b"] == inbox.wait()
    assert [] == inbox.drain()


def test_waiting_ends_with_the_first_event() -> None:
    inbox: Inbox[str] = Inbox(1000)
    taken: list[bytes | str] = []
    reader = threading.Thread(target=lambda: taken.extend(inbox.wait()))
    reader.start()
    inbox.put(b"a", 20)
    reader.join()

    assert [b"a"] == taken


# Bounds.


def test_what_does_not_fit_is_refused_until_something_is_settled() -> None:
    inbox: Inbox[str] = Inbox(10 * (OVERHEAD + 1))
    accepted = [inbox.put(b"x", 40) for _ in range(11)]

    assert [True] * 10 + [False] == accepted
    assert inbox.waiting_bytes == 10 * (OVERHEAD + 1)

    inbox.drain()  # moved on, not settled
    assert not inbox.put(b"x", 40)
    inbox.settled(1, 1)
    assert inbox.put(b"x", 40)
    assert not inbox.put(b"x", 40)
    assert inbox.accepted == 11


def test_the_last_tenth_is_for_errors() -> None:
    inbox: Inbox[str] = Inbox(10 * (OVERHEAD + 1))
    ordinary = [inbox.put(b"x", 39) for _ in range(10)]

    assert [True] * 9 + [False] == ordinary
    assert inbox.put(b"x", 40)
    assert not inbox.put(b"x", 50)


@pytest.mark.usefixtures("often_switching")
def test_the_bounds_are_exact_whatever_sixteen_threads_put() -> None:
    room = 5000
    inbox: Inbox[str] = Inbox(room * (OVERHEAD + 8))
    accepted = [0] * 16

    def put(number: int) -> None:
        while inbox.put(b"%08d" % number, 40):
            accepted[number] += 1

    in_parallel(16, put)

    assert room == sum(accepted) == inbox.accepted == len(inbox.drain())
    assert inbox.waiting_bytes == room * (OVERHEAD + 8)


@pytest.mark.usefixtures("often_switching")
def test_the_bounds_are_exact_while_a_reader_settles() -> None:
    room, each = 100, 500
    inbox: Inbox[str] = Inbox(room * (OVERHEAD + 8))
    taken = 0
    most = 0

    def put(number: int) -> None:
        put = 0
        while put < each:
            put += inbox.put(b"%08d" % number, 40)

    def settle() -> None:
        nonlocal taken, most
        while taken < 8 * each:
            most = max(most, inbox.waiting_bytes)
            count = len(inbox.wait())
            taken += count
            inbox.settled(count, count * 8)

    in_parallel(9, lambda number: settle() if number == 8 else put(number))

    assert (8 * each, 0) == (inbox.accepted, inbox.waiting_bytes)
    assert most <= room * (OVERHEAD + 8)


@pytest.mark.usefixtures("often_switching")
def test_a_closed_inbox_holds_all_it_ever_accepted() -> None:
    """A put comes wholly before the close, or it is refused: nothing is accepted behind the reader's last look."""

    def close_while_others_put() -> tuple[int, int, int]:
        inbox: Inbox[str] = Inbox(1 << 30)
        accepted = [0] * 16
        held = 0

        def put_or_close(number: int) -> None:
            nonlocal held
            while number < 16 and inbox.put(b"x", 50):
                accepted[number] += 1
            if number == 16:
                wait_until(lambda: all(accepted))
                inbox.close()
                held = len(inbox.drain())

        in_parallel(17, put_or_close)
        return held, sum(accepted), inbox.accepted

    for held, accepted, counted in (close_while_others_put() for _ in range(100)):
        assert held == accepted == counted


# Gathering.


def test_with_nothing_unsettled_there_is_no_gathering() -> None:
    inbox: Inbox[str] = Inbox(1000)

    assert ends_at_once(lambda: inbox.gather(lambda: False, LONG))


def test_gathering_ends_after_its_time() -> None:
    inbox: Inbox[str] = Inbox(1000)

    assert ends_at_once(lambda: inbox.gather(lambda: True, 0.01))


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_gathering_ends_with_a_marker(when: str) -> None:
    """Also with one that came between the reader's last look and the gathering: a flush must not wait."""
    inbox: Inbox[str] = Inbox(1000)
    if when == "before":
        inbox.mark("flush")

    def busy() -> bool:
        if when == "meanwhile":
            inbox.mark("flush")
        return True

    assert ends_at_once(lambda: inbox.gather(busy, LONG))


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_gathering_ends_when_a_window_is_about_to_fill(when: str) -> None:
    inbox: Inbox[str] = Inbox(10 * KICK_BYTES)
    payload = b" " * KICK_BYTES
    if when == "before":
        inbox.put(payload, 20)

    def busy() -> bool:
        if when == "meanwhile":
            inbox.put(payload, 20)
        return True

    assert ends_at_once(lambda: inbox.gather(busy, LONG))


def test_gathering_ends_with_a_kick_that_comes_after_asking() -> None:
    inbox: Inbox[str] = Inbox(1000)

    def busy() -> bool:
        inbox.kick()  # what was unsettled is settled, in the very moment of asking
        return True

    assert ends_at_once(lambda: inbox.gather(busy, LONG))


def test_a_kick_is_for_the_gathering_it_ends_and_no_later_one() -> None:
    inbox: Inbox[str] = Inbox(1000)
    inbox.mark("flush")
    inbox.gather(lambda: True, LONG)
    inbox.kick()  # nobody gathers
    started = monotonic()
    inbox.gather(lambda: True, 0.02)

    assert monotonic() - started >= 0.02


def test_gathering_takes_its_least_time_whether_busy_or_not() -> None:
    inbox: Inbox[str] = Inbox(1000)
    began = monotonic()
    inbox.gather(lambda: False, LONG, 0.02)

    assert monotonic() >= began + 0.02


def test_a_marker_ends_also_the_least_time_of_gathering() -> None:
    inbox: Inbox[str] = Inbox(1000)
    inbox.mark("marker")

    assert ends_at_once(lambda: inbox.gather(lambda: True, LONG, LONG))


def test_a_patient_marker_ends_gathering_but_not_its_least_time() -> None:
    inbox: Inbox[str] = Inbox(1000)

    def busy() -> bool:
        inbox.mark("marker", patiently=True)
        return True

    inbox.mark("marker", patiently=True)
    began = monotonic()

    assert ends_at_once(lambda: inbox.gather(busy, LONG, 0.02))
    assert monotonic() >= began + 0.02


def test_one_marker_stands_for_all_that_is_noted_between_two_looks() -> None:
    inbox: Inbox[str] = Inbox(1000)
    inbox.note(100, "noted")
    inbox.note(100, "noted")

    assert ["noted"] == inbox.drain()
    inbox.note(100, "noted")
    assert ["noted"] == inbox.wait()
    assert 3 == inbox.accepted
    assert 0 == inbox.waiting_bytes


def test_few_events_wake_nobody_who_gathers() -> None:
    inbox: Inbox[str] = Inbox(10 * KICK_BYTES)
    started = monotonic()

    def busy() -> bool:
        for _ in range(100):
            inbox.put(b"x", 20)
        return True

    inbox.gather(busy, 0.02)

    assert monotonic() - started >= 0.02


# In the middle of another put.


class Finalised:
    """Puts when it is collected, which happens inside whatever call triggers the collector."""

    def __init__(self, inbox: Inbox[str], puts: list[None]) -> None:
        self.itself = self  # a cycle: only the collector ends it
        self.inbox = inbox
        self.puts = puts

    def __del__(self) -> None:
        if self.inbox.put(b"from a finaliser", 20):
            self.puts.append(None)


def consume(inbox: Inbox[str], taken: list[bytes | str]) -> threading.Thread:
    def read() -> None:
        while "stop" not in taken[-1:]:
            taken.extend(inbox.wait())
            inbox.gather(lambda: True, 0.001)

    reader = threading.Thread(target=read)
    reader.start()
    return reader


def test_a_put_from_a_finaliser_in_the_middle_of_another_one_is_an_ordinary_put() -> None:
    inbox: Inbox[str] = Inbox(1 << 30)
    taken: list[bytes | str] = []
    finalised: list[None] = []
    reader = consume(inbox, taken)
    thresholds = gc.get_threshold()
    gc.set_threshold(5)  # the collector runs all the time, in the reader's thread as well
    try:
        for _ in range(20_000):
            Finalised(inbox, finalised)
            inbox.put(b"ordinary", 20)
    finally:
        gc.set_threshold(*thresholds)
    gc.collect()
    inbox.mark("stop")
    reader.join()

    assert taken.count(b"ordinary") == 20_000
    assert taken.count(b"from a finaliser") == len(finalised) > 10_000


def test_a_put_from_a_signal_handler_in_the_middle_of_another_one_is_an_ordinary_put() -> None:
    inbox: Inbox[str] = Inbox(1 << 30)
    taken: list[bytes | str] = []
    handled: list[bool] = []

    def handle(number: int, frame: object) -> None:
        handled.append(inbox.put(b"from a handler", 20))

    reader = consume(inbox, taken)
    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
    put = 0
    try:
        while len(handled) < 500:
            put += inbox.put(b"ordinary", 20)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    inbox.mark("stop")
    reader.join()

    assert taken.count(b"from a handler") == sum(handled)
    assert taken.count(b"ordinary") == put


# Refusals.


def test_refusals_are_counted_by_reason() -> None:
    refusals = Refusals()
    for reason in REFUSALS:
        refusals.add(reason)
    refusals.add("full")

    assert {reason: 1 + (reason == "full") for reason in REFUSALS} == refusals.counts


def test_only_the_first_refusal_asks_for_a_report() -> None:
    refusals = Refusals()

    assert [True, False, False] == [refusals.add("full") for _ in range(3)]


@pytest.mark.usefixtures("often_switching")
def test_no_refusal_of_sixteen_threads_is_missed() -> None:
    refusals = Refusals()

    def refuse(number: int) -> None:
        for _ in range(3000):
            refusals.add("full")

    in_parallel(16, refuse)

    assert refusals.counts["full"] == 16 * 3000


def test_refusals_are_reported_when_they_begin_and_when_they_end(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    refusals = Refusals()
    refusals.report(0.0)
    assert [] == caplog.messages

    refusals.add("full")
    refusals.report(0.0)
    assert ["events are refused: full 1 so far"] == caplog.messages

    refusals.add("full")
    refusals.add("closed")
    refusals.report(5.0)  # too early
    refusals.report(10.0)  # and still refusing
    assert len(caplog.messages) == 1

    refusals.report(10.1)
    assert ["events are accepted again; refused in all: full 2, closed 1"] == caplog.messages[1:]

    refusals.report(100.0)
    assert len(caplog.messages) == 2
    assert refusals.add("full")
    refusals.report(100.0)
    assert ["events are refused: full 3, closed 1 so far"] == caplog.messages[2:]
