"""One process's directory in the spool: made under its lock, taken over when its owner is dead, removed when empty.

Whoever holds the `flock` of a part's lock file owns the part. The kernel frees it when the owner dies, however that
happens; `lockf` would not do, for it vanishes when any descriptor of the file is closed. That a lock is free proves
nothing before it is clear that the file is still the one at that path: between opening and locking, the part may
have been removed by another adopter.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import secrets
import time
from itertools import count
from pathlib import Path

from beats_core.errors import SpoolError, SpoolFull
from beats_core.forks import after_fork
from beats_core.spool.segment import Segment

LOCK = "lock"
UNFINISHED = ".new-"  # how the name of a part begins that has no lock yet
_UNFINISHED_FOR = 60.0  # seconds; older ones are left of a process that died making it
PART_NAME = re.compile(r"(?P<host>[^.].*)-(?P<pid>\d+)-(?P<start>\d{13})-(?P<random>[0-9a-f]{8})")
FILE_NAME = re.compile(r"(?P<number>\d{8,})\.(?:open|(?P<events>\d+)\.seg|(?P<acks>acks))")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
# Several hosts see the same files there, and the lock of one may not hold for another.
_NETWORK = re.compile(r"nfs\d*|cifs|smb\w*|afs|ceph|fuse\.(?:sshfs|glusterfs|s3fs|cephfs|rclone)")

_latest_start = 0
_locks: set[int] = set()  # all lock files that are open, also those of parts that nobody knows yet


def spool_error(error: OSError, doing: str) -> SpoolError:
    """Return what an error of the system is to the user of a spool."""
    kind = SpoolFull if error.errno in _FULL else SpoolError
    return kind(f"{doing}: {error.strerror or error}")


def prepare(directory: str) -> None:
    """Make the spool's directory if it is not there, and check that it can be used.

    Raises:
        SpoolError: It cannot be written, or is on a file system that other hosts see.
    """
    try:
        os.makedirs(directory, 0o700, exist_ok=True)
    except OSError as error:
        if error.errno not in _FULL or not os.path.isdir(directory):
            raise spool_error(error, f"cannot make the spool directory {directory}") from error
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise SpoolError(f"cannot write to the spool directory {directory}: check its owner, mode and mount")
    kind = _file_system_of(directory)
    if _NETWORK.fullmatch(kind):
        raise SpoolError(
            f"the spool directory {directory} is on a network file system ({kind}), where locks and writes are not "
            "reliable: choose a directory on a local disk"
        )


def _file_system_of(directory: str) -> str:
    """Return the type of the file system as Linux names it; "" where that cannot be known."""
    real = os.path.realpath(directory)
    best, kind = "", ""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return ""
    for line in lines:
        before, _, after = line.partition(" - ")
        point = re.sub(r"\\(\d{3})", lambda found: chr(int(found[1], 8)), before.split()[4])
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):  # of several mounts at one place, the last is the one to see
            best, kind = point, after.split()[0]
    return kind


class Part:
    """One directory of segments whose lock this process holds.

    Attributes:
        own: This process made it; else it is adopted.
        segments: What is in it, by number.
        foreign: Segments in it that are of another format version, and left alone.
    """

    def __init__(self, path: str, lock: int, *, own: bool) -> None:
        self.path = path
        self.name = os.path.basename(path)
        self.own = own
        self.segments: dict[int, Segment] = {}
        self.numbers = count(1)
        self.foreign = 0
        self.unsynced = own  # its entry in the spool's directory is not on the disk for sure
        found = PART_NAME.fullmatch(self.name)
        self.order = (own, int(found["start"]) if found else 0, self.name)
        self._lock = lock

    @classmethod
    def create(cls, directory: str) -> Part:
        """Make a part of this process. It gets its name only when it is locked, so that nobody finds it before.

        Raises:
            SpoolError: It cannot be made.
        """
        global _latest_start  # noqa: PLW0603 - parts of one process are in order even when its clock is put back
        host = re.sub(r"[^\w.-]", "_", os.uname().nodename, flags=re.ASCII)[:64] or "host"
        _latest_start = start = max(_latest_start + 1, time.time_ns() // 1_000_000)
        name = f"{host}-{os.getpid()}-{start}-{secrets.token_hex(4)}"
        making, path = os.path.join(directory, UNFINISHED + name), os.path.join(directory, name)
        lock = -1
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            os.mkdir(making, 0o700)
            lock = _open_lock(os.path.join(making, LOCK), os.O_CREAT | os.O_EXCL)
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.rename(making, path)
        except OSError as error:
            part = cls(making, lock, own=True)
            part.remove()
            raise spool_error(error, f"cannot make a part of the spool in {directory}") from error
        return cls(path, lock, own=True)

    @classmethod
    def take_over(cls, path: str) -> Part | None:
        """Return a part whose owner is dead; None if he lives, or it is gone meanwhile."""
        file = os.path.join(path, LOCK)
        try:
            lock = _open_lock(file, os.O_CREAT)
        except OSError:
            return None
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(lock), os.stat(file)):
                return cls(path, lock, own=False)
        except OSError:
            pass  # locked by its owner; or removed, with its lock, by another adopter
        _close_lock(lock)
        return None

    def load(self) -> None:
        """Find the segments of an adopted part, and remove what is left of segments that are gone.

        Raises:
            OSError: Something could not be read, and may be next time.
        """
        files = {}
        acks = set()
        for entry in os.listdir(self.path):
            found = FILE_NAME.fullmatch(entry)
            if found is None:
                continue
            number = int(found["number"])
            if found["acks"]:
                acks.add(number)
            else:
                files[number] = (os.path.join(self.path, entry), int(found["events"]) if found["events"] else None)
        for number in sorted(files):
            path, events = files[number]
            segment = Segment(self, number, path)
            if segment.load(events):
                self.segments[number] = segment
            else:
                self.foreign += 1
        for number in acks - files.keys():
            os.unlink(os.path.join(self.path, f"{number:08}.acks"))

    def is_intact(self) -> bool:
        """Tell whether the part is still in its place, with its lock."""
        try:
            return os.path.samestat(os.fstat(self._lock), os.stat(os.path.join(self.path, LOCK)))
        except OSError:
            return False

    def sync(self) -> None:
        """Put the names of the files, and of the part itself, on the disk.

        Raises:
            OSError: That failed.
        """
        _sync_directory(self.path)
        if self.unsynced:
            _sync_directory(os.path.dirname(self.path))
            self.unsynced = False

    def remove(self) -> bool:
        """Remove the part and give up its lock; tell whether it is gone. What is not ours in it stays."""
        gone = False
        try:
            if set(os.listdir(self.path)) <= {LOCK}:
                if self._lock >= 0:
                    os.unlink(os.path.join(self.path, LOCK))
                os.rmdir(self.path)
                gone = True
        except OSError as error:
            gone = error.errno == errno.ENOENT
        self.release()
        return gone

    def clear(self) -> None:
        """Delete all segments, settled or not, of any format: the events first, then what is noted of them.

        Raises:
            OSError: One could not be deleted; nothing is settled, or handed out again, by that.
        """
        found = [match for match in map(FILE_NAME.fullmatch, os.listdir(self.path)) if match]
        for match in sorted(found, key=lambda match: match["acks"] is not None):
            os.unlink(os.path.join(self.path, match[0]))
        self.segments.clear()

    def release(self) -> None:
        """Give up the lock. Also in a forked child: there only the descriptor is closed, the parent keeps the lock."""
        lock, self._lock = self._lock, -1
        _close_lock(lock)


def is_owned(path: str) -> bool:
    """Tell whether a part has a living owner.

    Only a lock tells that: process ids are used again, and mean nothing outside of a container. So this tries for one,
    a shared one, for a moment. An owner has his own before anybody can see the part; an adopter who comes in that
    moment takes the part for owned, and looks again later.

    Raises:
        OSError: This user may not look.
    """
    try:
        lock = _open_lock(os.path.join(path, LOCK))
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        _close_lock(lock)
    return False


def _open_lock(path: str, flags: int = 0) -> int:
    lock = os.open(path, os.O_RDONLY | os.O_CLOEXEC | flags, 0o600)
    _locks.add(lock)
    return lock


def _close_lock(lock: int) -> None:
    if lock in _locks:  # else a child has closed it already
        _locks.remove(lock)
        os.close(lock)


def _close_the_parents() -> None:
    """Close all locks, in a forked child: a part would stay locked by it when the parent is dead."""
    while _locks:
        os.close(_locks.pop())


after_fork(_close_the_parents)


def _sync_directory(path: str) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def parts_in(directory: str) -> list[str]:
    """Return the paths of all parts there, those of the living too, oldest first."""
    found = []
    try:
        entries = os.listdir(directory)
    except OSError:
        return []
    for entry in entries:
        named = PART_NAME.fullmatch(entry)
        if named is not None:
            found.append((int(named["start"]), os.path.join(directory, entry)))
    return [path for _, path in sorted(found)]


def remove_unfinished(directory: str) -> None:
    """Remove what is left of processes that died while they made their part."""
    try:
        for entry in os.listdir(directory):
            path = os.path.join(directory, entry)
            if entry.startswith(UNFINISHED) and time.time() - os.stat(path).st_mtime > _UNFINISHED_FOR:
                part = Part.take_over(path)
                if part is not None:
                    part.remove()
    except OSError:
        pass  # somebody else does it, or we do later
