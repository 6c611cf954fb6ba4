"""The segments of a spool, from the making of one to its removal, and the counts over all of them.

Threads. The *owner* is the one thread that appends and reads. `lock` guards the counts, the segments of each part,
and what a segment knows of what was read and settled; it is never held over a large read or write, or an fdatasync.
Only the owner opens and closes the files with events, so no descriptor is closed under his feet. Any thread removes
a segment that is settled, once it is sealed.

A writer of the journal takes no lock at all. It reads `writing` and counts itself as entered with no call between,
so no other thread comes between (CPython changes threads, and runs signal handlers and finalisers, at calls and
loops; `inbox` leans on the same). After the owner has set `writing` anew, nobody enters the old segment, and when
as many left it as entered it is sealed, and may be closed. On an interpreter without a GIL this would need a lock.
"""

from __future__ import annotations

import os
import time
from bisect import insort
from collections.abc import Sequence
from contextlib import suppress
from operator import attrgetter

from beats_core.native import Lock
from beats_core.spool.ordinals import Ordinals
from beats_core.spool.part import Part
from beats_core.spool.records import MAX_POSITION, Record
from beats_core.spool.segment import Segment
from beats_core.spool.volume import Volume

_order = attrgetter("order")
_PAUSE = 1.0  # seconds between two tries of what failed


