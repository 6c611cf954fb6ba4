"""One thread per connection: connect, back off, lease, send, await acks, settle or give back.

A sender alone touches its client. It shares the backlog, under `lock`, with the intake thread and the other
senders; it never holds the lock while it does I/O. It waits in one place, `_pause`, for whichever comes first:
its socket, a wake-up, or the time.
"""

from __future__ import annotations

import logging
import random
import select
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from math import ceil
from time import monotonic, time
from typing import Any

from beats_core.backlog import Backlog
from beats_core.client import Client
from beats_core.errors import ConnectionLost
from beats_core.frames import Batch
from beats_core.options import Options
from beats_core.stats import HostStats

_logger = logging.getLogger("beats_core.sender")

_LEAST_WAIT = 0.1  # seconds; the second wait of a back-off that begins with none
_LONGEST = 86_400.0  # seconds of one sleep; poll takes no more than 2**31 milliseconds


class Backoff:
    """How long to wait before the next try: doubling, with equal jitter, as Filebeat does (common/backoff)."""

    def __init__(self, init: float, longest: float, jitter: Callable[[], float] = random.random) -> None:
        self._init = init
        self._longest = max(longest, _LEAST_WAIT)
        self._jitter = jitter
        self._next = init

    def reset(self) -> None:
        """Begin anew: the receiver acknowledged something. To be connected proves nothing."""
        self._next = self._init

    def wait_time(self) -> float:
        """Return the seconds to wait now, half of them certain; the next wait is twice as long."""
        current = min(self._next, self._longest)
        self._next = min(2 * self._next or _LEAST_WAIT, self._longest)
        return current / 2 + self._jitter() * current / 2


