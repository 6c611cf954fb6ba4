"""What the tests of the spool share: making one, numbered events, and a look at its files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from beats_core.spool import Spool

MUCH = 1 << 30
ENDLESS = 1 << 62


def make(directory: Path, **options: Any) -> Spool:
    """Make a spool that has room, in small segments if nothing else is said."""
    return Spool(directory, **{"max_bytes": MUCH, "min_free_bytes": 0, **options})


def events(*numbers: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in numbers]


def read_all(spool: Spool) -> list[bytes]:
    found: list[bytes] = []
    while more := spool.read(100, MUCH):
        found += more
    return found


def settle_all(spool: Spool) -> None:
    """Settle everything that was read."""
    spool.settle([])


def died(spool: Spool) -> None:
    """Let the process that made it be dead: the kernel closes what it had open, and nothing else happens."""
    spool.abandon()


def adopted(directory: Path, **options: Any) -> Spool:
    """Make a spool that has adopted all there is to adopt."""
    spool = make(directory, **options)
    while spool.adopt():
        pass
    return spool


def files(directory: Path, suffixes: Iterable[str] = (".open", ".seg")) -> list[Path]:
    """Return the files in all parts with these suffixes, by name."""
    return sorted(path for path in directory.glob("*/*") if path.suffix in set(suffixes))


def the_file(directory: Path) -> Path:
    """Return the one segment there is."""
    (path,) = files(directory)
    return path
