"""Many events through the Shipper to two receivers, each of which is cut off again and again, at random.

    python tests/faults/cut_off.py [--events 200000] [--cuts 20] [--seed N]

A proxy before each receiver cuts the line anywhere: within a window, within an ack, with and without losing what is on
its way. For each cut the table has what was in flight then, which is what had begun on the wire and was not
acknowledged as far as the shipper knew, and how much of that the receiver had nevertheless: it came again on another
line. Ends with 0 only if every event arrived, exactly one arrival of each was acknowledged, no line gave rise to more
repetitions than it had in flight, and the shipper's own numbers agree.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Literal

import msgspec

if not __package__:  # run as a program
    sys.path.insert(0, str(Path(__file__).parents[1]))

from beats_core import Options, ReceivedWindow, Receiver, Shipper, Stats
from support.proxy import Cut, Line, Proxy
from support.shippers import unaccounted

PATIENCE = 120.0  # seconds for the last ack
PIPELINING = 2
WINDOW = 500  # events: about 200 windows to each receiver


class _Numbered(msgspec.Struct):
    id: int


_decode = msgspec.json.Decoder(_Numbered).decode


@dataclass(frozen=True)
class Account:
    """What became of one line."""

    station: str
    cut: Cut | None
    acked: list[int]  # ids that the receiver had and the shipper knows of
    again: list[int]  # ids that the receiver had and the shipper does not know of: they arrive once more
    in_flight: list[int]  # at the end, the sizes of the windows that had begun, less what was acknowledged


class Station:
    """One receiver behind its proxy."""

    def __init__(self, name: str, cuts: list[Cut]) -> None:
        self.name = name
        self.receiver = Receiver(consume=self._consume)
        self.proxy = Proxy(self.receiver.host, cuts, self._note_line)
        self.shipper: Shipper  # known before the first line
        self._received: dict[str, list[int]] = {}  # ids by the line's other end
        self._acked_before: list[int] = []  # by the shipper's count, when each line began

    def accounts(self) -> Iterator[Account]:
        """Yield one for each line, after the end."""
        marks = [*self._acked_before, self._acked()]
        for line, before, after in zip(self.proxy.lines, marks, marks[1:], strict=False):
            acked = after - before
            ids = self._received[line.upstream]
            ends = list(accumulate(line.begun.windows))
            in_flight = [min(size, end - acked) for size, end in zip(line.begun.windows, ends, strict=True)]
            yield Account(self.name, line.cut, ids[:acked], ids[acked:], [size for size in in_flight if size > 0])

    def close(self) -> None:
        self.proxy.close()
        self.receiver.close()

    def _consume(self, window: ReceivedWindow) -> None:
        self._received[window.peer].extend(_decode(payload).id for payload in window.payloads)

    def _note_line(self, line: Line) -> None:
        self._received[line.upstream] = []
        self._acked_before.append(self._acked())

    def _acked(self) -> int:
        return self.shipper.stats().hosts[self.proxy.host].acked


@dataclass(frozen=True)
class Report:
    """What a run showed."""

    events: int
    cuts: int
    seconds: float
    stats: Stats
    accounts: list[Account]

    @property
    def losses(self) -> list[Account]:
        return [account for account in self.accounts if account.cut]

    @property
    def arrived(self) -> Counter[int]:
        return Counter(number for account in self.accounts for number in (*account.acked, *account.again))

    @property
    def repeated(self) -> int:
        return self.arrived.total() - len(self.arrived)

    def complaints(self) -> Iterator[str]:
        """Whatever is not as it must be."""
        if self.events != len(self.arrived):
            yield f"{self.events - len(self.arrived)} events are missing"
        acked = Counter(number for account in self.accounts for number in account.acked)
        if acked != Counter(range(self.events)):
            yield f"{len(acked)} events were acknowledged, {acked.total() - len(acked)} of them more than once"
        for account in self.accounts:
            if len(account.again) > sum(account.in_flight):
                yield f"{len(account.again)} events came again, though {sum(account.in_flight)} were in flight"
            if account.again and not account.cut:
                yield f"{len(account.again)} events of a line that was not cut came again"
            if len(account.in_flight) > PIPELINING:
                yield f"{len(account.in_flight)} windows were in flight"
        if self.repeated > self.stats.resent:
            yield f"{self.repeated} came again, but the shipper sent only {self.stats.resent} again"
        if (self.events, self.events) != (self.stats.accepted, self.stats.acked):
            yield f"the shipper accepted {self.stats.accepted} and had {self.stats.acked} acknowledged"
        if self.stats.dead or unaccounted(self.stats):
            yield f"the shipper lost some: {self.stats}"
        if self.cuts != len(self.losses):
            yield f"only {len(self.losses)} of {self.cuts} cuts came about"


def run(events: int, cuts: int, seed: int) -> Report:
    """Ship that many events while each of two receivers is cut off that often."""
    chance = random.Random(seed)
    window = min(WINDOW, max(1, events // (20 * cuts)))
    began = time.monotonic()
    with ExitStack() as stack:
        stations = [stack.enter_context(closing(Station(name, plan(chance, events, cuts)))) for name in "AB"]
        options = Options(
            hosts=[station.proxy.host for station in stations],
            loadbalance=True,
            pipelining=PIPELINING,
            bulk_max_size=window,
            flush_interval=0.01,
            backoff_init=0.002,
            backoff_max=0.01,
        )
        shipper = stack.enter_context(Shipper(options=options))
        for station in stations:
            station.shipper = shipper
        for number in range(events):
            event = {"id": number, "message": "x" * chance.randrange(120)}
            while not shipper.put(event):
                time.sleep(0.001)  # the memory is full
        stats = shipper.close(PATIENCE)
        accounts = [account for station in stations for account in station.accounts()]
    return Report(events, 2 * cuts, time.monotonic() - began, stats, accounts)


def plan(chance: random.Random, events: int, cuts: int) -> list[Cut]:
    """Cuts at random, so close to each other that there is still something to ship at the last."""
    directions: list[Literal["up", "down"]] = ["up", "down"]
    return [
        Cut(
            events=chance.randrange(1 + events // (5 * cuts)),
            direction=direction,
            bytes=chance.randrange(20_000 if direction == "up" else 18),
            how=chance.choice(["reset", "end"]),
            away=chance.choice([0, chance.uniform(0, 0.01)]),
        )
        for direction in chance.choices(directions, k=cuts)
    ]


def table(report: Report) -> Iterator[str]:
    """Yield the lines to print."""
    yield f"{'cut':>4} {'line':>5} {'how':>6} {'in':>5} {'windows':>8} {'in flight':>10} {'came again':>11}"
    for number, loss in enumerate(report.losses, 1):
        assert loss.cut is not None
        yield (
            f"{number:>4} {loss.station:>5} {loss.cut.how:>6} {'window' if loss.cut.direction == 'up' else 'ack':>6}"
            f" {len(loss.in_flight):>7} {sum(loss.in_flight):>10} {len(loss.again):>11}"
        )
    in_flight = sum(sum(loss.in_flight) for loss in report.losses)
    yield f"{'all':>4} {'':>5} {'':>6} {'':>6} {'':>7} {in_flight:>10} {report.repeated:>11}"
    yield ""
    yield (
        f"{report.events} events in {report.seconds:.1f} s: {report.stats.acked} acknowledged, "
        f"{report.events - len(report.arrived)} missing, {report.stats.resent} sent again, {report.repeated} came again"
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--cuts", type=int, default=20, help="of each receiver")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args(arguments)
    report = run(options.events, options.cuts, options.seed)
    complaints = list(report.complaints())
    verdict = complaints or ["Nothing is missing, and nothing came again that was not in flight at a cut."]
    again = f"The same cuts: --events {options.events} --cuts {options.cuts} --seed {options.seed}"
    print(*table(report), *verdict, again, sep="\n")  # noqa: T201 - a program's result
    return 1 if complaints else 0


if __name__ == "__main__":
    logging.getLogger("beats_core").setLevel(logging.ERROR)  # lost lines are what this is about
    sys.exit(main())
