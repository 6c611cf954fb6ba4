from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from beats_core.slow_start import FIRST, SlowStart


def test_it_begins_small_and_grows_by_half_as_filebeat_does() -> None:
    window = SlowStart(2048)
    sizes = [window.size]
    while window.size < 2048:
        window.acked(window.size)
        sizes.append(window.size)

    assert [10, 15, 23, 35, 53, 80, 120, 180, 270, 405, 608, 912, 1368, 2048] == sizes


def test_it_is_never_larger_than_the_largest_window() -> None:
    window = SlowStart(3)
    assert window.size == 3
    window.acked(3)
    assert window.size == 3


def test_it_halves_with_each_loss_down_to_one_event_and_grows_again() -> None:
    window = SlowStart(2048)
    sizes = []
    for _ in range(5):
        window.lost()
        sizes.append(window.size)
    assert [5, 2, 1, 1, 1] == sizes

    window.acked(1)
    window.acked(2)
    assert window.size == 3


@given(small=st.lists(st.integers(1, FIRST - 1), max_size=200))
def test_windows_that_were_not_limited_by_it_change_nothing(small: list[int]) -> None:
    """Filebeat stops growing for good after a time of small batches (window.go)."""
    window = SlowStart(2048)
    for count in small:
        window.acked(count)
    assert window.size == FIRST

    window.acked(FIRST)
    assert window.size > FIRST


@given(most=st.integers(1, 5000), fates=st.lists(st.integers(0, 5000)))
def test_whatever_happens_it_stays_within_bounds_and_finds_its_way_back(most: int, fates: list[int]) -> None:
    window = SlowStart(most)
    for fate in fates:
        before = window.size
        if fate:
            window.acked(fate)
            assert before <= window.size <= most
        else:
            window.lost()
            assert 1 <= window.size <= before
    for _ in range(22):
        window.acked(window.size)
    assert window.size == most
