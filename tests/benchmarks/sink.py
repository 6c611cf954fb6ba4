"""A receiver that only counts and acks, in a process of its own: what every client is measured against.

It never inflates. A window is complete with its compressed frame, as all clients here send it, or with its last
plain frame; then it is acked at once. It listens on two ports, because senders disagree on what an ack says:

    `per_window`   the number of events in the window: go-lumber, Filebeat, this project
    `cumulative`   all events of the connection so far: PyLogBeat, whose sequence runs on from window to window

How one knows that it is not the bottleneck: `usage()` tells its own CPU time, which the benchmark prints as a share
of the time measured, beside what it takes from a sender that replays a ready window.
"""

from __future__ import annotations

import json
import selectors
import socket
import struct
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import BinaryIO, Self

_RECEIVE_BYTES = 1 << 20  # a window of 2,048 events is about 250 KB: mostly one call
_WINDOW, _JSON, _COMPRESSED = b"WJC"
_SHORT_HEADER, _EVENT_HEADER = 6, 10  # bytes; both end with a number, which is a count or a length
_number_at = struct.Struct(">I").unpack_from
_VERSION_AND_ACK = b"2A"


@dataclass
class Usage:
    """What the sink has taken since it started, and the CPU time of its process."""

    events: int = 0
    windows: int = 0
    bytes: int = 0
    cpu_seconds: float = 0.0

    def since(self, earlier: Usage) -> Usage:
        """Return the difference to an earlier answer."""
        return Usage(**{name: value - getattr(earlier, name) for name, value in asdict(self).items()})


class Sink:
    """The sink's process, as a context manager."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        ports = self._answer()
        self.per_window = f"127.0.0.1:{ports['per_window']}"
        self.cumulative = f"127.0.0.1:{ports['cumulative']}"
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=10)
        self._process.stdout.close()

    def usage(self) -> Usage:
        """Ask for what it has taken so far."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"usage\n")
        self._process.stdin.flush()
        return Usage(**self._answer())

    def _answer(self) -> dict[str, int]:
        assert self._process.stdout is not None
        answer: dict[str, int] = json.loads(self._process.stdout.readline())
        return answer


class _Connection:
    """Counts the frames of one sender by their headers and acks its windows."""

    def __init__(self, line: socket.socket, usage: Usage, *, cumulative: bool) -> None:
        self.line = line
        self._usage = usage
        self._cumulative = cumulative
        self._begun = b""  # of a header that is not complete
        self._to_skip = 0  # bytes left of a payload or a compressed frame
        self._window = 0  # events announced; 0 between windows
        self._seen = 0  # events of the window whose frame was begun
        self._sequence = 0

    def take(self, data: memoryview) -> None:
        self._usage.bytes += len(data)
        if self._begun:
            data = memoryview(self._begun + data)
        position, end = self._to_skip, len(data)
        while position <= end:
            if self._window and self._seen == self._window:
                self._acknowledge()
            if end - position < _SHORT_HEADER:
                break
            kind = data[position + 1]
            if kind == _JSON:  # first, and without a call: there are thousands in a window
                if end - position < _EVENT_HEADER:
                    break
                position += _EVENT_HEADER + _number_at(data, position + _EVENT_HEADER - 4)[0]
                self._seen += 1
                continue
            number = _number_at(data, position + _SHORT_HEADER - 4)[0]
            position += _SHORT_HEADER
            if kind == _WINDOW:
                self._window, self._seen = number, 0
            elif kind == _COMPRESSED:
                self._seen = self._window
                position += number
            else:
                raise ValueError(f"a frame of type {kind:#x}")
        self._begun = bytes(data[position:])
        self._to_skip = max(0, position - end)

    def _acknowledge(self) -> None:
        self._usage.windows += 1
        self._usage.events += self._window
        self._sequence = self._sequence + self._window if self._cumulative else self._window
        self._window = 0
        self.line.sendall(_VERSION_AND_ACK + self._sequence.to_bytes(4, "big"))


class _Server:
    """One thread for both ports and all connections; ends when its standard input does."""

    def __init__(self, commands: BinaryIO, answers: BinaryIO) -> None:
        self._commands = commands
        self._answers = answers
        self._usage = Usage()
        self._selector = selectors.DefaultSelector()
        self._buffer = memoryview(bytearray(_RECEIVE_BYTES))

    def run(self) -> None:
        ports = {}
        for name in ("per_window", "cumulative"):
            listener = socket.create_server(("127.0.0.1", 0))
            ports[name] = listener.getsockname()[1]
            self._selector.register(listener, selectors.EVENT_READ, name)
        self._selector.register(self._commands, selectors.EVENT_READ)
        self._say(ports)
        while True:
            for key, _ in self._selector.select():
                if isinstance(key.data, _Connection):
                    self._receive(key.data)
                elif isinstance(key.fileobj, socket.socket):
                    self._accept(key.fileobj, cumulative=key.data == "cumulative")
                elif not self._commands.readline():
                    return
                else:
                    self._usage.cpu_seconds = time.process_time()
                    self._say(asdict(self._usage))

    def _accept(self, listener: socket.socket, *, cumulative: bool) -> None:
        line, _ = listener.accept()
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection = _Connection(line, self._usage, cumulative=cumulative)
        self._selector.register(line, selectors.EVENT_READ, connection)

    def _receive(self, connection: _Connection) -> None:
        try:
            count = connection.line.recv_into(self._buffer)
            connection.take(self._buffer[:count])
        except OSError:  # reset: the sender was done, or died; its own report tells
            count = 0
        if not count:
            self._selector.unregister(connection.line)
            connection.line.close()

    def _say(self, answer: dict[str, int] | dict[str, float]) -> None:
        self._answers.write(json.dumps(answer).encode() + b"\n")
        self._answers.flush()


if __name__ == "__main__":
    _Server(sys.stdin.buffer, sys.stdout.buffer).run()
