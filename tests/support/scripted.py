"""A receiver that does what a script says, over real sockets.

It reads the wire with its own code, so that a mistake in `beats_core.frames` cannot hide by being made at both ends.
A script is a function that is given each connection, in a thread of its own; or the test takes a connection with
`accept()` and plays the receiver itself, step by step.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

PATIENCE = 20.0  # seconds before a test that waits for the other end is given up
_DATA_SEGMENTS_IN = 152  # offset of tcpi_data_segs_in in Linux' struct tcp_info


class Gone(Exception):
    """The client has ended the connection."""


@dataclass
class Window:
    """One window as it was on the wire."""

    count: int
    frames: str = ""  # type letters as they came: "C", or one J for each event
    sequences: list[int] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    raw: bytes = b""

    @property
    def events(self) -> list[Any]:
        return [json.loads(payload) for payload in self.payloads]

    @property
    def ids(self) -> list[int]:
        return [event["id"] for event in self.events]


class Peer:
    """One connection, at the receiver's end."""

    def __init__(self, line: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.windows: list[Window] = []
        self.delivered: list[bytes] = []  # what a receiver of the field has handed on
        self.wire = bytearray()  # everything that came, as it came: under TLS encrypted
        self._clear = bytearray()  # the same, deciphered
        self._position = 0  # up to where it was read
        self.closed = threading.Event()
        self._line = line
        self._line.settimeout(PATIENCE)
        if line.family != socket.AF_UNIX:
            self._line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = tls.wrap_bio(self._incoming, self._outgoing, server_side=True) if tls else None

    def window(self) -> Window:
        """Read one whole window."""
        start = self._position
        version, kind, count = struct.unpack(">ccI", self.read(6))
        assert (b"2", b"W") == (version, kind), (version, kind)
        window = Window(count)
        while len(window.payloads) < count:
            self._frame(window)
        window.raw = bytes(self._clear[start : self._position])
        self.windows.append(window)
        return window

    def read(self, size: int) -> bytes:
        """Read exactly that many bytes."""
        end = self._position + size
        while len(self._clear) < end:
            self.take()
        data = bytes(self._clear[self._position : end])
        self._position = end
        return data

    def take(self, most: int = 64 << 10) -> None:
        """Take from the kernel what there is, at least one byte and at most `most`, for `read` to find."""
        while True:
            with suppress(ssl.SSLWantReadError):
                data = self.tls.read(most) if self.tls else self._receive(most)
                if not data:
                    raise Gone
                self._clear += data
                return
            self._incoming.write(self._receive(most))

    def handshake(self) -> None:
        """Finish the TLS handshake; ssl.SSLError says that the client does not like us, or speaks no TLS."""
        assert self.tls is not None
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._incoming.write(self._receive(64 << 10))
            except ssl.SSLError:
                self._flush()
                raise
            else:
                self._flush()
                return

    def send(self, data: bytes) -> None:
        if self.tls is None:
            self._transmit(data)
        else:
            self.tls.write(data)
            self._flush()

    def dribble(self, data: bytes) -> None:
        """Send byte by byte, each in a segment of its own."""
        for position in range(len(data)):
            self.send(data[position : position + 1])

    def ack(self, sequence: int) -> None:
        self.send(ack(sequence))

    def keep_alive(self) -> None:
        self.ack(0)

    def end(self) -> None:
        """Send FIN, under TLS a farewell first, and go on taking what comes: nothing turns it into an RST."""
        if self.tls is not None:
            with suppress(ssl.SSLError):  # it wants the client's farewell as well
                self.tls.unwrap()
            self._flush()
        with suppress(OSError):  # the client was faster
            self._line.shutdown(socket.SHUT_WR)

    def leave(self) -> None:
        """Close as most receivers do: under TLS a farewell, then FIN, or RST if the client has sent more, or does."""
        self.end()
        self.close()

    def close(self) -> None:
        """Close as the kernel does for a process that has ended: without a farewell, FIN or RST as above."""
        with suppress(OSError):  # closed already, or the client was faster
            self._line.shutdown(socket.SHUT_RDWR)
        self._line.close()
        self.closed.set()

    def reset(self) -> None:
        """Close as Logstash does: RST."""
        self._line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._line.close()
        self.closed.set()

    def is_quiet(self, seconds: float) -> bool:
        """Tell whether nothing comes for that long."""
        return len(self._clear) == self._position and not self._is_readable(seconds)

    def has_more(self) -> bool:
        """Tell whether there is something to read now, or the end."""
        unread = len(self._clear) - self._position or self._incoming.pending or (self.tls and self.tls.pending())
        return bool(unread) or self._is_readable(0)

    def take_all(self) -> None:
        while self._is_readable(0):
            self.take()

    def wait_for_end(self) -> bytes:
        """Do nothing until the client has left; return what it still sent."""
        with suppress(Gone):
            while True:
                self.take()
        return bytes(self._clear[self._position :])

    @property
    def address(self) -> str:
        """Where the client connects from."""
        return str(self._line.getpeername()[0])

    @property
    def segments(self) -> int:
        """How many TCP segments with data came: with TCP_NODELAY, and for small data, how many writes there were."""
        info = self._line.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        return int(struct.unpack_from("I", info, _DATA_SEGMENTS_IN)[0])

    def _is_readable(self, seconds: float) -> bool:
        with suppress(ValueError):  # closed: its end is there to be read
            return select.select([self._line], [], [], seconds)[0] != []
        return True

    def _frame(self, window: Window) -> None:
        version, kind = struct.unpack(">cc", self.read(2))
        assert b"2" == version, version
        window.frames += kind.decode()
        if kind == b"J":
            sequence, length = struct.unpack(">II", self.read(8))
            window.sequences.append(sequence)
            window.payloads.append(self.read(length))
            return
        assert b"C" == kind, kind
        (length,) = struct.unpack(">I", self.read(4))
        stream = zlib.decompressobj()
        frames = stream.decompress(self.read(length))
        assert stream.eof, "an unfinished zlib stream"
        assert not stream.unused_data, "bytes behind the zlib stream"
        while frames:
            version, kind, sequence, length = struct.unpack_from(">ccII", frames)
            assert (b"2", b"J") == (version, kind), (version, kind)
            window.sequences.append(sequence)
            window.payloads.append(frames[10 : 10 + length])
            frames = frames[10 + length :]

    def _receive(self, size: int) -> bytes:
        try:
            data = self._line.recv(size)
        except TimeoutError:
            raise AssertionError(f"the client sent nothing for {PATIENCE} seconds") from None
        except OSError as error:
            raise Gone from error
        if not data:
            raise Gone
        self.wire += data
        return data

    def _flush(self) -> None:
        self._transmit(self._outgoing.read())

    def _transmit(self, data: bytes) -> None:
        try:
            self._line.sendall(data)
        except OSError as error:
            raise Gone from error


Script = Callable[[Peer], object]
Answer = Callable[[Peer, Window], object]


class Scripted:
    """Listens, and plays the scripts: the first connection gets the first, and so on; the last one is for all others.

    What a script raises, other than `Gone`, is raised where the `with` block ends.

    Args:
        scripts: None at all: the test calls `accept()`.
        name: The address to listen on, or the path of a unix socket.
        port: 0 takes a free one.
        tls: A server's context, for the next connection if it is set later. The handshake comes before the script.
        receive_buffer: Bytes the kernel takes before the script reads them; 0 is its own choice.
    """

    def __init__(
        self,
        *scripts: Script,
        name: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        receive_buffer: int = 0,
    ) -> None:
        self.peers: list[Peer] = []
        self.refused: list[ssl.SSLError] = []  # handshakes that failed
        self._scripts = scripts
        self.tls = tls
        self._failures: list[BaseException] = []
        is_path = name.startswith("/")
        family = socket.AF_UNIX if is_path else socket.AF_INET6 if ":" in name else socket.AF_INET
        self._listener = socket.socket(family)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._listener.bind(name if is_path else (name, port))
        self._listener.listen()
        self.port: int = 0 if is_path else self._listener.getsockname()[1]
        self.host = f"unix://{name}" if is_path else f"[{name}]:{self.port}" if ":" in name else f"{name}:{self.port}"
        self._threads = [threading.Thread(target=self._serve)] if scripts else []
        for thread in self._threads[:1]:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads[:1]:
            thread.join()
        for peer in self.peers:
            peer.close()
        for thread in self._threads[1:]:
            thread.join()
        if self._failures and error is None:
            raise self._failures[0]

    @property
    def windows(self) -> list[Window]:
        return [window for peer in self.peers for window in peer.windows]

    @property
    def ids(self) -> list[int]:
        return [number for window in self.windows for number in window.ids]

    def accept(self) -> Peer:
        """Take the next connection; without TLS, whose handshake needs both ends at once."""
        self._listener.settimeout(PATIENCE)
        peer = Peer(self._listener.accept()[0])
        self.peers.append(peer)
        return peer

    def _serve(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(len(self.peers), len(self._scripts) - 1)]
            peer = Peer(line, self.tls)
            self.peers.append(peer)
            thread = threading.Thread(target=self._play, args=(script, peer))
            self._threads.append(thread)
            thread.start()

    def _play(self, script: Script, peer: Peer) -> None:
        try:
            if self.tls is not None:
                peer.handshake()
            script(peer)
        except Gone:
            pass
        except ssl.SSLError as error:
            self.refused.append(error)
        except BaseException as error:  # noqa: BLE001 - told where the `with` block ends
            self._failures.append(error)
        finally:
            peer.close()


def ack(sequence: int, version: int = 2) -> bytes:
    return b"%dA" % version + struct.pack(">I", sequence)


def answering(*answers: Answer) -> Script:
    """Answer the first window with the first answer, and so on; all others with the last, until the client leaves."""

    def script(peer: Peer) -> None:
        number = 0
        while True:
            window = peer.window()
            answers[min(number, len(answers) - 1)](peer, window)
            number += 1

    return script


def acknowledged(peer: Peer, window: Window) -> None:
    peer.ack(window.count)


def silence(peer: Peer, window: Window) -> None:
    peer.wait_for_end()


def acks(*sequences: int) -> Answer:
    """Send these acks, whatever the window is, in one piece."""
    return sends(b"".join(map(ack, sequences)))


def sends(data: bytes) -> Answer:
    """Send these bytes at once."""
    return lambda peer, _: peer.send(data)


def after(*answers: Answer) -> Answer:
    """Give these answers to one window, one after the other."""

    def answer(peer: Peer, window: Window) -> None:
        for each in answers:
            each(peer, window)

    return answer


def ends(peer: Peer, window: Window) -> None:
    peer.end()
    peer.wait_for_end()


def closes(peer: Peer, window: Window) -> None:
    peer.close()
    raise Gone


def resets(peer: Peer, window: Window) -> None:
    peer.reset()
    raise Gone
