from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.cli.lines import Line, LineReader, parse_fields


def read_pieces(pieces: list[bytes], longest: int, path: Path) -> list[Line]:
    """What a reader makes of a named pipe into which the pieces are written one by one."""
    os.mkfifo(path)
    feeder = os.open(path, os.O_RDWR)  # open at both ends: nobody waits for the other
    lines: list[Line] = []
    with LineReader(str(path), longest) as reader:
        assert reader.size is None
        try:
            for piece in pieces:
                os.write(feeder, piece)
                lines += reader.read() or ()
        finally:
            os.close(feeder)
        lines += reader.read() or ()
        assert reader.read() is None
    path.unlink()
    return lines


@given(st.lists(st.binary(min_size=1, max_size=12).map(lambda piece: piece.replace(b"\r", b"\n")), max_size=8))
def test_lines_are_the_same_however_they_come(tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    texts = whole.split(b"\n") if whole else []
    if texts and not texts[-1]:
        texts.pop()
    offsets = [sum(len(text) + 1 for text in texts[:number]) for number in range(len(texts))]
    path = tmp_path_factory.getbasetemp() / "pipe"

    expected = [
        (number + 1, offset, text if len(text) <= 6 else None)
        for number, (offset, text) in enumerate(zip(offsets, texts, strict=True))
    ]
    assert expected == read_pieces(pieces, 6, path)


def test_a_line_that_is_too_long_is_not_kept_in_memory(tmp_path: Path) -> None:
    lines = read_pieces([b"a" * 50] * 3 + [b"\nb\n"], 100, tmp_path / "pipe")

    assert [(1, 0, None), (2, 151, b"b")] == lines


def test_the_size_of_a_file_is_known(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(b"one\n")

    with LineReader(str(file), 100) as reader:
        assert (4, str(file)) == (reader.size, reader.path)


def test_fields_with_dots_are_nested() -> None:
    assert {"a": {"b": "1", "c": "x=y"}, "d": ""} == parse_fields(("a.b=1", "a.c=x=y", "d="))


@pytest.mark.parametrize("wrong", [("a",), ("=1",), ("a..b=1",), ("a.b=1", "a=2"), ("a=1", "a.b.c=2")])
def test_fields_that_make_no_sense_are_refused(wrong: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"is not name=value|both a value and an object"):
        parse_fields(wrong)
