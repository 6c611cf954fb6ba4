"""A million events through the Shipper to go-lumber's server: without a fault, and while it is killed five times.

    PYTHONPATH=tests python -m interop.million [--events 1000000] [--kills 5]

Prints a table. Ends with 0 only if none is missing, and without a fault none came twice.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass

from beats_core import Shipper, Stats
from support.go_lumber import GoReceiver

PATIENCE = 120.0  # seconds without which nothing here should have to do
DOWN = 0.3  # seconds between a kill and the restart: the shipper meets a refused connection as well


@dataclass(frozen=True)
class Run:
    """What one run showed."""

    name: str
    events: int
    seconds: float
    stats: Stats
    received: Counter[bytes]

    @property
    def missing(self) -> int:
        return sum(str(number).encode() not in self.received for number in range(self.events))

    @property
    def twice(self) -> int:
        return self.received.total() - len(self.received)

    def row(self) -> list[str]:
        numbers = [self.events, self.stats.acked, self.stats.resent, self.missing, self.twice]
        speed = [f"{self.seconds:.1f}", f"{self.events / self.seconds:,.0f}"]
        return [self.name, *(f"{number:,}" for number in numbers), *speed]


HEADER = ["go-lumber's server", "events", "acked", "resent", "missing", "twice", "seconds", "events/s"]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000, help="how many events each run sends")
    parser.add_argument("--kills", type=int, default=5, help="how often the second run's server is killed")
    options = parser.parse_args(arguments)

    runs = [
        deliver("left alone", options.events, 0),
        deliver(f"killed {options.kills} times", options.events, options.kills),
    ]
    rows = [HEADER, *(run.row() for run in runs)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, *cells in rows:
        line = "  ".join(cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        sys.stdout.write(f"{name.ljust(widths[0])}  {line}\n")
    return 1 if runs[0].twice or any(run.missing for run in runs) else 0


def deliver(name: str, events: int, kills: int) -> Run:
    """Send events with the ids 0 to `events` through one shipper, and kill the receiver meanwhile."""
    with GoReceiver(write="ids") as receiver:
        started = time.perf_counter()
        killer = threading.Thread(target=kill_repeatedly, args=(receiver, events, kills))
        killer.start()
        shipper = Shipper(receiver.host, backoff_init=0.1)
        for number in range(events):
            event = {"id": number, "message": f"order {number} was paid", "level": "INFO", "logger": "shop.checkout"}
            while not shipper.put(event):
                shipper.flush(PATIENCE)  # the queue is full: bounded, it refuses and does not wait
        stats = shipper.close(PATIENCE)
        seconds = time.perf_counter() - started
        killer.join()
    return Run(name, events, seconds, stats, Counter(receiver.lines()))


def kill_repeatedly(receiver: GoReceiver, events: int, kills: int) -> None:
    """Kill the receiver and start it again, at even distances in the events it has received."""
    for kill in range(1, kills + 1):
        receiver.wait_until(events * kill // (kills + 1), PATIENCE)
        receiver.kill()
        threading.Event().wait(DOWN)
        receiver.start()


if __name__ == "__main__":
    sys.exit(main())
