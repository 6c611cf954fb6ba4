from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.cli.pretty import Pretty
from beats_core.cli.terminal import wants_color

LOGSTASH = {
    "@timestamp": "2024-05-06T12:01:07.120Z",
    "@version": "1",
    "@metadata": {"_id": "7"},
    "message": "order accepted",
    "host": "web-1",
    "level": "WARNING",
    "logsource": "web-1",
    "pid": 7,
    "program": "shop.py",
    "type": "python-logstash",
    "extra": {"logger_name": "shop.views", "path": "/app/views.py", "line": 3, "order": {"id": 81}, "user": "a b"},
}
ECS = {
    "@timestamp": "2024-05-06T12:01:07.120Z",
    "ecs": {"version": "8.11.0"},
    "message": "order accepted",
    "log": {"level": "warning", "logger": "shop.views", "origin": {"function": "accept"}},
    "host": {"hostname": "web-1"},
    "process": {"pid": 7},
    "extra": {"order": {"id": 81}, "user": "a b"},
}
plain = Pretty(color=False)


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize("document", [LOGSTASH, ECS], ids=["logstash", "ecs"])
def test_an_event_is_one_line_whatever_its_schema(document: dict[str, object]) -> None:
    expected = '2024-05-06 12:01:07.120 WARNING  shop.views order accepted order.id=81 user="a b"\n'

    assert expected == plain(document)


def test_a_traceback_stands_below_and_says_the_error_by_itself() -> None:
    extra = {"error_type": "ValueError", "error_message": "no", "stack_trace": "Traceback:\n  a\nValueError: no"}
    error = {"type": "ValueError", "message": "no", "stack_trace": "Traceback:\n  a\nValueError: no"}
    expected = "ERROR    failed\n    │ Traceback:\n    │   a\n    │ ValueError: no\n"

    assert expected == plain({"message": "failed", "level": "ERROR", "extra": extra}).lstrip()
    assert expected == plain({"message": "failed", "log": {"level": "error"}, "error": error}).lstrip()


def test_an_error_without_a_traceback_is_told_in_fields() -> None:
    assert "failed error.type=ValueError\n" == plain({"message": "failed", "error": {"type": "ValueError"}}).lstrip()


def test_what_follows_a_line_break_in_a_message_is_indented() -> None:
    assert "one\n    │ two\n    │ three\n" == plain({"message": "one\ntwo\r\nthree"}).lstrip()


def test_a_long_value_is_told_once() -> None:
    document = {"message": "Task pay[0123456789abcdef]", "task_id": "0123456789abcdef", "a": "x" * 16, "b": "x" * 16}

    assert f"Task pay[0123456789abcdef] a={'x' * 16}\n" == plain(document).lstrip()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", 'n=""'),
        ("a=b", 'n="a=b"'),
        ("\x1b[2J", r"n=\x1b[2J"),
        ("\u202egpj.exe", r"n=\u202egpj.exe"),
        (0.1 + 0.2, "n=0.3"),
        ([1, {"a": None}], 'n="[1,{\\"a\\":null}]"'),
        ({"a": {"b": True}}, "n.a.b=true"),
        ({}, "n={}"),
        ("x" * 300, f"n={'x' * 200}…"),
    ],
)
def test_a_value_is_shown_so_that_one_sees_where_it_ends(value: object, shown: str) -> None:
    assert f"m {shown}\n" == plain({"message": "m", "n": value}).lstrip()


def test_failures_on_the_way_are_shown_of_the_tags() -> None:
    assert "m _jsonparsefailure\n" == plain({"message": "m", "tags": ["celery", "_jsonparsefailure"]}).lstrip()


def test_what_is_no_object_is_shown_as_it_is() -> None:
    assert "[1,2]\n" == plain([1, 2])
    assert "text\n" == plain("text")


def test_levels_have_colours() -> None:
    assert (
        "\x1b[31mERROR   \x1b[0m m \x1b[2mn=\x1b[0m1\n"
        == Pretty(color=True)({"message": "m", "level": "error", "n": 1}).lstrip()
    )


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
names = st.sampled_from(["@timestamp", "message", "level", "log", "extra", "error", "tags", "program", "process", "n"])


@given(st.dictionaries(names, json_values))
def test_no_document_controls_the_terminal_or_passes_for_another_event(document: dict[str, object]) -> None:
    text = plain(document)

    first, *below, end = text.split("\n")
    assert "" == end
    assert all(line.startswith("    │") for line in below)
    assert all(line.isprintable() for line in (first, *below))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("choice", "environment", "expected"),
    [
        ("auto", {}, True),
        ("auto", {"TERM": "dumb"}, False),
        ("auto", {"NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, True),
        ("auto", {"TERM": "dumb", "CLICOLOR_FORCE": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
        ("always", {"NO_COLOR": "1"}, True),
    ],
)
def test_colour_on_a_terminal(choice: str, environment: dict[str, str], expected: object) -> None:
    assert expected == wants_color(choice, Terminal(), environment)


def test_no_colour_by_itself_anywhere_else() -> None:
    assert not wants_color("auto", io.StringIO(), {})
