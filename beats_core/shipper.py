"""The shipper: threads around the ledger. Events go in from any thread and leave when a receiver acknowledged them.

`put` runs in the application's threads and takes no lock. One intake thread moves what the inbox holds into the
backlog; one sender thread per connection delivers from there. `_lock` guards the backlog and the flush requests,
and is held for moments, never during I/O; `_starting` lets one thread start the others and is never waited for;
`_closing` lets one thread close.

Threads begin with the first `put` in a process, also in a forked child, which begins with nothing: what the
parent accepted, the parent delivers. Where no thread can be started (CPython 3.12 refuses while it exits),
`flush` and `close` deliver in the thread that calls them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self, Unpack

from beats_core import native
from beats_core.backlog import Backlog, DeadLetter
from beats_core.crew import Crew
from beats_core.envelope import Envelope, Event
from beats_core.errors import EventTooLarge
from beats_core.forks import after_fork, renew_if_forked
from beats_core.inbox import Inbox, Refusals
from beats_core.intake import Flush, Intake, Word
from beats_core.last_words import say_undelivered
from beats_core.lifecycle import finish_with_multiprocessing, join, lock_timeout, look_after, signals_blocked
from beats_core.options import Options, OptionValues
from beats_core.stats import Stats
from beats_core.surroundings import THREADS_NEVER_RUN, is_about_to_fork, refuse_subinterpreters, threads_never_run

_logger = logging.getLogger("beats_core.shipper")

_RETRY_START = 1.0  # seconds after no thread could be started
_HERE_AT_MOST = 1.0  # seconds that a put may take to deliver, where no thread runs
_HERE_PAUSE = 9  # times as long as it took in vain, before it is tried again
_JUST_NOW = 1.0  # seconds since somebody waited in vain for acks, in which nobody waits again


class Shipper:
    """Ships events in the background to one of several receivers, or to all of them in turn. Any thread.

    Accepted events are held in memory, at most `queue_mem_bytes` of them, until a receiver acknowledged them; after a
    lost connection they are sent again, so that a receiver may get some of them twice, with the same `@metadata._id`.

    Args:
        hosts: `name:port`, or several; None leaves them to the environment, as with every option that is not given.
        options: Options that are made already, instead of the other arguments and of the environment.
        **values: See `Options`.

    Raises:
        OptionError: An option is wrong, or a certificate cannot be read.
    """

    def __init__(
        self,
        hosts: Sequence[str] | str | None = None,
        *,
        options: Options | None = None,
        **values: Unpack[OptionValues],
    ) -> None:
        self.options = options or Options.load(hosts=hosts, **values)
        self._envelope = Envelope(self.options)
        refuse_subinterpreters()
        self._closed = False
        self._users = 0
        self._begin()
        look_after(self)

    def _begin(self) -> None:
        """Start from nothing: at construction, and in a child after fork."""
        self._inbox: Inbox[Flush | Word] = Inbox(self.options.queue_mem_bytes)
        self._refusals = Refusals()
        self._backlog = Backlog(self.options.bulk_max_size, self.options.bulk_max_bytes, self.options.flush_interval)
        self._lock = native.RLock()
        self._starting = native.Lock()
        self._closing = threading.RLock()
        if self._closed:  # by the parent of this process
            self._inbox.close()
        self._intake = Intake(
            self._inbox,
            self._backlog,
            self._lock,
            refusals=self._refusals,
            gather_time=self.options.flush_interval,
            wake_senders=lambda: crew.wake(),  # noqa: PLW0108 - made below; `self` would keep the shipper alive
        )
        self._crew = crew = Crew(self.options, self._backlog, self._lock, on_settled=self._intake.settle)
        self._intake_thread: native.Thread | None = None
        self._started = False
        self._told = 0.0  # how many undelivered events the application was told of
        self._start_again_at = 0.0
        self._waited_in_vain_at = -_JUST_NOW

    def __del__(self) -> None:
        """Deliver what is left, and end the threads: nobody refers to this any more, so nobody will close it."""
        if hasattr(self, "_crew") and not self._closed and (self._started or not self._is_settled()):
            _dropped.append(self)
            look_after(self)  # again: a finaliser may come after the weak references are gone
            with suppress(RuntimeError):  # no thread can be started, and nothing may wait here: then at the end
                native.start_from_finaliser(self._end_at_leisure, "beats-shipper")

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @classmethod
    def shared(cls, options: Options) -> Shipper:
        """Return the one shipper of this process with these options, making it if there is none. Any thread.

        Each caller that is done calls `release()` instead of `close()`.
        """
        renew_if_forked()
        with _shared_lock:
            shipper = _shared.get(options)
            if shipper is None or shipper.closed:
                shipper = _shared[options] = cls(options=options)
            shipper._users += 1
        _close_unused()
        return shipper

    def release(self, timeout: float | None = None) -> None:
        """Give back what `shared` returned: flush, and close when nobody uses it and everything is settled.

        What is not goes on in the background, for whoever asks for equal options next, or until the process ends.
        """
        renew_if_forked()
        with _shared_lock:
            self._users -= 1
        self.flush(timeout)
        _close_unused()
        if self._users <= 0 and _shared.get(self.options) is not self:  # closed just now, or never shared
            self.close(timeout)

    @property
    def closed(self) -> bool:
        """True from the call of `close()`: nothing more is accepted."""
        return self._closed

    def put(self, event: Event, level: int = 20) -> bool:
        """Accept an event for delivery, or refuse and count it. Any thread; never raises, never waits.

        A mapping is encoded now, so it may change afterwards, and gets `@timestamp`, if it has none, and `@metadata`:
        `beat`, `type`, `version`, and a unique `_id`, by which Elasticsearch tells a repetition. What its own
        `@metadata` says stands. Ready JSON is shipped as it is.

        Args:
            event: A mapping, or one JSON object as str or bytes.
            level: As in `logging`; events of ERROR and above may use the last tenth of the memory.

        Returns:
            True if it was accepted. False if there was no room, it was too large, no event at all, or the shipper
            is closed; `stats().dropped` says which. One that is too large is accepted with `on_too_large="truncate"`,
            if shortening its texts helps, and with "dead_letter", which counts it in `stats().dead`. False, and not
            counted, with `enabled=False`.
        """
        if not self.options.enabled:
            return False
        try:
            renew_if_forked()
            try:
                payload = self._envelope.seal(event)
            except EventTooLarge as large:
                if self.options.on_too_large != "dead_letter":
                    return self._refuse("too_large")
                payload = DeadLetter(large.head, str(large))
            accepted = self._inbox.put(payload, level)
        except (TypeError, ValueError):
            return self._refuse("invalid")
        except Exception:  # noqa: BLE001 - whatever a mapping's own methods raise
            return self._refuse("failed")
        if not accepted:
            return self._refuse("closed" if self._closed else "full")
        if not self._started:
            self._start()
        return True

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything accepted so far is acknowledged. Any thread but one inside `put`.

        Args:
            timeout: Seconds to wait; None takes `shutdown_timeout`.

        Returns:
            True if it is; False if time ran out, or an event was lost meanwhile.
        """
        renew_if_forked()
        delivered = self._flush(self._deadline(timeout))
        if not delivered and timeout is None:
            self._waited_in_vain_at = monotonic()
        return delivered

    def close(self, timeout: float | None = None) -> Stats:
        """Accept nothing more, deliver what is accepted, and end the threads. Any thread; may be called again.

        Args:
            timeout: Seconds to wait for acks; None takes `shutdown_timeout`.

        Returns:
            What became of everything. What was not acknowledged in time is counted in `dropped["shutdown"]`.
        """
        renew_if_forked()
        lost = self._close(self._deadline(timeout))
        stats = self.stats()
        if lost:
            self._told = stats.undelivered
            _say("%d events were not acknowledged before the end and are lost", lost)
        return stats

    def finish(self, began: float, *, close: bool) -> None:
        """Deliver what can be delivered before the process ends, which began at `began` (monotonic).

        Called by itself wherever Python runs its exit handlers. Without `close` it stays open if it delivered all.
        """
        deadline = self._deadline(None, began)
        if close or not self._flush(deadline):
            self._close(deadline)
        stats = self.stats()
        if stats.undelivered > self._told:
            self._told = inf  # nothing more, ever
            say_undelivered(stats, self.options.addresses)

    def stats(self) -> Stats:
        """Return a snapshot. Any thread."""
        renew_if_forked()
        with self._lock:
            backlog = self._backlog
            accepted = self._inbox.accepted
            dropped = {reason: number for reason, number in self._refusals.counts.items() if number}
            return Stats(
                accepted=accepted,
                acked=backlog.acked,
                resent=backlog.resent,
                dropped=dropped | dict(backlog.dropped),
                dead=backlog.dead,
                inbox=accepted - backlog.appended,
                pending=backlog.pending,
                in_flight=backlog.in_flight,
                waiting_bytes=self._inbox.waiting_bytes,
                acked_bytes=backlog.acked_bytes,
                last_ack=self._crew.last_ack,
                hosts=self._crew.stats(),
            )

    def _flush(self, deadline: float) -> bool:
        if not self._started:
            self._deliver_here(deadline)
        if self._started:
            return self._intake.flush().wait(deadline - monotonic())
        return self._inbox.accepted == self._backlog.acked

    def _close(self, deadline: float) -> int:
        """Return how many events are lost by it."""
        self._closed = True
        self._inbox.close()
        if not self._closing.acquire(timeout=lock_timeout(deadline)):
            return 0  # another thread is at it, and waits longer
        try:
            self._deliver_here(deadline)
            self._end_threads(deadline)
            return self._intake.end()
        finally:
            self._closing.release()

    def _deadline(self, timeout: float | None, began: float | None = None) -> float:
        """Return until when to wait: not again, where `shutdown_timeout` has just passed in vain.

        When a program ends, logging and loguru flush and close each handler, and then it is our turn.
        """
        if timeout is None:
            just_now = monotonic() - self._waited_in_vain_at < _JUST_NOW
            timeout = 0.0 if just_now else self.options.shutdown_timeout
        return (monotonic() if began is None else began) + timeout

    def _refuse(self, reason: str) -> bool:
        if self._refusals.add(reason):
            self._inbox.mark(Word.REFUSING)
        return False

    def _start(self) -> None:
        """Start the threads of this process, unless somebody is at it already."""
        if monotonic() < self._start_again_at or not self._starting.acquire(blocking=False):
            return
        try:
            if self._started or self._closed:
                return
            if is_about_to_fork() or threads_never_run():
                self._deliver_some()
                return
            with signals_blocked():
                thread = native.new_thread(self._intake.run, "beats-shipper")
                thread.start()
            self._intake_thread = thread
            self._crew.start()
            self._started = True
            finish_with_multiprocessing()
        except (RuntimeError, OSError) as error:  # no thread, or no descriptor
            self._start_again_at = monotonic() + _RETRY_START
            self._end_threads(monotonic())
            _say("no thread can be started, events wait for flush() or close(): %s", error)
        finally:
            self._starting.release()

    def _deliver_some(self) -> None:
        """Deliver in the thread that puts, for a tenth of its time at most while nobody acknowledges."""
        if threads_never_run():
            _say_once(THREADS_NEVER_RUN)
        began = monotonic()
        while self._inbox.accepted > self._backlog.appended and monotonic() < began + _HERE_AT_MOST:
            self._intake.move(self._inbox.drain())
            self._crew.deliver_some(began + _HERE_AT_MOST)
        if self._backlog.settled < self._inbox.accepted:
            now = monotonic()
            self._start_again_at = now + _HERE_PAUSE * (now - began)

    def _end_at_leisure(self) -> None:
        self.flush(inf)
        self.close()
        _dropped.remove(self)

    def _is_settled(self) -> bool:
        return self._inbox.accepted == self._backlog.settled

    def _deliver_here(self, deadline: float) -> None:
        """Deliver what was accepted in the calling thread, if no other was started; wait for a start under way."""
        if not self._starting.acquire(timeout=lock_timeout(deadline)):
            return
        try:
            if self._started or self._is_settled():
                return
            self._intake.move(self._inbox.drain())
            self._crew.deliver(deadline)
        except OSError as error:  # no descriptor
            _say("events cannot be delivered: %s", error)
        finally:
            self._starting.release()

    def _end_threads(self, deadline: float) -> None:
        """Have the intake thread finish, then the senders, by `deadline`; one that is stuck is left to the daemons."""
        thread, self._intake_thread = self._intake_thread, None
        if thread is not None:
            self._inbox.mark(Word.STOP)
            join([thread], deadline)
        self._crew.stop(deadline)

    def begin_anew(self) -> None:
        """Forget everything, in a child after fork: the parent delivers what it accepted, on its own connections.

        Called by itself wherever Python runs its fork hooks.
        """
        self._crew.abandon()
        self._begin()


_shared: dict[Options, Shipper] = {}
_shared_lock = threading.Lock()
_dropped: list[Shipper] = []  # those that nobody else refers to, until they have ended


def _close_unused() -> None:
    """Close the shared shippers that nobody uses any more and that have nothing left to deliver."""
    with _shared_lock:
        unused = [shipper for shipper in _shared.values() if shipper._users <= 0 and shipper._is_settled()]  # noqa: SLF001 - this room's
        for shipper in unused:
            del _shared[shipper.options]
    for shipper in unused:
        shipper.close()


def _say(text: str, argument: object) -> None:
    with suppress(Exception):  # a handler's, with which the application logs this
        _logger.warning(text, argument)


@cache
def _say_once(text: str) -> None:
    _say("%s", text)


def _renew_shared_lock() -> None:
    global _shared_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _shared_lock = threading.Lock()


after_fork(_renew_shared_lock)
