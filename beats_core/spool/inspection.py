"""Looking into a spool: which parts, segments and events there are. Changes nothing; any process, at any time.

Others append, settle and remove meanwhile: what is told is what was there at one moment or another, and a segment that
vanishes is one that was settled. How a segment is read, and what is damage, is the business of `Cursor`, as ever.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from beats_core.letters import FAMILY
from beats_core.spool.cursor import Cursor, Gap
from beats_core.spool.part import FILE_NAME, LOCK, PART_NAME, UNFINISHED, is_owned, parts_in
from beats_core.spool.records import HEADER_BYTES, VERSION, Record, decode_records, merged, version_of
from beats_core.spool.volume import CORRUPT

_READ_EVENTS = 2048  # at once
_READ_BYTES = 1 << 20
_LOOKS = 3  # for a file that gets another name once in its life


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSegment:
    """One segment.

    Attributes:
        path: Of the file with the events; another one, should it be sealed meanwhile.
        number: Its place in the part.
        growing: Its owner lives, and writes to it.
        version: Of its format; None if that is damaged: then it is taken for ours.
        size: Bytes of events.
        acks_bytes: Bytes of what is noted about them.
        events: How many are in it, as its name says, or else as reading it through did.
        settled: How many of these are noted as settled.
        modified: When it was last written to, in seconds since the epoch.
    """

    path: str
    number: int
    growing: bool
    version: int | None
    size: int
    acks_bytes: int
    events: int
    settled: int
    modified: float

    @property
    def foreign(self) -> bool:
        """Tell whether it is of a format that this version does not know."""
        return self.version not in (VERSION, None)

    @property
    def unsettled(self) -> int:
        """How many events are to be delivered."""
        return max(0, self.events - self.settled)


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundPart:
    """What one process has, or left, in a spool.

    Attributes:
        path: Of its directory.
        host: Where it ran, by its own name.
        pid: Its process id.
        since: When it began to write, in seconds since the epoch.
        key: What tells it from all others; the end of its name.
        in_use: It lives; or another process that does has adopted the part.
        segments: In order.
        unknown: Names of files in it that are none of a spool's.
    """

    path: str
    host: str
    pid: int
    since: float
    key: str
    in_use: bool
    segments: tuple[FoundSegment, ...]
    unknown: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its directory."""
        return os.path.basename(self.path)

    @property
    def foreign(self) -> tuple[int, ...]:
        """The other versions of the format that are in it."""
        return tuple(sorted({segment.version or 0 for segment in self.segments if segment.foreign}))

    @property
    def unsettled(self) -> int:
        """How many events of it are to be delivered."""
        return sum(segment.unsettled for segment in self.segments)

    @property
    def size(self) -> int:
        """Its bytes."""
        return sum(segment.size + segment.acks_bytes for segment in self.segments)

    @property
    def modified(self) -> float:
        """When an event was last written to it."""
        return max((segment.modified for segment in self.segments), default=self.since)


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What is in a spool's directory.

    Attributes:
        parts: The oldest first.
        damaged: Paths of the damaged bytes that were set aside.
        unknown: Names that are none of a spool's; whoever keeps something else there knows its own.
    """

    parts: tuple[FoundPart, ...]
    damaged: tuple[str, ...]
    unknown: tuple[str, ...]


def look_into(directory: str) -> Contents:
    """Return what a spool holds.

    Raises:
        OSError: The directory, or something in it, cannot be read.
    """
    parts = []
    for path in parts_in(directory):
        with suppress(FileNotFoundError):  # the part is gone meanwhile
            parts.append(_part(path))
    unknown = [name for name in sorted(os.listdir(directory)) if not _is_known(name)]
    return Contents(parts=tuple(parts), damaged=_damaged(directory), unknown=tuple(unknown))


class Reading:
    """The events of one segment that are to be delivered, oldest first. Iterate over it once.

    Args:
        segment: As it was found; of a foreign one nothing is read.

    Attributes:
        gone: The segment vanished: all of it was settled.
        failure: Why the rest could not be read.
        size: Bytes of the file.
        frames, events, settled: What was in it, as far as it was read, when that has ended.
        gaps: The places in which there was no sound frame.
    """

    def __init__(self, segment: FoundSegment) -> None:
        self.gone = False
        self.failure: OSError | None = None
        self.size = self.frames = self.events = self.settled = 0
        self.gaps: list[Gap] = []
        self._segment = segment

    def __iter__(self) -> Iterator[bytes]:
        """Read the segment through; what is damaged is passed over."""
        segment = self._segment
        if segment.foreign:
            return
        try:
            descriptor = _open(segment.path)
        except FileNotFoundError:
            self.gone = True
            return
        except OSError as error:
            self.failure = error
            return
        # What is settled while this goes on is told as not settled: nobody can have it both ways.
        cursor = Cursor(merged(_records(_acks_path(segment.path))[0]))
        whole = not segment.growing
        try:
            self.size = os.fstat(descriptor).st_size
            while payloads := cursor.take(descriptor, self.size, _READ_EVENTS, _READ_BYTES, whole=whole):
                yield from payloads
        except OSError as error:
            self.failure = error
        finally:
            os.close(descriptor)
            self.frames, self.events, self.settled = cursor.frames, cursor.found, cursor.passed
            self.gaps = cursor.gaps


def _part(path: str) -> FoundPart:
    named = PART_NAME.fullmatch(os.path.basename(path))
    assert named is not None  # noqa: S101 - `parts_in` returns no other
    in_use = is_owned(path)
    segments = {}
    unknown = []
    for name in sorted(os.listdir(path)):
        found = FILE_NAME.fullmatch(name)
        if found is None:
            unknown += [name] if name != LOCK else []
        elif not found["acks"]:
            events = int(found["events"]) if found["events"] else None
            with suppress(FileNotFoundError):  # it was settled meanwhile
                segment = _segment(os.path.join(path, name), int(found["number"]), events, in_use=in_use)
                segments[segment.number] = segment
    return FoundPart(
        path=path,
        host=named["host"],
        pid=int(named["pid"]),
        since=int(named["start"]) / 1000,
        key=named["random"],
        in_use=in_use,
        segments=tuple(segments[number] for number in sorted(segments)),
        unknown=tuple(unknown),
    )


def _segment(path: str, number: int, events: int | None, *, in_use: bool) -> FoundSegment:
    descriptor = _open(path)
    try:
        version = version_of(os.pread(descriptor, HEADER_BYTES, 0))
        status = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    records, acks_bytes = _records(_acks_path(path))
    segment = FoundSegment(
        path=path,
        number=number,
        growing=in_use and events is None,
        version=version,
        size=status.st_size,
        acks_bytes=acks_bytes,
        events=events or 0,
        settled=sum(record.events for record in records),
        modified=status.st_mtime,
    )
    if events is not None or segment.foreign:
        return segment
    reading = Reading(segment)
    unsettled = sum(1 for _ in reading)
    return replace(segment, events=unsettled + reading.settled, settled=reading.settled)


def _open(path: str) -> int:
    """Open a segment under the name that it has now."""
    for look in range(_LOOKS):
        try:
            return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            number = os.path.basename(path).partition(".")[0]
            folder = os.path.dirname(path)
            names = [name for name in os.listdir(folder) if re.fullmatch(rf"{number}\.(open|\d+\.seg)", name)]
            if not names or look == _LOOKS - 1:
                raise
            path = os.path.join(folder, names[0])
    raise AssertionError  # not reached


def _acks_path(path: str) -> str:
    number = os.path.basename(path).partition(".")[0]
    return os.path.join(os.path.dirname(path), f"{number}.acks")


def _records(path: str) -> tuple[list[Record], int]:
    """Return what is noted as settled, and the bytes that takes."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError:  # a hint: without it all counts as to be delivered
        return [], 0
    return decode_records(data)[0], len(data)


def _damaged(directory: str) -> tuple[str, ...]:
    with suppress(OSError):
        folder = os.path.join(directory, CORRUPT)
        return tuple(os.path.join(folder, name) for name in sorted(os.listdir(folder)))
    return ()


def _is_known(name: str) -> bool:
    return name == CORRUPT or name.startswith((UNFINISHED, FAMILY)) or PART_NAME.fullmatch(name) is not None
