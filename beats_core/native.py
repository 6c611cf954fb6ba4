"""Threads, and what they wait with, as the system has them: also where gevent has put greenlets in their place.

A shipper among greenlets would stand still while one of them computes, and stop them all while it waits itself. So
its threads are the system's, and wait with what the system has. It does not matter whether the program was patched
before this was imported or afterwards.

Who waits for these threads in a greenlet lets the other greenlets go on meanwhile: see `wait`.
"""

from __future__ import annotations

import _thread
import select
import socket
import sys
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from beats_core.forks import after_fork

if TYPE_CHECKING:
    from queue import SimpleQueue as SimpleQueue  # noqa: PLC0414 - as this room's own

Line = TypeVar("Line", bound=socket.socket)

_LONGEST_PAUSE = 0.05  # seconds between two looks, of a greenlet that waits for one of our threads


def original(module: ModuleType, name: str) -> Any:
    """Return what a module of the standard library has under a name when gevent does not patch it."""
    monkey = sys.modules.get("gevent.monkey")
    return getattr(module, name) if monkey is None else monkey.get_original(module.__name__, name)


if not TYPE_CHECKING:
    SimpleQueue = original(sys.modules["queue"], "SimpleQueue")
Lock: Callable[[], threading.Lock] = original(_thread, "allocate_lock")
RLock: Callable[[], threading.RLock] = original(_thread, "RLock")
poll = original(select, "poll") if hasattr(select, "poll") else None  # not on Windows
_get_ident: Callable[[], int] = original(_thread, "get_ident")
_start_new_thread = original(_thread, "start_new_thread")
_sleep = original(time, "sleep")


class Thread(Protocol):
    """What a thread of ours can be asked. `threading.Thread` can."""

    def start(self) -> None:
        """Start it; RuntimeError, if none can be started."""

    def join(self, timeout: float | None = None) -> None:
        """Block until it has ended, at most so many seconds."""

    def is_alive(self) -> bool:
        """Tell whether it was started and has not ended."""


_ours: dict[int, Thread] = {}  # the threads that were started here, while they run
_lines: weakref.WeakSet[socket.socket] = weakref.WeakSet()  # their sockets, also while they are being connected


def _forget_the_parents() -> None:
    _ours.clear()
    for line in list(_lines):
        line.close()
    _lines.clear()


after_fork(_forget_the_parents)


def new_thread(body: Callable[[], None], name: str) -> Thread:
    """Return a thread of the system, to be started. A daemon: it does not keep the program from ending."""
    if _thread.start_new_thread is _start_new_thread:
        return _OfThreading(target=body, name=name, daemon=True)
    return _BesideGreenlets(body)


def start_from_finaliser(body: Callable[[], None], name: str) -> None:
    """Start a thread without the locks of `threading`, which whoever a finaliser interrupts may hold.

    Raises:
        RuntimeError: None can be started.
    """

    def start() -> None:
        with suppress(RuntimeError):  # the program has begun to end meanwhile
            new_thread(body, name).start()

    _BesideGreenlets(start).start()


def is_ours() -> bool:
    """Tell whether the calling thread was started here."""
    return _get_ident() in _ours


def new_socket(*arguments: Any, **options: Any) -> socket.socket:
    """Return a socket that stops nobody but the calling thread: in ours the system's, else gevent's, if it patched."""
    kind = original(socket, "socket") if is_ours() else socket.socket
    made: socket.socket = kind(*arguments, **options)
    return leave_to_parent(made)


def leave_to_parent(line: Line) -> Line:
    """Return a socket of which a child is to close its copy after a fork, if it is one of our threads that asks."""
    if is_ours():
        _lines.add(line)
    return line


def socket_pair() -> tuple[socket.socket, socket.socket]:
    """Return two sockets of the system that are connected to each other."""
    kind = original(socket, "socket")
    one, other = original(socket, "socketpair")()
    return kind(fileno=one.detach()), kind(fileno=other.detach())


def getaddrinfo(*arguments: Any, **options: Any) -> list[Any]:
    """Look a name up, like `socket.getaddrinfo`, and stop nobody but the calling thread."""
    look_up = original(socket, "getaddrinfo") if is_ours() else socket.getaddrinfo
    return list(look_up(*arguments, **options))


def wait(has_come: Callable[[float], bool], at_most: float) -> bool:
    """Wait for something that a thread of ours does, and return whether it came.

    Args:
        has_come: Tells whether it has come; blocks for it at most so many seconds.
        at_most: Seconds to wait. In a greenlet, the others go on meanwhile.
    """
    if time.sleep is _sleep or is_ours():
        return has_come(at_most)
    until = time.monotonic() + at_most
    pause = 0.001
    while not has_come(0):
        left = until - time.monotonic()
        if left <= 0:
            return False
        try:
            time.sleep(min(pause, left))
        except Exception:  # noqa: BLE001 - gevent's, in its hub, where no greenlet may wait
            return has_come(left)
        pause = min(2 * pause, _LONGEST_PAUSE)
    return True


def wait_for_item(queue: SimpleQueue[Any], at_most: float) -> list[Any]:
    """Return what one of our threads puts into a queue; nothing, if that takes longer. See `wait`."""
    items: list[Any] = []

    def has_come(seconds: float) -> bool:
        with suppress(Empty):
            items.append(queue.get(timeout=min(max(0.0, seconds), threading.TIMEOUT_MAX)))
        return bool(items)

    wait(has_come, at_most)
    return items


def join(thread: Thread, at_most: float) -> None:
    """Wait until a thread has ended, unless it is the one that asks. See `wait`."""
    if _ours.get(_get_ident()) is thread:
        return

    def has_ended(seconds: float) -> bool:
        thread.join(seconds)
        return not thread.is_alive()

    wait(has_ended, at_most)


class _OfThreading(threading.Thread):
    def run(self) -> None:
        _run(self, super().run)


class _BesideGreenlets:
    """A thread where `threading.Thread` makes a greenlet."""

    def __init__(self, body: Callable[[], None]) -> None:
        self._body = body
        self._alive = Lock()

    def start(self) -> None:
        self._alive.acquire()
        try:
            _start_new_thread(self._run, ())
        except BaseException:
            self._alive.release()
            raise

    def join(self, timeout: float | None = None) -> None:
        if self._alive.acquire(timeout=-1 if timeout is None else timeout):
            self._alive.release()

    def is_alive(self) -> bool:
        return self._alive.locked()

    def _run(self) -> None:
        try:
            _run(self, self._body)
        finally:
            self._alive.release()


def _run(thread: Thread, body: Callable[[], None]) -> None:
    _ours[_get_ident()] = thread
    try:
        body()
    finally:
        _ours.pop(_get_ident(), None)
        _leave_hub()


def _leave_hub() -> None:
    """Release what gevent made for this thread, which it does when one of its own sockets waits here, as with TLS."""
    hubs = sys.modules.get("gevent._hub_local")
    hub = None if hubs is None else hubs.get_hub_if_exists()
    if hub is not None:
        hub.destroy(destroy_loop=True)
