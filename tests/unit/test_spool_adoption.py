"""Parts of dead owners are taken over, each by one; those of the living are left alone."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from support.spools import adopted, died, events, files, make, read_all, settle_all, the_file

PROGRAM = """
import os, sys, time
from pathlib import Path
from support.spools import adopted, events, make, read_all
directory, what = Path(sys.argv[1]), sys.argv[2]
if what == "own":
    spool = make(directory)
    spool.append(events(*range(int(sys.argv[3]), int(sys.argv[4]))))
    print("ready", flush=True)
    time.sleep(60)
if what == "fork":
    spool = make(directory)
    spool.append(events(1))
    if not os.fork():
        if sys.argv[3] == "abandons":
            spool.abandon()
        print("ready", os.getpid(), flush=True)
        time.sleep(60)
    time.sleep(60)
if what == "race":
    print("ready", flush=True)
    sys.stdin.readline()
    spool = make(directory)
    found = []
    for _ in range(30):
        if not spool.adopt():
            time.sleep(0.002)
        found += read_all(spool)
    print(*[event.decode() for event in found], flush=True)
    if sys.argv[3] == "settles":
        spool.settle([])
        spool.close()
    else:
        time.sleep(60)
"""
HERE = Path(__file__).parents[1]


def started(directory: Path, *arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(directory), *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{HERE}:{HERE.parent}"},
    )


def ready(program: subprocess.Popen[str]) -> list[str]:
    assert program.stdout is not None
    line = program.stdout.readline().split()
    assert line[:1] == ["ready"]
    return line[1:]


def end(*programs: subprocess.Popen[str]) -> None:
    for program in programs:
        program.kill()
        program.communicate()


def test_what_a_dead_owner_left_is_read_first_oldest_part_first(tmp_path: Path) -> None:
    for numbers in ((1, 2), (3,), (4, 5)):
        spool = make(tmp_path)
        spool.append(events(*numbers))
        died(spool)
    spool = make(tmp_path)
    spool.append(events(6))
    assert 5 == spool.adopt() == spool.adopted
    assert (6, 6, 4) == (spool.unread, spool.events, spool.parts)

    assert events(1, 2, 3, 4, 5, 6) == read_all(spool)


def test_a_part_found_in_the_middle_of_reading_goes_before_our_own(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(10, 11))
    assert events(10) == spool.read(1, 100)
    other = make(tmp_path)
    other.append(events(1, 2))
    died(other)
    assert 2 == spool.adopt()

    assert events(1, 2, 11) == read_all(spool)
    spool.settle([(1, 2)])
    died(spool)
    assert events(1) == read_all(adopted(tmp_path))


def test_of_an_adopted_part_only_what_was_not_settled_is_read(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(*range(10)))
    spool.read(10, 1000)
    spool.settle([(2, 4), (7, 8)])
    died(spool)
    again = make(tmp_path)

    assert 3 == again.adopt()
    assert events(2, 3, 7) == read_all(again)
    again.settle([(1, 2)])
    died(again)
    assert events(3) == read_all(adopted(tmp_path))


def test_segments_of_another_life_are_never_written_to(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    died(spool)
    text = the_file(tmp_path).read_bytes()

    again = adopted(tmp_path)
    again.append(events(2))

    old, new = files(tmp_path)
    assert text == old.read_bytes()
    assert old.parent != new.parent
    assert events(1, 2) == read_all(again)


def test_the_parts_of_the_living_are_left_alone(tmp_path: Path) -> None:
    owner = started(tmp_path, "own", 0, 5)
    ready(owner)
    mine = make(tmp_path)
    mine.append(events(9))
    try:
        other = make(tmp_path)
        assert (0, 0) == (other.adopt(), other.parts)
        owner.kill()
        owner.wait()
        assert (5, 1) == (other.adopt(), other.parts)
        assert events(0, 1, 2, 3, 4) == read_all(other)
    finally:
        end(owner)


def test_a_spool_adopts_nothing_that_it_left_itself(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    spool.close()

    assert (0, 1) == (spool.adopt(), spool.events)
    assert 1 == make(tmp_path).adopt()


def test_a_few_parts_are_adopted_at_once_oldest_first(tmp_path: Path) -> None:
    for number in range(6):
        spool = make(tmp_path)
        spool.append(events(number))
        died(spool)
    spool = make(tmp_path)

    assert [4, 2, 0] == [spool.adopt() for _ in range(3)]
    assert events(*range(6)) == read_all(spool)


def test_empty_parts_of_the_dead_are_removed(tmp_path: Path) -> None:
    for _ in range(9):
        spool = make(tmp_path)
        spool.append(events(1), read=True)
        died(spool)
        (tmp_path / the_file(tmp_path)).unlink()
    no_lock = tmp_path / "host-1-1700000000000-0123abcd"
    no_lock.mkdir()
    unfinished = tmp_path / ".new-host-1-1700000000000-0123abcd"
    unfinished.mkdir()
    os.utime(unfinished, (0, 0))

    assert 0 == make(tmp_path).adopt()

    assert [] == os.listdir(tmp_path)


def test_a_lock_that_is_held_on_a_removed_file_proves_nothing(tmp_path: Path) -> None:
    """As when another adopter has just removed the part, and somebody made one of the same name."""
    spool = make(tmp_path)
    spool.append(events(1))
    died(spool)
    lock = the_file(tmp_path).with_name("lock")
    with lock.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert 0 == make(tmp_path).adopt()
        lock.unlink()
        lock.touch()
        assert 1 == make(tmp_path).adopt()


@pytest.mark.parametrize("racers", [4])
def test_of_many_adopters_one_gets_each_part(tmp_path: Path, racers: int) -> None:
    for number in range(25):
        spool = make(tmp_path)
        spool.append(events(number))
        if number % 2:
            died(spool)
        else:
            spool.close()
    programs = [started(tmp_path, "race", "settles") for _ in range(racers)]
    for program in programs:
        ready(program)
    found: Counter[str] = Counter()
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("\n")
        program.stdin.flush()
    for program in programs:
        found.update(program.communicate()[0].split())

    assert Counter(event.decode() for event in events(*range(25))) == found
    assert [] == os.listdir(tmp_path)


def test_when_the_adopter_dies_the_next_one_adopts(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2))
    died(spool)
    adopter = started(tmp_path, "race", "dies")
    ready(adopter)
    assert adopter.stdin is not None
    assert adopter.stdout is not None
    adopter.stdin.write("\n")
    adopter.stdin.flush()
    assert ['{"n":1}', '{"n":2}'] == adopter.stdout.readline().split()
    next_one = make(tmp_path)
    assert 0 == next_one.adopt()
    end(adopter)

    assert 2 == next_one.adopt()
    assert events(1, 2) == read_all(next_one)


@pytest.mark.parametrize("child", ["abandons", "does not"])
def test_a_forked_child_does_not_hold_the_part_of_its_dead_parent(tmp_path: Path, child: str) -> None:
    parent = started(tmp_path, "fork", child)
    pid = int(ready(parent)[0])
    spool = make(tmp_path)
    try:
        assert 0 == spool.adopt()
        parent.kill()
        parent.wait()
        assert 1 == spool.adopt()
    finally:
        os.kill(pid, signal.SIGKILL)
        end(parent)
    assert events(1) == read_all(spool)


def test_a_child_that_abandons_has_a_spool_as_new_and_the_parent_his_own(tmp_path: Path) -> None:
    spool = make(tmp_path)
    spool.append(events(1, 2))
    spool.read(1, 100)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            spool.abandon()
            unchanged = before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
            empty = (spool.unread, spool.events, spool.bytes, spool.segments, spool.parts) == (0, 0, 0, 0, 0)
            alone = spool.adopt() == 0
            spool.append(events(3))
            own = read_all(spool) == events(3)
            spool.close()
            os.write(writing, bytes([unchanged, empty, alone, own]))
        finally:
            os._exit(0)
    os.close(writing)
    os.waitpid(child, 0)
    assert bytes([1, 1, 1, 1]) == os.read(reading, 9)
    os.close(reading)

    assert events(2) == read_all(spool)
    assert 1 == spool.adopt()
    assert events(3) == read_all(spool)
    settle_all(spool)
    spool.close()
    assert [] == os.listdir(tmp_path)


def test_abandoning_closes_every_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    other = make(tmp_path)
    other.append(events(1))
    died(other)
    spool = adopted(tmp_path, segment_bytes=1)
    for number in range(2, 9):
        spool.append(events(number))
    spool.read(4, 100)
    spool.settle([(1, 1 << 62)])
    assert len(os.listdir("/proc/self/fd")) > before

    spool.abandon()

    assert before == len(os.listdir("/proc/self/fd"))


def test_a_name_does_not_come_twice_and_parts_stay_in_order_when_the_clock_is_put_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    spools = []
    for number in range(4):
        back: Callable[[], int] = lambda number=number: now - number * 10**12  # type: ignore[misc] # noqa: E731
        monkeypatch.setattr("beats_core.spool.part.time.time_ns", back)
        spools.append(make(tmp_path))
        spools[-1].append(events(number))
    for spool in spools:
        died(spool)

    assert events(0, 1, 2, 3) == read_all(adopted(tmp_path))


def test_segments_in_which_nothing_should_be_are_looked_through_at_once(tmp_path: Path) -> None:
    """Who asks whether there is anything unread before he reads would never come to them."""
    spool = make(tmp_path, segment_bytes=1)
    for number in range(3):
        spool.append(events(number))
    spool.close()
    first, second, _ = files(tmp_path)
    first.rename(first.with_name("00000001.0.seg"))
    second.write_bytes(b"")
    second.rename(second.with_name("00000002.0.seg"))

    again = make(tmp_path)
    assert 2 == again.adopt() == again.unread
    assert 2 == again.segments
    assert events(0, 2) == read_all(again)


def test_what_cannot_be_looked_through_for_want_of_descriptors_is_no_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = make(tmp_path)
    spool.append(events(1))
    spool.close()
    path = the_file(tmp_path)
    path.rename(path.with_name("00000001.0.seg"))
    again = make(tmp_path)
    real = os.open
    opened = []

    def few(file: str, *arguments: int) -> int:
        if file.endswith(".seg"):
            opened.append(file)
            if len(opened) > 1:
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return real(file, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", few)
        assert 0 == again.adopt()

    assert 2 == len(opened)
    assert events(1) == read_all(again)
