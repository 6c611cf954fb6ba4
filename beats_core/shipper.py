"""The shipper: threads around the ledger. Events go in from any thread and leave when a receiver acknowledged them.

`put` runs in the application's threads and takes no lock. One intake thread moves what the inbox holds into the
backlog, through the spool if there is one; one sender thread per connection delivers from there. All of these are in
`delivery`; here is what an application sees, and when it begins and ends.

Threads begin with the first `put` in a process, also in a forked child, which begins with nothing: what the
parent accepted, the parent delivers. Where no thread can be started (CPython 3.12 refuses while it exits),
`flush` and `close` deliver in the thread that calls them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from math import inf
from time import monotonic
from types import TracebackType
from typing import Self, Unpack

from beats_core import native
from beats_core.admission import open_spool
from beats_core.backlog import DeadLetter
from beats_core.delivery import Delivery, say
from beats_core.envelope import Envelope, Event
from beats_core.errors import EventTooLarge, SpoolError
from beats_core.forks import after_fork, renew_if_forked
from beats_core.last_words import say_undelivered
from beats_core.lifecycle import look_after, signals_blocked
from beats_core.options import Options, OptionValues
from beats_core.stats import Stats
from beats_core.surroundings import refuse_subinterpreters

_JUST_NOW = 1.0  # seconds since somebody waited in vain for acks, in which nobody waits again


class Shipper:
    """Ships events in the background to one of several receivers, or to all of them in turn. Any thread.

    Accepted events are held in memory, at most `queue_mem_bytes` of them, or on disk (`spool`), until a receiver
    acknowledged them; after a lost connection they are sent again, so that a receiver may get some of them twice, with
    the same `@metadata._id`.

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
        self._told = 0.0  # how many undelivered events the application was told of
        self._waited_in_vain_at = -_JUST_NOW
        self._delivery = Delivery(self.options, open_spool(self.options))
        look_after(self)

    def __del__(self) -> None:
        """Deliver what is left, and end the threads: nobody refers to this any more, so nobody will close it."""
        delivery: Delivery | None = getattr(self, "_delivery", None)  # none, if an option was wrong
        if delivery is not None and not self._closed and (delivery.started or not delivery.settled):
            _dropped.append(self)
            look_after(self)  # again: a finaliser may come after the weak references are gone
            # Where no thread can be started it is done at the end: nothing may wait here.
            with suppress(RuntimeError), signals_blocked():
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
        """Accept an event for delivery, or refuse and count it. Any thread; never raises.

        It never waits for a receiver, unless `on_full="block"` has it wait for room; nor for a disk, unless
        `durability="journal"` has it write there.

        A mapping is encoded now, so it may change afterwards, and gets `@timestamp`, if it has none, and `@metadata`:
        `beat`, `type`, `version`, and a unique `_id`, by which Elasticsearch tells a repetition. What its own
        `@metadata` says stands. Ready JSON is shipped as it is.

        Args:
            event: A mapping, or one JSON object as str or bytes.
            level: As in `logging`; events from `keep_level` on may use the last tenth of the memory, and are given
                up last.

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
            delivery = self._delivery
            try:
                payload = self._envelope.seal(event)
                accepted = delivery.admission.put(payload, level)
            except EventTooLarge as large:
                if self.options.on_too_large != "dead_letter":
                    return self._refuse("too_large")
                payload = DeadLetter(large.head, str(large))
                accepted = delivery.bury(payload, level)
        except (TypeError, ValueError):
            return self._refuse("invalid")
        except SpoolError:
            return self._refuse("disk")
        except Exception:  # noqa: BLE001 - whatever a mapping's own methods raise
            return self._refuse("failed")
        if not accepted:
            if not self._closed:
                return self._refuse("full")
            return delivery.admission.put_late(payload) or self._refuse("closed")
        if not delivery.started:
            delivery.start()
        return True

    def flush(self, timeout: float | None = None, *, durable: bool = False) -> bool:
        """Wait until everything accepted so far is acknowledged. Any thread but one inside `put`.

        Args:
            timeout: Seconds to wait; None takes `shutdown_timeout`.
            durable: Wait only until it is acknowledged or on disk, so that a loss of power does not lose it.

        Returns:
            True if it is; False if time ran out, or an event was lost meanwhile, or there is no spool to be durable.
        """
        renew_if_forked()
        if durable and not self._delivery.durable:
            return False
        delivered = self._delivery.flush(self._deadline(timeout), durable=durable)
        if not delivered and timeout is None:
            self._waited_in_vain_at = monotonic()
        return delivered

    def close(self, timeout: float | None = None) -> Stats:
        """Accept nothing more, deliver what is accepted, and end the threads. Any thread; may be called again.

        Args:
            timeout: Seconds to wait for acks; None takes `shutdown_timeout`.

        Returns:
            What became of everything. What was not acknowledged in time is `spooled`, or without a spool counted in
            `dropped["shutdown"]`.
        """
        renew_if_forked()
        lost = self._close(self._deadline(timeout))
        stats = self.stats()
        if lost:
            self._told = stats.undelivered
            say("%d events were not acknowledged before the end and are lost", lost)
        return stats

    def finish(self, began: float, *, close: bool) -> None:
        """Deliver what can be delivered before the process ends, which began at `began` (monotonic).

        Called by itself wherever Python runs its exit handlers. Without `close` it stays open if it delivered all.
        """
        deadline = self._deadline(None, began)
        if close or not self._delivery.flush(deadline):
            self._close(deadline)
        stats = self.stats()
        if stats.undelivered > self._told:
            self._told = inf  # nothing more, ever
            say_undelivered(stats, self.options.addresses)

    def stats(self) -> Stats:
        """Return a snapshot. Any thread."""
        renew_if_forked()
        return self._delivery.stats()

    def dead_letters(self) -> list[DeadLetter]:
        """Return the newest events that are not to be sent, at most 16, with the reason. Any thread.

        Each is its payload, which `put()` accepts; with a spool, all of them are in its `dead-letters.ndjson`.
        """
        renew_if_forked()
        return self._delivery.dead_letters()

    def _deadline(self, timeout: float | None, began: float | None = None) -> float:
        """Return until when to wait: not again, where `shutdown_timeout` has just passed in vain.

        When a program ends, logging and loguru flush and close each handler, and then it is our turn.
        """
        if timeout is None:
            just_now = monotonic() - self._waited_in_vain_at < _JUST_NOW
            timeout = 0.0 if just_now else self.options.shutdown_timeout
        return (monotonic() if began is None else began) + timeout

    def _close(self, deadline: float) -> int:
        """Return how many events are lost by it."""
        self._closed = True
        self._delivery.accept_nothing()
        return self._delivery.end(deadline)

    def _refuse(self, reason: str) -> bool:
        self._delivery.refuse(reason)
        return False

    def _end_at_leisure(self) -> None:
        self.flush(inf)
        self.close()
        _dropped.remove(self)

    def begin_anew(self) -> None:
        """Forget everything, in a child after fork: the parent delivers what it accepted, on its own connections.

        Called by itself wherever Python runs its fork hooks.
        """
        self._delivery = self._delivery.begin_anew()
        self._told = 0.0
        self._waited_in_vain_at = -_JUST_NOW


_shared: dict[Options, Shipper] = {}
_shared_lock = threading.Lock()
_dropped: list[Shipper] = []  # those that nobody else refers to, until they have ended


def _close_unused() -> None:
    """Close the shared shippers that nobody uses any more and that have nothing left to deliver."""
    with _shared_lock:
        unused = [shipper for shipper in _shared.values() if shipper._users <= 0 and shipper._delivery.settled]  # noqa: SLF001 - this room's
        for shipper in unused:
            del _shared[shipper.options]
    for shipper in unused:
        shipper.close()


def _renew_shared_lock() -> None:
    global _shared_lock  # noqa: PLW0603 - another thread of the parent may have held it
    _shared_lock = threading.Lock()


after_fork(_renew_shared_lock)
