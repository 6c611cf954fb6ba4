"""Addresses of receivers as people write them, and why one could not be reached."""

from __future__ import annotations

import os
import socket
import ssl
from typing import NamedTuple

from beats_core.errors import OptionError

DEFAULT_PORT = 5044  # Logstash's and Filebeat's
_MAX_PORT = 65_535


class Host(NamedTuple):
    """Where a receiver listens; `name` is a host name or an address of IPv4 or IPv6, without brackets."""

    name: str
    port: int

    def __str__(self) -> str:
        """Write it as `parse_host` reads it."""
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


def parse_host(text: str) -> Host:
    """Read `name`, `name:port`, `[::1]:port` or `::1`; the port is 5044 if none is given.

    Raises:
        OptionError: It is none of these.
    """
    allowed = "a host is 'name', 'name:port' or '[::1]:port', with a port from 0 to 65535"
    if not isinstance(text, str):
        raise OptionError("hosts", text, allowed)
    name, port = text.strip(), ""
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


def _is_name(name: str) -> bool:
    try:  # what the resolver would refuse with a UnicodeError, at a worse moment
        return bool(name.encode("idna")) and name.isprintable() and not set(name) & set("/ @?#")
    except UnicodeError:
        return False


def failure_reason(error: OSError) -> str:
    """Say in words why a connection could not be made or was lost."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the receiver's certificate is not accepted: {error.verify_message}"
    if isinstance(error, ssl.SSLEOFError):
        return "the peer ended the TLS connection without a word (it may not speak TLS, or want a client certificate)"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed: {getattr(error, 'reason', None) or error}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if isinstance(error, ConnectionResetError) and not error.args:  # asyncio's, during a TLS handshake
        return failure_reason(ssl.SSLEOFError())
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # asyncio's own text repeats the address
    return (error.strerror or str(error) or type(error).__name__).lower()
