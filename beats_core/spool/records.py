"""What a spool file holds, to bytes and back, and how to find one's way past damage. No I/O.

All integers are big-endian unsigned 32 bit. A segment is a header and then frames, an acks file is records:

    header   "BEATSPL" version(1)  crc32(the eight before)
    frame    magic(4)  crc32(the rest)  body length  events  |  events x length  payloads
    record   first  end  events  crc32(the twelve before)

The body of a frame is what stands behind the bar. The top bit of a length marks an important event.

The *position* of an event is the offset in the file of its length. It is what acks files speak of, because it stays
what it is whatever happens to the bytes before it: with a running number, damage between two lives of a process
would shift all later events, and an ack would settle events that nobody has sent.
A record settles the events whose positions are in [first, end). What is no record is passed over.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import NamedTuple

from beats_core.compression import crc32
from beats_core.frames import Important

VERSION = 1
MAGIC = b"\xf5\xbe\xa7\xff"  # 0xF5 and 0xFF are in no UTF-8 text, so it is in no payload
IMPORTANT = 1 << 31  # in a length
HEADER_BYTES = 12
FRAME_BYTES = 16  # of a frame before its body
LENGTH_BYTES = 4
RECORD_BYTES = 16
MAX_POSITION = (1 << 32) - 1  # also how large a segment may be
LARGE_FRAME = 1 << 20  # bytes of body; what is longer is cut into several frames, so that damage costs less

_NAME = b"BEATSPL"
_NUMBER = struct.Struct(">I")
_SIZES = struct.Struct(">II")
_THREE = struct.Struct(">III")
_FRAME = struct.Struct(">4sIII")
_FRAME_OF_ONE = struct.Struct(">4sIIII")
_RECORD = struct.Struct(">IIII")

NEEDS_MORE = -1
BROKEN = -2
_NOTHING: list[bytes] = []


def encode_header() -> bytes:
    """Return how a segment begins."""
    name = _NAME + bytes((VERSION,))
    return name + _NUMBER.pack(crc32(name, 0))


def version_of(header: bytes) -> int | None:
    """Return the format version of a segment that begins like this; None if that is damaged or no header."""
    name = header[:8]
    if len(header) < HEADER_BYTES or name[:7] != _NAME or header[8:HEADER_BYTES] != _NUMBER.pack(crc32(name, 0)):
        return None
    return name[7]


def encode_frame(payloads: Sequence[bytes]) -> bytearray | bytes:
    """Return one frame of these events, at least one."""
    if len(payloads) == 1:
        return encode_event(payloads[0])
    lengths = list(map(len, payloads))
    length = LENGTH_BYTES * len(lengths) + sum(lengths)
    if Important in map(type, payloads):
        lengths = [
            size | IMPORTANT if type(payload) is Important else size
            for size, payload in zip(lengths, payloads, strict=True)
        ]
    head = _FRAME.pack(MAGIC, 0, length, len(lengths))
    frame = bytearray().join((head, struct.pack(f">{len(lengths)}I", *lengths), *payloads))
    _NUMBER.pack_into(frame, 4, crc32(memoryview(frame)[8:], 0))
    return frame


def encode_event(payload: bytes) -> bytes:
    """Return a frame of this one event."""
    size = len(payload)
    marked = size | IMPORTANT if type(payload) is Important else size
    checksum = crc32(payload, crc32(_THREE.pack(size + LENGTH_BYTES, 1, marked), 0))
    return _FRAME_OF_ONE.pack(MAGIC, checksum, size + LENGTH_BYTES, 1, marked) + payload


def encode_frames(payloads: Sequence[bytes]) -> list[tuple[int, bytearray | bytes]]:
    """Return (events, frame) for these events, in several frames if they are large in all."""
    frames = []
    start = size = 0
    for place, payload in enumerate(payloads):
        cost = LENGTH_BYTES + len(payload)
        if size and size + cost > LARGE_FRAME:
            frames.append((place - start, encode_frame(payloads[start:place])))
            start, size = place, 0
        size += cost
    if start < len(payloads):
        frames.append((len(payloads) - start, encode_frame(payloads[start:] if start else payloads)))
    return frames


def claimed(buffer: bytes, at: int) -> tuple[int, int] | None:
    """Return (length of the body, events) as the frame there has it, unchecked; None if there is no such claim."""
    if len(buffer) - at < FRAME_BYTES:
        return None
    magic, _, length, events = _FRAME.unpack_from(buffer, at)
    return (length, events) if magic == MAGIC and 0 < events <= length // LENGTH_BYTES else None


def decode_frame(buffer: bytes, at: int) -> tuple[int, list[bytes]]:
    """Return where the frame there ends, and its events.

    Returns:
        (NEEDS_MORE, []) if it may go on behind the buffer; (BROKEN, []) if no sound frame begins there.
    """
    if len(buffer) - at < FRAME_BYTES:
        return (NEEDS_MORE if MAGIC.startswith(buffer[at : at + 4]) else BROKEN), _NOTHING
    magic, checksum, length, events = _FRAME.unpack_from(buffer, at)
    if magic != MAGIC or not 0 < events <= length // LENGTH_BYTES:
        return BROKEN, _NOTHING
    body = at + FRAME_BYTES
    end = body + length
    if end > len(buffer):
        return NEEDS_MORE, _NOTHING
    if crc32(memoryview(buffer)[at + 8 : end], 0) != checksum:
        return BROKEN, _NOTHING
    start = body + LENGTH_BYTES * events
    if events == 1:
        payload = buffer[start:end]
        return end, [Important(payload) if buffer[body] & 0x80 else payload]
    lengths: Sequence[int] = struct.unpack_from(f">{events}I", buffer, body)
    important = max(lengths) >= IMPORTANT
    sizes = [size & ~IMPORTANT for size in lengths] if important else lengths
    if start + sum(sizes) != end:  # only a writer with a fault of its own makes this
        return BROKEN, _NOTHING
    payloads = [buffer[one:other] for one, other in pairwise(accumulate(sizes, initial=start))]
    if important:
        payloads = [
            Important(payload) if size >= IMPORTANT else payload
            for size, payload in zip(lengths, payloads, strict=True)
        ]
    return end, payloads


class Record(NamedTuple):
    """The `events` events whose positions are in [first, end) are settled."""

    first: int
    end: int
    events: int


def encode_record(record: Record) -> bytes:
    """Return one record of an acks file."""
    checked = _THREE.pack(*record)
    return checked + _NUMBER.pack(crc32(checked, 0))


def decode_records(data: bytes) -> tuple[list[Record], int]:
    """Return the sound records of an acks file, by position and each once, and where to write the next one."""
    found = set()
    used = 0
    for at in range(0, len(data) - RECORD_BYTES + 1, RECORD_BYTES):
        first, end, events, checksum = _RECORD.unpack_from(data, at)
        if not (first or end or events or checksum):
            continue  # made room for, not used
        used = at + RECORD_BYTES
        if first < end and checksum == crc32(memoryview(data)[at : at + RECORD_BYTES - 4], 0):
            found.add(Record(first, end, events))
    return sorted(found), used


def merged(records: Sequence[Record]) -> list[tuple[int, int]]:
    """Return the disjoint runs [first, end) of positions that records, by position, settle."""
    runs: list[tuple[int, int]] = []
    for first, end, _ in records:
        if runs and first <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(runs[-1][1], end))
        else:
            runs.append((first, end))
    return runs
