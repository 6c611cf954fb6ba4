"""The asyncio driver: one transport, one ClientProtocol. What needs no I/O is `driver`'s.

The event loop only fills `_Line.received`. What was received counts when the client takes it, so that a task that is
cancelled while it waits loses nothing.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from types import TracebackType
from typing import NoReturn, Self, cast

from beats_core.async_dial import dial
from beats_core.diagnosis import failure_reason
from beats_core.driver import CLOSED, RECEIVE_BYTES, SLICE_BYTES, Driver, Events, unsent
from beats_core.errors import ConnectionLost
from beats_core.frames import Batch
from beats_core.hosts import Host

_LOOKS = 8  # turns of the loop; it needs two for each of data and end


class AsyncClient(Driver):
    """`Client` for asyncio: the same arguments and calls, awaited. One task at a time; another gets a RuntimeError.

    It connects when it is entered or first used, and again at the next use after a ConnectionLost.

    Cancelling is safe: windows that were written stay in flight, and in `unacked`; a window that was being written is
    one of them, and with only half of it written its line has ended, which the next call reports as a ConnectionLost.
    Of a cancelled `send`, what was not yet written is not sent.
    """

    _line: _Line | None = None
    _in_use = False

    async def __aenter__(self) -> Self:
        """Connect."""
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        """Close."""
        await self.close()

    async def connect(self) -> None:
        """Connect, unless there is a line. Each host is tried in turn, and each of its addresses.

        Raises:
            ConnectionLost: No host could be reached; the reason names each. `unacked` is empty.
        """
        with self._alone():
            self._closed = False
            await self._connect()

    async def close(self) -> None:
        """Close the line at once; what is in flight stays unacknowledged. May be called again, and by any task.

        A task that waits in another call gets ConnectionLost.
        """
        self._closed = True
        line = self._line
        if line is not None:
            line.end("the client was closed")
            if not self._in_use:
                self._drop_line()
            await line.gone.wait()

    async def send(self, events: Events) -> int:
        """Send events in as many windows as they need and wait until all are acknowledged; see `Client.send`."""
        with self._alone():
            batch = self._batch(events)
            waiting = deque(batch.split(self._options.bulk_max_size, self._options.bulk_max_bytes))
            try:
                while waiting or self.in_flight:
                    while waiting and self.in_flight < (1 if self.slow else self._options.pipelining):
                        await self._post(waiting.popleft())
                    await self._read_acks(None)
            except ConnectionLost as lost:
                raise unsent(lost, waiting) from lost.__cause__
            return len(batch)

    async def post(self, events: Events) -> int:
        """Send events as one window without waiting for its ack; see `Client.post`."""
        with self._alone():
            batch = self._window(events)
            if len(batch):
                await self._post(batch)
            return len(batch)

    async def wait_ack(self, at_most: float | None = None) -> int:
        """Wait for the peer once, as `read_acks` does; return how many events it newly acknowledged."""
        return sum(count for _, count in await self.read_acks(at_most))

    async def read_acks(self, at_most: float | None = None) -> list[tuple[Batch, int]]:
        """Wait for the peer once and return what it newly acknowledged; see `Client.read_acks`."""
        with self._alone():
            return await self._read_acks(at_most)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self._in_use:
            raise RuntimeError("another task is using this client; one task at a time")
        self._in_use = True
        try:
            yield
        finally:
            self._in_use = False
            if self._closed:  # meanwhile, by another task, which left the rest to this one
                self._drop_line()

    async def _connect(self) -> None:
        if self._line is not None or not self._options.enabled:
            return
        failures: list[tuple[Host, OSError]] = []
        for host in self._hosts:
            try:
                self._line = await dial(host, self._options, _Line)
            except OSError as error:
                failures.append((host, error))
            else:
                self._reset()
                return
        self._cannot_connect(failures)

    async def _read_acks(self, at_most: float | None) -> list[tuple[Batch, int]]:
        line = self._line
        if line is None or (at_most is None and not self.in_flight):
            return []
        acked: list[tuple[Batch, int]] = []
        if not self._protocol.closed:
            data = await self._receive(line, at_most)
            if data is None:
                verdict = self._patience.verdict(self._protocol, monotonic())
                if verdict:
                    self._lose(*verdict)
                return []
            acked = self._received(data)
        # With acks, the caller learns of them first, and of the end at the next call.
        if self._protocol.closed and not acked:
            self._lose_closed()
        return acked

    async def _receive(self, line: _Line, at_most: float | None) -> bytes | None:
        """Return what the peer sent, or None if that is nothing in time."""
        if not line.received and not line.ended:
            left = self._patience.left(self._protocol, monotonic())
            seconds = min((seconds for seconds in (at_most, left) if seconds is not None), default=None)
            if seconds is not None and seconds <= 0:
                await line.look()
            else:
                await line.change(seconds)
        data = line.take()
        if not data and line.ended:
            self._lose_ended(line)
        return data or None

    def _lose_ended(self, line: _Line, also: Batch | None = None) -> NoReturn:
        self._lose(ConnectionLost, *(line.failure or (CLOSED, None)), also)

    async def _post(self, batch: Batch) -> None:
        self._check_open()
        if not self.in_flight:
            await self._prepare_line(batch)
            self._patience.restart(monotonic())
        line = cast("_Line", self._line)
        await line.look()
        if self._protocol.closed:
            self._lose_closed(batch)
        if line.ended and not line.received:
            self._lose_ended(line, batch)
        data = self._to_send(batch)
        began = monotonic()
        await self._write(line, data)
        self._written(began)

    async def _prepare_line(self, batch: Batch) -> None:
        """Have a line that is not known to be dead: Logstash resets one that was idle for a minute."""
        if self._idled_out():
            self._drop_line()
        line = self._line
        if line is not None:
            await line.look()
            data = line.take()
            if data:
                self._received(data)
            if line.ended or self._protocol.closed:
                self._drop_line()
        try:
            await self._connect()
        except ConnectionLost as lost:
            raise ConnectionLost(lost.reason, batch) from lost.__cause__
        self._check_open()

    async def _write(self, line: _Line, data: bytes) -> None:
        """Write a window. A failure shows at the next read: first come the acks that the peer sent before."""
        view = memoryview(data)
        try:
            while view and line.takes_bytes:
                line.write(view[:SLICE_BYTES])
                view = view[SLICE_BYTES:]
                await self._drain(line)
                await line.look()  # acks that are here must not be lost with a line that the next write finds dead
        except asyncio.CancelledError:
            if view:  # the peer has half a window, which nothing may follow
                line.end("writing was interrupted")
            raise

    async def _drain(self, line: _Line) -> None:
        """Wait until the peer has taken what is written, as long as it moves or speaks."""
        while line.congested and not line.ended:
            heard = len(line.received)
            given_up = not await line.change(self._options.write_seconds)
            if len(line.received) > heard:  # go-lumber reads no further while its consumer works
                self._patience.heard(monotonic(), progress=False)
                given_up = self._patience.verdict(self._protocol, monotonic()) is not None
            if given_up:
                line.end(f"the peer took no bytes for {self._options.write_seconds:g} seconds")

    def _drop_line(self) -> None:
        """Cut the connection and forget it. No TLS farewell: it can take long, and only acks decide anything."""
        line, self._line = self._line, None
        super()._drop_line()
        if line is not None:
            line.end("the client was closed")


class _Line(asyncio.Protocol):
    """What the event loop learns of one connection, kept until the client looks."""

    def __init__(self, line: socket.socket) -> None:
        self._socket = line  # the loop's, only to look at; under uvloop the transport shows none that could be read
        self.received = bytearray()
        self.congested = False  # more is written than the peer has taken
        self.ended = False
        self.failure: tuple[str, BaseException | None] | None = None
        self.gone = asyncio.Event()
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._is_plain = transport.get_extra_info("ssl_object") is None
        self._transport.set_write_buffer_limits(high=1, low=0)  # a TLS transport pauses for ever at a limit of 0

    def data_received(self, data: bytes) -> None:
        self.received += data
        if len(self.received) > RECEIVE_BYTES and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._changed()

    def eof_received(self) -> None:
        self.ended = True
        self._changed()

    def connection_lost(self, error: Exception | None) -> None:
        if self._is_plain:
            # A write that failed has ended reading, though acks may have come before. The socket is still open.
            with suppress(OSError):
                while len(self.received) <= RECEIVE_BYTES and (data := self._socket.recv(RECEIVE_BYTES)):
                    self.received += data
        if error is not None and self.failure is None:
            self.failure = failure_reason(error) if isinstance(error, OSError) else repr(error), error
        self.ended = True
        self.gone.set()
        self._changed()

    def pause_writing(self) -> None:
        self.congested = True

    def resume_writing(self) -> None:
        self.congested = False
        self._changed()

    @property
    def takes_bytes(self) -> bool:
        """False also between a failed write and the moment the loop tells of it."""
        return not self.ended and not self._transport.is_closing()

    def write(self, data: memoryview) -> None:
        self._transport.write(data)

    def take(self) -> bytes:
        """Return what was received since the last call."""
        data = bytes(self.received)
        self.received.clear()
        if self._paused and not self.ended:
            self._paused = False
            self._transport.resume_reading()
        return data

    def end(self, reason: str) -> None:
        """Cut the connection; `failure` says why, unless it has ended already."""
        if not self.ended:
            self.ended = True
            self.failure = reason, None
        if not self.gone.is_set():  # asyncio's transports take no abort after that
            self._transport.abort()
        self._changed()

    async def change(self, seconds: float | None) -> bool:
        """Wait until anything happens on the line, at most that long; tell whether it did."""
        self._waiter = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait([self._waiter], timeout=seconds)
        return bool(done)

    async def look(self) -> None:
        """Let the loop read what has arrived already: data, then the end, and both again below TLS."""
        for _ in range(_LOOKS):
            if self.ended or self._paused or self._socket.fileno() < 0 or not _readable(self._socket):
                return
            await asyncio.sleep(0)

    def _changed(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _readable(line: socket.socket) -> bool:
    with selectors.DefaultSelector() as selector:
        selector.register(line, selectors.EVENT_READ)
        return bool(selector.select(0))
