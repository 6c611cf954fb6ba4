"""An event that a receiver cannot take is found and ends dead; whatever else receivers do, no other one does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beats_core.backlog import DEAD_LETTERS, REFUSALS, DeadLetter
from support.ledger import counts, new_backlog, payloads, refuse, refuse_to_death, settle, take, take_all


def test_a_window_is_halved_when_it_was_refused_three_times_running() -> None:
    backlog = new_backlog(*"abc")
    refuse(backlog, REFUSALS - 1)
    assert payloads(*"abc") == refuse(backlog)

    assert [payloads("a"), payloads("b", "c")] == take_all(backlog)


def test_a_lost_line_that_is_no_refusal_begins_the_count_anew() -> None:
    backlog = new_backlog(*"ab")
    refuse(backlog, REFUSALS - 1)
    backlog.put_back(take(backlog))
    refuse(backlog, REFUSALS - 1)

    assert [payloads(*"ab")] == take_all(backlog)


def test_an_ack_of_a_part_begins_the_count_anew() -> None:
    backlog = new_backlog(*"abc")
    refuse(backlog, REFUSALS - 1)
    batch = take(backlog)
    backlog.ack(batch, 1)
    backlog.put_back(batch, refused=True)
    refuse(backlog, REFUSALS - 2)

    assert [payloads(*"bc")] == take_all(backlog)


def test_a_suspect_waits_until_something_else_was_acknowledged() -> None:
    backlog = new_backlog("a", "b", bulk_max_size=1)
    refuse(backlog, REFUSALS)
    other = take(backlog)

    assert payloads("b") == other.payloads
    assert backlog.take(0.0) is None
    assert backlog.wait_time(0.0) is None
    assert (0, 1) == (backlog.settled_until, backlog.pending)

    backlog.ack(other, 1)

    assert backlog.wait_time(0.0) == 0.0
    assert [payloads("a")] == take_all(backlog)


def test_a_suspect_that_is_accepted_is_an_event_like_any_other() -> None:
    backlog = new_backlog("a", "b", bulk_max_size=1)
    refuse(backlog, REFUSALS)
    settle(backlog)
    settle(backlog)

    assert {"pending": 0, "in_flight": 0, "acked": 2, "dead": 0, "dropped": 0} == counts(backlog)


def test_a_suspect_whose_line_is_lost_for_another_reason_stays_one() -> None:
    backlog = new_backlog("a", "b", bulk_max_size=1)
    refuse(backlog, REFUSALS)
    settle(backlog)
    backlog.put_back(take(backlog))

    assert backlog.dead == 0
    assert [payloads("a")] == take_all(backlog)


def test_an_event_that_is_refused_alone_again_and_again_while_others_are_accepted_is_dead() -> None:
    backlog = new_backlog("poison", bulk_max_size=1)
    refuse(backlog, REFUSALS)
    refuse_to_death(backlog)

    assert backlog.dead == 1
    assert payloads("poison") == list(backlog.dead_letters)
    assert ["refused while others were accepted"] == [letter.reason for letter in backlog.dead_letters]
    assert backlog.acked == REFUSALS
    assert backlog.settled_bytes == backlog.acked_bytes + len("poison")


def test_a_connection_that_accepted_nothing_kills_no_event_while_others_accept_all() -> None:
    """With load balancing one host may close every connection, for a reason of its own."""
    backlog = new_backlog("innocent", *range(10), bulk_max_size=1)
    refuse(backlog, REFUSALS)
    for _ in range(2 * REFUSALS):
        backlog.ack(take(backlog), 1)
        batch = take(backlog)
        assert payloads("innocent") == batch.payloads
        backlog.put_back(batch, refused=True, proven=False)

    assert payloads(2 * REFUSALS) == take(backlog).payloads  # it does not hold up the others either
    assert backlog.dead == 0


def test_a_receiver_that_flaps_after_an_outage_kills_no_event() -> None:
    """It accepts one window and closes the next two connections: half of a balancer's receivers are down, say."""
    backlog = new_backlog("innocent", bulk_max_size=1)
    refuse(backlog, REFUSALS)
    for number in range(REFUSALS - 1):
        backlog.append(payloads(number), now=0.0)
        while payloads("innocent") == (batch := take(backlog)).payloads:
            backlog.put_back(batch, refused=True)
        backlog.ack(batch, 1)
        assert payloads("innocent") == refuse(backlog)

    assert backlog.dead == 0


def test_only_the_newest_dead_letters_are_kept() -> None:
    backlog = new_backlog(bulk_max_size=1)
    for number in range(DEAD_LETTERS + 1):
        backlog.dead = 0
        backlog.append(payloads(f"poison{number}"), now=0.0)
        refuse(backlog, REFUSALS)
        refuse_to_death(backlog)

    assert payloads(*(f"poison{number}" for number in range(1, DEAD_LETTERS + 1))) == list(backlog.dead_letters)


@given(size=st.integers(2, 40), poison=st.integers(0, 39), bulk_max_size=st.integers(1, 16))
def test_a_single_poisonous_event_ends_dead_and_all_others_are_acknowledged(
    size: int, poison: int, bulk_max_size: int
) -> None:
    poison %= size
    backlog = new_backlog(*range(size), bulk_max_size=bulk_max_size)
    while backlog.pending:
        batch = take(backlog)
        if payloads(poison)[0] in batch.payloads:
            backlog.put_back(batch, refused=True)
            if backlog.pending == 1:  # the suspect alone cannot be judged; but the program goes on logging
                backlog.append(payloads(backlog.appended), now=0.0)
        else:
            backlog.ack(batch, len(batch))

    assert payloads(poison) == list(backlog.dead_letters)
    assert backlog.acked == backlog.appended - 1


@given(
    size=st.integers(1, 20), bulk_max_size=st.integers(1, 8), windows=st.integers(1, 3), closings=st.integers(0, 1000)
)
def test_an_outage_that_closes_every_connection_kills_no_event_however_long(
    size: int, bulk_max_size: int, windows: int, closings: int
) -> None:
    backlog = new_backlog(*range(size), bulk_max_size=bulk_max_size)
    for _ in range(closings):
        leased = [take(backlog), *(batch for _ in range(1, windows) if (batch := backlog.take(0.0)) is not None)]
        for batch in leased:
            backlog.put_back(batch, refused=batch is leased[0])

    arrived: list[bytes] = []
    while backlog.pending:
        batch = take(backlog)
        arrived += batch.payloads
        backlog.ack(batch, len(batch))
    assert list(range(size)) == sorted(map(int, arrived))
    assert backlog.dead == 0


def test_each_dead_letter_is_collected_once() -> None:
    backlog = new_backlog()
    backlog.bury(DeadLetter(b"first", "too large"))
    backlog.bury(DeadLetter(b"second", "too large"))
    assert [b"first", b"second"] == backlog.collect_letters()
    assert [] == backlog.collect_letters()

    backlog.bury(DeadLetter(b"third", "too large"))
    assert [b"third"] == backlog.collect_letters()
