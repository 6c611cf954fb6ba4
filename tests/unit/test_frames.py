"""The wire format, against bytes written by hand: each case whole, byte by byte, and with the start of the next."""

from __future__ import annotations

import struct
import zlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import ProtocolError
from beats_core.frames import (
    MAX_PAIRS,
    AckFrame,
    Batch,
    EventFrame,
    Frame,
    FrameReader,
    WindowFrame,
    encode_ack,
    encode_window,
)
from support.wire import a, c, d, j, raw_c, w

CASES: dict[str, tuple[bytes, list[Frame]]] = {
    "nothing": (b"", []),
    "window": (b"2W\x00\x00\x00\x03", [WindowFrame(2, 3)]),
    "window of version 1": (b"1W\x00\x01\x00\x00", [WindowFrame(1, 65_536)]),
    "largest window": (b"2W\xff\xff\xff\xff", [WindowFrame(2, 4_294_967_295)]),
    "ack": (b"2A\x00\x00\x00\x07", [AckFrame(2, 7)]),
    "ack of version 1": (b"1A\x00\x00\x00\x07", [AckFrame(1, 7)]),
    "keep-alive": (b"2A\x00\x00\x00\x00", [AckFrame(2, 0)]),
    "highest ack": (b"2A\xff\xff\xff\xff", [AckFrame(2, 4_294_967_295)]),
    "event": (b'2J\x00\x00\x00\x01\x00\x00\x00\x07{"a":1}', [EventFrame(2, 1, b'{"a":1}')]),
    "event of version 1": (b"1J\x00\x00\x00\x09\x00\x00\x00\x02{}", [EventFrame(1, 9, b"{}")]),
    "event of any bytes": (
        b"2J\xff\xff\xff\xff\x00\x00\x00\x03\x00\xff\n",
        [EventFrame(2, 4_294_967_295, b"\x00\xff\n")],
    ),
    "data": (
        b"1D\x00\x00\x00\x05\x00\x00\x00\x02\x00\x00\x00\x04line\x00\x00\x00\x02hi\x00\x00\x00\x01h\x00\x00\x00\x00",
        [EventFrame(1, 5, b'{"line":"hi","h":""}')],
    ),
    "data without pairs": (b"1D\x00\x00\x00\x05\x00\x00\x00\x00", [EventFrame(1, 5, b"{}")]),
    "data in version 2": (b"2D\x00\x00\x00\x05\x00\x00\x00\x00", [EventFrame(2, 5, b"{}")]),
    "data that is no UTF-8": (d(1, {b"\xff": b"\xc3\xbc\x00"}), [EventFrame(1, 1, '{"\ufffd":"ü\\u0000"}'.encode())]),
    "compressed": (
        raw_c(zlib.compress(b'2J\x00\x00\x00\x01\x00\x00\x00\x07{"a":1}1D\x00\x00\x00\x02\x00\x00\x00\x00')),
        [EventFrame(2, 1, b'{"a":1}'), EventFrame(1, 2, b"{}")],
    ),
    "compressed nothing": (c(b""), []),
    "compressed and flushed, not finished": (raw_c(zlib.compress(j(1, b"{}"))[:-4]), [EventFrame(2, 1, b"{}")]),
    "bytes behind the stream": (raw_c(zlib.compress(j(1, b"{}")) + b"more"), [EventFrame(2, 1, b"{}")]),
    "one after the other": (
        w(2) + j(1, b"{}") + c(j(2, b"[]")) + a(2) + w(1, 1) + d(1, {b"a": b"b"}),
        [
            WindowFrame(2, 2),
            EventFrame(2, 1, b"{}"),
            EventFrame(2, 2, b"[]"),
            AckFrame(2, 2),
            WindowFrame(1, 1),
            EventFrame(1, 1, b'{"a":"b"}'),
        ],
    ),
}
each_case = pytest.mark.parametrize(("data", "frames"), CASES.values(), ids=CASES)

