"""The bytes of a spool: golden ones by hand, and what is read back from them."""

from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from struct import pack
from tempfile import TemporaryFile
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.spool import Important
from beats_core.spool.cursor import Cursor
from beats_core.spool.records import (
    BROKEN,
    IMPORTANT,
    LARGE_FRAME,
    MAGIC,
    NEEDS_MORE,
    Record,
    decode_frame,
    decode_records,
    encode_event,
    encode_frame,
    encode_frames,
    encode_header,
    encode_record,
    merged,
    version_of,
)
from support.spools import adopted, make, read_all, settle_all, the_file

HEADER = bytes.fromhex("42454154 53504c 01  8ff14e86")
#                        magic     crc32     length    events    length
ONE = bytes.fromhex("f5bea7ff  7e82c1e2  00000006  00000001  00000002") + b"{}"
TWO = bytes.fromhex("f5bea7ff  7fc81bd6  00000011  00000002  00000002 80000007") + b"{}" + b'{"a":1}'
RECORD = bytes.fromhex("0000001c 00000020 00000001 87e76898")


def test_a_segment_begins_with_its_name_and_version() -> None:
    assert HEADER == encode_header()
    assert 1 == version_of(HEADER)


def test_a_frame_of_one_event() -> None:
    assert ONE == encode_event(b"{}") == encode_frame([b"{}"])
    assert (len(ONE), [b"{}"]) == decode_frame(ONE, 0)


def test_the_top_bit_of_a_length_says_that_an_event_is_important() -> None:
    assert TWO == encode_frame([b"{}", Important(b'{"a":1}')])
    end, payloads = decode_frame(TWO, 0)
    assert (len(TWO), [bytes, Important]) == (end, [type(payload) for payload in payloads])


def test_one_important_event() -> None:
    frame = encode_event(Important(b"{}"))

    assert IMPORTANT + 2 == int.from_bytes(frame[16:20], "big")
    assert [Important] == [type(payload) for payload in decode_frame(frame, 0)[1]]


def test_a_record_of_what_is_settled() -> None:
    assert RECORD == encode_record(Record(28, 32, 1))
    assert ([Record(28, 32, 1)], 16) == decode_records(RECORD + bytes(4080))


def test_a_spool_writes_exactly_these_bytes(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append([b"{}"], read=True)
    spool.append([b"{}", Important(b'{"a":1}')])
    settle_all(spool)
    path = the_file(tmp_path)

    assert "00000001.open" == path.name
    assert HEADER + ONE + TWO == path.read_bytes()
    assert RECORD + bytes(4080) == path.with_name("00000001.acks").read_bytes()

    spool.close()
    assert ["00000001.3.seg", "00000001.acks", "lock"] == sorted(os.listdir(path.parent))


def test_a_spool_reads_exactly_these_bytes(tmp_path: Path) -> None:
    part = tmp_path / "host-1-1700000000000-0123abcd"
    part.mkdir()
    (part / "00000001.3.seg").write_bytes(HEADER + ONE + TWO)
    (part / "00000001.acks").write_bytes(bytes(16) + RECORD)
    spool = adopted(tmp_path)

    assert 2 == spool.unread
    assert [b"{}", b'{"a":1}'] == read_all(spool)
    assert (0, 0, 0) == (spool.damaged, spool.lost, spool.torn)
    settle_all(spool)
    spool.close()
    assert [] == os.listdir(tmp_path)


@pytest.mark.parametrize(
    "header", [b"", HEADER[:-1], b"X" + HEADER[1:], HEADER[:7] + b"\2" + HEADER[8:], bytes(12)], ids=repr
)
def test_what_is_no_header_has_no_version(header: bytes) -> None:
    assert version_of(header) is None


@given(st.lists(st.binary(max_size=30), min_size=1, max_size=20), st.data())
def test_frames_come_back_whatever_is_in_them(payloads: list[bytes], data: st.DataObject) -> None:
    important = [Important(payload) if data.draw(st.booleans()) else payload for payload in payloads]
    before = data.draw(st.binary(max_size=5))
    frame = bytes(encode_frame(important))

    end, found = decode_frame(before + frame + b"rest", len(before))

    assert len(before) + len(frame) == end
    assert payloads == found
    assert [type(payload) for payload in important] == [type(payload) for payload in found]


@given(st.lists(st.binary(max_size=9), min_size=1, max_size=5), st.data())
def test_a_frame_in_which_anything_is_changed_or_missing_is_none(payloads: list[bytes], data: st.DataObject) -> None:
    frame = bytearray(encode_frame(payloads))
    cut = data.draw(st.integers(0, len(frame) - 1))
    assert NEEDS_MORE == decode_frame(bytes(frame[:cut]), 0)[0]

    place = data.draw(st.integers(0, len(frame) - 1))
    frame[place] ^= data.draw(st.integers(1, 255))
    assert decode_frame(bytes(frame), 0)[0] in {BROKEN, NEEDS_MORE}


def test_lengths_that_do_not_fit_the_body_are_no_frame() -> None:
    """Although the checksum is right: whoever wrote that had a fault."""
    rest = pack(">IIII", 12, 2, 1, 2) + b"abcd"

    assert (BROKEN, []) == decode_frame(MAGIC + pack(">I", crc32(rest)) + rest, 0)


def test_many_events_are_cut_into_frames_of_a_mebibyte() -> None:
    payloads = [b"x" * (LARGE_FRAME // 4)] * 7 + [b"y" * (2 * LARGE_FRAME)] + [b"z"]
    frames = encode_frames(payloads)

    assert [3, 3, 1, 1, 1] == [count for count, _ in frames]
    assert payloads == [payload for _, frame in frames for payload in decode_frame(bytes(frame), 0)[1]]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 9)), max_size=9), st.binary(max_size=40))
def test_records_survive_garbage_around_them(pairs: list[tuple[int, int]], garbage: bytes) -> None:
    records = [Record(first, first + size, 1) for first, size in pairs]
    padded = garbage.ljust(-(-len(garbage) // 16) * 16, b"\0")
    found, used = decode_records(padded + b"".join(map(encode_record, records)) + bytes(33))

    assert sorted(set(records)) == found
    assert not records or len(padded) + 16 * len(records) == used
    runs = merged(found)
    assert {at for first, end, _ in records for at in range(first, end)} == {
        at for first, end in runs for at in range(first, end)
    }
    assert all(one[1] < other[0] for one, other in pairwise(runs))


@given(
    st.lists(st.lists(st.binary(max_size=9), min_size=1, max_size=4), max_size=6),
    st.integers(1, 7),
    st.integers(1, 30),
)
def test_a_cursor_hands_out_everything_once_and_knows_the_positions(
    batches: list[list[bytes]], most_events: int, most_bytes: int
) -> None:
    text = HEADER + b"".join(bytes(encode_frame(batch)) for batch in batches)
    with TemporaryFile(buffering=0) as file:
        file.write(text)
        cursor = Cursor()
        found: list[bytes] = []
        while taken := cursor.take(file.fileno(), len(text), most_events, most_bytes, whole=True):
            assert len(taken) <= most_events
            assert len(taken) == 1 or sum(map(len, taken)) <= most_bytes
            found += taken
    assert [payload for batch in batches for payload in batch] == found
    assert cursor.at_end(len(text))
    for index, payload in enumerate(found):
        record = cursor.run(index, 1)
        assert len(payload) == int.from_bytes(text[record.first : record.end], "big")
