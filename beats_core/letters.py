r"""Dead letters on disk: one JSON object per line, so that every tool can read them.

    {"time":"2026-01-17T08:00:00.123Z","reason":"…","receiver":"ls1:5044","attempts":6,"event":"{\"message\":…}"}

Many processes may write to one file: each line is one `write` to the end of it. A full file is renamed, which the
writers notice, because each opens the file anew; there is one older file, and what was in the one before is gone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from time import gmtime, strftime, time

import msgspec

from beats_core.backlog import DeadLetter

FILE = "dead-letters.ndjson"
OLDER = "dead-letters.1.ndjson"
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
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                if os.fstat(descriptor).st_size > MOST_BYTES:
                    self._path.rename(self._path.with_name(OLDER))
                os.write(descriptor, line + b"\n")
            finally:
                os.close(descriptor)
        except OSError:
            self.failures += 1

    def read(self) -> Iterator[Letter]:
        """Yield them, oldest first; what is no letter, a line that was cut off, is passed over."""
        for path in (self._path.with_name(OLDER), self._path):
            with suppress(FileNotFoundError), path.open("rb") as lines:
                for line in lines:
                    with suppress(msgspec.DecodeError):
                        yield msgspec.json.decode(line, type=Letter)
