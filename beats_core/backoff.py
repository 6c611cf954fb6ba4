"""How long to wait, so that what was begun at one moment does not come again at one moment."""

from __future__ import annotations

import random
from collections.abc import Callable

_LEAST_WAIT = 0.1  # seconds; the second wait of a back-off that begins with none


class Backoff:
    """How long to wait before the next try: doubling, with equal jitter, as Filebeat does (common/backoff)."""

    def __init__(self, init: float, longest: float, jitter: Callable[[], float] = random.random) -> None:
        self._init = init
        self._longest = max(longest, _LEAST_WAIT)
        self._jitter = jitter
        self._next = init

    def reset(self) -> None:
        """Begin anew: the receiver acknowledged something. To be connected proves nothing."""
        self._next = self._init

    def wait_time(self) -> float:
        """Return the seconds to wait now, half of them certain; the next wait is twice as long."""
        current = min(self._next, self._longest)
        self._next = min(2 * self._next or _LEAST_WAIT, self._longest)
        return current / 2 + self._jitter() * current / 2


def give_or_take(seconds: float) -> float:
    """Return the time, give or take a tenth: what was begun at one moment is not to end at one."""
    return seconds * random.uniform(0.9, 1.1)


def sooner(first: float | None, second: float | None) -> float | None:
    """Return the shorter of two waits; None is for ever."""
    return min((seconds for seconds in (first, second) if seconds is not None), default=None)
