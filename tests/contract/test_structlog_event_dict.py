from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from typing import Any

import pytest
import structlog
from structlog.processors import CallsiteParameter, CallsiteParameterAdder

from beats_integrations.structlog import BeatsProcessor
from support.logging_records import fail
from support.shipping import Line, a_line
from support.structlog_events import a_processor, logger_of, shipped

line = pytest.fixture(a_line)
processor = pytest.fixture(a_processor)


# Level, time and logger


@pytest.mark.parametrize(
    ("method", "level"),
    [
        *(("debug", "DEBUG"), ("info", "INFO"), ("warning", "WARNING"), ("error", "ERROR"), ("critical", "CRITICAL")),
        *(("warn", "WARNING"), ("exception", "ERROR"), ("fatal", "CRITICAL"), ("err", "ERROR"), ("failure", "ERROR")),
        *(("msg", "INFO"), ("notice", "NOTICE")),
    ],
)
def test_without_a_level_the_method_tells_it(line: Line, processor: BeatsProcessor, method: str, level: str) -> None:
    assert level == shipped(line, processor, _method=method, event="hello")["level"]


def test_a_level_is_known_under_each_of_its_keys(line: Line, processor: BeatsProcessor) -> None:
    assert "WARNING" == shipped(line, processor, level="warn", event="a")["level"]
    assert "ERROR" == shipped(line, processor, log_level="error", event="b")["level"]
    own = shipped(line, processor, level="notice", level_number=25, event="c")
    assert ("NOTICE", 25) == (own["level"], own["extra"]["level_number"])
    assert (5, "INFO") == ((kept := shipped(line, processor, level=5, event="d"))["extra"]["level"], kept["level"])


NOW = datetime(2026, 1, 17, 8, 0, 0, 123_456, tzinfo=UTC)


@pytest.mark.parametrize(
    ("key", "stamp"),
    [
        ("timestamp", NOW.timestamp()),
        ("timestamp", "2026-01-17T08:00:00.123456Z"),
        ("timestamp", "2026-01-17T10:00:00.123456+02:00"),
        ("@timestamp", "2026-01-17T08:00:00.123456Z"),
    ],
)
def test_a_time_that_is_certain_is_the_events(line: Line, processor: BeatsProcessor, key: str, stamp: object) -> None:
    event: dict[str, Any] = {"event": "hello", key: stamp}
    document = shipped(line, processor, **event)

    assert "2026-01-17T08:00:00.123Z" == document["@timestamp"]
    assert key not in document["extra"]


@pytest.mark.parametrize(
    "stamp", ["2026-01-17 08:00:00", "2026-01-17T08:00:00", "17/01/26", "", 5, float("nan"), 1e300, [1]]
)
def test_a_time_that_is_not_certain_is_kept_beside_the_real_one(
    line: Line, processor: BeatsProcessor, stamp: object
) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)

    document = shipped(line, processor, event="hello", timestamp=stamp)

    assert before < datetime.fromisoformat(document["@timestamp"])
    assert "timestamp" in document["extra"]


def test_a_logger_has_the_name_it_says_or_the_chain_says(line: Line, processor: BeatsProcessor) -> None:
    names = [
        shipped(line, processor, event="a", logger="shop")["extra"]["logger_name"],
        shipped(line, processor, event="b", logger_name="shop")["extra"]["logger_name"],
        shipped(line, processor, _logger=logging.getLogger("shop"), event="c")["extra"]["logger_name"],
    ]
    nameless = shipped(line, processor, _logger=structlog.PrintLogger(), event="d", logger=5)["extra"]

    assert ["shop"] * 3 == names
    assert (5, False) == (nameless["logger"], "logger_name" in nameless)


def test_a_zone_of_its_own_is_understood(line: Line, processor: BeatsProcessor) -> None:
    stamp = NOW.astimezone(timezone(timedelta(hours=-5))).isoformat()

    assert "2026-01-17T08:00:00.123Z" == shipped(line, processor, event="a", timestamp=stamp)["@timestamp"]


# What an event may be


def test_a_renamed_event_is_the_message(line: Line, processor: BeatsProcessor) -> None:
    log = logger_of(structlog.processors.EventRenamer("message", "_event"), processor)

    log.info("paid", _event={"kind": "money"})

    document = line.document()
    assert ("paid", {"kind": "money"}) == (document["message"], document["extra"]["event"])


