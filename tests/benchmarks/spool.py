"""What the spool costs: for a call of `put`, on the way to the receiver, and when millions of events wait on disk.

Four parts, each in rounds that are interleaved, each case in a process of its own (`spool_runs.py`) against `sink.py`:

    put        a dict, from 1 and 8 threads in bursts of 100, 10,000 events a second in all, while a receiver acks
               and while there is none: µs of the clock at p50, p99 and p99.9; how much the p50 is over that of
               durability="memory"; µs of CPU of the calling thread; and of the whole process, up to the ack or the disk
    shippers   events/s and µs of CPU per event: from `put` of a dict to the ack; from `put` of ready JSON to the disk,
               while nobody receives, then SIGKILL; and from there to the ack, in a new process
    stores     the queues under them: our spool, sqlite3, persist-queue and python-logstash-async's, N events per
               call in, SIGKILL, and out again, with deletion, 2,048 at a time; how many times faster ours is
    recovery   5 million events wait: from opening to the first of them, and to the last, and how much memory that took.
               Of queues that take minutes to fill, fewer

python-logstash-async is measured with a log call instead of a `put`, since that is its way in, and sends windows as
large as ours: 25 events, its own choice, would be slower.

Believe the ratios of one run. The directory has to be on the disk that is meant: on tmpfs an fsync is free.

    python tests/benchmarks/spool.py
    python tests/benchmarks/spool.py --quick --only put --only stores
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.rounds import describe_machine, medians, print_rows, show_progress
from benchmarks.sink import Sink
from benchmarks.stores import READ_EVENTS, STORES

_RUNS = Path(__file__).with_name("spool_runs.py")
_UNTIL_GIVING_UP = 700.0  # seconds for one case
_SLOW_RECOVERY = 20_000  # events that wait in queues that would take minutes to fill


@dataclass(frozen=True)
class Way:
    """One row of the first two tables: how a shipper keeps what it accepted. `slowness` divides its events."""

    label: str
    flags: tuple[str, ...]
    keeps: bool = True
    slowness: int = 1


_WAYS = {
    "memory": Way("memory", ("--durability=memory",), keeps=False),
    "spool": Way("spool", ("--durability=spool",)),
    "journal_none": Way("journal, fsync none", ("--durability=journal", "--fsync=none")),
    "journal": Way("journal, fsync each second", ("--durability=journal",)),
    "journal_each": Way("journal, fsync each event", ("--durability=journal", "--fsync=each"), slowness=20),
    "logstash_async": Way("python-logstash-async, database", ("--client=logstash_async",), slowness=50),
}


@dataclass(frozen=True)
class Put:
    """Microseconds per call of `put`."""

    p50: float
    p99: float
    p999: float
    caller_cpu: float
    process_cpu: float


@dataclass(frozen=True)
class Flow:
    """What a run of events took, per second and per event, and how long the first one took."""

    events: float
    seconds: float
    events_per_second: float
    cpu_micros: float
    first: float
    memory_bytes: float


class Bench:
    """Runs cases, and keeps what they reported.

    Args:
        directory: On the disk that is meant.
        sink: The receiver.
        events: Most events of one case.
        rounds: How often each is run.
    """

    def __init__(self, directory: Path, sink: Sink, events: int, rounds: int) -> None:
        self.sink = sink
        self.events = events
        self.rounds = rounds
        self.flows: dict[str, list[Flow]] = {}
        self.puts: dict[str, list[Put]] = {}
        self._directory = directory

    def measure_puts(self, events: int) -> None:
        """Measure `put` in all its ways."""
        for number in range(self.rounds):
            for threads in (1, 8):
                for receiver in ("live", "dead"):
                    for name, way in _WAYS.items():
                        if name == "logstash_async":
                            continue
                        show_progress(f"put, {threads} threads, {receiver}, round {number + 1}: {way.label}")
                        with self._fresh() as directory:
                            report = self._run(
                                *("put", *way.flags, f"--threads={threads}", f"--events={events}"),
                                *(directory, *self._receiver(name, dead=receiver == "dead")),
                            )
                        self.puts.setdefault(f"{name}, {threads}, {receiver}", []).append(Put(**report))

    def measure_shippers(self) -> None:
        """Measure the way through, the way to the disk, and the way from there."""
        for number in range(self.rounds):
            for name, way in _WAYS.items():
                if name == "logstash_async" and not _installed("logstash_async"):
                    continue
                show_progress(f"shippers, round {number + 1}: {way.label}")
                events = f"--events={self.events // way.slowness}"
                with self._fresh() as directory:
                    self._flow(f"{name}, through", "through", *way.flags, events, directory, *self._receiver(name))
                if not way.keeps:
                    continue
                with self._fresh() as directory:
                    self._flow(f"{name}, in", "fill", *way.flags, "--ready", events, directory)
                    self._flow(f"{name}, out", "drain", *way.flags, events, directory, *self._receiver(name))

    def measure_stores(self) -> None:
        """Measure the queues alone."""
        for number in range(self.rounds):
            for name, kind in STORES.items():
                if not _installed(kind.needs):
                    continue
                for batch in kind.batches:
                    show_progress(f"stores, round {number + 1}: {kind.label}, {batch} per call")
                    wanted = self.events // (kind.slowness_alone if batch == 1 else kind.slowness)
                    with self._fresh() as directory:
                        flags = (f"--store={name}", f"--batch={batch}", directory)
                        filled = self._flow(f"{name}, {batch}, in", "append", *flags, f"--events={wanted}")
                        self._flow(f"{name}, {batch}, out", "read", *flags, f"--events={filled.events:.0f}")

    def measure_recovery(self, waiting: int) -> None:
        """Measure how what waits on disk comes out, with and without a shipper."""
        waiting -= waiting % READ_EVENTS
        for name, kind in STORES.items():
            if not _installed(kind.needs):
                continue
            batch = kind.batches[-1]
            events = waiting if batch > 1 else min(waiting, _SLOW_RECOVERY)
            flags = (f"--store={name}", f"--batch={batch}", f"--events={events}")
            show_progress(f"recovery: {kind.label}")
            with self._fresh() as directory:
                self._run("append", *flags, directory)
                self._flow(f"{name}, recovery", "read", *flags, directory)
        show_progress("recovery: Shipper")
        with self._fresh() as directory:
            self._run("append", "--store=spool", f"--batch={READ_EVENTS}", f"--events={waiting}", directory)
            there = ("--durability=spool", f"--events={waiting}", f"{directory}/spool")
            self._flow("shipper, recovery", "drain", *there, *self._receiver("spool"))

    def _receiver(self, name: str, *, dead: bool = False) -> tuple[str, ...]:
        if dead:
            return ("--dead",)
        return (f"--host={self.sink.cumulative if name == 'logstash_async' else self.sink.per_window}",)

    def _fresh(self) -> _Fresh:
        return _Fresh(self._directory)

    def _flow(self, name: str, run: str, *flags: str) -> Flow:
        before = self.sink.usage().events
        report = self._run(run, *flags)
        arrived, expected = self.sink.usage().events - before, report["events"]
        if run in {"through", "drain"} and arrived < expected:
            raise RuntimeError(f"{name}: {expected} events were sent, {arrived} arrived")
        flow = Flow(
            events=report["events"],
            seconds=report["seconds"],
            events_per_second=report["events"] / report["seconds"],
            cpu_micros=report["cpu_seconds"] / report["events"] * 1e6,
            first=report.get("first", 0.0),
            memory_bytes=report["memory_bytes"],
        )
        self.flows.setdefault(name, []).append(flow)
        return flow

    @staticmethod
    def _run(*command: str) -> dict[str, float]:
        # What it says beside the report is that nobody receives.
        completed = subprocess.run(
            [sys.executable, str(_RUNS), *command], capture_output=True, timeout=_UNTIL_GIVING_UP, check=False
        )
        if not completed.stdout:
            raise RuntimeError(
                f"{completed.args} ended with {completed.returncode}: {completed.stderr.decode()[-2000:]}"
            )
        report: dict[str, float] = json.loads(completed.stdout)
        return report


class _Fresh:
    """A directory of its own for one case, as the flag for it. It is gone before the next one begins."""

    def __init__(self, parent: Path) -> None:
        self._path = Path(tempfile.mkdtemp(dir=parent))

    def __enter__(self) -> str:
        return f"--directory={self._path}"

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._path)


def _installed(module: str | None) -> bool:
    return module is None or find_spec(module) is not None


def print_puts(puts: Mapping[str, list[Put]]) -> None:
    """Print a table for each number of threads and each receiver."""
    results = {name: medians(rounds) for name, rounds in puts.items()}
    for case in dict.fromkeys(name.partition(", ")[2] for name in results):
        threads, _, receiver = case.partition(", ")
        title = f"put, {threads} thread{'s' * (threads != '1')}, {'no ' * (receiver == 'dead')}receiver"
        rows: list[tuple[str, ...]] = [(title, "p50", "p99", "p99.9", "over memory", "µs of call", "µs in all")]
        memory = results[f"memory, {case}"]
        for name, way in _WAYS.items():
            one = results.get(f"{name}, {case}")
            if one is not None:
                over = f"{one.p50 - memory.p50:+.1f}" if one is not memory else ""
                numbers = f"{one.p50:.1f}", f"{one.p99:.0f}", f"{one.p999:.0f}", over
                rows.append((way.label, *numbers, f"{one.caller_cpu:.1f}", f"{one.process_cpu:.1f}"))
        print_rows(rows)
        print()


def print_shippers(results: Mapping[str, Flow]) -> None:
    """Print what a shipper's events take through, in and out."""
    rows: list[tuple[str, ...]] = [
        ("", "put to ack", "", "CPU µs", "put to disk", "CPU µs", "disk to ack", "CPU µs"),
        ("shippers", "events/s", "× memory", "per event", "events/s", "per event", "events/s", "per event"),
    ]
    memory = results["memory, through"]
    for name, way in _WAYS.items():
        cells = []
        for direction in ("through", "in", "out"):
            flow = results.get(f"{name}, {direction}")
            if flow is None:
                break
            cells.append(f"{flow.events_per_second:,.0f}")
            if direction == "through":
                cells.append(f"{flow.events_per_second / memory.events_per_second:.2f}")
            cells.append(f"{flow.cpu_micros:.2f}")
        if cells:
            rows.append((way.label, *cells))
    print_rows(rows)
    print()


