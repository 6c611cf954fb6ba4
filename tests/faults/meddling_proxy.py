"""A proxy of ours that does to the bytes that pass what bad lines do: resets, ends, stalls, delays, splits, damages.

What it is to do is asked anew for each connection, and can be changed while that stands. It knows nothing of the
protocol. Each direction of a connection has two threads, one that takes and one that gives, so that a delay is one
for each byte and does not make the line narrower.
"""

from __future__ import annotations

import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from queue import SimpleQueue
from types import TracebackType
from typing import Literal, Self

_RECEIVE_BYTES = 16 << 10


@dataclass(frozen=True)
class Meddling:
    """What is done to one connection.

    Attributes:
        after: When so many bytes of `direction` have passed, `then` happens; None is never.
        direction: Of which bytes those are: "up" to the receiver, "down" to the sender.
        then: "reset" both ends; "end" sends FIN to the one who was to have the bytes, and still takes what that one
            says; "stall" passes nothing more of this direction; "damage" turns a bit over, once.
        delay: Seconds each byte takes, in each direction.
        rate: Bytes per second, in each direction; 0 is any number.
        piece: Most bytes that leave in one segment; 0 is any number.
    """

    after: int | None = None
    direction: Literal["up", "down"] = "up"
    then: Literal["reset", "end", "stall", "damage"] = "reset"
    delay: float = 0.0
    rate: float = 0.0
    piece: int = 0


HARMLESS = Meddling()


class MeddlingProxy:
    """Listens, and passes bytes on to `target` and back.

    Args:
        target: `name:port` of a receiver.
        *meddlings: For the first connection, the second and so on; all others are left alone.
    """

    def __init__(self, target: str, *meddlings: Meddling) -> None:
        name, _, port = target.rpartition(":")
        self._target = name, int(port)
        self._meddlings = list(meddlings)
        self.connections = 0
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for end in self._ends:
            _end(end)
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sender, _ = self._listener.accept()
            except OSError:
                return
            meddling = self._meddlings[self.connections] if self.connections < len(self._meddlings) else HARMLESS
            self.connections += 1
            try:
                receiver = socket.create_connection(self._target, timeout=5)
            except OSError:
                _reset(sender)
                continue
            self._ends += [sender, receiver]
            for end in (sender, receiver):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for direction, source, sink in (("up", sender, receiver), ("down", receiver, sender)):
                passing = _Passing(source, sink, meddling, mine=meddling.direction == direction)
                for body in (passing.take, passing.give):
                    thread = threading.Thread(target=body, daemon=True)
                    self._threads.append(thread)
                    thread.start()


class _Passing:
    """One direction of one connection."""

    def __init__(self, source: socket.socket, sink: socket.socket, meddling: Meddling, *, mine: bool) -> None:
        self._source, self._sink = source, sink
        self._meddling = meddling
        self._left = meddling.after if mine else None  # bytes until something happens
        self._way: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def take(self) -> None:
        data = b"-"
        while data:
            try:
                data = self._source.recv(_RECEIVE_BYTES)
            except OSError:
                data = b""
            self._way.put((time.monotonic() + self._meddling.delay, data))

    def give(self) -> None:
        stalled = False
        with suppress(OSError):  # the other end is gone, and its own direction says so
            while True:
                due, data = self._way.get()
                time.sleep(max(0.0, due - time.monotonic()))
                if not data:
                    break
                if self._left is not None and self._left < len(data):
                    data = self._happen(data, self._left)
                    stalled = stalled or self._meddling.then != "damage"
                    self._left = None
                elif self._left is not None:
                    self._left -= len(data)
                if not stalled:
                    self._pass_on(data)
            self._sink.shutdown(socket.SHUT_WR)

    def _happen(self, data: bytes, position: int) -> bytes:
        """Do what is to be done at this position, and return what still passes."""
        then = self._meddling.then
        if then == "damage":
            return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]
        self._pass_on(data[:position])
        if then == "reset":
            _reset(self._source)
            _reset(self._sink)
        elif then == "end":
            self._sink.shutdown(socket.SHUT_WR)
        return b""

    def _pass_on(self, data: bytes) -> None:
        piece = self._meddling.piece or len(data)
        for position in range(0, len(data), max(1, piece)):
            self._sink.sendall(data[position : position + piece])
            if self._meddling.rate:
                time.sleep(min(piece, len(data)) / self._meddling.rate)


def _reset(end: socket.socket) -> None:
    with suppress(OSError):  # closed already
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # A thread may be reading: only the shutdown wakes it, and only what comes after it is a reset to the peer.
        end.shutdown(socket.SHUT_RD)
        end.close()


def _end(end: socket.socket) -> None:
    with suppress(OSError):  # the other side was faster
        end.shutdown(socket.SHUT_RDWR)
    end.close()
