"""What each kind of value becomes."""

from __future__ import annotations

import collections
import decimal
import fractions
import ipaddress
import pathlib
import types
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone

import pytest

from beats_core.encoding import MAX_DIGITS, encode_event
from support.odd_values import (
    BrokenOrder,
    BrokenView,
    Colour,
    Friendly,
    Grumpy,
    GrumpyText,
    Key,
    Number,
    Order,
    Point,
    Real,
    Struct,
    Text,
    Verbose,
    View,
    Whole,
)
from support.strict_json import strict_object

VALUES: dict[str, tuple[object, object]] = {
    "null": (None, None),
    "booleans": ([True, False], [True, False]),
    "integers": ([0, -1, 2**53 + 1, 2**63, -(2**63), 2**64 - 1], [0, -1, 2**53 + 1, 2**63, -(2**63), 2**64 - 1]),
    "integer of more than 64 bits": (2**70, 2**70),
    "as large an integer as fits": (10**MAX_DIGITS - 1, 10**MAX_DIGITS - 1),
    "too large an integer": (10**400, "<integer of 1329 bits>"),
    "too large a negative integer": (-(10**5000), "<integer of 16610 bits>"),
    "floats": ([0.1, -0.0, 5e-324, 1.7976931348623157e308], [0.1, -0.0, 5e-324, 1.7976931348623157e308]),
    "not a number": (float("nan"), None),
    "infinities": ([float("inf"), -float("inf")], [None, None]),
    "text": ('Grüße, 世界 🌍 \x00\x1f\x7f \u2028 " \\ </a>', 'Grüße, 世界 🌍 \x00\x1f\x7f \u2028 " \\ </a>'),
    "lone surrogates": ("a\ud800b\udfffc", "a\ufffdb\ufffdc"),
    "surrogate pair": ("\ud83c\udf0d", "🌍"),
    "bytes": (b"\xff\x00", "/wA="),
    "bytearray": (bytearray(b"abc"), "YWJj"),
    "memoryview": (memoryview(b"abc"), "YWJj"),
    "aware time": (datetime(2026, 1, 2, 3, 4, 5, 678_000, UTC), "2026-01-02T03:04:05.678000Z"),
    "time of a zone": (datetime(2026, 1, 2, tzinfo=timezone(timedelta(hours=2))), "2026-01-02T00:00:00+02:00"),
    "naive time": (datetime(2026, 1, 2, 3, 4, 5), "2026-01-02T03:04:05"),  # noqa: DTZ001 - that is the case
    "date": (date(2026, 1, 2), "2026-01-02"),
    "time of day": (time(3, 4, 5), "03:04:05"),
    "duration": (timedelta(seconds=90), "PT90S"),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "decimal that is no number": (decimal.Decimal("NaN"), "NaN"),
    "UUID": (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    "enum": ([Colour.RED, Colour.DEEP, Number.ONE], ["red", ["a", 1], 1]),
    "tuple": ((1, (2,)), [1, [2]]),
    "named tuple": (Point(1, 2.5), [1, 2.5]),
    "set": ({7}, [7]),
    "frozen set": (frozenset({"a"}), ["a"]),
    "deque": (collections.deque([1]), "deque([1])"),
    "dataclass": (Order(1, [Order(2, [])]), {"number": 1, "items": [{"number": 2, "items": []}]}),
    "msgspec's struct": (Struct("a"), {"name": "a"}),
    "msgspec's struct beside what is no JSON": ([Struct("a"), "\ud800"], [{"name": "a"}, "\ufffd"]),
    "msgspec's struct of a lone surrogate": (Struct("a\ud800"), "Struct(name='a\\ud800')"),
    "msgspec's frozen struct as key": ({Key("a"): {1}}, {"Key(name='a')": [1]}),
    "subclass of str": (Text("a"), "a"),
    "subclass of int": (Whole(3), 3),
    "subclass of float": ([Real(1.5), Real("nan")], [1.5, None]),
    "subclass of dict": (collections.OrderedDict(a=1), {"a": 1}),
    "default dict": (collections.defaultdict(list, a=[1]), {"a": [1]}),
    "mapping proxy": (types.MappingProxyType({"a": 1}), {"a": 1}),
    "mapping": (View(("a", 1)), {"a": 1}),
    "exception": (ValueError("oops"), "ValueError('oops')"),
    "class": (Colour, "<enum 'Colour'>"),
    "address": (ipaddress.ip_address("::1"), "IPv6Address('::1')"),
    "path": (pathlib.PurePosixPath("/tmp"), "PurePosixPath('/tmp')"),  # noqa: S108 - only a name
    "fraction": (fractions.Fraction(1, 3), "Fraction(1, 3)"),
    "complex": (1j, "1j"),
    "object": (Friendly(), "<friendly \ufffd>"),
    "object whose repr raises": (Grumpy(), "<Grumpy whose repr raised RuntimeError>"),
    "text whose methods raise": (GrumpyText("fine"), "fine"),
    "object whose repr is long": (Verbose(), "x" * 1_000),
    "mapping whose items raise": ({"a": BrokenView(("k", 1))}, {"a": {"unreadable": "<broken>"}}),
    "dataclass with a property that raises": (BrokenOrder(1), {"number": 1}),
    "keys of text": ({"": 1, "ü": 2, "a.b": 3, "a\ud800": 4}, {"": 1, "ü": 2, "a.b": 3, "a\ufffd": 4}),
    "keys that are not text": (
        {1: "a", 1.5: "b", None: "c", False: "d", (1, 2): "e", b"x": "f", Colour.RED: "g", uuid.UUID(int=1): "h"},
        {
            "1": "a",
            "0": "d",
            "1.5": "b",
            "None": "c",
            "(1, 2)": "e",
            "eA==": "f",
            "red": "g",
            "00000000-0000-0000-0000-000000000001": "h",
        },
    ),
    "key whose repr raises": ({Grumpy(): 1}, {"<Grumpy whose repr raised RuntimeError>": 1}),
    "key that is not a number": ({float("nan"): 1}, {"nan": 1}),
    "mixed": ([{1}, float("nan"), "\ud800", 2**70, Friendly()], [[1], None, "\ufffd", 2**70, "<friendly \ufffd>"]),
}


@pytest.mark.parametrize(("value", "expected"), VALUES.values(), ids=VALUES)
def test_a_value_becomes_its_json(value: object, expected: object) -> None:
    parsed = strict_object(encode_event({"value": value, "after": 1}))

    assert {"value": expected, "after": 1} == parsed