def print_stores(results: Mapping[str, Flow]) -> None:
    """Print what the queues take in and out, and how many times faster ours is, at the same number per call."""
    rows: list[tuple[str, ...]] = [
        ("", "", "in", "CPU µs", "out", "CPU µs", "ours: times", "faster"),
        ("stores", "N per call", "events/s", "per event", "events/s", "per event", "in", "out"),
    ]
    for batch in (1, 64, READ_EVENTS):
        for name, kind in STORES.items():
            cells = []
            ratios = []
            for direction in ("in", "out"):
                flow = results.get(f"{name}, {batch}, {direction}")
                if flow is not None:
                    ours = results[f"spool, {batch}, {direction}"]
                    cells += [f"{flow.events_per_second:,.0f}", f"{flow.cpu_micros:.2f}"]
                    ratios.append(f"{ours.events_per_second / flow.events_per_second:.1f}" if flow is not ours else "")
            if cells:
                rows.append((kind.label, str(batch), *cells, *ratios))
    print_rows(rows)
    print()


def print_recovery(results: Mapping[str, Flow]) -> None:
    """Print how long what waits on disk takes to come out."""
    rows: list[tuple[str, ...]] = [
        ("recovery", "waiting", "first, ms", "all, s", "events/s", "CPU µs", "peak MB"),
    ]
    labels = {"shipper": "Shipper, to the ack", **{name: kind.label for name, kind in STORES.items()}}
    for name, label in labels.items():
        flow = results.get(f"{name}, recovery")
        if flow is not None:
            took = f"{flow.first * 1e3:.0f}", f"{flow.seconds:.1f}", f"{flow.events_per_second:,.0f}"
            rows.append(
                (label, f"{flow.events:,.0f}", *took, f"{flow.cpu_micros:.2f}", f"{flow.memory_bytes / 1e6:.0f}")
            )
    print_rows(rows)


