from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_integrations.log_event import ErrorInfo, LogEvent, TaskInfo
from beats_integrations.schemas import LOGSTASH_NAMES, Ecs, LogstashV1

NOW = datetime(2026, 1, 17, 8, 0, 0, 123_987, tzinfo=UTC)
ROOT = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0"

DEFAULTS: dict[str, Any] = {"time": NOW, "level": "INFO", "message": "hello"}
FULL: dict[str, Any] = {
    "time": NOW,
    "level": "ERROR",
    "level_number": 40,
    "message": "payment refused",
    "logger": "shop.payments",
    "path": "/srv/shop/payments.py",
    "line": 42,
    "function": "charge",
    "module": "payments",
    "process": 4711,
    "process_name": "MainProcess",
    "thread": 140,
    "thread_name": "MainThread",
    "asyncio_task": "Task-1",
    "stack_info": "Stack (most recent call last): …",
    "error": ErrorInfo("shop.errors.Refused", "no funds", "Traceback …"),
    "trace_id": "a" * 32,
    "span_id": "b" * 16,
    "fields": {"user": "bob", "amount": 12.5},
    "tags": ("web", "shop"),
    "id": "abc-1",
}


def logstash(**event: Any) -> dict[str, Any]:
    schema = LogstashV1(host="web-1", program="manage.py", application="shop", environment="production")
    return schema(LogEvent(**(DEFAULTS | event)))


def ecs(**event: Any) -> dict[str, Any]:
    schema = Ecs(host="web-1", program="manage.py", application="shop", environment="production")
    return schema(LogEvent(**(DEFAULTS | event)))


# Logstash


def test_logstashs_format_is_the_one_of_pylogbeats_readme() -> None:
    assert {
        "@timestamp": "2026-01-17T08:00:00.123Z",
        "@version": "1",
        "message": "payment refused",
        "host": "web-1",
        "level": "ERROR",
        "logsource": "web-1",
        "pid": 4711,
        "program": "manage.py",
        "type": "python-logstash",
        "tags": ["web", "shop"],
        "@metadata": {"_id": "abc-1"},
        "extra": {
            "application": "shop",
            "environment": "production",
            "logger_name": "shop.payments",
            "path": "/srv/shop/payments.py",
            "line": 42,
            "func_name": "charge",
            "module": "payments",
            "thread_id": 140,
            "thread_name": "MainThread",
            "process_name": "MainProcess",
            "asyncio_task": "Task-1",
            "trace_id": "a" * 32,
            "span_id": "b" * 16,
            "stack_info": "Stack (most recent call last): …",
            "error_type": "Refused",
            "error_message": "no funds",
            "stack_trace": "Traceback …",
            "user": "bob",
            "amount": 12.5,
        },
    } == logstash(**FULL)


def test_what_is_not_known_is_left_out() -> None:
    schema = LogstashV1(host="web-1", program="manage.py")

    document = schema(LogEvent(time=NOW, level="INFO", message="hello"))

    assert {} == document["extra"]
    assert {"tags", "@metadata"}.isdisjoint(document)


@pytest.mark.parametrize(("dress", "path"), [(logstash, ("extra", "level_number")), (ecs, ("event", "severity"))])
def test_a_level_whose_name_does_not_tell_its_number_has_the_number(dress: Any, path: tuple[str, str]) -> None:
    outer, inner = path

    assert 25 == dress(level="SUCCESS", level_number=25)[outer][inner]
    assert inner not in dress(level="WARNING", level_number=30).get(outer, {})


def test_a_task_is_told_in_logstashs_extra() -> None:
    task = TaskInfo(id="1", name="shop.charge", root_id=ROOT, retries=0, queue="mail", worker="celery@web-1")

    assert {
        "task_id": "1",
        "task_name": "shop.charge",
        "root_id": ROOT,
        "retries": 0,
        "queue": "mail",
        "worker": "celery@web-1",
    }.items() <= logstash(task=task)["extra"].items()


