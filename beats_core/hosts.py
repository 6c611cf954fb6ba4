"""Where receivers and proxies listen: as people write it, and as the resolver knows it."""

from __future__ import annotations

import encodings.idna  # noqa: F401 - else at the first name, when there may be no descriptor left to read it with
import socket
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from beats_core.errors import OptionError
from beats_core.native import getaddrinfo

DEFAULT_PORT = 5044  # Logstash's and Filebeat's
_MAX_PORT = 65_535
_MOST_NAME = 253  # letters (RFC 1035)
_UNIX = "unix://"
_PROXIES = {"socks5": "socks5", "socks5h": "socks5", "http": "http"}


class Host(NamedTuple):
    """Where a receiver listens.

    Attributes:
        name: A host name or an address of IPv4 or IPv6, without brackets; or the path of a unix socket.
        port: 0 with a path.
        address: One of the addresses of `name`, where only that one is meant; TLS still asks for `name`.
    """

    name: str
    port: int
    address: str | None = None

    @property
    def is_unix(self) -> bool:
        """True if it is a unix socket."""
        return self.name.startswith("/")

    def __str__(self) -> str:
        """Write it as `parse_host` reads it; with `address`, for people."""
        if self.is_unix:
            return f"{_UNIX}{self.name}"
        written = f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"
        return f"{written} ({self.address})" if self.address not in (None, self.name) else written


class Proxy(NamedTuple):
    """What a line is opened through.

    Attributes:
        kind: "socks5", or "http" for its CONNECT.
        host: Where the proxy listens.
        username: Empty without credentials.
        password: Likewise.
    """

    kind: str
    host: Host
    username: str
    password: str

    def __repr__(self) -> str:
        """Show it without the password: tracebacks may."""
        return f"{type(self).__name__}(kind={self.kind!r}, host={self.host!r}, username={self.username!r})"


def parse_host(text: str) -> Host:
    """Read `name`, `name:port`, `[::1]:port`, `::1` or `unix:///path`; the port is 5044 if none is given.

    Raises:
        OptionError: It is none of these.
    """
    allowed = "a host is 'name', 'name:port', '[::1]:port' or 'unix:///path', with a port from 0 to 65535"
    if not isinstance(text, str):
        raise OptionError("hosts", text, allowed)
    name, port = text.strip(), ""
    if name.startswith(_UNIX):
        path = name.removeprefix(_UNIX)
        if not path.startswith("/") or not path.isprintable():
            raise OptionError("hosts", text, allowed)
        return Host(path, 0)
    if name.startswith("["):
        name, bracket, rest = name[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise OptionError("hosts", text, allowed)
        port = rest[1:]
    elif name.count(":") == 1:
        name, _, port = name.partition(":")
    if not _is_name(name) or (port and not (port.isascii() and port.isdigit() and int(port) <= _MAX_PORT)):
        raise OptionError("hosts", text, allowed)
    return Host(name, int(port) if port else DEFAULT_PORT)


def parse_proxy(url: str) -> Proxy:
    """Read `socks5://host:port`, `socks5h://…` (the same) or `http://…`, with `user:password@` before the host.

    Raises:
        ValueError: It is none of these.
    """
    parts = urlsplit(url)
    if parts.scheme not in _PROXIES or not parts.port or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("not the URL of a proxy")
    try:
        host = parse_host(parts.netloc.rpartition("@")[2])
    except OptionError as error:
        raise ValueError("not the URL of a proxy") from error
    return Proxy(_PROXIES[parts.scheme], host, unquote(parts.username or ""), unquote(parts.password or ""))


def resolve(host: Host) -> list[Host]:
    """Look a name up; return it with each of its addresses, in the resolver's order. Blocks.

    Where nothing is to be looked up, that is the host itself.

    Raises:
        OSError: It has no address, or no resolver answers.
    """
    if host.is_unix or host.address:
        return [host]
    return with_addresses(host, getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM))


def with_addresses(host: Host, found: Iterable[tuple[Any, ...]]) -> list[Host]:
    """Return the host with each address that `getaddrinfo` found, once."""
    return list(dict.fromkeys(host._replace(address=address) for *_, (address, *_) in found))


def _is_name(name: str) -> bool:
    if len(name) > _MOST_NAME:
        return False
    try:  # what the resolver would refuse with a UnicodeError, at a worse moment
        if ":" in name:
            ip_address(name)
        return bool(name.encode("idna")) and name.isprintable() and not set(name) & set("/ @?#,")
    except ValueError:
        return False
