"""What `spool.py` measures, each in a process of its own that prints one JSON object.

    put       paced calls of `Shipper.put`, and how long each took
    through   events from `put` to their ack
    fill      events from `put` to the disk, while nobody receives; ends by SIGKILL
    drain     a new process: from opening what `fill` left to the last ack, and to the first
    append    events into one of the queues of `stores.py`; ends by SIGKILL
    read      a new process: from opening it to its end, and to the first events

Seconds are of the clock, CPU time and memory of the whole process.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import resource
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

sys.path.insert(0, str(Path(__file__).parents[1]))

from beats_core import Shipper
from benchmarks.corpus import logstash_events
from benchmarks.stores import STORES

_BURST = 100
_DISTINCT = 2048  # events of the corpus, again and again
_WARM_UP = 10  # bursts
_PAUSE = 0.01  # seconds between two bursts of a thread, times the threads: at most 10,000 events a second
_WAIT_AT_MOST = 600.0  # seconds; a benchmark that hangs has found a bug and must say so
_MEMORY = 8 << 30  # what is measured is the way through, not how often a full queue refuses

_ENDLESS = 1 << 62

Report = dict[str, float]


def open_shipper(options: argparse.Namespace, memory: int = _MEMORY) -> Shipper:
    """Return a shipper that never refuses."""
    spool = None if options.durability == "memory" else str(options.directory)
    return Shipper(
        options.host,
        durability=options.durability,
        fsync=options.fsync,
        spool=spool,
        spool_max_bytes=1 << 40,
        spool_min_free_bytes=0,
        queue_mem_bytes=memory,
        shutdown_timeout=_WAIT_AT_MOST,
    )


def settle(options: argparse.Namespace, shipper: Shipper) -> None:
    """Wait for what the case promises: acks, or the disk, or nothing."""
    if options.dead:
        delivered = options.durability == "memory" or shipper.flush(_WAIT_AT_MOST, durable=True)
    else:
        delivered = shipper.flush(_WAIT_AT_MOST)
    if not delivered or shipper.stats().dropped:
        sys.exit(f"not delivered: {shipper.stats()}")


@contextmanager
def measured(report: Report) -> Iterator[None]:
    """Note seconds, CPU seconds and the most memory so far."""
    # A program that ships logs does not hold the corpus: its garbage collector must not walk it either.
    gc.collect()
    gc.freeze()
    started, started_cpu = time.perf_counter(), time.process_time()
    yield
    report["seconds"] = time.perf_counter() - started
    report["cpu_seconds"] = time.process_time() - started_cpu
    report["memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def put(options: argparse.Namespace) -> Report:
    """Call `put` in bursts, from several threads."""
    documents = list(logstash_events(_DISTINCT))
    bursts = max(1, options.events // options.threads // _BURST)
    caller_cpu = [0] * options.threads
    waited: list[list[int]] = [[] for _ in range(options.threads)]
    shipper = open_shipper(options)
    started_cpu = 0.0

    def all_are_warm() -> None:
        nonlocal started_cpu
        settle(options, shipper)
        started_cpu = time.process_time()

    warm = threading.Barrier(options.threads, all_are_warm)

    def run(thread: int) -> None:
        try:
            for burst in range(-_WARM_UP, bursts):
                if not burst:
                    warm.wait(_WAIT_AT_MOST)
                    caller_cpu[thread] = 0
                    waited[thread].clear()
                caller_cpu[thread] += _burst(
                    shipper, documents, (burst * options.threads + thread) * _BURST, waited[thread]
                )
                time.sleep(_PAUSE * options.threads)
        except BaseException:
            warm.abort()
            raise

    gc.collect()
    gc.freeze()
    workers = [threading.Thread(target=run, args=(thread,)) for thread in range(options.threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if warm.broken:
        sys.exit("a thread failed")
    settle(options, shipper)
    cpu = time.process_time() - started_cpu
    shipper.close(0 if options.dead else None)
    cuts = statistics.quantiles([one for thread in waited for one in thread], n=1000)
    count = bursts * _BURST * options.threads
    return {
        "p50": cuts[499] / 1e3,
        "p99": cuts[989] / 1e3,
        "p999": cuts[998] / 1e3,
        "caller_cpu": sum(caller_cpu) / count / 1e3,
        "process_cpu": cpu / count * 1e6,
    }


def _burst(shipper: Shipper, documents: list[dict[str, object]], first: int, waited: list[int]) -> int:
    """Make the calls, note how long each took, and return the CPU time of this thread."""
    clock = time.perf_counter_ns
    started_cpu = time.thread_time_ns()
    for number in range(first, first + _BURST):
        document = documents[number % _DISTINCT]
        started = clock()
        shipper.put(document)
        waited.append(clock() - started)
    return time.thread_time_ns() - started_cpu


def through(options: argparse.Namespace) -> Report:
    """Put dicts, or what else the client takes, and wait for the acks; with `dead`, for the disk."""
    if options.client == "logstash_async":
        return _logstash_async(options)
    events: list[Any] = list(logstash_events(_DISTINCT))
    if options.ready:
        events = [msgspec.json.encode(event) for event in events]
    report: Report = {"events": options.events}
    shipper = open_shipper(options)
    shipper.put(events[0])  # connects, and starts the threads
    settle(options, shipper)
    with measured(report):
        for number in range(1, options.events):
            shipper.put(events[number % _DISTINCT])
        settle(options, shipper)
    if not options.dead:
        shipper.close()
    return report


def fill(options: argparse.Namespace) -> Report:
    """Do so while nobody receives."""
    options.dead = True
    return through(options)


def drain(options: argparse.Namespace) -> Report:
    """Deliver what a process before left."""
    if options.client == "logstash_async":
        return _logstash_async_drain(options)
    report: Report = {"events": options.events}
    with measured(report):
        started = time.perf_counter()
        shipper = open_shipper(options, memory=options.memory)
        shipper.put({"message": "back again"})  # threads begin with the first event
        while not shipper.stats().acked:
            time.sleep(0.0005)
        report["first"] = time.perf_counter() - started
        _wait(lambda: shipper.stats().acked > options.events, 0.005)
    shipper.close()
    return report


def append(options: argparse.Namespace) -> Report:
    """Fill a queue, `batch` events per call."""
    distinct = [msgspec.json.encode(event) for event in logstash_events(_DISTINCT)]
    batches = [distinct[first : first + options.batch] for first in range(0, _DISTINCT, options.batch)]
    calls = options.events // options.batch
    report: Report = {"events": calls * options.batch}
    store = STORES[options.store].open(options.directory)
    with measured(report):
        for number in range(calls):
            store.append(batches[number % len(batches)])
    return report


def read(options: argparse.Namespace) -> Report:
    """Read and acknowledge all that is in a queue."""
    report: Report = {"events": 0}
    with measured(report):
        started = time.perf_counter()
        store = STORES[options.store].open(options.directory)
        while count := store.read():
            if not report["events"]:
                report["first"] = time.perf_counter() - started
            report["events"] += count
            store.ack()
    store.close()
    if report["events"] != options.events:
        sys.exit(f"{options.store}: {report['events']} of {options.events} events came out again")
    return report


def _logstash_async_handler(options: argparse.Namespace) -> tuple[Any, Callable[[], int]]:
    """Return its handler and how to ask how many events wait in its database."""
    from logstash_async.constants import constants
    from logstash_async.handler import AsynchronousLogstashHandler

    constants.QUEUE_CHECK_INTERVAL = 0.01  # by default it looks for events every two seconds
    # In its favour: a window of Beats as large as ours. As it comes it sends 25 events at a time.
    constants.QUEUED_EVENTS_BATCH_SIZE = constants.QUEUED_EVENTS_BEATS_BATCH_SIZE = _DISTINCT
    if options.dead:
        constants.QUEUED_EVENTS_FLUSH_COUNT = constants.QUEUED_EVENTS_FLUSH_INTERVAL = _ENDLESS
    name, _, port = options.host.rpartition(":")
    database = str(options.directory / "logstash.db")
    transport = "logstash_async.transport.BeatsTransport"
    handler = AsynchronousLogstashHandler(name, int(port), database, transport, ssl_enable=False)

    def left() -> int:
        from logstash_async.database import DatabaseCache, DatabaseLockedError

        try:
            with DatabaseCache(database)._connect() as connection:  # noqa: SLF001 - it has no count of all
                count: int = connection.execute("SELECT count(*) FROM event").fetchone()[0]
        except DatabaseLockedError:
            return -1
        return count

    return handler, left


def _logstash_async(options: argparse.Namespace) -> Report:
    report: Report = {"events": options.events}
    documents = list(logstash_events(_DISTINCT))
    handler, left = _logstash_async_handler(options)
    logger = logging.getLogger("shop")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    logger.addHandler(handler)
    with measured(report):
        for number in range(options.events):
            document: dict[str, Any] = documents[number % _DISTINCT]
            logger.info("%s", document["message"], extra=document["extra"])
        if options.dead:
            _wait(lambda: left() == options.events, 0.1)
        else:
            worker = handler._worker_thread  # noqa: SLF001 - it tells nobody when it is done
            idle: Callable[[], bool] = lambda: worker._queue.empty() and not worker._event  # noqa: E731, SLF001 - as above
            _wait(lambda: idle() and left() == 0, 0.1, handler.flush)
    return report


def _logstash_async_drain(options: argparse.Namespace) -> Report:
    report: Report = {"events": options.events}
    with measured(report):
        handler, left = _logstash_async_handler(options)
        handler._setup_transport()  # noqa: SLF001 - what else only a log call does
        handler._start_worker_thread()  # noqa: SLF001 - the same
        started = time.perf_counter()
        _wait(lambda: 0 <= left() < options.events, 0.02, handler.flush)
        report["first"] = time.perf_counter() - started
        _wait(lambda: left() == 0, 0.1, handler.flush)
    return report


def _wait(until: Callable[[], bool], pause: float, nudge: Callable[[], object] = lambda: None) -> None:
    started = time.monotonic()
    while not until():
        if time.monotonic() > started + _WAIT_AT_MOST:
            sys.exit(f"not delivered after {_WAIT_AT_MOST} seconds")
        nudge()
        time.sleep(pause)


RUNS: dict[str, Callable[[argparse.Namespace], Report]] = {
    run.__name__: run for run in (put, through, fill, drain, append, read)
}


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", choices=RUNS)
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--events", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1:1")
    parser.add_argument("--dead", action="store_true", help="nobody receives there")
    parser.add_argument("--client", choices=("shipper", "logstash_async"), default="shipper")
    parser.add_argument("--durability", choices=("memory", "spool", "journal"), default="memory")
    parser.add_argument("--fsync", choices=("none", "second", "each"), default="second")
    parser.add_argument("--ready", action="store_true", help="events are ready JSON")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--memory", type=int, default=64 << 20, help="queue_mem_bytes of `drain`")
    parser.add_argument("--store", choices=STORES)
    parser.add_argument("--batch", type=int, default=1)
    options = parser.parse_args()
    print(json.dumps(RUNS[options.run](options)), flush=True)
    if options.run in {"fill", "append"}:
        os.kill(os.getpid(), signal.SIGKILL)  # what is not on its way to the disk by now is lost
    if options.client == "logstash_async":
        os._exit(0)  # its thread would go on for a while


if __name__ == "__main__":
    main()
