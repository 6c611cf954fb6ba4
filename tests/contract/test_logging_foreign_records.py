from __future__ import annotations

import logging
import logging.config
import logging.handlers
import queue

import pytest
import structlog
from loguru import logger as loguru_logger

from beats_integrations.logging import BeatsHandler
from support.logging_records import a_handler, a_logger, fail, record
from support.shipping import Line, a_line

line = pytest.fixture(a_line)
handler = pytest.fixture(a_handler)
logger = pytest.fixture(a_logger)


# Other libraries' records


def test_structlogs_event_dictionary_is_unwrapped(line: Line, logger: logging.Logger) -> None:
    def add_tenant(record: logging.LogRecord) -> bool:
        record.tenant = "acme"
        return True

    logger.addFilter(add_tenant)
    log = structlog.wrap_logger(
        logger,
        processors=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    try:
        fail()
    except ValueError:
        log.exception("refused", user="bob")
    finally:
        logger.removeFilter(add_tenant)

    document = line.document()
    extra = document["extra"]
    assert ("refused", "ERROR") == (document["message"], document["level"])
    assert {"user": "bob", "tenant": "acme", "error_type": "ValueError", "logger_name": "shop.payments"}.items() <= (
        extra.items()
    )
    assert {"_record", "_logger", "_name", "event", "level", "timestamp", "exc_info"}.isdisjoint(extra)


def test_structlogs_formatter_may_write_the_message(line: Line, handler: BeatsHandler, logger: logging.Logger) -> None:
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.KeyValueRenderer(key_order=["event"]),
            ]
        )
    )
    log = structlog.wrap_logger(logger, processors=[structlog.stdlib.ProcessorFormatter.wrap_for_formatter])

    log.info("refused", user="bob")

    document = line.document()
    assert "event='refused' user='bob'" == document["message"]
    assert "bob" == document["extra"]["user"]


def test_a_dictionary_as_the_message_becomes_fields(line: Line, logger: logging.Logger) -> None:
    logger.info({"message": "paid", "amount": 5})
    logger.info({"amount": 5, "password": "hunter2"})

    named, nameless = line.documents()
    assert ("paid", 5) == (named["message"], named["extra"]["amount"])
    assert "{'amount': 5, 'password': '[REDACTED]'}" == nameless["message"]
    assert {"amount": 5, "password": "[REDACTED]"}.items() <= nameless["extra"].items()


def test_a_record_that_loguru_made_has_its_fields_and_no_values_of_variables(line: Line, handler: BeatsHandler) -> None:
    number = loguru_logger.add(handler, format="{message}", diagnose=True, backtrace=True)
    try:
        fail()
    except ValueError:
        loguru_logger.bind(user="bob").exception("refused")
    finally:
        loguru_logger.remove(number)

    [document] = line.receiver.events
    assert "refused" == document["message"]
    assert {"user": "bob", "error_type": "ValueError"}.items() <= document["extra"].items()
    assert "extra" not in document["extra"]
    assert "hunter2" not in repr({**document, "extra": {**document["extra"], "stack_trace": None}})


def test_what_celery_says_about_a_task_is_shipped_without_its_arguments(line: Line, handler: BeatsHandler) -> None:
    data = {"id": "1", "name": "shop.charge", "args": "('hunter2',)", "kwargs": "{}"}

    handler.handle(record(name="celery.worker.strategy", data=data, task_id="???", task_name="???"))
    handler.handle(record(name="shop", data={"args": "mine"}, task_id="order 7"))

    celery, own = (document["extra"] for document in line.documents())
    assert {"id": "1", "name": "shop.charge"} == celery["data"]
    assert {"task_id", "task_name"}.isdisjoint(celery)
    assert ({"args": "mine"}, "order 7") == (own["data"], own["task_id"])


def test_behind_a_queue_the_traceback_is_in_the_message(line: Line, handler: BeatsHandler) -> None:
    listener = logging.handlers.QueueListener(queue.SimpleQueue(), handler)
    listener.start()
    logger = logging.getLogger("shop.queued")
    logger.propagate = False
    behind = logging.handlers.QueueHandler(listener.queue)
    logger.addHandler(behind)
    try:
        fail()
    except ValueError:
        logger.exception("bad luck")
    listener.stop()
    logger.removeHandler(behind)

    assert line.document()["message"].startswith("bad luck\nTraceback (most recent call last):")
