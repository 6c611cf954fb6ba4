"""One thread for the windows of one host at a time: connect, back off, lease, send, await acks, settle or give back.

A sender alone touches its connections. It shares the backlog, under `lock`, with the intake thread and the other
senders; it never holds the lock while it does I/O. It waits in one place, for whichever comes first: its sockets, a
wake-up, or the time.

New windows go to one line. When its time is up, or a host before its own may be there again, another line is opened
first, in a thread of its own, while this one goes on; then new windows go there, and the old line is closed when what
is in flight on it is acknowledged. A host before its own gets one window at first, while the old line goes on as
before, and the rest when it has acknowledged something: it may be one that accepts connections and nothing else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from time import monotonic, time

from beats_core.backlog import Backlog
from beats_core.backoff import Backoff, give_or_take, sooner
from beats_core.bell import Bell
from beats_core.errors import AckTimeout, ConnectionLost, Stalled
from beats_core.frames import Batch
from beats_core.hosts import Host
from beats_core.line import Dialing, Line, Target, Targets, instead, is_refusal
from beats_core.options import Options
from beats_core.stats import HostStats

_logger = logging.getLogger("beats_core.sender")


class Sender:
    """Moves batches from the backlog to one receiver at a time.

    Args:
        hosts: In order of preference. After the loss of a line that worked, the first that did not fall silent is next.
        options: The shipper's.
        backlog: Shared with others; guarded by `lock`.
        lock: Held only for moments.
        settling: Holds the lock while events are settled or given back, and sees to what follows from it.
        wake_others: Called in the sender's thread without the lock, when there is something for the others to see.
        resolve: Says anew what the hosts are, before the first of them is tried; may block. None: they stay the same.
    """

    def __init__(
        self,
        hosts: Sequence[Host],
        options: Options,
        backlog: Backlog,
        lock: AbstractContextManager[object],
        *,
        settling: Callable[[], AbstractContextManager[object]],
        wake_others: Callable[[], None],
        resolve: Callable[[], Sequence[Host]] | None = None,
    ) -> None:
        self.last_ack: float | None = None  # by the wall clock
        self._hosts = list(hosts)
        self._options = options
        self._backlog = backlog
        self._lock = lock
        self._settling = settling
        self._wake_others = wake_others
        self._resolve = resolve
        self._targets = Targets(hosts, options)
        self._place = 0  # of the host in use, or to try next
        self._failures = 0  # hosts in a row, since anything was acknowledged
        self._backoff = Backoff(options.backoff_init, options.backoff_max)
        self._rest_until = self._fail_back_at = 0.0
        self._line: Line | None = None  # where new windows go
        self._old: Line | None = None  # whose acks are awaited
        self._on_trial = False  # the line, at another host; meanwhile the old one goes on
        self._dialing: Dialing | None = None
        self._in_trouble = False
        self._deadline: float | None = None  # monotonic; set by `stop`
        self._hurried = False
        self._asleep = self._running = self._retired = self._released = self._failed = False
        self._bell = Bell()

    def wake(self) -> None:
        """Have it look at the backlog again, if it sleeps. Any thread."""
        if self._asleep:
            self._asleep = False
            self._bell.ring()

    def stop(self, deadline: float) -> None:
        """Have `run` return when nothing is left to send, or at `deadline` (monotonic). Any thread."""
        self._deadline = deadline
        self._bell.ring()

    def retire(self) -> None:
        """Have `run` return when nothing is in flight: others send what is left. Any thread."""
        self._retired = True
        self._bell.ring()

    def abandon(self) -> None:
        """Close this process's copies of all descriptors, after fork in the child. The parent goes on."""
        for line in self._lines():
            line.client.abandon()
        if self._dialing is not None:
            self._dialing.abandon()
        self._bell.close()

    def run(self) -> None:
        """Deliver until `stop`; the body of the sender's thread. Survives every exception."""
        self._running = True
        while True:
            try:
                if self._failed:
                    self._hang_up()
                    self._failed, self._rest_until = False, monotonic() + self._backoff.wait_time()
                if not self._step():
                    break
            except Exception:
                self._failed = True
                with suppress(Exception):  # also one of a handler, with which the application logs this
                    _logger.exception("the sender failed and begins anew")
                    self._bell.wait(0.01)
        with suppress(Exception):
            self._hang_up()
        self._running = False
        if self._released:
            self._bell.close()

    def close(self) -> None:
        """Release the descriptors; as soon as `run` has returned, if it is under way."""
        self._released = True
        if not self._running:
            self._bell.close()

    def stats(self) -> dict[Host, HostStats]:
        """Return what there is to tell of each host. Any thread, with the lock held."""
        found = dict(self._targets.gone)
        for target in self._targets:
            lines = [line for line in self._lines() if line.target is target]
            state, rest = self._state(target, lines), self._rest_until - monotonic()
            found[target.host] = found.get(target.host, HostStats()) + target.stats(
                state,
                in_flight=sum(line.client.in_flight for line in lines),
                retry_at=time() + rest if state == "resting" else None,
            )
        return found

    def _state(self, target: Target, lines: list[Line]) -> str:
        if lines:
            return "connected" if self._line in lines and not self._retired else "draining"
        dialing = self._dialing
        if dialing is not None and dialing.host == target.host:
            return "connecting"
        return "resting" if self._line is None and self._rest_until > monotonic() else "idle"

    def _lines(self) -> list[Line]:
        return [line for line in (self._line, self._old) if line is not None]

    def _step(self) -> bool:
        """Do what can be done now, and wait for what comes next; False when it is time to end."""
        now = monotonic()
        if self._deadline is not None and not self._hurried:
            self._hurried, self._rest_until = True, 0.0  # the end of the program cuts a rest short, once
        if self._dialing is not None and self._dialing.done:
            self._take_over(self._dialing, now)
        if self._old is not None and not self._old.client.in_flight and not self._on_trial:
            self._old.client.close()
            self._old = None
        self._asleep = now >= self._rest_until  # before looking: what comes after the look rings
        if self._is_over(now):
            return False
        wait = self._open(now) if self._line is None else self._use(self._line)
        for line in self._lines():
            wait = sooner(wait, line.client.ack_due)
        if self._deadline is not None:
            wait = sooner(wait, self._deadline - monotonic())
        self._bell.wait(wait, [line.client.fileno() for line in self._lines()])
        self._asleep = False
        for line in self._lines():
            self._read(line)
        return True

    def _is_over(self, now: float) -> bool:
        if any(line.client.in_flight for line in self._lines()):
            return self._deadline is not None and now >= self._deadline
        if self._retired or self._deadline is None:
            return self._retired
        with self._lock:
            backlog = self._backlog
            return now >= self._deadline or not (backlog.pending or backlog.in_flight or backlog.expecting)

    def _open(self, now: float) -> float | None:
        """Connect when there is something to send; return the seconds until there is something to do."""
        if self._dialing is not None or self._retired:
            return None
        if now < self._rest_until:
            return self._rest_until - now
        with self._lock:
            wait = self._backlog.wait_time(now)
        if wait is None or wait > 0:
            return wait
        place = self._place
        self._dial(lambda hosts: hosts[place : place + 1], anew=not place, aside=self._old is not None)
        return None  # it rings when it is done

    def _use(self, line: Line) -> float | None:
        """Keep a line busy, have it replaced, close it when it is idle; return the seconds until the next of these."""
        wait = None
        for each in self._lines() if self._on_trial else [line]:
            try:
                wait = sooner(wait, self._fill(each))
            except ConnectionLost as lost:
                self._lose(each, lost)
                return 0.0
        if self._retired or self._deadline is not None:
            return wait
        now = monotonic()
        if self._options.idle_timeout is not None and not line.client.in_flight:
            left = line.busy_until + self._options.idle_timeout - now
            if left <= 0:
                self._leave()  # before Logstash resets it, which would look like trouble
                return 0.0
            wait = sooner(wait, left)
        return sooner(wait, self._renew(line, now))

    def _fill(self, line: Line) -> float | None:
        """Post windows while there is room in flight; return the seconds until there may be another, None if never."""
        client = line.client
        on_trial = self._on_trial and line is self._line
        while not self._retired and client.in_flight < (1 if client.slow or on_trial else self._options.pipelining):
            now = monotonic()
            with self._lock:
                batch = line.take(self._backlog, now)
                if batch is None:
                    return self._backlog.wait_time(now, line.leased)
            client.post(batch)
        return None

    def _renew(self, line: Line, now: float) -> float | None:
        """Begin to open another line when it is time to; return the seconds until then."""
        if self._old is not None or self._dialing is not None:
            return None
        interval, ttl = self._options.failback_interval, self._options.ttl
        # Not where a line fell silent: each would be replaced before it shows that the host does not acknowledge.
        expires = None if line.renew_at is None or line.target.silent else line.renew_at - now
        fails_back = self._fail_back_at - now if self._place and interval is not None else None
        wait = sooner(expires, fails_back)
        if wait is None or wait > 0:
            return wait
        expired, back = (due is not None and due <= 0 for due in (expires, fails_back))
        own = line.target.host
        if back and interval is not None:
            self._fail_back_at = now + give_or_take(interval)
        if expired and ttl is not None:
            line.renew_at = now + give_or_take(ttl / 10)  # should nothing come of it
        self._dial(lambda hosts: instead(own, hosts, earlier=back, same=expired), anew=True, aside=True)
        return 0.0

    def _dial(self, choose: Callable[[Sequence[Host]], Sequence[Host]], *, anew: bool, aside: bool) -> None:
        known = self._hosts
        dialing = Dialing(
            self._options,
            self._resolve if anew and self._resolve is not None else lambda: known,
            choose,
            at_most=None if self._deadline is None else max(0.01, self._deadline - monotonic()),
            on_done=self._bell.ring,
        )
        self._dialing = dialing
        (dialing.begin if aside else dialing.run)()

    def _take_over(self, dialing: Dialing, now: float) -> None:
        """Send new windows over the line that was opened, or go on without it."""
        if dialing.failure is not None:
            self._dialing = None
            if self._line is None:
                raise dialing.failure
            with suppress(Exception):
                _logger.error("no other connection can be made", exc_info=dialing.failure)
            return
        self._know(dialing.known)
        for host, lost in dialing.tried:
            self._targets[host].lost(lost)
        if dialing.client is not None and dialing.host is not None:
            target = self._targets[dialing.host]
            target.connections += 1
            ttl, place = self._options.ttl, self._hosts.index(dialing.host)
            # In the place of an idle line it is as idle as that: with a short `ttl` none would ever seem to be.
            busy_until = now if self._line is None or self._line.client.in_flight else self._line.busy_until
            if self._line is not None:
                self._old, self._on_trial = self._line, self._line.target.host in self._hosts[place + 1 :]
            self._line = Line(target, dialing.client, busy_until, None if ttl is None else now + give_or_take(ttl))
            self._place = place
            self._rest_until = 0.0
        elif self._line is None:
            for host, lost in dialing.tried:
                self._report_loss(host, lost, trouble=True)
            self._try_next(now)
        self._dialing = None  # not before: after fork a child closes its copy

    def _know(self, hosts: Sequence[Host]) -> None:
        """Take over what the hosts are now; those that are gone are remembered by their names."""
        if list(hosts) == self._hosts:
            return
        self._hosts = list(hosts)
        with self._lock:
            self._targets.follow([*hosts, *(line.target.host for line in self._lines())])
        if self._line is not None and self._line.target.host in self._hosts:
            self._place = self._hosts.index(self._line.target.host)

    def _read(self, line: Line) -> None:
        try:
            # Until there is nothing more: an end of the connection that came with the last ack shows at the next look.
            while acked := line.client.read_acks(at_most=0):
                self._settle(line, acked)
        except ConnectionLost as lost:
            self._lose(line, lost)

    def _settle(self, line: Line, acked: list[tuple[Batch, int]]) -> None:
        with self._settling():
            line.settle(self._backlog, acked)
        if self._deadline is not None:
            self._wake_others()  # they wait for what is in flight here, to end
        line.busy_until = monotonic()
        self._on_trial = self._on_trial and line is not self._line
        self.last_ack = time()
        self._failures = 0
        self._backoff.reset()
        if self._in_trouble:
            self._in_trouble = False
            _logger.warning("delivering to %s again", line.target.host)

    def _lose(self, line: Line, lost: ConnectionLost) -> None:
        """Give back what was in flight on a line that is lost, and say where to go on."""
        silent = isinstance(lost, AckTimeout | Stalled)
        idle = not len(lost.unacked)  # the receiver closed a line that had nothing to do
        line.target.lost(lost)
        line.target.closings = line.client.closings
        self._give_back(line, refused=is_refusal(lost))
        line.client.close()
        if self._on_trial and line is self._old:
            self._leave()  # one on trial cannot carry everything, perhaps not for minutes
        on_trial = self._on_trial
        if line is self._old:
            self._old = None
        elif on_trial:
            self._leave()
        else:
            self._line = None
            if self._dialing is not None and not self._dialing.done:  # another may take its time
                self._dialing.give_up()
                self._dialing = None
            if silent or not (line.worked or idle):
                self._try_next(monotonic())
            elif line.worked:
                self._place = self._targets.preferred(self._hosts)
        self._report_loss(line.target.host, lost, trouble=not (line.worked or idle or on_trial))

    def _leave(self) -> None:
        """Close the line for new windows; go on with the old one, if that was to go on meanwhile."""
        if self._line is not None:
            self._give_back(self._line)
            self._line.client.close()
            self._line = None
        if self._on_trial and self._old is not None:
            self._line, self._old, self._on_trial = self._old, None, False
            self._place = self._hosts.index(self._line.target.host)
            self._fail_back_at = monotonic() + give_or_take(self._options.failback_interval or 0.0)

    def _try_next(self, now: float) -> None:
        """Go on with the next host; when all of them were tried, rest before."""
        self._place = (self._place + 1) % len(self._hosts)
        self._failures += 1
        if self._options.failback_interval is not None:
            self._fail_back_at = now + give_or_take(self._options.failback_interval)
        if self._failures >= len(self._hosts):
            self._failures = 0
            self._rest_until = now + self._backoff.wait_time()

    def _give_back(self, line: Line, *, refused: bool = False) -> None:
        with self._settling():  # one of them may be dead
            line.give_back(self._backlog, refused=refused)
        self._wake_others()

    def _hang_up(self) -> None:
        """Give everything back and close all lines."""
        if self._dialing is not None:
            self._dialing.give_up()
            self._dialing = None
        for line in self._lines():
            self._give_back(line)
            line.client.close()
        self._line = self._old = None
        self._on_trial, self._rest_until = False, 0.0

    def _report_loss(self, host: Host, lost: ConnectionLost, *, trouble: bool) -> None:
        """Say it once per trouble. A line that worked, or one that is idle, may end."""
        if not trouble:
            _logger.info("%s: %s", host, lost)
        elif not self._in_trouble:
            self._in_trouble = True
            _logger.warning("%s: %s; trying on", host, lost)
