"""How an encoded event is accepted: into memory or onto the disk, and what happens when there is no room.

On the application's path, in any thread. `on_full="block"` waits here, and nowhere else; not where waiting would harm
more than a lost event: in a thread that runs an asyncio loop, and in our own.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from beats_core import native
from beats_core.backlog import DeadLetter
from beats_core.errors import OptionError, SpoolError, SpoolFull
from beats_core.frames import Important
from beats_core.inbox import OVERHEAD, Inbox
from beats_core.options import Options
from beats_core.spool import Spool

_SHORTEST, _LONGEST = 0.001, 0.02  # seconds between two looks for room

Accept = Callable[[bytes, int], bool]


def durability(options: Options) -> str:
    """Return where an accepted event is: in "memory", soon in the "spool", or in the "journal" already."""
    return options.durability or ("memory" if options.spool is None else "spool")


def open_spool(options: Options, *, journal: bool = False) -> Spool | None:
    """Return the spool that the options ask for; None if that is none.

    Args:
        options: The shipper's.
        journal: Any thread is to write to it, whatever the options say.

    Raises:
        OptionError: There is no directory, or it cannot be used.
    """
    if durability(options) == "memory" or not options.enabled:
        return None
    if options.spool is None:
        raise OptionError("durability", options.durability, 'needs a directory: spool="/var/lib/app/beats"')
    try:
        return Spool(
            options.spool,
            max_bytes=options.spool_max_bytes,
            min_free_bytes=options.spool_min_free_bytes,
            fsync=options.fsync,
            journal=journal or durability(options) == "journal",
        )
    except SpoolError as error:
        raise OptionError("spool", options.spool, str(error)) from error


class Admission:
    """The door of one shipper. Any thread.

    Args:
        options: The shipper's.
        inbox: Behind it.
        spool: None: events are held in memory.
        marker: What the intake thread is to find in the inbox for each event that is in the journal.

    Attributes:
        put: Accepts a payload of a level, or returns False for want of room; a SpoolError if the disk failed.
        late: How many events were accepted after the end.
    """

    def __init__(self, options: Options, inbox: Inbox[Any], spool: Spool | None, marker: object) -> None:
        self.late = 0
        self._options = options
        self._inbox = inbox
        self._spool = spool
        self._marker = marker
        self._late_spool: Spool | None = None
        journaled = spool is not None and durability(options) == "journal"
        self.put: Accept = self._journal if journaled else inbox.put
        if options.on_full == "block":
            self._put, self.put = self.put, self._put_or_wait

    def put_late(self, payload: bytes) -> bool:
        """Leave an event that comes after the end on disk, for the next process; False without a spool."""
        if self._spool is None or isinstance(payload, DeadLetter):
            return False
        try:
            self._late_spool = self._late_spool or open_spool(self._options, journal=True)
            if self._late_spool is None:
                return False
            self._late_spool.write(payload)
        except (SpoolError, OptionError):
            return False
        self.late += 1
        return True

    def abandon(self) -> None:
        """Close this process's copies of all descriptors, after fork in the child."""
        for spool in (self._spool, self._late_spool):
            if spool is not None:
                spool.abandon()

    def _journal(self, payload: bytes, level: int) -> bool:
        """Write it, and return True when the kernel has it."""
        assert self._spool is not None  # noqa: S101 - else this is not used
        if self._inbox.closed:
            return False
        try:
            self._spool.write(Important(payload) if level >= self._options.keep_level else payload)
        except SpoolFull:
            return False
        self._inbox.note(len(payload) + OVERHEAD, self._marker)
        return True

    def _put_or_wait(self, payload: bytes, level: int) -> bool:
        """Wait for room as long as `block_timeout`, where waiting does no harm."""
        if self._put(payload, level):
            return True
        if not _may_wait():
            return False
        deadline = time.monotonic() + self._options.block_timeout
        pause = _SHORTEST
        while not self._inbox.closed and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            pause = min(2 * pause, _LONGEST)
            if self._put(payload, level):
                return True
        return False


def _may_wait() -> bool:
    asyncio = sys.modules.get("asyncio")
    if asyncio is not None and asyncio._get_running_loop() is not None:  # noqa: SLF001 - documented, for libraries
        return False
    return not native.is_ours()
