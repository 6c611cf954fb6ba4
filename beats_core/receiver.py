"""A real Beats receiver: bounded, TLS-capable, for development, tests and programs that take events in.

One thread accepts, one thread serves each connection, and one sends keep-alives while consumers work.
`_lock` guards the set of connections and the memory they hold; each connection's `write_lock` guards its socket
for writing. `_lock` is never held while writing.
"""

from __future__ import annotations

import logging
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from types import TracebackType
from typing import Any, Self

import msgspec

from beats_core.diagnosis import failure_reason
from beats_core.errors import OptionError
from beats_core.frames import MAX_FRAME_BYTES, MAX_INFLATED_BYTES, MAX_WINDOW, encode_ack
from beats_core.hosts import Host, parse_host
from beats_core.protocol import ReceivedWindow, ServerProtocol

_logger = logging.getLogger("beats_core.receiver")

_RECEIVE_BYTES = 64 << 10


class Receiver:
    """Accepts Lumberjack version 1 and 2 and acknowledges each window after `consume` returned.

    It listens from the moment it is made; leave the `with` block, or call `close()`, to stop.

    Args:
        bind: `name:port` to listen on; port 0 takes a free one.
        consume: Called with each complete window, in a thread of its connection; one call at a time per connection.
            When it raises, the connection is closed without an ack, so that the sender sends again.
            Without it, what arrives is kept in `events`.
        ssl: A server-side context for TLS.
        keepalive: Seconds between keep-alives while `consume` works; 0 sends none.
        timeout: Seconds a TLS handshake, the rest of a begun window, or a write may take without any progress.
        max_window: Most events of one window.
        max_connections: More are closed at once.
        max_bytes: Most memory for what is received and not consumed, all connections together. A connection that
            would exceed it is closed. Without `consume`, it also bounds what is kept.

    Raises:
        OptionError: `bind` is no address.
        OSError: The address cannot be listened on.
    """

    def __init__(
        self,
        bind: str = "127.0.0.1:0",
        consume: Callable[[ReceivedWindow], object] | None = None,
        *,
        ssl: ssl.SSLContext | None = None,
        keepalive: float = 3.0,
        timeout: float = 30.0,
        max_window: int = MAX_WINDOW,
        max_connections: int = 256,
        max_bytes: int = 256 << 20,
    ) -> None:
        self._kept = _Kept(max_bytes)
        self._consume = consume or self._kept.add
        self._ssl = ssl
        self._keepalive = keepalive
        self._timeout = timeout
        self._max_window = max_window
        self._max_connections = max_connections
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._parsing = threading.Lock()  # one at a time: what a compressed frame takes is known only afterwards
        self._connections: set[_Connection] = set()
        self._closing = threading.Event()
        address = parse_host(bind)
        if address.is_unix:
            raise OptionError("bind", bind, "a receiver listens on TCP, 'name:port'")
        family = socket.AF_INET6 if ":" in address.name else socket.AF_INET
        self._listener = socket.create_server((address.name, address.port), family=family, backlog=128)
        self._listener.settimeout(None)
        self._address = Host(address.name, self._listener.getsockname()[1])
        self._threads = [
            threading.Thread(target=self._accept, name=f"beats-accept-{self.port}", daemon=True),
            threading.Thread(target=self._keep_alive, name=f"beats-keepalive-{self.port}", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        """Return itself; it listens already."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close."""
        self.close()

    @property
    def host(self) -> str:
        """Where it listens, as a client takes it: `127.0.0.1:41234`."""
        return str(self._address)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._address.port

    @property
    def connections(self) -> int:
        """How many senders are connected."""
        return len(self._connections)

    @property
    def held_bytes(self) -> int:
        """About how much memory is held for what is received and not consumed."""
        with self._lock:
            return sum(connection.held for connection in self._connections)

    @property
    def events(self) -> list[Any]:
        """Without `consume`: everything received so far, decoded, in the order of arrival. Any thread."""
        return self._kept.events()

    def wait_for(self, count: int, timeout: float = 30.0) -> list[Any]:
        """Without `consume`: wait until that many events are here and return all. Any thread.

        Raises:
            TimeoutError: They did not come in time; says how many did.
        """
        return self._kept.wait_for(count, timeout)

    def clear(self) -> None:
        """Forget the events received so far. Any thread."""
        self._kept.clear()

    def close(self) -> None:
        """Stop listening, acknowledge what is being consumed, and close every connection. May be called again.

        A `consume` that runs is waited for, `timeout` seconds at most.
        """
        self._closing.set()
        _end(self._listener)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.stop_reading()
        deadline = monotonic() + self._timeout
        for thread in self._threads:  # first these: a connection may be about to be given its thread
            _join(thread, deadline)
        for connection in connections:
            _join(connection.thread, deadline)
            _end(connection.line)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                line, peer = self._listener.accept()
            except OSError as error:
                if self._closing.is_set():
                    return
                _logger.warning("cannot accept a connection: %s", failure_reason(error))
                self._closing.wait(0.1)  # out of descriptors, say: do not spin
                continue
            connection = _Connection(line, str(Host(*peer[:2])))
            with self._lock:
                full = self._closing.is_set() or len(self._connections) >= self._max_connections
                if not full:
                    self._connections.add(connection)
            if full:
                line.close()
                continue
            connection.thread = threading.Thread(
                target=self._serve, args=(connection,), name=f"beats-receive-{connection.peer}", daemon=True
            )
            connection.thread.start()

    def _serve(self, connection: _Connection) -> None:
        try:
            connection.line.settimeout(self._timeout)
            connection.line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._ssl is not None:
                # The handshake comes after the assignment, so that close() can end it.
                connection.line = self._ssl.wrap_socket(
                    connection.line, server_side=True, do_handshake_on_connect=False
                )
                if not self._closing.is_set():
                    connection.line.do_handshake()
            protocol = ServerProtocol(
                self._max_window,
                max_window_bytes=min(self._max_bytes, MAX_INFLATED_BYTES),
                max_frame_bytes=min(self._max_bytes, MAX_FRAME_BYTES),
                max_inflated_bytes=min(self._max_bytes, MAX_INFLATED_BYTES),
            )
            while not protocol.closed and not self._closing.is_set():
                self._serve_once(connection, protocol)
            if protocol.error is not None:
                _logger.warning("%s: %s", connection.peer, protocol.error)
        except OSError as error:
            if not self._closing.is_set():
                _logger.info("%s: %s", connection.peer, failure_reason(error))
        except Exception:
            _logger.exception("%s: a window was not consumed; the connection is closed without an ack", connection.peer)
        finally:
            with self._lock:
                self._connections.discard(connection)
            _end(connection.line)

    def _serve_once(self, connection: _Connection, protocol: ServerProtocol) -> None:
        # Between windows a sender may be silent for ever; within one it may not.
        connection.line.settimeout(self._timeout if protocol.within_window else None)
        data = connection.line.recv(_RECEIVE_BYTES)
        with self._parsing:
            windows = protocol.receive_data(data)
            connection.held = protocol.held + sum(window.size for window in windows)
            full = self.held_bytes > self._max_bytes
        if full:
            raise ConnectionError(f"more than {self._max_bytes} bytes are waiting, the connection is closed")
        for window in windows:
            if self._closing.is_set():
                return
            window.peer = connection.peer
            connection.begin()
            try:
                self._consume(window)
            finally:
                connection.finish(self._timeout)
            connection.held -= window.size
            protocol.acknowledge(window)
            connection.write(protocol.data_to_send())  # not after the next one, which may take long, or fail
        connection.write(protocol.data_to_send())

    def _keep_alive(self) -> None:
        # Twice as often as promised, so that no pause is longer.
        while self._keepalive and not self._closing.wait(self._keepalive / 2):
            with self._lock:
                connections = list(self._connections)
            for connection in connections:
                connection.keep_alive(self._keepalive / 2)


class _Connection:
    """One sender. Its thread reads and acknowledges; while that consumes, the keep-alive thread may write."""

    def __init__(self, line: socket.socket, peer: str) -> None:
        self.line = line
        self.peer = peer
        self.held = 0
        self.thread = threading.current_thread()
        self._write_lock = threading.Lock()
        self._quiet_since: float | None = None  # None: nothing is being consumed

    def stop_reading(self) -> None:
        """Wake its thread from reading, for good; it can still write."""
        with suppress(OSError):  # it has ended by itself
            # Not SSLSocket's own, which gives up TLS for both directions.
            socket.socket.shutdown(self.line, socket.SHUT_RD)

    def write(self, data: bytes) -> None:
        if data:
            self.line.sendall(data)

    def begin(self) -> None:
        with self._write_lock:
            self._quiet_since = monotonic()

    def finish(self, timeout: float) -> None:
        with self._write_lock:
            self._quiet_since = None
            self.line.settimeout(timeout)

    def keep_alive(self, after: float) -> None:
        with self._write_lock:
            if self._quiet_since is None or monotonic() - self._quiet_since < after:
                return
            self._quiet_since = monotonic()
            with suppress(OSError):  # its own thread will see what is wrong; a full line needs no sign of life
                self.line.settimeout(0)
                self.line.send(encode_ack(0))


class _Kept:
    """What a receiver without a consumer keeps."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._size = 0
        self._payloads: list[bytes] = []
        self._changed = threading.Condition()

    def add(self, window: ReceivedWindow) -> None:
        for payload in window.payloads:  # what is no JSON is refused, as Logstash does, or it would spoil all the rest
            msgspec.json.decode(payload)
        with self._changed:
            if self._size + window.size > self._max_bytes:
                raise MemoryError(f"events of {self._max_bytes} bytes are kept and nobody takes them")
            self._size += window.size
            self._payloads += window.payloads
            self._changed.notify_all()

    def events(self) -> list[Any]:
        with self._changed:
            payloads = list(self._payloads)
        return [msgspec.json.decode(payload) for payload in payloads]

    def wait_for(self, count: int, timeout: float) -> list[Any]:
        with self._changed:
            if not self._changed.wait_for(lambda: len(self._payloads) >= count, timeout):
                raise TimeoutError(f"{len(self._payloads)} of {count} events came within {timeout:g} seconds")
        return self.events()

    def clear(self) -> None:
        with self._changed:
            self._payloads = []
            self._size = 0


def _join(thread: threading.Thread, deadline: float) -> None:
    if thread is not threading.current_thread():
        thread.join(max(0.0, deadline - monotonic()))


def _end(line: socket.socket) -> None:
    with suppress(OSError):  # not connected, or the peer was faster
        line.shutdown(socket.SHUT_RDWR)
    line.close()
