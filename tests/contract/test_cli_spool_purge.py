"""`beats spool purge` as a user runs it: what it deletes, what it never touches, and that it asks."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from support.command_line import BEATS, CLEAN, LIMIT, beats
from support.shippers import wait_until
from support.spool_owners import add_letters, left_by_a_killed, living, make_foreign, parts_of, segments_of, snapshot

LONG_AGO = time.time() - 30 * 86400


def test_a_part_of_a_dead_process_is_deleted_and_told(tmp_path: Path) -> None:
    first = left_by_a_killed(tmp_path, *range(3))
    away = first.rename(tmp_path.parent / "away")  # or the next process adopts it
    second = left_by_a_killed(tmp_path, *range(4))
    away.rename(first)

    code, output, _ = beats("spool", "purge", tmp_path, "--part", first.name[-8:], "--yes")

    assert 0 == code
    assert output.startswith(f"deleted {first.name}: 3 events that nobody acknowledged, ")
    assert [second] == list(tmp_path.iterdir())


def test_a_living_process_keeps_its_part(tmp_path: Path) -> None:
    with living(tmp_path, 1):
        (part,) = parts_of(tmp_path)
        before = snapshot(tmp_path)
        named = beats("spool", "purge", tmp_path, "--part", part.name, "--yes")
        everything = beats("spool", "purge", tmp_path, "--all", "--yes")

        assert before == snapshot(tmp_path)
    told = f"beats: {part.name} is left alone: a living process uses it\n"
    assert (1, "nothing to delete\n", told) == named
    assert (0, "nothing to delete\n", told) == everything


def test_without_a_terminal_and_without_yes_nothing_is_deleted(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, 1)
    before = snapshot(tmp_path)

    code, _, messages = beats("spool", "purge", tmp_path, "--all")

    assert 2 == code
    assert "there is no terminal to ask on: say --yes" in messages
    assert before == snapshot(tmp_path)


@pytest.mark.parametrize(("answer", "left"), [(b"n\n", 1), (b"y\n", 0)])
def test_on_a_terminal_it_says_what_would_go_and_asks(tmp_path: Path, answer: bytes, left: int) -> None:
    part = left_by_a_killed(tmp_path, 1)
    master, slave = os.openpty()
    with subprocess.Popen(
        [*BEATS, "spool", "purge", str(tmp_path), "--all"], stdin=slave, stdout=slave, stderr=slave, env=CLEAN
    ) as process:
        os.close(slave)
        shown = b""
        while b"Delete it?" not in shown:
            shown += os.read(master, 4096)
        assert 1 == len(parts_of(tmp_path))
        os.write(master, answer)
        assert 0 == process.wait(LIMIT)
    os.close(master)

    assert part.name.encode() in shown
    assert left == len(parts_of(tmp_path))


def test_what_is_to_be_deleted_must_be_said(tmp_path: Path) -> None:
    assert 2 == beats("spool", "purge", tmp_path, "--yes")[0]
    code, _, messages = beats("spool", "purge", tmp_path, "--all", "--older-than", "soon", "--yes")
    assert (2, True) == (code, "is no age" in messages)
    code, _, messages = beats("spool", "purge", tmp_path, "--part", "x", "--yes")
    assert (1, "beats: there is no part x\n") == (code, messages)


def test_only_what_is_older_goes(tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    add_letters(tmp_path, "{}", time="2020-01-17T08:00:00.123Z")
    add_letters(tmp_path, '{"new":1}', time="2999-01-17T08:00:00.123Z")
    corrupt = tmp_path / "corrupt"
    corrupt.mkdir()
    for number, modified in ((1, LONG_AGO), (2, time.time())):
        path = corrupt / f"vm-{number}-1700000000000-00000000-00000001-12"
        path.write_bytes(b"x" * 10)
        os.utime(path, (modified, modified))

    assert 0 == beats("spool", "purge", tmp_path, "--all", "--older-than", "7d", "--yes")[0]

    assert [part] == parts_of(tmp_path)
    assert 1 == (tmp_path / "dead-letters.ndjson").read_bytes().count(b"\n")
    assert b"2999" in (tmp_path / "dead-letters.ndjson").read_bytes()
    assert 1 == len(list(corrupt.iterdir()))
    os.utime(segments_of(part)[0], (LONG_AGO, LONG_AGO))
    code, output, _ = beats("spool", "purge", tmp_path, "--all", "--older-than", "7d", "--yes")
    assert (0, True, []) == (code, output.startswith(f"deleted {part.name}"), parts_of(tmp_path))


def test_dead_letters_and_damaged_bytes_go_alone(tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    add_letters(tmp_path, "{}", "{}")
    corrupt = tmp_path / "corrupt"
    corrupt.mkdir()
    (corrupt / f"{part.name}-00000001-12").write_bytes(b"x" * 10)
    (corrupt / "mine.txt").touch()

    assert (0, "deleted 2 dead letters\n", "") == beats("spool", "purge", tmp_path, "--dead", "--yes")
    assert (0, "deleted 1 files of damaged bytes, 10 B\n", "") == beats(
        "spool", "purge", tmp_path, "--corrupt", "--yes"
    )
    assert {part, corrupt} == set(tmp_path.iterdir())
    assert [corrupt / "mine.txt"] == list(corrupt.iterdir())


def test_another_format_goes_only_by_its_name(tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    make_foreign(part)

    code, output, messages = beats("spool", "purge", tmp_path, "--all", "--yes")
    assert (0, "nothing to delete\n", True) == (code, output, "another format" in messages)
    assert 0 == beats("spool", "purge", tmp_path, "--part", part.name, "--yes")[0]
    assert [] == parts_of(tmp_path)


def test_files_of_others_stay(tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    (part / "notes.txt").touch()

    code, _, messages = beats("spool", "purge", tmp_path, "--all", "--yes")

    assert (0, True) == (code, "holds files that are none of a spool's, and stays" in messages)
    assert {"notes.txt", "lock"} >= {path.name for path in part.iterdir()}
    assert (part / "notes.txt").exists()


def test_what_is_adopted_meanwhile_stays(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, 1)
    master, slave = os.openpty()
    with subprocess.Popen(
        [*BEATS, "spool", "purge", str(tmp_path), "--all"], stdin=slave, stdout=slave, stderr=slave, env=CLEAN
    ) as process:
        os.close(slave)
        shown = b""
        while b"Delete it?" not in shown:
            shown += os.read(master, 4096)
        with living(tmp_path, 2):
            wait_until(lambda: beats("spool", "ls", tmp_path)[1].count("in use") == 2)
            os.write(master, b"y\n")

            assert 1 == process.wait(LIMIT)
            assert 2 == len(parts_of(tmp_path))
    os.close(master)
