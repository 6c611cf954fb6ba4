"""Opens one line, in an event loop: what `dial` does in a thread, with the same pieces."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from beats_core.diagnosis import handshaking
from beats_core.dial import (
    destination,
    is_resolved_by_proxy,
    new_socket,
    proxy_failure,
    proxy_for,
    reaching_proxy,
    server_name,
    set_tcp_options,
    source,
    unreachable,
    way,
)
from beats_core.hosts import Host, Proxy, with_addresses
from beats_core.options import Options
from beats_core.tunnel import TunnelError, TunnelReply, tunnel_request

Line = TypeVar("Line", bound=asyncio.Protocol)


async def dial(host: Host, options: Options, make_line: Callable[[socket.socket], Line]) -> Line:
    """Open a line, over which nothing but TLS's handshake has gone yet. Each address of a name is tried in turn.

    Args:
        host: With `address`, only that one is tried.
        options: Those about connections.
        make_line: Makes the protocol of the line; the socket is only to look at.

    Raises:
        Unreachable: No address could be reached, or the peer is not to be trusted.
    """
    failures: list[tuple[Host, OSError]] = []
    try:
        targets = [host] if is_resolved_by_proxy(host, options) else await _resolve(host, options)
    except OSError as error:
        raise unreachable([(host, error)]) from error
    for target in targets:
        try:
            return await _open_line(target, options, make_line)
        except OSError as error:
            failures.append((target, error))
    raise unreachable(failures)


async def _resolve(host: Host, options: Options) -> list[Host]:
    if host.is_unix or host.address:
        return [host]
    async with asyncio.timeout(options.connect_seconds):
        loop = asyncio.get_running_loop()
        return with_addresses(host, await loop.getaddrinfo(host.name, host.port, type=socket.SOCK_STREAM))


async def _open_line(target: Host, options: Options, make_line: Callable[[socket.socket], Line]) -> Line:
    tls = options.tls
    if tls is None:
        _, line = await _attach(await _reach(target, options), None, target, options, make_line)
        return line
    probe = tls.probe_context()
    if probe is not None:
        transport, _ = await _attach(await _reach(target, options), probe, target, options, _Look)
        try:
            tls.learn(transport.get_extra_info("ssl_object"))
        finally:
            transport.abort()
    transport, line = await _attach(await _reach(target, options), tls.context(), target, options, make_line)
    try:
        tls.check(transport.get_extra_info("ssl_object"))
    except BaseException:
        transport.abort()
        raise
    return line


async def _reach(target: Host, options: Options) -> socket.socket:
    proxy = proxy_for(target, options)
    if proxy is not None:
        return await _reach_through(proxy, target, options)
    line, address = new_socket(target, options)
    try:
        line.setblocking(False)
        async with asyncio.timeout(options.connect_seconds):
            await asyncio.get_running_loop().sock_connect(line, address)
    except BaseException:
        line.close()
        raise
    return line


async def _reach_through(proxy: Proxy, target: Host, options: Options) -> socket.socket:
    from python_socks import ProxyError  # noqa: PLC0415 - an extra
    from python_socks.async_.asyncio import Proxy as Way  # noqa: PLC0415 - as above

    failures: list[tuple[Host, OSError]] = []
    try:
        addresses = await _resolve(proxy.host, options)
    except OSError as error:
        raise proxy_failure(proxy, target, error) from error
    for at in addresses:
        try:
            if proxy.kind == "http":
                return await _tunnel(proxy, at, target, options)
            line: socket.socket = await Way(*way(proxy, at), rdns=True).connect(
                *destination(proxy, target), timeout=options.connect_seconds, local_addr=source(options)
            )
        except (ProxyError, TunnelError, OSError, ValueError) as error:
            failures.append((at, proxy_failure(proxy, target, error)))
        else:
            set_tcp_options(line, options)
            return line
    raise unreachable(failures)


async def _tunnel(proxy: Proxy, at: Host, target: Host, options: Options) -> socket.socket:
    request, reply = tunnel_request(proxy, *destination(proxy, target)), TunnelReply()
    loop = asyncio.get_running_loop()
    line, address = new_socket(at, options)
    try:
        line.setblocking(False)
        async with asyncio.timeout(options.connect_seconds):
            with reaching_proxy():
                await loop.sock_connect(line, address)
            await loop.sock_sendall(line, request)
            while not reply.is_complete(await loop.sock_recv(line, 1)):
                pass
    except BaseException:
        line.close()
        raise
    return line


async def _attach(
    line: socket.socket,
    context: ssl.SSLContext | None,
    target: Host,
    options: Options,
    make_line: Callable[[socket.socket], Line],
) -> tuple[asyncio.Transport, Line]:
    """Give the socket to the loop, and have it do TLS's handshake."""
    made: list[Line] = []

    def make() -> Line:
        made.append(make_line(line))
        return made[0]

    loop = asyncio.get_running_loop()
    try:
        if context is None:
            return await loop.create_connection(make, sock=line)
        with handshaking():
            async with asyncio.timeout(options.handshake_seconds):
                return await loop.create_connection(
                    make,
                    sock=line,
                    ssl=context,
                    server_hostname=server_name(target),
                    ssl_handshake_timeout=options.handshake_seconds + 60,  # the loop's own limit must not be the first
                )
    except BaseException:
        if not made:  # else a transport owns the socket, and is about to close it
            line.close()
        raise


class _Look(asyncio.Protocol):
    """A line that is opened only to look at the peer."""

    def __init__(self, line: socket.socket) -> None:
        pass
