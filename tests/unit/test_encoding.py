"""Any mapping becomes one strict JSON object, and nothing it holds raises."""

from __future__ import annotations

import json
import threading
import types
from collections.abc import Iterator
from datetime import date
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.encoding import MAX_DIGITS, by_name, encode_event, encode_ordinary
from beats_core.errors import EventTooLarge
from support.event_strategies import hostile_events, plain_values
from support.odd_values import View
from support.strict_json import strict_object


def test_an_event_of_plain_values_costs_no_walk() -> None:
    event = {"message": "x" * 1_000, "n": 1, "list": [1, 2], "nested": {"a": None}}

    assert msgspec.json.encode(event) == encode_event(event)


def test_a_cycle_is_cut() -> None:
    event: dict[str, object] = {"id": 1, "list": []}
    event["self"] = event
    event["list"] = [event, {"again": event["list"]}]

    assert {"id": 1, "list": ["<cycle>", {"again": []}], "self": "<cycle>"} == strict_object(encode_event(event))


def test_the_same_value_twice_is_no_cycle() -> None:
    shared = {"a": {1}}

    assert {"x": {"a": [1]}, "y": {"a": [1]}} == strict_object(encode_event({"x": shared, "y": shared}))


@pytest.mark.parametrize("depth", [100, 499, 501, 999, 5_000, 100_000])
@pytest.mark.parametrize("wrap", [lambda value: [value], lambda value: {"a": value}], ids=["lists", "objects"])
def test_depth_is_cut_before_a_parser_breaks(depth: int, wrap: Any) -> None:
    value: object = "bottom"
    for _ in range(depth):
        value = wrap(value)
    payload = encode_event({"id": 1, "deep": value})

    assert 1 == strict_object(payload)["id"]
    assert (b"bottom" in payload) == (depth < 500)
    assert (b"<too deep>" in payload) == (depth > 500)


def test_little_stack_is_enough() -> None:
    deep: object = "bottom"
    for _ in range(5_000):
        deep = [deep]

    def at_the_end_of_the_stack() -> bytes:
        try:
            return at_the_end_of_the_stack()
        except RecursionError:
            return encode_event({"message": "ü", "value": {1}, "deep": deep})

    strict_object(at_the_end_of_the_stack())


@pytest.mark.parametrize("key", ["k" * 60_000, "ü" * 60_000, "世" * 60_000, "🌍" * 60_000, "\x01" * 60_000])
def test_a_name_is_cut_before_a_parser_breaks(key: str) -> None:
    parsed = strict_object(encode_event({key: 1, "b": {key: 2}}))

    (cut,) = set(parsed) - {"b"}
    assert key.startswith(cut)
    assert {cut: 2} == parsed["b"]


@pytest.mark.parametrize("digits", [290, 299, 300, 301, 310, 400, 5_000])
@pytest.mark.parametrize("before", range(0, 60, 7))
def test_numbers_have_as_many_digits_as_parsers_take(digits: int, before: int) -> None:
    event = {"pad": "x" * before, "number": 10 ** (digits - 1)}
    parsed = strict_object(encode_event(event))

    assert (10 ** (digits - 1) == parsed["number"]) == (digits <= MAX_DIGITS)


def test_digits_in_a_text_are_left_alone() -> None:
    event = {"message": "7" * 100_000}

    assert event == strict_object(encode_event(event))


def test_an_event_that_changes_meanwhile_is_encoded_all_the_same() -> None:
    event: dict[str, object] = {str(number): {number} for number in range(200)}
    done = threading.Event()

    def change() -> None:
        number = 0
        while not done.is_set():
            event[f"new {number % 50}"] = number
            event.pop(f"new {(number - 25) % 50}", None)
            number += 1

    changing = threading.Thread(target=change)
    changing.start()
    try:
        for _ in range(300):
            parsed = strict_object(encode_event(event))
            assert [7] == parsed.get("7") or "unreadable" in parsed
    finally:
        done.set()
        changing.join()


