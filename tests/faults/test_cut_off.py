"""The long loop of cut_off.py, shortened."""

from __future__ import annotations

import pytest

from faults.cut_off import main


@pytest.mark.parametrize("seed", range(3))
def test_cut_off_at_random_nothing_is_lost_and_only_what_was_in_flight_comes_twice(
    seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert 0 == main(["--events", "40000", "--cuts", "8", "--seed", str(seed)]), capsys.readouterr().out