MISTAKES: dict[str, tuple[bytes, str]] = {
    "version 0": (b"0W\x00\x00\x00\x01", r"the peer does not speak Beats: unknown version in b'0W"),
    "version 3": (b"3W\x00\x00\x00\x01", r"the peer does not speak Beats: unknown version in b'3W"),
    "zero": (b"\x00", r"the peer does not speak Beats: unknown version in b'\\x00'"),
    "TLS hello": (b"\x16\x03\x01", "the peer speaks TLS on a plain connection"),
    "TLS alert": (b"\x15\x03\x03", "the peer speaks TLS on a plain connection"),
    "JSON": (b'{"a":1}', "the peer sends plain JSON, not Beats frames"),
    "unknown type": (b"2X", "unknown frame type b'X'"),
    "type of lower case": (b"2j", "unknown frame type b'j'"),
    "event without bytes": (b"2J\0\0\0\x01\0\0\0\0", "J frame claims 0 bytes, allowed are 1 to 100"),
    "compressed frame without bytes": (b"2C\0\0\0\0", "C frame claims 0 bytes, allowed are 1 to 100"),
    "event beyond the limit": (b"2J\0\0\0\x01\0\0\0\x65", "J frame claims 101 bytes, allowed are 1 to 100"),
    "compressed frame beyond the limit": (b"2C\0\0\0\x65", "C frame claims 101 bytes, allowed are 1 to 100"),
    "endless event": (b"2J\0\0\0\x01\xff\xff\xff\xff", "J frame claims 4294967295 bytes"),
    "endless compressed frame": (b"2C\xff\xff\xff\xff", "C frame claims 4294967295 bytes"),
    "too many pairs": (b"1D\0\0\0\x01\0\0\x04\x01", "D frame claims 1025 pairs, allowed are 1024"),
    "endless text": (b"1D\0\0\0\x01\0\0\0\x01\xff\xff\xff\xff", r"D frame claims 4294967309 bytes, allowed are 16"),
    "no zlib": (raw_c(b"nonsense"), "C frame holds no zlib stream: "),
    "gzip": (raw_c(zlib.compress(b"{}", wbits=31)), "not a zlib stream: "),
    "raw deflate": (raw_c(zlib.compress(b"{}", wbits=-15)), "not a zlib stream: "),
    "wrong checksum": (raw_c(zlib.compress(j(1, b"{}"))[:-1] + b"?"), "not a zlib stream: "),
    "bomb": (c(b" " * 1_001), "C frame inflates to more than 1000 bytes"),
    "window in a compressed frame": (c(w(1)), "W frame inside a C frame"),
    "ack in a compressed frame": (c(a(1)), "A frame inside a C frame"),
    "compressed frame in a compressed frame": (c(c(j(1, b"{}"))), "C frame inside a C frame"),
    "stranger in a compressed frame": (c(b"?"), "the peer does not speak Beats"),
    "half an event in a compressed frame": (c(j(1, b"{}")[:-1]), "C frame ends in the middle of a frame"),
    "half a header in a compressed frame": (c(b"2"), "C frame ends in the middle of a frame"),
}
each_mistake = pytest.mark.parametrize(("data", "reason"), MISTAKES.values(), ids=MISTAKES)


def small_reader() -> FrameReader:
    return FrameReader(max_frame_bytes=100, max_inflated_bytes=1_000)


def read(reader: FrameReader, *chunks: bytes) -> tuple[list[Frame], str | None]:
    """Return the frames, and what the reader complained of, if it did."""
    frames: list[Frame] = []
    try:
        for chunk in chunks:
            for frame in reader.feed(chunk):
                frames.append(frame)  # noqa: PERF402 - those before a complaint count
    except ProtocolError as error:
        return frames, str(error)
    return frames, None


def bytewise(data: bytes) -> list[bytes]:
    return [data[position : position + 1] for position in range(len(data))]


@each_case
def test_a_frame_is_read_whole(data: bytes, frames: list[Frame]) -> None:
    reader = FrameReader()

    assert (frames, None) == read(reader, data)
    assert 0 == reader.buffered


