"""The spool against lists: wherever the process dies, nothing is lost, invented or out of line."""

from __future__ import annotations

import errno
import shutil
import tempfile
from contextlib import ExitStack, suppress
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from beats_core.errors import SpoolError
from beats_core.spool import Important, Spool
from support.faulty_os import Death, faulty_os

ERRORS = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EMFILE)
# A directory that cannot be synced is a count and nothing else; a read that fails is told of elsewhere.
FAILING = ("write", "pwrite", "unlink", "rename", "mkdir", "rmdir", "ftruncate", "posix_fallocate", "fdatasync")


def runs(ordinals: list[int]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for ordinal in ordinals:
        if found and found[-1][1] == ordinal:
            found[-1] = (found[-1][0], ordinal + 1)
        else:
            found.append((ordinal, ordinal + 1))
    return found


class Lives(RuleBasedStateMachine):
    """One directory, and one process after the other."""

    @initialize(
        segment_bytes=st.sampled_from([1, 60, 150, 1000]),
        fsync=st.sampled_from(["none", "second", "each"]),
        dropping=st.booleans(),
        failing=st.booleans(),
    )
    def begin(self, segment_bytes: int, fsync: str, *, dropping: bool, failing: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="spool-"))
        self.stack = ExitStack()
        self.system = self.stack.enter_context(faulty_os())
        self.options = {"segment_bytes": segment_bytes, "fsync": fsync}
        self.count = 0
        self.waiting: list[bytes] = []  # accepted, not read in this life, in order of reading
        self.maybe: set[bytes] = set()  # somebody died, or failed, keeping or settling them
        self.handed: list[bytes | None] = []  # by ordinal; None was passed by, or is settled
        self.settled: set[bytes] = set()
        self.droppable = 0  # events that may be missing
        self.dropping = dropping  # important events may be kept, and change their place
        self.failing = failing  # acks may not be noted; what is not sure to be on the disk changes its place
        self.in_line = not dropping and not failing
        self.start()

    def start(self) -> None:
        self.spool = Spool(self.folder / "spool", max_bytes=1 << 30, min_free_bytes=0, **self.options)  # type: ignore[arg-type] # mypy takes a dict's values for one type

    def outstanding(self) -> list[int]:
        return [ordinal for ordinal, event in enumerate(self.handed) if event is not None]

    def die(self) -> None:
        """Forget what a process knows, and find in the next life what it left."""
        self.system.bury()
        left = [event for event in self.handed if event is not None]
        self.waiting = sorted([*left, *self.waiting])
        self.handed = []
        self.start()
        while self.spool.adopt():
            pass
        assert 0 == self.spool.damaged
        found = [event for event in self.read_all() if event]
        certain = set(self.waiting) - self.maybe
        missing = certain - set(found)
        assert len(missing) <= self.droppable, f"lost: {missing}"
        if self.in_line:
            assert len(found) == len(set(found)), "twice"
            assert found == sorted(found)
        invented = set(found) - set(self.waiting) - self.maybe - (self.settled if self.failing else set())
        assert not invented, f"invented: {invented}"
        self.handed = list(found)
        self.waiting = []
        self.maybe = set()
        self.droppable = 0

    def read_all(self) -> list[bytes]:
        found: list[bytes] = []
        while more := self.spool.read(7, 100):
            found += more
        return found

    def events(self, important: list[bool]) -> list[bytes]:
        made = []
        for flag in important:
            text = b"%06d" % self.count + b"." * (self.count % 40)
            made.append(Important(text) if flag else text)
            self.count += 1
        return made

    @rule(important=st.lists(st.booleans(), max_size=6), read=st.booleans())
    def append(self, important: list[bool], read: bool) -> None:  # noqa: FBT001 - a strategy gives it
        events = self.events(important)
        try:
            at_once = self.spool.append(events, read=read)
        except SpoolError:
            return
        except Death:
            self.maybe.update(events)
            self.die()
            return
        if at_once:
            self.handed += events
        else:
            self.waiting += events

    @rule(most_events=st.integers(1, 9), most_bytes=st.integers(1, 200))
    def read(self, most_events: int, most_bytes: int) -> None:
        try:
            taken = self.spool.read(most_events, most_bytes)
        except Death:
            self.die()
            return
        assert len(taken) <= most_events
        assert len(taken) <= 1 or sum(map(len, taken)) <= most_bytes
        assert bool(taken) == bool(self.waiting) or self.droppable or self.system.struck == "open"
        self.check_line(taken)

    def check_line(self, taken: list[bytes]) -> None:
        if self.in_line:
            assert taken == self.waiting[: len(taken)]
            assert all(type(one) is type(other) for one, other in zip(taken, self.waiting, strict=False))
        for event in taken:
            self.waiting.remove(event)
        self.handed += taken

    @rule(count=st.integers(0, 3))
    def pass_by(self, count: int) -> None:
        self.spool.pass_by(count)
        self.handed += [None] * count

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        ordinals = self.outstanding()
        kept = sorted(data.draw(st.sets(st.sampled_from(ordinals)))) if ordinals else []
        settled = set(ordinals) - set(kept)
        events = [self.handed[ordinal] for ordinal in settled]
        for ordinal in settled:
            self.handed[ordinal] = None
        self.settled.update(event for event in events if event is not None)
        try:
            self.spool.settle([*runs(kept), (len(self.handed), 1 << 62)])
        except Death:
            lost = {event for event in events if event is not None}
            self.maybe.update(lost)
            self.die()

    @precondition(lambda self: self.dropping)
    @rule()
    def drop_oldest(self) -> None:
        before = self.spool.unread
        ordinary = sum(type(event) is bytes for event in self.waiting)
        try:
            dropped, kept = self.spool.drop_oldest()
        except Death:
            self.droppable += before
            self.die()
            return
        self.system.arm(None)
        assert self.spool.unread == before - dropped
        assert not kept or dropped <= ordinary
        if dropped or kept:
            # Which they were shows when the rest is read.
            taken = self.spool.read(1 << 20, 1 << 30)
            while more := self.spool.read(1 << 20, 1 << 30):
                taken += more
            gone = set(self.waiting) - set(taken)
            assert dropped == len(gone)
            assert not kept or not any(type(event) is Important for event in gone)
            self.waiting = [event for event in self.waiting if event not in gone]
            self.check_line(taken)

    @rule(name=st.sampled_from(["sync", "tend", "adopt"]))
    def keep_house(self, name: str) -> None:
        try:
            getattr(self.spool, name)()
        except Death:
            self.die()

    @rule()
    def close_and_open(self) -> None:
        with suppress(Death):
            self.spool.close()
        self.die()

    @rule()
    def kill(self) -> None:
        self.die()

    @rule(at=st.integers(0, 12))
    def die_soon(self, at: int) -> None:
        self.system.arm(at)

    @precondition(lambda self: self.failing)
    @rule(at=st.integers(0, 6), error=st.sampled_from(ERRORS))
    def fail_soon(self, at: int, error: int) -> None:
        self.system.arm(at, error, (*FAILING, "open") if error == errno.EMFILE else FAILING)

    @invariant()
    def the_counts_are_right(self) -> None:
        if not hasattr(self, "spool"):
            return
        assert self.spool.unread == len(self.waiting)
        assert self.spool.events == len(self.waiting) + len(self.outstanding())
        assert 0 == self.spool.lost == self.spool.damaged
        if not self.failing:
            on_disk = [path for path in self.folder.rglob("*") if path.suffix in {".open", ".seg", ".acks"}]
            assert self.spool.bytes == sum(path.stat().st_size for path in on_disk)
            assert self.spool.segments == sum(path.suffix != ".acks" for path in on_disk)

    def teardown(self) -> None:
        if not hasattr(self, "spool"):
            return
        try:
            self.system.arm(None)
            self.die()
            self.spool.settle([])
            self.spool.close()
            self.start()
            self.spool.adopt()
            assert [] == list((self.folder / "spool").iterdir()), "something is left behind"
        finally:
            self.stack.close()
            shutil.rmtree(self.folder)


TestLives = Lives.TestCase
