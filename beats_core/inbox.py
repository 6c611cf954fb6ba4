"""From the application's threads to ours: encoded events, bounded in bytes.

`put` is on the application's path. It takes no lock and wakes nobody but a reader that is blocked for want of
events; `queue.SimpleQueue` is the one hand-off that survives a log call from a finaliser or a signal handler in
the middle of another one. The gauges are plain integers: `accepted` and `_accepted` are written by the threads
that put, `_settled` by ours. No call stands between reading and writing one, and CPython switches threads at calls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from queue import Empty
from threading import TIMEOUT_MAX
from typing import Generic, TypeVar

from beats_core.native import SimpleQueue

_logger = logging.getLogger("beats_core.inbox")

Marker = TypeVar("Marker")

OVERHEAD = 64  # bytes a small bytes object takes beside its contents, and its places in queue and batch
KICK_BYTES = 256 << 10  # wakes the reader before its time: a window is about to fill
RESERVE = 10  # per cent of the bytes that only important events may use
IMPORTANT = 40  # logging.ERROR
REFUSALS = ("full", "too_large", "invalid", "failed", "closed")
_REPORT_PAUSE = 10.0  # seconds between two reports


class Inbox(Generic[Marker]):
    """A bounded queue of payloads, in which our side may place markers.

    Args:
        max_bytes: Most bytes of events that are accepted and not yet settled, here or further on.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._max_bytes_of_ordinary = max_bytes - max_bytes * RESERVE // 100
        self._events: SimpleQueue[bytes | Marker] = SimpleQueue()
        self._kicks: SimpleQueue[None] = SimpleQueue()
        self.accepted = 0  # events, ever
        self._accepted = 0  # their bytes
        self._settled = 0
        self._kick_at = KICK_BYTES
        self._gathering = False

    @property
    def waiting_bytes(self) -> int:
        """Bytes accepted and not settled, overhead included."""
        return self._accepted - self._settled

    def put(self, payload: bytes, level: int) -> bool:
        """Accept a payload, or return False if there is no room for it, or it is closed. Any thread, never blocks."""
        size = len(payload) + OVERHEAD
        # From here to the hand-over there is no call, so no other thread's put or close comes between.
        accepted = self._accepted + size
        if accepted - self._settled > (self._max_bytes if level >= IMPORTANT else self._max_bytes_of_ordinary):
            return False
        self._accepted = accepted
        self.accepted += 1
        self._events.put(payload)
        if accepted > self._kick_at:
            self._kick_at = accepted + self._max_bytes  # once: the reader sets it anew
            self._kicks.put(None)
        return True

    def close(self) -> None:
        """Refuse everything from now on; what was accepted is in the queue already. Any thread."""
        self._max_bytes = self._max_bytes_of_ordinary = -1

    def mark(self, marker: Marker) -> None:
        """Place a marker behind everything accepted so far. Any thread."""
        self._events.put(marker)
        self._kicks.put(None)  # also for a reader that is about to gather and has not seen it

    def kick(self) -> None:
        """End the reader's `gather`, if it is in there: what it asked for is no longer so. Any thread."""
        if self._gathering:
            self._kicks.put(None)

    def settled(self, count: int, size: int) -> None:
        """Make room: so many events of that many bytes in all are settled. One thread at a time."""
        self._settled += size + count * OVERHEAD

    def wait(self) -> list[bytes | Marker]:
        """Block until there is something and return all there is, oldest first. The reading thread only."""
        return [self._events.get(), *self.drain()]

    def drain(self) -> list[bytes | Marker]:
        """Return all there is now, oldest first. The reading thread only."""
        drained: list[bytes | Marker] = []
        try:
            for _ in range(self._events.qsize()):
                drained.append(self._events.get_nowait())  # noqa: PERF401 - keeps what it has when the queue is empty
        except Empty:  # another reader, which there is only while a program ends
            pass
        self._kick_at = self._accepted + KICK_BYTES
        return drained

    def gather(self, busy: Callable[[], bool], at_most: float) -> None:
        """While busy, let events gather for that many seconds, or until a kick. The reading thread only."""
        self._gathering = True  # before asking: what ends the business afterwards kicks
        try:
            if busy():
                self._kicks.get(timeout=min(at_most, TIMEOUT_MAX))
            while True:
                self._kicks.get_nowait()
        except Empty:
            self._gathering = False


class Refusals:
    """Counts the events that were not accepted, by reason, and says so once per change of state."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(REFUSALS, 0)
        self.unreported = False
        self._told = 0
        self._report_again_at = 0.0

    def add(self, reason: str) -> bool:
        """Count one; return True if nobody is at reporting refusals yet. Any thread; takes no lock."""
        self.counts[reason] += 1  # no call between reading and writing, so no other thread comes between
        begun, self.unreported = self.unreported, True
        return not begun

    def report(self, now: float) -> None:
        """Say that events are refused, or no longer are; each at most every ten seconds. One thread."""
        if not self.unreported or now < self._report_again_at:
            return
        refused = sum(self.counts.values())
        reasons = ", ".join(f"{reason} {number}" for reason, number in self.counts.items() if number)
        if not self._told:
            _logger.warning("events are refused: %s so far", reasons)
        elif refused == self._told:
            _logger.warning("events are accepted again; refused in all: %s", reasons)
            self.unreported = False
            refused = 0
        else:
            self._told = refused
            return
        self._told = refused
        self._report_again_at = now + _REPORT_PAUSE
