"""What one log call costs the thread that makes it, for each adapter, over the same call with a sink that does nothing.

Calls come in bursts of 100 per thread; between bursts everything is delivered, so that a burst meets an idle line.
Each case runs in a process of its own against `sink.py`, and ends with an error unless every event was acked.

    µs over no-op   CPU time of the calling thread, less that of the library with a no-op sink
    µs of the call  CPU time of the calling thread
    p50, p99        how long a call took, in µs of the clock
    p99 / no-op     the same, against the no-op sink
    µs in all       CPU time of the whole process per event, up to the ack

    python tests/benchmarks/log_call.py
    python tests/benchmarks/log_call.py --only logging_noop --only logging_beats --threads 8
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from beats_core import Shipper
from benchmarks.corpus import logstash_events
from benchmarks.rounds import describe_machine, medians, print_rows, show_progress
from benchmarks.sink import Sink

_BURST = 100
_WARM_UP = 5  # bursts
_WAIT_AT_MOST = 60.0  # seconds; a benchmark that hangs has found a bug and must say so
_FIELDS = {"customer": "c-104711", "total": 129.95, "items": 3, "request_id": "bf0fac64-de03-4a68", "tier": "gold"}


@dataclass(frozen=True)
class Calls:
    """What a case gives: one log call with a number in it, and how to deliver that many events."""

    log: Callable[[int], object]
    deliver: Callable[[int], object] = lambda events: None
    ships: bool = True


@contextmanager
def shipping(host: str) -> Iterator[tuple[Shipper, Callable[[int], object]]]:
    """Yield a shipper with default options but a queue that never refuses, and how it delivers."""
    with Shipper(host, queue_mem_bytes=1 << 30) as shipper:
        yield shipper, lambda events: shipper.flush(_WAIT_AT_MOST)


@contextmanager
def nothing(_sink: Sink) -> Iterator[Calls]:
    """A call of an empty function."""
    yield Calls(lambda number: None, ships=False)


@contextmanager
def put_document(sink: Sink) -> Iterator[Calls]:
    """`Shipper.put` of a dict."""
    documents = list(logstash_events(1000))
    with shipping(sink.per_window) as (shipper, deliver):
        yield Calls(lambda number: shipper.put(documents[number % 1000]), deliver)


@contextmanager
def put_json(sink: Sink) -> Iterator[Calls]:
    """`Shipper.put` of ready JSON."""
    payloads = [msgspec.json.encode(document) for document in logstash_events(1000)]
    with shipping(sink.per_window) as (shipper, deliver):
        yield Calls(lambda number: shipper.put(payloads[number % 1000]), deliver)


def _structlog_call(*adapter: Any) -> Callable[[int], object]:
    import structlog

    def render(_logger: object, _name: str, _event: Mapping[str, object]) -> str:
        return ""

    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            *adapter,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.ReturnLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    log = structlog.get_logger().bind(tenant="north")
    return lambda number: log.info("order shipped", order=number, **_FIELDS)


@contextmanager
def structlog_noop(_sink: Sink) -> Iterator[Calls]:
    """structlog, rendered to nothing."""
    yield Calls(_structlog_call(), ships=False)


@contextmanager
def structlog_beats(sink: Sink) -> Iterator[Calls]:
    """structlog with `BeatsProcessor`, then rendered to nothing."""
    from beats_integrations.structlog import BeatsProcessor

    with shipping(sink.per_window) as (shipper, deliver):
        yield Calls(_structlog_call(BeatsProcessor(shipper)), deliver)


def _loguru_call(sink: Any) -> Callable[[int], object]:
    from loguru import logger

    logger.remove()
    logger.add(sink, format="{message}", level="INFO", catch=False)  # a sink that fails must end the benchmark
    return lambda number: logger.info("order {} shipped", number, **_FIELDS)


@contextmanager
def loguru_noop(_sink: Sink) -> Iterator[Calls]:
    """loguru with an empty function as its sink."""
    yield Calls(_loguru_call(lambda message: None), ships=False)


@contextmanager
def loguru_beats(sink: Sink) -> Iterator[Calls]:
    """loguru with `BeatsSink`."""
    from beats_integrations.loguru import BeatsSink

    with shipping(sink.per_window) as (shipper, deliver):
        yield Calls(_loguru_call(BeatsSink(shipper)), deliver)


class _NoopHandler(logging.Handler):
    """Takes the handler's lock as every handler does, and drops the record."""

    def emit(self, record: logging.LogRecord) -> None:
        """Do nothing."""