@each_case
def test_a_frame_is_read_byte_by_byte(data: bytes, frames: list[Frame]) -> None:
    reader = FrameReader()

    assert (frames, None) == read(reader, *bytewise(data))
    assert 0 == reader.buffered


@each_case
@pytest.mark.parametrize("start", [b"2", b"2W", b"2J\0\0\0\x01\0\0\0\x05{}", b"1D\0\0", b"2C\0"])
def test_the_start_of_the_next_frame_waits_for_its_rest(data: bytes, frames: list[Frame], start: bytes) -> None:
    reader = FrameReader()

    assert (frames, None) == read(reader, data + start)
    assert len(start) == reader.buffered


@each_mistake
def test_a_mistake_is_told_and_what_came_before_is_read(data: bytes, reason: str) -> None:
    before = w(1) + j(1, b"{}")
    for chunks in ([before + data], [before, data], bytewise(before + data)):
        frames, complaint = read(small_reader(), *chunks)
        assert [WindowFrame(2, 1), EventFrame(2, 1, b"{}")] == frames
        assert complaint is not None
        # How much of a stranger's words is quoted depends on how much is there.
        words = reason.partition(" b'")[0].replace("\\", "")
        assert words in complaint


@each_mistake
def test_a_mistake_is_told_in_these_words(data: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        list(small_reader().feed(data))


@pytest.mark.parametrize("verb", [b"GET ", b"POST", b"PUT ", b"HEAD", b"HTTP"])
def test_http_is_recognised(verb: bytes) -> None:
    with pytest.raises(ProtocolError, match="the peer speaks HTTP"):
        list(FrameReader().feed(verb + b"/ HTTP/1.1\r\n"))


def test_frames_of_exactly_the_limits_are_read() -> None:
    reader = small_reader()
    largest = j(1, b"x" * 100)
    assert ([EventFrame(2, 1, b"x" * 100)], None) == read(reader, largest)

    events = b"".join(j(number, b"x" * 90) for number in range(1, 11))
    assert 1_000 == len(events)
    assert 10 == len(read(reader, c(events, level=9))[0])

    reader = FrameReader(max_frame_bytes=6 * 100)  # as JSON a text may take six times its bytes
    assert 1 == len(read(reader, d(1, {b"a": b"x" * 81}))[0])
    assert "D frame claims 101 bytes, allowed are 100" == read(reader, d(1, {b"a": b"x" * 82}))[1]


def test_a_stream_of_exactly_the_limit_is_inflated() -> None:
    noise = bytes(range(256))
    exact = raw_c(zlib.compress(j(1, noise[:50]))[:100])
    assert len(exact) < 100

    assert ([EventFrame(2, 1, noise[:50])], None) == read(small_reader(), exact)


def test_as_many_pairs_as_allowed_are_read() -> None:
    pairs = {b"%d" % number: b"" for number in range(MAX_PAIRS)}
    (frame,) = FrameReader().feed(d(1, pairs))

    assert isinstance(frame, EventFrame)
    assert MAX_PAIRS == frame.payload.count(b":")


def test_a_length_beyond_the_limit_is_refused_before_its_bytes_arrive() -> None:
    for start in (b"2J\0\0\0\x01\x01\0\0\x01", b"2C\x01\0\0\x01", b"1D\0\0\0\x01\0\0\0\x01\x01\0\0\0"):
        reader = FrameReader()
        assert "claims" in str(read(reader, start)[1])
        assert reader.buffered <= len(start)


def test_a_bomb_is_refused_without_its_memory() -> None:
    """A thousandth of its size; what it would become is never made."""
    bomb = zlib.compress(b"\0" * (200 << 20), 9)

    assert (
        "C frame inflates to more than 1000 bytes"
        == read(FrameReader(max_frame_bytes=1 << 20, max_inflated_bytes=1_000), raw_c(bomb))[1]
    )


def test_a_window_is_written_plain_at_level_0() -> None:
    assert (
        b"2W\x00\x00\x00\x02"
        b'2J\x00\x00\x00\x01\x00\x00\x00\x07{"a":1}'
        b"2J\x00\x00\x00\x02\x00\x00\x00\x02{}" == encode_window([b'{"a":1}', b"{}"], 0)
    )


@pytest.mark.parametrize("level", range(1, 10))
def test_a_window_is_written_as_one_compressed_frame_at_other_levels(level: int) -> None:
    data = encode_window([b'{"a":1}', b"{}"], level)

    assert b"2W\x00\x00\x00\x022C" == data[:8]
    assert len(data) - 12 == struct.unpack(">I", data[8:12])[0]
    assert b'2J\x00\x00\x00\x01\x00\x00\x00\x07{"a":1}2J\x00\x00\x00\x02\x00\x00\x00\x02{}' == zlib.decompress(
        data[12:]
    )


def test_acks_are_written() -> None:
    assert b"2A\x00\x00\x00\x03" == encode_ack(3)
    assert b"2A\x00\x00\x00\x00" == encode_ack(0)
    assert b"1A\xff\xff\xff\xff" == encode_ack(4_294_967_295, version=1)


payload_lists = st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=30)