@pytest.mark.parametrize(
    ("event", "message"),
    [
        ({"event": None}, ""),
        ({}, ""),
        ({"msg": "hello"}, "hello"),
        ({"event": "hello", "message": "user's own"}, "hello"),
        ({"event": 5}, "5"),
        ({"event": ValueError("nope")}, "nope"),
        ({"event": {"password": "hunter2"}}, "{'password': '[REDACTED]'}"),
    ],
)
def test_an_event_that_is_no_text_or_not_there_is_shipped(
    line: Line, processor: BeatsProcessor, event: dict[str, Any], message: str
) -> None:
    assert message == shipped(line, processor, **event)["message"]


@pytest.mark.parametrize(
    ("event", "arguments", "told"),
    [
        ("paid %d", (3,), ("paid 3", None)),
        ("paid %(n)d", {"n": 3}, ("paid 3", None)),
        ("paid 3", (3,), ("paid 3", None)),
        ("%d %d", (3,), ("%d %d", [3])),
    ],
)
def test_positional_arguments_are_in_the_message_or_beside_it(
    line: Line, processor: BeatsProcessor, event: str, arguments: object, told: tuple[str, object]
) -> None:
    document = shipped(line, processor, event=event, positional_args=arguments)

    assert told == (document["message"], document["extra"].get("positional_args"))


def test_names_of_the_call_site_that_are_the_users_own_stay_the_users(line: Line, processor: BeatsProcessor) -> None:
    own: dict[str, Any] = {"filename": "invoice.pdf", "process": "payment", "thread": "main", "lineno": "7"}

    extra = shipped(line, processor, event="hello", **own)["extra"]

    assert own.items() <= extra.items()
    assert {"path", "line"}.isdisjoint(extra)


def test_a_file_beside_a_line_is_the_call_site(line: Line, processor: BeatsProcessor) -> None:
    log = logger_of(CallsiteParameterAdder({CallsiteParameter.FILENAME, CallsiteParameter.LINENO}), processor)

    log.info("hello")

    assert "test_structlog_event_dict.py" == line.document()["extra"]["path"]


def test_what_is_bound_may_be_anything(line: Line, processor: BeatsProcessor) -> None:
    class Colour(Enum):
        RED = "red"

    class Logged:
        def __structlog__(self) -> object:
            return {"id": 7}

    extra = shipped(line, processor, event="hello", colour=Colour.RED, logged=Logged(), a={"b": (1, 2)}, level_2=1)[
        "extra"
    ]

    assert {"colour": "red", "logged": {"id": 7}, "a": {"b": [1, 2]}, "level_2": 1}.items() <= extra.items()


# Exceptions


@pytest.mark.parametrize("form", ["true", "exception", "tuple"])
def test_an_exception_is_told_before_it_is_rendered(line: Line, processor: BeatsProcessor, form: str) -> None:
    try:
        fail()
    except ValueError as error:
        exc_info = {"true": True, "exception": error, "tuple": sys.exc_info()}[form]
        extra = shipped(line, processor, event="bad", exc_info=exc_info)["extra"]

    assert ("ValueError", "nope") == (extra["error_type"], extra["error_message"])
    assert extra["stack_trace"].endswith("ValueError: nope")
    assert "exc_info" not in extra


@pytest.mark.parametrize("exc_info", [None, False, True, (None, None, None)])
def test_a_wish_for_an_exception_that_is_not_there_is_no_error(
    line: Line, processor: BeatsProcessor, exc_info: object
) -> None:
    extra = shipped(line, processor, event="hello", exc_info=exc_info, stack_info=True)["extra"]

    assert {"error_type", "exc_info", "stack_info"}.isdisjoint(extra)


@pytest.mark.parametrize(
    "rendering", [structlog.processors.format_exc_info, structlog.processors.dict_tracebacks], ids=["text", "dicts"]
)
def test_an_exception_is_told_after_it_was_rendered(line: Line, processor: BeatsProcessor, rendering: Any) -> None:
    log = logger_of(structlog.dev.set_exc_info, rendering, processor)

    try:
        fail()
    except ValueError:
        log.exception("bad")

    document = line.document()
    extra = document["extra"]
    assert ("ValueError", "nope") == (extra["error_type"], extra["error_message"])
    assert extra["stack_trace"].startswith("Traceback (most recent call last):")
    assert "line" in extra["stack_trace"]
    assert "exception" not in extra
    assert "'hunter2'" not in repr(document)


def test_something_else_called_exception_stays_the_users(line: Line, processor: BeatsProcessor) -> None:
    extra = shipped(line, processor, event="hello", exception={"rule": 7}, exc_info="see above")["extra"]

    assert {"exception": {"rule": 7}, "exc_info": "see above"}.items() <= extra.items()


def test_a_list_called_exception_stays_the_users(line: Line, processor: BeatsProcessor) -> None:
    assert ["a", "b"] == shipped(line, processor, event="hello", exception=["a", "b"])["extra"]["exception"]
