"""What the tests of the Shipper share: numbered events, waiting for what its threads do, and its sums."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from beats_core import Shipper, Stats
from beats_core.inbox import REFUSALS

PATIENCE = 20.0  # seconds before a test that waits for a condition is given up
QUIET = 0.15  # seconds of silence that are taken for "nothing comes"


def closed_port() -> str:
    """Return a host that refuses every connection, until somebody listens there."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


def wait_until(holds: Callable[[], Any]) -> None:
    """Wait for a condition that threads bring about."""
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)


def put(shipper: Shipper, *ids: int) -> None:
    """Put an event for each id, all of which are accepted."""
    for number in ids:
        assert shipper.put({"id": number})


def ids(events: Iterable[dict[str, Any]]) -> list[int]:
    return [event["id"] for event in events]


def in_parallel(count: int, body: Callable[[int], object]) -> None:
    """Run `body(0)` to `body(count - 1)` at once, and raise here what one of them raises."""
    failures: list[BaseException] = []
    begin = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            begin.wait()
            body(number)
        except BaseException as error:  # noqa: BLE001 - raised below
            failures.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def dropped_after_acceptance(stats: Stats) -> int:
    return sum(number for reason, number in stats.dropped.items() if reason not in REFUSALS)


def unaccounted(stats: Stats) -> int:
    """How many accepted events are in no place at all, or in two; 0 at every moment."""
    places = stats.inbox + stats.pending + stats.in_flight + stats.acked + stats.dead
    return stats.accepted + stats.adopted - places - dropped_after_acceptance(stats)


def repeated(numbers: Iterable[int]) -> list[int]:
    """The numbers that occur more than once."""
    return sorted(number for number, times in Counter(numbers).items() if times > 1)
