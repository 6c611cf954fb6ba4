"""What a shipper did, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# Of several connections to one host the last of these says how the host is.
_STATES = ("idle", "resting", "connecting", "draining", "connected")


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStats:
    """One host's side of it, all connections to it together.

    Attributes:
        state: "idle" without a connection, "connecting", "connected", "draining" when only acknowledgements are awaited
            before the connection is closed, or "resting" before the next try.
        retry_at: When a resting one is tried again, in seconds since the Unix epoch.
        acked: Events it acknowledged.
        connections: How many were made.
        in_flight: Windows it has and did not fully acknowledge.
        window_size: Most events of its next window, with `slow_start`.
        error: The last reason why a connection was lost or could not be made.
    """

    state: str = "idle"
    retry_at: float | None = None
    acked: int = 0
    connections: int = 0
    in_flight: int = 0
    window_size: int | None = None
    error: str | None = None

    @property
    def connected(self) -> bool:
        """True while there is a connection."""
        return self.state in ("connected", "draining")

    def __add__(self, other: HostStats) -> HostStats:
        """Return both together."""
        return HostStats(
            state=max(self.state, other.state, key=_STATES.index),
            retry_at=min((at for at in (self.retry_at, other.retry_at) if at is not None), default=None),
            acked=self.acked + other.acked,
            connections=self.connections + other.connections,
            in_flight=self.in_flight + other.in_flight,
            window_size=max((size for size in (self.window_size, other.window_size) if size is not None), default=None),
            error=other.error or self.error,
        )


def add_hosts(first: Mapping[str, HostStats], second: Mapping[str, HostStats]) -> dict[str, HostStats]:
    """Return the hosts of both, those that are in both added up."""
    return {**first, **{host: first[host] + stats if host in first else stats for host, stats in second.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A snapshot of a shipper.

    `accepted` is how often `put()` returned True, and
    accepted + adopted = inbox + pending + in_flight + acked + dead + what was dropped after it was accepted.

    Attributes:
        accepted: Events taken over.
        adopted: Events that dead processes left in the spool, and this one took over.
        acked: Events a receiver acknowledged.
        resent: Events sent again after a connection was lost; a receiver may have some of them twice.
        dropped: Events lost, by reason. `full`, `disk`, `too_large`, `invalid`, `failed` and `closed` were never
            accepted; `oldest` gave way to newer ones; `shutdown` were not acknowledged when `close()` ran out of time,
            and are in no spool; `damaged` could not be read from the disk again.
        dead: Events a receiver refused again and again, alone, while it accepted others; with
            `on_too_large="dead_letter"` also those that were too large.
        inbox: Events accepted, not yet in the backlog.
        pending: Events that wait for a connection, in memory or in the spool.
        in_flight: Events sent, not yet acknowledged.
        waiting_bytes: Bytes of payload that are accepted and not settled.
        acked_bytes: Bytes of payload that were acknowledged.
        spooled: Events in the spool that are not settled; after `close()` those that wait for the next process.
        spool_bytes: What the spool takes on disk.
        last_ack: Seconds since the Unix epoch; None before the first.
        hosts: By `name:port`; with `resolve_all` by `name:port (address)`, and what addresses did that are gone by
            `name:port`.
    """

    accepted: int = 0
    adopted: int = 0
    acked: int = 0
    resent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    dead: int = 0
    inbox: int = 0
    pending: int = 0
    in_flight: int = 0
    waiting_bytes: int = 0
    acked_bytes: int = 0
    spooled: int = 0
    spool_bytes: int = 0
    last_ack: float | None = None
    hosts: Mapping[str, HostStats] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many events are gone for good: dropped for any reason."""
        return sum(self.dropped.values())

    @property
    def undelivered(self) -> int:
        """How many events no receiver has acknowledged, nor will have any from this process: lost, dead or spooled."""
        return self.lost + self.dead + self.spooled
