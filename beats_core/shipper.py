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
import os
import threading
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from itertools import count
from time import monotonic
from types import TracebackType
from typing import Self, Unpack

from beats_core.backlog import Backlog
from beats_core.encoding import encode_event
from beats_core.errors import EventTooLarge
from beats_core.inbox import Inbox, Refusals
from beats_core.intake import Flush, Intake, Word
from beats_core.lifecycle import finish_with_multiprocessing, join, lock_timeout, look_after, signals_blocked
from beats_core.options import Options, OptionValues
from beats_core.sender import Sender
from beats_core.stats import Stats
from beats_core.version import VERSION

_logger = logging.getLogger("beats_core.shipper")

Event = Mapping[str, object] | str | bytes

_RETRY_START = 1.0  # seconds after no thread could be started
_JUST_NOW = 1.0  # seconds since somebody waited in vain for acks, in which nobody waits again


class Shipper:
    """Ships events in the background to one of several receivers, or to all of them in turn. Any thread.

    Accepted events are held in memory, at most `queue_mem_bytes` of them, until a receiver acknowledged them; after a
    lost connection they are sent again, so that a receiver may get some of them twice, with the same `@metadata._id`.

    Args:
        hosts: `name:port`, or several.
        options: Options that are made already, instead of the other arguments.
        **values: See `Options`.

    Raises:
        OptionError: An option is wrong, or a certificate cannot be read.
    """

    def __init__(
        self,
        hosts: Sequence[str] | str = "localhost:5044",
        *,
        options: Options | None = None,
        **values: Unpack[OptionValues],
    ) -> None:
        self.options = options or Options(hosts=hosts, **values)
        self._closed = False
        self._users = 0
        self._begin()
        look_after(self)

    def _begin(self) -> None:
        """Start from nothing: at construction, and in a child after fork."""
        self._inbox: Inbox[Flush | Word] = Inbox(self.options.queue_mem_bytes)
        self._refusals = Refusals()
        self._backlog = Backlog(self.options.bulk_max_size, self.options.bulk_max_bytes, self.options.flush_interval)
        self._lock = threading.RLock()
        self._starting = threading.Lock()
        self._closing = threading.RLock()
        if self._closed:  # by the parent of this process
            self._inbox.close()
        self._intake = Intake(
            self._inbox,
            self._backlog,
            self._lock,
            refusals=self._refusals,
            gather_time=self.options.flush_interval,
            wake_senders=self._wake_senders,
        )
        self._senders: list[Sender] = []
        self._threads: list[threading.Thread] = []
        self._started = False
        self._start_again_at = 0.0
        self._waited_in_vain_at = -_JUST_NOW
        # Unique per process: 12 random bytes, then a count.
        self._ids = map(f"{urlsafe_b64encode(os.urandom(12)).decode()}{{:x}}".format, count())
        self._metadata = {"beat": self.options.index, "type": "_doc", "version": VERSION}

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
        with _shared_lock:
            shipper = _shared.get(options)
            if shipper is None or shipper.closed:
                shipper = _shared[options] = cls(options=options)
            shipper._users += 1
            return shipper

    def release(self, timeout: float | None = None) -> None:
        """Give back what `shared` returned: flush, and close when nobody else uses it."""
        with _shared_lock:
            self._users -= 1
            last = self._users <= 0
            if last and _shared.get(self.options) is self:
                del _shared[self.options]
        if last:
            self.close(timeout)
        else:
            self.flush(timeout)

    @property
    def closed(self) -> bool:
        """True from the call of `close()`: nothing more is accepted."""
        return self._closed

    def put(self, event: Event, level: int = 20) -> bool:
        """Accept an event for delivery, or refuse and count it. Any thread; never raises, never waits.

        A mapping is encoded now, so it may change afterwards, and gets `@timestamp`, if it has none, and `@metadata`
        with a unique `_id`, by which Elasticsearch tells a repetition. Ready JSON is shipped as it is.

        Args:
            event: A mapping, or one JSON object as str or bytes.
            level: As in `logging`; events of ERROR and above may use the last tenth of the memory.

        Returns:
            True if it was accepted. False if there was no room, it was too large, no event at all, or the shipper
            is closed; `stats().dropped` says which.
        """
        try:
            # A copy has exactly the bytes it needs; the encoder's own result keeps a third more.
            payload = b"%b" % encode_event(self._dress(event), self.options.max_event_bytes)
            accepted = self._inbox.put(payload, level)
        except EventTooLarge:
            return self._refuse("too_large")
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
        self._close(self._deadline(timeout))
        return self.stats()

    def finish(self, began: float, *, close: bool) -> None:
        """Deliver what can be delivered before the process ends, which began at `began` (monotonic).

        Called by itself wherever Python runs its exit handlers. Without `close` it stays open if it delivered all.
        """
        deadline = self._deadline(None, began)
        if close or not self._flush(deadline):
            self._close(deadline)

    def stats(self) -> Stats:
        """Return a snapshot. Any thread."""
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
                last_ack=max((at for sender in self._senders if (at := sender.last_ack)), default=None),
                hosts={host: stats for sender in self._senders for host, stats in sender.stats.items()},
            )

    def _dress(self, event: Event) -> Event:
        """Return a mapping with `@timestamp` and `@metadata`; ready JSON as it is."""
        if type(event) is not dict and not isinstance(event, Mapping):
            return event
        metadata: dict[str, object] = {**self._metadata, "_id": next(self._ids)}
        own = event.get("@metadata")
        if isinstance(own, Mapping):
            metadata.update(own)
        if "@timestamp" in event:
            return {**event, "@metadata": metadata}
        return {"@timestamp": _now(), **event, "@metadata": metadata}

    def _flush(self, deadline: float) -> bool:
        if not self._started:
            self._deliver_here(deadline)
        if self._started:
            return self._intake.flush().wait(deadline - monotonic())
        return self._inbox.accepted == self._backlog.acked

    def _close(self, deadline: float) -> None:
        self._closed = True
        self._inbox.close()
        with self._closing:
            self._deliver_here(deadline)
            self._end_threads(deadline)
            lost = self._intake.end()
        if lost:
            _say("%d events were not acknowledged before the end and are lost", lost)

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
            hosts = self.options.hosts
            self._open_senders([[host] for host in hosts] if self.options.loadbalance else [hosts])
            with signals_blocked():
                for body in (self._intake.run, *(sender.run for sender in self._senders)):
                    thread = threading.Thread(target=body, name="beats-shipper", daemon=True)
                    thread.start()
                    self._threads.append(thread)
            self._started = True
            finish_with_multiprocessing()
        except (RuntimeError, OSError) as error:  # no thread, or no descriptor
            self._start_again_at = monotonic() + _RETRY_START
            self._end_threads(monotonic())
            _say("no thread can be started, events wait for flush() or close(): %s", error)
        finally:
            self._starting.release()

    def _open_senders(self, groups: Sequence[Sequence[str]]) -> None:
        self._senders = [
            Sender(
                group,
                self.options,
                self._backlog,
                self._lock,
                on_settled=self._intake.settle,
                wake_others=self._wake_senders,
            )
            for group in groups
        ]

    def _wake_senders(self) -> None:
        for sender in self._senders:
            sender.wake()

    def _deliver_here(self, deadline: float) -> None:
        """Deliver what was accepted in the calling thread, if no other was started; wait for a start under way."""
        if not self._starting.acquire(timeout=lock_timeout(deadline)):
            return
        try:
            if self._started or self._inbox.accepted == self._backlog.settled:
                return
            self._open_senders([self.options.hosts])  # one for all hosts: several would have to run in turn
            self._intake.move(self._inbox.drain())
            for sender in self._senders:
                sender.stop(deadline)
                sender.run()
                sender.close()
        except OSError as error:  # no descriptor
            _say("events cannot be delivered: %s", error)
        finally:
            self._starting.release()

    def _end_threads(self, deadline: float) -> None:
        """Have the intake thread finish, then the senders, by `deadline`; one that is stuck is left to the daemons."""
        if self._threads:
            self._inbox.mark(Word.STOP)
        join(self._threads[:1], deadline)
        for sender in self._senders:
            sender.stop(deadline)
        join(self._threads[1:], deadline)
        self._threads = []
        for sender in self._senders:
            sender.close()

    def begin_anew(self) -> None:
        """Forget everything, in a child after fork: the parent delivers what it accepted, on its own connections.

        Called by itself wherever Python runs its fork hooks.
        """
        for sender in self._senders:
            sender.abandon()
        self._begin()


_shared: dict[Options, Shipper] = {}
_shared_lock = threading.Lock()


def _say(text: str, argument: object) -> None:
    with suppress(Exception):  # a handler's, with which the application logs this
        _logger.warning(text, argument)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _renew_shared_lock() -> None:
    global _shared_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _shared_lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_shared_lock)
