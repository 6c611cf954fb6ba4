"""What reaches the disk when; and what is done when the system says that it did not."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core.errors import SpoolError
from support.faulty_os import FaultyOs, faulty_os
from support.spools import MUCH, adopted, died, events, files, make, read_all, settle_all


@pytest.fixture
def system() -> Iterator[FaultyOs]:
    with faulty_os() as system:
        yield system


def test_only_what_is_not_synced_yet_is_synced(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path)
    spool.sync()
    assert 0 == system.calls["fdatasync"]
    spool.append(events(1))
    assert 0 == system.calls["fdatasync"]
    spool.sync()
    assert (1, 2) == (system.calls["fdatasync"], system.calls["fsync"])  # the part and the spool's directory
    spool.sync()
    assert (1, 2) == (system.calls["fdatasync"], system.calls["fsync"])
    spool.append(events(2))
    spool.sync()
    assert (2, 2) == (system.calls["fdatasync"], system.calls["fsync"])


def test_full_segments_are_synced_too(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for number in range(4):
        spool.append(events(number))
    spool.sync()
    assert 4 == system.calls["fdatasync"]


@pytest.mark.parametrize("fsync", ["none", "second"])
def test_a_caller_may_ask_for_it_whatever_the_option_says(tmp_path: Path, system: FaultyOs, fsync: str) -> None:
    spool = make(tmp_path, fsync=fsync, segment_bytes=1)
    for number in range(3):
        spool.append(events(number))
    spool.sync()
    assert 3 == system.calls["fdatasync"]


def test_each_append_is_synced_with_its_directories(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path, fsync="each")
    spool.append(events(1))
    assert (1, 2) == (system.calls["fdatasync"], system.calls["fsync"])
    spool.append(events(2))
    assert (2, 2) == (system.calls["fdatasync"], system.calls["fsync"])
    spool.sync()
    assert 2 == system.calls["fdatasync"]


def test_closing_syncs_unless_told_not_to(tmp_path: Path, system: FaultyOs) -> None:
    for fsync, calls in (("none", 0), ("second", 1)):
        spool = make(tmp_path / fsync, fsync=fsync)
        spool.append(events(1))
        spool.close()
        assert calls == system.calls["fdatasync"]


def test_after_a_failed_sync_what_is_unread_is_written_once_more_elsewhere(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2, 3))
    spool.sync()
    spool.append(events(4, 5))
    assert events(1, 2) == spool.read(2, MUCH)
    system.arm(0, errno.EIO, ("fdatasync",))

    spool.sync()

    assert (1, 3, 5) == (spool.sync_failures, spool.unread, spool.events)
    old, new = files(tmp_path)
    assert b'{"n":5}' in new.read_bytes()
    assert events(3, 4, 5) == read_all(spool)
    spool.settle([(1, 5)])
    died(spool)
    system.bury()
    assert events(2, 3, 4, 5) == read_all(adopted(tmp_path))
    assert old.exists()


def test_a_descriptor_that_failed_is_not_trusted_again(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    failed: list[str] = []

    def failing(fd: int) -> None:
        failed.append(str(Path(f"/proc/self/fd/{fd}").readlink()))
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    system.fdatasync = failing  # type: ignore[attr-defined]
    for _ in range(3):
        spool.sync()
    assert len(failed) == len(set(failed)) == 3
    del system.fdatasync
    spool.sync()
    assert events(1) == read_all(spool)
    assert (3, 0, 0) == (spool.sync_failures, spool.lost, spool.damaged)
    settle_all(spool)
    spool.close()
    assert [] == os.listdir(tmp_path)


def test_what_cannot_be_written_elsewhere_stays_and_can_be_read(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2))

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    system.fdatasync = system.write = failing  # type: ignore[attr-defined]
    spool.sync()
    assert events(1, 2) == read_all(spool)
    settle_all(spool)
    spool.close()


@pytest.mark.parametrize("at", [0, 1])
def test_an_append_that_could_not_be_synced_is_tried_elsewhere_and_else_not_kept(
    tmp_path: Path, system: FaultyOs, at: int
) -> None:
    spool = make(tmp_path, fsync="each")
    if at:
        spool.append(events(0))

    def failing(_: int) -> None:
        if system.calls["write"] < 100:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    system.fdatasync = failing  # type: ignore[attr-defined]
    with pytest.raises(SpoolError, match="Input/output error"):
        spool.append(events(1))
    del system.fdatasync
    spool.append(events(2))

    expected = events(0, 2) if at else events(2)
    assert expected == read_all(spool)
    died(spool)
    system.bury()
    assert expected == read_all(adopted(tmp_path))


def test_a_directory_that_cannot_be_synced_is_counted(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    system.arm(0, errno.EIO, ("fsync",))
    spool.sync()
    assert 1 == spool.sync_failures
    spool.append(events(2))
    spool.sync()
    assert 2 == system.calls["fdatasync"]
