from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from beats_core import HostStats, Stats


def test_nothing_happened_by_default() -> None:
    stats = Stats()

    assert (0, 0, 0, 0, 0) == (stats.accepted, stats.acked, stats.resent, stats.dead, stats.lost)
    assert ({}, {}) == (stats.dropped, stats.hosts)
    assert stats.last_ack is None
    assert HostStats() == HostStats(connected=False, acked=0, connections=0, error=None)


def test_what_is_lost_is_what_was_dropped_for_any_reason() -> None:
    """A dead event is no lost one: it was refused by the receiver."""
    assert Stats(dropped={"full": 2, "shutdown": 3}, dead=1).lost == 5


@pytest.mark.parametrize("stats", [Stats(), HostStats()])
def test_a_snapshot_does_not_change(stats: Stats | HostStats) -> None:
    with pytest.raises(FrozenInstanceError):
        stats.acked = 1  # type: ignore[misc] # what is tested
