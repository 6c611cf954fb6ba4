"""An event that is too large loses the ends of its longest texts, and nothing else."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.encoding import encode_event
from beats_core.truncation import KEPT, TAG, truncate
from support.event_strategies import plain_values
from support.strict_json import strict_object


def cut(event: dict[str, Any], limit: int) -> dict[str, Any]:
    """What is left of the event, which the limit has room for."""
    payload = truncate(encode_event(event), limit)
    assert payload is not None
    assert len(payload) <= limit
    return strict_object(payload)


def test_the_longest_texts_are_shortened_evenly_and_the_others_stay() -> None:
    event = {"a": "a" * 5_000, "b": {"c": ["b" * 9_000, 1, "short"]}, "d": "d" * 300, "n": 5}
    left = cut(event, 2_000)

    assert (event["d"], 5, "short") == (left["d"], left["n"], left["b"]["c"][2])
    assert len(left["a"]) == len(left["b"]["c"][0]) > 700
    assert event["a"].startswith(left["a"])  # type: ignore[attr-defined] # it is a text


def test_nothing_of_the_limit_is_wasted() -> None:
    payload = truncate(encode_event({"a": "x" * 5_000}), 1_000)

    assert payload is not None
    assert 1_000 == len(payload)


@pytest.mark.parametrize("character", ["x", "ü", "世", "🌍", '"', "\\", "\n", "\x01", "\x7f", "\\u0"])
@pytest.mark.parametrize("limit", range(300, 312))
def test_no_character_is_cut_in_two(character: str, limit: int) -> None:
    event = {"a": character * 500, "b": ("ab" + character) * 500}
    left = cut(event, limit)

    assert event["a"].startswith(left["a"])
    assert event["b"].startswith(left["b"])
    assert len(left["a"]) > 10


@pytest.mark.parametrize(
    ("tags", "expected"),
    [(None, [TAG]), ([], [TAG]), (["a"], ["a", TAG]), ("a", ["a", TAG]), (5, [5, TAG])],
)
def test_a_tag_says_so(tags: object, expected: list[object]) -> None:
    assert expected == cut({"tags": tags, "text": "x" * 5_000}, 1_000)["tags"]


def test_what_says_which_event_it_is_stays_whole() -> None:
    event = {
        "@timestamp": "2026-01-17T08:00:00.000Z" + " " * 100,
        "@metadata": {"_id": "i" * 200},
        "tags": ["t" * 100],
        "sha256": "f" * KEPT,
        "text": "x" * 5_000,
    }
    left = cut(event, 1_000)

    assert 0 < len(left.pop("text")) < 500
    assert ["t" * 100, TAG] == left.pop("tags")
    del event["tags"], event["text"]
    assert event == left


@pytest.mark.parametrize(
    "event",
    [
        {str(number): number for number in range(100_000)},
        {"list": list(range(100_000))},
        {str(number): "x" * KEPT for number in range(1_000)},
        {"@metadata": {"pipeline": "x" * 10_000}},
        {"k" * 10_000: 1},
    ],
    ids=["names", "numbers", "short texts", "metadata", "a name"],
)
def test_an_event_that_is_large_without_long_texts_cannot_be_cut(event: dict[str, Any]) -> None:
    assert truncate(encode_event(event), 5_000) is None


@pytest.mark.parametrize("ready", [b"{}}", b'{"a":}', b'{"a":"\xff"}', b'{"a":' * 100_000 + b"}", b'{"a":1e999}'])
def test_what_cannot_be_read_cannot_be_cut(ready: bytes) -> None:
    assert truncate(ready, 50) is None


def test_ready_json_that_is_large_by_its_white_space_loses_that() -> None:
    payload = truncate(b'{"a":' + b" " * 10_000 + b'"' + b"x" * 100 + b'"}', 1_000)

    assert {"a": "x" * 100, "tags": [TAG]} == json.loads(payload or b"")


@given(event=st.dictionaries(st.text(), plain_values | st.text(min_size=100), max_size=6), limit=st.integers(0, 2_000))
def test_it_fits_and_is_the_event_or_there_is_nothing(event: dict[str, Any], limit: int) -> None:
    payload = truncate(encode_event(event), limit)
    if payload is None:
        return
    left = strict_object(payload)

    assert len(payload) <= limit
    assert TAG in left.pop("tags")
    event.pop("tags", None)
    assert shape(event) == shape(left)


def shape(value: object) -> object:
    """The value with as much of each text as is never cut, if that is ASCII."""
    if isinstance(value, dict):
        return {name: item if name.startswith("@") else shape(item) for name, item in value.items()}
    if isinstance(value, list):
        return [shape(item) for item in value]
    return value[: KEPT // 6] if isinstance(value, str) else value


def test_a_huge_text_is_copied_once() -> None:
    size = 50 << 20
    payload = msgspec.json.encode({"text": "x" * size})
    tracemalloc.start()
    try:
        assert truncate(payload, 100_000)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert most < 1.5 * size
