"""From files to payloads: lines as they come, each made an event. Memory is bounded whatever the input is."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from stat import S_ISREG
from types import TracebackType
from typing import NamedTuple, Self

import msgspec

from beats_core.envelope import Envelope
from beats_core.errors import EventTooLarge
from beats_core.options import Options

STDIN = "-"

_CHUNK_BYTES = 256 << 10


class Line(NamedTuple):
    """One line without its end. `text` is None if it is longer than allowed and was not kept."""

    number: int
    offset: int
    text: bytes | None


class BadLine(Exception):
    """A line that is no event; the text says where and why."""


class LineReader:
    """The lines of one file, pipe or terminal.

    Args:
        path: Of the file, or "-" for the standard input.
        longest: Most bytes of a line; of a longer one only its place is told.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: str, longest: int) -> None:
        self.name = "<stdin>" if path == STDIN else path
        self.path = None if path == STDIN else os.path.abspath(path)  # noqa: PTH100 - symbolic links stay as given
        self.bytes_read = 0
        self.size = size_of(path)
        self._descriptor = 0 if path == STDIN else os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        self._longest = longest
        self._rest = b""
        self._skipped = 0  # bytes of an overlong line that were let go
        self._number = 0
        self._offset = 0

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the file; the standard input stays open."""
        if self._descriptor:
            os.close(self._descriptor)

    def fileno(self) -> int:
        """Return the descriptor, for waiting until there is something to read."""
        return self._descriptor

    def read(self) -> Iterator[Line] | None:
        """Read once, waiting if nothing is there, and return the lines that this completed; None at the end."""
        chunk = os.read(self._descriptor, _CHUNK_BYTES)
        self.bytes_read += len(chunk)
        if not chunk:
            last, self._rest = self._rest, b""
            return iter([self._line(last)]) if last or self._skipped else None
        return self._split(chunk)

    def _split(self, chunk: bytes) -> Iterator[Line]:
        *complete, rest = (self._rest + chunk).split(b"\n")
        for text in complete:
            yield self._line(text, end=1)
        if len(rest) > self._longest or self._skipped:
            self._skipped += len(rest)
            rest = b""
        self._rest = rest

    def _line(self, text: bytes, end: int = 0) -> Line:
        length = self._skipped + len(text)
        kept = length <= self._longest
        line = Line(self._number + 1, self._offset, text.removesuffix(b"\r") if kept else None)
        self._number += 1
        self._offset += length + end
        self._skipped = 0
        return line


def size_of(path: str) -> int | None:
    """Return how many bytes there are to read, or None: of a pipe or a terminal nobody knows.

    Raises:
        OSError: There is no such file.
    """
    status = os.fstat(0) if path == STDIN else Path(path).stat()
    return status.st_size if S_ISREG(status.st_mode) else None


class EventMaker:
    """Makes payloads of lines.

    A line is the message of an event, with `host`, `log.file.path` and `log.offset`; or with `as_json` it is the event.
    Both get `@timestamp` if they have none, and `@metadata` with an `_id`, by which Elasticsearch tells a repetition.

    Args:
        as_json: Each line is a JSON object.
        fields: Added to each event; they win over what the event says itself.
        options: See `Envelope`.
    """

    def __init__(self, *, as_json: bool, fields: Mapping[str, object], options: Options) -> None:
        self._as_json = as_json
        self._fields = fields
        self._limit = options.max_event_bytes
        self._host = socket.gethostname()
        self._envelope = Envelope(options)

    def __call__(self, reader: LineReader, line: Line) -> bytes | None:
        """Return the payload, or None for a line with nothing in it.

        Raises:
            BadLine: It is too long, or not a JSON object.
        """
        try:
            if line.text is None:
                raise BadLine(f"longer than {self._limit} bytes")
            if not line.text or line.text.isspace():
                return None
            event = _from_json(line.text) if self._as_json else self._from_text(line.text, reader.path, line.offset)
            return self._envelope.seal(_merged(event, self._fields))
        except (BadLine, EventTooLarge) as error:
            raise BadLine(f"{reader.name}:{line.number}: {error}") from error

    def _from_text(self, text: bytes, path: str | None, offset: int) -> dict[str, object]:
        log: dict[str, object] = {"offset": offset}
        if path is not None:
            log["file"] = {"path": path}
        return {"@version": "1", "message": text.decode("utf-8", "replace"), "host": self._host, "log": log}


_decode = msgspec.json.Decoder().decode

_JSON_NAMES: Mapping[type, str] = {list: "an array", str: "a string", bool: "true or false", type(None): "null"}


def _from_json(text: bytes) -> dict[str, object]:
    try:
        event = _decode(text)
    except (ValueError, RecursionError) as error:
        raise BadLine(f"not JSON: {error}") from error
    if not isinstance(event, dict):
        raise BadLine(f"not a JSON object but {_JSON_NAMES.get(type(event), 'a number')}")
    return event


def parse_fields(assignments: tuple[str, ...]) -> dict[str, object]:
    """Return `name=value` pairs as one nested mapping: `service.name=shop` is {"service": {"name": "shop"}}.

    Raises:
        ValueError: One is no such pair, or is both a value and an object.
    """
    fields: dict[str, object] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        *path, last = name.split(".")
        if not equals or not all((*path, last)):
            raise ValueError(f"{assignment!r} is not name=value")
        inner: object = fields
        for step in path:
            inner = inner.setdefault(step, {}) if isinstance(inner, dict) else None
        if not isinstance(inner, dict) or isinstance(inner.get(last), dict):
            raise ValueError(f"{name} would be both a value and an object")  # noqa: TRY004 - the user's, not a caller's
        inner[last] = value
    return fields


def _merged(event: Mapping[str, object], fields: Mapping[str, object]) -> dict[str, object]:
    """Return the event with the fields, which win, as with Filebeat's `fields_under_root`."""
    merged = {**event, **fields}
    for name, value in fields.items():
        inner = event.get(name)
        if isinstance(inner, dict) and isinstance(value, dict):
            merged[name] = _merged(inner, value)
    return merged
