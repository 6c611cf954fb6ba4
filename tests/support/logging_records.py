"""Records as stdlib logging makes them, a logger with our handler, and an error with a secret in a local variable."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from beats_integrations.logging import BeatsHandler
from support.shipping import Line


def record(**attributes: Any) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "shop", "levelname": "INFO", "levelno": 20, "msg": "hello"} | attributes)


def fail() -> None:
    password = "hunter2"
    raise ValueError("nope" + password[:0])


def a_handler(line: Line) -> Iterator[BeatsHandler]:
    """A fixture: `handler = pytest.fixture(a_handler)`."""
    handler = BeatsHandler(line.shipper)
    yield handler
    handler.close()


def a_logger(handler: BeatsHandler) -> Iterator[logging.Logger]:
    """A fixture: `logger = pytest.fixture(a_logger)`."""
    logger = logging.getLogger("shop.payments")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
