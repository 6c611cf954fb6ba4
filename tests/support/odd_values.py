"""Things an event may hold that JSON has no word for, or that fight back."""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import msgspec


class Colour(enum.Enum):
    RED = "red"
    DEEP = ("a", 1)


class Number(enum.IntEnum):
    ONE = 1


class Point(NamedTuple):
    x: int
    y: float


@dataclasses.dataclass
class Order:
    number: int
    items: list[Any]


class Struct(msgspec.Struct):
    name: str


class Key(msgspec.Struct, frozen=True):
    name: str


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Grumpy:
    def __repr__(self) -> str:
        raise RuntimeError("no")


class GrumpyText(str):
    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__


class Friendly:
    def __repr__(self) -> str:
        return "<friendly \ud800>"


class Calm:
    def __repr__(self) -> str:
        return "<calm>"


class Verbose:
    def __repr__(self) -> str:
        return "x" * 1_000_000


class View(Mapping[str, object]):
    def __init__(self, *items: tuple[Any, Any]) -> None:
        self._items = dict(items)

    def __getitem__(self, key: str) -> object:
        return self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class BrokenView(View):
    def __getitem__(self, key: str) -> object:
        raise KeyError(key)

    def __repr__(self) -> str:
        return "<broken>"


@dataclasses.dataclass
class BrokenOrder:
    number: int

    @property
    def items(self) -> int:
        raise RuntimeError("no")
