"""Which event has which ordinal, and which are settled: against a list."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from beats_core.spool.ordinals import Ordinals
from support.spools import ENDLESS, MUCH, adopted, died, events, make, read_all


@st.composite
def some_runs(draw: st.DrawFn) -> list[tuple[int, int]]:
    marks = sorted(draw(st.sets(st.integers(0, 40), max_size=10)))
    runs = [(one, other) for one, other in zip(marks[::2], marks[1::2], strict=False)]
    if draw(st.booleans()):
        runs.append(((marks or [0])[-1] + draw(st.integers(0, 3)), ENDLESS))
    return runs


steps = st.one_of(
    st.tuples(st.just("hand out"), st.sampled_from("ab"), st.integers(1, 5)),
    st.tuples(st.just("pass by"), st.just(""), st.integers(1, 3)),
    st.tuples(st.just("settle"), some_runs(), st.just(0)),
)


@given(st.lists(steps, max_size=25))
def test_what_is_settled_is_what_was_not_before_and_is_in_no_run(done: list[tuple[str, object, int]]) -> None:
    ordinals: Ordinals[str] = Ordinals()
    model: list[tuple[str, int] | None] = []
    handed = {"a": 0, "b": 0}
    for what, how, count in done:
        if what == "hand out":
            where = str(how)
            ordinals.hand_out(where, handed[where], count)
            model += [(where, handed[where] + place) for place in range(count)]
            handed[where] += count
        elif what == "pass by":
            ordinals.pass_by(count)
            model += [None] * count
        else:
            assert isinstance(how, list)
            settled = [
                ordinal
                for ordinal, event in enumerate(model)
                if event is not None and not any(first <= ordinal < end for first, end in how)
            ]
            found = [(where, index + place) for where, index, n in ordinals.settle(how) for place in range(n)]
            assert found == [model[ordinal] for ordinal in settled]
            for ordinal in settled:
                model[ordinal] = None
        assert len(model) == ordinals.next
        assert sum(event is not None for event in model) == ordinals.outstanding


def test_ordinals_run_over_everything_that_is_read_and_passed_by(tmp_path: Path) -> None:
    old = make(tmp_path)
    old.append(events(1, 2, 3))
    died(old)
    spool = adopted(tmp_path)
    spool.append(events(4, 5))
    assert events(1, 2) == spool.read(2, MUCH)  # 0, 1
    spool.pass_by(3)  # 2, 3, 4
    assert events(3, 4, 5) == read_all(spool)  # 5, 6, 7
    assert spool.append(events(6), read=True)  # 8
    spool.settle([(1, 5), (7, 8)])
    assert 2 == spool.events
    died(spool)

    assert events(2, 5) == read_all(adopted(tmp_path))


def test_what_was_settled_once_stays_settled(tmp_path: Path) -> None:
    """Calls of two threads may overtake each other."""
    spool = make(tmp_path)
    spool.append(events(1, 2, 3), read=True)
    spool.settle([(2, 3)])
    spool.settle([(0, 3)])
    assert 1 == spool.events


def test_an_event_that_the_caller_does_not_know_yet_is_not_settled(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2), read=True)
    known = 2
    spool.append(events(3), read=True)
    spool.settle([(known, ENDLESS)])
    assert 1 == spool.events
    spool.settle([(known, ENDLESS)])
    assert 1 == spool.events


def test_read_says_no_more_than_was_asked_for_and_at_least_one_event(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=50)
    for number in range(6):
        spool.append([b"%d" % number * 10, b"x" * 30])

    assert [b"0" * 10] == spool.read(9, 1)
    assert [b"x" * 30] == spool.read(9, 31)
    assert [b"1" * 10, b"x" * 30, b"2" * 10] == spool.read(9, 79)
    assert [b"x" * 30, b"3" * 10] == spool.read(2, MUCH)
    assert [] == spool.read(9, 0)[1:]


def test_events_count_as_read_only_if_nothing_else_is_unread(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=60)
    assert spool.append(events(1), read=True)
    assert spool.append(events(2), read=True)
    assert spool.append(events(3, 4, 5, 6), read=True)  # a new segment
    assert not spool.append(events(7))
    assert not spool.append(events(8), read=True)
    assert events(7) == spool.read(1, MUCH)
    assert not spool.append(events(9), read=True)
    assert events(8, 9) == read_all(spool)
    assert spool.append(events(10), read=True)
    assert [] == read_all(spool)
    assert 10 == spool.events
