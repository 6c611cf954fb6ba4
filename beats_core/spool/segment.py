"""One segment: its two files, what is known of it, and its cursor.

The events are in a file that only ever grows, `00000001.open` while it is written and `00000001.<events>.seg` from
then on; what is settled of them is in `00000001.acks`. That one is made together with the segment and has its first
block from the start, so that acks can be noted on a full disk.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from beats_core.spool.cursor import Cursor
from beats_core.spool.records import (
    HEADER_BYTES,
    RECORD_BYTES,
    VERSION,
    Record,
    decode_records,
    encode_header,
    encode_record,
    merged,
    version_of,
)

if TYPE_CHECKING:
    from beats_core.spool.part import Part

ACKS_BYTES = 4096  # of an acks file from the start: one block
_NO_FALLOCATE = frozenset({errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})


class Segment:
    """One segment of a part. Who may change what: see `spool`.

    Attributes:
        path: Of the file with the events.
        fd: It, open, or -1.
        size: Its bytes, as far as they count.
        events: How many are in it.
        sealed: Nothing is written to it any more.
        finished: Everything in it was read, passed over, or given up.
        unread: How many events of it the spool counts as not read.
        outstanding: How many were read and are not settled.
        entered, left: Writers that began and ended; nobody is at it when they are equal.
        broken: Nothing more is to be written to it: a write failed.
        failed: What was written may never reach the disk: an fdatasync failed.
    """

    def __init__(self, part: Part, number: int, path: str, fd: int = -1) -> None:
        self.part = part
        self.number = number
        self.path = path
        self.fd = fd
        self.size = 0
        self.events = 0
        self.sealed = False
        self.finished = False
        self.going = False  # it is being removed
        self.failed = False
        self.set_aside = False  # it could not be read: it is kept for a look when it goes
        self.unread = 0
        self.outstanding = 0
        self.entered = 0
        self.left = 0
        self.broken = False
        self.counted = 0  # of `events`, those the spool counts already
        self.weighed = 0  # of `size`, the same
        self.synced = 0  # of `size`, what is on the disk for sure
        self.acked = 0  # events that were settled when it was adopted
        self.acks_bytes = 0
        self.unnoted: list[Record] = []  # settled, and not in the acks file yet
        self.cursor = Cursor()
        self._acks = -1
        self._acks_end = 0

    @property
    def order(self) -> tuple[bool, int, str, int]:
        """In which order segments are read."""
        return (*self.part.order, self.number)

    @classmethod
    def create(cls, part: Part) -> Segment:
        """Make the next segment of a part.

        Raises:
            OSError: It cannot be made; nothing of it is there then.
        """
        number = next(part.numbers)
        segment = cls(part, number, os.path.join(part.path, f"{number:08}.open"))
        flags = os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            segment._acks = os.open(segment.acks_path, flags | os.O_WRONLY, 0o600)
            _allocate(segment._acks, ACKS_BYTES)
            segment.acks_bytes = ACKS_BYTES
            segment.fd = os.open(segment.path, flags | os.O_RDWR | os.O_APPEND, 0o600)
            header = encode_header()
            if os.write(segment.fd, header) != len(header):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            segment.discard()
            raise
        segment.size = HEADER_BYTES
        return segment

    @property
    def acks_path(self) -> str:
        """Where it is noted what is settled."""
        return os.path.join(self.part.path, f"{self.number:08}.acks")

    def discard(self) -> None:
        """Remove a segment that was just made and holds nothing."""
        self.close()
        self.close_acks()
        for path in (self.path, self.acks_path):
            with suppress(OSError):  # not there; or an empty segment stays behind, which harms nobody
                os.unlink(path)

    def load(self, events: int | None) -> bool:
        """Learn what a segment of another life holds; tell whether it is of a format we know.

        Args:
            events: How many its name says are in it; None if it was not sealed: then it is read through.

        Raises:
            OSError: It could not be read.
        """
        self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if version_of(self._header()) not in (VERSION, None):
                return False
            self.size = self.weighed = self.synced = os.fstat(self.fd).st_size
            self._load_acks()
            if events is None:
                events = self._count()
        finally:
            self.close()
        self.events = self.counted = events
        self.unread = max(0, events - self.acked)
        self.sealed = True
        return True

    def _header(self) -> bytes:
        try:
            return os.pread(self.fd, HEADER_BYTES, 0)
        except OSError:
            return b""  # reading will find that the disk fails, and count what is lost

    def _load_acks(self) -> None:
        try:
            acks = os.open(self.acks_path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            data = b""
            while piece := os.pread(acks, 1 << 20, len(data)):
                data += piece
        finally:
            os.close(acks)
        records, self._acks_end = decode_records(data)
        self.acks_bytes = len(data)
        self.acked = sum(record.events for record in records)
        self.cursor = Cursor(merged(records))

    def _count(self) -> int:
        cursor = Cursor()
        try:
            while cursor.take(self.fd, self.size, 1 << 30, 1 << 40, whole=True):
                pass
        except OSError:
            pass  # the disk fails behind here; reading will find that too
        return cursor.found + sum(gap.events for gap in cursor.gaps)

    def write(self, frame: bytes | bytearray) -> None:
        """Append a frame, with one call if the system takes it so.

        Raises:
            OSError: It was not written whole.
        """
        written = os.write(self.fd, frame)
        while written < len(frame):
            written += os.write(self.fd, memoryview(frame)[written:])

    def open(self) -> int:
        """Return the descriptor to read with.

        Raises:
            OSError: It cannot be opened.
        """
        if self.fd < 0:
            self.fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self.fd

    def close(self) -> None:
        """Close the file with the events."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            os.close(fd)

    def close_acks(self) -> None:
        """Close the acks file."""
        acks, self._acks = self._acks, -1
        if acks >= 0:
            os.close(acks)

    def note(self) -> int:
        """Write what is settled to the acks file, and return by how much that grew. Never raises: see `unnoted`."""
        records = b"".join(map(encode_record, self.unnoted))
        try:
            if self._acks < 0:
                self._acks = os.open(self.acks_path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            written = os.pwrite(self._acks, records, self._acks_end)
        except OSError:
            return 0
        self._acks_end += -(-written // RECORD_BYTES) * RECORD_BYTES
        if written == len(records):
            self.unnoted.clear()
        grown = max(0, self._acks_end - self.acks_bytes)
        self.acks_bytes += grown
        return grown


def fdatasync(fd: int) -> None:
    """Wait until the contents of a file are on the disk. macOS has no fdatasync."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(fd)


def _allocate(fd: int, size: int) -> None:
    allocate = getattr(os, "posix_fallocate", None)
    if allocate is not None:
        try:
            allocate(fd, 0, size)
            return
        except OSError as error:
            if error.errno not in _NO_FALLOCATE:
                raise
    if os.pwrite(fd, bytes(size), 0) != size:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
