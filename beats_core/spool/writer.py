"""The writing side: frames into segments, all or nothing, and the roll from one segment to the next.

`Writer.append` is the owner's. `Writer.write` is the journal's, for any thread; `store` tells why it needs no lock.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence
from threading import get_ident

from beats_core.errors import SpoolError, SpoolFull
from beats_core.spool.part import Part, spool_error
from beats_core.spool.records import FRAME_BYTES, HEADER_BYTES, MAX_POSITION, encode_event, encode_frame, encode_frames
from beats_core.spool.segment import ACKS_BYTES, Segment, fdatasync
from beats_core.spool.store import Store

NEW_SEGMENT_BYTES = HEADER_BYTES + ACKS_BYTES
_MAX_SEGMENT_BYTES = 1 << 30
_SHARE_OF_QUOTA = 8  # a quota holds at least so many segments, or there would be no room until all is settled
_LATE = 2  # segments' size that one of the journal may have at least
_DEEPEST = 5  # calls of `_begin` of one thread within each other
_PAUSE = 1.0  # seconds between two tries to roll


class Written:
    """What one append wrote.

    Attributes:
        segment: Where.
        start: The offset of its first frame.
        places: (position, events) of each frame.
    """

    __slots__ = ("events", "places", "segment", "start")

    def __init__(self, segment: Segment, start: int, frames: Sequence[tuple[int, bytes | bytearray]]) -> None:
        self.segment = segment
        self.start = start
        self.places = []
        self.events = 0
        for events, frame in frames:
            self.places.append((start + FRAME_BYTES, events))
            self.events += events
            start += len(frame)


class Writer:
    """Writes the events of one process.

    Args:
        store: The books.
        fsync: "none", "second" or "each".
        segment_bytes: When a segment is full.
        journal: Any thread writes, by `write`.

    Attributes:
        sync_failures: How often the system could not put on the disk what it had taken.
    """

    def __init__(self, store: Store, fsync: str, segment_bytes: int, *, journal: bool) -> None:
        quota = max(1, store.volume.max_bytes // _SHARE_OF_QUOTA)
        self.sync_failures = 0
        self._store = store
        self._volume = store.volume
        self._each = fsync == "each"
        self._segment_bytes = min(segment_bytes, quota, _MAX_SEGMENT_BYTES)
        # Who writes the journal cannot roll it. Should the owner be late, a segment is not to grow to the whole quota:
        # there would be none to give up.
        self._most_bytes = max(_LATE * self._segment_bytes, store.volume.max_bytes // 4)
        self._journal = journal
        self._roll_at = 0.0
        self._making: dict[int, int] = {}  # by thread: how many of its calls of `_begin` are in the middle of it

    def append(self, payloads: Sequence[bytes], spare: int = 0) -> Written:
        """Write these events, all or none.

        Args:
            payloads: At least one.
            spare: Bytes that are about to be free, beyond what the books say.

        Raises:
            SpoolFull: There is no room.
            SpoolError: The disk failed.
        """
        # With others writing in between, only what is written with one call is written all or not at all.
        frames = [(len(payloads), encode_frame(payloads))] if self._journal else encode_frames(payloads)
        size = len(frames[0][1]) if len(frames) == 1 else sum([len(frame) for _, frame in frames])
        store = self._store
        while True:
            segment = self._segment_for(size, spare)
            start = segment.size
            try:
                for _, frame in frames:
                    segment.write(frame)
                if self._each:
                    self._sync_at_once(segment)
                    segment.synced = start + size
            except OSError as error:
                if self._try_elsewhere(segment, start, error):
                    continue
                raise spool_error(error, f"cannot write to {segment.path}") from error
            segment.size += size
            segment.events += len(payloads)
            self._volume.free -= size
            store.count(segment)
            return Written(segment, start, frames)

    def _try_elsewhere(self, segment: Segment, start: int, error: OSError) -> bool:
        """Undo a write that failed, and tell whether it may go better in another segment."""
        if self._journal:
            segment.broken = True
        else:
            try:
                os.ftruncate(segment.fd, start)
            except OSError:
                segment.broken = True
                self._store.note_all_from(segment, start)
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            if segment.broken:
                self.leave()
            return self._store.make_room()
        if error.errno != errno.EFBIG:
            segment.broken = True
        if start <= HEADER_BYTES:  # it was a new one already
            return False
        self.leave()
        return self._store.writing is not segment

    def _segment_for(self, size: int, spare: int) -> Segment:
        """Return the segment to write so many bytes to, with room for them."""
        store = self._store
        segment = store.writing
        if segment is not None and not self._journal:
            full = segment.size > HEADER_BYTES and segment.size + size > self._segment_bytes
            if full or segment.broken or self.is_gone(segment):
                self.leave()
                segment = None
        self._volume.refresh()
        needed = size if segment is not None else size + NEW_SEGMENT_BYTES
        try:
            self._volume.check(store.bytes - spare, needed)
        except SpoolFull:
            if self._journal or not store.make_room():
                raise
            segment = None
            self._volume.check(store.bytes - spare, size + NEW_SEGMENT_BYTES)
        if segment is None:
            segment = self._begin()
            store.notice()
        if segment.size + size > MAX_POSITION:
            raise SpoolFull(f"{size} bytes are too much for one segment")
        return segment

    def is_gone(self, segment: Segment) -> bool:
        """Tell whether somebody removed the file. What is unread in it can be read as long as it is open."""
        if os.fstat(segment.fd).st_nlink:
            return False
        self._store.check_part()
        return True

    def write(self, payload: bytes) -> None:
        """Write one event, with one write. Any thread. See `Spool.write`."""
        frame = encode_event(payload)
        size = len(frame)
        store = self._store
        volume = self._volume
        while True:
            segment = store.writing
            if segment is not None:  # from the line before to the next there is no call: see `store`
                segment.entered += 1
                break
            volume.check(store.bytes, size + NEW_SEGMENT_BYTES)
            self._begin()
        try:
            used = store.counted_bytes + segment.size - (segment.weighed or -ACKS_BYTES)
            if used + size > volume.max_bytes or volume.free - size < volume.min_free_bytes:
                volume.check(used, size)
            if segment.size + size > self._most_bytes:
                raise SpoolFull(f"{segment.path} has {segment.size} bytes, and there is no other one yet")
            try:
                written = os.write(segment.fd, frame)
            except OSError as error:
                if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                    segment.broken = True
                raise spool_error(error, f"cannot write to {segment.path}") from error
            segment.size += written
            if written != size:
                segment.broken = True
                raise SpoolFull(f"only {written} of {size} bytes could be written to {segment.path}")
            segment.events += 1
            volume.free -= size
            if self._each:
                try:
                    self._sync_at_once(segment)
                except OSError as error:
                    raise spool_error(error, f"cannot sync {segment.path}") from error
        finally:
            segment.left += 1

    def sync(self, segment: Segment) -> None:
        """Wait until everything in a segment is on the disk. Never raises: what failed is written anew. The owner."""
        store = self._store
        size = segment.size
        opened = -1
        try:
            with store.lock:
                fd = segment.fd
            if fd < 0:
                fd = opened = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return  # it was settled and removed meanwhile; or we are out of descriptors, and come again
        try:
            fdatasync(fd)
            segment.synced = size
        except OSError:
            self.sync_failures += 1
            segment.failed = True
            if segment is store.writing:
                self.leave()
            elif segment.sealed:
                store.failed.append(segment)
        finally:
            if opened >= 0:
                os.close(opened)
        if segment.sealed:
            store.close_idle(segment)

    def _sync_at_once(self, segment: Segment) -> None:
        try:
            fdatasync(segment.fd)
        except OSError:
            segment.failed = True
            self.sync_failures += 1
            raise

    def leave(self) -> None:
        """Write no more to the current segment. The next one is made when it is needed; for the journal, now."""
        if not self._journal:
            self._store.retire()
            return
        store = self._store
        segment = store.writing
        now = time.monotonic()
        if segment is None or now < self._roll_at:
            return
        try:
            following = self._create()
        except SpoolError:
            self._roll_at = now + _PAUSE
            return
        store.notice()
        store.part = following.part
        store.writing = following
        store.retired.append(segment)
        store.notice()
        store.seal_retired()

    def attend(self) -> None:
        """Roll the journal if it is time. The owner."""
        store = self._store
        segment = store.writing
        if not self._journal or segment is None:
            return
        settled = segment.events and not segment.unread and not segment.outstanding  # so to leave it makes room
        full = self._is_full()
        if segment.broken or segment.failed or (settled if full else segment.size >= self._segment_bytes):
            self.leave()

    def _is_full(self) -> bool:
        volume = self._volume
        return volume.free <= volume.min_free_bytes + NEW_SEGMENT_BYTES or (
            self._store.bytes + NEW_SEGMENT_BYTES > volume.max_bytes
        )

    def _begin(self) -> Segment:
        """Make the next segment to write, and return the one that is being written now. Any thread, any time.

        Takes no lock, so that a finaliser or signal handler that comes in the middle of it may call it again: each
        makes a segment of its own, and what comes too late removes its own again.

        Raises:
            SpoolError: It cannot be made; or this thread is making one so many times over, as when a signal comes
                again sooner than a segment can be made.
        """
        store = self._store
        me = get_ident()
        depth = self._making.get(me, 0)
        if depth == _DEEPEST:
            raise SpoolError(f"a segment is being made in {store.directory}")
        self._making[me] = depth + 1
        try:
            segment = self._create()
        finally:
            if depth:
                self._making[me] = depth
            else:
                del self._making[me]
        part = segment.part
        if store.writing is None and (store.part is None or store.part is part):
            store.part = part
            store.writing = segment
            return segment
        self._discard(segment)
        return store.writing or self._begin()

    def _create(self) -> Segment:
        """Make a segment, in a new part if there is none, or if it is gone. Any thread.

        Raises:
            SpoolError: It cannot be made.
        """
        store = self._store
        for known in (store.part, None):
            fresh = known is None
            part = known or Part.create(store.directory)
            try:
                segment = Segment.create(part)
                if self._each:
                    part.sync()
                return segment
            except OSError as error:
                if not fresh and error.errno == errno.ENOENT:  # somebody has removed the part
                    if store.part is part:
                        store.part = None
                    continue
                if fresh:
                    part.remove()
                raise spool_error(error, f"cannot make a segment in {part.path}") from error
        raise AssertionError  # not reached

    def _discard(self, segment: Segment) -> None:
        """Remove a segment that was made in vain, and its part if that was made with it."""
        segment.discard()
        if segment.part is not self._store.part and not segment.part.segments:
            segment.part.remove()
