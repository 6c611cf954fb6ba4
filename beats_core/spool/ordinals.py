"""Which event has which ordinal, and which ordinals are settled. No I/O, no lock; the caller holds one.

The k-th event that leaves the spool in this process, or passes it by, has ordinal k. Neighbours are kept as one
span, so that all this costs by the number of holes, not of events.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Where = TypeVar("Where")


@dataclass(slots=True)
class _Span(Generic[Where]):
    first: int
    end: int
    where: Where
    index: int  # of the first in its segment


def _first(span: _Span[Where]) -> int:
    return span.first


class Ordinals(Generic[Where]):
    """The map from ordinals to (segment, index), for what is read and not settled.

    Attributes:
        next: The ordinal that the next event gets.
        outstanding: How many that are in the spool are read and not settled.
    """

    def __init__(self) -> None:
        self.next = 0
        self.outstanding = 0
        self._runs: list[tuple[int, int]] = []  # not settled: sorted, disjoint, [first, end)
        self._spans: list[_Span[Where]] = []

    def hand_out(self, where: Where, index: int, count: int) -> None:
        """Give the next ordinals to the `count` events from `index` on of a segment."""
        first = self.next
        self.next = end = first + count
        self.outstanding += count
        if self._runs and self._runs[-1][1] == first:
            self._runs[-1] = (self._runs[-1][0], end)
        else:
            self._runs.append((first, end))
        if self._spans:
            last = self._spans[-1]
            if last.where is where and last.end == first and last.index + first - last.first == index:
                last.end = end
                return
        self._spans.append(_Span(first, end, where, index))

    def pass_by(self, count: int) -> None:
        """Give the next ordinals to events that are in no segment."""
        self.next += count

    def settle(self, unsettled: Sequence[tuple[int, int]]) -> list[tuple[Where, int, int]]:
        """Settle all but these runs, and return what of it was not settled before as (segment, index, count)."""
        left: list[tuple[int, int]] = []
        settled: list[tuple[Where, int, int]] = []
        place = 0
        for first, end in self._runs:
            while place < len(unsettled) and unsettled[place][1] <= first:
                place += 1
            at = first
            while place < len(unsettled) and unsettled[place][0] < end:
                begin, stop = unsettled[place]
                begin, until = max(begin, at), min(stop, end)
                if begin > at:
                    self._find(at, begin, settled)
                if left and left[-1][1] == begin:
                    left[-1] = (left[-1][0], until)
                else:
                    left.append((begin, until))
                at = until
                if stop > end:
                    break  # it goes on in the next run
                place += 1
            if at < end:
                self._find(at, end, settled)
        self._runs = left
        lowest = left[0][0] if left else self.next
        done = 0
        while done < len(self._spans) and self._spans[done].end <= lowest:
            done += 1
        del self._spans[:done]
        return settled

    def forget(self) -> None:
        """Know nothing of what was handed out so far. The next ordinal stays what it is."""
        self.outstanding = 0
        self._runs = []
        self._spans = []

    def _find(self, first: int, end: int, settled: list[tuple[Where, int, int]]) -> None:
        self.outstanding -= end - first
        place = bisect_right(self._spans, first, key=_first) - 1
        while first < end:
            span = self._spans[place]
            until = min(end, span.end)
            settled.append((span.where, span.index + first - span.first, until - first))
            first = until
            place += 1
