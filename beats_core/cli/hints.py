"""What to do about a line that could not be opened, where the reason alone does not say so.

What was wrong on a line that was open, with its certificates or its acks, `diagnosis` explains.
"""

from __future__ import annotations

import errno
import socket
import ssl

from beats_core.cli.exits import PROTOCOL, exit_code
from beats_core.diagnosis import in_handshake
from beats_core.hosts import Host

_UNREACHABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH})


def hint_for(error: BaseException, host: Host, *, through_proxy: bool) -> str:
    """Return what to do, "" if there is nothing to add to the reason: a proxy is named in it."""
    cause: BaseException | None = error
    while cause is not None:
        hint = _about_tls(cause) or ("" if through_proxy else _about_reaching(cause, host))
        if hint:
            return hint
        cause = cause.__cause__
    return ""


def _about_tls(error: BaseException) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return _CERTIFICATE_HINTS.get(error.verify_code, "")
    speaks_none = isinstance(error, ssl.SSLError) and exit_code(error) == PROTOCOL
    return _NO_TLS if speaks_none or in_handshake(error) else ""


def _about_reaching(error: BaseException, host: Host) -> str:
    if isinstance(error, socket.gaierror):
        return "is the name spelled right, and does this machine's resolver know it?"
    if isinstance(error, ConnectionRefusedError) and host.is_unix:
        return "the socket is there, and nobody listens on it any more"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens on port {host.port} there: is `input {{ beats {{ port => {host.port} }} }}` loaded?"
    if isinstance(error, FileNotFoundError):
        return "there is no such socket: does the receiver run, and with this path?"
    if isinstance(error, PermissionError) and host.is_unix:
        return "this user may not write to the socket"
    if isinstance(error, TimeoutError):
        return "no answer at all: a firewall that drops packets, or the address of another machine"
    if isinstance(error, OSError) and error.errno in _UNREACHABLE:
        return "there is no way to this network: a route or a VPN is missing"
    return ""


_NO_TLS = "set `ssl_enabled => true` in Logstash, or do without TLS here"
# By OpenSSL's codes (x509_vfy.h).
_UNKNOWN_ISSUER = "ask whoever runs the receiver for the CA's certificate: --certificate-authorities FILE"
_OTHER_NAME = "use a name that the certificate is for, or let it be issued for this one as well"
_CERTIFICATE_HINTS = {
    **dict.fromkeys((2, 18, 19, 20, 21, 27), _UNKNOWN_ISSUER),
    **dict.fromkeys((62, 64), _OTHER_NAME),
    9: "compare the clocks of both machines",
    10: "it is to be renewed where the receiver runs; or this machine's clock is wrong",
}
