"""An exception at every line of ours that runs between `put()` and the ack, one line at a time.

    python -m faults.failpoints PLACE [MOST]        PLACE: "threads" or "put"

"threads" raises in the shipper's own threads, in the intake, the sender and the ledger; "put" in the application's,
with MemoryError. After each, the shipper must still account for every event it accepted, must have acknowledged none
that did not arrive, and must deliver what comes afterwards. The last line printed is JSON: what was tried, and what
went wrong where.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from beats_core import Options, ReceivedWindow, Receiver, Shipper, backlog, envelope, inbox, intake, sender, shipper
from faults.catalogue import share
from support.shippers import dropped_after_acceptance, unaccounted

EVENTS = 40  # before, and as many after the fault
PATIENCE = 3.0  # seconds for what takes milliseconds, unless something is stuck
_MODULES = {"threads": (intake, sender, backlog), "put": (shipper, inbox, envelope)}
_PUTS = ("put", "seal", "_refuse", "add", "mark", "_start")  # of the functions in these, those that `put` runs


class Injected(Exception):
    """What is raised in the shipper's threads."""


@dataclass(frozen=True)
class Point:
    """A line."""

    file: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{Path(self.file).name}:{self.line} ({self.function})"


def points(place: str) -> list[Point]:
    """Return every line that can be reached there."""
    found = []
    for module in _MODULES[place]:
        path = str(module.__file__)
        for code in _functions(compile(Path(path).read_text(), path, "exec")):
            if place == "threads" or code.co_name in _PUTS:
                lines = {line for _, _, line in code.co_lines() if line is not None and line > code.co_firstlineno}
                found += [Point(path, line, code.co_name) for line in sorted(lines)]
    return found


def _functions(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            if not constant.co_name.startswith("<") and constant.co_flags & 2:  # CO_NEWLOCALS: no class body
                yield constant
            yield from _functions(constant)


class Trap:
    """Raises where the line is about to run for the `hit`-th time, once."""

    def __init__(self, point: Point, error: Callable[[], Exception]) -> None:
        self.sprung = False
        self._point = point
        self._error = error

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        code = frame.f_code
        if self.sprung or code.co_filename != self._point.file or code.co_name != self._point.function:
            return None
        return self._line

    def _line(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "line" and frame.f_lineno == self._point.line and not self.sprung:
            self.sprung = True
            raise self._error()
        return self._line


class Target:
    """A receiver that closes the first connection unacknowledged, and counts what it acknowledged later."""

    def __init__(self) -> None:
        self.ids: set[int] = set()
        self._refused = False
        self.receiver = Receiver(consume=self._consume)

    def _consume(self, window: ReceivedWindow) -> None:
        if not self._refused:
            self._refused = True
            raise ConnectionError
        self.ids.update(json.loads(payload)["id"] for payload in window.payloads)

    def wait_for(self, wanted: set[int]) -> bool:
        deadline = time.monotonic() + PATIENCE
        while not wanted <= self.ids and time.monotonic() < deadline:
            time.sleep(0.002)
        return wanted <= self.ids


def attempt(point: Point, place: str) -> tuple[bool, list[str]]:
    """Ship while that line fails; return whether it was reached, and what is wrong."""
    trap = Trap(point, MemoryError if place == "put" else Injected)
    target = Target()
    problems: list[str] = []
    options = Options(
        hosts=target.receiver.host, bulk_max_size=16, flush_interval=0.01, backoff_init=0.01, backoff_max=0.05
    )
    threading.settrace(trap if place == "threads" else None)
    try:
        shipping = Shipper(options=options)
        accepted = _put(shipping, range(EVENTS), trap if place == "put" else None, problems)
        target.wait_for(accepted)
        later = _put(shipping, range(EVENTS, 2 * EVENTS), None, problems)
        if not target.wait_for(later):
            problems.append(f"{len(later - target.ids)} later events do not arrive")
        stats = shipping.close(PATIENCE)
        counted = dropped_after_acceptance(stats) + stats.dead
        missing = len((accepted | later) - target.ids)
        if missing > max(0, counted):
            problems.append(f"{missing - counted} lost and not counted")
        if counted < 0 or stats.acked > stats.accepted:
            problems.append(f"of {stats.accepted} accepted {stats.acked} are acknowledged, {counted} dropped")
        elif stats.acked > len(target.ids):
            problems.append(f"{stats.acked - len(target.ids)} acknowledged that did not arrive")
        if unaccounted(stats):
            problems.append(f"{unaccounted(stats)} unaccounted")
    finally:
        threading.settrace(None)
        target.receiver.close()
    return trap.sprung, problems


def _put(shipping: Shipper, ids: range, trap: Trap | None, problems: list[str]) -> set[int]:
    accepted = set()
    for number in ids:
        sys.settrace(trap)
        try:
            if shipping.put({"id": number}):
                accepted.add(number)
        except Exception as error:  # noqa: BLE001 - which is what this looks for
            problems.append(f"put raises {error!r}")
        finally:
            sys.settrace(None)
    return accepted


def main() -> None:
    place, most = sys.argv[1], int(sys.argv[2])
    logging.disable()
    reached, wrong = 0, {}
    for point in share(points(place), most):
        with suppress(KeyboardInterrupt):
            sprung, problems = attempt(point, place)
            reached += sprung
            if problems:
                wrong[str(point)] = problems
    report: Mapping[str, object] = {"reached": reached, "accepted": 2 * EVENTS * reached, "wrong": wrong}
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    main()