def _logging_call(handler: logging.Handler) -> Callable[[int], object]:
    logger = logging.getLogger("shop")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    return lambda number: logger.info("order %s shipped", number, extra=_FIELDS)


@contextmanager
def logging_noop(_sink: Sink) -> Iterator[Calls]:
    """The standard library's logging with a handler that drops the record."""
    yield Calls(_logging_call(_NoopHandler()), ships=False)


@contextmanager
def logging_beats(sink: Sink) -> Iterator[Calls]:
    """The standard library's logging with `BeatsHandler`."""
    from beats_integrations.logging import BeatsHandler

    with shipping(sink.per_window) as (shipper, deliver):
        yield Calls(_logging_call(BeatsHandler(shipper)), deliver)


@contextmanager
def logging_logstash_async(sink: Sink) -> Iterator[Calls]:
    """The standard library's logging with python-logstash-async's handler over Beats, events kept in memory."""
    from logstash_async.constants import constants
    from logstash_async.handler import AsynchronousLogstashHandler

    # By default its worker looks for events every two seconds. Then no burst would meet it at work.
    constants.QUEUE_CHECK_INTERVAL = 0.01
    name, _, port = sink.cumulative.rpartition(":")
    transport = "logstash_async.transport.BeatsTransport"
    handler = AsynchronousLogstashHandler(name, int(port), None, transport, ssl_enable=False)

    def deliver(events: int) -> None:
        started = time.monotonic()
        while sink.usage().events < events:
            handler.flush()
            time.sleep(0.005)  # it tells nobody when it is done
            if time.monotonic() > started + _WAIT_AT_MOST:
                sys.exit(f"{sink.usage().events} of {events} events after {_WAIT_AT_MOST} seconds")

    yield Calls(_logging_call(handler), deliver)
    handler.close()


@dataclass(frozen=True)
class Case:
    """One line of the table. `noop` names the case it is compared with, `needs` the module it needs."""

    label: str
    calls: Callable[[Sink], AbstractContextManager[Calls]]
    noop: str
    needs: str | None = None


_CASES = {
    "nothing": Case("an empty function", nothing, "nothing"),
    "put_document": Case("Shipper.put of a dict", put_document, "nothing"),
    "put_json": Case("Shipper.put of ready JSON", put_json, "nothing"),
    "structlog_noop": Case("structlog, no-op", structlog_noop, "structlog_noop", "structlog"),
    "structlog_beats": Case("structlog, BeatsProcessor", structlog_beats, "structlog_noop", "structlog"),
    "loguru_noop": Case("loguru, no-op", loguru_noop, "loguru_noop", "loguru"),
    "loguru_beats": Case("loguru, BeatsSink", loguru_beats, "loguru_noop", "loguru"),
    "logging_noop": Case("logging, no-op", logging_noop, "logging_noop"),
    "logging_beats": Case("logging, BeatsHandler", logging_beats, "logging_noop"),
    "logging_logstash_async": Case(
        "logging, python-logstash-async", logging_logstash_async, "logging_noop", "logstash_async"
    ),
}


@dataclass(frozen=True)
class Measurement:
    """Microseconds per call."""

    caller_cpu: float
    process_cpu: float
    p50: float
    p99: float


