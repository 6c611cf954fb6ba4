"""What both clients are without I/O: the options, the state of the line, and what there is to say about its end."""

from __future__ import annotations

import ssl
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic
from typing import NoReturn, Unpack

from beats_core.diagnosis import Ending, Facts, loss_hint
from beats_core.envelope import Envelope, Event
from beats_core.errors import AckTimeout, ConnectionLost, ProtocolError, Stalled
from beats_core.forks import renew_if_forked
from beats_core.frames import Batch
from beats_core.hosts import Host
from beats_core.options import Options, OptionValues
from beats_core.protocol import ClientProtocol, Patience

Events = Batch | Iterable[Event]

RECEIVE_BYTES = 64 << 10  # more than a TLS record: nothing deciphered is left behind, which select would not show
# What writes a buffer whole or fails is given slices, so that the time-out measures progress instead of size.
SLICE_BYTES = 64 << 10
CLOSED = "the peer closed the connection"


class Driver:
    """The half of a client that moves no bytes. It keeps times; what is acked, only its protocol knows."""

    def __init__(
        self,
        hosts: Sequence[str] | str | None = None,
        *,
        options: Options | None = None,
        **values: Unpack[OptionValues],
    ) -> None:
        self._options = options or Options.load(hosts=hosts, **values)
        self._envelope = Envelope(self._options)
        self._hosts: Sequence[Host] = self._options.addresses
        self._patience = Patience(self._options.ack_seconds, self._options.stall_timeout)
        self._closed = False
        self.closings = 0  # lines that ended without an ack, one after the other
        self._reset()

    @property
    def in_flight(self) -> int:
        """How many windows are sent and not fully acknowledged."""
        return self._protocol.in_flight

    @property
    def unacked(self) -> Batch:
        """The events that are sent and not acknowledged, oldest first."""
        return self._protocol.unacked

    @property
    def slow(self) -> bool:
        """True while the peer works on a window so long that it sends keep-alives: better post no further one."""
        return self._protocol.slow

    @property
    def ack_due(self) -> float | None:
        """Seconds until `read_acks` gives the peer up, or has something to tell; None while nothing is in flight."""
        return self._patience.left(self._protocol, monotonic())

    def _batch(self, events: Events) -> Batch:
        if not self._options.enabled:
            return Batch(())
        if isinstance(events, Batch):
            return events
        renew_if_forked()  # a child's ids are its own
        return Batch(self._envelope.seal_all(events))

    def _window(self, events: Events) -> Batch:
        batch = self._batch(events)
        if len(batch) > self._options.bulk_max_size:
            raise ValueError(f"{len(batch)} events in one window, bulk_max_size is {self._options.bulk_max_size}")
        return batch

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed; connect() opens it again")

    def _idled_out(self) -> bool:
        """Tell whether the line was idle for so long that the peer may be about to end it."""
        limit = self._options.idle_timeout
        return limit is not None and not self.in_flight and monotonic() - self._used >= limit

    def _to_send(self, batch: Batch) -> bytes:
        """Open a window; return what to write."""
        self._protocol.send(batch)
        self._used = monotonic()
        self._posted.append(self._used)
        return self._protocol.data_to_send()

    def _written(self, began: float) -> None:
        self._used = monotonic()
        self._patience.excuse(began, self._used)

    def _received(self, data: bytes) -> list[tuple[Batch, int]]:
        acked = self._protocol.receive_data(data)
        self._used = monotonic()
        self._patience.heard(self._used, progress=bool(acked))
        if acked:
            self.closings = 0
        while len(self._posted) > self.in_flight:
            self._posted.popleft()
        return acked

    def _cannot_connect(self, failures: Sequence[tuple[Host, OSError]]) -> NoReturn:
        reasons = "; ".join(f"{host}: {error}" for host, error in failures)
        raise ConnectionLost(f"cannot connect to {reasons}", Batch(())) from failures[-1][1].__cause__

    def _lose_closed(self, also: Batch | None = None) -> NoReturn:
        """Lose a line whose protocol is closed."""
        error = self._protocol.error
        self._lose(ConnectionLost, str(error) if error else CLOSED, error, also)

    def _lose(
        self, kind: type[ConnectionLost], reason: str, cause: BaseException | None = None, also: Batch | None = None
    ) -> NoReturn:
        unacked = self._protocol.unacked
        if also is not None:
            unacked = Batch([*unacked.payloads, *also.payloads])
        ending = _ending(kind, reason, cause)
        hint = loss_hint(self._facts(ending, cause)) if ending else None
        self._drop_line()
        raise kind(f"{reason}; {hint}" if hint else reason, unacked) from cause

    def _facts(self, ending: Ending, cause: BaseException | None) -> Facts:
        protocol, window = self._protocol, self._protocol.oldest
        unanswered = ending in ("closed", "reset") and not protocol.acked
        self.closings = self.closings + 1 if unanswered else 0
        return Facts(
            ending=ending,
            error=str(cause) if ending == "misbehaved" else "",
            encrypted=self._options.tls is not None,
            heard=protocol.heard,
            first_bytes=protocol.first_bytes,
            kept_alive=protocol.kept_alive,
            window=len(window.batch) if window else 0,
            window_acked=window.acked if window else 0,
            window_bytes=window.batch.size if window else 0,
            event_bytes=max(map(len, window.batch.payloads)) if window else 0,
            windows=protocol.in_flight,
            seconds=monotonic() - self._posted[0] if self._posted else 0.0,
            closings=max(1, self.closings),
        )

    def _drop_line(self) -> None:
        """Forget the line and what was in flight on it."""
        self._reset()

    def _reset(self) -> None:
        self._protocol = ClientProtocol(self._options.compression_level)
        self._posted: deque[float] = deque()  # when, of each window in flight
        self._used = monotonic()


def unsent(lost: ConnectionLost, waiting: Iterable[Batch]) -> ConnectionLost:
    """Return the same loss with the batches that were never sent added to what is to be sent again."""
    rest = [*lost.unacked.payloads, *(payload for batch in waiting for payload in batch.payloads)]
    return type(lost)(lost.reason, Batch(rest))


def _ending(kind: type[ConnectionLost], reason: str, cause: BaseException | None) -> Ending | None:
    """Return how the peer ended the line, None if it was not the peer."""
    if kind is Stalled:
        return "stalled"
    if kind is AckTimeout:
        return "silent"
    if isinstance(cause, ProtocolError):
        return "misbehaved"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        return "reset"
    return "closed" if reason == CLOSED or isinstance(cause, ssl.SSLEOFError) else None
