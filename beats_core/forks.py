"""Notices that this process is a forked child, and has everybody begin anew: also where nothing tells Python of a fork.

`os.fork` runs Python's hooks, and ours with them. C code that forks need not: uWSGI's workers come from a plain
`fork()`. So whoever is about to use what a child may not share with its parent asks `renew_if_forked` first. It reads
one byte of a page that the kernel hands to a child empty; that costs 30 ns, `os.getpid()`, a system call, five times
as much. Where there is no such page, it is `os.getpid()`.
"""

from __future__ import annotations

import mmap
import os
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_MADV_WIPEONFORK = 18  # linux/mman.h, Linux 4.14; Python has no name for it
_NO_ADVICE = 0x5EED  # what a kernel refuses, and an emulator that takes every advice and follows none does not


class _Mark(Protocol):
    """True at 0 in the process that marked it, false in its children."""

    def __getitem__(self, place: int, /) -> int: ...

    def __setitem__(self, place: int, value: int, /) -> None: ...


class _Pid:
    """A mark for where there is no page that a child finds empty."""

    _pid = 0

    def __getitem__(self, place: int) -> int:
        return self._pid == os.getpid()

    def __setitem__(self, place: int, value: int) -> None:
        self._pid = os.getpid()


def _new_mark() -> _Mark:
    if sys.platform == "linux":
        with suppress(OSError):
            page = mmap.mmap(-1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
            page.madvise(_MADV_WIPEONFORK)
            try:
                page.madvise(_NO_ADVICE)
            except OSError:
                return page
    return _Pid()


_mark = _new_mark()
_mark[0] = 1
_renewals: list[Callable[[], None]] = []
_renewing: dict[int, threading.RLock] = {}


def after_fork(renew: Callable[[], None]) -> None:
    """Have it called in every forked child, before anything of ours is used there; in the order of these calls."""
    _renewals.append(renew)


def renew_if_forked() -> None:
    """Have everybody begin anew, if this is a child in which nobody has yet. Any thread."""
    if not _mark[0]:
        # A lock of this process: one of the parent's may be held, for ever, by a thread that is not here.
        with _renewing.setdefault(os.getpid(), threading.RLock()):
            if not _mark[0]:
                _renew()


def _renew() -> None:
    for renew in _renewals:
        renew()
    _mark[0] = 1  # last: until then the others wait


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
