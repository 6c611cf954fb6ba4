"""One row of the catalogue: its processes, its fault, and the judgement of what came of it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from beats_core.inbox import REFUSALS
from beats_core.options import OPTIONS
from faults import ledgers
from faults.orders import ProducerOrder, SinkOrder
from faults.processes import Arrivals, GoSink, Producer, ScriptedSink, Sink, wait_until
from faults.table import Row
from support.go_lumber import GoReceiver
from support.scripted import Script, Scripted

HAS_SPOOL = "spool" in OPTIONS
WINDOW = 100  # events: many windows in a short time, and duplicates are counted in windows
PIPELINING = 2
# What a killed process had sent, and the acknowledgements it had read but not yet noted on disk.
WINDOWS_PER_CRASH = 2 * PIPELINING
_ROOM = ("spool_max_bytes", "spool_min_free_bytes", "queue_mem_bytes")
_DRAINING = 6  # most processes at once
_PARTS_AT_A_START = 4  # that a process takes over
_SILENCE = 2.0  # seconds without an arrival after which none is expected
MEMORY = 96 << 20  # bytes that a producer may grow by; its queue is bounded by 16 MiB


class Scene:
    """What a test of the fault suite works with; everything it starts ends with it.

    Args:
        directory: For its files.
        row: What the table will say of it.
        durability: Of our shippers.
    """

    def __init__(self, directory: Path, row: Row, durability: str) -> None:
        self.directory = directory
        self.row = row
        self.durability = durability
        self.run = f"{row.number}-{durability}"
        self.stack = ExitStack()
        self._arrivals: list[Arrivals] = []
        self.producers: list[Producer] = []
        self._healed_at: float | None = None

    @property
    def spooled(self) -> bool:
        return self.durability != "memory"

    @property
    def spool(self) -> Path:
        return self.directory / "spool"

    @property
    def arrived(self) -> int:
        return sum(arrivals.count for arrivals in self._arrivals)

    @property
    def accepted(self) -> int:
        return sum(producer.accepted for producer in self.producers)

    def options(self, hosts: str | Sequence[str], **values: Any) -> dict[str, Any]:
        """Return a shipper's options, by which a fault is noticed, and over, within a test."""
        spool = {"spool": str(self.spool), "durability": self.durability} if self.spooled else {}
        return {
            "hosts": hosts,
            "bulk_max_size": WINDOW,
            "pipelining": PIPELINING,
            "flush_interval": 0.02,
            "timeout": 2.0,
            "backoff_init": 0.05,
            "backoff_max": 0.5,
            "failback_interval": 0.5,
            "queue_mem_bytes": 16 << 20,
            **spool,
            **values,
        }

    def sink(self, *, within: Sequence[str] = (), **values: Any) -> Sink:
        """Start a receiver in a process of its own."""
        order = SinkOrder(ledger=str(self.directory / f"arrived{len(self._arrivals)}"), **values)
        sink = Sink(order, within=within)
        self.stack.callback(sink.kill)
        self._arrivals.append(sink)
        return sink

    def scripted(self, *scripts: Script, **values: Any) -> Scripted:
        """Start a receiver in this process that does what it is told."""
        scripted = self.stack.enter_context(Scripted(*scripts, **values))
        self._arrivals.append(ScriptedSink(scripted))
        return scripted

    def go_lumber(self, **values: Any) -> GoReceiver:
        """Start Elastic's receiver."""
        receiver = self.stack.enter_context(GoReceiver(**values))
        self._arrivals.append(GoSink(receiver))
        return receiver

    def producer(
        self,
        hosts: str | Sequence[str],
        *,
        within: Sequence[str] = (),
        variables: dict[str, str] | None = None,
        options: dict[str, Any] | None = None,
        before: str = "",
        **values: Any,
    ) -> Producer:
        """Start a producer; `values` are what a `ProducerOrder` takes, the rest is a `Producer`'s."""
        place = str(self.directory / f"accepted{len(self.producers)}")
        told = self.options(hosts, **(options or {}))
        order = ProducerOrder(run=self.run, ledger=place, options=told, **values)
        producer = Producer(order, within=within, variables=variables or {}, before=before)
        self.stack.callback(producer.kill)
        self.producers.append(producer)
        return producer

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def wait_for_arrivals(self, count: int) -> None:
        wait_until(lambda: self.arrived >= count, otherwise=f"{count} arrivals were awaited")

    def wait_for_accepted(self, count: int) -> None:
        wait_until(lambda: self.accepted >= count, otherwise=f"{count} accepted events were awaited")

    def healed(self) -> None:
        """Say that the fault is over, wait for the next arrival, and note how long that took."""
        before, began = self.arrived, time.monotonic()
        wait_until(
            lambda: self.arrived > before or self.arrived >= self.accepted > 0,  # or it was faster than we
            otherwise="nothing arrived after the fault was over",
        )
        self.row.recovery = time.monotonic() - began

    def drain(self, hosts: str | Sequence[str]) -> None:
        """Have fresh processes deliver what the spool holds, until nothing is left that they can deliver."""
        if not self.spooled:
            return
        left: list[str] | None = None
        # A process takes a few parts over at its start, and the next ones only a minute later.
        while left is None or (self._parts() and self._parts() != left):
            left = self._parts()
            self._drain_once(hosts, min(_DRAINING, 1 + len(left) // _PARTS_AT_A_START))

    def _drain_once(self, hosts: str | Sequence[str], processes: int) -> None:
        dropped = sum(_dropped(producer.report()["stats"]) for producer in self.producers if producer.ended_well)
        end = self.path(f"drained{len(self.producers)}")
        room = {name: value for name, value in self.producers[0].order.options.items() if name in _ROOM}
        drains = [self.producer(hosts, events=1, threads=1, end_at=end, options=room) for _ in range(processes)]
        arrived, since = 0, time.monotonic()
        # What a killed process may have had in memory nobody can say; then it is over when nothing comes any more.
        while self._distinct_arrivals() < self.accepted - dropped and time.monotonic() - since < _SILENCE:
            if self.arrived > arrived or not all(producer.accepted for producer in drains):
                arrived, since = self.arrived, time.monotonic()
            time.sleep(0.05)
        Path(end).touch()
        for producer in drains:
            producer.report()

    def _parts(self) -> list[str]:
        """Which processes' parts there are in the spool."""
        return sorted(path.name for path in self.spool.glob("*-*") if path.is_dir())

    def drain_at_once(self, hosts: str | Sequence[str], processes: int) -> None:
        """As `drain`, by several processes that begin at the same moment."""
        begin, end = self.path("drain"), self.path("drained")
        drains = [self.producer(hosts, events=1, threads=1, begin_at=begin, end_at=end) for _ in range(processes)]
        wanted = self.accepted + processes
        drains[0].begin()
        wait_until(lambda: self._distinct_arrivals() >= wanted, otherwise="the spool was not emptied")
        drains[0].release()
        for producer in drains:
            producer.report()

    def _distinct_arrivals(self) -> int:
        return len({entry for arrivals in self._arrivals for entry in arrivals.entries()})

    def judge(
        self,
        *,
        losses: int | None = None,
        crashes: int = 0,
        bound: int | None = None,
        may_lose: int | None = 0,
        memory: int = MEMORY,
    ) -> dict[str, Any]:
        """Wait for the producers that are still there, draw the sum, and hold it against what is promised.

        Args:
            losses: How many lines were lost with windows in flight; None asks the producers.
            crashes: How many producers were killed, so that they cannot be asked.
            bound: Most duplicates, if not what follows from these.
            may_lose: Most events that may be gone without being counted; None where nothing is promised.
            memory: Bytes that a producer may grow by.

        Returns:
            What the last producer told of itself.
        """
        reports = [producer.report() for producer in self.producers if producer.ended_well]
        balance = self.balance()
        dropped = sum(_dropped(report["stats"]) for report in reports)
        if losses is None:
            losses = sum(_lines_lost(report["stats"]) for report in reports)
        if bound is None:
            window = max(producer.order.options["bulk_max_size"] for producer in self.producers)
            bound = (losses * PIPELINING + crashes * WINDOWS_PER_CRASH) * window
        row = self.row
        row.accepted, row.arrived = balance.accepted, balance.arrived
        row.dropped = min(dropped, len(balance.missing))
        row.lost = len(balance.missing) - row.dropped
        row.duplicated, row.bound, row.may_lose = balance.duplicated, bound, may_lose
        row.put_p99 = max((report["put_p99"] or 0.0 for report in reports), default=None)
        problems = list(_problems(row, balance, crashes * max(1, len(self.producers)) * 16, reports, memory))
        row.verdict = "no" if problems else "yes"
        assert not problems, "; ".join(problems) + "\n" + "\n".join(each.complaints() for each in self.producers)
        return reports[-1] if reports else {}

    def balance(self) -> ledgers.Balance:
        arrivals = [entry for each in self._arrivals for entry in each.entries()]
        accepted = [entry for each in self.producers for entry in ledgers.read(Path(each.order.ledger))]
        return ledgers.balance(accepted, arrivals)

    def close(self) -> None:
        self.stack.close()


def _problems(
    row: Row, balance: ledgers.Balance, may_be_unclaimed: int, reports: list[dict[str, Any]], memory: int
) -> Iterable[str]:
    """Whatever is not as it must be."""
    if row.may_lose is not None and (row.lost or 0) > row.may_lose:
        yield f"{row.lost} events are lost and not counted, such as {sorted(balance.missing)[:3]}"
    if row.bound is not None and balance.duplicated > row.bound:
        yield f"{balance.duplicated} came again, {row.bound} may"
    if balance.damaged:
        yield f"{balance.damaged} arrivals are not what anybody put"
    if balance.unclaimed > may_be_unclaimed:
        yield f"{balance.unclaimed} arrived that nobody says were accepted"
    for report in reports:
        if report["stats"].get("unaccounted"):
            yield f"the shipper's numbers do not add up: {report['stats']}"
        if report["memory"] > memory:
            yield f"the producer grew by {report['memory']} bytes, {memory} were allowed"


def _dropped(stats: dict[str, Any]) -> int:
    """How many events were lost and counted after they had been accepted."""
    dropped = sum(number for reason, number in stats["dropped"].items() if reason not in REFUSALS)
    return int(dropped + stats.get("dead", 0))


def _lines_lost(stats: dict[str, Any]) -> int:
    """At most how many lines ended with windows in flight: all, but for the last to each host."""
    return int(sum(max(0, host["connections"] - 1) for host in stats["hosts"].values()))
