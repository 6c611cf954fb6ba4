"""A producer in a process of its own: a real shipper, and a ledger of what it accepted.

    python -m faults.producer ORDER        (JSON, see `orders.ProducerOrder`)

An event is noted after `put()` returned True, never before, so the ledger claims nothing that was not accepted. What
the process can tell of itself it prints at its end, as one JSON object in the last line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from faults import mischief
from faults.ledgers import Ledger, make_event
from faults.orders import ProducerOrder
from faults.parents import die_with_parent
from faults.peers import PEERS
from faults.shipping import OurShipper, Shipping

_MOMENT = 0.002  # seconds between two looks at something awaited
_NEVER = threading.Event()
_PLACES = {"descriptors": "fd", "threads": "task"}
_EVENTS_OF_A_CHILD = 20
_MOST_LATENCIES = 200_000  # kept, of each thread


class Thread:
    """Puts one thread's events."""

    def __init__(self, number: int, order: ProducerOrder, shipping: Shipping, ledger: Ledger) -> None:
        self.number = number
        self.refused = 0
        self.latencies: list[int] = []  # nanoseconds
        self.children: list[int] = []
        self._order = order
        self._shipping = shipping
        self._ledger = ledger

    def run(self) -> None:
        began = time.monotonic()
        for seq in range(self._order.events):
            if self._order.rate:
                pause(max(0.0, began + seq / self._order.rate - time.monotonic()))
            if self._order.idle and seq == self._order.events // 2:
                pause(self._order.idle)
            if self._forks(seq):
                self._fork(by_exit_handlers=seq % 2 == 0)
            self.put(seq)

    def _forks(self, seq: int) -> bool:
        order = self._order
        return self.number == 0 and order.children > 0 and seq % max(1, order.events // order.children) == 0

    def _fork(self, *, by_exit_handlers: bool) -> None:
        child = os.fork()
        if child:
            self.children.append(child)
            return
        for seq in range(_EVENTS_OF_A_CHILD):
            self.put(seq)
        if by_exit_handlers:
            raise SystemExit(0)
        stats = self._shipping.close()
        os._exit(0 if stats["acked"] == _EVENTS_OF_A_CHILD else 1)

    def put(self, seq: int) -> None:
        event, entry = make_event(self._order.run, os.getpid(), self.number, seq, self._order.size)
        while True:
            before = time.perf_counter_ns()
            accepted = self._shipping.put(event)
            if len(self.latencies) < _MOST_LATENCIES:
                self.latencies.append(time.perf_counter_ns() - before)
            if accepted:
                self._ledger.note(entry)
                return
            self.refused += 1
            if not self._order.retries:
                return
            pause(_MOMENT)


def main() -> None:
    die_with_parent()
    order = ProducerOrder.from_json(sys.argv[1])
    memory = memory_bytes("VmRSS")
    shipping = OurShipper(order) if order.client == "shipper" else PEERS[order.client](order)
    before = belongings()
    ledger = Ledger(order.ledger)  # that it is there says that everything is imported and made
    await_path(order.begin_at)
    with ExitStack() as stack:
        for name in order.mischief:
            stack.enter_context(mischief.named(name))
        workers = [Thread(number, order, shipping, ledger) for number in range(order.threads)]
        began = time.monotonic()
        in_threads([worker.run for worker in workers])
        seconds = time.monotonic() - began
        failed = [child for worker in workers for child in worker.children if os.waitpid(child, 0)[1]]
        assert not failed, f"{len(failed)} children did not end well"
        await_path(order.end_at)
        stats = END[order.ending](shipping)
        latencies = sorted(latency for worker in workers for latency in worker.latencies)
        report = {
            "stats": stats,
            "refused": sum(worker.refused for worker in workers),
            "seconds": seconds,
            "put_p50": _quantile(latencies, 0.5),
            "put_p99": _quantile(latencies, 0.99),
            "put_most": _quantile(latencies, 1.0),
            "memory": memory_bytes("VmHWM") - memory,
            "left": {name: left - before[name] for name, left in belongings().items()},
        }
        os.writev(1, [json.dumps(report).encode() + b"\n"])


def in_threads(bodies: list[Callable[[], object]]) -> None:
    """Run them at once; one alone in this thread."""
    threads = [threading.Thread(target=body) for body in bodies[1:]]
    for thread in threads:
        thread.start()
    for body in bodies[:1]:
        body()
    for thread in threads:
        thread.join()


def pause(seconds: float) -> None:
    """Sleep; not by `time.sleep`, which fails where libfaketime moves the clock."""
    _NEVER.wait(seconds)


def await_path(path: str) -> None:
    while path and not Path(path).exists():
        pause(_MOMENT)


def memory_bytes(name: str) -> int:
    """Return what the kernel says of this process's memory: VmRSS now, VmHWM at most."""
    # Not getrusage(): its peak is inherited from whoever started the process.
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(f"{name}:"))


def belongings() -> dict[str, int]:
    return {name: len(list(Path(f"/proc/self/{place}").iterdir())) for name, place in _PLACES.items()}


def _closes(shipping: Shipping) -> Mapping[str, Any]:
    return shipping.close()


def _leaves(shipping: Shipping) -> Mapping[str, Any]:
    return shipping.stats()


def _dies_of(number: int) -> Callable[[Shipping], Mapping[str, Any]]:
    def end(shipping: Shipping) -> Mapping[str, Any]:
        os.kill(os.getpid(), number)
        pause(60)
        return {}

    return end


def _leaves_at_once(shipping: Shipping) -> Mapping[str, Any]:
    os._exit(7)  # not 0: it has told nothing of itself


def _raises(shipping: Shipping) -> Mapping[str, Any]:
    raise SystemExit(3)


END: Mapping[str, Callable[[Shipping], Mapping[str, Any]]] = {
    "close": _closes,
    "return": _leaves,
    "exit": _raises,
    "os._exit": _leaves_at_once,
    "SIGTERM": _dies_of(signal.SIGTERM),
    "SIGKILL": _dies_of(signal.SIGKILL),
    "SIGABRT": _dies_of(signal.SIGABRT),
    "SIGSEGV": _dies_of(signal.SIGSEGV),
}


def _quantile(ordered: list[int], share: float) -> float | None:
    """Microseconds; None of nothing."""
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 if ordered else None


if __name__ == "__main__":
    main()
