"""What a shipper did, as numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class HostStats:
    """One connection's side of it. `error` is the last reason it was lost or could not be made."""

    connected: bool = False
    acked: int = 0
    connections: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """A snapshot of a shipper.

    `accepted` is how often `put()` returned True, and
    accepted = inbox + pending + in_flight + acked + dead + what was dropped after it was accepted.

    Attributes:
        accepted: Events taken over.
        acked: Events a receiver acknowledged.
        resent: Events sent again after a connection was lost; a receiver may have some of them twice.
        dropped: Events lost, by reason. `full`, `too_large`, `invalid`, `failed` and `closed` were never accepted;
            `shutdown` were accepted and not acknowledged when `close()` ran out of time.
        dead: Events a receiver refused again and again, alone, while it accepted others.
        inbox: Events accepted, not yet in the backlog.
        pending: Events that wait for a connection.
        in_flight: Events sent, not yet acknowledged.
        waiting_bytes: Bytes of payload that are accepted and not settled.
        acked_bytes: Bytes of payload that were acknowledged.
        last_ack: Seconds since the Unix epoch; None before the first.
        hosts: By the address of each connection.
    """

    accepted: int = 0
    acked: int = 0
    resent: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    dead: int = 0
    inbox: int = 0
    pending: int = 0
    in_flight: int = 0
    waiting_bytes: int = 0
    acked_bytes: int = 0
    last_ack: float | None = None
    hosts: Mapping[str, HostStats] = field(default_factory=dict)

    @property
    def lost(self) -> int:
        """How many events are gone for good: dropped for any reason."""
        return sum(self.dropped.values())
