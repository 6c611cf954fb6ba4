"""`beats spool ls`, `show` and `verify`: what is in a spool, for people and for programs. They change nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from time import time

import msgspec

from beats_core.cli.exits import DAMAGED, FAILED, OK
from beats_core.cli.spool_purge import is_called
from beats_core.cli.terminal import for_a_reader, lasting, print_json, printable, sized, sound
from beats_core.letters import Letter, Letters
from beats_core.spool.inspection import Contents, FoundPart, FoundSegment, Reading, look_into

_SHOWN_NAMES = 5
_COLUMNS = ("OWNER", "SINCE", "STATE", "SEGMENTS", "EVENTS", "BYTES", "OLDEST", "PART")
_TO_THE_RIGHT = frozenset({"SEGMENTS", "EVENTS", "BYTES", "OLDEST"})


class _Times(msgspec.Struct):
    """The one thing of an event that is looked at here."""

    timestamp: str | None = msgspec.field(name="@timestamp", default=None)


def list_parts(directory: str, *, as_json: bool) -> int:
    """Print a row for each part, and what else there is; return the exit code."""
    found = look_into(directory)
    letters = Letters(directory)
    dead, dead_bytes = sum(1 for _ in letters.read()), letters.size
    damaged_bytes = _size_of(found.damaged)
    strange = bool(found.unknown) and not (found.parts or found.damaged or dead_bytes)
    code = FAILED if strange else OK
    if as_json:
        parts = [_part_report(part) for part in found.parts]
        print_json(
            {
                "code": code,
                "directory": sound(directory),
                "parts": parts,
                "events": sum(part.unsettled for part in found.parts),
                "bytes": sum(part.size for part in found.parts),
                "dead_letters": {"letters": dead, "bytes": dead_bytes},
                "damaged": {"files": len(found.damaged), "bytes": damaged_bytes},
                "unknown": list(map(sound, found.unknown)),
            }
        )
        return code
    if found.parts:
        _print_table([*map(_row, found.parts), _total(found)])
    elif strange:
        print(f"{printable(directory)} is no spool: nothing of one is in it")
    else:
        print(f"{printable(directory)} holds no events")
    if dead_bytes:
        print(f"{dead:,} dead letters, {sized(dead_bytes)}")
    if found.damaged:
        print(f"{len(found.damaged):,} files of damaged bytes, {sized(damaged_bytes)}")
    if found.unknown:
        print(f"not a spool's: {_names(found.unknown)}")
    return code


def show_events(
    directory: str, pretty: Callable[[bytes], str], *, parts: Sequence[str], limit: int | None, as_json: bool
) -> int:
    """Print the events that are not settled, oldest first; return the exit code."""
    found = look_into(directory)
    chosen, code = _choose(found, parts)
    readings: list[tuple[FoundSegment, Reading]] = []

    def payloads() -> Iterator[bytes]:
        for part in chosen:
            for segment in part.segments:
                readings.append((segment, Reading(segment)))
                yield from readings[-1][1]

    with for_a_reader():
        for payload in islice(payloads(), limit):
            _write(pretty(payload))
    for segment, reading in readings:
        if segment.foreign:
            _say(f"{segment.path} is of format {segment.version}, which this version does not know")
        elif reading.failure or any(not gap.torn for gap in reading.gaps):
            _say(f"{segment.path} is damaged, see beats spool verify")
    if not readings and not as_json:
        _say("there are no events")
    return code


def show_letters(directory: str, pretty: Callable[[bytes], str], *, limit: int | None, as_json: bool) -> int:
    """Print the dead letters, oldest first; return the exit code."""
    count = 0
    with for_a_reader():
        for letter in islice(Letters(directory).read(), limit):
            count += 1
            _write(f"{msgspec.json.encode(letter).decode()}\n" if as_json else _letter_told(letter, pretty))
    if not count and not as_json:
        _say("there are no dead letters")
    return OK


def verify(directory: str, *, as_json: bool) -> int:
    """Read everything, print what is wrong with it, and return the exit code."""
    found = look_into(directory)
    checks = [_Check(part, segment) for part in found.parts for segment in part.segments]
    checks = [check for check in checks if not check.reading.gone]
    damaged = sum(len(check.damaged) for check in checks)
    torn = sum(len(check.torn) for check in checks)
    foreign = sum(check.segment.foreign for check in checks)
    code = DAMAGED if damaged else OK
    totals = {
        "segments": len(checks),
        "frames": sum(check.reading.frames for check in checks),
        "events": sum(check.reading.events for check in checks),
        "settled": sum(check.reading.settled for check in checks),
        "damaged": damaged,
        "lost": sum(check.lost for check in checks),
        "torn": torn,
        "foreign": foreign,
    }
    if as_json:
        places = [place for check in checks for place in check.report()]
        print_json({"code": code, "directory": sound(directory), **totals, "places": places})
        return code
    for check in checks:
        for line in check.lines():
            print(printable(line))
    print(
        f"{totals['segments']:,} segments, {totals['frames']:,} frames, {totals['events']:,} events, "
        f"{totals['settled']:,} of them settled"
    )
    if damaged:
        print(f"{damaged:,} damaged places, {totals['lost']:,} events lost")
    if torn:
        print(f"{torn:,} torn frames: their writing broke off, nobody was told that they are kept")
    if foreign:
        print(f"{foreign:,} segments of another format, which this version does not know")
    print(f"{printable(directory)}: {'damaged' if damaged else 'whole'}")
    return code


class _Check:
    """One segment, read through.

    Attributes:
        damaged: (offset, bytes, what is the matter) of each place.
        torn: The same of the frames whose writing broke off.
        lost: Events that were in it once, as its name or the heads of frames tell.
    """

    def __init__(self, part: FoundPart, segment: FoundSegment) -> None:
        self.segment = segment
        self.reading = reading = Reading(segment)
        for _ in reading:
            pass
        sealed = segment.path.endswith(".seg")
        heads = sum(gap.events for gap in reading.gaps)
        missing = segment.events - reading.events if sealed and not segment.foreign else 0
        self.damaged = [(gap.start, gap.end - gap.start, "damaged") for gap in reading.gaps if not gap.torn]
        self.torn = [(gap.start, gap.end - gap.start, "torn") for gap in reading.gaps if gap.torn]
        if reading.failure is not None:
            self.damaged.append((0, reading.size, f"unreadable ({reading.failure.strerror})"))
        if sealed and self.torn and missing > 0:  # it was whole when it got its name: bytes are gone
            self.damaged += [(offset, size, "cut off") for offset, size, _ in self.torn]
            self.torn = []
        elif missing > 0 and not self.damaged:
            self.damaged.append((reading.size, 0, "cut off"))
        delivered = max(0, segment.settled - reading.settled)  # and damaged afterwards, which is no loss
        self.lost = max(missing - delivered, heads - delivered, 0) if self.damaged else 0
        self._name = f"{part.name}/{Path(segment.path).name}"

    def lines(self) -> Iterator[str]:
        """Yield what there is to say."""
        for offset, size, what in (*self.damaged, *self.torn):
            yield f"{self._name}: {what} at offset {offset}, {size} bytes"
        if self.segment.foreign:
            yield f"{self._name}: of format {self.segment.version}, not looked into"

    def report(self) -> Iterator[dict[str, object]]:
        """Yield the same for JSON."""
        for offset, size, what in (*self.damaged, *self.torn):
            yield {"file": sound(self._name), "what": what, "offset": offset, "bytes": size}
        if self.segment.foreign:
            yield {"file": sound(self._name), "what": f"format {self.segment.version}"}


def _choose(found: Contents, names: Sequence[str]) -> tuple[list[FoundPart], int]:
    """Return the parts that are meant, all if none is named, and the exit code."""
    missing = [name for name in names if not any(is_called(part, name) for part in found.parts)]
    for name in missing:
        _say(f"there is no part {name}")
    chosen = [part for part in found.parts if not names or any(is_called(part, name) for name in names)]
    return chosen, FAILED if missing else OK


def _part_report(part: FoundPart) -> dict[str, object]:
    oldest = _oldest(part)
    return {
        "name": sound(part.name),
        "host": sound(part.host),
        "pid": part.pid,
        "since": datetime.fromtimestamp(part.since, UTC),
        "in_use": part.in_use,
        "formats": part.foreign,
        "segments": len(part.segments),
        "events": part.unsettled,
        "bytes": part.size,
        "oldest": None if oldest is None else datetime.fromtimestamp(oldest, UTC),
        "unknown": list(map(sound, part.unknown)),
    }


def _row(part: FoundPart) -> tuple[str, ...]:
    oldest = _oldest(part)
    state = "in use" if part.in_use else "dead"
    return (
        f"{part.host} {part.pid}",
        f"{datetime.fromtimestamp(part.since, UTC).astimezone():%Y-%m-%d %H:%M:%S}",
        ", ".join([state, *(f"format {version}" for version in part.foreign)]),
        f"{len(part.segments):,}",
        f"{part.unsettled:,}",
        sized(part.size),
        "-" if oldest is None else lasting(time() - oldest),
        part.key,
    )


def _total(found: Contents) -> tuple[str, ...]:
    parts = found.parts
    segments, events = sum(len(part.segments) for part in parts), sum(part.unsettled for part in parts)
    size = sized(sum(part.size for part in parts))
    return (f"{len(parts):,} in all", "", "", f"{segments:,}", f"{events:,}", size, "", "")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    shown = [_COLUMNS, *(tuple(map(printable, row)) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = [
            cell.rjust(width) if name in _TO_THE_RIGHT else cell.ljust(width)
            for name, cell, width in zip(_COLUMNS, row, widths, strict=True)
        ]
        print("  ".join(cells).rstrip())


def _oldest(part: FoundPart) -> float | None:
    """Return when the oldest event to be delivered was made, by its own word; else when its segment was written."""
    for segment in part.segments:
        for payload in Reading(segment):
            try:
                said = msgspec.json.decode(payload, type=_Times).timestamp
                return segment.modified if said is None else datetime.fromisoformat(said).timestamp()
            except (ValueError, OverflowError, RecursionError, OSError):
                return segment.modified
    return None


def _letter_told(letter: Letter, pretty: Callable[[bytes], str]) -> str:
    words = [letter.time, letter.reason, f"by {letter.receiver}" if letter.receiver else ""]
    words.append(f"sent {letter.attempts:,} times" if letter.attempts else "")
    head = printable(", ".join(word for word in words if word))
    event = "".join(f"    {line}\n" for line in pretty(letter.event.encode()).splitlines())
    return f"{head}\n{event}"


def _names(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN_NAMES
    return printable(", ".join([*names[:_SHOWN_NAMES], *([f"and {more:,} more"] if more > 0 else [])]))


def _size_of(paths: Sequence[str]) -> int:
    return sum(Path(path).stat().st_size for path in paths)


def _write(text: str) -> None:
    sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))


def _say(text: str) -> None:
    print(printable(f"beats: {text}"), file=sys.stderr)
