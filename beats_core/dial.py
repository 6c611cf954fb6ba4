"""Opens one line, in a thread: names, addresses, proxies, TCP's options, TLS.

What of it does not wait, the asyncio driver's `async_dial` takes from here.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from time import monotonic
from typing import Any

from beats_core import native
from beats_core.diagnosis import failure_reason, handshaking
from beats_core.hosts import Host, Proxy, parse_proxy, resolve
from beats_core.options import Options
from beats_core.tunnel import TunnelError, TunnelReply, tunnel_request

_UNIX_SERVER_NAME = "localhost"  # whom TLS asks for behind a path, which no certificate names

# Replies of SOCKS5 (RFC 1928) and of HTTP that have a better word than the proxy's own text.
_WANTS_CREDENTIALS = frozenset({401, 407})
_ALLOWS_NOT = frozenset({2, 403})
_REACHES_NOT = frozenset({1, 3, 4, 5, 6, 502, 503, 504})
_MOST_SAID = 200  # characters of a proxy's own text, which may be anything


class Unreachable(OSError):
    """No line could be opened. The text is a reason in words, the cause the error that says most."""


def dial(host: Host, options: Options, at_most: float | None = None) -> socket.socket:
    """Open a line, over which nothing but TLS's handshake has gone yet. Each address of a name is tried in turn.

    Args:
        host: With `address`, only that one is tried.
        options: Those about connections.
        at_most: Seconds all of it may take. Only the system's resolver knows no limit.

    Returns:
        A socket; with TLS an `ssl.SSLSocket`, whose peer is to be trusted.

    Raises:
        Unreachable: No address could be reached, or the peer is not to be trusted.
    """
    until = None if at_most is None else monotonic() + at_most
    failures: list[tuple[Host, OSError]] = []
    try:
        targets = [host] if is_resolved_by_proxy(host, options) else resolve(host)
    except OSError as error:
        raise unreachable([(host, error)]) from error
    for target in targets:
        try:
            return _open_line(target, options, until)
        except OSError as error:
            failures.append((target, error))
    raise unreachable(failures)


def _open_line(target: Host, options: Options, until: float | None) -> socket.socket:
    tls = options.tls
    if tls is None:
        return _reach(target, options, until)
    probe = tls.probe_context()
    if probe is not None:
        with closing(_encrypt(_reach(target, options, until), probe, target, options, until)) as look:
            tls.learn(look)
    line = _encrypt(_reach(target, options, until), tls.context(), target, options, until)
    try:
        tls.check(line)
    except BaseException:
        line.close()
        raise
    return line


def _reach(target: Host, options: Options, until: float | None) -> socket.socket:
    proxy = proxy_for(target, options)
    if proxy is not None:
        return _reach_through(proxy, target, options, until)
    line, address = new_socket(target, options)
    try:
        line.settimeout(_limit(options.connect_seconds, until))
        line.connect(address)
    except BaseException:
        line.close()
        raise
    return line


def _reach_through(proxy: Proxy, target: Host, options: Options, until: float | None) -> socket.socket:
    from python_socks import ProxyError  # noqa: PLC0415 - an extra
    from python_socks.sync import Proxy as Way  # noqa: PLC0415 - as above

    failures: list[tuple[Host, OSError]] = []
    try:
        addresses = resolve(proxy.host)
    except OSError as error:
        raise proxy_failure(proxy, target, error) from error
    for at in addresses:
        try:
            if proxy.kind == "http":
                return _tunnel(proxy, at, target, options, until)
            line: socket.socket = Way(*way(proxy, at), rdns=True).connect(
                *destination(proxy, target),
                timeout=_limit(options.connect_seconds, until),
                local_addr=source(options),
            )
        except (ProxyError, TunnelError, OSError, ValueError) as error:
            failures.append((at, proxy_failure(proxy, target, error)))
        else:
            set_tcp_options(line, options)
            return line
    raise unreachable(failures)


def _tunnel(proxy: Proxy, at: Host, target: Host, options: Options, until: float | None) -> socket.socket:
    until = monotonic() + _limit(options.connect_seconds, until)  # for all of it, also where the answer dribbles
    request, reply = tunnel_request(proxy, *destination(proxy, target)), TunnelReply()
    line, address = new_socket(at, options)
    try:
        line.settimeout(_limit(options.connect_seconds, until))
        with reaching_proxy():
            line.connect(address)
        line.sendall(request)
        while not reply.is_complete(line.recv(1)):
            line.settimeout(_limit(options.connect_seconds, until))
    except BaseException:
        line.close()
        raise
    return line


def _encrypt(
    line: socket.socket, context: ssl.SSLContext, target: Host, options: Options, until: float | None
) -> ssl.SSLSocket:
    encrypted = None
    try:
        with handshaking():
            line.settimeout(_limit(options.handshake_seconds, until))
            encrypted = context.wrap_socket(line, server_hostname=server_name(target), do_handshake_on_connect=False)
            native.leave_to_parent(encrypted).do_handshake()
            return encrypted
    except BaseException:
        (encrypted or line).close()
        raise


def _limit(seconds: float, until: float | None) -> float:
    left = seconds if until is None else min(seconds, until - monotonic())
    if left <= 0:
        raise TimeoutError
    return left


def new_socket(target: Host, options: Options) -> tuple[socket.socket, Any]:
    """Return a socket with its options, bound to the source address, and what to connect it to.

    Raises:
        OSError: There is no such source address.
    """
    if target.is_unix:
        if not hasattr(socket, "AF_UNIX"):  # Windows
            raise Unreachable("there are no unix sockets on this platform")
        return native.new_socket(socket.AF_UNIX), target.name
    # Numeric: nothing is looked up but the family and the zone of the address.
    ((family, _, _, _, address), *_) = native.getaddrinfo(
        target.address, target.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )
    line = native.new_socket(family)
    try:
        set_tcp_options(line, options)
        if options.source_address:
            line.bind((options.source_address, 0))
    except OSError as error:
        line.close()
        raise Unreachable(f"cannot connect from {options.source_address}: {failure_reason(error)}") from error
    return line, address


def set_tcp_options(line: socket.socket, options: Options) -> None:
    """Set what the options say about TCP, where the platform has it."""
    # A window is one write, and the ack to it must not wait for the next: Nagle costs 40 ms here.
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    knobs: list[tuple[str, float]] = []
    if options.tcp_keepalive_idle is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        idle = "TCP_KEEPIDLE" if hasattr(socket, "TCP_KEEPIDLE") else "TCP_KEEPALIVE"  # macOS
        knobs += [
            (idle, options.tcp_keepalive_idle),
            ("TCP_KEEPINTVL", options.tcp_keepalive_interval),
            ("TCP_KEEPCNT", options.tcp_keepalive_count),
        ]
    if options.tcp_user_timeout is not None:
        knobs.append(("TCP_USER_TIMEOUT", options.tcp_user_timeout * 1000))
    for name, value in knobs:
        if hasattr(socket, name):
            line.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), max(1, round(value)))


def server_name(target: Host) -> str:
    """Return whom TLS asks for: the name without the zone of an address and the dot that ends a name."""
    return _UNIX_SERVER_NAME if target.is_unix else target.name.partition("%")[0].rstrip(".")


def proxy_for(host: Host, options: Options) -> Proxy | None:
    """Return the proxy on the way to a host, None if there is none."""
    return None if host.is_unix or not options.proxy_url else parse_proxy(options.proxy_url)


def is_resolved_by_proxy(host: Host, options: Options) -> bool:
    """Tell whether the name is the proxy's to look up."""
    return proxy_for(host, options) is not None and not options.proxy_use_local_resolver


