"""Dead letters on disk: many write, some take them away and put them back; none is lost, none is made up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from beats_core.backlog import DeadLetter
from beats_core.letters import FILE, MOST_BYTES, OLDER, Letters, letter_of
from support.shippers import in_parallel

WRITER = """
import sys
from beats_core.backlog import DeadLetter
from beats_core.letters import Letters
letters = Letters(sys.argv[1])
for number in range(1500):
    letters.add(DeadLetter(f"{sys.argv[2]}-{number}".encode(), "why", "ls1:5044", 6))
assert not letters.failures
"""


def events(directory: Path) -> list[str]:
    return [letter.event for letter in Letters(str(directory)).read()]


def write(directory: Path, *names: str) -> None:
    for name in names:
        Letters(str(directory)).add(DeadLetter(name.encode(), "why", "ls1:5044", 6))


def test_what_is_kept_comes_after_what_was_written_meanwhile(tmp_path: Path) -> None:
    write(tmp_path, "one", "two")
    with Letters(str(tmp_path)).take() as taken:
        write(tmp_path, "three")
        assert ["one", "two", "three"] == events(tmp_path)  # all of them, at any time
        taken.keep(taken.lines[1:])

    assert ["three", "two"] == events(tmp_path)
    assert [tmp_path / FILE] == list(tmp_path.iterdir())


def test_what_was_taken_and_not_decided_upon_is_there_for_the_next(tmp_path: Path) -> None:
    write(tmp_path, "one")
    with Letters(str(tmp_path)).take(), Letters(str(tmp_path)).take() as other:
        assert [] == other.lines  # it is in somebody's hands
        other.keep([])
    with Letters(str(tmp_path)).take() as taken:
        assert 1 == len(taken.lines)
        taken.keep([])

    assert [] == list(tmp_path.iterdir())


def test_a_line_without_an_end_gets_one_when_it_is_put_back(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b'{"time":"cut of')
    with Letters(str(tmp_path)).take() as taken:
        taken.keep(taken.lines)
    write(tmp_path, "one")

    assert ["one"] == events(tmp_path)


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b"\xff\n", b'{"time":1}', b'{"time":"\xff"}'])
def test_what_is_no_letter_is_passed_over(line: bytes, tmp_path: Path) -> None:
    assert letter_of(line) is None
    (tmp_path / FILE).write_bytes(line + b"\n")
    assert [] == events(tmp_path)


def test_a_full_file_is_put_aside_once(tmp_path: Path) -> None:
    write(tmp_path, "old")
    os.truncate(tmp_path / FILE, MOST_BYTES + 1)
    write(tmp_path, "one", "two")

    assert {FILE, OLDER} == {path.name for path in tmp_path.iterdir()}
    assert ["one", "two"] == [
        letter.event for line in (tmp_path / FILE).read_bytes().splitlines() if (letter := letter_of(line))
    ]


def test_several_who_find_a_full_file_do_not_put_the_new_one_in_its_place(tmp_path: Path) -> None:
    for _ in range(5):
        (tmp_path / FILE).touch()
        os.truncate(tmp_path / FILE, MOST_BYTES + 1)
        in_parallel(8, lambda number: write(tmp_path, f"{number}"))

        assert MOST_BYTES < (tmp_path / OLDER).stat().st_size
        assert 8 == (tmp_path / FILE).read_bytes().count(b"\n") + (tmp_path / OLDER).read_bytes().count(b"\n")
        (tmp_path / FILE).unlink()


def test_no_letter_is_lost_or_repeated_while_some_write_and_some_take(tmp_path: Path) -> None:
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path), name]) for name in "abc"]
    seen: list[bytes] = []
    while any(writer.poll() is None for writer in writers):
        with Letters(str(tmp_path)).take() as taken:
            half = len(taken.lines) // 2
            seen += taken.lines[:half]
            taken.keep(taken.lines[half:])
    assert [0, 0, 0] == [writer.returncode for writer in writers]

    with Letters(str(tmp_path)).take() as taken:
        seen += taken.lines
    found = Counter(letter.event for letter in map(letter_of, seen) if letter)
    assert Counter(f"{name}-{number}" for name in "abc" for number in range(1500)) == found
