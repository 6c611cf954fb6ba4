"""The journal where the disk is full, fails, or is taken away; and what it does for the other rules of a spool."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from beats_core.errors import SpoolError, SpoolFull
from beats_core.spool import Important, Spool
from support.spools import MUCH, adopted, died, files, make, read_all, settle_all


def journal(directory: Path, **options: object) -> Spool:
    return make(directory, journal=True, **options)


def test_a_torn_frame_is_passed_over_and_counted_as_such(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    spool.write(b"a" * 3000)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limit[1]))
    try:
        with pytest.raises(SpoolFull, match=r"only \d+ of 3020 bytes"):
            spool.write(b"b" * 3000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    spool.write(b"c")  # behind it, in the same segment

    assert [b"a" * 3000, b"c"] == read_all(spool)
    assert (1, 0, 0, 0) == (spool.torn, spool.damaged, spool.lost, spool.unread)
    spool.write(b"d")
    died(spool)
    again = adopted(tmp_path)
    assert [b"a" * 3000, b"c", b"d"] == read_all(again)
    assert (1, 0, 0) == (again.torn, again.damaged, again.lost)


def test_a_frame_that_is_half_there_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = journal(tmp_path)
    spool.write(b"a")
    real = os.write

    def slow(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", real)
        for at in range(0, len(data), 5):
            real(fd, data[at : at + 5])
            assert [] == [event for event in spool.read(9, MUCH) if event != b"a"] or at + 5 >= len(data)
        return len(data)

    monkeypatch.setattr(os, "write", slow)
    spool.write(b"b" * 40)

    assert (0, 0) == (spool.torn, spool.damaged)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_refuses_and_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    spool = journal(tmp_path)
    spool.write(b"a")

    def full(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        with pytest.raises(SpoolFull):
            spool.write(b"b")
    spool.write(b"c")
    assert [b"a", b"c"] == read_all(spool)


def test_a_disk_that_fails_is_left_for_another_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = journal(tmp_path)
    spool.write(b"a")

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", failing)
        with pytest.raises(SpoolError, match="Input/output error"):
            spool.write(b"b")
    spool.tend()
    spool.write(b"c")
    assert 2 == spool.segments
    assert [b"a", b"c"] == read_all(spool)


def fill(spool: Spool) -> None:
    for _ in range(80):
        with suppress(SpoolFull):
            spool.write(b"x" * 900)
        spool.tend()
    with pytest.raises(SpoolFull, match="spool_max_bytes=60000"):
        spool.write(b"x" * 900)


def test_the_quota_and_the_free_space_hold(tmp_path: Path) -> None:
    spool = journal(tmp_path, max_bytes=60_000)
    fill(spool)
    assert sum(path.stat().st_size for path in files(tmp_path, [".open", ".seg", ".acks"])) <= 60_000
    with pytest.raises(SpoolFull, match="spool_min_free_bytes"):
        journal(tmp_path, min_free_bytes=1 << 60).write(b"x")

    for _ in range(5):  # what is settled makes room
        found = read_all(spool)
        assert len(found) > 3
        settle_all(spool)
        spool.tend()
        fill(spool)


def test_a_segment_that_nobody_rolls_leaves_room_for_others(tmp_path: Path) -> None:
    spool = journal(tmp_path, max_bytes=60_000)
    for _ in range(80):
        with suppress(SpoolFull):
            spool.write(b"x" * 900)
    assert spool.bytes <= 60_000 // 3
    spool.tend()
    spool.write(b"x" * 900)


def test_the_oldest_segment_makes_room_and_important_events_are_kept(tmp_path: Path) -> None:
    spool = journal(tmp_path, segment_bytes=300)
    for number in range(20):
        spool.write(Important(b"!%d" % number) if number % 10 == 0 else b"%d" % number)
        spool.tend()
    before = spool.unread
    dropped, kept = spool.drop_oldest()
    assert dropped > kept == 2
    found = read_all(spool)
    assert before - dropped == len(found)
    assert [b"!0", b"!10"] == found[-2:]


def test_after_closing_a_new_part_is_written(tmp_path: Path) -> None:
    spool = journal(tmp_path)
    spool.write(b"1")
    spool.close()
    spool.write(b"2")
    assert (2, 1) == (spool.events, spool.unread)
    died(spool)
    assert [b"1", b"2"] == read_all(adopted(tmp_path))


def test_a_removed_directory_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = journal(tmp_path / "spool")
    spool.write(b"1")
    shutil.rmtree(tmp_path / "spool")
    spool.tend()
    spool.write(b"2")
    assert [b"1", b"2"] == read_all(spool)
    died(spool)
    assert [b"2"] == read_all(adopted(tmp_path / "spool"))


def test_each_event_is_synced_before_it_counts_as_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = journal(tmp_path, fsync="each")
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    spool.write(b"1")
    spool.write(b"2")
    assert 2 == len(synced)

    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", failing)
        with pytest.raises(SpoolError, match="cannot sync"):
            spool.write(b"3")
    assert 1 == spool.sync_failures
    spool.tend()
    spool.write(b"4")
    assert [b"1", b"2", b"3", b"4"] == sorted(read_all(spool))
    assert (0, 0) == (spool.lost, spool.damaged)


def test_where_no_further_segment_can_be_made_the_old_one_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = journal(tmp_path, segment_bytes=1)
    spool.write(b"1")

    def failing(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        spool.tend()
        spool.write(b"2")
        spool.tend()
    assert 1 == spool.segments
    assert [b"1", b"2"] == read_all(spool)