class Store:
    """What a spool has on the disk, and what of it is read and settled.

    Args:
        directory: The spool's.
        volume: Its gauges.
        fsync: "none", "second" or "each".

    Attributes:
        part: Where this process writes; None before the first event.
        writing: The segment that is being written.
        queue: The segments that are not read to their end, in order of reading. The owner's.
        retired: Segments that somebody may still be writing to, by the journal. The owner's.
        failed: Sealed segments whose disk failed. The owner's.
    """

    def __init__(self, directory: str, volume: Volume, fsync: str) -> None:
        self.directory = directory
        self.volume = volume
        self._fsync = fsync
        self._begin_anew()

    def _begin_anew(self) -> None:
        self.lock = Lock()
        self.part: Part | None = None
        self.writing: Segment | None = None
        self.parts: list[Part] = []
        self.queue: list[Segment] = []
        self.retired: list[Segment] = []
        self.failed: list[Segment] = []
        self.ordinals: Ordinals[Segment] = Ordinals()
        self.left_behind = 0  # events, unsettled when their part was given up
        self.counted_unread = 0
        self.counted_bytes = 0
        self.lost = 0
        self.damaged = 0
        self.torn = 0
        self._closing: list[int] = []  # descriptors for the owner to close
        self._noted: Segment | None = None
        self._again: list[Segment] = []  # that could not be removed
        self._again_at = 0.0

    # Nothing below calls anything between its reads, so the counts of one segment are not seen half changed.
    @property
    def unread(self) -> int:
        """Events on the disk that were not read."""
        writing = self.writing
        unread = self.counted_unread if writing is None else self.counted_unread + writing.events - writing.counted
        return max(0, unread)  # some were read before who wrote them counted them

    @property
    def bytes(self) -> int:
        """Bytes on the disk, of events and acks."""
        writing = self.writing
        if writing is None:
            return self.counted_bytes
        return self.counted_bytes + writing.size - (writing.weighed or -writing.acks_bytes)

    @property
    def writers(self) -> int:
        """Calls of the journal's `write` under way."""
        segments = [*self.retired, *([self.writing] if self.writing is not None else [])]
        return sum([segment.entered - segment.left for segment in segments])

    @property
    def doubtful(self) -> bool:
        """True while something is unsettled in a segment whose disk failed. Any thread."""
        with self.lock:
            segments = [segment for part in self.parts for segment in part.segments.values()]
            return any(segment.failed and (segment.unread or segment.outstanding) for segment in segments)

    def notice(self) -> None:
        """Take into the books what writers did. The owner."""
        if self.writing is not None:
            self.enter(self.writing)

    def enter(self, segment: Segment) -> None:
        """Take a segment into the books if it is new, and what was written to it. The owner."""
        if not segment.weighed:
            with self.lock:
                if segment.part not in self.parts:
                    self.parts.append(segment.part)
                segment.part.segments[segment.number] = segment
                self.counted_bytes += segment.acks_bytes
            segment.part.unsynced = True
            insort(self.queue, segment, key=_order)
        self.count(segment)

    def count(self, segment: Segment) -> None:
        """Take into the counts what was written since the last time. The owner."""
        if segment.events == segment.counted and segment.size == segment.weighed:
            return
        with self.lock:
            events = segment.events - segment.counted
            segment.unread += events
            self.counted_unread += events
            segment.counted += events
            size = segment.size - segment.weighed
            self.counted_bytes += size
            segment.weighed += size

    def retire(self) -> None:
        """Write no more to the current segment. The owner."""
        segment = self.writing
        if segment is not None:
            self.notice()
            self.writing = None
            self.seal(segment)

    def seal(self, segment: Segment) -> None:
        """Give the segment the name that says how many events are in it; nobody is writing to it. The owner."""
        self.count(segment)
        read = segment.cursor.at_end(segment.size) or not (segment.unread or segment.broken)
        if segment.outstanding or not read:
            path = os.path.join(segment.part.path, f"{segment.number:08}.{segment.events}.seg")
            with suppress(OSError):  # it is gone; or it keeps its name, and who adopts it counts by reading it through
                os.rename(segment.path, path)
                segment.path = path
        segment.sealed = True
        with self.lock:
            segment.close_acks()
        if read:
            self.finish(segment)
        else:
            if segment.failed:
                self.failed.append(segment)
            self.close_idle(segment)

    def seal_retired(self) -> None:
        """Seal what nobody is writing to any more. The owner."""
        for segment in self.retired[:]:
            if segment.entered == segment.left:
                self.retired.remove(segment)
                segment.size = max(segment.size, os.fstat(segment.fd).st_size)
                self.seal(segment)

    def close_idle(self, segment: Segment) -> None:
        """Close a file that is not needed for now: a large spool has more segments than a process has descriptors."""
        if segment.fd < 0 or not segment.sealed or (segment.cursor.offset and not segment.finished):
            return
        if self._fsync != "none" and segment.synced < segment.size and not (segment.failed or segment.going):
            return  # an error of writing it back is told to this descriptor
        if not segment.finished and not os.fstat(segment.fd).st_nlink:
            return  # it was removed, but for this descriptor
        with self.lock:
            segment.close()

    def finish(self, segment: Segment) -> None:
        """Take a segment out of the queue: everything in it was read or given up. The owner."""
        if segment.finished:
            return
        self.queue.remove(segment)
        with self.lock:
            segment.finished = True
            self.counted_unread -= segment.unread
            segment.unread = 0
            segment.going = going = segment.sealed and not segment.outstanding
        self.close_idle(segment)
        if going:
            self.remove([segment])

    def settle(self, unsettled: Sequence[tuple[int, int]]) -> None:
        """See `Spool.settle`. Any thread."""
        going = []
        with self.lock:
            touched: dict[Segment, None] = {}
            for segment, index, count in self.ordinals.settle(unsettled):
                segment.outstanding -= count
                segment.unnoted.append(segment.cursor.run(index, count))
                touched[segment] = None
            for segment in touched:
                if segment.finished and segment.sealed and not segment.outstanding:
                    segment.going = True
                    going.append(segment)
                else:
                    self.note(segment)
        if going:
            self.remove(going)

    def note(self, segment: Segment) -> None:
        """Note in its acks file what is settled of a segment. Under the lock."""
        # The descriptor stays open where the next ack probably is: where it is written, and where the last one was.
        if self._noted is not segment:
            if self._noted is not None and self._noted is not self.writing:
                self._noted.close_acks()
            self._noted = segment
        self.counted_bytes += segment.note()
        if segment.unnoted and segment not in self._again:
            self._again.append(segment)

    def note_all_from(self, segment: Segment, position: int) -> None:
        """Note that nothing from there on counts, nor ever will."""
        with self.lock:
            segment.unnoted.append(Record(position, MAX_POSITION, 0))
            self.note(segment)

    def remove(self, segments: list[Segment]) -> None:
        """Remove segments that are settled, then parts that are empty. Any thread, without the lock."""
        for segment in segments:
            try:
                if segment.set_aside:
                    self._keep_a_copy(segment)
                os.unlink(segment.path)
            except FileNotFoundError:
                pass
            except OSError:
                with self.lock:
                    self.note(segment)
                    if segment not in self._again:
                        self._again.append(segment)
                continue
            with suppress(OSError):  # adopters remove acks of nothing
                os.unlink(segment.acks_path)
            with self.lock:
                if segment.part.segments.pop(segment.number, None) is None:
                    continue  # another thread tried again meanwhile
                if segment.part in self.parts:  # else we have given it up meanwhile
                    self.counted_bytes -= segment.weighed + segment.acks_bytes
                    self.volume.free += segment.weighed + segment.acks_bytes
                segment.close_acks()
                if segment.fd >= 0:
                    self._closing.append(segment.fd)
                    segment.fd = -1
                empty = not segment.part.segments and segment.part is not self.part and segment.part in self.parts
                if empty:
                    self.parts.remove(segment.part)
            if empty:
                segment.part.remove()

    def _keep_a_copy(self, segment: Segment) -> None:
        try:
            with open(segment.path, "rb") as file:
                self.volume.set_aside(f"{segment.part.name}-{segment.number:08}", file.read())
        except OSError:
            pass  # as it could not be read before

    def reap(self) -> None:
        """Close what other threads left to close. The owner."""
        while self._closing:
            os.close(self._closing.pop())
        if self.retired:
            self.seal_retired()

    def try_again(self) -> None:
        """Try once more what failed, at most once a second. The owner."""
        now = time.monotonic()
        if not self._again or now < self._again_at:
            return
        self._again_at = now + _PAUSE
        with self.lock:
            again, self._again = self._again, []
            for segment in again:
                if segment.unnoted and not segment.going:
                    self.note(segment)
        self.remove([segment for segment in again if segment.going])

    def make_room(self) -> bool:
        """Give up the segment that is being written if all of it is settled; tell whether. Not for the journal."""
        segment = self.writing
        if segment is None or not segment.events or segment.unread or segment.outstanding:
            return False
        self.retire()
        return True

    def add(self, part: Part) -> None:
        """Take the segments of an adopted part into the books. The owner."""
        with self.lock:
            self.parts.append(part)
            for segment in part.segments.values():
                self.counted_unread += segment.unread
                self.counted_bytes += segment.weighed + segment.acks_bytes
        for segment in part.segments.values():
            insort(self.queue, segment, key=_order)

    def check_part(self) -> bool:
        """Write no more to a part that was removed under us, or whose lock was; tell whether it was. The owner."""
        part = self.part
        if part is None or part.is_intact():
            return False
        self.part = None
        return True

    def give_up(self) -> None:
        """Give up the locks of all parts, and remove those in which everything is settled. The owner."""
        for segment in self.queue[:]:
            if segment.part.own and segment.sealed and not segment.unread:
                self.finish(segment)
        with self.lock:
            # A part in which somebody has been writing for a second stays ours, as long as this process lives.
            kept = {segment.part for segment in self.retired}
            gone = [part for part in self.parts if part not in kept]
            for part in gone:
                for segment in part.segments.values():
                    self.left_behind += segment.unread + segment.outstanding
                    if segment.fd >= 0:
                        self._closing.append(segment.fd)
                        segment.fd = -1
                    segment.close_acks()
            self.parts = []
            self.queue = []
            self.retired = []
            self._again = []
            self.counted_unread = self.counted_bytes = 0
            self.ordinals.forget()
        for part in gone:
            part.remove()
        self.reap()

    def abandon(self) -> None:
        """Close every descriptor, locks first, and know nothing any more. In a forked child."""
        self.lock = Lock()
        parts = [*self.parts, *([self.part] if self.part is not None and self.part not in self.parts else [])]
        for part in parts:
            part.release()
        segments = {segment for part in parts for segment in part.segments.values()}
        segments.update(self.retired, [self.writing] if self.writing is not None else [])
        for segment in segments:
            segment.close_acks()
            # What forked may be inside a write to it, and would go on with another file under the same number.
            if segment.entered == segment.left:
                segment.close()
        for fd in self._closing:
            with suppress(OSError):
                os.close(fd)
        self._begin_anew()
