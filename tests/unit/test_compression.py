"""zlib streams, whichever library makes them."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.compression import compress, inflate


@given(data=st.binary(max_size=2_000), level=st.integers(1, 9))
def test_what_is_compressed_inflates_again_here_and_elsewhere(data: bytes, level: int) -> None:
    stream = compress(data, level)

    assert data == inflate(stream, len(data))
    assert data == zlib.decompress(stream)


@pytest.mark.parametrize("level", range(1, 10))
def test_a_stream_is_finished_and_nothing_follows(level: int) -> None:
    reader = zlib.decompressobj()
    reader.decompress(compress(b"log line " * 1_000, level))

    assert reader.eof
    assert b"" == reader.unused_data


def test_a_higher_level_makes_less() -> None:
    lines = b"".join(b'{"n":%d,"message":"user %d paid %d"}' % (n, n * 7 % 97, n * n) for n in range(2_000))

    assert len(compress(lines, 9)) < len(compress(lines, 1)) < len(lines) / 2


def test_a_bytearray_is_data_too() -> None:
    assert b"abc" == inflate(compress(bytearray(b"abc"), 3), 10)


def test_the_limit_is_exact() -> None:
    stream = compress(b"x" * 100, 3)

    assert b"x" * 100 == inflate(stream, 100)
    assert inflate(stream, 99) is None
    assert inflate(stream, 0) is None
    assert b"" == inflate(compress(b"", 3), 0)


def test_a_bomb_is_refused() -> None:
    assert inflate(zlib.compress(b"\0" * (100 << 20)), 1_000) is None


def test_what_is_flushed_but_not_finished_is_read_as_far_as_it_goes() -> None:
    writer = zlib.compressobj()
    stream = writer.compress(b"some") + writer.flush(zlib.Z_SYNC_FLUSH)

    assert b"some" == inflate(stream, 100)
    assert b"" == inflate(b"", 100)


def test_what_follows_a_stream_is_ignored() -> None:
    assert b"some" == inflate(zlib.compress(b"some") + b"more", 100)


@pytest.mark.parametrize(
    "data",
    [b"nonsense", zlib.compress(b"x", wbits=31), zlib.compress(b"x", wbits=-15), zlib.compress(b"x")[:-1] + b"?"],
)
def test_what_is_no_zlib_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="not a zlib stream"):
        inflate(data, 100)


@given(data=st.binary(max_size=60))
def test_nothing_worse_comes_of_arbitrary_bytes(data: bytes) -> None:
    for stream in (data, b"x\x9c" + data):
        try:
            inflated = inflate(stream, 50)
        except ValueError:
            continue
        assert inflated is None or len(inflated) <= 50
