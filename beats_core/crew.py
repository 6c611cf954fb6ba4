"""The senders of one shipper: how many there are, for which hosts, and how they come and go.

Without `loadbalance` each of the `workers` is a sender for all hosts, of which it uses one; with it each host has
`workers` senders of its own. With `resolve_all` a host is each address of a name: a sender for all hosts looks them up
itself, before it connects; where each address has senders of its own, one more thread looks the names up from time to
time, starts senders for new addresses, and has those for vanished ones finish what is in flight and end.

Nothing is looked up under a lock, nor in the application's threads, unless no other can be started. `lock` is the
shipper's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from typing import TypeVar

from beats_core.backlog import Backlog
from beats_core.backoff import Backoff, give_or_take
from beats_core.here import SenderHere
from beats_core.hosts import Host, resolve
from beats_core.lifecycle import join, signals_blocked
from beats_core.native import SimpleQueue, Thread, new_thread, wait_for_item
from beats_core.options import Options
from beats_core.sender import Sender
from beats_core.stats import HostStats, add_hosts

_logger = logging.getLogger("beats_core.crew")

AnySender = TypeVar("AnySender", bound=Sender)


class Names:
    """What the configured hosts are at present: each address of each name. Any thread."""

    def __init__(self, hosts: Sequence[Host]) -> None:
        self.failed = False
        self._known = {host: [host] for host in hosts}

    def __call__(self) -> list[Host]:
        """Look all names up. One that cannot be resolved keeps the addresses it had; or stands for itself."""
        self.failed = False
        for host in self._known:
            try:
                self._known[host] = resolve(host)
            except OSError as error:
                self.failed = True
                _logger.info("%s cannot be resolved: %s", host.name, error)
        return list(dict.fromkeys(address for known in self._known.values() for address in known))


@dataclass(eq=False)
class _Member:
    host: Host | None  # None: all of them
    sender: Sender
    thread: Thread | None = None
    leaving: bool = False


class Crew:
    """Starts senders and stops them.

    Args:
        options: The shipper's.
        backlog: What they deliver.
        lock: Guards it, and the list of the senders.
        settling: As a sender takes it.
    """

    def __init__(
        self,
        options: Options,
        backlog: Backlog,
        lock: AbstractContextManager[object],
        settling: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self._options = options
        self._backlog = backlog
        self._lock = lock
        self._settling = settling
        self._members: tuple[_Member, ...] = ()  # replaced, never changed: any thread may walk over it
        self._past: dict[str, HostStats] = {}  # what senders did that are gone
        self._past_ack: float | None = None
        self._here: tuple[_Member, SenderHere] | None = None
        self._deadline: float | None = None
        self._closed = False
        self._names_thread: Thread | None = None
        self._stopping: SimpleQueue[None] = SimpleQueue()
        # A proxy resolves names itself, unless it is told not to.
        resolves = options.resolve_all and (options.proxy_url is None or options.proxy_use_local_resolver)
        self._follows_names = resolves and options.loadbalance
        self._resolves = resolves

    @property
    def last_ack(self) -> float | None:
        """When the last event was acknowledged, by the wall clock; None before the first."""
        times = (self._past_ack, *(member.sender.last_ack for member in self._members))
        return max((at for at in times if at), default=None)

    def stats(self) -> dict[str, HostStats]:
        """Return what there is to tell of each host. Any thread, with the lock held."""
        hosts = dict(self._past)
        for member in self._members:
            hosts = add_hosts(hosts, {str(host): stats for host, stats in member.sender.stats().items()})
        return hosts

    def wake(self) -> None:
        """Have the senders look at the backlog again. Any thread."""
        for member in self._members:
            member.sender.wake()

    def start(self) -> None:
        """Start the threads.

        Raises:
            RuntimeError: No thread can be started.
            OSError: There is no descriptor left.
        """
        if self._here is not None:
            self._dismiss(self._here[0])  # what it had in flight is sent again
            self._here = None
        self._deadline, self._closed = None, False
        self._stopping = SimpleQueue()
        hosts = self._options.addresses
        if self._follows_names:
            with signals_blocked():
                thread = new_thread(self._follow_names, "beats-names")
                thread.start()
            self._names_thread = thread
        elif self._options.loadbalance:
            self._launch([*hosts] * self._options.workers)
        else:
            self._launch([None] * self._options.workers)

    def deliver(self, deadline: float) -> None:
        """Deliver in the calling thread, until everything is settled or `deadline`.

        Raises:
            OSError: There is no descriptor left.
        """
        member, sender = self._hire_here()
        sender.stop(deadline)
        try:
            sender.run()
        finally:
            self._here = None
            self._dismiss(member)

    def deliver_some(self, deadline: float) -> None:
        """Deliver in the calling thread what can be delivered by `deadline`, and keep the line for the next call.

        Raises:
            OSError: There is no descriptor left.
        """
        _, sender = self._hire_here()
        sender.deliver_some(deadline)

    def stop(self, deadline: float) -> None:
        """Have the senders end when everything is settled, or at `deadline`, and wait for them."""
        with self._lock:
            self._deadline = deadline
        self._stopping.put(None)
        self._here = None
        if not self._members and self._names_thread is not None:
            join([self._names_thread], deadline)  # which is about to start the first senders, and stops them
        with self._lock:
            self._closed = True
            members = self._members
        for member in members:
            member.sender.stop(deadline)
        join((member.thread for member in members if member.thread is not None), deadline)
        for member in members:
            if member.thread is None or not member.thread.is_alive():
                self._dismiss(member)
            else:  # stuck: it is left to the daemons, and closes what it has should it ever come back
                member.sender.close()

    def abandon(self) -> None:
        """Close this process's copies of all descriptors, after fork in the child."""
        for member in self._members:
            member.sender.abandon()

    def _hire_here(self) -> tuple[_Member, SenderHere]:
        """Return the one sender for the calling thread, for all hosts: several would have to run in turn."""
        if self._here is None:
            sender = self._make(SenderHere, None)
            self._here = _Member(None, sender), sender
            with self._lock:
                self._members = (*self._members, self._here[0])
        return self._here

    def _hire(self, host: Host | None) -> _Member:
        return _Member(host, self._make(Sender, host))

    def _make(self, kind: type[AnySender], host: Host | None) -> AnySender:
        hosts = self._options.addresses if host is None else (host,)
        return kind(
            hosts,
            self._options,
            self._backlog,
            self._lock,
            settling=self._settling,
            wake_others=self.wake,
            resolve=Names(hosts) if host is None and self._resolves else None,
        )

    def _launch(self, hosts: Sequence[Host | None]) -> None:
        with self._lock, signals_blocked():  # locked: `stop` finds all of them under way, or none
            if self._closed:
                return
            members = [self._hire(host) for host in hosts]
            self._members = (*self._members, *members)
            for member in members:
                if self._deadline is not None:
                    member.sender.stop(self._deadline)
                thread = new_thread(member.sender.run, "beats-shipper")
                try:
                    thread.start()
                except RuntimeError:
                    for idle in members[members.index(member) :]:
                        self._dismiss(idle)
                    raise
                member.thread = thread

    def _dismiss(self, member: _Member, host: Host | None = None) -> None:
        """Forget a sender that ends; what it did is remembered, under `host` if that is given."""
        member.sender.close()
        with self._lock:
            if member not in self._members:
                return
            done = {str(host or each): stats for each, stats in member.sender.stats().items()}
            self._past = add_hosts(self._past, done)
            self._past_ack = self.last_ack
            self._members = tuple(each for each in self._members if each is not member)

    def _follow_names(self) -> None:
        """Have senders for whatever the names mean, until `stop`; the body of a thread. Survives every exception."""
        names = Names(self._options.addresses)
        interval = self._options.resolve_interval
        backoff = Backoff(self._options.backoff_init, min(self._options.backoff_max, interval))
        while True:
            try:
                self._adjust(names())
                failed = names.failed
            except Exception:
                with suppress(Exception):  # also one of a handler, with which the application logs this
                    _logger.exception("the senders could not be adjusted to the addresses")
                failed = True
                if self._deadline is not None and not self._closed:  # no thread can be started any more
                    self.deliver(self._deadline)
            if not failed:
                backoff.reset()
            if wait_for_item(self._stopping, backoff.wait_time() if failed else give_or_take(interval)):
                return

    def _adjust(self, hosts: Sequence[Host]) -> None:
        """Start senders for new hosts, have those for vanished ones end, and forget those that have ended."""
        members = self._members
        for member in members:
            if member.leaving and member.thread is not None and not member.thread.is_alive() and member.host:
                self._dismiss(member, member.host._replace(address=None))
            elif member.host not in hosts:
                member.leaving = True
                member.sender.retire()
        staying = [member.host for member in members if not member.leaving]
        self._launch([host for host in hosts if host not in staying] * self._options.workers)
