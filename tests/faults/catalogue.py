"""How a test says which row of the fault catalogue it is, and with which durabilities it runs.

BEATS_FAULTS=full runs each row with every durability, and everything as long as the catalogue wants it; without it the
suite is what CI has the time for, with one durability for each row, by turns. BEATS_FAULTS_LOOPS says how often the
rows that try again and again do.
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


def row(number: str, injected: str, *durabilities: str, every: bool = False) -> Decorator:
    """Mark a test as a row.

    Args:
        number: Its number in the catalogue.
        injected: What is done to the shipper, in a few words.
        durabilities: With which it runs; all, without any.
        every: With each of them in each run.
    """
    chosen = durabilities or ("memory", *ON_DISK)
    parameters = [pytest.param(name, marks=_needs_spool if name in ON_DISK else ()) for name in chosen]

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        marked: Any = pytest.mark.parametrize("durability", parameters)(test)
        return pytest.mark.fault(number, injected, every or FULL)(marked)  # type: ignore[no-any-return]

    return mark


def by_turns(items: Iterable[pytest.Item]) -> set[pytest.Item]:
    """Return the rows that this run leaves to others: of each all durabilities but one, the next each time."""
    rows: dict[tuple[object, ...], list[pytest.Item]] = {}
    for item in items:
        mark = item.get_closest_marker("fault")
        if mark is not None and not mark.args[-1] and isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            others = [f"{name}={value}" for name, value in item.callspec.params.items() if name != "durability"]
            rows.setdefault((item.function, *others), []).append(item)
    turns = {
        name: variants[turn % len(variants) if HAS_SPOOL else 0]  # without a spool, what needs none
        for turn, (name, variants) in enumerate(rows.items())
    }
    return {item for name, variants in rows.items() for item in variants if item is not turns[name]}


def share(points: Iterable[Any], most: int) -> list[Any]:
    """Return all of them in full, else so many, spread evenly."""
    every = list(points)
    if FULL or len(every) <= most:
        return every
    return [every[number * len(every) // most] for number in range(most)]
