"""The spool as the shipper sees it: events go in, come out in order, and are deleted when they are settled.

What holds, whatever happens and wherever the process dies: an event that was accepted is on the disk until it is
settled; what is not settled is handed out again, by this process or by the one that adopts the part; so duplicates
are possible, but only of what was not settled when a process died. Bytes are never written twice in one place, a
segment of another life is never written to, and its number is never used again.

After an fdatasync that failed nothing is known of the pages it was to write: the kernel may have dropped them, or
marked them clean, so that the next fdatasync of that file "succeeds" (the fsyncgate of PostgreSQL, 2018). A second
copy of all that is not synced would cost up to a second's worth of memory all the time. So it is read back from
the file that failed, which the page cache as a rule still answers, each frame checked by its checksum, and written
to a new segment.

Threads: see `store`. Everything here is for the owner, except `settle` and `write`.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Sequence

from beats_core.errors import SpoolError, SpoolFull
from beats_core.frames import Important
from beats_core.spool.part import Part, parts_in, prepare, remove_unfinished, spool_error
from beats_core.spool.records import (
    FRAME_BYTES,
    HEADER_BYTES,
    MAX_POSITION,
    encode_event,
    encode_frame,
    encode_frames,
)
from beats_core.spool.segment import Segment, fdatasync
from beats_core.spool.store import Store
from beats_core.spool.volume import Volume

__all__ = ["Spool", "SpoolFull"]

Payload = bytes  # within the class, `bytes` is how many there are
Frames = list[tuple[int, bytearray | bytes]]

_MAX_SEGMENT_BYTES = 1 << 30
_SHARE_OF_QUOTA = 4  # a quota has at least so many segments, or there would be no room until all is settled
_ADOPT_AT_ONCE = 4  # parts; the rest is for the other processes, or the next time
_PAUSE = 1.0  # seconds between two looks at what may have changed
_WAIT_FOR_WRITERS = 1.0  # seconds; they are in the middle of one write each
_NOT_WORTH_IT = 0.9  # of a segment: to keep that much of it makes no room
_PAGE = 4096
_TRANSIENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})


class Spool:
    """A durable queue of events in a directory that several processes may share.

    Args:
        directory: Is made if it is not there.
        max_bytes: What this process's part and those it adopted may take.
        min_free_bytes: What has to stay free on the disk.
        fsync: "none", "second" (the caller calls `sync`) or "each" (before anything is said to be kept).
        segment_bytes: When a segment is full; a quarter of `max_bytes` if that is less.
        journal: `write` is used, from any thread.

    Raises:
        SpoolError: The directory cannot be used. That it is full is no error.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        max_bytes: int,
        min_free_bytes: int,
        fsync: str = "second",
        segment_bytes: int = 8 << 20,
        journal: bool = False,
    ) -> None:
        self.directory = os.path.abspath(os.fspath(directory))
        prepare(self.directory)
        self.foreign = 0  # parts and segments of another format version, left alone
        self.sync_failures = 0
        self.adopted = 0  # events, ever
        self._fsync = fsync
        self._journal = journal
        self._segment_bytes = min(segment_bytes, max(1, max_bytes // _SHARE_OF_QUOTA), _MAX_SEGMENT_BYTES)
        self._volume = Volume(self.directory, max_bytes, min_free_bytes)
        self._volume.refresh()
        self._store = Store(self.directory, self._volume, fsync)
        self._known: set[str] = set()  # names of parts that are or were ours: not to be adopted
        self._foreign: set[str] = set()  # paths that `foreign` counts
        self._roll_at = 0.0
        self._tend_at = 0.0

    @property
    def unread(self) -> int:
        """Events on the disk that were not read yet. Any thread."""
        return self._store.unread

    @property
    def events(self) -> int:
        """Events on the disk that are not settled, read or not; after `close` those left for the next. Any thread."""
        store = self._store
        return store.unread + store.ordinals.outstanding + store.left_behind

    @property
    def bytes(self) -> int:
        """Bytes on the disk. Any thread."""
        return self._store.bytes

    @property
    def segments(self) -> int:
        """Segments on the disk, of all parts that are ours. Any thread."""
        return sum([len(part.segments) for part in self._store.parts[:]])

    @property
    def parts(self) -> int:
        """Parts whose lock we hold. Any thread."""
        return len(self._store.parts)

    @property
    def damaged(self) -> int:
        """Places in segments where something was damaged. Any thread."""
        return self._store.damaged

    @property
    def lost(self) -> int:
        """Events that were accepted and could not be read again, as far as that can be known. Any thread."""
        return self._store.lost

    @property
    def torn(self) -> int:
        """Frames whose writing broke off; nobody was told that they are kept. Any thread."""
        return self._store.torn

    def append(self, payloads: Sequence[Payload], *, read: bool = False) -> bool:
        """Keep these events, all or none of them.

        Args:
            payloads: Oldest first; those of type `Important` are dropped last.
            read: If nothing else is unread, count them as read, with the next ordinals.

        Returns:
            Whether they count as read. They will not come out of `read` then.

        Raises:
            SpoolFull: There is no room; nothing was kept.
            SpoolError: The disk failed; nothing was kept.
        """
        if not payloads:
            return False
        self._attend()
        frames = [(len(payloads), encode_frame(payloads))] if self._journal else encode_frames(payloads)
        segment, start = self._put(frames)
        return read and self._count_as_read(segment, start, frames)

    def _put(self, frames: Frames, spare: int = 0) -> tuple[Segment, int]:
        """Write frames behind each other, all or none; return where. `spare`: bytes that are about to be free."""
        size = sum(len(frame) for _, frame in frames)
        store = self._store
        last_try = False
        while True:
            segment = self._segment_for(size, spare)
            start = segment.size
            try:
                for _, frame in frames:
                    segment.write(frame)
                if self._fsync == "each":
                    self._sync_at_once(segment)
            except OSError as error:
                self._take_back(segment, start)
                failed = spool_error(error, f"cannot write to {segment.path}")
                if isinstance(failed, SpoolFull) and error.errno != errno.EFBIG:
                    if store.make_room():
                        continue
                    raise failed from error
                if last_try:
                    raise failed from error
                last_try = True  # a new segment is another file, maybe in another place of the disk
                self._leave()
                continue
            segment.size += size
            segment.events += sum(events for events, _ in frames)
            if self._fsync == "each":
                segment.synced = segment.size
            self._volume.free -= size
            store.count(segment)
            return segment, start

    def _segment_for(self, size: int, spare: int) -> Segment:
        """Return the segment to write so many bytes to, with room for them in the quota."""
        store = self._store
        segment = store.writing
        self._volume.refresh()
        try:
            self._volume.check(store.bytes - spare, size)
        except SpoolFull:
            if self._journal or not store.make_room():
                raise
            self._volume.check(store.bytes - spare, size)
            segment = store.writing
        if segment is not None and not self._journal:
            if not os.fstat(segment.fd).st_nlink:  # somebody removed it; what is unread can be read until we close it
                self._leave()
                store.check_part()
                segment = None
            elif segment.size > HEADER_BYTES and segment.size + size > self._segment_bytes:
                self._leave()
                segment = None
        if segment is None:
            segment = store.begin()
            self._notice()
        if segment.size + size > MAX_POSITION:
            raise SpoolFull(f"{size} bytes are too much for one segment")
        return segment

    def _leave(self) -> None:
        """Write no more to the current segment; the next one is made when it is needed, or now for the journal."""
        if self._journal:
            self._roll()
        else:
            self._store.retire()

    def _take_back(self, segment: Segment, start: int) -> None:
        """Undo a write that failed in the middle. In the journal others may have written behind it: it stays, torn."""
        if self._journal:
            segment.torn += 1
            return
        try:
            os.ftruncate(segment.fd, start)
        except OSError:
            self._store.note_all_from(segment, start)
            self._store.retire()

    def _sync_at_once(self, segment: Segment) -> None:
        try:
            fdatasync(segment.fd)
        except OSError:
            self.sync_failures += 1
            segment.failed = True
            raise

    def _count_as_read(self, segment: Segment, start: int, frames: Frames) -> bool:
        store = self._store
        cursor = segment.cursor
        events = sum(count for count, _ in frames)
        reached = cursor.offset == start or (not cursor.offset and start == HEADER_BYTES)
        if self._journal or not reached or not cursor.idle or store.queue[0] is not segment:
            return False
        places = []
        for count, frame in frames:
            places.append((start + FRAME_BYTES, count))
            start += len(frame)
        with store.lock:
            index = cursor.handed
            cursor.skip_own(start, places)
            self._hand_out(segment, index, events)
        return True

    def _hand_out(self, segment: Segment, index: int, events: int) -> None:
        """Give the next ordinals to events that were just read. Under the lock."""
        store = self._store
        store.ordinals.hand_out(segment, index, events)
        segment.outstanding += events
        known = min(events, segment.unread)  # a damaged segment may hold more than was believed
        segment.unread -= known
        store.counted_unread -= known

    def read(self, most_events: int, most_bytes: int) -> list[Payload]:
        """Return the next unread events: of adopted parts first, then our own, each oldest first.

        Never raises for what is on the disk: damage is passed over and counted.

        Args:
            most_events: At least 1.
            most_bytes: Of payloads in all; a single event may be larger.

        Returns:
            At least one event if there is one that can be read now. Each has the next ordinal.
        """
        self._attend()
        store = self._store
        taken: list[Payload] = []
        size = 0
        while store.queue and len(taken) < most_events and size < max(1, most_bytes):
            segment = store.queue[0]
            payloads = self._take(segment, most_events - len(taken), most_bytes - size if taken else most_bytes)
            if payloads is None:
                break
            if taken and payloads and size + sum(map(len, payloads)) > most_bytes:
                # One event that is too large for what is left of the bytes: it goes first next time.
                segment.cursor.give_back(payloads)
                break
            if payloads:
                with store.lock:
                    self._hand_out(segment, segment.cursor.handed - len(payloads), len(payloads))
                taken = taken + payloads if taken else payloads
                size += sum(map(len, payloads))
            if segment.sealed and (not payloads or segment.cursor.at_end(segment.size)):
                self._finish(segment)
            elif not payloads:
                break
        return taken

    def _take(self, segment: Segment, most_events: int, most_bytes: int) -> list[Payload] | None:
        """Return what is next in a segment; [] if there is nothing, None if it cannot be read for now."""
        being_written = self._journal and not segment.sealed
        try:
            fd = segment.open()
            limit = os.fstat(fd).st_size if being_written else segment.size
            payloads = segment.cursor.take(fd, limit, most_events, most_bytes, whole=not being_written)
        except OSError as error:
            if error.errno in _TRANSIENT:
                return None
            segment.set_aside = True
            payloads = []
            if not segment.sealed:
                if segment is not self._store.writing:
                    return None  # a writer is still in it
                self._leave()
                if not segment.sealed:
                    return None
        if segment.cursor.gaps:
            self._note_gaps(segment)
        return payloads

    def _note_gaps(self, segment: Segment) -> None:
        gaps, segment.cursor.gaps = segment.cursor.gaps, []
        for gap in gaps:
            if gap.torn:
                self._store.torn += 1
                continue
            self._store.damaged += 1
            try:
                data = os.pread(segment.fd, gap.end - gap.start, gap.start)
            except OSError:
                continue
            self._volume.set_aside(f"{segment.part.name}-{segment.number:08}-{gap.start}", data)

    def _finish(self, segment: Segment) -> None:
        """Say what is lost of a segment that was read to its end, or as far as it goes."""
        cursor = segment.cursor
        if segment in self._store.queue:
            missing = segment.events - cursor.found - max(0, segment.acked - cursor.passed)
            self._store.lost += max(0, missing)
            if segment.set_aside:
                self._store.damaged += 1
        self._store.finish(segment)

    def pass_by(self, count: int) -> None:
        """Give the next `count` ordinals to events that are not on the disk."""
        with self._store.lock:
            self._store.ordinals.pass_by(count)

    def settle(self, unsettled: Sequence[tuple[int, int]]) -> None:
        """Take note of what is settled, and delete what is settled as a whole. Any thread. Never raises for the disk.

        What was settled once stays so, so it does no harm if calls of several threads overtake each other.

        Args:
            unsettled: Sorted, disjoint runs [first, end) of ordinals: all others that were read are settled. An
                event may have been read and not be known to the caller yet: where that can be, the last run begins
                at the first ordinal that the caller does not know and has no end (`1 << 62`).
        """
        self._store.settle(unsettled)

    def sync(self) -> None:
        """Wait until everything appended is on the disk. Never raises: failures are counted, and repaired."""
        self._attend()
        store = self._store
        with store.lock:
            pending = [
                segment
                for part in store.parts
                if part.own
                for segment in part.segments.values()
                if segment.synced < segment.size and not segment.failed and not segment.going
            ]
        for segment in pending:
            size = segment.size
            with store.lock:
                fd = segment.fd
            try:
                own = os.open(segment.path, os.O_RDONLY | os.O_CLOEXEC) if fd < 0 else -1
            except OSError:
                continue  # it was settled and removed meanwhile; or we are out of descriptors, and come again
            try:
                fdatasync(own if fd < 0 else fd)
                segment.synced = size
            except OSError:
                self.sync_failures += 1
                segment.failed = True
            finally:
                if own >= 0:
                    os.close(own)
            if segment.failed:
                self._rescue(segment)
            elif segment.sealed:
                store.close_idle(segment)
        for part in {segment.part for segment in pending if segment.part.unsynced}:
            try:
                part.sync()
            except OSError:
                self.sync_failures += part.is_intact()

    def _rescue(self, segment: Segment) -> None:
        """Write what is unread in a segment whose disk failed once more, to a new one."""
        if segment is self._store.writing:
            self._leave()
        if not segment.sealed or segment.finished:
            return  # of the journal, and somebody is in it: `_attend` comes back to it
        payloads = self._rest_of(segment)
        if payloads:
            try:
                self._put([(len(payloads), encode_frame(payloads))] if self._journal else encode_frames(payloads))
            except SpoolError:
                segment.cursor.give_back(payloads)  # it stays where it is, and can be read as long as it can be
                return
            self._mark_gone(segment, len(payloads))
        self._finish(segment)

    def _rest_of(self, segment: Segment) -> list[Payload]:
        """Return everything unread of a sealed segment, without giving it ordinals."""
        rest: list[Payload] = []
        while payloads := self._take(segment, 1 << 30, 1 << 40):
            rest += payloads
        return rest

    def _mark_gone(self, segment: Segment, events: int) -> None:
        """Settle the last `events` that were taken of a segment."""
        store = self._store
        with store.lock:
            segment.unnoted.append(segment.cursor.run(segment.cursor.handed - events, events))
            if segment.outstanding:
                store.note(segment)

    def drop_oldest(self) -> tuple[int, int]:
        """Make room by giving up the oldest segment of which nothing is read and unsettled.

        Important events of it are kept, at the end of the line, unless they are nearly all of it.

        Returns:
            How many events were dropped, and how many important ones were kept. (0, 0) if no room can be made.
        """
        self._attend()
        store = self._store
        for segment in store.queue[:]:
            if segment.outstanding or not (segment.unread or segment.sealed):
                continue
            if segment is store.writing:
                self._leave()
            if not segment.sealed or segment.finished:
                continue
            rest = self._rest_of(segment)
            kept = self._keep_important(segment, rest)
            if rest:
                self._mark_gone(segment, len(rest))
            self._finish(segment)
            if kept and store.unread < kept:  # they had to wait for the room
                kept = 0
            if rest:
                return len(rest) - kept, kept
        return 0, 0

    def _keep_important(self, segment: Segment, rest: list[Payload]) -> int:
        important = [payload for payload in rest if type(payload) is Important]
        frames = encode_frames(important)
        size = sum(len(frame) for _, frame in frames)
        if not important or size > segment.size * _NOT_WORTH_IT:
            return 0
        if self._journal:
            frames = [(len(important), encode_frame(important))]
        try:
            self._put(frames, spare=segment.size)
        except SpoolError:
            # The disk itself is full. Without the file there is room; for a moment they are nowhere but here.
            try:
                os.unlink(segment.path)
                self._volume.free += segment.size
                self._put(frames, spare=segment.size)
            except (OSError, SpoolError):
                return 0
        return len(important)

    def adopt(self) -> int:
        """Take over parts whose owner is dead, a few per call, oldest first.

        Returns:
            How many events in them are not settled, as far as names and acks tell.
        """
        self._notice()
        store = self._store
        self._known.update(part.name for part in store.parts)
        adopted = events = 0
        for path in parts_in(self.directory):
            if os.path.basename(path) in self._known:
                continue
            part = Part.take_over(path)
            if part is None:
                continue
            try:
                part.load()
            except OSError:
                part.release()
                continue
            if part.foreign and path not in self._foreign:
                self._foreign.add(path)
                self.foreign += part.foreign
            if not part.segments:
                if part.foreign:
                    part.release()
                else:
                    part.remove()
                continue
            self._known.add(part.name)
            events += store.add(part)
            adopted += 1
            if adopted == _ADOPT_AT_ONCE:
                break
        remove_unfinished(self.directory)
        self.adopted += events
        return events

    def write(self, payload: Payload) -> None:
        """Keep one event, with one write. The journal's `append`: any thread, also in the middle of another `write`.

        Raises:
            SpoolFull: There is no room; the event was not kept.
            SpoolError: The disk failed; the event was not kept, or (fsync="each") is not sure to be on the disk.
        """
        frame = encode_event(payload)
        size = len(frame)
        store = self._store
        volume = self._volume
        while True:
            segment = store.writing
            if segment is not None:  # from the line before to the next there is no call: see `store`
                segment.entered += 1
                break
            store.begin()
        try:
            used = store.counted_bytes + segment.size - segment.weighed
            if used + size > volume.max_bytes or volume.free - size < volume.min_free_bytes:
                volume.check(used, size)
            try:
                written = os.write(segment.fd, frame)
            except OSError as error:
                segment.failed = segment.failed or error.errno not in {errno.ENOSPC, errno.EDQUOT}
                raise spool_error(error, f"cannot write to {segment.path}") from error
            segment.size += written
            if written != size:
                segment.torn += 1
                raise SpoolFull(f"only {written} of {size} bytes could be written to {segment.path}")
            segment.events += 1
            volume.free -= size
            if self._fsync == "each":
                try:
                    fdatasync(segment.fd)
                except OSError as error:
                    segment.failed = True
                    self.sync_failures += 1
                    raise spool_error(error, f"cannot sync {segment.path}") from error
        finally:
            segment.left += 1

    def tend(self) -> None:
        """Keep house: cheap, to be called about once a second, and at will."""
        now = time.monotonic()
        if now >= self._tend_at:
            self._tend_at = now + _PAUSE
            segment = self._store.writing
            if segment is not None and not os.fstat(segment.fd).st_nlink:
                self._leave()
            self._store.check_part()
        self._attend()

    def _notice(self) -> None:
        self._store.notice()
        if self._store.part is not None:
            self._known.add(self._store.part.name)

    def _attend(self) -> None:
        """Do what has to be done before anything else is. The owner."""
        store = self._store
        self._notice()
        store.reap()
        self._volume.refresh()
        segment = store.writing
        if self._journal and segment is not None:
            full = self._volume.free < self._volume.min_free_bytes or store.bytes + _PAGE > self._volume.max_bytes
            done = full and segment.events and not segment.outstanding and segment.cursor.at_end(segment.size)
            if segment.size >= self._segment_bytes or segment.torn or segment.failed or done:
                self._roll()
        store.try_again()

    def _roll(self) -> None:
        """Let the writers of the journal go on with a new segment."""
        store = self._store
        segment = store.writing
        now = time.monotonic()
        if segment is None or now < self._roll_at:
            return
        try:
            store.check_part()
            following = store.create()
        except SpoolError:
            self._roll_at = now + _PAUSE
            return
        store.notice()
        store.part = following.part
        store.writing = following
        store.retired.append(segment)
        self._notice()
        store.seal_retired()

    def close(self) -> None:
        """Sync, give up the locks, and remove the parts in which everything is settled. The rest is for the next.

        Idempotent. What is appended or written afterwards goes to a new part.
        """
        self._notice()
        store = self._store
        if self._fsync != "none":
            self.sync()
        segment = store.writing
        if segment is not None and self._journal:
            store.writing = None
            store.part = None
            store.notice()
            store.retired.append(segment)
            deadline = time.monotonic() + _WAIT_FOR_WRITERS
            while store.retired and time.monotonic() < deadline:
                store.seal_retired()
                if store.retired:
                    time.sleep(0.001)
        else:
            store.part = None
            store.retire()
        store.reap()
        store.give_up()

    def abandon(self) -> None:
        """In a forked child: close what was inherited, and touch nothing on the disk. The spool is as new then."""
        self._store.abandon()
