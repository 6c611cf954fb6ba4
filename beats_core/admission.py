"""How an encoded event is accepted: into memory or onto the disk, and what happens when there is no room.

On the application's path, in any thread. `on_full="block"` waits here, and nowhere else; not where waiting would harm
more than a lost event: in a thread that runs an asyncio loop, and in our own.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from beats_core.frames import Important
from beats_core.inbox import OVERHEAD, Inbox
from beats_core.options import Options
from beats_core.spool import Spool, SpoolFull

_SHORTEST, _LONGEST = 0.001, 0.02  # seconds between two looks for room

Accept = Callable[[bytes, int], bool]


class Journal:
    """Accepts events by writing them to disk, in the thread that puts them.

    Args:
        spool: Where they go.
        inbox: Where the intake thread learns of each.
        marker: What it finds there.
        keep_level: Events from this level on are dropped last.
    """

    def __init__(self, spool: Spool, inbox: Inbox[Any], marker: object, keep_level: int) -> None:
        self._spool = spool
        self._inbox = inbox
        self._marker = marker
        self._keep_level = keep_level

    def put(self, payload: bytes, level: int) -> bool:
        """Write it, and return True when the kernel has it; False if there is no room on the disk.

        Raises:
            SpoolError: The disk failed.
        """
        if self._inbox.closed:
            return False
        try:
            self._spool.write(Important(payload) if level >= self._keep_level else payload)
        except SpoolFull:
            return False
        self._inbox.note(len(payload) + OVERHEAD, self._marker)
        return True


def waiting(accept: Accept, inbox: Inbox[Any], options: Options) -> Accept:
    """Return `accept`, made to wait for room as long as `block_timeout`, where waiting does no harm."""

    def accept_or_wait(payload: bytes, level: int) -> bool:
        if accept(payload, level):
            return True
        if not _may_wait():
            return False
        deadline = time.monotonic() + options.block_timeout
        pause = _SHORTEST
        while not inbox.closed and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)
            if accept(payload, level):
                return True
        return False

    return accept_or_wait


def _may_wait() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, for libraries
        return False
    return not threading.current_thread().name.startswith("beats-")
