"""From the application's threads to ours: encoded events, bounded in bytes.

`put` is on the application's path. It takes no lock and wakes nobody but a reader that is blocked for want of
events; `queue.SimpleQueue` is the one hand-off that survives a log call from a finaliser or a signal handler in
the middle of another one. The gauges are plain integers: `accepted`, `_accepted` and those of what was given up are
written by the threads that put, `_settled` by ours. No call stands between reading and writing one, and CPython
switches threads at calls.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from threading import TIMEOUT_MAX
from typing import Generic, TypeVar

from beats_core.frames import Important
from beats_core.native import SimpleQueue

_logger = logging.getLogger("beats_core.inbox")

Marker = TypeVar("Marker")

OVERHEAD = 64  # bytes a small bytes object takes beside its contents, and its places in queue and batch
KICK_BYTES = 256 << 10  # wakes the reader before its time: a window is about to fill
RESERVE = 10  # per cent of the bytes that only important events may use
REFUSALS = ("full", "disk", "too_large", "invalid", "failed", "closed")
_REPORT_PAUSE = 10.0  # seconds between two reports


class Inbox(Generic[Marker]):
    """A bounded queue of payloads, in which our side may place markers.

    Args:
        max_bytes: Most bytes of events that are accepted and not yet settled, here or further on.
        keep_level: Events from this level on may use the reserve.
        gives_up: Without room the oldest ordinary event here gives way, or for want of one the oldest important.

    Attributes:
        accepted: Events that were accepted, ever; those that gave way later included.
        given_up: Events that gave way.
    """

    def __init__(self, max_bytes: int, *, keep_level: int = 40, gives_up: bool = False) -> None:
        self.accepted = 0
        self.given_up = 0
        self._keep_level = keep_level
        self._gives_up = gives_up
        self._max_bytes = max_bytes
        self._max_bytes_of_ordinary = max_bytes - max_bytes * RESERVE // 100
        self._events: SimpleQueue[bytes | Marker] = SimpleQueue()
        self._spared: deque[bytes | Marker] = deque()  # older than what is in the queue
        self._kicks: SimpleQueue[None] = SimpleQueue()
        self._accepted = 0  # bytes
        self._given_up = 0
        self._settled = 0
        self._kick_bytes = self._kick_at = min(KICK_BYTES, max_bytes // 4)
        self._gathering = False
        self._noted = False

    @property
    def closed(self) -> bool:
        """True when everything is refused."""
        return self._max_bytes < 0

    @property
    def waiting_bytes(self) -> int:
        """Bytes accepted and not settled, overhead included."""
        return self._accepted - self._given_up - self._settled

    def put(self, payload: bytes, level: int) -> bool:
        """Accept a payload, or return False if there is no room for it, or it is closed. Any thread, never blocks."""
        size = len(payload) + OVERHEAD
        important = level >= self._keep_level
        if self._gives_up and important and type(payload) is bytes:
            payload = Important(payload)
        # From one look at the room to the hand-over there is no call, so no other thread's put or close comes between.
        while True:
            accepted = self._accepted + size
            room = self._max_bytes if important else self._max_bytes_of_ordinary
            if accepted - self._given_up - self._settled <= room:
                break
            if size > room or not self._gives_up or not self._give_up(important=important):
                return False
        self._accepted = accepted
        self.accepted += 1
        self._events.put(payload)
        if accepted > self._kick_at:
            self._kick_at = accepted + self._max_bytes  # once: the reader sets it anew
            self._kicks.put(None)
        return True

    def note(self, size: int, marker: Marker) -> None:
        """Count an event of so many bytes that was accepted elsewhere. Any thread.

        One marker stands for all such events until the reader drains; the next one after that places another.
        """
        self.accepted += 1
        self._accepted = accepted = self._accepted + size
        self._settled += size
        if not self._noted:
            self._noted = True
            self._events.put(marker)
        if accepted > self._kick_at:
            self._kick_at = accepted + self._max_bytes
            self._kicks.put(None)

    def close(self) -> None:
        """Refuse everything from now on; what was accepted is in the queue already. Any thread."""
        self._max_bytes = self._max_bytes_of_ordinary = -1

    def mark(self, marker: Marker, *, patiently: bool = False) -> None:
        """Place a marker behind everything accepted so far. Any thread.

        Args:
            marker: What the reader is to find.
            patiently: The reader need not find it before `at_least` is over.
        """
        self._events.put(marker)
        if patiently:
            self.kick()
        else:
            self._kicks.put(None)  # also for a reader that is about to gather and has not seen it

    def kick(self) -> None:
        """End the reader's `gather`, if it is in there: what it asked for is no longer so. Any thread."""
        if self._gathering:
            self._kicks.put(None)

    def settled(self, count: int, size: int) -> None:
        """Make room: so many events of that many bytes in all are settled. One thread at a time."""
        self._settled += size + count * OVERHEAD

    def wait(self, at_most: float | None = None) -> list[bytes | Marker]:
        """Block until there is something, or for so many seconds, and return all there is. The reading thread only."""
        try:
            first = self._events.get(timeout=None if at_most is None else min(max(0.0, at_most), TIMEOUT_MAX))
        except Empty:
            return self.drain()
        return [*self._drain_spared(), first, *self._drain_queue()]

    def drain(self) -> list[bytes | Marker]:
        """Return all there is now, oldest first. The reading thread only."""
        return [*self._drain_spared(), *self._drain_queue()]

    def gather(self, busy: Callable[[], bool], at_most: float, at_least: float = 0.0) -> None:
        """Let events gather, until a window of them is about to fill or a marker comes. The reading thread only.

        Args:
            busy: While it is true, they gather until `kick` is called, ...
            at_most: ... or for that many seconds.
            at_least: Seconds that they gather whether it is true or not.
        """
        if at_least:
            with suppress(Empty):
                self._kicks.get(timeout=at_least)
                at_most = 0.0
        self._gathering = True  # before asking: what ends the business afterwards kicks
        try:
            if busy():
                self._kicks.get(timeout=min(at_most, TIMEOUT_MAX))
            while True:
                self._kicks.get_nowait()
        except Empty:
            self._gathering = False

    def _drain_spared(self) -> list[bytes | Marker]:
        drained: list[bytes | Marker] = []
        with suppress(IndexError):  # also when a thread that puts was faster
            while True:
                drained.append(self._spared.popleft())
        return drained

    def _drain_queue(self) -> list[bytes | Marker]:
        drained: list[bytes | Marker] = []
        self._noted = False
        try:
            for _ in range(self._events.qsize()):
                drained.append(self._events.get_nowait())  # noqa: PERF401 - keeps what it has when the queue is empty
        except Empty:  # another reader: a thread that puts and needs room, or one that closes
            pass
        self._kick_at = self._accepted + self._kick_bytes
        return drained

    def _give_up(self, *, important: bool) -> bool:
        """Let the oldest ordinary event here give way, or the oldest important one to an important one."""
        try:
            while type(oldest := self._events.get_nowait()) is not bytes:
                self._spared.append(oldest)
        except Empty:
            return self._give_up_spared(important=important)
        self._count_given_up(oldest)
        return True

    def _give_up_spared(self, *, important: bool) -> bool:
        """Do so when nothing is in the queue but what was spared before."""
        with suppress(IndexError):
            oldest = self._spared.popleft()
            if important and type(oldest) is Important:
                self._count_given_up(oldest)
                return True
            self._spared.appendleft(oldest)
            self._events.put(self._spared.pop())  # the reader may sleep, and looks only there
        return False

    def _count_given_up(self, payload: bytes) -> None:
        size = len(payload) + OVERHEAD
        self._given_up += size
        self.given_up += 1


