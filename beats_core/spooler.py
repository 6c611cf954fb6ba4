"""The intake thread's work with the spool: what was accepted goes to disk first, and from there to the ledger.

    inbox → spool → backlog → senders, and back: what they settle, the spool forgets

The ledger holds what was read from the spool and is not settled, at most half of `queue_mem_bytes`; the other half is
the inbox's. What was just written, while nothing else waits on disk, is handed on without being read again.

A disk that takes no events stops nothing that can go on: while everything on disk has been read, new events go to the
ledger from memory; else they wait here for their turn, the inbox fills, and `on_full` has its say.

Everything here runs in the intake thread, or in the one that closes, under `busy`; `settle` alone in the senders'.
`busy` is taken before the shipper's lock, never while that is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from time import monotonic

from beats_core import native
from beats_core.admission import durability
from beats_core.backlog import Backlog, DeadLetter
from beats_core.backoff import give_or_take, sooner
from beats_core.errors import SpoolError
from beats_core.inbox import OVERHEAD
from beats_core.letters import Letters
from beats_core.options import Options
from beats_core.spool import Spool, SpoolFull

_logger = logging.getLogger("beats_core.spooler")

LINGER = 0.03  # seconds that events gather before they go to disk together: what kill -9 may cost
_CHUNK = 2048  # events that are written, or read, in one go
_CHUNK_BYTES = 1 << 20
_SYNC = 1.0  # seconds between two fsyncs
_ADOPT = 60.0  # seconds between two looks for what dead processes left
_RETRY_FULL = 0.05  # seconds until a full disk is asked again; acks make room
_RETRY_BROKEN = 1.0


class Spooler:
    """Stands between the inbox and the ledger.

    Args:
        spool: Its owner thread is the one that calls this.
        options: The shipper's.
        backlog: Guarded by `lock`.
        lock: Held only for calls of the backlog.
        release: Told how many events of how many bytes left the memory of the inbox.

    Attributes:
        taken: Events that were taken over, ever.
        given_up: Events on disk that were given up for newer ones.
        journal: Events are on disk before they come here.
        busy: Held by whoever does something here.
    """

    def __init__(
        self,
        spool: Spool,
        options: Options,
        backlog: Backlog,
        lock: AbstractContextManager[object],
        release: Callable[[int, int], None],
    ) -> None:
        self.busy = native.Lock()
        self.journal = durability(options) == "journal"
        self.taken = 0
        self.given_up = 0
        self.spool = spool
        self._options = options
        self._backlog = backlog
        self._lock = lock
        self._release = release
        self._letters = Letters(options.spool or "")
        self._read_ahead = options.queue_mem_bytes // 2
        self._waiting: list[bytes] = []  # accepted, and not on disk yet
        self._handed: list[bytes] = []  # by the spool, and not in the ledger yet
        self._reading = False  # what was read may be in no count yet
        self._memory_until = 0  # before this ordinal is every event that went to the ledger without having been on disk
        self._left = 0  # at the end
        self._trouble: SpoolError | None = None
        self._retry_at = 0.0
        self._adopt_at = 0.0
        self._sync_at: float | None = None
        self._told = 0, 0  # damaged frames, foreign parts

    @property
    def waiting(self) -> int:
        """How many events wait for room on disk."""
        return len(self._waiting)

    @property
    def unread(self) -> int:
        """How many events are on disk, or on their way to it, and not in the ledger."""
        return self.spool.unread + len(self._handed) + len(self._waiting) + self._left

    @property
    def is_empty(self) -> bool:
        """True if no event is on disk, or on its way to or from it, that is not in the ledger. With the lock held."""
        # Who writes is asked for before: what he wrote may be read before it is counted, and hides another one then.
        # Who reads is asked for afterwards: he needs the lock to bring to an end what makes `unread` too low.
        return not (self.spool.writers or self.unread or self._reading)

    @property
    def hungry(self) -> bool:
        """True if the ledger is to be filled from the disk again. Any thread."""
        return self.spool.unread > 0 and self._held() < self._read_ahead // 2

    def admit(self, payloads: list[bytes]) -> None:
        """Take over events, which `tend` writes to disk."""
        self._waiting += payloads
        self.taken += len(payloads)

    def note(self, now: float) -> None:
        """Take note that the application's threads wrote events to disk themselves."""
        self._sync_soon(now)

    def bury(self, letter: DeadLetter) -> None:
        """Take over an event that is dead already."""
        self._hand_over()
        self.spool.pass_by(1)
        with self._lock:
            self._backlog.bury(letter)
        self.taken += 1
        self._release(1, len(letter))
        self.settle()

    def refill(self) -> None:
        """Hand to the ledger what there is on disk, as far as memory allows."""
        self._hand_over()
        while (room := self._read_ahead - self._held()) > 0:
            self._reading = True  # should it fail, then until it succeeds
            self._handed = self.spool.read(min(_CHUNK, self._options.bulk_max_size), min(_CHUNK_BYTES, room))
            read = len(self._handed)
            self._hand_over()
            self._reading = False
            if not read:
                return

    def tend(self, now: float) -> float | None:
        """Do what is due by itself; return the seconds until the next such thing."""
        if now >= self._adopt_at:
            self._adopt_at = now + give_or_take(_ADOPT)
            self.adopt()
        if self._waiting and now >= self._retry_at:
            self._store(now)
        if self._sync_at is not None and now >= self._sync_at:
            self._sync_at = None
            self.spool.sync()
        self.spool.tend()
        if self.journal and self._options.on_full == "drop_oldest":
            self._keep_room()
        self._tell()
        due = sooner(sooner(self._adopt_at, self._sync_at), self._retry_at if self._waiting else None)
        return None if due is None else max(0.0, due - now)

    def adopt(self) -> int:
        """Take over what dead processes left; return how many events those are."""
        found = self.spool.adopt()
        if found:
            _say(logging.INFO, "%d events of processes that ended are taken over from %s", found, self._options.spool)
        return found

    def sync(self) -> bool:
        """Have the disk keep everything that was taken over; return whether it does."""
        if self._waiting:
            self._store(monotonic())
        failures = self.spool.sync_failures
        self.spool.sync()
        self._sync_at = None
        with self._lock:
            in_memory = self._backlog.settled_until < self._memory_until
        return not (self._waiting or in_memory or self.spool.doubtful) and failures == self.spool.sync_failures

    def settle(self) -> None:
        """Have the spool forget what the ledger has settled, and keep what died. Any thread, without the lock."""
        with self._lock:
            if self._backlog.closed:
                return
            unsettled = self._backlog.unsettled()
            letters = self._backlog.collect_letters()
        for letter in letters:
            self._letters.add(letter)
        self.spool.settle(unsettled)

    def end(self, late: list[bytes], reason: str) -> int:
        """Leave on disk what is not settled, for the next process; return how many events are on no disk, and lost."""
        self.settle()
        self.admit(late)
        self._store(monotonic())
        self._hand_over()
        self.spool.pass_by(len(self._waiting))
        with self._lock:
            self._backlog.append(self._waiting, 0.0)
        self._waiting = []
        self.settle()
        with self._lock:
            lost = self._backlog.drop_all(reason, spared=self.spool.events - self.spool.unread - self._left)
        self._left += self.spool.unread
        self.spool.close()
        return lost

    def _held(self) -> int:
        """Return the bytes of memory that the ledger takes."""
        backlog = self._backlog
        events = backlog.appended - backlog.settled
        return backlog.appended_bytes - backlog.settled_bytes + events * OVERHEAD

    def _has_room(self) -> bool:
        return self._held() < self._read_ahead

    def _hand_over(self) -> None:
        """Let the ledger have what the spool numbered for it, before anything else is."""
        if self._handed:
            with self._lock:
                self._backlog.append(self._handed, monotonic())
            self._handed = []

    def _store(self, now: float) -> None:
        """Write what waits, as much as there is room for."""
        self._hand_over()
        while self._waiting:
            chunk = self._next_chunk()
            try:
                if self.spool.append(chunk, read=self._has_room()):
                    self._handed = chunk
            except SpoolError as error:
                full = isinstance(error, SpoolFull)
                if full and self._options.on_full == "drop_oldest" and self._drop_oldest():
                    continue
                self._retry_at = now + (_RETRY_FULL if full else _RETRY_BROKEN)
                self._in_trouble(error)
                if self.spool.unread or not self._has_room():
                    return
                self.spool.pass_by(len(chunk))
                self._handed = chunk
                self._memory_until = self._backlog.appended + len(chunk)
            else:
                self._out_of_trouble()
                self._sync_soon(now)
            self._waiting = self._waiting[len(chunk) :]
            self._release(len(chunk), sum(map(len, chunk)))
            self._hand_over()

    def _next_chunk(self) -> list[bytes]:
        chunk = self._waiting[:_CHUNK]
        size = 0
        for place, payload in enumerate(chunk):
            size += len(payload)
            if size > _CHUNK_BYTES and place:
                return chunk[:place]
        return chunk

    def _keep_room(self) -> None:
        """Give up the oldest before those that write the journal find no room: they cannot do it."""
        wanted = min(_CHUNK_BYTES, self._options.spool_max_bytes // 8)
        while self.spool.room < wanted and self._drop_oldest(spare_newest=True):
            pass

    def _drop_oldest(self, *, spare_newest: bool = False) -> bool:
        dropped, kept = self.spool.drop_oldest(spare_newest=spare_newest)
        self.given_up += dropped
        return dropped > 0 or kept > 0

    def _sync_soon(self, now: float) -> None:
        if self._sync_at is None and self._options.fsync == "second":
            self._sync_at = now + _SYNC

    def _in_trouble(self, error: SpoolError) -> None:
        if self._trouble is None:
            text = "no events can be written to %s, they are held in memory: %s"
            _say(logging.WARNING, text, self._options.spool, error)
        self._trouble = error

    def _out_of_trouble(self) -> None:
        if self._trouble is not None:
            self._trouble = None
            _say(logging.WARNING, "events are written to %s again", self._options.spool)

    def _tell(self) -> None:
        """Say what was found on disk, each time there is more of it."""
        found = self.spool.damaged, self.spool.foreign
        if found != self._told:
            self._told = found
            _say(
                logging.WARNING,
                "%s: %d damaged places were set aside and %d events lost; %d segments of another format are left alone",
                *(self._options.spool, self.spool.damaged, self.spool.lost, self.spool.foreign),
            )


def _say(level: int, text: str, *arguments: object) -> None:
    """Tell the application's log, whatever its handlers do: events are half way from one place to the next."""
    with suppress(Exception):
        _logger.log(level, text, *arguments)
