"""The intake thread: moves events from the inbox to the backlog, and tells who waits what became of them.

It sleeps in the inbox until an event comes. While anything is unsettled it lets events gather, so that the
application's threads wake it once per window and not once per event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from enum import Enum
from time import monotonic

from beats_core.backlog import Backlog, DeadLetter
from beats_core.inbox import Inbox, Refusals
from beats_core.native import SimpleQueue, wait_for_item

_logger = logging.getLogger("beats_core.intake")


class Word(Enum):
    """What is said to the intake thread between events."""

    STOP = "stop"
    REFUSING = "refusing"


class Flush:
    """A request to be told when everything before it is settled."""

    def __init__(self) -> None:
        self.until = 0
        self.dead = 0  # before
        self._answers: SimpleQueue[bool] = SimpleQueue()

    def answer(self, *, acked: bool) -> None:
        """Tell the one who waits."""
        self._answers.put(acked)

    def wait(self, at_most: float) -> bool:
        """Return the answer; False if there is none in that many seconds."""
        return any(wait_for_item(self._answers, at_most))


Item = bytes | Flush | Word  # a payload, a DeadLetter or what is said in between


class Intake:
    """Moves events from the inbox to the backlog.

    Args:
        inbox: This side of it is the intake's alone.
        backlog: Shared with the senders; guarded by `lock`.
        lock: Held only for calls of the backlog.
        refusals: Reported here, because the threads that put must not log.
        gather_time: Longest that events gather while others are unsettled, in seconds.
        wake_senders: Called without the lock when there is something to take.
    """

    def __init__(
        self,
        inbox: Inbox[Flush | Word],
        backlog: Backlog,
        lock: AbstractContextManager[object],
        *,
        refusals: Refusals,
        gather_time: float,
        wake_senders: Callable[[], None],
    ) -> None:
        self._inbox = inbox
        self._backlog = backlog
        self._lock = lock
        self._refusals = refusals
        self._gather_time = gather_time
        self._wake_senders = wake_senders
        self._flushes: list[Flush] = []
        self._released = 0, 0  # events and bytes whose room in the inbox was given free
        self._ended = False

    def run(self) -> None:
        """Move events until `Word.STOP`; the body of the intake thread."""
        while self._move_safely(self._inbox.wait()):
            with suppress(Exception):  # a handler's, with which the application logs what we say
                self._refusals.report(monotonic())
            # With everything settled the next event is to leave at once; else a window fills until the ack.
            self._inbox.gather(self._is_busy, self._gather_time)

    def move(self, items: list[Item]) -> bool:
        """Hand what was drained to the backlog and the senders; False after `Word.STOP`."""
        payloads = [item for item in items if type(item) is bytes]
        words = [item for item in items if type(item) is not bytes] if len(payloads) < len(items) else []
        with self._lock:
            idle = not self._backlog.pending
            if payloads:
                self._backlog.append(payloads, monotonic())
            for word in words:
                if isinstance(word, Flush):
                    word.until, word.dead = self._backlog.appended, self._backlog.dead
                    self._flushes.append(word)
                elif isinstance(word, DeadLetter):
                    self._backlog.bury(word)
            if words:
                self._backlog.hurry()
                self.settle()
            if self._ended:  # without us: we were too slow
                self._drop()
            due = self._backlog.wait_time(monotonic()) == 0
        if due or idle:
            self._wake_senders()
        return Word.STOP not in words

    def flush(self) -> Flush:
        """Ask to be told when everything accepted so far is settled. Any thread."""
        request = Flush()
        with self._lock:  # which `end` holds for its last look into the inbox
            if self._ended:
                request.answer(acked=not self._backlog.dropped)
            else:
                self._inbox.mark(request)
        return request

    def settle(self) -> None:
        """Give room in the inbox free for what was settled, and answer flushes. The caller holds the lock."""
        backlog = self._backlog
        events, size = self._released
        self._released = backlog.settled, backlog.settled_bytes
        self._inbox.settled(self._released[0] - events, self._released[1] - size)
        if self._flushes:
            until = backlog.settled_until
            for request in self._flushes:
                if request.until <= until:
                    request.answer(acked=request.dead == backlog.dead)
            self._flushes = [request for request in self._flushes if request.until > until]
        if not backlog.in_flight:
            self._inbox.kick()

    def end(self) -> int:
        """Drop what is not settled, also what came too late, and return how many events that were; after `run`."""
        with self._lock:
            self._ended = True
            late = self._inbox.drain()
            self._backlog.append([item for item in late if type(item) is bytes], monotonic())
            for item in late:
                if isinstance(item, DeadLetter):
                    self._backlog.bury(item)
            self._flushes += [item for item in late if isinstance(item, Flush)]
            return self._drop()

    def _drop(self) -> int:
        lost = self._backlog.drop_all("shutdown")
        for request in self._flushes:
            request.answer(acked=not lost)
        self._flushes = []
        self.settle()
        return lost

    def _move_safely(self, items: list[Item]) -> bool:
        try:
            return self.move(items)
        except Exception:
            with suppress(Exception):
                _logger.exception("events could not be taken over")
            return Word.STOP not in items

    def _is_busy(self) -> bool:
        with self._lock:
            return self._backlog.settled < self._backlog.appended
