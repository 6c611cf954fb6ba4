"""Where there is no room: the quota, the free space, a full disk; and what is given up to make some."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core.errors import SpoolError, SpoolFull
from beats_core.spool import Important, Spool
from support.faulty_os import FaultyOs, faulty_os
from support.mounts import fill_up, tmpfs
from support.spools import ENDLESS, MUCH, adopted, died, events, files, make, read_all, settle_all

KIB = [b"x" * 1000]


def fill(spool: Spool, payloads: list[bytes] = KIB, most: int = 100_000) -> int:
    """Append until there is no room; return how often it went well."""
    for done in range(most):
        try:
            spool.append(payloads)
        except SpoolFull:
            return done
    raise AssertionError("never full")


def used(directory: Path) -> int:
    return sum(path.stat().st_size for path in files(directory, (".open", ".seg", ".acks")))


@pytest.fixture
def system() -> Iterator[FaultyOs]:
    with faulty_os() as system:
        yield system


@pytest.mark.parametrize("quota", [30_000, 100_000, 1_000_000])
def test_the_quota_holds_for_everything_on_the_disk(tmp_path: Path, quota: int) -> None:
    spool = make(tmp_path, max_bytes=quota)
    kept = fill(spool)

    assert quota * 0.4 < used(tmp_path) <= quota
    assert spool.bytes == used(tmp_path)
    assert kept == spool.events == len(read_all(spool))


def test_what_is_over_the_quota_is_refused_with_a_sentence_and_nothing_is_kept(tmp_path: Path) -> None:
    spool = make(tmp_path, max_bytes=50_000)

    with pytest.raises(SpoolFull, match="spool_max_bytes=50000"):
        spool.append(KIB * 100)

    assert (0, []) == (spool.events, os.listdir(tmp_path))


def test_parts_that_were_adopted_count_towards_the_quota(tmp_path: Path) -> None:
    fill(make(tmp_path, max_bytes=50_000))
    other = make(tmp_path, max_bytes=100_000)
    fill(other)
    other.close()
    died(other)
    last = adopted(tmp_path, max_bytes=60_000)

    with pytest.raises(SpoolFull):
        last.append(KIB)


def test_settling_makes_room(tmp_path: Path) -> None:
    spool = make(tmp_path, max_bytes=50_000)
    for _ in range(5):
        assert fill(spool) >= 1
        read_all(spool)
        settle_all(spool)
    assert spool.events == 0


def test_a_single_segment_that_is_settled_makes_room_too(tmp_path: Path) -> None:
    spool = make(tmp_path, max_bytes=10_000)
    for _ in range(50):
        spool.append([b"x" * 2500], read=True)
        settle_all(spool)
    assert used(tmp_path) <= 10_000


def test_the_free_space_of_the_disk_is_respected(tmp_path: Path) -> None:
    spool = make(tmp_path, min_free_bytes=1 << 60)

    with pytest.raises(SpoolFull, match="spool_min_free_bytes=1152921504606846976"):
        spool.append(KIB)

    assert [] == os.listdir(tmp_path)


def test_on_a_full_disk_appends_are_refused_acks_work_and_room_comes_back(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "16m") as disk:
        spool = make(disk / "spool", segment_bytes=1 << 20)
        kept = fill(spool, KIB * 64)
        assert kept > 150
        for _ in range(3):
            with pytest.raises(SpoolFull):
                spool.append(KIB * 64)
        assert 64 * kept == spool.unread

        found = len(spool.read(64 * 40, MUCH))
        assert 64 * 40 == found
        spool.settle([(100, 200), (2100, ENDLESS)])  # on a full disk
        assert spool.bytes < 16 << 20
        spool.append(KIB * 64)
        died(spool)

        again = adopted(disk / "spool")
        assert 64 * (kept + 1) - 2100 + 100 == len(read_all(again))
        assert (0, 0, 0) == (again.lost, again.damaged, again.torn)
        settle_all(again)
        again.close()
        assert [] == os.listdir(disk / "spool")


def test_a_spool_can_be_made_and_its_leftovers_adopted_on_a_full_disk(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "2m") as disk:
        spool = make(disk / "spool")
        kept = fill(spool)
        spool.close()
        fill_up(disk)

        again = adopted(disk / "spool")
        with pytest.raises(SpoolFull):
            again.append(KIB * 10)
        assert kept == len(read_all(again))
        settle_all(again)
        assert (0, 0) == (again.events, again.parts)
        again.append(KIB)


def test_a_disk_without_inodes_is_full(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "2m", ",nr_inodes=2") as disk:
        spool = make(disk / "spool")
        with pytest.raises(SpoolFull, match="No space left"):
            spool.append(KIB)
        assert [] == os.listdir(disk / "spool")


def test_a_limit_on_file_sizes_is_a_full_disk(tmp_path: Path) -> None:
    """EFBIG: smaller segments go on until even a new one is too large."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    spool = make(tmp_path)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64 << 10, before[1]))
    try:
        for _ in range(10):
            spool.append(KIB * 20)
        with pytest.raises(SpoolFull, match="File too large"):
            spool.append(KIB * 100)
        spool.append(KIB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)

    assert 201 == spool.unread == len(read_all(spool))
    assert 5 == spool.segments
    assert all(path.stat().st_size <= 64 << 10 for path in files(tmp_path))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("at", range(3))