def _chosen(only: Iterable[str] | None) -> set[str]:
    return set(only or ("put", "shippers", "stores", "recovery"))


def main() -> None:
    """Measure, print the tables, and keep every round where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, help="default 3")
    parser.add_argument("--events", type=int, help="most events of one case (default 204,800)")
    parser.add_argument("--puts", type=int, help="calls of put that are timed in one case (default 10,000)")
    parser.add_argument("--waiting", type=int, help="events that wait for the recovery (default 5,000,000)")
    parser.add_argument("--quick", action="store_true", help="one round of a quarter, and 200,000 that wait")
    parser.add_argument("--only", action="append", choices=sorted(_chosen(None)), help="may be repeated")
    parser.add_argument("--directory", type=Path, help="on the disk that is meant (default: where temporary files are)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round of every case there")
    options = parser.parse_args()
    parts = _chosen(options.only)
    defaults = {"rounds": 3, "events": 204_800, "puts": 10_000, "waiting": 5_000_000}
    if options.quick:
        defaults = {"rounds": 1, "events": 51_200, "puts": 5_000, "waiting": 200_000}
    size = {name: getattr(options, name) or default for name, default in defaults.items()}

    machine = describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    print(", ".join(f"{value:,} {name}" for name, value in size.items()))
    print()
    with tempfile.TemporaryDirectory(dir=options.directory) as directory, Sink() as sink:
        bench = Bench(Path(directory), sink, size["events"], size["rounds"])
        if "put" in parts:
            bench.measure_puts(size["puts"])
        if "shippers" in parts:
            bench.measure_shippers()
        if "stores" in parts:
            bench.measure_stores()
        if "recovery" in parts:
            bench.measure_recovery(size["waiting"])
        show_progress("")
    results = {name: medians(rounds) for name, rounds in bench.flows.items()}
    if "put" in parts:
        print_puts(bench.puts)
    if "shippers" in parts:
        print_shippers(results)
    if "stores" in parts:
        print_stores(results)
    if "recovery" in parts:
        print_recovery(results)
    if options.json:
        rounds = {
            **{name: [asdict(one) for one in kept] for name, kept in bench.puts.items()},
            **{name: [asdict(one) for one in kept] for name, kept in bench.flows.items()},
        }
        report = {"machine": machine, "size": size, "rounds": rounds}
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
