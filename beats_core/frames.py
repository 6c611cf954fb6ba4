"""The wire format of Lumberjack: frames to bytes and bytes to frames, without I/O.

All integers are big-endian unsigned 32 bit. A frame is a version byte, a type byte and a body:

    W  count                                 the sender opens a window of exactly `count` events
    J  sequence  length  payload             one event, a JSON object in UTF-8
    D  sequence  pairs  (length text) * 2    one event of version 1, a flat mapping of texts
    C  length  zlib stream                   frames, compressed
    A  sequence                              the receiver acknowledges; 0 is a keep-alive

Source: the de-facto standard is what go-lumber's client sends (client/v2/client.go).
This room knows lengths and limits. It does not know what an answer means; `protocol` does.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import NamedTuple

import msgspec

from beats_core.compression import compress, inflate
from beats_core.errors import ProtocolError

WINDOW, JSON, DATA, COMPRESSED, ACK = b"WJDCA"

MAX_WINDOW = 10_000  # events; go-lumber's default limit (server/v2 MaxWindowSize), Logstash has none
MAX_FRAME_BYTES = 16 << 20  # one frame as it is on the wire; Graylog's limit, the smallest of the field
MAX_INFLATED_BYTES = 64 << 20  # one compressed frame, inflated; Graylog's limit
MAX_PAIRS = 1_024  # of one version 1 event; Graylog's limit

_SEQUENCE_AND_LENGTH = struct.Struct(">2sII")
_TYPE_AND_NUMBER = struct.Struct(">BBI")
_NUMBER = struct.Struct(">I")
_HEADER_BYTES = 2
_VERSIONS = b"12"
_JSON_GROWTH = 6  # times the bytes of a text: each of its control characters becomes \u00XX


class Important(bytes):
    """The payload of an event that is dropped last, where something has to be."""

    __slots__ = ()


class Batch:
    """A run of payloads, oldest first. Immutable; safe to share between threads.

    Args:
        payloads: Each the bytes of one JSON object.
        first: The ordinal of the first event in its owner's count; only the backlog cares.
    """

    __slots__ = ("first", "payloads", "size")

    def __init__(self, payloads: Sequence[bytes], first: int = 0) -> None:
        self.payloads = payloads
        self.first = first
        self.size = sum(map(len, payloads))

    def __len__(self) -> int:
        """Return how many events it holds."""
        return len(self.payloads)

    def __repr__(self) -> str:
        """Tell sizes, never contents: payloads may hold what must not be printed."""
        return f"<Batch of {len(self.payloads)} events, {self.size} bytes>"

    def tail(self, count: int) -> Batch:
        """Return the batch without its first `count` events; on the wire it is numbered from 1 anew."""
        return Batch(self.payloads[count:], self.first + count) if count else self

    def split(self, bulk_max_size: int, bulk_max_bytes: int) -> list[Batch]:
        """Cut into batches of at most that many events and bytes; an event larger than that travels alone."""
        batches: list[Batch] = []
        start = size = 0
        for position, payload in enumerate(self.payloads):
            size += len(payload)
            if position > start and (position - start == bulk_max_size or size > bulk_max_bytes):
                batches.append(Batch(self.payloads[start:position], self.first + start))
                start, size = position, len(payload)
        if start < len(self.payloads):
            batches.append(Batch(self.payloads[start:], self.first + start) if start else self)
        return batches


def encode_window(payloads: Sequence[bytes], level: int) -> bytes:
    """Return the bytes of one window: `W n`, then its events numbered 1 to n.

    At level 0 the events are plain frames. Else they are in exactly one compressed frame,
    because go-lumber reads no window that is spread over several (server/v2/reader.go).
    """
    count = len(payloads)
    parts: list[bytes] = [b""] * (2 * count)
    parts[::2] = map(_SEQUENCE_AND_LENGTH.pack, repeat(b"2J"), range(1, count + 1), map(len, payloads))
    parts[1::2] = payloads
    window = _TYPE_AND_NUMBER.pack(ord("2"), WINDOW, count)
    if not level:
        return b"".join([window, *parts])
    compressed = compress(b"".join(parts), level)
    return b"".join((window, _TYPE_AND_NUMBER.pack(ord("2"), COMPRESSED, len(compressed)), compressed))


def encode_ack(sequence: int, version: int = 2) -> bytes:
    """Return an ack frame; sequence 0 is a keep-alive."""
    return _TYPE_AND_NUMBER.pack(ord("0") + version, ACK, sequence)


class WindowFrame(NamedTuple):
    """The sender opens a window of exactly `size` events."""

    version: int
    size: int


class EventFrame(NamedTuple):
    """One event: a JSON frame as it is, or a version 1 data frame turned into a JSON object."""

    version: int
    sequence: int
    payload: bytes


class AckFrame(NamedTuple):
    """Everything up to `sequence` is acknowledged; 0 is a keep-alive."""

    version: int
    sequence: int


Frame = WindowFrame | EventFrame | AckFrame


class FrameReader:
    """Turns received bytes into frames, however the bytes were cut.

    What the peer claims is checked before memory is taken for it. Compressed frames are unpacked;
    they may hold events only, as with go-lumber.

    Args:
        max_frame_bytes: Longest body of one frame on the wire.
        max_inflated_bytes: Most bytes a compressed frame may hold.
    """

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES, max_inflated_bytes: int = MAX_INFLATED_BYTES) -> None:
        self._max_frame_bytes = max_frame_bytes
        self._max_inflated_bytes = max_inflated_bytes
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete frame are held."""
        return len(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that `data` completes. Exhaust it before the next call.

        Raises:
            ProtocolError: The bytes are not Lumberjack, or claim more than a limit. The frames before were yielded.
        """
        buffer = self._buffer
        buffer += data
        position = 0
        try:
            while (end := self._end_of_frame(buffer, position)) is not None:
                if buffer[position + 1] == COMPRESSED:
                    yield from self._unpack(bytes(buffer[position + 6 : end]))
                else:
                    yield _frame(buffer, position, end)
                position = end
        finally:
            del buffer[:position]

    def _end_of_frame(self, buffer: bytes | bytearray, start: int) -> int | None:
        """Return where the frame at `start` ends, or None while that, or its rest, has not arrived."""
        held = len(buffer) - start
        if held and buffer[start] not in _VERSIONS:
            raise ProtocolError(_stranger(bytes(buffer[start : start + 8])))
        if held < _HEADER_BYTES:
            return None
        kind = buffer[start + 1]
        if kind in (WINDOW, ACK):
            end = start + 6
        elif kind == DATA:
            return self._end_of_data(buffer, start)
        elif kind in (JSON, COMPRESSED):
            fixed = 10 if kind == JSON else 6
            if held < fixed:
                return None
            (length,) = _NUMBER.unpack_from(buffer, start + fixed - 4)
            if not length or length > self._max_frame_bytes:
                raise ProtocolError(
                    f"{chr(kind)} frame claims {length} bytes, allowed are 1 to {self._max_frame_bytes}"
                )
            end = start + fixed + length
        else:
            raise ProtocolError(f"unknown frame type {bytes([kind])!r}")
        return end if end <= len(buffer) else None

    def _end_of_data(self, buffer: bytes | bytearray, start: int) -> int | None:
        if len(buffer) < start + 10:
            return None
        (pairs,) = _NUMBER.unpack_from(buffer, start + 6)
        if pairs > MAX_PAIRS:
            raise ProtocolError(f"D frame claims {pairs} pairs, allowed are {MAX_PAIRS}")
        end = start + 10
        for _ in range(2 * pairs):
            if len(buffer) < end + 4:
                return None
            (length,) = _NUMBER.unpack_from(buffer, end)
            end += 4 + length
            if end - start > self._max_frame_bytes // _JSON_GROWTH:
                raise ProtocolError(
                    f"D frame claims {end - start} bytes, allowed are {self._max_frame_bytes // _JSON_GROWTH}"
                )
        return end if end <= len(buffer) else None

    def _unpack(self, stream: bytes) -> Iterator[Frame]:
        try:
            frames = inflate(stream, self._max_inflated_bytes)
        except ValueError as error:
            raise ProtocolError(f"C frame holds no zlib stream: {error}") from error
        if frames is None:
            raise ProtocolError(f"C frame inflates to more than {self._max_inflated_bytes} bytes")
        position = 0
        while (end := self._end_of_frame(frames, position)) is not None:
            if frames[position + 1] not in (JSON, DATA):
                raise ProtocolError(f"{chr(frames[position + 1])} frame inside a C frame")
            yield _frame(frames, position, end)
            position = end
        if position < len(frames):
            raise ProtocolError("C frame ends in the middle of a frame")


def _frame(buffer: bytes | bytearray, start: int, end: int) -> Frame:
    version = buffer[start] - ord("0")
    kind = buffer[start + 1]
    (number,) = _NUMBER.unpack_from(buffer, start + 2)
    if kind == JSON:
        return EventFrame(version, number, bytes(buffer[start + 10 : end]))
    if kind == WINDOW:
        return WindowFrame(version, number)
    if kind == ACK:
        return AckFrame(version, number)
    return EventFrame(version, number, _data_as_json(buffer, start + 10, end))


def _data_as_json(buffer: bytes | bytearray, start: int, end: int) -> bytes:
    """Return the pairs of a version 1 data frame as a JSON object of texts."""
    texts: list[str] = []
    while start < end:
        (length,) = _NUMBER.unpack_from(buffer, start)
        texts.append(buffer[start + 4 : start + 4 + length].decode("utf-8", "replace"))
        start += 4 + length
    return msgspec.json.encode(dict(zip(texts[::2], texts[1::2], strict=True)))


def _stranger(start: bytes) -> str:
    """Say what speaks to us in something that is not Lumberjack."""
    if start[:1] == b"\x16" or start[:1] == b"\x15":
        return "the peer speaks TLS on a plain connection"
    if start[:1] == b"{":
        return "the peer sends plain JSON, not Beats frames (a Logstash tcp input expects that, beats does not)"
    if start[:4] in (b"GET ", b"POST", b"PUT ", b"HEAD", b"HTTP"):
        return "the peer speaks HTTP"
    return f"the peer does not speak Beats: unknown version in {start!r}"
