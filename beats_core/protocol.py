"""Both ends of one Lumberjack v2 connection, without I/O or clock.

This module is the one truth about windows, sequences and acks on one connection. Drivers move bytes.

Theory. A connection is open, then closed for good. The sender's end owns a FIFO of windows. A window is
numbered 1..n anew, so that the receivers that acknowledge a sequence (Logstash, Vector) and those that
acknowledge a count (go-lumber) say the same number. Windows settle first in, first out; an ack speaks
about the oldest one, counts inside it and is cumulative:

    A 0        a keep-alive: the peer lives, nothing is settled
    A k <= acked   nothing new
    A k <= n   the first k events of the oldest window are settled; at k = n it leaves the FIFO
    A k > n, A k without a window, any other frame      the peer is at fault; the connection is over

Nothing here raises for what the peer did: `closed` and `error` say it. After every call, however the
bytes were cut: all that was reported as acked, followed by `unacked`, is all that was sent, in order.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import msgspec

from beats_core.errors import AckTimeout, ConnectionLost, ProtocolError, Stalled
from beats_core.frames import (
    MAX_FRAME_BYTES,
    MAX_INFLATED_BYTES,
    MAX_WINDOW,
    AckFrame,
    Batch,
    EventFrame,
    Frame,
    FrameReader,
    WindowFrame,
    encode_ack,
    encode_window,
)

_ANSWER_BYTES = 64  # an ack is no such frame at all; of others no more is kept than it takes to name them
_FIRST_BYTES = 16  # of a peer are enough to tell a stranger
_EVENT_OVERHEAD = 64  # bytes Python takes for a small bytes object and its place in a list


class Window:
    """A batch in flight: how many of its events are acknowledged, and whether keep-alives came for it."""

    __slots__ = ("acked", "batch", "kept_alive")

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.acked = 0
        self.kept_alive = False


class ClientProtocol:
    """The sender's end. One thread or task at a time.

    Args:
        compression_level: 0 sends plain frames; 1 to 9 one compressed frame per window.

    Attributes:
        closed: Nothing can be sent any more.
        error: Why, when the peer was at fault.
        heard: How many bytes the peer has sent.
        first_bytes: The first of them, up to 16.
        acked: How many events it has acknowledged.
        kept_alive: Whether it has sent a keep-alive for a window.
    """

    def __init__(self, compression_level: int = 3) -> None:
        self.closed = False
        self.error: ProtocolError | None = None
        self.heard = 0
        self.first_bytes = b""
        self.acked = 0
        self.kept_alive = False
        self._compression_level = compression_level
        self._windows: deque[Window] = deque()
        self._outgoing: list[bytes] = []
        self._reader = FrameReader(_ANSWER_BYTES, _ANSWER_BYTES)
        self._slow = False

    @property
    def in_flight(self) -> int:
        """How many windows are not fully acknowledged."""
        return len(self._windows)

    @property
    def unacked(self) -> Batch:
        """Everything to send again if the line were lost now, oldest first."""
        tails = [window.batch.tail(window.acked) for window in self._windows]
        return tails[0] if len(tails) == 1 else Batch([payload for tail in tails for payload in tail.payloads])

    @property
    def oldest(self) -> Window | None:
        """The window that is worked on, None while nothing is in flight."""
        return self._windows[0] if self._windows else None

    @property
    def slow(self) -> bool:
        """True from a keep-alive until everything in flight is settled: send no further window meanwhile.

        Logstash sends no keep-alive for a second window (ConnectionHandler clears its flag with the first).
        """
        return self._slow

    @property
    def silence_expected(self) -> bool:
        """True while the oldest window had to wait behind a slow one: its silence proves nothing."""
        return self._slow and not self._windows[0].kept_alive

    def send(self, batch: Batch) -> Window:
        """Open a window for a batch that is not empty; its bytes wait in `data_to_send()`.

        Raises:
            RuntimeError: The connection is closed.
            ValueError: The batch is empty.
        """
        if self.closed:
            raise RuntimeError("the connection is closed")
        if not len(batch):
            raise ValueError("a window needs at least one event")
        window = Window(batch)
        self._windows.append(window)
        self._outgoing.append(encode_window(batch.payloads, self._compression_level))
        return window

    def data_to_send(self) -> bytes:
        """Return the bytes to write now, once."""
        data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def receive_data(self, data: bytes) -> list[tuple[Batch, int]]:
        """Take what the peer sent, b"" for end of file; return the newly acked count per batch, oldest first.

        Never raises. What was acknowledged before the peer misbehaved, even in the same bytes, counts.
        """
        acked: list[tuple[Batch, int]] = []
        if self.closed:
            return acked
        if not data:
            self.closed = True
            return acked
        self.heard += len(data)
        self.first_bytes += data[: _FIRST_BYTES - len(self.first_bytes)]
        try:
            for frame in self._reader.feed(data):
                self._take(frame, acked)
        except ProtocolError as error:
            self.closed = True
            self.error = error
        return acked

    def _take(self, frame: Frame, acked: list[tuple[Batch, int]]) -> None:
        if not isinstance(frame, AckFrame):
            raise ProtocolError(f"a receiver sends acks only, this one sent {type(frame).__name__}")
        if frame.version != 2:
            raise ProtocolError(f"ack of protocol version {frame.version} on a version 2 connection")
        if not self._windows:
            if frame.sequence:
                raise ProtocolError(f"ack {frame.sequence} while no window is open")
            return
        window = self._windows[0]
        if not frame.sequence:
            self._slow = self.kept_alive = window.kept_alive = True
            return
        if frame.sequence > len(window.batch):
            raise ProtocolError(f"ack {frame.sequence} for a window of {len(window.batch)} events")
        if frame.sequence > window.acked:
            acked.append((window.batch, frame.sequence - window.acked))
            self.acked += frame.sequence - window.acked
            window.acked = frame.sequence
        if window.acked == len(window.batch):
            self._windows.popleft()
            self._slow = self._slow and bool(self._windows)


class Patience:
    """How long a driver waits for its peer. Times are seconds of one monotonic clock, which the driver reads.

    Two clocks run while a window is in flight: one since the peer was heard at all, one since it acknowledged
    anything. Keep-alives stop the first only.

    Args:
        timeout: Longest silence.
        stall_timeout: Longest time without progress; None for ever.
    """

    def __init__(self, timeout: float, stall_timeout: float | None) -> None:
        self.timeout = timeout
        self.stall_timeout = stall_timeout
        self._heard = 0.0
        self._progress = 0.0

    def restart(self, now: float) -> None:
        """Both clocks start anew: the first window goes out on an idle line."""
        self._heard = self._progress = now

    def heard(self, now: float, *, progress: bool) -> None:
        """Bytes came; `progress` if they acknowledged events."""
        self._heard = now
        if progress:
            self._progress = now

    def excuse(self, since: float, now: float) -> None:
        """Do not count the time since `since`: the peer was taking bytes."""
        self._heard = min(now, self._heard + now - since)
        self._progress = min(now, self._progress + now - since)

    def left(self, protocol: ClientProtocol, now: float) -> float | None:
        """Return the seconds until the peer has kept us waiting for too long (then <= 0); None is for ever."""
        if not protocol.in_flight:
            return None
        left = [] if self.stall_timeout is None else [self._progress + self.stall_timeout - now]
        if not protocol.silence_expected:
            left.append(self._heard + self.timeout - now)
        return min(left, default=None)

    def verdict(self, protocol: ClientProtocol, now: float) -> tuple[type[ConnectionLost], str] | None:
        """Return why the peer is given up, as the error to raise and its reason; None while it is not."""
        left = self.left(protocol, now)
        if left is None or left > 0:
            return None
        if not protocol.silence_expected and self._heard + self.timeout <= now:
            return AckTimeout, f"the peer was silent for {self.timeout:g} seconds"
        if not protocol.silence_expected and self._heard <= self._progress:  # stall_timeout is the shorter one
            return AckTimeout, f"the peer was silent for {self.stall_timeout:g} seconds"
        return Stalled, f"keep-alives, but no acknowledgement for {self.stall_timeout:g} seconds"


class ReceivedWindow:
    """A window as it arrived.

    Attributes:
        payloads: Each the bytes of one event as it was sent, in order.
        count: How many events the sender announced.
        size: About how many bytes of memory the payloads take.
        sequence: Of the last event.
        version: Of the protocol, 1 or 2.
        peer: The sender's address, where a driver knows it.
    """

    __slots__ = ("count", "payloads", "peer", "sequence", "size", "version")

    def __init__(self, version: int, count: int) -> None:
        self.version = version
        self.count = count
        self.peer = ""
        self.payloads: list[bytes] = []
        self.sequence = 0
        self.size = 0

    def __len__(self) -> int:
        """Return how many events it holds so far."""
        return len(self.payloads)

    @property
    def events(self) -> list[Any]:
        """The payloads decoded, anew at each call; as a rule dicts.

        Raises:
            ValueError: One is not JSON (msgspec.DecodeError).
        """
        return [msgspec.json.decode(payload) for payload in self.payloads]


class ServerProtocol:
    """The receiver's end, version 1 and 2. One thread or task at a time.

    Windows are exact: a window frame inside a window, an event outside of one, or a mix of versions is an error,
    as in Vector and go-lumber (Logstash gets out of step for good).

    Args:
        max_window: Most events a window may announce.
        max_window_bytes: Most memory the events of a window may take, or of all windows that one call returns.
        max_frame_bytes: Longest frame on the wire.
        max_inflated_bytes: Most bytes one compressed frame may hold.
    """

    def __init__(
        self,
        max_window: int = MAX_WINDOW,
        max_window_bytes: int = MAX_INFLATED_BYTES,
        max_frame_bytes: int = MAX_FRAME_BYTES,
        max_inflated_bytes: int = MAX_INFLATED_BYTES,
    ) -> None:
        self.closed = False
        self.error: ProtocolError | None = None
        self._max_window = max_window
        self._max_window_bytes = max_window_bytes
        self._reader = FrameReader(max_frame_bytes, max_inflated_bytes)
        self._open: ReceivedWindow | None = None
        self._returned_bytes = 0
        self._outgoing: list[bytes] = []

    @property
    def held(self) -> int:
        """Bytes held for what is not complete: half a frame and the events of the open window."""
        return self._reader.buffered + (self._open.size if self._open else 0)

    @property
    def within_window(self) -> bool:
        """True when a part of a window has come, and the rest not yet."""
        return self._open is not None or self._reader.buffered > 0

    def receive_data(self, data: bytes) -> list[ReceivedWindow]:
        """Take what the peer sent, b"" for end of file; return the windows it completed, oldest first.

        Never raises: `closed` and `error` tell. Windows that were complete before the peer misbehaved are returned.
        """
        windows: list[ReceivedWindow] = []
        if self.closed:
            return windows
        if not data:
            self.closed = True
            return windows
        self._returned_bytes = 0
        try:
            for frame in self._reader.feed(data):
                window = self._take(frame)
                if window is not None:
                    windows.append(window)
                    self._returned_bytes += window.size
        except ProtocolError as error:
            self.closed = True
            self.error = error
        return windows

    def acknowledge(self, window: ReceivedWindow) -> None:
        """Answer with the sequence of the window's last event; for senders that count from 1 that is its size."""
        self._outgoing.append(encode_ack(window.sequence, window.version))

    def keep_alive(self) -> None:
        """Tell the peer that its window is being worked on."""
        # Version 2 also on a version 1 connection, as Logstash does (ConnectionHandler).
        self._outgoing.append(encode_ack(0))

    def data_to_send(self) -> bytes:
        """Return the bytes to write now, once."""
        data = b"".join(self._outgoing)
        self._outgoing.clear()
        return data

    def _take(self, frame: Frame) -> ReceivedWindow | None:
        window = self._open
        if isinstance(frame, WindowFrame):
            if window is not None:
                raise ProtocolError(f"new window after {len(window)} of {window.count} events")
            if frame.size > self._max_window:
                raise ProtocolError(f"window of {frame.size} events, allowed are {self._max_window}")
            if frame.size:
                self._open = ReceivedWindow(frame.version, frame.size)
            else:
                self.keep_alive()  # as Logstash since 6.7: some senders probe with an empty window
            return None
        if not isinstance(frame, EventFrame):
            raise ProtocolError("a sender sends no acks")
        if window is None:
            raise ProtocolError("event without a window")
        if frame.version != window.version:
            raise ProtocolError(f"event of version {frame.version} in a window of version {window.version}")
        window.payloads.append(frame.payload)
        window.sequence = frame.sequence
        window.size += len(frame.payload) + _EVENT_OVERHEAD
        if self._returned_bytes + window.size > self._max_window_bytes:
            raise ProtocolError(f"window takes more than {self._max_window_bytes} bytes, or all that came with it")
        if len(window) < window.count:
            return None
        self._open = None
        return window
