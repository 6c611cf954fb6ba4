from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.backlog import Backlog
from support.ledger import counts, new_backlog, payloads, settle, take, take_all

# What a batch holds, and when it is due.


def test_an_empty_backlog_has_nothing_and_will_have_nothing() -> None:
    backlog = new_backlog()

    assert backlog.take(0.0) is None
    assert backlog.wait_time(0.0) is None
    assert backlog.settled_until == 0


def test_with_nothing_in_flight_one_event_is_due_at_once() -> None:
    backlog = new_backlog("a")

    assert backlog.wait_time(0.0) == 0.0
    assert payloads("a") == take(backlog).payloads


def test_while_a_window_is_in_flight_events_gather_for_the_flush_interval() -> None:
    backlog = new_backlog("a")
    take(backlog)
    backlog.append(payloads("b"), now=1.0)
    backlog.append(payloads("c"), now=9.0)

    assert backlog.take(10.5) is None
    assert backlog.wait_time(10.5) == 0.5
    assert payloads("b", "c") == take(backlog, now=11.0).payloads


def test_what_gathered_is_due_when_the_window_in_flight_is_acknowledged() -> None:
    backlog = new_backlog("a")
    window = take(backlog)
    backlog.append(payloads("b", "c"), now=0.0)
    backlog.ack(window, 1)

    assert backlog.wait_time(0.0) == 0.0
    assert payloads("b", "c") == take(backlog).payloads


@pytest.mark.parametrize("names", [["b", "c"], ["b" * 10]], ids=["events", "bytes"])
def test_a_full_batch_is_due_whatever_is_in_flight(names: list[str]) -> None:
    backlog = new_backlog("a", bulk_max_size=2, bulk_max_bytes=10)
    take(backlog)
    backlog.append(payloads(*names), now=0.0)

    assert backlog.wait_time(0.0) == 0.0
    assert [payloads(*names)] == take_all(backlog)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("abcd", ["abcd"]),
        ("abcdefghij", ["abcd", "efgh", "ij"]),
        (["a" * 6, "b" * 6, "c"], [["a" * 6], ["b" * 6, "c"]]),
        (["a" * 5, "b" * 5, "c"], [["a" * 5, "b" * 5], ["c"]]),
        (["a", "b" * 99, "c"], [["a"], ["b" * 99], ["c"]]),
    ],
    ids=["exactly full", "three batches", "bytes exceeded", "exactly as many bytes", "an event above the limit alone"],
)
def test_a_batch_is_bounded_in_events_and_in_bytes(names: Sequence[str], expected: Sequence[Sequence[str]]) -> None:
    backlog = new_backlog(*names, bulk_max_bytes=10, flush_interval=0.0)

    assert [payloads(*batch) for batch in expected] == take_all(backlog)


def test_a_rest_begins_to_gather_when_it_came() -> None:
    backlog = new_backlog("a", bulk_max_size=2)
    take(backlog)
    backlog.append(payloads("b"), now=0.0)
    backlog.append(payloads("c", "d"), now=9.0)
    take(backlog)

    assert backlog.wait_time(10.0) == 9.0


def test_what_hurries_is_due_now() -> None:
    backlog = new_backlog("a")
    take(backlog)
    backlog.append(payloads("b"), now=0.0)
    backlog.hurry()
    backlog.hurry()  # with nothing left to hurry

    assert backlog.wait_time(0.0) == 0.0
    assert [payloads("b")] == take_all(backlog)


@given(
    interval=st.floats(0, 1e6),
    now=st.floats(0, 1e9),
    later=st.floats(0, 1e6),
)
def test_after_the_wait_time_there_is_something_to_take(interval: float, now: float, later: float) -> None:
    """Whatever the clock's numbers round to; else a sender would wait in a loop."""
    backlog = Backlog(4, 1000, interval)
    backlog.append(payloads("a"), now)
    take(backlog, now)
    backlog.append(payloads("b"), now)
    wait = backlog.wait_time(now + later)

    assert wait is not None
    assert wait >= 0
    assert (wait == 0) == (backlog.take(now + later) is not None)


# Acknowledged, and given back.


