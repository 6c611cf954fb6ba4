"""What damage costs: the frames that are damaged, and nothing else; it is counted, and never looped on."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from beats_core.spool import Spool
from beats_core.spool.records import MAGIC, encode_event, encode_header
from support.spools import adopted, died, events, files, make, read_all, settle_all, the_file

FRAMES = 40
PER_FRAME = 16
ALL = events(*range(FRAMES * PER_FRAME))
PAGE = 4096


@pytest.fixture(params=["sealed", "not sealed"])
def file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A segment of 40 frames of 16 events of 900 bytes, whose owner is dead."""
    spool = make(tmp_path)
    for frame in range(FRAMES):
        spool.append([event.ljust(900) for event in ALL[frame * PER_FRAME : (frame + 1) * PER_FRAME]])
    if request.param == "sealed":
        spool.close()
    else:
        died(spool)
    return the_file(tmp_path)


def change(path: Path, at: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(data)


def recovered(path: Path) -> tuple[Spool, list[bytes]]:
    spool = adopted(path.parent.parent)
    found = [event.rstrip() for event in read_all(spool)]
    assert found == sorted(found, key=ALL.index), "out of line"
    assert len(found) == len(set(found))
    return spool, found


def ends_clean(spool: Spool) -> bool:
    """Tell whether what was damaged is gone when the rest is settled, and leaves no count behind."""
    settle_all(spool)
    left = (spool.unread, spool.events, spool.bytes, spool.segments, spool.parts)
    spool.close()
    return left == (0, 0, 0, 0, 0) and set(os.listdir(spool.directory)) <= {"corrupt"}


@pytest.mark.parametrize("seed", range(8))
def test_sixteen_random_bytes_cost_the_frame_they_are_in(file: Path, seed: int) -> None:
    chance = random.Random(seed)
    change(file, chance.randrange(20, file.stat().st_size - 16), chance.randbytes(16))

    spool, found = recovered(file)

    assert len(ALL) - 2 * PER_FRAME <= len(found) <= len(ALL) - PER_FRAME
    assert len(ALL) - len(found) == spool.lost or "open" in file.name
    assert 1 <= spool.damaged + spool.torn <= 2
    assert ends_clean(spool)


@pytest.mark.parametrize("page", [1, 5, 100])
def test_a_zeroed_page_costs_at_most_two_frames(file: Path, page: int) -> None:
    change(file, page * PAGE, bytes(PAGE))

    spool, found = recovered(file)

    assert len(found) >= len(ALL) - 2 * PER_FRAME
    assert spool.damaged == 1
    assert ends_clean(spool)


def test_a_zeroed_first_page_costs_the_first_frame(file: Path) -> None:
    change(file, 0, bytes(PAGE))

    spool, found = recovered(file)

    assert ALL[PER_FRAME:] == found
    assert 1 == spool.damaged
    assert ends_clean(spool)


def test_a_damaged_header_costs_nothing(file: Path) -> None:
    change(file, 3, b"\0\0\0")

    spool, found = recovered(file)

    assert (ALL, 1, 0) == (found, spool.damaged, spool.lost)
    assert ends_clean(spool)


@pytest.mark.parametrize("left", [0, 5, 12, 20, 14_600, 300_000])
def test_of_a_truncated_file_what_is_before_the_cut_is_there(file: Path, left: int) -> None:
    os.truncate(file, left)

    spool, found = recovered(file)

    assert ALL[: len(found)] == found
    assert len(found) // PER_FRAME == left // (16 + 904 * PER_FRAME)
    assert len(ALL) - len(found) == spool.lost or "open" in file.name
    assert ends_clean(spool)


def test_a_length_that_is_damaged_to_gigabytes_costs_its_frame(file: Path) -> None:
    change(file, 12 + 8, b"\x7f")

    spool, found = recovered(file)

    assert ALL[PER_FRAME:] == found
    assert ends_clean(spool)


def test_a_magic_in_the_middle_of_nowhere_costs_nothing_more(file: Path) -> None:
    change(file, 5000, MAGIC + b"\0\0\0\0\0\0\x10\0\0\0\0\1")

    spool, found = recovered(file)

    assert ALL[PER_FRAME:] == found
    assert 1 == spool.damaged
    assert ends_clean(spool)


def test_a_copy_of_what_is_damaged_is_set_aside(file: Path) -> None:
    at = 12
    change(file, at + 500, b"\0\0\0")
    damaged = file.read_bytes()[at : at + 16 + 904 * PER_FRAME]

    spool, _ = recovered(file)

    (copy,) = (Path(spool.directory) / "corrupt").iterdir()
    assert damaged == copy.read_bytes()
    assert 0o600 == copy.stat().st_mode & 0o777


def test_sixteen_mebibytes_of_copies_are_kept_and_no_more(file: Path) -> None:
    corrupt = file.parent.parent / "corrupt"
    corrupt.mkdir()
    (corrupt / "before").write_bytes(bytes((16 << 20) - 100))
    change(file, 500, b"\0\0\0")

    spool, _ = recovered(file)

    assert 16 << 20 == sum(path.stat().st_size for path in corrupt.iterdir())
    assert 1 == spool.damaged


GARBAGE: dict[str, Callable[[bytes], bytes | None]] = {
    "removed": lambda acks: None,
    "empty": lambda acks: b"",
    "zeros": lambda acks: bytes(len(acks)),
    "random": lambda acks: random.Random(1).randbytes(len(acks) + 7),
    "half a record": lambda acks: acks[:24],
    "a record damaged": lambda acks: b"\xff" + acks[1:],
    "twice": lambda acks: acks[:80] + acks[:80],
}


@pytest.mark.parametrize("garbage", GARBAGE)
def test_acks_that_are_lost_or_garbage_cost_duplicates_and_never_an_event(garbage: str, tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(ALL)
    spool.read(100, 1 << 30)
    spool.settle([(20, 50), (60, 70), (90, 100)])
    spool.settle([(25, 50), (90, 100)])
    spool.close()
    acks = the_file(tmp_path).with_name("00000001.acks")
    changed = GARBAGE[garbage](acks.read_bytes())
    acks.unlink()
    if changed is not None:
        acks.write_bytes(changed)

    again = adopted(tmp_path)
    found = read_all(again)

    unsettled = [*ALL[25:50], *ALL[90:]]
    assert [event for event in found if event in unsettled] == unsettled
    assert found == (unsettled if garbage == "twice" else found)
    assert (0, 0) == (again.lost, again.damaged)
    assert ends_clean(again)


def test_damage_between_two_lives_makes_no_ack_settle_another_event(tmp_path: Path) -> None:
    """Acks speak of positions: what is missing before them does not shift what they mean."""
    spool = make(tmp_path)
    for event in ALL[:10]:
        spool.append([event])
    spool.read(5, 1 << 30)
    spool.settle([])
    died(spool)
    change(the_file(tmp_path), 14, b"\0\0")  # of the first event, which is settled

    again = adopted(tmp_path)

    assert ALL[5:10] == read_all(again)
    assert 0 == again.lost


def test_events_that_were_settled_and_are_damaged_now_are_not_lost(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(ALL[:5])
    spool.append(ALL[5:9])
    spool.read(5, 1 << 30)
    spool.settle([])
    spool.close()
    change(the_file(tmp_path), 30, b"\0\0")

    again = adopted(tmp_path)

    assert ALL[5:9] == read_all(again)
    assert (1, 0) == (again.damaged, again.lost)
    assert ends_clean(again)


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(ALL)
    spool.close()
    part = the_file(tmp_path).parent
    strange = [part / "README", part / "1.seg", part / "00000002.seg", tmp_path / "notes.txt", tmp_path / "a-1-2-3"]
    for path in strange[:-1]:
        path.write_bytes(b"mine")
    strange[-1].mkdir()

    again = adopted(tmp_path)
    assert ALL == read_all(again)
    settle_all(again)
    again.close()

    assert all(path.exists() for path in strange)
    assert 0 == make(tmp_path).adopt()


def test_a_segment_of_a_newer_version_is_left_alone_and_counted_once(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(ALL[:3])
    spool.close()
    ours = the_file(tmp_path)
    newer = ours.with_name("00000002.7.seg")
    head = b"BEATSPL\x02"
    newer.write_bytes(head + crc32(head).to_bytes(4, "big") + b"whatever that means")

    again = adopted(tmp_path)
    assert ALL[:3] == read_all(again)
    settle_all(again)
    assert (1, 0, 0) == (again.foreign, again.damaged, again.lost)
    again.close()
    assert [newer] == files(tmp_path)

    third = adopted(tmp_path)
    third.adopt()
    assert (1, 0, 0) == (third.foreign, third.parts, third.events)
    assert [newer] == files(tmp_path)


def test_an_event_that_is_sound_on_the_disk_and_no_json_comes_out_as_it_is(tmp_path: Path) -> None:
    part = tmp_path / "host-1-1700000000000-0123abcd"
    part.mkdir()
    (part / "00000001.open").write_bytes(encode_header() + encode_event(b"\xff\0") + encode_event(b""))

    spool = adopted(tmp_path)

    assert [b"\xff\0", b""] == read_all(spool)
    assert ends_clean(spool)


def test_a_segment_that_vanished_counts_as_lost(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(ALL)
    spool.close()
    again = adopted(tmp_path)
    the_file(tmp_path).unlink()

    assert [] == read_all(again)
    assert (len(ALL), 0) == (again.lost, again.unread)
    assert ends_clean(again)


@pytest.mark.parametrize("error", [5, 116])
def test_a_segment_that_cannot_be_read_counts_as_lost_and_is_kept_for_a_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    spool = make(tmp_path)
    spool.append(ALL[:9])
    spool.append(ALL[9:12])
    spool.close()
    text = the_file(tmp_path).read_bytes()
    again = adopted(tmp_path)

    def failing(*_: object) -> bytes:
        raise OSError(error, os.strerror(error))

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", failing)
        assert [] == read_all(again)

    assert (12, 1, 0) == (again.lost, again.damaged, again.unread)
    assert [text] == [path.read_bytes() for path in (tmp_path / "corrupt").iterdir()]
    assert ends_clean(again)


def test_without_descriptors_nothing_is_lost_and_reading_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(tmp_path)
    spool.append(ALL)
    spool.close()
    again = adopted(tmp_path)

    def failing(*_: object) -> int:
        raise OSError(24, os.strerror(24))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        assert [] == read_all(again)
        assert 0 == again.adopt()

    assert (len(ALL), 0) == (again.unread, again.lost)
    assert ALL == read_all(again)
