"""What `beats test output` finds out: a ladder of rungs for each host. Data; who climbs and who prints is elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from typing import Protocol

from beats_core.cli.exits import OK


class Outcome(StrEnum):
    """What became of a rung."""

    OK = "OK"
    WARN = "WARN"  # the climb goes on, and somebody should know
    ERROR = "ERROR"


@dataclass
class Rung:
    """One thing that was tried.

    Attributes:
        name: What was tried, in Filebeat's words where it has them.
        part: The group of rungs it belongs to; empty for one that stands alone.
        outcome: What became of it.
        detail: What there is to say about that.
        hint: What to do now.
        milliseconds: How long it took, where that tells anything.
        facts: What was found out, by name.
        code: The exit code an ERROR leads to.
    """

    name: str
    part: str = ""
    outcome: Outcome = Outcome.OK
    detail: str = ""
    hint: str = ""
    milliseconds: float | None = None
    facts: dict[str, object] = field(default_factory=dict)
    code: int = OK

    def warn(self, detail: str, hint: str = "") -> None:
        """Have something to say that does not end the climb."""
        self.outcome, self.detail, self.hint = Outcome.WARN, detail, hint

    def fail(self, detail: str, hint: str, code: int) -> None:
        """Have a reason that ends it."""
        self.outcome, self.detail, self.hint, self.code = Outcome.ERROR, detail, hint, code

    @contextmanager
    def timed(self) -> Iterator[None]:
        """Measure what is done inside, if it comes to an end."""
        began = perf_counter()
        yield
        self.milliseconds = round(1000 * (perf_counter() - began), 3)


class Watcher(Protocol):
    """Sees a climb while it goes on, for some rungs take half a minute."""

    def ladder(self, host: str) -> None:
        """See the climb of a host begin."""

    def begin(self, rung: Rung) -> None:
        """See a rung that is being tried."""

    def end(self, rung: Rung) -> None:
        """See what became of it."""


class Ladder:
    """What was tried with one host, in order, up to the first ERROR.

    Args:
        host: As people write it.
        watcher: Is told of each rung.
    """

    def __init__(self, host: str, watcher: Watcher) -> None:
        self.host = host
        self.rungs: list[Rung] = []
        self._watcher = watcher
        watcher.ladder(host)

    @property
    def code(self) -> int:
        """The exit code this host alone would lead to."""
        return next((rung.code for rung in self.rungs if rung.outcome is Outcome.ERROR), OK)

    @contextmanager
    def rung(self, name: str, part: str = "") -> Iterator[Rung]:
        """Climb one rung; what becomes of it is noted on it inside."""
        rung = Rung(name, part)
        self._watcher.begin(rung)
        yield rung
        self.rungs.append(rung)
        self._watcher.end(rung)

    def report(self) -> dict[str, object]:
        """Return all of it, for JSON."""
        return {"host": self.host, "usable": self.code == OK, "code": self.code, "rungs": self.rungs}
