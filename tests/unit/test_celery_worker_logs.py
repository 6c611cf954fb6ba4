"""What is shipped of the lines that Celery itself logs, and what is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery.app import trace
from celery.concurrency.base import BasePool
from celery.worker.consumer import consumer

from beats_integrations.celery.worker_logs import WITHHELD, WorkerLogHandler
from support.celery_shop import make_shop
from support.shipping import KeepingShipper

SECRET = "4111111111111111"
LOGGERS = ("celery", "shop")


@pytest.fixture
def shipper() -> Iterator[KeepingShipper]:
    """What a handler at the loggers of Celery and of the shop is given."""
    shipper = KeepingShipper()
    handler = WorkerLogHandler(shipper)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    yield shipper
    for logger, level in zip(loggers, levels, strict=True):
        logger.removeHandler(handler)
        logger.setLevel(level)
    handler.close()


def documents(shipper: KeepingShipper) -> list[tuple[Any, Any]]:
    return [
        (document["extra"]["logger_name"], document["message"])  # type: ignore[index]
        for document in shipper.documents
    ]


@pytest.mark.parametrize("name", ["charge", "fail", "reserve", "skip", "refuse", "flaky"])
def test_what_task_events_tell_is_not_told_again(shipper: KeepingShipper, name: str) -> None:
    arguments = (1,) if name == "flaky" else ()

    make_shop().tasks[f"shop.{name}"].apply(arguments, {"card": SECRET})

    assert "celery.app.trace" not in {logger for logger, _ in documents(shipper)}
    assert SECRET not in repr(shipper.documents)


def test_a_task_received_is_not_told_again(shipper: KeepingShipper) -> None:
    facts = {"id": "t1", "name": "shop.charge", "args": "()", "kwargs": f"{{'card': '{SECRET}'}}", "eta": None}

    logging.getLogger("celery.worker.strategy").info(trace.LOG_RECEIVED, facts, extra={"data": facts})

    assert [] == shipper.documents


def test_a_task_that_had_been_done_before_is_told(shipper: KeepingShipper) -> None:
    trace.info(trace.LOG_IGNORED, {"id": "t1", "name": "shop.charge", "description": "Task already completed."})

    assert [("celery.app.trace", "Task shop.charge[t1] Task already completed.")] == documents(shipper)


def test_other_lines_of_the_same_loggers_are_told(shipper: KeepingShipper) -> None:
    logging.getLogger("celery.app.trace").error("Process cleanup failed: %r", OSError("no disk"))
    consumer.logger.info("Started consuming from %s", "celery")

    assert [
        ("celery.app.trace", "Process cleanup failed: OSError('no disk')"),
        (consumer.logger.name, "Started consuming from celery"),
    ] == documents(shipper)


def test_what_a_task_logs_names_the_task(shipper: KeepingShipper) -> None:
    make_shop().tasks["shop.charge"].apply(task_id="t1")

    (line,) = (document for document in shipper.documents if document["message"] == "stock is low")
    extra = line["extra"]
    assert ("t1", "shop.charge", 3) == (extra["task_id"], extra["task_name"], extra["left"])  # type: ignore[index]


@pytest.mark.parametrize(
    ("logger", "text", "arguments", "shown"),
    [
        (consumer.logger, consumer.UNKNOWN_TASK_ERROR, (KeyError("shop.nobody"), SECRET, SECRET, {}), "shop.nobody"),
        (consumer.logger, consumer.INVALID_TASK_ERROR, (ValueError("no kwargs"), SECRET), "no kwargs"),
        (consumer.logger, consumer.UNKNOWN_FORMAT, (SECRET,), "Wrong destination?!?"),
        (consumer.logger, consumer.MESSAGE_DECODE_ERROR, (ValueError("no JSON"), "a", "b", SECRET, SECRET), "no JSON"),
        (
            logging.getLogger("celery.worker.strategy"),
            "Couldn't convert ETA %r to timestamp: %r. Task: %r",
            ("soon", ValueError("too far"), {"kwargs": SECRET}),
            "too far",
        ),
    ],
)
def test_lines_that_show_a_message_are_told_without_it(
    shipper: KeepingShipper, logger: logging.Logger, text: str, arguments: tuple[object, ...], shown: str
) -> None:
    logger.error(text, *arguments)

    ((_, message),) = documents(shipper)
    assert shown in message
    assert WITHHELD in message
    assert SECRET not in repr(shipper.documents)


def test_the_pool_tells_what_it_calls_but_not_with_what(shipper: KeepingShipper) -> None:
    pool = BasePool()
    pool._does_debug = True  # noqa: SLF001 - it asks the logger only once, at the start of a worker
    pool.on_apply = lambda *_, **__: None

    pool.apply_async(print, (SECRET,), {"card": SECRET})

    ((logger, message),) = documents(shipper)
    assert ("celery.pool", f"TaskPool: Apply {print} (args:{WITHHELD} kwargs:{WITHHELD})") == (logger, message)


def test_other_handlers_are_given_everything(shipper: KeepingShipper) -> None:
    class Keeping(logging.Handler):
        text = ""

        def emit(self, record: logging.LogRecord) -> None:
            self.text = record.getMessage()

    handler = Keeping()
    logging.getLogger("celery").addHandler(handler)

    consumer.logger.error(consumer.UNKNOWN_FORMAT, SECRET)

    logging.getLogger("celery").removeHandler(handler)
    assert SECRET in handler.text
