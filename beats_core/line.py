"""What a sender has at one time: what it knows of each host, its connections, and one that is being made."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterable, Iterator, Sequence

from beats_core.backlog import Backlog
from beats_core.client import Client
from beats_core.errors import AckTimeout, ConnectionLost, Stalled
from beats_core.frames import Batch
from beats_core.hosts import Host
from beats_core.native import new_thread
from beats_core.options import Options
from beats_core.slow_start import SlowStart
from beats_core.stats import HostStats


class Target:
    """What a sender knows of one host, whatever becomes of its connections."""

    def __init__(self, host: Host, options: Options) -> None:
        self.host = host
        self.acked = 0
        self.connections = 0
        self.error: str | None = None
        self.closings = 0  # of connections without an ack, one after the other
        self.silent = False  # it accepted windows, and since then nothing was acknowledged
        self.window = SlowStart(options.bulk_max_size) if options.slow_start else None

    @property
    def window_size(self) -> int | None:
        """Most events of the next window, with slow start."""
        return self.window.size if self.window else None

    def lost(self, lost: ConnectionLost) -> None:
        """Note why it could not be reached, or was lost with windows in flight."""
        self.error = lost.reason
        self.silent = self.silent or isinstance(lost, AckTimeout | Stalled)
        if self.window is not None and len(lost.unacked):
            self.window.lost()

    def stats(self, state: str, *, in_flight: int, retry_at: float | None) -> HostStats:
        """Return it as numbers."""
        return HostStats(
            state=state,
            retry_at=retry_at,
            acked=self.acked,
            connections=self.connections,
            in_flight=in_flight,
            window_size=self.window_size,
            error=self.error,
        )


class Targets:
    """The hosts of one sender, which come and go. Whoever changes or counts them holds the lock.

    Attributes:
        gone: What was done at those that are no more, by name.
    """

    def __init__(self, hosts: Iterable[Host], options: Options) -> None:
        self.gone: dict[Host, HostStats] = {}
        self._options = options
        self._known = {host: Target(host, options) for host in hosts}

    def __getitem__(self, host: Host) -> Target:
        """Return what is known of a host that is there."""
        return self._known[host]

    def __iter__(self) -> Iterator[Target]:
        """Walk over those that are there."""
        return iter(self._known.values())

    def preferred(self, hosts: Sequence[Host]) -> int:
        """Return the place of the first one that did not fall silent; 0 if all did."""
        return next((place for place, host in enumerate(hosts) if not self._known[host].silent), 0)

    def follow(self, hosts: Iterable[Host]) -> None:
        """Know these from now on, what was known of one that stays included."""
        known = {host: self._known.get(host) or Target(host, self._options) for host in hosts}
        for host, target in self._known.items():
            if host not in known:
                name = host._replace(address=None)
                done = target.stats("idle", in_flight=0, retry_at=None)
                self.gone[name] = self.gone.get(name, HostStats()) + done
        self._known = known


class Line:
    """A connection, and what is leased for it. Whoever calls it with the backlog holds the lock.

    Attributes:
        leased: The batches in flight, oldest first.
        worked: Something was acknowledged on it.
        busy_until: When it last had something to do (monotonic).
        renew_at: When another is to take its place (monotonic); None is never.
    """

    def __init__(self, target: Target, client: Client, busy_until: float, renew_at: float | None) -> None:
        self.target = target
        self.client = client
        self.leased: list[Batch] = []
        self.worked = False
        self.busy_until = busy_until
        self.renew_at = renew_at
        client.closings = target.closings  # so that the reason of the next one can name them all

    def take(self, backlog: Backlog, now: float) -> Batch | None:
        """Lease the next window, if one is due."""
        batch = backlog.take(now, self.leased, self.target.window_size)
        if batch is not None:
            self.leased.append(batch)
        return batch

    def settle(self, backlog: Backlog, acked: Iterable[tuple[Batch, int]]) -> None:
        """Take note of what was acknowledged."""
        for batch, count in acked:
            backlog.ack(batch, count)
            self.target.acked += count
            if self.target.window is not None and not backlog.is_leased(batch):
                self.target.window.acked(len(batch))
        self.leased = [batch for batch in self.leased if backlog.is_leased(batch)]
        self.worked = True
        self.target.closings = 0
        self.target.silent = False

    def give_back(self, backlog: Backlog, *, refused: bool) -> None:
        """Return what is not acknowledged, and say whether the peer closed the connection on it."""
        self.leased = [batch for batch in self.leased if backlog.is_leased(batch)]
        while self.leased:
            batch = self.leased[0]
            untouched = backlog.left(batch) == len(batch)
            # Only the oldest window was being worked on, so only that one can be what the peer refused.
            receiver = str(self.target.host)
            backlog.put_back(batch, refused=refused and untouched, proven=self.worked, receiver=receiver)
            del self.leased[0]  # not before: what fails on the way is tried again
            refused = False


class Dialing:
    """A connection in the making: to the first of some hosts that can be reached.

    Args:
        options: The shipper's.
        hosts: Says which hosts there are, in order of preference; may block.
        choose: Says which of them to try.
        at_most: Seconds each address may take, if less than the options say.
        on_done: Called when `done` is true.

    Attributes:
        known: What `hosts` said.
        tried: The hosts that could not be reached, and why.
        host: The one that was reached, with `client`; or the one being tried.
        client: The connection.
        failure: What else went wrong.
    """

    def __init__(
        self,
        options: Options,
        hosts: Callable[[], Sequence[Host]],
        choose: Callable[[Sequence[Host]], Sequence[Host]],
        *,
        at_most: float | None,
        on_done: Callable[[], None],
    ) -> None:
        self.done = False
        self.known: Sequence[Host] = ()
        self.tried: list[tuple[Host, ConnectionLost]] = []
        self.host: Host | None = None
        self.client: Client | None = None
        self.failure: Exception | None = None
        self._options = options
        self._hosts = hosts
        self._choose = choose
        self._at_most = at_most
        self._on_done = on_done
        self._given_up = False

    def begin(self) -> None:
        """Connect in a thread of its own; here, where none can be started."""
        try:
            new_thread(self.run, "beats-dialing").start()
        except RuntimeError:
            self.run()

    def run(self) -> None:
        """Connect; `done` is true afterwards."""
        try:
            self._connect()
        except Exception as error:  # noqa: BLE001 - raised where the result is asked for
            self.failure = error
        finally:
            self.done = True  # before looking whether somebody still wants it
            if self._given_up:
                self._hang_up()
            self._on_done()

    def give_up(self) -> None:
        """Close what is or will be connected; nobody waits for it."""
        self._given_up = True
        if self.done:
            self._hang_up()

    def abandon(self) -> None:
        """Close this process's copy of the connection, after fork in the child."""
        if self.client is not None:
            self.client.abandon()

    def _connect(self) -> None:
        self.known = self._hosts()
        for host in self._choose(self.known):
            if self._given_up:
                return
            self.host = host
            self.client = client = Client(options=self._options)
            try:
                client.connect(self._at_most, [host])
                return
            except ConnectionLost as lost:
                self.client = None
                self.tried.append((host, lost))
            except BaseException:
                client.close()
                raise
        self.host = None

    def _hang_up(self) -> None:
        if self.client is not None:
            self.client.close()


def instead(own: Host, hosts: Sequence[Host], *, earlier: bool, same: bool) -> Sequence[Host]:
    """Return which hosts to try instead of a connection to one of them: those before it, itself, or both."""
    if own not in hosts:  # any more
        return hosts
    place = hosts.index(own)
    return hosts[0 if earlier else place : place + 1 if same else place]


def is_refusal(lost: ConnectionLost) -> bool:
    """Tell whether the peer closed the connection, as receivers do with a window they cannot take."""
    cause = lost.__cause__
    closed = cause is None or isinstance(cause, ConnectionResetError | BrokenPipeError | ssl.SSLError)
    return closed and type(lost) is ConnectionLost
