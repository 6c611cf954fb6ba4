"""Threads in somebody else's process: how they are started and joined, and what is left to do at fork and at exit.

Python runs exit handlers last registered first. Ours is registered when this is imported, so it runs after those that
the application registers later, and what they log is delivered. Children of multiprocessing have exits of their own.
"""

from __future__ import annotations

import atexit
import logging
import signal
import sys
import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Protocol

from beats_core import native
from beats_core.forks import after_fork, renew_if_forked
from beats_core.native import Thread

_logger = logging.getLogger("beats_core.lifecycle")

_GRACE = 0.5  # seconds a thread may take beyond its deadline to notice it


class Living(Protocol):
    """What has threads, and something to finish."""

    def finish(self, began: float, *, close: bool) -> None:
        """Deliver what can be delivered: the process is ending since `began` (monotonic)."""

    def begin_anew(self) -> None:
        """Forget the parent's threads and what they are at, in a child after fork."""


_living: weakref.WeakSet[Living] = weakref.WeakSet()


def look_after(living: Living) -> None:
    """Have it finish before the process ends, and begin anew after fork; for as long as it is referenced."""
    _living.add(living)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Start threads that take no signals: these are the program's, whose threads may have masked them for a reason.

    billiard's children mask SIGTERM while they hold a lock that the whole pool shares.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def join(threads: Iterable[Thread], deadline: float) -> None:
    """Wait for threads that were told to end by `deadline`, and not much longer."""
    for thread in threads:
        native.join(thread, lock_timeout(deadline))


def lock_timeout(deadline: float) -> float:
    """Return how long to wait, for what ends or answers by itself at `deadline`, as locks take it."""
    return min(max(0.0, deadline + _GRACE - monotonic()), threading.TIMEOUT_MAX)


def finish_with_multiprocessing() -> None:
    """Have a child of multiprocessing finish too: if it was forked, it leaves without atexit before Python 3.13."""
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None:
        # Not closing: a child that was spawned runs its exit handlers after this, and they may log.
        sys.modules["multiprocessing.util"].Finalize(None, _finish_all, kwargs={"close": False}, exitpriority=0)


def _finish_all(*, close: bool = True) -> None:
    renew_if_forked()  # what the parent accepted is none of this process's business
    began = monotonic()  # they share the time
    for living in list(_living):
        try:
            living.finish(began, close=close)
        except Exception:  # the others have something to finish as well
            with suppress(Exception):
                _logger.exception("a shipper could not finish")


def _begin_anew() -> None:
    for living in list(_living):
        living.begin_anew()


atexit.register(_finish_all)
after_fork(_begin_anew)
