"""From a log call, or a Celery task, through each adapter and the Shipper to go-lumber's server."""

from __future__ import annotations

import io
import logging as stdlib_logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import celery
import loguru
import pytest
import structlog

from beats_core import Shipper
from beats_integrations.celery import install
from beats_integrations.logging import BeatsHandler
from beats_integrations.loguru import BeatsSink
from beats_integrations.structlog import BeatsProcessor
from support.go_lumber import GoReceiver

PATIENCE = 30.0  # seconds without which nothing here should have to do

Log = Callable[[str, str, dict[str, Any]], None]  # method, message, fields


@contextmanager
def structlog_logger(shipper: Shipper, **options: Any) -> Iterator[Log]:
    logger = structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()),
        processors=[
            structlog.stdlib.add_log_level,
            BeatsProcessor(shipper, **options),
            structlog.dev.ConsoleRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(stdlib_logging.DEBUG),
    )
    yield lambda method, message, fields: getattr(logger, method)(message, **fields)


@contextmanager
def loguru_logger(shipper: Shipper, **options: Any) -> Iterator[Log]:
    sink = loguru.logger.add(BeatsSink(shipper, **options), level="DEBUG")
    yield lambda method, message, fields: getattr(loguru.logger.bind(**fields), method)(message)
    loguru.logger.remove(sink)


@contextmanager
def stdlib_logger(shipper: Shipper, **options: Any) -> Iterator[Log]:
    logger = stdlib_logging.getLogger("shop.checkout")
    logger.setLevel(stdlib_logging.DEBUG)
    handler = BeatsHandler(shipper, **options)
    logger.addHandler(handler)
    yield lambda method, message, fields: getattr(logger, method)(message, extra=fields)
    logger.removeHandler(handler)
    handler.close()


Adapter = Callable[..., Any]
adapters = pytest.mark.parametrize(
    "adapter", [structlog_logger, loguru_logger, stdlib_logger], ids=["structlog", "loguru", "logging"]
)


@pytest.fixture
def receiver() -> Iterator[GoReceiver]:
    with GoReceiver() as receiver:
        yield receiver


@adapters
def test_every_log_call_arrives_once_in_order_with_everything_it_said(receiver: GoReceiver, adapter: Adapter) -> None:
    calls = [
        (
            ("debug", "info", "warning", "error", "critical")[number % 5],
            f"order {number} was paid: Grüße, 世界 🌍 100% {{}}",
            {"order": number, "customer": {"name": "Zoë", "orders": [number, None, 0.5, True, {"open": False}]}},
        )
        for number in range(3_000)
    ]
    with Shipper(receiver.host) as shipper, adapter(shipper, application="shop") as log:
        for call in calls:
            log(*call)
        stats = shipper.close(PATIENCE)

    assert (3_000, 3_000, 0, 0) == (stats.accepted, stats.acked, stats.resent, stats.lost)
    documents = receiver.wait_for(3_000)
    assert calls == [
        (
            document["level"].lower(),
            document["message"],
            {name: document["extra"][name] for name in ("order", "customer")},
        )
        for document in documents
    ]
    assert {("1", "python-logstash", "shop")} == {
        (document["@version"], document["type"], document["extra"]["application"]) for document in documents
    }
    assert 3_000 == len({document["@metadata"]["_id"] for document in documents})


@adapters
def test_an_exception_arrives_with_its_type_message_and_traceback(receiver: GoReceiver, adapter: Adapter) -> None:
    with Shipper(receiver.host) as shipper, adapter(shipper) as log:
        try:
            raise LookupError("no such order: Ω")
        except LookupError:
            log("exception", "payment failed", {"order": 7})
        shipper.close(PATIENCE)

    (document,) = receiver.wait_for(1)
    extra = document["extra"]
    assert ("payment failed", "ERROR", 7) == (document["message"], document["level"], extra["order"])
    assert ("LookupError", "no such order: Ω") == (extra["error_type"], extra["error_message"])
    assert extra["stack_trace"].startswith("Traceback (most recent call last):")
    assert "in test_an_exception_arrives_with_its_type_message_and_traceback" in extra["stack_trace"]


@adapters
def test_ecs_arrives_as_nested_objects(receiver: GoReceiver, adapter: Adapter) -> None:
    with Shipper(receiver.host) as shipper, adapter(shipper, schema="ecs", application="shop") as log:
        log("warning", "stock is low", {"item": "A-1", "left": 3})
        shipper.close(PATIENCE)

    (document,) = receiver.wait_for(1)
    assert "stock is low" == document["message"]
    assert "warning" == document["log"]["level"]
    assert "shop" == document["service"]["name"]
    assert ("A-1", 3) == (document["extra"]["item"], document["extra"]["left"])
    assert {"hostname"} == document["host"].keys()


@adapters
def test_what_go_lumber_could_not_read_is_made_readable(receiver: GoReceiver, adapter: Adapter) -> None:
    fields = {"ratio": float("nan"), "huge": 10**400, "cut": "a\ud800b", "raw": b"\xff\x00", "a[b]": {1: {2, 3}}}
    with Shipper(receiver.host) as shipper, adapter(shipper) as log:
        log("info", "before", {})
        log("info", "odd", fields)
        log("info", "behind", {})
        stats = shipper.close(PATIENCE)

    assert (3, 0) == (stats.acked, stats.dead)
    documents = receiver.wait_for(3)
    assert ["before", "odd", "behind"] == [document["message"] for document in documents]
    assert documents[1]["extra"]["ratio"] is None


def test_celery_tasks_and_what_they_log_arrive(receiver: GoReceiver) -> None:
    app = celery.Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True

    @app.task(name="shop.charge")
    def charge(order: int) -> int:
        stdlib_logging.getLogger("shop.checkout").info("charging order %d", order)
        return order

    @app.task(name="shop.fail")
    def fail() -> None:
        raise ValueError("card declined")

    @app.task(name="shop.retry", bind=True, max_retries=1)
    def retry(self: Any) -> int:
        if not self.request.retries:
            raise self.retry(countdown=0)
        retries: int = self.request.retries
        return retries

    with Shipper(receiver.host) as shipper, stdlib_logger(shipper):
        installation = install(app, shipper)
        charged = [charge.delay(order).id for order in range(200)]
        failed = fail.delay().id
        retried = retry.delay().id
        installation.uninstall()
        stats = shipper.close(PATIENCE)

    documents = receiver.wait_for(stats.accepted)
    assert (len(documents), 0) == (stats.acked, stats.lost)
    told: dict[str, list[Any]] = {}
    for document in documents:
        extra = document["extra"]
        told.setdefault(extra["task_id"], []).append(extra.get("event_action", document["message"]))
    assert {
        task: ["task-started", f"charging order {order}", "task-succeeded"] for order, task in enumerate(charged)
    } == {task: told.pop(task) for task in charged}
    assert ["task-started", "task-failed"] == told.pop(failed)
    assert {"task-started", "task-retried", "task-succeeded"} == set(told.pop(retried))
    assert {} == told
    (failure,) = (document for document in documents if document["extra"].get("event_action") == "task-failed")
    assert ("ERROR", "ValueError", "card declined", f"{failed}-failed-0") == (
        failure["level"],
        failure["extra"]["error_type"],
        failure["extra"]["error_message"],
        failure["@metadata"]["_id"],
    )
