"""Events a second and CPU seconds per million events, from a corpus to acked windows, of this project and its peers.

Every client sends the same events in windows of the same size, at the same compression level where it has one, to
one receiver that only counts and acks (`sink.py`). Rounds are interleaved: a machine that is slow for a while is
slow for all. Believe the ratios of one run; absolute numbers move with the machine.

    python tests/benchmarks/throughput.py
    python tests/benchmarks/throughput.py --events 20480 --rounds 3 --only client --only pylogbeat
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import msgspec
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.corpus import SCHEMAS, SEED
from benchmarks.rounds import describe_machine, medians, print_rows, show_progress
from benchmarks.sink import Sink
from support.go_lumber import build

_CLIENTS = Path(__file__).with_name("clients.py")
_UNTIL_GIVING_UP = 600.0  # seconds for one client in one round


@dataclass(frozen=True)
class Client:
    """One line of the table: what to run, and how it counts.

    `program` is one of `clients.py`, or "go". `repeat` lets fast clients send the corpus several times, so that
    each is measured for about as long.
    """

    name: str
    label: str
    program: str
    flags: tuple[str, ...] = ()
    acks: str = "per_window"
    repeat: int = 1

    def missing(self) -> str | None:
        """Say why it can not run here, if so."""
        if self.program == "go":
            try:
                build("sender")
            except pytest.skip.Exception as reason:
                return str(reason)
        elif self.program == "pylogbeat" and find_spec("pylogbeat") is None:
            return "pylogbeat is not installed"
        return None

    def command(self) -> list[str]:
        """Return how to start it. Both programs take the same flags and print the same report."""
        start = [str(build("sender"))] if self.program == "go" else [sys.executable, str(_CLIENTS), self.program]
        return [*start, *self.flags, f"--repeat={self.repeat}"]


_BASELINES = ("pylogbeat", "go_async_map")
_ALL = (
    Client("replay", "ready windows (what the sink takes)", "replay", repeat=8),
    Client("pylogbeat", "PyLogBeat, dicts", "pylogbeat", acks="cumulative"),
    Client("go_sync_map", "go-lumber sync, maps", "go", ("--encode=map", "--pipeline=0")),
    Client("go_async_map", "go-lumber async(2), maps", "go", ("--encode=map", "--pipeline=2")),
    Client("go_async_raw", "go-lumber async(2), ready JSON", "go", ("--encode=raw", "--pipeline=2"), repeat=4),
    Client("client", "Client, pipelined, dicts", "client", repeat=4),
    Client("client_send", "Client.send per window, dicts", "client_send", repeat=4),
    Client("client_raw", "Client, pipelined, ready JSON", "client", ("--encode=raw",), repeat=4),
    Client("async_client", "AsyncClient, dicts", "async_client", repeat=4),
    Client("shipper", "Shipper.put, dicts", "shipper", repeat=4),
    Client("shipper_raw", "Shipper.put, ready JSON", "shipper", ("--encode=raw",), repeat=4),
)


@dataclass(frozen=True)
class Measurement:
    """One client in one round. `sink_share` is the receiver's CPU time over the time measured."""

    events_per_second: float
    cpu_per_million: float
    bytes_per_event: float
    sink_share: float


def measure(client: Client, corpus: Path, sink: Sink, *, window: int, compression: int) -> Measurement:
    """Run one client once and check at the receiver that every event was acked."""
    before = sink.usage()
    command = [
        *client.command(),
        f"--host={getattr(sink, client.acks)}",
        f"--corpus={corpus}",
        f"--window={window}",
        f"--compression={compression}",
    ]
    completed = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=_UNTIL_GIVING_UP)
    report, took = json.loads(completed.stdout), sink.usage().since(before)
    if took.events != report["events"]:
        raise RuntimeError(f"{client.label} sent {report['events']} events, {took.events} arrived")
    return Measurement(
        events_per_second=report["events"] / report["seconds"],
        cpu_per_million=report["cpu_seconds"] / report["events"] * 1e6,
        bytes_per_event=took.bytes / took.events,
        sink_share=took.cpu_seconds / report["seconds"],
    )


def print_table(results: Mapping[str, Measurement]) -> None:
    """Print medians, and how many times faster and cheaper than both baselines each client is."""
    labels = {client.name: client.label for client in _ALL}
    rows: list[tuple[str, ...]] = [
        ("", "", "CPU s per", "bytes per", "sink's", "× PyLogBeat", "", "× go async", ""),
        ("client", "events/s", "million", "event", "CPU", "events/s", "1/CPU", "events/s", "1/CPU"),
    ]
    for name, result in results.items():
        ratios = []
        for baseline in (results.get(baseline) for baseline in _BASELINES):
            if baseline is None:
                ratios += ["", ""]
            else:
                ratios.append(f"{result.events_per_second / baseline.events_per_second:.2f}")
                ratios.append(f"{baseline.cpu_per_million / result.cpu_per_million:.2f}")
        speed, cost = f"{result.events_per_second:,.0f}", f"{result.cpu_per_million:.2f}"
        rows.append((labels[name], speed, cost, f"{result.bytes_per_event:.0f}", f"{result.sink_share:.0%}", *ratios))
    print_rows(rows)


def main() -> None:
    """Measure, print a table, and keep every round where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--events", type=int, default=51_200, help="distinct events of the corpus (default %(default)s)"
    )
    parser.add_argument("--rounds", type=int, default=9, help="default %(default)s")
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--compression", type=int, default=1, help="level, where the client has one; 0 is off")
    parser.add_argument("--schema", choices=sorted(SCHEMAS), default="logstash")
    parser.add_argument("--only", action="append", choices=[client.name for client in _ALL], help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round of every client there")
    options = parser.parse_args()

    chosen = []
    for client in _ALL:
        if options.only and client.name not in options.only:
            continue
        if reason := client.missing():
            print(f"left out: {client.label}: {reason}")
        else:
            chosen.append(client)
    rounds: dict[str, list[Measurement]] = {client.name: [] for client in chosen}
    with tempfile.TemporaryDirectory() as folder, Sink() as sink:
        corpus = Path(folder, "corpus.jsonl")
        corpus.write_bytes(msgspec.json.Encoder().encode_lines(SCHEMAS[options.schema](options.events, SEED)))
        machine = describe_machine()
        print(
            f"{options.events:,} {options.schema} events, mean {corpus.stat().st_size / options.events - 1:.0f} bytes; "
            f"windows of {options.window:,}; level {options.compression}; medians of {options.rounds} rounds"
        )
        print(", ".join(f"{name} {value}" for name, value in machine.items()))
        for number in range(options.rounds):
            for client in chosen[number % len(chosen) :] + chosen[: number % len(chosen)]:
                show_progress(f"round {number + 1} of {options.rounds}: {client.label}")
                rounds[client.name].append(
                    measure(client, corpus, sink, window=options.window, compression=options.compression)
                )
        show_progress("")
    print_table({name: medians(measurements) for name, measurements in rounds.items()})
    if options.json:
        report = {
            "machine": machine,
            "options": {name: value for name, value in vars(options).items() if name != "json"},
            "rounds": {name: [asdict(one) for one in measurements] for name, measurements in rounds.items()},
        }
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