def test_a_write_for_which_there_is_no_room_leaves_nothing(
    tmp_path: Path, system: FaultyOs, code: int, at: int
) -> None:
    """Also when the first of several frames went well."""
    spool = make(tmp_path)
    spool.append(events(1))
    system.arm(at, code, ("write",))
    with pytest.raises(SpoolFull):
        spool.append([b"x" * (1 << 20)] * 3)

    assert events(1) == read_all(spool)
    spool.append(events(2))
    died(spool)
    system.bury()
    assert events(1, 2) == read_all(adopted(tmp_path))


def test_what_could_not_be_cut_off_again_does_not_count(
    tmp_path: Path, system: FaultyOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(tmp_path)
    spool.append(events(1))

    def failing(*_: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(system, "ftruncate", failing, raising=False)
    system.arm(1, errno.ENOSPC, ("write",))
    with pytest.raises(SpoolFull):
        spool.append([b"x" * (1 << 20)] * 2)
    spool.append(events(2))
    assert events(1, 2) == read_all(spool)
    system.bury()

    again = adopted(tmp_path)
    assert events(1, 2) == read_all(again)
    assert 0 == again.lost


@pytest.mark.parametrize("code", [errno.EIO, errno.EROFS])
def test_a_segment_that_cannot_be_written_is_left_for_another(tmp_path: Path, system: FaultyOs, code: int) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    system.arm(0, code, ("write",))

    spool.append(events(2))

    assert events(1, 2) == read_all(spool)
    assert 2 == spool.segments


def test_a_disk_that_fails_everywhere_is_an_error_and_nothing_is_kept(
    tmp_path: Path, system: FaultyOs, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(tmp_path)
    spool.append(events(1))

    def failing(*_: object) -> int:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", failing)
        with pytest.raises(SpoolError, match="Input/output error") as raised:
            spool.append(events(2))
        assert not isinstance(raised.value, SpoolFull)

    assert events(1) == read_all(spool)
    spool.append(events(3))
    assert events(3) == read_all(spool)


def test_acks_that_cannot_be_noted_are_noted_later(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2, 3))
    spool.read(2, MUCH)
    system.arm(0, errno.EIO, ("pwrite",))
    spool.settle([])
    spool.tend()
    died(spool)
    system.bury()

    assert events(3) == read_all(adopted(tmp_path))


def test_files_that_cannot_be_removed_are_removed_later(tmp_path: Path, system: FaultyOs) -> None:
    spool = make(tmp_path, segment_bytes=1)
    spool.append(events(1))
    spool.append(events(2))
    spool.read(1, MUCH)
    system.arm(0, errno.EIO, ("unlink",))
    spool.settle([])
    assert 2 == spool.segments

    spool.tend()
    assert 1 == spool.segments == len(files(tmp_path))
    assert used(tmp_path) == spool.bytes


def test_the_oldest_segment_makes_room(tmp_path: Path) -> None:
    spool = make(tmp_path, max_bytes=100_000)
    kept = fill(spool)

    assert (dropped := spool.drop_oldest()) == (dropped[0], 0)
    assert 0 < dropped[0] < kept / 3
    assert kept - dropped[0] == spool.unread
    assert fill(spool) > 0


def test_what_is_read_and_not_settled_is_never_dropped(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    for number in range(4):
        spool.append(events(number))
    assert events(0) == spool.read(1, MUCH)

    assert [(1, 0), (1, 0), (1, 0), (0, 0)] == [spool.drop_oldest() for _ in range(4)]
    assert (1, []) == (spool.events, read_all(spool))


def test_important_events_are_kept_at_the_end_of_the_line(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=150)
    important = [Important(event) for event in events(3, 7)]
    spool.append([*events(1, 2), important[0], *events(4, 5, 6), important[1], b"x" * 60])
    spool.append([b"next"])

    assert (6, 2) == spool.drop_oldest()
    found = read_all(spool)
    assert [b"next", *important] == found
    assert [bytes, Important, Important] == [type(event) for event in found]


def test_a_segment_of_important_events_only_is_dropped_too(tmp_path: Path) -> None:
    spool = make(tmp_path, segment_bytes=1)
    spool.append([Important(b"x" * 1000)])

    assert (1, 0) == spool.drop_oldest()
    assert 0 == spool.events


def test_dropping_from_nothing_drops_nothing(tmp_path: Path) -> None:
    spool = make(tmp_path)
    assert (0, 0) == spool.drop_oldest()
    spool.append(events(1), read=True)
    assert (0, 0) == spool.drop_oldest()


def test_on_a_full_disk_important_events_are_kept_all_the_same(tmp_path: Path) -> None:
    with tmpfs(tmp_path / "disk", "1m") as disk:
        spool = make(disk / "spool", segment_bytes=200_000)
        kept = fill(spool, [*KIB * 9, Important(b"!" * 1000)])
        fill_up(disk)

        dropped, important = spool.drop_oldest()

        assert dropped == 9 * important > 0
        assert 10 * kept - dropped == spool.unread == len(read_all(spool))


def test_without_descriptors_nothing_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make(tmp_path, segment_bytes=1, fsync="none")
    spool.append(events(1))
    spool.append(events(2))

    def failing(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", failing)
        assert (0, 0) == spool.drop_oldest()

    assert 0 == spool.lost
    assert events(1, 2) == read_all(spool)
