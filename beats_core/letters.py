r"""Dead letters on disk: one JSON object per line, so that every tool can read them.

    {"time":"2026-01-17T08:00:00.123Z","reason":"…","receiver":"ls1:5044","attempts":6,"event":"{\"message\":…}"}

Many processes may write to one file: each line is one `write` to the end of it. A full file is renamed, which the
writers notice, because each opens the file anew; there is one older file, and what was in the one before is gone.

Who sends letters again, or deletes some, takes the files away first, by another name, and puts back what is left. A
writer holds a shared lock on the file while it writes, and looks whether it is still in its place; who takes it away
holds the exclusive one. So no letter is written to a file that is about to be deleted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from time import gmtime, sleep, strftime, time
from types import TracebackType
from typing import Self

import msgspec

from beats_core.backlog import DeadLetter

FAMILY = "dead-letters."  # how the names of all files begin that have letters
FILE = f"{FAMILY}ndjson"
OLDER = f"{FAMILY}1.ndjson"
_TAKEN = f"{FAMILY}taken-"
_TRIES = 50  # to lock the file, a millisecond apart: writing a letter, and taking the file away, take less
MOST_BYTES = 32 << 20  # of one file; an event that is too large leaves its first 64 KiB


class Letter(msgspec.Struct, kw_only=True):
    """A dead letter as it stands in the file.

    Attributes:
        time: When the event died, UTC.
        reason: Why.
        receiver: Who refused it last.
        attempts: How often it was sent alone.
        event: Its JSON; of one that is too large the beginning. What is no UTF-8 is replaced.
    """

    time: str
    reason: str
    receiver: str
    attempts: int
    event: str


class Letters:
    """The dead letters of a spool directory. Any thread, any process.

    Args:
        directory: The spool's.
    """

    def __init__(self, directory: str) -> None:
        self._path = Path(directory) / FILE
        self.failures = 0  # letters that could not be written

    def add(self, letter: DeadLetter) -> None:
        """Write one down; count it, if that cannot be."""
        now = time()
        line = msgspec.json.encode(
            Letter(
                time=f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(now))}.{int(now * 1000) % 1000:03d}Z",
                reason=letter.reason,
                receiver=letter.receiver,
                attempts=letter.attempts,
                event=letter.decode("utf-8", "replace"),
            )
        )
        try:
            self._append(line + b"\n")
        except OSError:
            self.failures += 1

    @property
    def size(self) -> int:
        """Bytes of all files."""
        size = 0
        for path in self._paths():
            with suppress(FileNotFoundError):
                size += path.stat().st_size
        return size

    def read(self) -> Iterator[Letter]:
        """Yield them, oldest first; what is no letter, a line that was cut off, is passed over."""
        for line in self.lines():
            letter = letter_of(line)
            if letter is not None:
                yield letter

    def lines(self) -> Iterator[bytes]:
        """Yield the lines, oldest first, letters or not."""
        for path in self._paths():
            with suppress(FileNotFoundError), path.open("rb") as lines:
                yield from lines

    def take(self) -> TakenLetters:
        """Take all of them away, also those that somebody took who died since.

        Raises:
            OSError: That failed.
        """
        taken = []
        for path in self._paths():
            with suppress(FileNotFoundError):
                away = _take(path)
                if away is not None:
                    taken.append(away)
        return TakenLetters(taken, self._append)

    def _paths(self) -> list[Path]:
        """Return the files there may be, oldest first."""
        taken = sorted(self._path.parent.glob(f"{_TAKEN}*"), key=lambda path: path.name)
        return [*taken, self._path.with_name(OLDER), self._path]

    def _append(self, lines: bytes) -> None:
        self._roll()
        descriptor = self._open()
        try:
            if os.write(descriptor, lines) != len(lines):
                os.write(descriptor, b"\n")  # so that the next one is a line of its own
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(descriptor)

    def _roll(self) -> None:
        """Put a full file aside, unless somebody is writing to it just now: then the next one does."""
        with suppress(FileNotFoundError):
            if self._path.stat().st_size <= MOST_BYTES:
                return
            descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Another may have put it aside since: then this is the new one.
                mine = _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB) and _is_at(descriptor, self._path)
                if mine and os.fstat(descriptor).st_size > MOST_BYTES:
                    self._path.rename(self._path.with_name(OLDER))
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        """Open the file that is in its place, with a shared lock; without one, should somebody have stopped at it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        for _ in range(_TRIES):
            descriptor = os.open(self._path, flags, 0o600)
            if _lock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB) and _is_at(descriptor, self._path):
                return descriptor
            os.close(descriptor)
            sleep(0.001)
        return os.open(self._path, flags, 0o600)


class TakenLetters:
    """Dead letters that are in nobody else's hands. They go when `keep` said which of them stay.

    Should it never be called, they stay where they are, for the next one who takes them.

    Args:
        files: With their descriptors, which hold the locks.
        append: Writes lines to the file in its place.

    Attributes:
        lines: As they stood in the files, the oldest first; some may be no letters.
    """

    def __init__(self, files: list[tuple[Path, int]], append: Callable[[bytes], None]) -> None:
        self._files = files
        self._append = append
        self.lines = [line for _, descriptor in files for line in _lines(descriptor)]

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give up the locks."""
        for _, descriptor in self._files:
            os.close(descriptor)

    def keep(self, lines: Iterable[bytes]) -> None:
        """Put these back, and delete all others.

        Raises:
            OSError: That failed. Some may be there twice then; none is lost.
        """
        for line in lines:
            self._append(line)
        for path, _ in self._files:
            path.unlink()


def letter_of(line: bytes) -> Letter | None:
    """Return what a line says; None if it is no letter."""
    try:
        return msgspec.json.decode(line, type=Letter)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _take(path: Path) -> tuple[Path, int] | None:
    """Take a file away, unless somebody else has just done that, or is at work with it; return its name and lock."""
    away = path if path.name.startswith(_TAKEN) else path.with_name(f"{_TAKEN}{time():017.6f}-{secrets.token_hex(4)}")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _lock_in_place(descriptor, path):
            path.rename(away)
            if _is_at(descriptor, away):  # else a full file took its place just then, and is for the next one
                return away, descriptor
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _lock_in_place(descriptor: int, path: Path) -> bool:
    """Have the file for oneself, if it is in its place; writers are done in a moment, others may take long."""
    for _ in range(_TRIES):
        if _lock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return _is_at(descriptor, path)
        if not _is_at(descriptor, path) or path.name.startswith(_TAKEN):
            return False
        sleep(0.001)
    return False


def _lock(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _lines(descriptor: int) -> list[bytes]:
    with open(descriptor, "rb", closefd=False) as file:
        lines = file.read().splitlines(keepends=True)
    if lines and not lines[-1].endswith(b"\n"):
        lines[-1] += b"\n"
    return lines
