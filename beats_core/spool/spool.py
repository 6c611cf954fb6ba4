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

Threads: see `store`. Everything here is for the owner, except `settle`, `write` and the counts.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from beats_core.errors import SpoolError
from beats_core.frames import Important
from beats_core.spool.part import Part, parts_in, prepare, remove_unfinished
from beats_core.spool.reader import Reader
from beats_core.spool.records import encode_frame
from beats_core.spool.segment import Segment
from beats_core.spool.store import Store
from beats_core.spool.volume import Volume
from beats_core.spool.writer import Writer

Payload = bytes  # within the class, `bytes` is how many there are

_ADOPT_AT_ONCE = 4  # parts; the rest is for other processes, or the next time
_PAUSE = 1.0  # seconds between two looks at what others may have done to the files
_WAIT_FOR_WRITERS = 1.0  # seconds; each is in the middle of one write
_NOT_WORTH_IT = 0.9  # of a segment: to keep that much of it makes no room


class Spool:
    """A durable queue of events in a directory that several processes may share.

    Args:
        directory: Is made if it is not there.
        max_bytes: What this process's part and those it adopted may take.
        min_free_bytes: What has to stay free on the disk.
        fsync: "none", "second" (the caller calls `sync`) or "each" (before anything is said to be kept).
        segment_bytes: When a segment is full; a quarter of `max_bytes` if that is less.
        journal: `write` is used, from any thread.

    Attributes:
        foreign: Segments of another format version, left alone.
        adopted: Events in parts that were adopted, ever.
        moved: Events that were put at the end of the line, ever: behind what came after them.

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
        self.foreign = 0
        self.adopted = 0
        self.moved = 0
        self._fsync = fsync
        self._journal = journal
        self._volume = Volume(self.directory, max_bytes, min_free_bytes)
        self._volume.refresh()
        self._store = Store(self.directory, self._volume, fsync)
        self._writer = Writer(self._store, fsync, segment_bytes, journal=journal)
        self._reader = Reader(self._store, self._writer, journal=journal)
        self._known: set[str] = set()  # names of parts that are or were ours: not to be adopted
        self._counted_foreign: set[str] = set()
        self._look_at = 0.0

    @property
    def unread(self) -> int:
        """Events on the disk that were not read yet. Any thread."""
        return self._store.unread

    @property
    def events(self) -> int:
        """Events on the disk that are not settled, read or not; after `close` what it left there. Any thread."""
        store = self._store
        return store.unread + store.ordinals.outstanding + store.left_behind

    @property
    def bytes(self) -> int:
        """Bytes on the disk. Any thread."""
        return self._store.bytes

    @property
    def room(self) -> int:
        """Bytes that may still be written, as far as is known; negative when it is overdrawn. Any thread."""
        volume = self._volume
        return min(volume.max_bytes - self._store.bytes, volume.free - volume.min_free_bytes)

    @property
    def segments(self) -> int:
        """Segments on the disk, of all parts that are ours. Any thread."""
        return sum([len(part.segments) for part in self._store.parts[:]])

    @property
    def parts(self) -> int:
        """Parts whose lock we hold. Any thread."""
        return len(self._store.parts)

    @property
    def writers(self) -> int:
        """Calls of `write` under way: what they write may be on the disk, and is not counted. Any thread."""
        return self._store.writers

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

    @property
    def sync_failures(self) -> int:
        """How often the system could not put on the disk what it had taken. Any thread."""
        return self._writer.sync_failures

    @property
    def doubtful(self) -> bool:
        """True while there are unsettled events that the system could not put on the disk. The owner."""
        return self._store.doubtful

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
        written = self._writer.append(payloads)
        return read and self._reader.count_as_read(written)

    def write(self, payload: Payload) -> None:
        """Keep one event, with one write. The journal's `append`: any thread, also in the middle of another `write`.

        Raises:
            SpoolFull: There is no room; the event was not kept.
            SpoolError: The disk failed. The event was not kept; or, with fsync="each", it is not sure to be on the
                disk, and may be handed out nevertheless.
        """
        self._writer.write(payload)

    def read(self, most_events: int, most_bytes: int) -> list[Payload]:
        """Return the next unread events: of adopted parts first, then our own, each oldest first.

        Never raises for what is on the disk: damage is passed over and counted.

        Args:
            most_events: At least 1.
            most_bytes: Of payloads in all; a single event may be larger.

        Returns:
            At least one event if there is one that can be read now. Each has the next ordinal. Empty although there
            are `unread` ones when we are out of descriptors, or a frame is just being written: come again later.
        """
        self._attend()
        return self._reader.read(most_events, most_bytes)

    def pass_by(self, count: int) -> None:
        """Give the next `count` ordinals to events that are not on the disk."""
        with self._store.lock:
            self._store.ordinals.pass_by(count)

    def settle(self, unsettled: Sequence[tuple[int, int]]) -> None:
        """Take note of what is settled, and delete what is settled as a whole. Any thread. Never raises for the disk.

        What was settled once stays so: calls of several threads may overtake each other.

        Args:
            unsettled: Sorted, disjoint runs [first, end) of ordinals: all others that were read are settled. An
                event may have been read and not be known to the caller yet. Where that can be, the last run begins
                at the first ordinal that the caller does not know, and has no end (`1 << 62`).
        """
        self._store.settle(unsettled)

    def sync(self) -> None:
        """Wait until everything appended is on the disk. Never raises: failures are counted, and made good."""
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
            self._writer.sync(segment)
        self._attend()  # to those that failed
        for part in {segment.part for segment in pending if segment.part.unsynced}:
            try:
                part.sync()
            except OSError:
                self._writer.sync_failures += part.is_intact()

    def _rescue(self, segment: Segment) -> None:
        """Write what is unread in a sealed segment whose disk failed once more, to a new one."""
        payloads = self._reader.rest_of(segment)
        if payloads is None:
            self._store.failed.append(segment)
            return
        if payloads:
            try:
                self._writer.append(payloads)
            except SpoolError:
                segment.cursor.give_back(payloads)  # it stays where it is, and can be read as long as it can be
                return
            self._reader.mark_gone(segment, len(payloads))
            self.moved += len(payloads)
        self._reader.finish(segment)

    def drop_oldest(self, *, spare_newest: bool = False) -> tuple[int, int]:
        """Make room by giving up the oldest segment of which nothing is read and unsettled.

        Important events of it are kept, at the end of the line, unless they are nearly all of it.

        Args:
            spare_newest: Not the segment that is being written.

        Returns:
            How many events were dropped, and how many important ones were kept. (0, 0) if no room can be made.
        """
        self._attend()
        for segment in self._store.queue[:]:
            if segment is self._store.writing and segment.unread and not (segment.outstanding or spare_newest):
                self._writer.leave()
            if segment.outstanding or not segment.sealed or segment.finished:
                continue
            rest = self._reader.rest_of(segment)
            if rest is None:
                break
            kept = self._keep_important(segment, rest)
            self.moved += kept
            if rest:
                self._reader.mark_gone(segment, len(rest))
            self._reader.finish(segment)
            if rest:
                return len(rest) - kept, kept
        return 0, 0

    def _keep_important(self, segment: Segment, rest: list[Payload]) -> int:
        """Append the important events of a segment that is about to go once more, and return how many."""
        important = [payload for payload in rest if type(payload) is Important]
        if not important or len(encode_frame(important)) > segment.size * _NOT_WORTH_IT:
            return 0
        try:
            self._writer.append(important, spare=segment.size)
        except SpoolError:
            # The disk itself is full. Without the file there is room; for a moment they are nowhere but here.
            try:
                os.unlink(segment.path)
                with self._store.lock:
                    segment.close()
                self._volume.free += segment.size
                self._writer.append(important, spare=segment.size)
            except (OSError, SpoolError):
                return 0
        return len(important)

    def adopt(self) -> int:
        """Take over parts whose owner is dead, a few per call, oldest first.

        Returns:
            How many events in them are not settled, as far as names and acks tell.
        """
        self._attend()
        adopted = events = 0
        for path in parts_in(self.directory):
            part = None if os.path.basename(path) in self._known else Part.take_over(path)
            if part is None:
                continue
            try:
                part.load()
            except OSError:
                part.release()  # out of descriptors, or of memory: next time
                continue
            if part.foreign and path not in self._counted_foreign:
                self._counted_foreign.add(path)
                self.foreign += part.foreign
            if not part.segments:
                part.remove()
                continue
            self._known.add(part.name)
            self._store.add(part)
            events += self._reader.look_through(part)
            adopted += 1
            if adopted == _ADOPT_AT_ONCE:
                break
        remove_unfinished(self.directory)
        self.adopted += events
        return events

    def tend(self) -> None:
        """Keep house: retry what failed, roll the journal, look after the files. Cheap; about once a second."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _PAUSE
            segment = self._store.writing
            if self._store.check_part() or (segment is not None and self._writer.is_gone(segment)):
                self._writer.leave()
        self._attend()

    def _attend(self) -> None:
        """Do what has to be done before anything else is."""
        store = self._store
        store.notice()
        if store.part is not None:
            self._known.add(store.part.name)
        store.reap()
        self._volume.refresh()
        self._writer.attend()
        store.try_again()
        failed, store.failed = store.failed, []
        for segment in failed:
            if not segment.finished:
                self._rescue(segment)

    def close(self) -> None:
        """Sync, give up the locks, and remove the parts in which everything is settled. The rest is for the next.

        Idempotent. What is appended or written afterwards goes to a new part.
        """
        store = self._store
        self._attend()
        if self._fsync != "none":
            self.sync()
        segment, store.writing, store.part = store.writing, None, None
        if segment is not None:
            store.retired.append(segment)
            deadline = time.monotonic() + _WAIT_FOR_WRITERS
            store.seal_retired()
            while store.retired and time.monotonic() < deadline:
                time.sleep(0.001)
                store.seal_retired()
        store.reap()
        store.give_up()

    def abandon(self) -> None:
        """In a forked child: close what was inherited, and touch nothing on the disk. The spool is as new then."""
        with suppress(OSError):
            self._store.abandon()
        self._known.clear()
