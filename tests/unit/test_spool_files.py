"""The directory and its files: what is made when, with which mode, what it is called, and what if it is removed."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from beats_core.errors import SpoolError
from beats_core.spool import Spool
from support.mounts import remount, tmpfs
from support.spools import ENDLESS, MUCH, adopted, died, events, files, make, read_all, settle_all, the_file


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_an_idle_spool_leaves_nothing(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "spool"
    spool = make(directory)
    spool.append([])
    spool.tend()
    spool.sync()
    spool.adopt()
    assert [] == spool.read(10, 10)
    spool.settle([])
    spool.close()
    spool.close()

    assert 0o700 == mode(directory)
    assert [] == os.listdir(directory)


def test_directories_and_files_are_for_the_owner_only(tmp_path: Path) -> None:
    spool = make(tmp_path / "spool")
    spool.append(events(1))
    (part,) = (tmp_path / "spool").iterdir()

    assert 0o700 == mode(part)
    assert {"00000001.open", "00000001.acks", "lock"} == set(os.listdir(part))
    assert {0o600} == {mode(path) for path in part.iterdir()}


def test_a_full_segment_gets_its_count_into_its_name(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=150)
    for number in range(10):
        spool.append(events(number, number))

    assert ["00000001.6.seg", "00000002.6.seg", "00000003.6.seg", "00000004.open"] == [
        path.name for path in files(tmp_path)
    ]
    assert 4 == spool.segments


def test_segments_are_removed_as_they_are_settled_and_never_the_one_that_is_written(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for number in range(5):
        spool.append(events(number))
    read_all(spool)

    spool.settle([(0, 1), (3, 4)])
    assert ["00000001.1.seg", "00000004.1.seg", "00000005.open"] == [path.name for path in files(tmp_path)]
    spool.settle([])
    assert ["00000005.open"] == [path.name for path in files(tmp_path)]
    assert ["00000005.acks"] == [path.name for path in files(tmp_path, [".acks"])]
    spool.close()
    assert [] == os.listdir(tmp_path)


def test_numbers_of_segments_are_never_used_again(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for number in range(4):
        spool.append(events(number), read=True)
        settle_all(spool)
    assert ["00000004.open"] == [path.name for path in files(tmp_path)]


def test_what_is_appended_after_closing_goes_to_a_new_part(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1), read=True)
    spool.close()
    assert (1, 0, 0) == (spool.events, spool.unread, spool.parts)
    spool.append(events(2))
    assert (2, 1, 1) == (spool.events, spool.unread, spool.parts)
    spool.close()
    assert 2 == spool.events

    assert events(1, 2) == read_all(adopted(tmp_path))


def test_what_is_settled_after_closing_is_not(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1), read=True)
    spool.close()
    spool.settle([])
    assert 1 == len(files(tmp_path))


def test_ordinals_go_on_after_closing(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2), read=True)
    spool.close()
    spool.append(events(3), read=True)
    spool.settle([(2, 3)])
    assert 3 == spool.events
    spool.settle([])
    assert 2 == spool.events


def test_the_directory_may_be_removed_at_any_time(tmp_path: Path) -> None:
    """What was kept there is lost for a next life, but not for this one as long as it is open."""
    directory = tmp_path / "spool"
    spool = make(directory)
    spool.append(events(1, 2))
    assert events(1) == spool.read(1, MUCH)
    shutil.rmtree(directory)

    spool.append(events(3))
    assert 0o700 == mode(directory)
    assert events(2, 3) == read_all(spool)
    spool.settle([(1, 3)])
    assert (2, 0) == (spool.events, spool.lost)
    spool.settle([])
    spool.close()
    assert [] == os.listdir(directory)


def test_the_part_may_be_removed_at_any_time(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    spool.append(events(1))
    spool.append(events(2))
    shutil.rmtree(the_file_in(tmp_path).parent)
    spool.tend()
    spool.append(events(3))
    died(spool)

    assert events(3) == read_all(adopted(tmp_path))


def the_file_in(directory: Path) -> Path:
    return files(directory)[0]


def test_a_part_whose_lock_was_removed_is_left(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    old = the_file(tmp_path)
    old.with_name("lock").unlink()
    spool.tend()
    spool.append([b"x"])
    spool.close()
    assert 2 == len(list(tmp_path.iterdir()))


def test_a_removed_segment_is_found_before_the_next_append(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    the_file(tmp_path).unlink()
    spool.append(events(2))
    assert events(1, 2) == read_all(spool)
    died(spool)
    assert events(2) == read_all(adopted(tmp_path))


def test_a_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(SpoolError, match="cannot make the spool directory"):
            make(path)


def test_a_directory_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        (disk / "spool").mkdir()
        remount(disk, "ro")
        with pytest.raises(SpoolError, match=r"cannot write to .*: check its owner, mode and mount"):
            make(disk / "spool")
        with pytest.raises(SpoolError, match="Read-only file system"):
            make(disk / "other")


def test_a_disk_that_becomes_read_only_is_an_error_and_what_is_on_it_can_be_read(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        spool = make(disk / "spool", segment_bytes=1)
        spool.append(events(1))
        spool.close()
        again = adopted(disk / "spool")
        remount(disk, "ro")
        with pytest.raises(SpoolError, match="Read-only file system"):
            again.append(events(2))
        assert events(1) == read_all(again)
        settle_all(again)
        assert (0, 1) == (again.events, again.segments)
        again.close()
        remount(disk, "rw")


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
def test_network_file_systems_are_refused_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    directory = tmp_path / "with space" / "spool"
    point = str(tmp_path / "with space").replace(" ", "\\040")
    mounts = (
        f"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda rw\n"
        f"23 1 0:5 / {point} rw shared:9 - {kind} host:/x rw\n"
        f"24 1 0:6 / {point}/spoolx rw - ext4 /dev/sdb rw\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda *_: mounts)

    with pytest.raises(SpoolError, match=rf"network file system \({kind}\).*choose a directory on a local disk"):
        make(directory)
    make(tmp_path / "with space" / "spoolx" / "below")
    make(tmp_path / "elsewhere")


def test_descriptors_are_not_handed_on_to_programs(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    spool.settle([])

    mine = [fd for fd in os.listdir("/proc/self/fd") if str(tmp_path) in _target(fd)]
    assert 3 == len(mine)
    assert not any(os.get_inheritable(int(fd)) for fd in mine)


def _target(fd: str) -> str:
    try:
        return str(Path(f"/proc/self/fd/{fd}").readlink())
    except OSError:
        return ""


def test_a_large_spool_needs_few_descriptors(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    before = len(os.listdir("/proc/self/fd"))
    for number in range(300):
        spool.append(events(number))
        if number % 50 == 0:
            spool.sync()
    spool.sync()
    assert len(os.listdir("/proc/self/fd")) < before + 10
    spool.read(150, MUCH)
    spool.settle([(number, number + 1) for number in range(0, 150, 2)])
    assert len(os.listdir("/proc/self/fd")) < before + 100


def test_the_memory_of_ordinals_is_one_of_holes(tmp_path: Path) -> None:
    """A hundred thousand events that are read and settled in order leave one hole and one span."""
    spool: Spool = make(tmp_path)
    spool.append(events(0), read=True)
    for number in range(1, 100):
        spool.append(events(*range(1000)), read=True)
        spool.settle([(0, 1), (number * 1000 - 5, ENDLESS)])
    assert 1 + 5 + 1 <= spool.events <= 1010
    spool.settle([])
    assert 0 == spool.events