def measure(case: Case, threads: int, bursts: int) -> Measurement:
    """Run one case in this process."""
    caller_cpu = [0] * threads
    waited: list[list[int]] = [[] for _ in range(threads)]
    delivered = started_cpu = 0

    with Sink() as sink, case.calls(sink) as calls:

        def deliver() -> None:
            nonlocal delivered, started_cpu
            delivered += threads * _BURST
            calls.deliver(delivered)
            if delivered == threads * _BURST * _WARM_UP:
                started_cpu = time.process_time_ns()

        burst_ends = threading.Barrier(threads, deliver)

        def run(thread: int) -> None:
            try:
                for burst in range(-_WARM_UP, bursts):
                    if not burst:
                        caller_cpu[thread] = 0
                        waited[thread].clear()
                    first = (burst * threads + thread) * _BURST
                    caller_cpu[thread] += _burst(calls.log, first, waited[thread])
                    burst_ends.wait(_WAIT_AT_MOST)
            except BaseException:
                burst_ends.abort()
                raise

        workers = [threading.Thread(target=run, args=(thread,)) for thread in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        if burst_ends.broken:
            sys.exit(f"{case.label}: a thread failed")
        process_cpu = time.process_time_ns() - started_cpu
        if calls.ships and sink.usage().events != delivered:
            sys.exit(f"{case.label}: {sink.usage().events} of {delivered} events were acked")

    percentiles = statistics.quantiles([one for thread in waited for one in thread], n=100)
    count = threads * bursts * _BURST
    return Measurement(
        caller_cpu=sum(caller_cpu) / count / 1e3,
        process_cpu=process_cpu / count / 1e3,
        p50=percentiles[49] / 1e3,
        p99=percentiles[98] / 1e3,
    )


def _burst(log: Callable[[int], object], first: int, waited: list[int]) -> int:
    """Make the calls, note how long each took, and return the CPU time of this thread."""
    clock = time.perf_counter_ns
    started_cpu = time.thread_time_ns()
    for number in range(first, first + _BURST):
        started = clock()
        log(number)
        waited.append(clock() - started)
    return time.thread_time_ns() - started_cpu


def print_table(threads: int, results: Mapping[str, Measurement]) -> None:
    """Print the medians for one number of threads."""
    titles = ("µs over no-op", "µs of call", "p50", "p99", "p99 / no-op", "µs in all")
    rows: list[tuple[str, ...]] = [("1 thread" if threads == 1 else f"{threads} threads", *titles)]
    for name, result in results.items():
        over = tail = ""
        case = _CASES[name]
        noop = results.get(case.noop)
        if noop is not None and noop is not result:
            over = f"{result.caller_cpu - noop.caller_cpu:.1f}"
            tail = f"{result.p99 / noop.p99:.2f}" if case.noop != "nothing" else ""
        numbers = (f"{number:.1f}" for number in (result.caller_cpu, result.p50, result.p99))
        rows.append((case.label, over, *numbers, tail, f"{result.process_cpu:.1f}"))
    print_rows(rows)


def main() -> None:
    """Measure every case in turn, in several rounds, and print a table for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="default %(default)s")
    parser.add_argument("--bursts", type=int, default=100, help="of 100 calls per thread (default %(default)s)")
    parser.add_argument("--threads", type=int, action="append", help="may be repeated (default 1 and 8)")
    parser.add_argument("--only", action="append", choices=_CASES, help="may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every round of every case there")
    parser.add_argument("--here", action="store_true", help="measure one case in this process and print JSON")
    options = parser.parse_args()
    options.threads = options.threads or [1, 8]
    if options.here:
        print(json.dumps(asdict(measure(_CASES[options.only[0]], options.threads[0], options.bursts))))
        return

    chosen = []
    for name, case in _CASES.items():
        if options.only and name not in options.only:
            continue
        if case.needs and find_spec(case.needs) is None:
            print(f"left out: {case.label}: {case.needs} is not installed")
        else:
            chosen.append(name)
    machine = describe_machine()
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    report: dict[str, object] = {"machine": machine}
    for threads in options.threads:
        rounds: dict[str, list[Measurement]] = {name: [] for name in chosen}
        bursts = max(10, options.bursts // threads)
        for number in range(options.rounds):
            for name in chosen:
                show_progress(f"{threads} threads, round {number + 1} of {options.rounds}: {_CASES[name].label}")
                command = [__file__, "--here", f"--only={name}", f"--threads={threads}", f"--bursts={bursts}"]
                completed = subprocess.run([sys.executable, *command], stdout=subprocess.PIPE, check=True)
                rounds[name].append(Measurement(**json.loads(completed.stdout)))
        show_progress("")
        print_table(threads, {name: medians(measurements) for name, measurements in rounds.items()})
        report[f"{threads} threads"] = {
            name: [asdict(one) for one in measurements] for name, measurements in rounds.items()
        }
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
