"""zlib streams, whichever library makes them."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from beats_core.compression import compress, inflate
from beats_core.encoding import encode_event
from benchmarks.corpus import SCHEMAS, SEED


@pytest.fixture(params=["as installed", "zlib alone"])
def library(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "zlib alone":
        monkeypatch.setattr("beats_core.compression._fast", None)


# Parts that repeat, near and far, and parts that do not: what a window holds.
window_bytes = st.lists(
    st.binary(max_size=200) | st.tuples(st.binary(max_size=40), st.integers(0, 2_000)).map(lambda run: run[0] * run[1]),
    max_size=6,
).map(b"".join)


@pytest.mark.usefixtures("library")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])  # it only says which library
@given(data=window_bytes, level=st.integers(1, 9))
def test_every_stream_is_one_that_zlib_inflates_finished_with_nothing_behind(data: bytes, level: int) -> None:
    stream = compress(data, level)
    reader = zlib.decompressobj()

    assert data == reader.decompress(stream)
    assert (True, b"", b"") == (reader.eof, reader.unused_data, reader.unconsumed_tail)
    assert data == inflate(stream, len(data))


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("schema", SCHEMAS)
@pytest.mark.parametrize("events", [8, 64, 2_048])
def test_a_higher_level_makes_no_more(schema: str, events: int) -> None:
    lines = b"\n".join(map(encode_event, SCHEMAS[schema](events, SEED)))
    sizes = [len(compress(lines, level)) for level in range(1, 10)]

    assert sorted(sizes, reverse=True) == sizes
    assert sizes[-1] < sizes[0] < len(lines) / 2


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
