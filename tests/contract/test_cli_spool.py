"""`beats spool ls`, `show` and `verify` as a user runs them, on spools that real processes made, use, or left."""

from __future__ import annotations

import json
import os
import subprocess
import zlib
from pathlib import Path
from typing import Any

import pytest

from beats_core import ReceivedWindow, Receiver
from support.command_line import BEATS, CLEAN, LIMIT, beats
from support.shippers import wait_until
from support.spool_owners import (
    add_letters,
    damage,
    left_by_a_killed,
    living,
    make_foreign,
    parts_of,
    segments_of,
    snapshot,
)

HOSTILE = '{"message":"\\u001b[2Jowned\\u202e\\nbelow"}'


@pytest.fixture(params=["spool", "journal"])
def durability(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def reported(*arguments: object, code: int = 0) -> dict[str, Any]:
    """What a command says for programs."""
    ended, output, messages = beats("spool", *arguments, "--json")
    assert code == ended, output + messages
    found: dict[str, Any] = json.loads(output)
    assert code == found["code"]
    return found


def shown(*arguments: object) -> list[Any]:
    """The ids of the events that are shown."""
    code, output, messages = beats("spool", "show", *arguments, "--json")
    assert (0, "") == (code, messages)
    return [json.loads(line)["id"] for line in output.splitlines()]


def test_each_part_has_a_row_with_its_owner_and_what_is_to_be_delivered(tmp_path: Path, durability: str) -> None:
    with living(tmp_path, *range(3), durability=durability) as process:
        left_by_a_killed(tmp_path, *range(7), durability=durability)
        found = reported("ls", tmp_path)
        code, output, _ = beats("spool", "ls", tmp_path)

    assert 0 == code
    header, first, second, total = output.splitlines()
    assert ["OWNER", "SINCE", "STATE", "SEGMENTS", "EVENTS", "BYTES", "OLDEST", "PART"] == header.split()
    assert f" {process.pid} " in first
    assert "in use" in first
    assert "dead" in second
    assert ["2", "in", "all", "2", "10"] == total.split()[:5]
    assert [(True, 1, 3), (False, 1, 7)] == [
        (part["in_use"], part["segments"], part["events"]) for part in found["parts"]
    ]
    assert [path.name for path in parts_of(tmp_path)] == sorted(part["name"] for part in found["parts"])
    assert found["bytes"] == sum(path.stat().st_size for path in tmp_path.rglob("0*"))
    assert all(part["oldest"] >= part["since"][:19] for part in found["parts"])


def test_what_a_living_process_adopted_is_in_use(tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    with living(tmp_path, 2):
        wait_until(lambda: [True, True] == [found["in_use"] for found in reported("ls", tmp_path)["parts"]])

        assert part.name == reported("ls", tmp_path)["parts"][0]["name"]


def test_what_else_is_there_stands_below(tmp_path: Path) -> None:
    add_letters(tmp_path, "{}", "{}")
    (tmp_path / "corrupt").mkdir()
    (tmp_path / "corrupt" / "vm-1-1700000000000-00000000-00000001-12").write_bytes(b"x" * 1500)
    (tmp_path / "mine\x1b.txt").touch()
    (tmp_path / os.fsdecode(b"\xff")).touch()

    code, output, _ = beats("spool", "ls", tmp_path)

    assert 0 == code
    no_events, letters, damaged, unknown = output.splitlines()
    assert no_events.endswith("holds no events")
    assert letters.startswith("2 dead letters, ")
    assert "1 files of damaged bytes, 1.5 kB" == damaged
    assert r"not a spool's: mine\x1b.txt, \udcff" == unknown
    assert ["mine\x1b.txt", r"\udcff"] == reported("ls", tmp_path)["unknown"]


def test_a_directory_without_a_spool_is_told_apart_from_an_empty_one(tmp_path: Path) -> None:
    assert (0, f"{tmp_path} holds no events\n", "") == beats("spool", "ls", tmp_path)
    assert (0, "", "beats: there are no events\n") == beats("spool", "show", tmp_path)
    assert (0, "", "beats: there are no dead letters\n") == beats("spool", "show", tmp_path, "--dead")
    (tmp_path / "notes.txt").touch()
    code, output, _ = beats("spool", "ls", tmp_path)
    assert (1, True) == (code, "is no spool" in output)
    code, _, messages = beats("spool", "ls", tmp_path / "nowhere")
    assert (2, True) == (code, "does not exist" in messages)
    assert 2 == beats("spool", "ls", tmp_path / "notes.txt")[0]


def test_another_format_is_named_and_left_alone(tmp_path: Path) -> None:
    make_foreign(left_by_a_killed(tmp_path, 1))
    before = snapshot(tmp_path)

    _, output, _ = beats("spool", "ls", tmp_path)
    code, verified, _ = beats("spool", "verify", tmp_path)
    _, events, messages = beats("spool", "show", tmp_path)

    assert "dead, format 2" in output
    assert 0 == code
    assert "of format 2, not looked into" in verified
    assert "1 segments of another format" in verified
    assert "" == events
    assert "is of format 2, which this version does not know" in messages
    assert before == snapshot(tmp_path)


def test_events_are_shown_oldest_first_over_all_parts(tmp_path: Path, durability: str) -> None:
    with living(tmp_path, *range(5), durability=durability):
        left_by_a_killed(tmp_path, *range(5, 8), durability=durability)
        second = left_by_a_killed(tmp_path, *range(8, 12), durability=durability)

        assert list(range(12)) == shown(tmp_path)
        assert [0, 1, 2, 3, 4, 5] == shown(tmp_path, "--limit", 6)
        assert [8, 9, 10, 11] == shown(tmp_path, "--part", second.name)
        assert [8, 9, 10, 11] == shown(tmp_path, "--part", second.name[-8:])
        assert (1, "") == beats("spool", "show", tmp_path, "--part", "other")[:2]


def test_what_is_acknowledged_is_not_shown(tmp_path: Path) -> None:
    arrived: list[int] = []

    def consume(window: ReceivedWindow) -> None:
        if len(arrived) >= 40:
            raise RuntimeError("enough")
        arrived.extend(event["id"] for event in window.events)

    with (
        Receiver(consume=consume) as receiver,
        living(tmp_path, *range(100), host=receiver.host, options='{"bulk_max_size": 10, "pipelining": 1}'),
    ):
        wait_until(lambda: len(arrived) >= 40)
        wait_until(lambda: reported("ls", tmp_path)["events"] == 100 - len(arrived))

        assert list(range(len(arrived), 100)) == shown(tmp_path)
        totals = reported("verify", tmp_path)
        assert (100, len(arrived)) == (totals["events"], totals["settled"])


def test_a_shown_event_cannot_control_the_terminal(tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    segment = segments_of(part)[0]
    hostile = HOSTILE.encode()
    frame = (1).to_bytes(4, "big") + len(hostile).to_bytes(4, "big") + hostile  # events, length, payload
    checked = (len(frame) - 4).to_bytes(4, "big") + frame
    with segment.open("ab") as file:
        file.write(b"\xf5\xbe\xa7\xff" + zlib.crc32(checked).to_bytes(4, "big") + checked)
    add_letters(tmp_path, HOSTILE)

    for arguments in (["show", tmp_path], ["show", tmp_path, "--dead"]):
        code, output, _ = beats("spool", *arguments)
        assert 0 == code
        assert r"\x1b[2Jowned\u202e" in output
        assert "│ below" in output
        assert not {"\x1b", "\u202e"} & set(output)


def test_a_dead_letter_is_shown_with_why(tmp_path: Path) -> None:
    add_letters(tmp_path, '{"message":"too much"}', '{"message":"cut of')

    code, output, _ = beats("spool", "show", tmp_path, "--dead", "--limit", 2)
    lines = beats("spool", "show", tmp_path, "--dead", "--json")[1].splitlines()

    assert 0 == code
    head, event, _, cut = output.splitlines()
    assert "2026-01-17T08:00:00.123Z, refused while others were accepted, by ls1:5044, sent 6 times" == head
    assert event.startswith("    ")
    assert "too much" in event
    assert "_jsonparsefailure" in cut
    assert ['{"message":"too much"}', '{"message":"cut of'] == [json.loads(line)["event"] for line in lines]
    assert 2 == beats("spool", "show", tmp_path, "--dead", "--part", "x")[0]


def test_a_reader_may_leave(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(20_000))
    with subprocess.Popen(
        [*BEATS, "spool", "show", str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=CLEAN
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline()
        process.stdout.close()

        assert (0, b"") == (process.wait(LIMIT), process.stderr.read())


def test_a_whole_spool_is_verified_and_nothing_is_changed(tmp_path: Path, durability: str) -> None:
    left_by_a_killed(tmp_path, *range(1000), durability=durability)
    before = snapshot(tmp_path)

    totals = reported("verify", tmp_path)
    code, output, _ = beats("spool", "verify", tmp_path)

    assert 0 == code
    assert output.endswith(f"{tmp_path}: whole\n")
    assert (1, 1000, 0, 0) == tuple(totals[name] for name in ("segments", "events", "settled", "damaged"))
    assert totals["frames"] == 1000 if durability == "journal" else 0 < totals["frames"] < 1000
    assert before == snapshot(tmp_path)


def test_damage_is_found_with_its_place(tmp_path: Path) -> None:
    segment, place = damage(left_by_a_killed(tmp_path, *range(100), durability="journal"))

    found = reported("verify", tmp_path, code=65)
    code, output, _ = beats("spool", "verify", tmp_path)

    (damaged,) = found["places"]
    assert f"{segment.parent.name}/{segment.name}" == damaged["file"]
    assert damaged["offset"] <= place < damaged["offset"] + damaged["bytes"]
    assert (99, 1, 1) == (found["events"], found["damaged"], found["lost"])
    assert 65 == code
    assert f"{damaged['file']}: damaged at offset {damaged['offset']}, {damaged['bytes']} bytes\n" in output
    assert output.endswith(": damaged\n")
    assert 99 == beats("spool", "show", tmp_path)[1].count("order")
    assert "is damaged" in beats("spool", "show", tmp_path)[2]


def test_a_frame_whose_writing_broke_off_is_no_damage(tmp_path: Path) -> None:
    segment = segments_of(left_by_a_killed(tmp_path, *range(100), durability="journal"))[0]
    segment.write_bytes(segment.read_bytes()[:-5])

    found = reported("verify", tmp_path)

    assert (99, 1, 0) == (found["events"], found["torn"], found["damaged"])
    assert "1 torn frames" in beats("spool", "verify", tmp_path)[1]


def test_a_sealed_segment_that_was_cut_off_is_damaged(tmp_path: Path) -> None:
    segment = segments_of(left_by_a_killed(tmp_path, *range(100), durability="journal"))[0]
    sealed = segment.with_name("00000001.100.seg")
    sealed.write_bytes(segment.read_bytes()[:-5])
    segment.unlink()

    found = reported("verify", tmp_path, code=65)

    assert (99, 0, 1, 1) == tuple(found[name] for name in ("events", "torn", "damaged", "lost"))


def test_a_spool_that_is_being_used_is_never_damaged(tmp_path: Path, durability: str) -> None:
    with Receiver(consume=lambda window: None) as receiver:
        options = '{"spool_max_bytes": 200000, "bulk_max_size": 64}'  # small segments, which come and go
        with living(tmp_path, host=receiver.host, durability=durability, options=options, busy=True):
            for _ in range(5):
                assert 0 == reported("verify", tmp_path)["damaged"]
                assert 0 == beats("spool", "show", tmp_path)[0]
                reported("ls", tmp_path)
