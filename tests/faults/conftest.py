"""The fault suite: a scene for each row of the catalogue, and one table at the end."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import table
from faults.catalogue import by_turns
from faults.namespaces import Network
from faults.scene import Scene
from faults.table import Row

_ROWS = pytest.StashKey[list[Row]]()
_OWN = pytest.StashKey[Row]()
_BEGAN = time.monotonic()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []
    # CI ends a stage that takes too long by SIGTERM: what is mounted, and namespaces and processes, are to go first.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    config.addinivalue_line("markers", "fault(number, injected, every): a row of the fault catalogue")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave to other runs what this one has no time for."""
    left = by_turns(items)
    config.hook.pytest_deselected(items=list(left))
    items[:] = [item for item in items if item not in left]


def pytest_collection_finish(session: pytest.Session) -> None:
    """Give every row its line, in the catalogue's order, whatever becomes of its test."""
    rows = session.config.stash[_ROWS]
    for item in session.items:
        mark = item.get_closest_marker("fault")
        if mark is None:
            continue
        parameters = item.callspec.params if isinstance(item, pytest.Function) and hasattr(item, "callspec") else {}
        row = Row(str(mark.args[0]), str(mark.args[1]), str(parameters.get("durability", "")))
        item.stash[_OWN] = row
        rows.append(row)
    rows.sort(key=lambda row: row.number)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Have the row of a test that did not come to its judgement say why."""
    report: pytest.TestReport = yield  # type: ignore[assignment]  # what a wrapper is given
    row = item.stash.get(_OWN, None)
    if row is not None and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        row.verdict = str(reason).removeprefix("Skipped: ")
    elif row is not None and report.failed:
        row.verdict = "no"
    elif row is not None and report.when == "call" and report.passed and not row.verdict:
        row.verdict = "yes"
    if row is not None and hasattr(report, "wasxfail"):
        row.verdict = f"no: {report.wasxfail.removeprefix('reason: ')}"
    return report  # type: ignore[return-value]  # as above


@pytest.fixture
def row(request: pytest.FixtureRequest) -> Row:
    """The line of the table that the test fills."""
    own: Row = request.node.stash[_OWN]
    return own


@pytest.fixture
def scene(row: Row, durability: str, tmp_path: Path) -> Iterator[Scene]:
    """What the test works with."""
    scene = Scene(tmp_path, row, durability)
    yield scene
    scene.close()


@pytest.fixture
def network() -> Iterator[Network]:
    """Two network namespaces with a line between them."""
    with Network() as network:
        yield network


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash[_ROWS]
    if rows:
        terminalreporter.section("faults")
        for line in table.lines(rows):
            terminalreporter.write_line(line)
        terminalreporter.write_line(f"{len(rows)} rows in {time.monotonic() - _BEGAN:.0f} s")
