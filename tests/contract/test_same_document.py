"""The same call makes the same document, whichever library it goes through."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import structlog
from loguru import logger as loguru_logger

from beats_integrations.logging import BeatsHandler
from beats_integrations.loguru import add
from beats_integrations.structlog import BeatsProcessor
from support.shipping import Document, Line

Log = Callable[[str, str, BaseException | None, Mapping[str, Any]], None]  # level, message, exception, fields

# What differs because it is another call: when, where in this file, and the number the shipper gave it.
OF_THE_CALL = (
    "@timestamp",
    "@metadata._id",
    "extra.line",
    "extra.func_name",
    "log.origin.file.line",
    "log.origin.function",
)
# What a library does not tell as the others do: structlog knows its call site only with CallsiteParameterAdder and
# then like the others, and with the class it is in; loguru's loggers have the name of the module, and no other.
OF_THE_LIBRARY = ("extra.logger_name", "log.logger", "extra.qual_module", "extra.qual_name")

FIELDS: Mapping[str, Any] = {
    "user": "Zoë",
    "amount": 12.5,
    "count": 2**70,
    "paid": True,
    "referrer": None,
    "customer": {"id": 7, "password": "hunter2", "tags": ("a", "b")},
    "raw": b"caf\xc3\xa9",
    "api_key": "hunter2",
    "path": "/checkout",  # a name of ours
    "line": "third",
    "status_code": 200,
    "trace_id": "abc",
    "a[b]": 1,
    "long": "x" * 50_000,
    "many": list(range(1_000)),
}


class LostError(Exception):
    """An error of an application's own."""


def raised() -> BaseException:
    try:
        try:
            "order 7".index("x")
        except ValueError as error:
            raise LostError("order 7 is lost") from error
    except LostError as error:
        lost = error
    return lost


def to_stdlib(line: Line, schema: str) -> Iterator[Log]:
    handler = BeatsHandler(line.shipper, schema=schema, application="shop", environment="test")
    logger = logging.getLogger("shop.same")
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(handler)

    def log(level: str, message: str, error: BaseException | None, fields: Mapping[str, Any]) -> None:
        logger.log(logging.getLevelNamesMapping()[level], message, exc_info=error, extra=fields)

    yield log
    logger.removeHandler(handler)
    handler.close()


def to_structlog(line: Line, schema: str) -> Iterator[Log]:
    processor = BeatsProcessor(line.shipper, schema=schema, application="shop", environment="test")
    logger = structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.CallsiteParameterAdder(),
            processor,
            structlog.processors.KeyValueRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),
    )

    def log(level: str, message: str, error: BaseException | None, fields: Mapping[str, Any]) -> None:
        getattr(logger, level.lower())(message, exc_info=error, **fields)

    yield log
    processor.close()


def to_loguru(line: Line, schema: str) -> Iterator[Log]:
    loguru_logger.remove()
    number = add(loguru_logger, line.shipper, schema=schema, application="shop", environment="test")

    def log(level: str, message: str, error: BaseException | None, fields: Mapping[str, Any]) -> None:
        loguru_logger.bind(**fields).opt(exception=error).log(level, message)

    yield log
    loguru_logger.remove(number)


LIBRARIES = {"stdlib": to_stdlib, "structlog": to_structlog, "loguru": to_loguru}


def documents(schema: str, *call: Any) -> dict[str, Document]:
    """Make one call through each library; return what arrived, without what is of the call or of the library."""
    made = {}
    for name, library in LIBRARIES.items():
        with Line() as line:
            for log in library(line, schema):
                log(*call)
            made[name] = line.document()
    for document in made.values():
        for path in (*OF_THE_CALL, *OF_THE_LIBRARY):
            remove(document, path)
    return made


def remove(document: Document, path: str) -> None:
    *parents, name = path.split(".")
    for parent in parents:
        document = document.get(parent, {})
    document.pop(name, None)


@pytest.mark.parametrize("schema", ["logstash", "ecs"])
@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"])
def test_a_call_of_any_level(schema: str, level: str) -> None:
    made = documents(schema, level, "hello", None, {})

    assert made["stdlib"] == made["structlog"] == made["loguru"]
    assert "hello" == made["stdlib"]["message"]


@pytest.mark.parametrize("schema", ["logstash", "ecs"])
def test_a_call_with_all_kinds_of_fields(schema: str) -> None:
    made = documents(schema, "INFO", "paid", None, FIELDS)

    assert made["stdlib"] == made["structlog"] == made["loguru"]
    extra = made["stdlib"]["extra"]
    assert {"api_key": "[REDACTED]", "raw": "café", "a_b_": 1, "count": str(2**70)}.items() <= extra.items()
    assert {"id": 7, "password": "[REDACTED]", "tags": ["a", "b"]} == extra["customer"]
    assert {"items": 744, "characters": 50_000 - 32_726} == extra["_truncated"]
    assert "/checkout" == extra["path_2" if schema == "logstash" else "path"]


@pytest.mark.parametrize("schema", ["logstash", "ecs"])
def test_a_call_with_an_exception(schema: str) -> None:
    made = documents(schema, "ERROR", "failed", raised(), {"user": "bob"})

    assert made["stdlib"] == made["structlog"] == made["loguru"]
    if schema == "logstash":
        told = made["stdlib"]["extra"]
        assert ("LostError", "order 7 is lost") == (told["error_type"], told["error_message"])
    else:
        told = made["stdlib"]["error"]
        assert (f"{__name__}.LostError", "order 7 is lost") == (told["type"], told["message"])
    assert "direct cause" in told["stack_trace"]


def test_structlog_without_a_call_site_differs_only_in_it() -> None:
    with Line() as line:
        processor = BeatsProcessor(line.shipper, application="shop", environment="test")
        processor(None, "info", {"event": "paid", "user": "bob", "path": "/checkout"})
        bare = line.document()
    for path in (*OF_THE_CALL, *OF_THE_LIBRARY):
        remove(bare, path)
    full = documents("logstash", "INFO", "paid", None, {"user": "bob", "path": "/checkout"})["stdlib"]

    assert {"path", "module"} == full["extra"].keys() - bare["extra"].keys()
    for name in ("path", "module"):
        del full["extra"][name]
    assert full == bare