def test_what_happened_to_a_task_is_told_in_logstashs_extra() -> None:
    task = TaskInfo(id="1", action="task-failed", state="FAILURE", outcome="failure", runtime=0.5, redelivered=False)

    assert {
        "task_id": "1",
        "event_action": "task-failed",
        "task_state": "FAILURE",
        "event_outcome": "failure",
        "runtime": 0.5,
        "redelivered": False,
    }.items() <= logstash(task=task)["extra"].items()


# The Elastic Common Schema


def test_ecs_is_nested_and_has_nothing_of_the_users_outside_of_one_namespace() -> None:
    assert {
        "@timestamp": "2026-01-17T08:00:00.123Z",
        "ecs": {"version": "8.11.0"},
        "message": "payment refused",
        "log": {
            "level": "error",
            "logger": "shop.payments",
            "origin": {"file": {"name": "/srv/shop/payments.py", "line": 42}, "function": "charge"},
        },
        "host": {"hostname": "web-1"},
        "process": {
            "executable": "manage.py",
            "pid": 4711,
            "name": "MainProcess",
            "thread": {"id": 140, "name": "MainThread"},
        },
        "service": {"name": "shop", "environment": "production"},
        "error": {"type": "shop.errors.Refused", "message": "no funds", "stack_trace": "Traceback …"},
        "trace": {"id": "a" * 32},
        "span": {"id": "b" * 16},
        "tags": ["web", "shop"],
        "@metadata": {"_id": "abc-1"},
        "extra": {
            "module": "payments",
            "asyncio_task": "Task-1",
            "stack_info": "Stack (most recent call last): …",
            "user": "bob",
            "amount": 12.5,
        },
    } == ecs(**FULL)


def test_ecs_has_a_root_only_where_the_event_says_something_under_it() -> None:
    document = Ecs(host="web-1", program="manage.py")(LogEvent(time=NOW, level="INFO", message="hello"))

    assert {"@timestamp", "ecs", "message", "log", "host", "process"} == document.keys()
    assert {"level": "info"} == document["log"]
    assert {"executable": "manage.py"} == document["process"]


def test_a_file_without_a_line_is_told() -> None:
    assert {"file": {"name": "shop.py"}} == ecs(path="shop.py")["log"]["origin"]


def test_a_function_without_a_file_and_a_trace_without_a_span_are_told() -> None:
    document = ecs(function="charge", trace_id="a" * 32)

    assert {"function": "charge"} == document["log"]["origin"]
    assert {"id": "a" * 32} == document["trace"]
    assert "span" not in document


def test_the_namespace_of_the_users_fields_can_be_chosen() -> None:
    schema = Ecs(host="web-1", program="manage.py", namespace="shop")

    document = schema(LogEvent(time=NOW, level="INFO", message="hello", fields={"user": "bob"}))

    assert {"user": "bob"} == document["shop"]
    assert "extra" not in document


