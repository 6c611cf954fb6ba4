"""Asks an HTTP proxy for a tunnel with CONNECT (RFC 9110, 9.3.6). No I/O.

python-socks, which speaks SOCKS5 for us, takes what it reads first for the whole answer: of one that comes in several
segments the rest would be taken for the receiver's.
"""

from __future__ import annotations

from base64 import b64encode

from beats_core.hosts import Proxy

_BEGINNING, _END = b"HTTP/", b"\r\n\r\n"
_MOST_BYTES = 16 << 10  # of an answer; nginx and Squid take no larger head either
_SUCCESS = range(200, 300)


class TunnelError(Exception):
    """The proxy does not open the tunnel, or is none.

    Attributes:
        error_code: The status it answered with, None if that was no answer of HTTP.
    """

    def __init__(self, reason: str, error_code: int | None = None) -> None:
        super().__init__(reason)
        self.error_code = error_code


def tunnel_request(proxy: Proxy, name: str, port: int) -> bytes:
    """Return what to write.

    Args:
        proxy: Whose credentials go with it.
        name: Where the tunnel is to lead; an IPv6 address in brackets.
        port: Its port.

    Raises:
        ValueError: The name or the credentials cannot be written in HTTP.
    """
    lines = [f"CONNECT {name}:{port} HTTP/1.1".encode("ascii"), f"Host: {name}:{port}".encode("ascii")]
    if proxy.username:
        if ":" in proxy.username:
            raise ValueError("a user's name with a colon in it")
        credentials = b64encode(f"{proxy.username}:{proxy.password}".encode("latin-1"))
        lines.append(b"Proxy-Authorization: Basic " + credentials)
    return b"\r\n".join(lines) + _END


class TunnelReply:
    """The proxy's answer, which is to be read byte by byte: what follows it is the receiver's."""

    def __init__(self) -> None:
        self._head = bytearray()

    def is_complete(self, byte: bytes) -> bool:
        """Take the next byte, b"" for end of file; tell whether the tunnel is open.

        Raises:
            TunnelError: It will not be.
            ConnectionResetError: The proxy hung up.
        """
        if not byte:
            raise ConnectionResetError("the proxy hung up")
        self._head += byte
        if not self._head.startswith(_BEGINNING[: len(self._head)]):
            raise TunnelError("no HTTP")
        if len(self._head) > _MOST_BYTES:
            raise TunnelError("an answer without an end")
        if not self._head.endswith(_END):
            return False
        _, _, status = self._head.partition(b"\r\n")[0].decode("utf-8", "surrogateescape").partition(" ")
        code = status.split(" ", 1)[0]
        if not (code.isascii() and code.isdigit()):
            raise TunnelError(f"Invalid status code: {code}")
        if int(code) not in _SUCCESS:
            raise TunnelError(status, int(code))
        return True
