"""What was logged against what arrived and what was acknowledged: event by event, not just by number."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

LOG = "log"

# What happens to a task of each kind, and how often it has been tried by then.
LIVES: Mapping[str, Sequence[tuple[str, int]]] = {
    "succeeds": (*(("task-sent", 0), ("task-received", 0), ("task-started", 0), (LOG, 0), ("task-succeeded", 0)),),
    "retries": (
        *(("task-sent", 0), ("task-received", 0), ("task-started", 0), (LOG, 0), ("task-retried", 0)),
        *(("task-sent", 1), ("task-received", 1), ("task-started", 1), (LOG, 1), ("task-succeeded", 1)),
    ),
    "fails": (*(("task-sent", 0), ("task-received", 0), ("task-started", 0), (LOG, 0), ("task-failed", 0)),),
}


def task_event_id(task_id: str, action: str, retries: int) -> str:
    """Return the id of what happens to a task, and of what it logs."""
    return f"{task_id} {action} {retries}"


def task_life(task_id: str, kind: str) -> list[str]:
    """Return the ids of all events that a task of this kind is to cause."""
    return [task_event_id(task_id, action, retries) for action, retries in LIVES[kind]]


def event_id(document: Mapping[str, Any]) -> str | None:
    """Return by what an event is recognised; None for those nobody counts on, such as the worker's greeting.

    The tasks of the demo log one line at each try, and the line carries the task's id by itself.
    """
    extra = document.get("extra")
    if not isinstance(extra, Mapping):
        return None
    if "event_id" in extra:
        return str(extra["event_id"])
    if "task_id" in extra:
        return task_event_id(extra["task_id"], extra.get("event_action", LOG), extra["retries"])
    return None


@dataclass(frozen=True)
class Report:
    """What one process says at its end.

    Attributes:
        source: The library it logged through.
        logged: The ids of the events it logged, or caused to be logged by others.
        acknowledged: The ids of the events its shipper has an acknowledgement for.
        latencies: Seconds from the log call to the acknowledgement.
        resent: How many events its shipper sent again.
    """

    source: str
    logged: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    resent: int = 0


@dataclass(frozen=True)
class Row:
    """One source in the table. `missing` are the ids that did not arrive, or were not acknowledged."""

    source: str
    logged: int
    acknowledged: int
    resent: int
    missing: tuple[str, ...]
    p50: float | None
    p99: float | None

    @property
    def complete(self) -> bool:
        """True if something was logged and nothing of it is missing."""
        return self.logged > 0 and not self.missing


def tally(sources: Iterable[str], reports: Iterable[Report], arrived: Collection[str]) -> list[Row]:
    """Return a row for each source, also for one of which there is no report.

    Args:
        sources: The rows that there are to be.
        reports: Several processes may report on one source.
        arrived: The ids of the events that the receiver has seen.
    """
    by_source: defaultdict[str, list[Report]] = defaultdict(list)
    for report in reports:
        by_source[report.source].append(report)
    return [_row(source, by_source[source], arrived) for source in sources]


def _row(source: str, reports: Sequence[Report], arrived: Collection[str]) -> Row:
    logged = {number for report in reports for number in report.logged}
    acknowledged = {number for report in reports for number in report.acknowledged}
    latencies = sorted(seconds for report in reports for seconds in report.latencies)
    return Row(
        source=source,
        logged=len(logged),
        acknowledged=len(logged & acknowledged),
        resent=sum(report.resent for report in reports),
        missing=tuple(sorted(number for number in logged if number not in acknowledged or number not in arrived)),
        p50=_percentile(latencies, 0.50),
        p99=_percentile(latencies, 0.99),
    )


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None
