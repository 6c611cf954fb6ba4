"""The reading side: the next events, over all segments, past whatever is wrong with them. The owner's."""

from __future__ import annotations

import errno
import os

from beats_core.spool.part import Part
from beats_core.spool.records import HEADER_BYTES
from beats_core.spool.segment import Segment
from beats_core.spool.store import Store
from beats_core.spool.writer import Writer, Written

# Not for long, and no fault of the file: it is tried again.
_TRANSIENT = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EINTR, errno.EAGAIN})
_EVERYTHING = 1 << 40


class Reader:
    """Reads what the store holds.

    Args:
        store: The books.
        writer: Is told to leave a segment that cannot be read.
        journal: Others may be writing to a segment that is not sealed.
    """

    def __init__(self, store: Store, writer: Writer, *, journal: bool) -> None:
        self._store = store
        self._writer = writer
        self._journal = journal
        self._taken: list[bytes] = []  # they have their ordinals

    def read(self, most_events: int, most_bytes: int) -> list[bytes]:
        """Return the next unread events; see `Spool.read`."""
        store = self._store
        taken = self._taken  # also those of a call that failed on its way
        size = sum(map(len, taken))
        while store.queue and len(taken) < most_events and (size < most_bytes or not taken):
            segment = store.queue[0]
            cursor = segment.cursor
            payloads = self._take(segment, most_events - len(taken), most_bytes - size)
            if payloads is None:
                break
            if payloads:
                more = sum(map(len, payloads))
                if taken and size + more > most_bytes:  # one that is too large for what is left of them
                    cursor.give_back(payloads)
                    break
                with store.lock:
                    self._hand_out(segment, cursor.handed - len(payloads), len(payloads))
                    self._taken = taken = taken + payloads if taken else payloads
                size += more
            if segment.sealed and (not payloads or cursor.at_end(segment.size)):
                self.finish(segment)
            elif not payloads:
                break
        self._taken = []
        return taken

    def count_as_read(self, written: Written) -> bool:
        """Give what was just written the next ordinals, if nothing else is unread; tell whether."""
        store = self._store
        segment = written.segment
        cursor = segment.cursor
        reached = cursor.offset == written.start or (not cursor.offset and written.start == HEADER_BYTES)
        if self._journal or not reached or not cursor.idle or store.queue[0] is not segment:
            return False
        with store.lock:
            index = cursor.handed
            cursor.skip_own(segment.size, written.places)
            self._hand_out(segment, index, written.events)
        return True

    def rest_of(self, segment: Segment) -> list[bytes] | None:
        """Return everything unread of a sealed segment, without giving it ordinals; None if it cannot be read now."""
        rest: list[bytes] = []
        while payloads := self._take(segment, _EVERYTHING, _EVERYTHING):
            rest += payloads
        if payloads is None:
            if rest:
                segment.cursor.give_back(rest)
            return None
        return rest

    def look_through(self, part: Part) -> int:
        """Return how many events of an adopted part are unread.

        Segments in which nothing should be are read through: they are removed, or there is something all the same.
        Who asks `unread` before he reads would never come to them.
        """
        store = self._store
        for segment in [segment for segment in part.segments.values() if not segment.unread]:
            rest = self.rest_of(segment)
            if rest:
                segment.cursor.give_back(rest)
                with store.lock:
                    segment.unread += len(rest)
                    store.counted_unread += len(rest)
            elif rest is not None:
                self.finish(segment)
        return sum([segment.unread for segment in part.segments.values()])

    def mark_gone(self, segment: Segment, events: int) -> None:
        """Settle the last `events` that were taken of a segment."""
        store = self._store
        with store.lock:
            segment.unnoted.append(segment.cursor.run(segment.cursor.handed - events, events))
            if segment.outstanding:  # else it is removed
                store.note(segment)

    def finish(self, segment: Segment) -> None:
        """Say what is lost of a sealed segment that was read to its end, or as far as it goes."""
        store = self._store
        cursor = segment.cursor
        if not segment.finished:
            missing = segment.events - cursor.found - max(0, segment.acked - cursor.passed)
            store.lost += max(0, missing)
            store.damaged += segment.set_aside
        store.finish(segment)

    def _hand_out(self, segment: Segment, index: int, events: int) -> None:
        """Give the next ordinals to events that were just read. Under the lock."""
        store = self._store
        store.ordinals.hand_out(segment, index, events)
        segment.outstanding += events
        # A damaged segment may hold more than was believed. One that others write to may hold what they did not count
        # yet: they will.
        known = min(events, segment.unread) if segment.sealed else events
        segment.unread -= known
        store.counted_unread -= known

    def _take(self, segment: Segment, most_events: int, most_bytes: int) -> list[bytes] | None:
        """Return what is next in a segment; [] if there is nothing, None if it cannot be read for now."""
        being_written = self._journal and not segment.sealed
        try:
            fd = segment.open()
            limit = os.fstat(fd).st_size if being_written else segment.size
            payloads = segment.cursor.take(fd, limit, most_events, most_bytes, whole=not being_written)
        except OSError as error:
            if error.errno in _TRANSIENT:
                return None
            if segment is self._store.writing:
                self._writer.leave()
            if not segment.sealed:
                return None
            segment.set_aside = True
            payloads = []
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
            self._store.volume.set_aside(f"{segment.part.name}-{segment.number:08}-{gap.start}", data)
