"""Everything behind the door of a shipper, in one process: inbox, ledger, spool, and the threads around them.

`lock` guards the backlog and the flush requests, and is held for moments, never during I/O; `_starting` lets one thread
start the others and is never waited for; `_ending` lets one thread end them. After fork the child has a delivery of
its own, and of its parent's only `abandon` is called.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from contextlib import suppress
from functools import cache
from time import monotonic

from beats_core import native
from beats_core.admission import Admission, open_spool
from beats_core.backlog import Backlog, DeadLetter
from beats_core.crew import Crew
from beats_core.errors import OptionError
from beats_core.inbox import Inbox, Refusals
from beats_core.intake import Flush, Intake, Word
from beats_core.lifecycle import finish_with_multiprocessing, join, lock_timeout, signals_blocked
from beats_core.options import Options
from beats_core.spool import Spool
from beats_core.spooler import LINGER, Spooler
from beats_core.stats import Stats
from beats_core.surroundings import THREADS_NEVER_RUN, is_about_to_fork, threads_never_run

_logger = logging.getLogger("beats_core.shipper")

_RETRY_START = 1.0  # seconds after no thread could be started
_GRACE = 0.5  # seconds for the disk, beyond the time that is for the receivers
_HERE_AT_MOST = 1.0  # seconds that a put may take to deliver, where no thread runs
_HERE_PAUSE = 9  # times as long as it took in vain, before it is tried again


class Delivery:
    """What is accepted in one process, and how it is delivered. Any thread.

    Args:
        options: The shipper's.
        spool: Where accepted events are kept; None: in memory.

    Attributes:
        admission: The way in, for encoded events.
        started: The threads run.
    """

    def __init__(self, options: Options, spool: Spool | None) -> None:
        self.started = False
        self._options = options
        self._spool = spool
        self._lock = native.RLock()
        self._starting = native.Lock()
        self._ending = threading.RLock()
        self._refusals = Refusals()
        self._backlog = Backlog(options.bulk_max_size, options.bulk_max_bytes, options.flush_interval)
        drops_oldest = options.on_full == "drop_oldest"
        self._inbox: Inbox[Flush | Word] = Inbox(
            options.queue_mem_bytes // (2 if spool else 1),  # the spooler has the other half
            keep_level=options.keep_level,
            gives_up=drops_oldest,
        )
        self.admission = Admission(options, self._inbox, spool, Word.JOURNALED)
        release = self._inbox.settled
        self._intake = Intake(
            self._inbox,
            self._backlog,
            self._lock,
            refusals=self._refusals,
            gather_time=min(options.flush_interval, LINGER) if spool else options.flush_interval,
            wake_senders=lambda: crew.wake(),  # noqa: PLW0108 - made below
            most_waiting_bytes=options.queue_mem_bytes * 7 // 8 if drops_oldest else None,
            spooler=Spooler(spool, options, self._backlog, self._lock, release) if spool else None,
        )
        self._crew = crew = Crew(options, self._backlog, self._lock, settling=self._intake.settling)
        self._intake_thread: native.Thread | None = None
        self._start_again_at = 0.0

    @property
    def settled(self) -> bool:
        """True if nothing waits and nothing is in flight."""
        return not self._intake.unsettled

    @property
    def durable(self) -> bool:
        """True if there is a disk for what is accepted."""
        return self._spool is not None

    def refuse(self, reason: str) -> None:
        """Count an event that is not accepted."""
        if self._refusals.add(reason):
            self._inbox.mark(Word.REFUSING)

    def bury(self, letter: DeadLetter, level: int) -> bool:
        """Accept an event that is dead already, if there is room for it."""
        return self._inbox.put(letter, level)

    def accept_nothing(self) -> None:
        """Refuse everything from now on."""
        self._inbox.close()

    def dead_letters(self) -> list[DeadLetter]:
        """Return the newest dead events, at most 16."""
        with self._lock:
            return list(self._backlog.dead_letters)

    def stats(self) -> Stats:
        """Return a snapshot."""
        spool, intake, late = self._spool, self._intake, self.admission.late
        with self._lock:
            backlog = self._backlog
            dropped = Counter(self._refusals.counts) + backlog.dropped
            dropped["oldest"] += intake.given_up
            dropped["damaged"] += spool.lost if spool else 0
            return Stats(
                accepted=self._inbox.accepted + late,
                adopted=spool.adopted if spool else 0,
                acked=backlog.acked,
                resent=backlog.resent,
                dropped={reason: number for reason, number in dropped.items() if number},
                dead=backlog.dead,
                inbox=intake.not_taken,
                pending=backlog.pending + intake.unread + late,
                in_flight=backlog.in_flight,
                waiting_bytes=self._inbox.waiting_bytes,
                acked_bytes=backlog.acked_bytes,
                spooled=(spool.events if spool else 0) + late,
                spool_bytes=spool.bytes if spool else 0,
                last_ack=self._crew.last_ack,
                hosts=self._crew.stats(),
            )

    def start(self) -> None:
        """Start the threads, unless somebody is at it already. Never waits; says so if there can be none."""
        if monotonic() < self._start_again_at or not self._starting.acquire(blocking=False):
            return
        try:
            if self.started or self._inbox.closed:
                return
            if is_about_to_fork() or threads_never_run():
                self._deliver_some()
                return
            with signals_blocked():
                thread = native.new_thread(self._intake.run, "beats-shipper")
                thread.start()
            self._intake_thread = thread
            self._crew.start()
            self.started = True
            finish_with_multiprocessing()
        except (RuntimeError, OSError, MemoryError) as error:  # no thread, no descriptor
            self._start_again_at = monotonic() + _RETRY_START
            self._end_threads(monotonic())
            say("no thread can be started, events wait for flush() or close(): %s", error)
        finally:
            self._starting.release()

    def flush(self, deadline: float, *, durable: bool = False) -> bool:
        """Wait until everything is acknowledged, or on disk, and return whether it is."""
        if not self.started:
            self._deliver_here(deadline)
        if self.admission.late:
            return False
        if self.started:
            return self._intake.flush(durable=durable).wait(deadline - monotonic())
        return self.settled and not self._intake.gone

    def end(self, deadline: float) -> int:
        """Deliver what is accepted, end the threads, and return how many events are lost by it."""
        if not self._ending.acquire(timeout=lock_timeout(deadline)):
            return 0  # another thread is at it, and waits longer
        try:
            self._deliver_here(deadline)
            self._end_threads(deadline)
            return self._intake.end()
        finally:
            self._ending.release()

    def abandon(self) -> None:
        """Close this process's copies of all descriptors, after fork in the child. The parent goes on."""
        self._crew.abandon()
        self.admission.abandon()

    def begin_anew(self) -> Delivery:
        """Return the delivery of a child, which begins with nothing, after fork."""
        self.abandon()
        try:
            spool = open_spool(self._options)
        except OptionError as error:  # since the parent began
            spool = None
            say("events are held in memory: %s", error)
        anew = Delivery(self._options, spool)
        if self._inbox.closed:
            anew.accept_nothing()
        return anew

    def _deliver_some(self) -> None:
        """Deliver in the thread that puts, for a tenth of its time at most while nobody acknowledges."""
        if threads_never_run():
            _say_once(THREADS_NEVER_RUN)
        began = monotonic()
        while self._intake.not_taken and monotonic() < began + _HERE_AT_MOST:
            self._intake.move()
            self._crew.deliver_some(began + _HERE_AT_MOST)
        if not self.settled:
            now = monotonic()
            self._start_again_at = now + _HERE_PAUSE * (now - began)

    def _deliver_here(self, deadline: float) -> None:
        """Deliver what was accepted in the calling thread, if no other was started; wait for a start under way."""
        if not self._starting.acquire(timeout=lock_timeout(deadline)):
            return
        try:
            while not self.started and not self.settled:
                acked = self._backlog.acked
                self._intake.move()
                self._backlog.expecting = False  # nobody brings it while the sender runs
                self._crew.deliver(deadline)
                if acked == self._backlog.acked or monotonic() >= deadline:
                    return
        except OSError as error:  # no descriptor
            say("events cannot be delivered: %s", error)
        finally:
            self._starting.release()

    def _end_threads(self, deadline: float) -> None:
        """Have the intake thread finish, then the senders, by `deadline`; one that is stuck is left to the daemons."""
        thread, self._intake_thread = self._intake_thread, None
        if thread is not None and self._spool is not None:
            # All of it is on disk, or in the ledger, before the senders end; until then they are fed from there.
            self._intake.flush(durable=True).wait(deadline + _GRACE - monotonic())
            self._crew.stop(deadline)
        if thread is not None:
            self._inbox.mark(Word.STOP)
            join([thread], deadline)
        if self._spool is None:
            self._crew.stop(deadline)


def say(text: str, argument: object) -> None:
    """Tell the application's log, whatever its handlers do."""
    with suppress(Exception):
        _logger.warning(text, argument)


@cache
def _say_once(text: str) -> None:
    say("%s", text)