def test_acks_settle_the_oldest_events_of_a_lease() -> None:
    backlog = new_backlog("a", "bb", "ccc")
    batch = take(backlog)
    backlog.ack(batch, 1)
    backlog.ack(batch, 1)

    assert {"pending": 0, "in_flight": 1, "acked": 2, "dead": 0, "dropped": 0} == counts(backlog)
    assert (2, 3, 3) == (backlog.settled_until, backlog.acked_bytes, backlog.settled_bytes)
    assert backlog.is_leased(batch)
    assert backlog.left(batch) == 1

    backlog.ack(batch, 1)

    assert (3, 6, 6) == (backlog.settled_until, backlog.acked_bytes, backlog.settled_bytes)
    assert not backlog.is_leased(batch)
    assert backlog.left(batch) == 0


@pytest.mark.parametrize("number", [-1, 0, 3])
def test_an_ack_of_what_is_not_in_the_lease_is_the_callers_mistake(number: int) -> None:
    backlog = new_backlog("a", "b")
    batch = take(backlog)

    with pytest.raises(ValueError, match=f"ack of {number} events for <Batch of 2 events"):
        backlog.ack(batch, number)
    assert backlog.in_flight == 2


def test_an_ack_of_what_is_not_leased_is_the_callers_mistake() -> None:
    backlog = new_backlog("a")
    batch = take(backlog)
    backlog.put_back(batch)

    with pytest.raises(ValueError, match="ack of 1 events for None"):
        backlog.ack(batch, 1)


def test_what_a_lost_line_gives_back_goes_first_oldest_first() -> None:
    backlog = new_backlog(*"abcdefgh", bulk_max_size=2)
    first, second, third = (take(backlog) for _ in range(3))
    backlog.put_back(third)
    backlog.put_back(first)
    backlog.append(payloads("i"), now=0.0)

    assert backlog.settled_until == 0
    assert [payloads(*"ab"), payloads(*"ef"), payloads(*"gh")] == take_all(backlog)
    assert payloads(*"cd") == second.payloads


def test_only_the_unacknowledged_tail_is_given_back_and_counted_as_resent() -> None:
    backlog = new_backlog(*"abc")
    batch = take(backlog)
    backlog.ack(batch, 2)
    backlog.put_back(batch)

    assert {"pending": 1, "in_flight": 0, "acked": 2, "dead": 0, "dropped": 0} == counts(backlog)
    assert backlog.resent == 1
    assert [payloads("c")] == take_all(backlog)


def test_settled_until_stops_at_the_oldest_event_that_is_not() -> None:
    backlog = new_backlog(*"abcdef", bulk_max_size=2, flush_interval=0.0)
    first, second, third = (take(backlog) for _ in range(3))

    backlog.ack(second, 2)
    backlog.ack(third, 1)
    assert backlog.settled_until == 0
    backlog.ack(first, 1)
    assert backlog.settled_until == 1
    backlog.ack(first, 1)
    assert backlog.settled_until == 5
    backlog.put_back(third)
    assert backlog.settled_until == 5
    settle(backlog)
    assert backlog.settled_until == 6
    backlog.append(payloads("g"), now=0.0)
    assert backlog.settled_until == 6


# Dropped.


def test_a_drop_counts_everything_that_is_not_settled_and_closes_the_ledger() -> None:
    backlog = new_backlog(*"abcdefg", bulk_max_size=2)
    leased, returned = take(backlog), take(backlog)
    backlog.ack(leased, 1)
    backlog.put_back(returned)

    assert backlog.drop_all("shutdown") == 6
    assert {"pending": 0, "in_flight": 0, "acked": 1, "dead": 0, "dropped": 6} == counts(backlog)
    assert {"shutdown": 6} == backlog.dropped
    assert (7, 7, 1) == (backlog.settled_until, backlog.settled_bytes, backlog.acked_bytes)
    assert backlog.take(0.0) is None
    assert backlog.wait_time(0.0) is None


def test_what_a_sender_reports_after_the_drop_is_ignored() -> None:
    backlog = new_backlog(*"ab")
    batch = take(backlog)
    backlog.drop_all("shutdown")
    backlog.ack(batch, 1)
    backlog.put_back(batch, refused=True)

    assert {"pending": 0, "in_flight": 0, "acked": 0, "dead": 0, "dropped": 2} == counts(backlog)


def test_dropping_nothing_counts_nothing() -> None:
    backlog = new_backlog()

    assert backlog.drop_all("shutdown") == 0
    assert {} == backlog.dropped