def way(proxy: Proxy, at: Host) -> tuple[Any, str, int, str, str]:
    """Return what python-socks wants to know of a proxy, at one of its addresses."""
    from python_socks import ProxyType  # noqa: PLC0415 - an extra

    return ProxyType[proxy.kind.upper()], at.address or at.name, at.port, proxy.username, proxy.password


def destination(proxy: Proxy, target: Host) -> tuple[str, int]:
    """Return where the proxy is asked to connect to."""
    name = target.address or target.name
    return f"[{name}]" if ":" in name and proxy.kind == "http" else name, target.port


def source(options: Options) -> tuple[str, int] | None:
    """Return the address to connect from, None for the system's choice."""
    return (options.source_address, 0) if options.source_address else None


@contextmanager
def reaching_proxy() -> Iterator[None]:
    """Tell a proxy that cannot be reached from one that hangs up, as python-socks does."""
    from python_socks import ProxyConnectionError  # noqa: PLC0415 - an extra

    try:
        yield
    except OSError as error:
        raise ProxyConnectionError(error.errno, str(error)) from error


def proxy_failure(proxy: Proxy, target: Host, error: Exception) -> Unreachable:
    """Return in words what went wrong at a proxy or behind it."""
    from python_socks import ProxyConnectionError  # noqa: PLC0415 - an extra

    code = getattr(error, "error_code", None)
    said = "".join(letter if letter.isprintable() else "?" for letter in str(error)[:_MOST_SAID])
    cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
    if isinstance(cause, TimeoutError):
        reason = "did not answer in time"
    elif isinstance(error, ProxyConnectionError | socket.gaierror) and isinstance(cause, OSError):
        reason = f"cannot be reached: {failure_reason(cause)}"
    elif code in _WANTS_CREDENTIALS or "acceptable auth" in said or "password authentication" in said:
        reason = "refuses the credentials" if proxy.username else "wants credentials, user:password@ in proxy_url"
    elif code in _ALLOWS_NOT:
        reason = f"does not allow {target}: {said}"
    elif code in _REACHES_NOT:
        reason = f"cannot reach {target}: {said}"
    elif code is not None:
        reason = f"refuses {target}: {said}"
    elif isinstance(error, ValueError):
        reason = "cannot be told the credentials: they are too long, or not ASCII"
    elif isinstance(error, OSError) or "closed unexpectedly" in said or "Invalid proxy response" in said:
        reason = f"hung up without an answer: perhaps it refuses the credentials, or cannot reach {target}"
    else:
        reason = f"does not answer as {proxy.kind} proxies do: {said}"
    failure = Unreachable(f"the proxy {proxy.host} {reason}")
    failure.__cause__ = cause
    return failure


def unreachable(failures: Sequence[tuple[Host, OSError]]) -> Unreachable:
    """Return one error for the addresses of a host, with the reasons of all."""
    reasons = [str(error) if isinstance(error, Unreachable) else failure_reason(error) for _, error in failures]
    if len(set(reasons)) == 1:
        told = reasons[0]
    else:
        told = ", ".join(f"{reason} ({target.address})" for reason, (target, _) in zip(reasons, failures, strict=True))
    causes = [
        error.__cause__ if isinstance(error, Unreachable) and isinstance(error.__cause__, OSError) else error
        for _, error in failures
    ]
    summary = Unreachable(told)
    # Only who got as far as TLS has anything to say about it.
    summary.__cause__ = next((cause for cause in causes if isinstance(cause, ssl.SSLError)), causes[-1])
    return summary
