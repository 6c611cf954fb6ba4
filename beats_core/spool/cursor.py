"""Reading one segment from its beginning to its end, once: in large pieces, past damage and past what is settled.

An event that was read has an index in its segment, 0, 1, 2 and so on in the order in which it was read; the cursor
knows the position of each, which is what an acks file needs.
"""

from __future__ import annotations

import os
from array import array
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate, islice
from typing import NamedTuple

from beats_core.spool.records import (
    FRAME_BYTES,
    HEADER_BYTES,
    LENGTH_BYTES,
    MAGIC,
    NEEDS_MORE,
    Record,
    claimed,
    decode_frame,
    version_of,
)

READ_BYTES = 1 << 20  # at once: large enough that the calls cost nothing, small enough to be forgotten soon


class Gap(NamedTuple):
    """Bytes of a segment in which there is no sound frame."""

    start: int
    end: int
    events: int  # that were in it, as far as its head still tells
    torn: bool  # the beginning of a frame whose writing failed: nobody was told that it is kept


class Cursor:
    """Where reading stands in one segment.

    Args:
        settled: Disjoint runs of positions, in order, of events to pass over.

    Attributes:
        frames: Sound frames that were read.
        found: Events in sound frames so far, passed over or not.
        passed: Those that were passed over.
        handed: Those that `take` returned.
        gaps: What was skipped; the caller empties it.
    """

    def __init__(self, settled: Sequence[tuple[int, int]] = ()) -> None:
        self.frames = 0
        self.found = 0
        self.passed = 0
        self.handed = 0
        self.gaps: list[Gap] = []
        self._settled = settled
        self._settled_at = 0
        self._buffer = b""
        self._base = 0  # offset of the buffer in the file
        self._at = 0  # in the buffer: everything before is parsed
        self._gap: int | None = None  # where one begins that has not ended yet
        self._gap_head = b""
        self._ready: list[bytes] = []
        self._ready_at = 0
        self._firsts = array("I")  # for each run of neighbours in one frame: the index of its first event …
        self._positions = array("I")  # … and its position
        self._indexed = 0

    @property
    def offset(self) -> int:
        """Everything of the file before it is parsed."""
        return self._base + self._at

    @property
    def idle(self) -> bool:
        """Nothing is parsed that was not taken."""
        return self._ready_at == len(self._ready)

    def take(self, fd: int, limit: int, most_events: int, most_bytes: int, *, whole: bool) -> list[bytes]:
        """Return the next events, oldest first; at least one if there is one; [] if there is none before `limit`.

        Args:
            fd: The segment, open for reading.
            limit: The size of the file, or up to where to read.
            most_events: How many at most.
            most_bytes: Of payloads, in all; one event may be larger.
            whole: Nobody is writing before `limit`. Else a frame that is not all there is waited for.

        Raises:
            OSError: The file could not be read. What was taken before is not lost.
        """
        if self.idle and not self._fill(fd, limit, whole=whole):
            return []
        ready, at = self._ready, self._ready_at
        sizes = accumulate(map(len, islice(ready, at, at + most_events)))
        count = max(1, bisect_right(list(sizes), most_bytes))
        taken = ready[at : at + count] if at or count < len(ready) else ready
        self._ready_at = at + count
        self.handed += count
        if self.idle:
            self._ready = []
            self._ready_at = 0
        return taken

    def give_back(self, payloads: list[bytes]) -> None:
        """Undo what the last calls of `take` returned."""
        self._ready = payloads + self._ready[self._ready_at :]
        self._ready_at = 0
        self.handed -= len(payloads)

    def skip_own(self, end: int, frames: Sequence[tuple[int, int]]) -> None:
        """Count as read what was just written up to that offset, given (position, events) of each frame.

        Only when everything before was taken.
        """
        self._base, self._at, self._buffer = end, 0, b""
        for position, events in frames:
            self._index(position, events)
            self.found += events
            self.handed += events

    def at_end(self, limit: int) -> bool:
        """Tell whether everything before `limit` is parsed and taken."""
        return self.idle and self.offset >= limit

    def run(self, index: int, count: int) -> Record:
        """Return what settles so many events that were taken, from that index on."""
        last = index + count - 1
        return Record(self._position(index), self._position(last) + LENGTH_BYTES, count)

    def _position(self, index: int) -> int:
        place = bisect_right(self._firsts, index) - 1
        return self._positions[place] + LENGTH_BYTES * (index - self._firsts[place])

    def _index(self, position: int, events: int) -> None:
        self._firsts.append(self._indexed)
        self._positions.append(position)
        self._indexed += events

    def _fill(self, fd: int, limit: int, *, whole: bool) -> bool:
        """Parse until there are events, or nothing more before `limit`; tell which."""
        while True:
            more = self._parse(limit, whole=whole)
            if self._ready:
                return True
            if not more:
                return False
            start = self._base + len(self._buffer)
            piece = os.pread(fd, min(max(READ_BYTES, more), limit - start), start)
            if not piece:  # the file is shorter than it was
                if not whole:
                    return False
                limit = start
            self._buffer = self._buffer[self._at :] + piece
            self._base += self._at
            self._at = 0

    def _parse(self, limit: int, *, whole: bool) -> int:
        """Make ready what the buffer holds.

        Returns:
            How many bytes behind the buffer are needed to go on; 0 if everything before `limit` is parsed, or the
            rest is not all there yet.
        """
        buffer = self._buffer
        at = self._at
        behind = limit - self._base - len(buffer)  # bytes that are not in the buffer
        if not self._base and not at:
            if len(buffer) < HEADER_BYTES and behind > 0:
                return behind
            if version_of(buffer[:HEADER_BYTES]) is not None:
                at = HEADER_BYTES
        while True:
            end, events = decode_frame(buffer, at)
            if end > 0:
                if self._gap is not None:
                    self._close_gap(self._base + at)
                self._add(self._base + at + FRAME_BYTES, events)
                at = end
                continue
            if end == NEEDS_MORE:
                claim = claimed(buffer, at)
                more = at + FRAME_BYTES + claim[0] - len(buffer) if claim else 1
                if behind > 0 and more <= behind:
                    self._at = at
                    return more
                if not whole or at == len(buffer):
                    break
            # No sound frame begins here, and none ever will: look for the next one.
            if self._gap is None:
                self._gap = self._base + at
                self._gap_head = buffer[at : at + FRAME_BYTES]
            following = buffer.find(MAGIC, at + 1)
            at = following if following >= 0 else min(max(at + 1, len(buffer) - len(MAGIC) + 1), len(buffer))
        self._at = at
        if whole and self._gap is not None:
            self._close_gap(limit)
        return 0

    def _close_gap(self, end: int) -> None:
        start, self._gap = self._gap or 0, None
        size = end - start
        if not start and size <= HEADER_BYTES:  # not even a header was written, or only the header is damaged
            if size == HEADER_BYTES:
                self.gaps.append(Gap(start, end, 0, torn=False))
            return
        head = self._gap_head[:size]
        claim = claimed(head, 0)
        torn = claim[0] > size - FRAME_BYTES if claim else size < FRAME_BYTES and head[:4] == MAGIC[:size]
        self.gaps.append(Gap(start, end, claim[1] if claim and not torn else 0, torn=torn))

    def _add(self, position: int, events: list[bytes]) -> None:
        self.frames += 1
        self.found += len(events)
        settled, at = self._settled, self._settled_at
        while at < len(settled) and settled[at][1] <= position:
            at += 1
        self._settled_at = at
        if at == len(settled) or settled[at][0] >= position + LENGTH_BYTES * len(events):
            self._index(position, len(events))
            self._ready += events
            return
        for event in events:
            while at < len(settled) and settled[at][1] <= position:
                at += 1
            if at < len(settled) and settled[at][0] <= position:
                self.passed += 1
            else:
                self._index(position, 1)
                self._ready.append(event)
            position += LENGTH_BYTES
