"""The intake thread: moves events from the inbox to the backlog, and tells who waits what became of them.

It sleeps in the inbox until an event comes. While anything is unsettled it lets events gather, so that the
application's threads wake it once per window and not once per event.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from enum import Enum
from time import monotonic

from beats_core.backlog import Backlog, DeadLetter
from beats_core.frames import Important
from beats_core.inbox import OVERHEAD, Inbox, Refusals
from beats_core.native import SimpleQueue, wait_for_item
from beats_core.spooler import Spooler

_logger = logging.getLogger("beats_core.intake")

_BREATH = 0.005  # seconds between two looks at the disk: a thread that writes the journal lets us run for each event
_FEW = 2048  # events on disk that the ledger can wait for: they fill no window
_PAUSE = 0.1  # seconds after something failed
_PATIENCE = 1.0  # seconds for the disk to answer at the end


class Word(Enum):
    """What is said to the intake thread between events."""

    STOP = "stop"
    REFUSING = "refusing"
    HUNGRY = "hungry"  # the backlog has room for events that are in the spool
    JOURNALED = "journaled"  # events are accepted, and on disk already


class Flush:
    """A request to be told when everything before it is settled, or on disk.

    Args:
        durable: On disk.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self.durable = durable
        self.until = 0
        self.gone = 0  # events that were lost, or dead, before
        self._answers: SimpleQueue[bool] = SimpleQueue()

    def answer(self, *, acked: bool) -> None:
        """Tell the one who waits."""
        self._answers.put(acked)

    def wait(self, at_most: float) -> bool:
        """Return the answer; False if there is none in that many seconds."""
        return any(wait_for_item(self._answers, at_most))


Item = bytes | Flush | Word  # a payload, a DeadLetter or what is said in between


