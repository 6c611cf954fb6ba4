"""A proxy between senders and one receiver that cuts lines in the middle of whatever passes.

It reads along with its own few lines of code, to know which windows had begun when it cut.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

_RECEIVE_BYTES = 64 << 10


@dataclass(frozen=True)
class Cut:
    """When and how to cut a line.

    Attributes:
        events: Armed as soon as windows of so many events have begun since the last cut.
        direction: Whose bytes count from then on: "up" the sender's, "down" the receiver's.
        bytes: How many of them still pass.
        how: "reset" drops what is on its way, "end" lets the receiver have what it was sent.
        away: Seconds in which connections are refused afterwards.
    """

    events: int
    direction: Literal["up", "down"]
    bytes: int
    how: Literal["reset", "end"]
    away: float


class WindowCounter:
    """Counts the windows that begin in a stream of frames, however it is cut into pieces."""

    def __init__(self) -> None:
        self.windows: list[int] = []  # how many events each announced
        self._head = b""
        self._skip = 0

    def feed(self, data: bytes) -> None:
        position = 0
        while position < len(data):
            if self._skip:
                passed = min(self._skip, len(data) - position)
                self._skip -= passed
                position += passed
                continue
            self._head += data[position : position + 1]
            position += 1
            kind = self._head[1:2]
            if len(self._head) == (10 if kind == b"J" else 6):
                (number,) = struct.unpack(">I", self._head[-4:])
                if kind == b"W":
                    self.windows.append(number)
                else:
                    self._skip = number
                self._head = b""


@dataclass
class Line:
    """One connection that passes through, or did."""

    sender: socket.socket
    receiver: socket.socket
    upstream: str  # what the receiver knows its peer as
    begun: WindowCounter = field(default_factory=WindowCounter)
    cut: Cut | None = None


class Proxy:
    """Listens, and passes bytes on to `target` and back until the next cut.

    Args:
        target: `name:port` of a receiver.
        cuts: One after the other, whichever line is there.
        on_line: Called with each new line before a byte passes.
    """

    def __init__(self, target: str, cuts: Iterable[Cut], on_line: Callable[[Line], object]) -> None:
        name, _, port = target.rpartition(":")
        self.lines: list[Line] = []
        self._target = name, int(port)
        self._cuts = list(cuts)
        self._on_line = on_line
        self._away_until = 0.0
        self._since_cut = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._thread = threading.Thread(target=self._run)
        self._stop_reader, self._stop_writer = socket.socketpair()
        self._thread.start()

    def close(self) -> None:
        """End the line that is there, and listen no more."""
        self._stop_writer.send(b"\0")
        self._thread.join()
        for end in (self._listener, self._stop_reader, self._stop_writer):
            end.close()

    def _run(self) -> None:
        """One thread passes everything on: a sender has one line at a time."""
        while True:
            readable, _, _ = select.select([self._listener, self._stop_reader], [], [])
            if self._stop_reader in readable:
                return
            sender, _ = self._listener.accept()
            if time.monotonic() < self._away_until:
                _end(sender, "reset")
                continue
            receiver = socket.create_connection(self._target)
            own = receiver.getsockname()
            line = Line(sender, receiver, f"{own[0]}:{own[1]}")
            for end in (sender, receiver):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._on_line(line)
            self.lines.append(line)
            with suppress(OSError):  # one end is gone: the other is told so below
                self._pass_on(line)
            _end(sender, line.cut.how if line.cut else "end")
            _end(receiver, line.cut.how if line.cut else "end")
            self._since_cut = 0 if line.cut else self._since_cut + sum(line.begun.windows)
            if line.cut:
                self._away_until = time.monotonic() + line.cut.away

    def _pass_on(self, line: Line) -> None:
        left: int | None = None  # bytes until the cut, once it is armed
        while True:
            readable, _, _ = select.select([line.sender, line.receiver, self._stop_reader], [], [])
            if self._stop_reader in readable:
                return
            direction = "up" if line.sender in readable else "down"
            source, sink = (line.sender, line.receiver) if direction == "up" else (line.receiver, line.sender)
            data = source.recv(_RECEIVE_BYTES)
            if not data:
                return
            if direction == "up":
                line.begun.feed(data)
            cut = self._cuts[0] if self._cuts else None
            if cut and left is None and self._since_cut + sum(line.begun.windows) >= cut.events:
                left = cut.bytes
            if cut and left is not None and direction == cut.direction:
                if left < len(data):
                    sink.sendall(data[:left])
                    line.cut = self._cuts.pop(0)
                    return
                left -= len(data)
            sink.sendall(data)


def _end(line: socket.socket, how: str) -> None:
    if how == "reset":
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    else:
        with suppress(OSError):  # the other end was faster
            line.shutdown(socket.SHUT_WR)
    line.close()