@given(payloads=payload_lists, level=st.integers(0, 9), cuts=st.lists(st.integers(0, 2_000), max_size=10))
def test_what_is_written_is_read_however_it_is_cut(payloads: list[bytes], level: int, cuts: list[int]) -> None:
    data = encode_window(payloads, level)
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    frames, complaint = read(FrameReader(), *(data[start:end] for start, end in pairwise(edges)))

    assert complaint is None
    assert [WindowFrame(2, len(payloads)), *(EventFrame(2, n, p) for n, p in enumerate(payloads, 1))] == frames


@given(chunks=st.lists(st.binary(max_size=40), max_size=8), version=st.sampled_from([b"1", b"2", b""]))
def test_of_arbitrary_bytes_nothing_worse_comes_than_a_protocol_error(chunks: list[bytes], version: bytes) -> None:
    reader = small_reader()
    read(reader, version + b"".join(chunks[:1]), *chunks[1:])

    assert reader.buffered <= sum(map(len, chunks)) + 1


@given(payloads=payload_lists, acked=st.integers(0, 30))
def test_a_tail_is_what_is_left(payloads: list[bytes], acked: int) -> None:
    batch = Batch(payloads, first=100)
    tail = batch.tail(acked)

    assert payloads[acked:] == tail.payloads
    assert len(payloads[acked:]) == len(tail)
    assert sum(map(len, payloads[acked:])) == tail.size
    assert 100 + acked == tail.first


@given(payloads=st.lists(st.binary(max_size=20), max_size=30), size=st.integers(1, 8), most=st.integers(1, 60))
def test_a_split_keeps_order_and_bounds(payloads: list[bytes], size: int, most: int) -> None:
    parts = Batch(payloads, first=7).split(size, most)

    assert payloads == [payload for part in parts for payload in part.payloads]
    assert all(0 < len(part) <= size for part in parts)
    assert all(part.size <= most or len(part) == 1 for part in parts)
    assert [7 + sum(map(len, parts[:n])) for n in range(len(parts))] == [part.first for part in parts]


def test_a_split_is_as_coarse_as_it_can_be() -> None:
    batch = Batch([b"1", b"22", b"333", b"4444", b"55555"])

    assert [batch] == batch.split(5, 15)
    assert [[b"1", b"22", b"333"], [b"4444"], [b"55555"]] == [part.payloads for part in batch.split(5, 6)]
    assert [[b"1", b"22"], [b"333", b"4444"], [b"55555"]] == [part.payloads for part in batch.split(2, 100)]
    assert [] == Batch([]).split(1, 1)


def test_a_batch_tells_sizes_and_no_contents() -> None:
    assert "<Batch of 2 events, 9 bytes>" == repr(Batch([b'{"a":1}', b"{}"]))