class Refusals:
    """Counts the events that were not accepted, by reason, and says so once per change of state."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(REFUSALS, 0)
        self.unreported = False
        self._given_up = 0
        self._told = 0
        self._report_again_at = 0.0

    def add(self, reason: str) -> bool:
        """Count one; return True if nobody is at reporting refusals yet. Any thread; takes no lock."""
        self.counts[reason] += 1  # no call between reading and writing, so no other thread comes between
        begun, self.unreported = self.unreported, True
        return not begun

    def report(self, now: float, given_up: int = 0) -> None:
        """Say that events are lost, or no longer are; each at most every ten seconds. One thread.

        Args:
            now: The time.
            given_up: How many accepted events gave way to newer ones so far.
        """
        self.unreported = self.unreported or given_up > self._given_up
        if not self.unreported or now < self._report_again_at:
            return
        refused = sum(self.counts.values())
        counts = {**self.counts, "oldest": given_up}
        reasons = ", ".join(f"{reason} {number}" for reason, number in counts.items() if number)
        how = " or ".join(how for how, number in (("refused", refused), ("given up", given_up)) if number)
        lost = refused + given_up
        self._given_up = given_up
        if not self._told:
            _logger.warning("events are %s: %s so far", how, reasons)
        elif lost == self._told:
            _logger.warning("events are accepted again; %s in all: %s", how, reasons)
            self.unreported = False
            lost = 0
        else:
            self._told = lost
            return
        self._told = lost
        self._report_again_at = now + _REPORT_PAUSE
