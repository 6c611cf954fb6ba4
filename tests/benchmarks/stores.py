"""Durable queues with one face: ours, two tables of sqlite3, two of persist-queue, and python-logstash-async's.

    append   keeps events, so that they survive the process; the whole list at once where the queue can
    read     the next events, at most 2,048
    ack      deletes what `read` returned

Each is used in the fastest way that keeps this promise. sqlite3 is what a programmer would write in an hour: WAL,
synchronous=NORMAL, one transaction per call, `AUTOINCREMENT` so that no number comes twice.
"""

from __future__ import annotations

import sqlite3
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Protocol

from beats_core.spool import Spool

READ_EVENTS = 2048
_READ_BYTES = 4 << 20
_SYNC = 1.0  # seconds between two fsyncs, as the shipper has it by default
_ENDLESS = 1 << 62


class Store(Protocol):
    """A durable queue of one process."""

    def append(self, payloads: list[bytes]) -> object:
        """Keep these."""

    def read(self) -> int:
        """Read the next events, and return how many."""

    def ack(self) -> object:
        """Forget what was read."""

    def close(self) -> object:
        """Be done, and keep the rest."""


class Ours:
    """`beats_core.spool`, with an fdatasync a second."""

    def __init__(self, directory: Path) -> None:
        self._spool = Spool(directory / "spool", max_bytes=1 << 40, min_free_bytes=0)
        self._spool.adopt()
        self._sync_at = time.monotonic() + _SYNC
        self._read = 0

    def append(self, payloads: list[bytes]) -> None:
        self._spool.append(payloads)
        if time.monotonic() >= self._sync_at:
            self._spool.sync()
            self._sync_at = time.monotonic() + _SYNC

    def read(self) -> int:
        count = len(self._spool.read(READ_EVENTS, _READ_BYTES))
        self._read += count
        return count

    def ack(self) -> None:
        self._spool.settle([(self._read, _ENDLESS)])

    def close(self) -> None:
        self._spool.close()


class _Sqlite:
    """What both tables have in common."""

    column = "BLOB"

    def __init__(self, directory: Path) -> None:
        self._database = sqlite3.connect(directory / "events.db", isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS events (id INTEGER PRIMARY KEY AUTOINCREMENT, data BLOB, count INTEGER)"
        )
        self._last = 0

    def ack(self) -> None:
        self._database.execute("DELETE FROM events WHERE id <= ?", (self._last,))

    def close(self) -> None:
        self._database.close()


class SqliteRows(_Sqlite):
    """sqlite3, a row per event."""

    def append(self, payloads: list[bytes]) -> None:
        self._database.execute("BEGIN")
        self._database.executemany("INSERT INTO events (data) VALUES (?)", [(payload,) for payload in payloads])
        self._database.execute("COMMIT")

    def read(self) -> int:
        query = "SELECT id, data FROM events WHERE id > ? ORDER BY id LIMIT ?"
        rows = self._database.execute(query, (self._last, READ_EVENTS)).fetchall()
        if rows:
            self._last = rows[-1][0]
        return len(rows)


class SqliteBlobs(_Sqlite):
    """sqlite3, a row per call of `append`."""

    def append(self, payloads: list[bytes]) -> None:
        lengths = struct.pack(f"<{len(payloads)}I", *map(len, payloads))
        row = (b"".join((lengths, *payloads)), len(payloads))
        self._database.execute("INSERT INTO events (data, count) VALUES (?, ?)", row)

    def read(self) -> int:
        query = "SELECT id, data, count FROM events WHERE id > ? ORDER BY id"
        events: list[bytes] = []
        for number, data, count in self._database.execute(query, (self._last,)):
            lengths = struct.unpack_from(f"<{count}I", data)
            events += [data[one:other] for one, other in pairwise(accumulate(lengths, initial=4 * count))]
            self._last = number
            if len(events) >= READ_EVENTS:
                break
        return len(events)


class PersistQueue:
    """persist-queue's `Queue`: a file per hundred events. It has no way to keep several at once."""

    def __init__(self, directory: Path) -> None:
        from persistqueue import Queue

        # Its own files for the moment belong on the same disk, or each is copied there.
        self._queue = Queue(str(directory / "queue"), tempdir=str(directory))
        self._read = 0

    def append(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._queue.put(payload)

    def read(self) -> int:
        self._read = min(READ_EVENTS, self._queue.qsize())
        for _ in range(self._read):
            self._queue.get_nowait()
        return self._read

    def ack(self) -> None:
        for _ in range(self._read):
            self._queue.task_done()  # the first one saves where reading stands, the others only count

    def close(self) -> None:
        self._queue.headf.close()
        self._queue.tailf.close()


class PersistAckQueue:
    """persist-queue's `SQLiteAckQueue`. Nor has it."""

    def __init__(self, directory: Path) -> None:
        from persistqueue import SQLiteAckQueue

        self._queue = SQLiteAckQueue(str(directory / "queue"))
        self._read: list[Any] = []

    def append(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._queue.put(payload)

    def read(self) -> int:
        count = min(READ_EVENTS, self._queue.size)
        self._read = [self._queue.get(block=False, raw=True) for _ in range(count)]
        return count

    def ack(self) -> None:
        for item in self._read:
            self._queue.ack(item)
        self._queue.clear_acked_data(max_delete=READ_EVENTS, keep_latest=0)

    def close(self) -> None:
        self._queue.close()


class LogstashAsync:
    """python-logstash-async's `DatabaseCache`. Nor has it; it opens the database for each call."""

    def __init__(self, directory: Path) -> None:
        from logstash_async.database import DatabaseCache

        self._cache = DatabaseCache(str(directory / "logstash.db"))

    def append(self, payloads: list[bytes]) -> None:
        for payload in payloads:
            self._cache.add_event(payload.decode())

    def read(self) -> int:
        return len(self._cache.get_queued_events())  # as many as it wants at a time: 50

    def ack(self) -> None:
        self._cache.delete_queued_events()

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class Kind:
    """One line of the tables.

    `slowness` divides the events that others get, so that each is measured for seconds, not minutes; for lists of 1
    by `slowness_alone`.
    """

    label: str
    open: Callable[[Path], Store]
    batches: tuple[int, ...] = (1, 64, READ_EVENTS)
    slowness: int = 1
    slowness_alone: int = 1
    needs: str | None = None


STORES = {
    "spool": Kind("our spool", Ours, slowness_alone=2),
    "sqlite_blobs": Kind("sqlite3, row per call", SqliteBlobs, slowness=2, slowness_alone=10),
    "sqlite_rows": Kind("sqlite3, row per event", SqliteRows, slowness=2, slowness_alone=10),
    "persist_queue": Kind("persist-queue, Queue", PersistQueue, (1,), 40, 40, "persistqueue"),
    "persist_ack": Kind("persist-queue, SQLiteAckQueue", PersistAckQueue, (1,), 80, 80, "persistqueue"),
    "logstash_async": Kind("logstash-async, DatabaseCache", LogstashAsync, (1,), 160, 160, "logstash_async"),
}
