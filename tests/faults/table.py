"""The table at the end of the fault suite: one line per row of the catalogue and durability."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

HEADER = ("id", "fault", "durability", "accepted", "arrived", "lost", "twice", "at most", "recovered", "p99 put", "ok")


@dataclass
class Row:
    """What one test showed.

    Attributes:
        lost: Accepted, did not arrive, and not counted as dropped either.
        dropped: Counted by the shipper after it had accepted them.
        bound: Most duplicates there may be; None is no bound.
        recovery: Seconds from the end of the fault to the next arrival.
        may_lose: Most of the lost that are within what is promised; None where nothing is.
        verdict: "yes", "no" or why it was not run.
    """

    number: str
    fault: str
    durability: str
    accepted: int | None = None
    arrived: int | None = None
    lost: int | None = None
    dropped: int = 0
    duplicated: int | None = None
    bound: int | None = None
    recovery: float | None = None
    put_p99: float | None = None
    may_lose: int | None = 0
    verdict: str = ""
    notes: list[str] = field(default_factory=list)

    def cells(self) -> tuple[str, ...]:
        lost = _number(self.lost) + (f" +{self.dropped} counted" if self.dropped else "")
        return (
            self.number,
            self.fault,
            self.durability,
            _number(self.accepted),
            _number(self.arrived),
            lost if self.may_lose is not None or not self.lost else f"{lost} (no promise)",
            _number(self.duplicated),
            _number(self.bound),
            "" if self.recovery is None else f"{self.recovery:.2f} s",
            "" if self.put_p99 is None else f"{self.put_p99:,.0f} µs",
            "; ".join([self.verdict, *self.notes]),
        )


def lines(rows: Iterable[Row], header: tuple[str, ...] = HEADER) -> Iterator[str]:
    """Yield the table; texts to the left, numbers to the right."""
    cells = [header, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    left = {0, 1, 2, len(header) - 1}
    for line in cells:
        aligned = (
            text.ljust(width) if column in left else text.rjust(width)
            for column, (text, width) in enumerate(zip(line, widths, strict=True))
        )
        yield "  ".join(aligned).rstrip()


def _number(number: int | None) -> str:
    return "" if number is None else f"{number:,}"
