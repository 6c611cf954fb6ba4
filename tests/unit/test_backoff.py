from __future__ import annotations

import pytest

from beats_core.backoff import Backoff


def certain() -> float:
    """As much jitter as there is: the whole wait."""
    return 1.0


def none() -> float:
    return 0.0


def waits(backoff: Backoff, count: int) -> list[float]:
    return [backoff.wait_time() for _ in range(count)]


def test_waits_double_up_to_the_longest() -> None:
    assert [1, 2, 4, 8, 16, 32, 60, 60] == waits(Backoff(1.0, 60.0, certain), 8)


def test_half_of_each_wait_is_certain() -> None:
    assert [0.5, 1, 2, 4, 8, 16, 30, 30] == waits(Backoff(1.0, 60.0, none), 8)


def test_jitter_is_drawn_anew_for_each_wait() -> None:
    drawn = iter([0.0, 0.5, 1.0])

    assert [0.5, 1.5, 4.0] == waits(Backoff(1.0, 60.0, lambda: next(drawn)), 3)


def test_without_a_given_jitter_it_is_random() -> None:
    first = {Backoff(1.0, 60.0).wait_time() for _ in range(20)}

    assert len(first) > 1
    assert all(0.5 <= wait < 1.0 for wait in first)


def test_a_reset_begins_anew() -> None:
    backoff = Backoff(1.0, 60.0, certain)
    waits(backoff, 5)
    backoff.reset()

    assert [1, 2] == waits(backoff, 2)


@pytest.mark.parametrize(
    ("init", "longest", "expected"),
    [(5.0, 2.0, [2, 2, 2]), (0.0, 60.0, [0, 0.1, 0.2]), (0.0, 0.0, [0, 0.1, 0.1])],
    ids=["longest below the first", "at once, but not again and again", "no wait at all, but no spinning either"],
)
def test_odd_bounds_are_kept(init: float, longest: float, expected: list[float]) -> None:
    assert expected == waits(Backoff(init, longest, certain), 3)
