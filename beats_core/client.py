"""The blocking driver: one socket, one ClientProtocol. It never retries, and what is acked only the protocol knows."""

from __future__ import annotations

import socket
import ssl
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Self, Unpack

from beats_core.diagnosis import failure_reason
from beats_core.dial import dial
from beats_core.driver import RECEIVE_BYTES, SLICE_BYTES, Driver, Events, unsent
from beats_core.errors import ConnectionLost
from beats_core.frames import Batch
from beats_core.hosts import Host
from beats_core.options import Options, OptionValues


class Client(Driver):
    """One connection to one receiver: the first of `hosts` that can be reached. One thread at a time.

    It connects when it is entered or first used, and again at the next use after a ConnectionLost.

    Args:
        hosts: `name:port`, or several in the order to try them; None leaves them to the environment, as with every
            option that is not given.
        options: Options that are made already, instead of the other arguments and of the environment.
        **values: See `Options`; those about queues and several connections are the Shipper's.

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
        super().__init__(hosts, options=options, **values)
        self._socket: socket.socket | None = None
        self._write_failure: tuple[str, BaseException] | None = None
        self._overheard = b""  # what the peer said while it was written to

    def __enter__(self) -> Self:
        """Connect."""
        self.connect()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def ack_due(self) -> float | None:
        """Seconds until `read_acks` gives the peer up, or has something to tell; None while nothing is in flight."""
        return 0.0 if self._write_failure or self._overheard else super().ack_due

    def fileno(self) -> int:
        """Return the socket's descriptor, readable when there is something for `read_acks`; -1 without a line."""
        return self._socket.fileno() if self._socket else -1

    def connect(self, at_most: float | None = None, hosts: Sequence[Host] | None = None) -> None:
        """Connect, unless there is a line. Each host is tried in turn, and each of its addresses.

        Args:
            at_most: Seconds all of it may take, beside the limits of the options for each address.
            hosts: To try from now on instead of those of the options.

        Raises:
            ConnectionLost: No host could be reached; the reason names each. `unacked` is empty.
        """
        self._closed = False
        if hosts is not None:
            self._hosts = hosts
        if self._socket is not None or not self._options.enabled:
            return
        until = None if at_most is None else monotonic() + at_most
        failures: list[tuple[Host, OSError]] = []
        for host in self._hosts:
            try:
                self._socket = dial(host, self._options, None if until is None else until - monotonic())
            except OSError as error:
                failures.append((host, error))
            else:
                self._reset()
                return
        self._cannot_connect(failures)

    def close(self) -> None:
        """Close the line at once; what is in flight stays unacknowledged. May be called again."""
        self._closed = True
        self._drop_line()

    def abandon(self) -> None:
        """Close this process's copy of the line and nothing more: in a child, after fork, the parent still uses it."""
        self._closed = True
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, events: Events) -> int:
        """Send events in as many windows as they need and wait until all are acknowledged.

        Args:
            events: Mappings, which get `@timestamp` and `@metadata` as in `Shipper.put`; ready JSON objects, or a Batch
                such as `ConnectionLost.unacked`, which stay as they are. All are encoded before the first is sent.

        Returns:
            How many there were.

        Raises:
            ConnectionLost: Before all were acknowledged; `unacked` has all the others, also what was never sent.
            EventTooLarge: One is; nothing was sent.
            TypeError: One is neither a mapping nor text; nothing was sent.
        """
        batch = self._batch(events)
        waiting = deque(batch.split(self._options.bulk_max_size, self._options.bulk_max_bytes))
        try:
            while waiting or self.in_flight:
                while waiting and self.in_flight < (1 if self.slow else self._options.pipelining):
                    self._post(waiting.popleft())
                self.read_acks()
        except ConnectionLost as lost:
            raise unsent(lost, waiting) from lost.__cause__
        return len(batch)

    def post(self, events: Events) -> int:
        """Send events as one window without waiting for its ack; return how many. `read_acks` settles it.

        Raises:
            ConnectionLost: The window, and what was in flight before, are in `unacked`.
            ValueError: More than `bulk_max_size` events.
            EventTooLarge: One is; nothing was sent.
        """
        batch = self._window(events)
        if len(batch):
            self._post(batch)
        return len(batch)

    def wait_ack(self, at_most: float | None = None) -> int:
        """Wait for the peer once, as `read_acks` does; return how many events it newly acknowledged."""
        return sum(count for _, count in self.read_acks(at_most))

    def read_acks(self, at_most: float | None = None) -> list[tuple[Batch, int]]:
        """Wait for the peer once and return what it newly acknowledged: counts per posted batch, oldest first.

        Args:
            at_most: Seconds to wait; 0 only looks; None waits until an ack is overdue.

        Returns:
            Empty on a keep-alive, on half a frame, when `at_most` passed, and when nothing is in flight.

        Raises:
            AckTimeout: The peer sent nothing at all for `timeout` seconds.
            Stalled: Only keep-alives for `stall_timeout` seconds.
            ConnectionLost: Any other end of the connection. What it acknowledged before counts: it is not in `unacked`.
        """
        if self._socket is None or (at_most is None and not self.in_flight):
            return []
        acked: list[tuple[Batch, int]] = []
        if not self._protocol.closed:
            data = self._receive(self._socket, 0 if self._write_failure else at_most)
            if data is None:
                self._judge_silence()
                return []
            acked = self._received(data)
        # With acks, the caller learns of them first, and of the end at the next call.
        if self._protocol.closed and not acked:
            self._lose_closed()
        return acked

    def _post(self, batch: Batch) -> None:
        self._check_open()
        if not self.in_flight:
            self._prepare_line(batch)
            self._patience.restart(monotonic())
        if self._protocol.closed:
            self._lose_closed(batch)
        if self._write_failure and self._socket is not None:
            with suppress(OSError):  # the write's error is told
                self._overhear(self._socket)
            if not self._overheard:  # else the caller first learns of the acks, and then of the end
                self._lose(ConnectionLost, *self._write_failure, batch)
        data = self._to_send(batch)
        began = monotonic()
        self._write(data)
        self._written(began)

    def _prepare_line(self, batch: Batch) -> None:
        """Have a line that is not known to be dead: Logstash resets one that was idle for a minute."""
        if self._idled_out():
            self._drop_line()
        if self._socket is not None:
            with suppress(ConnectionLost):  # nothing was in flight, so nothing is lost but the line
                data = self._receive(self._socket, at_most=0)
                if data is not None:
                    self._received(data)
            if self._protocol.closed or self._write_failure:
                self._drop_line()
        try:
            self.connect()
        except ConnectionLost as lost:
            raise ConnectionLost(lost.reason, batch) from lost.__cause__

    def _write(self, data: bytes) -> None:
        """Write a window. A failure shows at the next read: first come the acks that the peer sent before."""
        assert self._socket is not None  # noqa: S101 - _prepare_line has seen to it
        view = memoryview(b"" if self._write_failure else data)
        slice_bytes = SLICE_BYTES if isinstance(self._socket, ssl.SSLSocket) else len(view)
        try:
            while view:
                self._socket.settimeout(self._options.write_seconds)
                try:
                    view = view[self._socket.send(view[:slice_bytes]) :]
                except TimeoutError:
                    if not self._overhear(self._socket):
                        raise
        except TimeoutError as error:
            self._write_failure = f"the peer took no bytes for {self._options.write_seconds:g} seconds", error
        except OSError as error:
            self._write_failure = failure_reason(error), error
        except BaseException as error:  # a signal's: the peer has half a window, which nothing may follow
            self._write_failure = "writing was interrupted", error
            raise

    def _overhear(self, line: socket.socket) -> bool:
        """Tell whether a peer that takes no bytes is alive: go-lumber reads no further while its consumer works."""
        line.settimeout(0)
        try:
            data = line.recv(RECEIVE_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        self._overheard += data
        now = monotonic()
        if data:
            self._patience.heard(now, progress=False)
        return bool(data) and self._patience.verdict(self._protocol, now) is None

    def _receive(self, line: socket.socket, at_most: float | None) -> bytes | None:
        """Return what the peer sent, b"" at its end, or None if that is nothing in time."""
        if self._overheard:
            data, self._overheard = self._overheard, b""
            return data
        left = self._patience.left(self._protocol, monotonic())
        patience = [seconds for seconds in (at_most, left) if seconds is not None]
        try:
            line.settimeout(max(0.0, min(patience)) if patience else None)
            data = line.recv(RECEIVE_BYTES)
        except (TimeoutError, BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return None
        except OSError as error:
            self._lose(ConnectionLost, failure_reason(error), error)
        return data

    def _judge_silence(self) -> None:
        if self._write_failure:
            self._lose(ConnectionLost, *self._write_failure)
        verdict = self._patience.verdict(self._protocol, monotonic())
        if verdict:
            self._lose(*verdict)

    def _drop_line(self) -> None:
        """Shut the connection down and forget it. No TLS farewell: it can block, and only acks decide anything."""
        line, self._socket = self._socket, None
        self._write_failure = None
        self._overheard = b""
        super()._drop_line()
        if line is not None:
            with suppress(OSError):  # the peer was faster
                line.shutdown(socket.SHUT_RDWR)
            line.close()
