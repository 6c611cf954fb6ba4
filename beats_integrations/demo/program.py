"""What the programs of the demo share, and how they are started: `python -m beats_integrations.demo.program web`."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from time import monotonic, sleep

from beats_core import Options
from beats_integrations.demo.tally import Report
from beats_integrations.demo.watched_shipper import WatchedShipper

FOLDER = "BEATS_DEMO_FOLDER"  # where the broker's messages and the reports are
SECONDS = "BEATS_DEMO_SECONDS"
TASKS = "BEATS_DEMO_TASKS"

DELIVERY_TIME = 20.0  # seconds at its end in which a program delivers what it holds


class Program:
    """One program of the demo: its shipper, its pace, and what it has logged."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.seconds = float(os.environ[SECONDS])
        self.tasks = int(os.environ[TASKS])
        self.shipper = WatchedShipper(options=Options.from_env())
        self.logged: list[str] = []

    def new_id(self) -> str:
        """Return an id for the next event, which is then expected to arrive."""
        self.logged.append(f"{self.source}-{len(self.logged) + 1}")
        return self.logged[-1]

    def rounds(self, pause: float) -> Iterator[int]:
        """Count from 0, one step per `pause` seconds, until the time is over."""
        begin = monotonic()
        for number in range(max(1, round(self.seconds / pause))):
            sleep(max(0.0, begin + number * pause - monotonic()))
            yield number

    def finish(self) -> None:
        """Deliver what is left, and report."""
        self.shipper.close(DELIVERY_TIME)
        write_report(self.shipper.report(self.source, self.logged))


def write_report(report: Report) -> None:
    """Leave a report where the demo finds it; each process writes one."""
    path = Path(os.environ[FOLDER], "reports", f"{report.source}-{os.getpid()}.json")
    path.write_text(json.dumps(dataclasses.asdict(report)), "utf-8")


def read_reports(folder: Path) -> list[Report]:
    """Return the reports of all processes that left one."""
    return [Report(**json.loads(path.read_text("utf-8"))) for path in sorted((folder / "reports").glob("*.json"))]


def main() -> None:
    """Run the program that is named on the command line."""
    module = import_module(f"beats_integrations.demo.{sys.argv[1]}")
    program = Program(module.SOURCE)
    module.run(program)
    program.finish()


if __name__ == "__main__":
    main()