class Sender:
    """Moves batches from the backlog to one receiver at a time.

    Args:
        hosts: In order of preference. The first is tried again after each loss of a line that worked.
        options: The shipper's.
        backlog: Shared with others; guarded by `lock`.
        lock: Held only for calls of the backlog.
        on_settled: Called in the sender's thread with the lock held, after events were settled.
        wake_others: Called in the sender's thread without the lock, when there is something for the others to see.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        options: Options,
        backlog: Backlog,
        lock: AbstractContextManager[object],
        *,
        on_settled: Callable[[], None],
        wake_others: Callable[[], None],
    ) -> None:
        self.stats = {host: HostStats() for host in hosts}
        # The context was made when the options were: one reading of the files for all connections.
        self._targets = [replace(options, hosts=(host,), ssl=options.ssl_context) for host in hosts]
        self._options = options
        self._backlog = backlog
        self._lock = lock
        self._on_settled = on_settled
        self._wake_others = wake_others
        self._backoff = Backoff(options.backoff_init, options.backoff_max)
        self._turn = 0
        self._client: Client | None = None
        self._leased: list[Batch] = []
        self.last_ack: float | None = None  # by the wall clock
        self._in_trouble = False
        self._deadline: float | None = None  # monotonic; set by `stop`
        self._asleep = False
        self._running = False
        self._released = False
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    def wake(self) -> None:
        """Have it look at the backlog again, if it sleeps. Any thread."""
        if self._asleep:
            self._asleep = False
            self._ring()

    def stop(self, deadline: float) -> None:
        """Have `run` return when nothing is left to send, or at `deadline` (monotonic). Any thread."""
        self._deadline = deadline
        self._ring()

    def abandon(self) -> None:
        """Close this process's copies of all descriptors, after fork in the child. The parent goes on."""
        if self._client is not None:
            self._client.abandon()
        self._close_bell()

    def run(self) -> None:
        """Deliver until `stop`; the body of the sender's thread. Survives every exception."""
        self._running = True
        try:
            while True:
                try:
                    if not self._wait_for_work():
                        return
                    self._deliver()
                except Exception:
                    with suppress(Exception):  # also one of a handler, with which the application logs this
                        _logger.exception("the sender failed and begins anew")
                    self._give_back(refused=False)
                    self._rest(self._backoff.wait_time())
        finally:
            self._running = False
            if self._released:
                self._close_bell()

    def close(self) -> None:
        """Release the descriptors; as soon as `run` has returned, if it is under way."""
        self._released = True
        if not self._running:
            self._close_bell()

    def _wait_for_work(self) -> bool:
        """Sleep until there is something to take; False when it is time to end."""
        while True:
            self._asleep = True  # before looking: what comes after the look rings
            now = monotonic()
            with self._lock:
                wait = self._backlog.wait_time(now)
                empty = wait is None and not self._backlog.in_flight
            if self._deadline is not None and (empty or now >= self._deadline):
                return False
            if wait is not None and wait <= 0:
                self._asleep = False
                return True
            self._pause(_sooner(wait, None if self._deadline is None else self._deadline - now))

    def _deliver(self) -> None:
        """Connect to the next host and deliver until the line is lost or there is nothing more to do."""
        target = self._targets[self._turn % len(self._targets)]
        (host,) = target.hosts
        acked_before = self.stats[host].acked
        self._client = client = Client(options=target)
        connected = False
        try:
            client.connect(None if self._deadline is None else max(0.01, self._deadline - monotonic()))
            connected = True
            self._note(host, connected=True, connections=self.stats[host].connections + 1)
            self._drive(client, host)
            return
        except ConnectionLost as lost:
            self._note(host, error=lost.reason)
            worked = self.stats[host].acked > acked_before
            idle = connected and not len(lost.unacked)  # the receiver closed a line that had nothing to do
            self._give_back(refused=_is_refusal(lost))
            self._report_loss(host, lost, trouble=not worked and not idle)
        finally:
            client.close()
            self._note(host, connected=False)
        if worked:
            self._turn = 0
        if worked or idle:
            return
        self._turn += 1
        if self._turn % len(self._targets) == 0:
            self._rest(self._backoff.wait_time())

    def _drive(self, client: Client, host: str) -> None:
        """Keep the line busy: post what may be posted, sleep, settle. Returns when it is time to end."""
        while True:
            self._asleep = True
            wait = self._fill(client)
            now = monotonic()
            if self._deadline is not None:
                if now >= self._deadline or (not client.in_flight and self._all_settled()):
                    self._give_back(refused=False)
                    return
                wait = _sooner(wait, self._deadline - now)
            self._pause(_sooner(wait, client.ack_due), client.fileno())
            self._asleep = False
            # Until there is nothing more: an end of the connection that came with the last ack shows at the next look.
            while acked := client.read_acks(at_most=0):
                self._settle(acked, host)

    def _fill(self, client: Client) -> float | None:
        """Post windows while there is room in flight; return the seconds until there may be another, None if never."""
        while client.in_flight < (1 if client.slow else self._options.pipelining):
            now = monotonic()
            with self._lock:
                batch = self._backlog.take(now, self._leased)
                if batch is None:
                    return self._backlog.wait_time(now, self._leased)
                self._leased.append(batch)
            client.post(batch)
        return None

    def _settle(self, acked: list[tuple[Batch, int]], host: str) -> None:
        with self._lock:
            for batch, count in acked:
                self._backlog.ack(batch, count)
            self._leased = [batch for batch in self._leased if self._backlog.is_leased(batch)]
            self._on_settled()
        if self._deadline is not None:
            self._wake_others()  # they wait for what is in flight here, to end
        self._backoff.reset()
        self.last_ack = time()
        self._note(host, acked=self.stats[host].acked + sum(count for _, count in acked))
        if self._in_trouble:
            self._in_trouble = False
            _logger.warning("delivering to %s again", host)

    def _give_back(self, *, refused: bool) -> None:
        with self._lock:
            self._leased = [batch for batch in self._leased if self._backlog.is_leased(batch)]
            while self._leased:
                batch = self._leased[0]
                untouched = self._backlog.left(batch) == len(batch)
                # Only the oldest window was being worked on, so only that one can be what the peer refused.
                self._backlog.put_back(batch, refused=refused and untouched)
                del self._leased[0]  # not before: what fails on the way is tried again
                refused = False
            self._on_settled()  # one of them may be dead
        self._wake_others()

    def _all_settled(self) -> bool:
        with self._lock:
            return not self._backlog.pending and not self._backlog.in_flight

    def _rest(self, seconds: float) -> None:
        """Wait before the next try; new events do not shorten it, the end of the program does, once."""
        until = monotonic() + seconds
        stopping = self._deadline is not None
        while (now := monotonic()) < until:
            if self._deadline is not None:
                if not stopping or now >= self._deadline:
                    return
                until = min(until, self._deadline)
            self._pause(until - now)

    def _pause(self, seconds: float | None, line: int = -1) -> None:
        """Sleep until the line is readable, somebody rings, or the time is up; None sleeps for ever."""
        seconds = _sooner(seconds, None if seconds is None else _LONGEST)
        descriptors = [self._wake_reader.fileno(), *([line] if line >= 0 else [])]
        if hasattr(select, "poll"):
            poll = select.poll()
            for descriptor in descriptors:
                poll.register(descriptor, select.POLLIN)
            # Rounded up: a wait that ends too early is a wait in a loop.
            rung = bool(poll.poll(None if seconds is None else max(0, ceil(seconds * 1000))))
        else:  # Windows
            rung = bool(select.select(descriptors, [], [], None if seconds is None else max(0.0, seconds))[0])
        if rung:
            with suppress(OSError):
                self._wake_reader.recv(1024)

    def _ring(self) -> None:
        with suppress(OSError):  # full: it rings already; closed: nobody is there any more
            self._wake_writer.send(b"\0")

    def _close_bell(self) -> None:
        self._wake_reader.close()
        self._wake_writer.close()

    def _note(self, host: str, **changes: Any) -> None:
        self.stats[host] = replace(self.stats[host], **changes)

    def _report_loss(self, host: str, lost: ConnectionLost, *, trouble: bool) -> None:
        """Say it once per trouble. A line that worked, or one that is idle, may end."""
        if not trouble:
            _logger.info("%s: %s", host, lost)
        elif not self._in_trouble:
            self._in_trouble = True
            _logger.warning("%s: %s; trying on", host, lost)


def _sooner(first: float | None, second: float | None) -> float | None:
    """Return the shorter of two waits; None is for ever."""
    return min((seconds for seconds in (first, second) if seconds is not None), default=None)


def _is_refusal(lost: ConnectionLost) -> bool:
    """Tell whether the peer closed the connection, as receivers do with a window they cannot take."""
    cause = lost.__cause__
    closed = cause is None or isinstance(cause, ConnectionResetError | BrokenPipeError | ssl.SSLError)
    return closed and type(lost) is ConnectionLost