def test_a_log_record_of_a_task_is_told_in_ecs() -> None:
    task = TaskInfo(id="1", name="shop.charge", root_id=ROOT, group_id="g", queue="mail", worker="celery@web-1")

    document = ecs(task=task)

    assert {
        "task": {"id": "1", "name": "shop.charge", "root_id": ROOT, "group_id": "g"},
        "queue": "mail",
    } == document["celery"]
    assert {"name": "shop", "environment": "production", "node": {"name": "celery@web-1"}} == document["service"]
    assert {"id": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"} == document["trace"]
    assert "event" not in document


def test_what_happened_to_a_task_is_told_in_ecs() -> None:
    task = TaskInfo(
        id="1",
        action="task-succeeded",
        state="SUCCESS",
        outcome="success",
        runtime=0.5,
        queue_time=0.25,
        exchange="",
        routing_key="mail",
        redelivered=False,
        reason="because",
    )

    document = ecs(task=task)

    assert {
        "kind": "event",
        "category": ["process"],
        "type": ["end"],
        "dataset": "celery.task",
        "action": "task-succeeded",
        "outcome": "success",
        "reason": "because",
        "duration": 500_000_000,
    } == document["event"]
    assert {
        "task": {"id": "1", "state": "SUCCESS", "runtime": 0.5, "queue_time": 0.25},
        "exchange": "",
        "routing_key": "mail",
        "redelivered": False,
    } == document["celery"]
    assert "trace" not in document


@pytest.mark.parametrize(
    ("action", "outcome", "types"),
    [
        ("task-sent", None, ["info"]),
        ("task-started", None, ["start"]),
        ("task-succeeded", "success", ["end"]),
        ("task-failed", "failure", ["end", "error"]),
        ("task-retried", "unknown", ["info"]),
    ],
)
def test_the_type_of_an_event_follows_from_what_happened(action: str, outcome: str | None, types: list[str]) -> None:
    event = ecs(task=TaskInfo(id="1", action=action, outcome=outcome))["event"]

    assert types == event["type"]
    assert "duration" not in event


def test_a_real_trace_wins_over_the_root_of_a_workflow() -> None:
    assert {"id": "a" * 32} == ecs(task=TaskInfo(id="1", root_id=ROOT), trace_id="a" * 32)["trace"]


def test_a_root_that_is_no_uuid_makes_no_trace() -> None:
    assert "trace" not in ecs(task=TaskInfo(id="1", root_id="nightly"))


def test_what_one_event_adds_is_not_in_the_next() -> None:
    schema = Ecs(host="web-1", program="manage.py", application="shop")
    first = LogEvent(time=NOW, level="INFO", message="a", task=TaskInfo(id="1", worker="celery@web-1"))

    schema(first)

    assert {"name": "shop"} == schema(LogEvent(time=NOW, level="INFO", message="b"))["service"]


# Times


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (NOW, "2026-01-17T08:00:00.123Z"),
        (NOW.replace(microsecond=999_999), "2026-01-17T08:00:00.999Z"),
        (NOW.replace(microsecond=0), "2026-01-17T08:00:00.000Z"),
        (NOW.replace(microsecond=5), "2026-01-17T08:00:00.000Z"),
        (NOW.astimezone(timezone(timedelta(hours=2))), "2026-01-17T08:00:00.123Z"),
        (type("Moment", (datetime,), {})(2026, 1, 17, 8, tzinfo=UTC), "2026-01-17T08:00:00.000Z"),
    ],
)
def test_times_are_in_utc_with_milliseconds(time: datetime, text: str) -> None:
    assert text == logstash(time=time)["@timestamp"]
    assert text == ecs(time=time)["@timestamp"]


# Names of the user's that are ours


def test_a_field_with_a_name_of_ours_gets_a_number_and_none_is_lost() -> None:
    fields = {"path": "/checkout", "path_2": "second", "line": "third", "host": "other", "user": "bob"}

    extra = logstash(path="/srv/shop.py", fields=fields)["extra"]

    assert {
        "path": "/srv/shop.py",
        "path_2": "second",
        "path_3": "/checkout",
        "line_2": "third",
        "host": "other",
        "user": "bob",
    }.items() <= extra.items()
    assert "line" not in extra


def test_a_field_that_says_what_we_say_is_there_once() -> None:
    extra = logstash(task=TaskInfo(id="1", retries=0), fields={"task_id": "1", "retries": False})["extra"]

    assert {"task_id": "1", "retries": 0, "retries_2": False}.items() <= extra.items()
    assert "task_id_2" not in extra


def test_the_fields_of_an_event_in_ecs_do_not_reach_its_roots() -> None:
    fields = dict.fromkeys(("host", "event", "log", "error", "@timestamp", "service", "module", "stack_info"), "mine")

    document = ecs(fields=fields)

    assert {"hostname": "web-1"} == document["host"]
    assert {"host", "event", "log", "error", "@timestamp", "service", "module_2", "stack_info_2"} == document[
        "extra"
    ].keys()


names = st.sampled_from(sorted(LOGSTASH_NAMES | {"task_id", "user", "path_2", "stack_info", "module_2"}))


@given(st.dictionaries(names, st.integers()), st.sampled_from([logstash, ecs]))
def test_every_field_of_the_user_is_in_the_document(fields: dict[str, int], dress: Any) -> None:
    own = dress(**FULL | {"fields": {}, "task": TaskInfo(id="1")})["extra"]

    extra = dress(**FULL | {"fields": fields, "task": TaskInfo(id="1")})["extra"]

    assert own.items() <= extra.items()
    assert sorted(fields.values()) == sorted(value for name, value in extra.items() if name not in own)
