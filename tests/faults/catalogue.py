"""How a test says which row of the fault catalogue it is, and with which durabilities it runs.

BEATS_FAULTS=full runs each row with every durability, and everything as long as the catalogue wants it; without it the
suite is what CI has the time for. BEATS_FAULTS_LOOPS says how often the rows that try again and again do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from faults.scene import HAS_SPOOL

FULL = os.environ.get("BEATS_FAULTS") == "full"
LOOPS = int(os.environ.get("BEATS_FAULTS_LOOPS", "200" if FULL else "8"))
ON_DISK = ("spool", "journal")

Decorator = Callable[[Callable[..., None]], Callable[..., None]]

_needs_spool = pytest.mark.skipif(not HAS_SPOOL, reason="the shipper has no spool yet")


def row(number: str, injected: str, *durabilities: str) -> Decorator:
    """Mark a test as a row.

    Args:
        number: Its number in the catalogue.
        injected: What is done to the shipper, in a few words.
        durabilities: With which it runs. Without any, with memory and, by turns, one of the others; all in full.
    """
    chosen = durabilities or _by_turns(number)
    parameters = [pytest.param(name, marks=_needs_spool if name in ON_DISK else ()) for name in chosen]

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        marked: Any = pytest.mark.parametrize("durability", parameters)(test)
        return pytest.mark.fault(number, injected)(marked)  # type: ignore[no-any-return]

    return mark


def share(points: Iterable[Any], most: int) -> list[Any]:
    """Return all of them in full, else so many, spread evenly."""
    every = list(points)
    if FULL or len(every) <= most:
        return every
    return [every[number * len(every) // most] for number in range(most)]


def _by_turns(number: str) -> tuple[str, ...]:
    return ("memory", *ON_DISK) if FULL else ("memory", ON_DISK[int(number[1:3]) % 2])
