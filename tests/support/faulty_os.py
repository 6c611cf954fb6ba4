"""The system as the spool sees it, with a death or an error at the n-th call of the functions that change the disk.

Dying is an exception that nothing catches; whoever tests forgets the object then, and the descriptors it had open are
closed, as the kernel would. What was written is on the disk: of the write in which it died, a part.
"""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import beats_core.spool

CHANGING = (
    *("write", "pwrite", "open", "unlink", "rename", "mkdir", "rmdir", "ftruncate", "posix_fallocate"),
    *("fdatasync", "fsync", "makedirs"),
)


class Death(BaseException):
    """The process dies here."""


class FaultyOs:
    """Stands in for the module `os`.

    Attributes:
        calls: How often each of CHANGING was called.
        seen: The calls since the last `arm`.
        struck: The name of the call that failed or died; None if none did.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.seen = 0
        self.struck: str | None = None
        self._at: int | None = None
        self._error: int | None = None
        self._only: tuple[str, ...] = CHANGING
        self._dead = False
        self._open: set[int] = set()

    def arm(self, at: int | None, error: int | None = None, only: tuple[str, ...] = CHANGING) -> None:
        """Die, or fail with that error, at the `at`-th call from now on of one of `only`, 0 being the next."""
        self.seen = 0
        self.struck = None
        self._at = at
        self._error = error
        self._only = only

    def bury(self) -> None:
        """Do what the kernel does when a process is dead, and live again."""
        for fd in self._open:
            os.close(fd)
        self._open.clear()
        self._dead = False
        self.arm(None)

    def close(self, fd: int) -> None:
        if not self._dead:
            self._open.discard(fd)
            os.close(fd)

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGING:
            return real

        def call(*args: Any, **options: Any) -> Any:
            if self._dead:
                raise Death
            self.calls[name] += 1
            if name in self._only:
                self.seen += 1
                if self.seen - 1 == self._at:
                    self._strike(name, args)
            result = real(*args, **options)
            if name == "open":
                self._open.add(result)
            return result

        return call

    def _strike(self, name: str, args: tuple[Any, ...]) -> None:
        self.struck = name
        if name in {"write", "pwrite"}:  # the half of it is there
            fd, data, *offset = args
            half = bytes(data)[: len(data) // 2]
            if name == "write" and half:
                os.write(fd, half)
            elif half:
                os.pwrite(fd, half, *offset)
        if self._error is not None:
            raise OSError(self._error, os.strerror(self._error))
        self._dead = True
        raise Death


class FakeTime(SimpleNamespace):
    """Stands in for the module `time`: a second has passed whenever somebody looks."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now

    def time(self) -> float:
        return 1e11  # what is left of making a part is old

    def time_ns(self) -> int:
        return 1_700_000_000_000_000_000

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def faulty_os() -> Iterator[FaultyOs]:
    """Put a FaultyOs, and a FakeTime, in the place of the real ones in every module of the spool."""
    system, clock = FaultyOs(), FakeTime()
    before = []
    for found in pkgutil.iter_modules(beats_core.spool.__path__, "beats_core.spool."):
        module = importlib.import_module(found.name)
        for name, double in (("os", system), ("time", clock)):
            if hasattr(module, name):
                before.append((module, name, getattr(module, name)))
                setattr(module, name, double)
    try:
        yield system
    finally:
        system.bury()
        for module, name, real in before:
            setattr(module, name, real)


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
