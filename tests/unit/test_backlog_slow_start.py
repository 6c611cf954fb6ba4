"""Windows smaller than the batches in line: the rest keeps its place, and the rule about poison its count."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beats_core.backlog import REFUSALS
from support.ledger import counts, new_backlog, payloads, take, take_all


def test_no_more_is_leased_than_was_asked_for_and_the_rest_is_next_in_line() -> None:
    backlog = new_backlog(*"abcdef", bulk_max_size=4)
    batch = backlog.take(0.0, at_most=3)

    assert batch is not None
    assert payloads(*"abc") == list(batch.payloads)
    assert {"pending": 3, "in_flight": 3, "acked": 0, "dead": 0, "dropped": 0} == counts(backlog)
    assert backlog.wait_time(0.0) == 0.0
    backlog.hurry()
    assert [payloads("d"), payloads("e", "f")] == take_all(backlog)


def test_a_batch_that_is_no_larger_is_leased_whole() -> None:
    backlog = new_backlog(*"abc")
    batch = backlog.take(0.0, at_most=3)

    assert batch is not None
    assert payloads(*"abc") == list(batch.payloads)
    assert backlog.wait_time(0.0) is None


def test_what_is_given_back_goes_before_the_rest() -> None:
    backlog = new_backlog(*"abcd")
    batch = backlog.take(0.0, at_most=2)
    assert batch is not None
    backlog.put_back(batch)

    assert [payloads("a", "b"), payloads("c", "d")] == take_all(backlog)
    assert backlog.resent == 2


def test_the_rest_of_a_window_that_was_refused_is_not_on_trial() -> None:
    backlog = new_backlog(*"abcd")
    backlog.put_back(take(backlog), refused=True)
    head = backlog.take(0.0, at_most=2)

    assert head is not None
    assert backlog.take(0.0, [head]) is None  # it travels alone
    assert payloads("c", "d") == list(take(backlog).payloads)


def test_a_shorter_window_has_its_refusals_counted_anew() -> None:
    """Of the longer one something else may have been refused."""
    backlog = new_backlog(*"ab")
    for _ in range(REFUSALS - 1):
        backlog.put_back(take(backlog), refused=True)
    for _ in range(REFUSALS - 1):
        head = backlog.take(0.0, at_most=1)
        assert head is not None
        assert payloads("a") == list(head.payloads)
        backlog.put_back(head, refused=True)

    assert [payloads("a"), payloads("b")] == take_all(backlog)  # it is not set aside


@given(
    size=st.integers(2, 40),
    poison=st.integers(0, 39),
    bulk_max_size=st.integers(1, 16),
    limits=st.lists(st.integers(1, 16), min_size=1),
)
def test_a_poisonous_event_is_found_whatever_the_windows_are_limited_to(
    size: int, poison: int, bulk_max_size: int, limits: list[int]
) -> None:
    poison %= size
    backlog = new_backlog(*range(size), bulk_max_size=bulk_max_size)
    turn = 0
    while backlog.pending:
        turn += 1
        batch = backlog.take(0.0, at_most=limits[turn % len(limits)])
        assert batch is not None
        if payloads(poison)[0] in batch.payloads:
            backlog.put_back(batch, refused=True)
            if backlog.pending == 1:  # the suspect alone cannot be judged; but the program goes on logging
                backlog.append(payloads(backlog.appended), now=0.0)
        else:
            backlog.ack(batch, len(batch))

    assert payloads(poison) == list(backlog.dead_letters)
    assert backlog.acked == backlog.appended - 1
