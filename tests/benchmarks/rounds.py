"""What the benchmarks share: the median of rounds, aligned tables, progress on a terminal, facts about the machine."""

from __future__ import annotations

import dataclasses
import os
import platform
import statistics
import sys
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    Measurement = TypeVar("Measurement", bound=DataclassInstance)

_LABEL_WIDTH = 36
_COLUMN_WIDTH = 13
_PACKAGES = (
    "beats-integrations",
    "msgspec",
    "isal",
    "structlog",
    "loguru",
    "pylogbeat",
    "python-logstash-async",
    "persist-queue",
)


def medians(rounds: Sequence[Measurement]) -> Measurement:
    """Return the median of every number of a dataclass of numbers."""
    columns = zip(*map(dataclasses.astuple, rounds), strict=True)
    return type(rounds[0])(*map(statistics.median, columns))


def print_rows(rows: Iterable[Sequence[str]]) -> None:
    """Print a label and its numbers per row, aligned."""
    for label, *numbers in rows:
        print(f"{label:{_LABEL_WIDTH}}" + "".join(f"{number:>{_COLUMN_WIDTH}}" for number in numbers))


def show_progress(text: str) -> None:
    """Say on a terminal what is being measured; nothing where the output is kept."""
    if sys.stderr.isatty():
        print(f"\r{text:70}\r", end="", file=sys.stderr, flush=True)


def describe_machine() -> dict[str, str]:
    """Return what a reader needs to compare two runs."""
    facts = {"python": platform.python_version(), "machine": platform.machine(), "cores": str(os.cpu_count())}
    for package in _PACKAGES:
        try:
            facts[package] = version(package)
        except PackageNotFoundError:
            facts[package] = "not installed"
    return facts