class Intake:
    """Moves events from the inbox to the backlog, through the spool if there is one.

    Args:
        inbox: This side of it is the intake's alone.
        backlog: Shared with the senders; guarded by `lock`.
        lock: Held only for calls of the backlog.
        refusals: Reported here, because the threads that put must not log.
        gather_time: Longest that events gather while others are unsettled, in seconds.
        wake_senders: Called without the lock when there is something to take.
        most_waiting_bytes: What may wait before the oldest is given up; None: that never happens here.
        spooler: Without one, events are held in memory.
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
        most_waiting_bytes: int | None = None,
        spooler: Spooler | None = None,
    ) -> None:
        self._inbox = inbox
        self._backlog = backlog
        self._lock = lock
        self._refusals = refusals
        self._gather_time = gather_time
        self._wake_senders = wake_senders
        self._most_waiting_bytes = most_waiting_bytes
        self._spooler = spooler
        self._hungry = False  # and said so
        self._hand: list[Item] = []  # drained, and not taken over yet
        self._flushes: list[Flush] = []
        self._released = 0, 0  # events and bytes whose room in the inbox was given free
        self._moved = 0  # events, from their place in line to the end of it, as far as the flushes know
        self._ended = False

    @property
    def not_taken(self) -> int:
        """How many events are accepted, and neither in the backlog nor on disk."""
        if self._spooler is not None and self._spooler.journal:
            return 0
        taken = self._backlog.appended if self._spooler is None else self._spooler.taken
        return max(0, self._inbox.accepted - self._inbox.given_up - taken)

    @property
    def unread(self) -> int:
        """How many events are on disk, or on their way to it, and not in the backlog."""
        return 0 if self._spooler is None else self._spooler.unread

    @property
    def unsettled(self) -> int:
        """How many events are accepted and not settled."""
        return self.not_taken + self.unread + self._backlog.appended - self._backlog.settled

    @property
    def given_up(self) -> int:
        """How many events gave way to newer ones, but for those in the backlog."""
        return self._inbox.given_up + (0 if self._spooler is None else self._spooler.given_up)

    @property
    def gone(self) -> int:
        """How many accepted events will never be acknowledged, but for those that were dead when they came."""
        damaged = 0 if self._spooler is None else self._spooler.spool.lost
        dead = self._backlog.dead - self._backlog.buried
        return dead + self._backlog.dropped.total() + self.given_up + damaged

    def run(self) -> None:
        """Move events until `Word.STOP`; the body of the intake thread. Survives every exception."""
        wait = None if self._spooler is None else 0.0  # first of all it looks for what others left
        stop = False
        while not stop:
            try:
                self._hand += self._inbox.wait(wait)
                stop = Word.STOP in self._hand
                wait = self._move()
                with suppress(Exception):  # a handler's, with which the application logs what we say
                    self._refusals.report(monotonic(), self.given_up + self._backlog.dropped["oldest"])
                # With everything settled the next event is to leave at once; else a window fills until the ack.
                self._inbox.gather(self._is_busy, self._gather_time, 0.0 if self._spooler is None else _BREATH)
            except Exception:
                wait = _PAUSE
                with suppress(Exception):
                    _logger.exception("events could not be taken over, and are tried again")

    def move(self) -> float | None:
        """Hand what is in the inbox to the backlog and the senders; return in how many seconds to come again."""
        self._hand += self._inbox.drain()
        return self._move()

    def flush(self, *, durable: bool = False) -> Flush:
        """Ask to be told when everything accepted so far is settled, or on disk. Any thread."""
        request = Flush(durable=durable)
        with self._lock:  # which `end` holds for its last look into the inbox
            request.gone = self.gone
            if self._ended:
                request.answer(acked=not (self._backlog.dropped or self._backlog.pending or self.unread))
            else:
                self._inbox.mark(request)
        return request

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Hold the lock while events are settled or given back, and see to what follows from it."""
        with self._lock:
            yield
            self.settle()
        if self._spooler is not None:
            self._spooler.settle()

    def settle(self) -> None:
        """Give room in the inbox free for what was settled, and answer flushes. The caller holds the lock."""
        backlog = self._backlog
        if self._spooler is None:  # which gives it free itself
            events, size = self._released
            self._released = backlog.settled, backlog.settled_bytes
            self._inbox.settled(self._released[0] - events, self._released[1] - size)
        elif self._spooler.hungry and not self._hungry and not self._ended:
            self._hungry = True
            # While a journal is written there is something at each ack.
            self._inbox.mark(Word.HUNGRY, patiently=self._spooler.unread < _FEW)
        if self._flushes:
            until = backlog.settled_until
            everything = until == backlog.appended and (self._spooler is None or self._spooler.is_empty)
            gone = self.gone
            for request in self._flushes:
                if everything or request.until <= until:
                    request.answer(acked=request.gone == gone)
            self._flushes = [] if everything else [request for request in self._flushes if request.until > until]
        if not backlog.in_flight:
            self._inbox.kick()

    def end(self) -> int:
        """Give up what is not settled and not in the spool, also what came too late, and return how many that were.

        After `run`. Should that not have ended, because a disk does not answer, the spool is left as it is.
        """
        spooler = self._spooler
        if spooler is not None and spooler.busy.acquire(timeout=_PATIENCE):
            try:
                with self._lock:
                    self._ended = True
                    late = self._inbox.drain()
                payloads, words = _sorted(self._hand + late)
                self._hand = []
                self._flushes += [word for word in words if isinstance(word, Flush)]
                for word in words:
                    if isinstance(word, DeadLetter):
                        spooler.bury(word)
                lost = spooler.end(payloads, "shutdown")
            finally:
                spooler.busy.release()
            with self._lock:
                self._answer_all()
            return lost
        with self._lock:
            self._ended = True
            self._hand += self._inbox.drain()
            return self._drop()

    def _move(self) -> float | None:
        if self._spooler is None or self._ended:
            self._move_to_backlog()
            return None
        with self._spooler.busy:
            return self._move_through(self._spooler)

    def _move_to_backlog(self) -> None:
        with self._lock:
            idle = not self._backlog.pending
            self._take_over()
            if self._ended:  # without us: we were too slow
                self._drop()
            over = self._inbox.waiting_bytes - (self._most_waiting_bytes or 0)
            if self._most_waiting_bytes is not None and over > 0:
                self._backlog.drop_oldest(over, OVERHEAD)
                self.settle()
            due = self._backlog.wait_time(monotonic()) == 0
        if due or idle:
            self._wake_senders()

    def _take_over(self) -> None:
        """Give the backlog what is in hand. The caller holds the lock."""
        payloads, words = _sorted(self._hand)
        self._backlog.append(payloads, monotonic())
        self._hand = words
        for word in words:
            if isinstance(word, DeadLetter):
                self._backlog.bury(word)
        self._hand = []
        self._listen(words, self._backlog.appended)

    def _move_through(self, spooler: Spooler) -> float | None:
        now = monotonic()
        with self._lock:
            idle = not self._backlog.pending
        self._hungry = False
        payloads, words = _sorted(self._hand)
        spooler.admit(payloads)
        if Word.JOURNALED in words:  # no reason to hurry
            spooler.note(now)
            words = [word for word in words if word is not Word.JOURNALED]
        self._hand = words
        for word in words:
            if isinstance(word, DeadLetter):
                spooler.bury(word)
        self._hand = [word for word in words if isinstance(word, Flush)]  # should what follows fail
        wait = self._tend(spooler, now)
        spooler.refill()
        durable = [word for word in words if isinstance(word, Flush) and word.durable]
        kept = bool(durable) and spooler.sync()  # one for all who wait
        for request in durable:
            request.answer(acked=kept)
        with self._lock:
            self._hand = []
            until = self._backlog.appended + spooler.unread + spooler.spool.writers
            self._listen([word for word in words if word not in durable], until)
            due = self._backlog.wait_time(now) == 0
            expecting, self._backlog.expecting = self._backlog.expecting, spooler.unread > 0
        if due or idle or expecting != self._backlog.expecting:
            self._wake_senders()
        return wait

    def _tend(self, spooler: Spooler, now: float) -> float | None:
        """Do what is due with the disk. What is adopted there comes before what was put since the last look."""
        adopted = spooler.spool.adopted
        wait = spooler.tend(now)
        adopted = spooler.spool.adopted - adopted
        if adopted:
            with self._lock:
                for request in self._flushes:
                    if request.until > self._backlog.appended:
                        request.until += adopted
        if spooler.spool.moved != self._moved:
            self._moved = spooler.spool.moved
            with self._lock:
                for request in self._flushes:  # what they wait for may be the last on disk now
                    request.until = self._backlog.appended + spooler.unread + spooler.spool.writers
        return wait

    def _listen(self, words: list[Item], until: int) -> None:
        """Obey what is said; a flush is about all events before `until`. The caller holds the lock."""
        for word in words:
            if isinstance(word, Flush):
                word.until = until
                self._flushes.append(word)
        if words:
            self._backlog.hurry()
            self.settle()

    def _drop(self) -> int:
        """Count everything as lost. The caller holds the lock."""
        payloads, words = _sorted(self._hand)
        self._hand = []
        self._backlog.append(payloads, monotonic())
        for word in words:
            if isinstance(word, DeadLetter):
                self._backlog.bury(word)
        self._flushes += [word for word in words if isinstance(word, Flush)]
        lost = self._backlog.drop_all("shutdown")
        self._answer_all()
        return lost

    def _answer_all(self) -> None:
        left, gone = self._backlog.pending + self.unread, self.gone
        for request in self._flushes:
            request.answer(acked=not left and request.gone == gone)
        self._flushes = []
        self.settle()

    def _is_busy(self) -> bool:
        with self._lock:
            return self._backlog.settled < self._backlog.appended and not self._hungry


def _sorted(items: list[Item]) -> tuple[list[bytes], list[Item]]:
    """Return the payloads, and whatever else there is."""
    payloads = [item for item in items if type(item) is bytes or type(item) is Important]
    if len(payloads) == len(items):
        return payloads, []
    return payloads, [item for item in items if type(item) is not bytes and type(item) is not Important]