class Restless(View):
    """Changes while it is read, the first few times."""

    def __init__(self, times: int) -> None:
        super().__init__(("a", 1))
        self._times = times

    def __iter__(self) -> Iterator[str]:
        self._times -= 1
        if self._times >= 0:
            raise RuntimeError("dictionary changed size during iteration")
        return super().__iter__()

    def __repr__(self) -> str:
        return "<restless>"


def test_a_mapping_that_changes_while_it_is_read_is_read_again() -> None:
    assert {"a": 1} == strict_object(encode_event(Restless(5)))
    assert {"unreadable": "<restless>"} == strict_object(encode_event(Restless(1_000)))


def test_ready_json_is_shipped_as_it_is() -> None:
    assert b'{"a": 1.10,"a":2}' == encode_event(b'{"a": 1.10,"a":2}')
    assert b'{"a":"\\ud800"}' == encode_event('{"a":"\\ud800"}')
    assert '{"a":"ü?"}'.encode() == encode_event('{"a":"ü\ud800"}')
    assert b"{}" == encode_event(b" {}\r\n")


@pytest.mark.parametrize("ready", ["", "null", "[1]", '"a"', "{", "}", '{"a":1}x', b"", b"[]", b"\xef\xbb\xbf{}"])
def test_ready_json_that_is_no_object_is_refused(ready: str | bytes) -> None:
    with pytest.raises(ValueError, match="ready JSON must be one object"):
        encode_event(ready)


@pytest.mark.parametrize("event", [None, 1, ["a"], object(), {1}, bytearray(b"{}")])
def test_what_is_neither_mapping_nor_text_is_refused(event: Any) -> None:
    with pytest.raises(TypeError, match="an event is a mapping, or a JSON object as str or bytes, not "):
        encode_event(event)


@pytest.mark.parametrize(
    "event", [{"a": "x" * 50}, {"a": {"x" * 50}}, b'{"a":"' + b"x" * 50 + b'"}', View(("a", "x" * 50))]
)
def test_a_limit_is_kept_to_the_byte(event: Any) -> None:
    size = len(encode_event(event))
    assert size == len(encode_event(event, limit=size))
    with pytest.raises(EventTooLarge) as refused:
        encode_event(event, limit=size - 1)

    assert (size, size - 1) == (refused.value.size, refused.value.limit)


@given(event=hostile_events)
def test_any_mapping_becomes_strict_json(event: dict[Any, Any]) -> None:
    strict_object(encode_event(event))


@given(event=st.dictionaries(st.text(), plain_values, max_size=5))
def test_what_json_can_say_comes_through_unchanged(event: dict[str, Any]) -> None:
    assert event == strict_object(encode_event(event))
    assert event == json.loads(encode_event(types.MappingProxyType(event)))


@given(event=st.dictionaries(st.none() | st.integers() | st.floats() | st.booleans() | st.dates(), st.just(1)))
def test_a_name_that_is_no_text_is_the_same_whichever_way_it_goes(event: dict[Any, int]) -> None:
    named = by_name(event)

    assert json.loads(encode_event(event)) == named
    assert json.loads(encode_event({**event, "deep": [[[[]]]] * 300})) == {**named, "deep": [[[[]]]] * 300}


def test_ordinary_events_are_encoded_in_bulk_and_others_not_at_all() -> None:
    ordinary: list[dict[str, object]] = [{"id": 1}, {"message": "a\nb", "at": date(2026, 1, 17)}, {}]
    assert [encode_event(event) for event in ordinary] == encode_ordinary(ordinary, 10_000)
    odd_ones: list[dict[str, object]] = [
        {"n": 10**400},
        {"deep": [[[[]]]] * 300},
        {"long": "x" * 50_000},
        {"raw": msgspec.Raw(b"{\n}")},
        {"message": "x" * 10_000},
    ]
    for odd in odd_ones:
        assert encode_ordinary([*ordinary, odd], 10_000) is None
