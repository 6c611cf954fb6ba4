from __future__ import annotations

import enum
import uuid
from collections import OrderedDict, UserDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from types import SimpleNamespace

import msgspec
import pytest

from beats_integrations.log_event import LogEvent
from beats_integrations.plain import attributes, readable, simpler, type_name
from beats_integrations.safety import Safety

NOW = datetime(2026, 1, 17, 8, 0, tzinfo=UTC)


class Colour(enum.Enum):
    RED = "red"


class Code(enum.IntEnum):
    OK = 200


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Ratio(float):
    pass


class Moment(datetime):
    pass


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (b"caf\xc3\xa9 \xff", "café \\xff"),
        (bytearray(b"a"), "a"),
        (memoryview(b"a"), "a"),
        ("\ud83d\ude00 \ud800", "😀 �"),
        (2**63 - 1, 2**63 - 1),
        (2**63, str(2**63)),
        pytest.param(10**5_000, "<integer of 16610 bits>", id="huge"),
        (Colour.RED, "red"),
        (Code.OK, 200),
        (Text("a"), "a"),
        (Number(5), 5),
        (Ratio(0.5), 0.5),
        (Fraction(1, 2), 0.5),
        (Decimal("1.10"), "1.10"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (timedelta(minutes=1.5), 90.0),
        (date(2026, 1, 17), date(2026, 1, 17)),
        (time(8, 0), time(8, 0)),
        (Moment(2026, 1, 17, tzinfo=UTC), "2026-01-17T00:00:00Z"),
        (PurePosixPath("/tmp/a"), "/tmp/a"),  # noqa: S108 - only a name
        (ValueError("nope"), "ValueError: nope"),
        ({3, 1, 2}, [1, 2, 3]),
        (frozenset({"b", "a"}), ["a", "b"]),
        (deque([1, 2]), [1, 2]),
        ((1, (2, 3)), [1, [2, 3]]),
        (OrderedDict(a=1), {"a": 1}),
        (UserDict({"a": 1}), {"a": 1}),
        ({"a": 1}.keys(), ["a"]),
        (UTC, "datetime.timezone.utc"),
        (int, "<class 'int'>"),
    ],
)
def test_values_become_plain_ones(value: object, plain: object) -> None:
    clean = Safety()(LogEvent(time=NOW, level="INFO", message="hello", fields={"value": value})).fields["value"]

    assert plain == clean
    assert type(plain) is type(clean)


def test_an_object_that_knows_how_to_be_logged_says_how() -> None:
    class Logged:
        def __structlog__(self) -> object:
            return {"id": 7}

    assert {"id": 7} == simpler(Logged())


def test_a_type_has_a_name() -> None:
    assert "Colour" == type_name(Colour.RED)


def test_half_a_character_is_replaced() -> None:
    assert "😀 �" == readable("\ud83d\ude00 \ud800")


def test_what_is_not_known_is_returned_itself() -> None:
    value = object()

    assert simpler(value) is value


@dataclass
class Account:
    name: str = "bob"
    pin: str = field(default="1234", repr=False)


class Struct(msgspec.Struct):
    name: str = "bob"


class Attrs:  # as attrs marks its classes
    __attrs_attrs__ = (SimpleNamespace(name="name", repr=True), SimpleNamespace(name="pin", repr=False))
    name, pin = "bob", "1234"


class Pydantic:  # as pydantic tells its repr, from which it leaves what has repr=False
    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        yield "name", "bob"


@pytest.mark.parametrize("value", [Account(), Struct(), Attrs(), Pydantic()])
def test_an_object_that_shows_its_attributes_is_known_by_them(value: object) -> None:
    assert {"name": "bob"} == attributes(value)


@pytest.mark.parametrize("value", [object(), Account, Struct, 5])
def test_any_other_object_has_no_attributes_to_show(value: object) -> None:
    assert attributes(value) is None


def test_an_attribute_that_was_never_set_is_none() -> None:
    account = Account()
    del account.__dict__["name"]

    assert {"name": "bob"} == attributes(account)  # the class has it
    assert {"size": None} == attributes(_unset())


@dataclass
class Sized:
    size: int


def _unset() -> Sized:
    return Sized.__new__(Sized)
