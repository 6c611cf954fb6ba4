"""Rows 55 and 56: an exception at every line between `put()` and the ack; see `failpoints`."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from faults.catalogue import FULL, row
from faults.processes import environment
from faults.table import Row

_MOST = 40  # lines, unless all are asked for


def run(row: Row, place: str) -> dict[str, Any]:
    """Try the lines of one place in a process of its own, which can be slow and may not be traced by others."""
    completed = subprocess.run(
        [sys.executable, "-m", "faults.failpoints", place, str(10_000 if FULL else _MOST)],
        env=environment(BEATS_FAULTS="full" if FULL else ""),
        capture_output=True,
        text=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(completed.stdout.splitlines()[-1])
    wrong: dict[str, list[str]] = report["wrong"]
    row.accepted = report["accepted"]
    row.lost = sum(any("lost" in problem for problem in problems) for problems in wrong.values())
    row.notes.append(f"{len(wrong)} of {report['reached']} lines")
    assert report["reached"] > 0
    return wrong


@pytest.mark.timeout(900)
@pytest.mark.xfail(strict=False, reason="some lines are not guarded")
@row("F55", "MemoryError at each line of put()", "memory")
def test_f55_put_raises_nothing_and_what_it_accepted_is_accounted_for(row: Row, durability: str) -> None:
    assert {} == run(row, "put")


@pytest.mark.timeout(900)
@pytest.mark.xfail(strict=False, reason="some lines are not guarded")
@row("F56", "an exception at each line of intake, sender and ledger", "memory")
def test_f56_our_threads_survive_and_lose_nothing(row: Row, durability: str) -> None:
    assert {} == run(row, "threads")
