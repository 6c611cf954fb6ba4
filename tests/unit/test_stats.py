from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from beats_core import HostStats, Stats
from beats_core.stats import add_hosts


def test_nothing_happened_by_default() -> None:
    stats = Stats()

    assert (0, 0, 0, 0, 0) == (stats.accepted, stats.acked, stats.resent, stats.dead, stats.lost)
    assert ({}, {}) == (stats.dropped, stats.hosts)
    assert stats.last_ack is None
    assert HostStats() == HostStats(state="idle", acked=0, connections=0, error=None)


def test_what_is_lost_is_what_was_dropped_for_any_reason() -> None:
    """A dead event is no lost one: it was refused by the receiver."""
    assert Stats(dropped={"full": 2, "shutdown": 3}, dead=1).lost == 5


@pytest.mark.parametrize("stats", [Stats(), HostStats()])
def test_a_snapshot_does_not_change(stats: Stats | HostStats) -> None:
    with pytest.raises(FrozenInstanceError):
        stats.acked = 1  # type: ignore[misc] # what is tested


def test_what_two_connections_did_for_one_host_is_added_up() -> None:
    one = HostStats(state="connected", acked=3, connections=1, in_flight=2, window_size=10, error="reset")
    other = HostStats(state="resting", retry_at=7.0, acked=4, connections=2, window_size=5)

    together = HostStats(
        state="connected", retry_at=7.0, acked=7, connections=3, in_flight=2, window_size=10, error="reset"
    )
    assert together == one + other == other + one


@pytest.mark.parametrize(
    ("state", "connected"),
    [("idle", False), ("connecting", False), ("resting", False), ("connected", True), ("draining", True)],
)
def test_a_line_that_is_being_drained_is_a_connection_still(state: str, connected: bool) -> None:  # noqa: FBT001 - as it is
    assert connected == HostStats(state=state).connected


def test_hosts_of_several_senders_are_added_up_by_name() -> None:
    first = {"a": HostStats(acked=1), "b": HostStats(acked=2)}
    second = {"b": HostStats(acked=3), "c": HostStats(acked=4)}

    assert {"a": 1, "b": 5, "c": 4} == {host: stats.acked for host, stats in add_hosts(first, second).items()}
