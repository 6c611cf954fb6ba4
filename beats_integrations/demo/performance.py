"""The demo from curtain to curtain: starts everybody, sends the receiver away for a while, and counts at the end."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import monotonic, sleep

from rich.console import Console
from rich.table import Table

from beats_integrations.demo.children import Children
from beats_integrations.demo.program import DELIVERY_TIME, FOLDER, SECONDS, TASKS, read_reports
from beats_integrations.demo.receiving import Reception
from beats_integrations.demo.tally import Row, tally

SOURCES = ("structlog", "loguru", "logging", "celery")
PROGRAMS = ("web", "stock", "invoices", "orders")
WORKER = "worker"

CRASH = 0.5  # seconds in which the receiver takes events and acknowledges none
OUTAGE = 2.0
TASKS_TIME = 15.0  # seconds for the tasks that are not done when everybody else is
WORKER_END_TIME = 15.0
SHOWN_MISSING = 10


def perform(seconds: float, tasks: int) -> int:
    """Run the demo and return its exit code."""
    with tempfile.TemporaryDirectory(prefix="beats-demo-") as name, Reception() as reception:
        folder = Path(name)
        (folder / "reports").mkdir()
        environment = {
            FOLDER: name,
            SECONDS: str(seconds),
            TASKS: str(tasks),
            "TMPDIR": name,  # for what Celery's processes would leave behind when they are killed
            "BEATS_HOSTS": reception.host,
            "BEATS_BACKOFF_INIT": "0.2",
            "BEATS_BACKOFF_MAX": "1",
        }
        with Children(folder, environment) as children:
            reception.say(f"a receiver listens on {reception.host}; a shop of three programs and a Celery worker logs")
            _start(children)
            sleep(seconds / 2)
            reception.say(f"the receiver crashes: it acknowledges nothing, then it is gone for {OUTAGE:g} seconds")
            reception.stop_acknowledging()
            sleep(CRASH)
            reception.go_away()
            sleep(OUTAGE)
            reception.say("the receiver is back; what it had not acknowledged is sent again")
            reception.come_back()
            problems = _finish(children, reception, folder, seconds)
        rows = tally(SOURCES, read_reports(folder), reception.arrived)
        return _show(rows, problems, reception.repeated)


def _start(children: Children) -> None:
    children.start(
        WORKER,
        "celery",
        *("-A", "beats_integrations.demo.shop_tasks", WORKER, "-P", "prefork", "-c", "2", "-n", "demo@shop"),
        *("--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"),
    )
    for program in PROGRAMS:
        children.start(program, "beats_integrations.demo.program", program)


def _finish(children: Children, reception: Reception, folder: Path, seconds: float) -> list[str]:
    """Wait for everybody's end; return what went wrong."""
    deadline = monotonic() + seconds + DELIVERY_TIME
    problems = [children.wait(program, deadline - monotonic()) for program in PROGRAMS]
    expected = {number for report in read_reports(folder) for number in report.logged}
    reception.wait_for(expected, TASKS_TIME, alive=lambda: children.alive(WORKER))
    children.terminate(WORKER)
    problems.append(children.wait(WORKER, WORKER_END_TIME))
    return [problem for problem in problems if problem is not None]


def _show(rows: Sequence[Row], problems: Sequence[str], repeated: int) -> int:
    console = Console()
    console.print()
    console.print(_table(rows))
    console.print(
        "p50, p99: from inside the log call to the acknowledgement, the outage included (see --help)", soft_wrap=True
    )
    if repeated:
        console.print(f"{repeated} events arrived more than once, which at-least-once delivery allows")
    for problem in problems:
        console.print(problem, style="red", markup=False)
    missing = [number for row in rows for number in row.missing]
    for number in missing[:SHOWN_MISSING]:
        console.print(f"missing: {number}", style="red", markup=False)
    if problems or not all(row.complete for row in rows):
        console.print(f"{len(missing)} events did not arrive, or were not acknowledged.", style="bold red")
        return 1
    console.print(f"All {sum(row.logged for row in rows)} events arrived and were acknowledged.", style="bold green")
    return 0


def _table(rows: Sequence[Row]) -> Table:
    table = Table("source")
    for column in ("logged", "acknowledged", "resent", "lost", "p50", "p99"):
        table.add_column(column, justify="right")
    for row in rows:
        numbers = (row.logged, row.acknowledged, row.resent, len(row.missing))
        style = None if row.complete else "red"
        table.add_row(row.source, *map(str, numbers), _milliseconds(row.p50), _milliseconds(row.p99), style=style)
    return table


def _milliseconds(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds * 1000:,.1f} ms"
