"""Frames written by hand from the protocol's description, and a sender of raw bytes."""

from __future__ import annotations

import socket
import ssl
import struct
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

PATIENCE = 20.0  # seconds before a test that waits for the other end is given up


def w(count: int, version: int = 2) -> bytes:
    return b"%dW" % version + struct.pack(">I", count)


def j(sequence: int, payload: bytes, version: int = 2) -> bytes:
    return b"%dJ" % version + struct.pack(">II", sequence, len(payload)) + payload


def c(frames: bytes, version: int = 2, level: int = 1) -> bytes:
    return raw_c(zlib.compress(frames, level), version)


def raw_c(stream: bytes, version: int = 2) -> bytes:
    return b"%dC" % version + struct.pack(">I", len(stream)) + stream


def d(sequence: int, pairs: Mapping[bytes, bytes], version: int = 1) -> bytes:
    texts = b"".join(struct.pack(">I", len(text)) + text for pair in pairs.items() for text in pair)
    return b"%dD" % version + struct.pack(">II", sequence, len(pairs)) + texts


def a(sequence: int, version: int = 2) -> bytes:
    return b"%dA" % version + struct.pack(">I", sequence)


def events(payloads: Iterable[bytes], first: int = 1) -> bytes:
    return b"".join(j(sequence, payload) for sequence, payload in enumerate(payloads, first))


def window(*payloads: bytes) -> bytes:
    return w(len(payloads)) + c(events(payloads))


class Sender:
    """A connection to a receiver, for raw bytes."""

    def __init__(self, host: str, tls: ssl.SSLContext | None = None) -> None:
        name, _, port = host.rpartition(":")
        self.line = socket.create_connection((name.strip("[]"), int(port)), PATIENCE)
        self.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.line = tls.wrap_socket(self.line, server_hostname=name.strip("[]"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.line.close()

    def send(self, *data: bytes) -> None:
        self.line.sendall(b"".join(data))

    def read(self, size: int) -> bytes:
        """Read that many bytes, or fewer if the receiver closes."""
        data = b""
        with suppress(ConnectionError):
            while len(data) < size and (more := self.line.recv(min(size - len(data), 64 << 10))):
                data += more
        return data

    def rest(self) -> bytes:
        """Read until the receiver closes the connection."""
        return self.read(1 << 30)

    def is_quiet(self, seconds: float) -> bool:
        """Tell whether nothing comes for that long, not even the end."""
        self.line.settimeout(seconds)
        try:
            self.line.recv(1)
        except TimeoutError:
            return True
        finally:
            self.line.settimeout(PATIENCE)
        return False
