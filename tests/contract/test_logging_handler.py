from __future__ import annotations

import asyncio
import io
import logging
import logging.config
import logging.handlers
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from beats_core import OptionError
from beats_integrations.logging import BeatsHandler
from support.logging_records import a_handler, a_logger, fail, record
from support.shipping import Line, a_line

line = pytest.fixture(a_line)
handler = pytest.fixture(a_handler)
logger = pytest.fixture(a_logger)


# What a record says


def test_a_record_arrives_with_all_it_says(line: Line, logger: logging.Logger) -> None:
    logger.warning("paid %d of %s", 3, "five", extra={"user": "bob"})

    document = line.document()
    extra = document["extra"]
    assert ("paid 3 of five", "WARNING") == (document["message"], document["level"])
    assert ("shop.payments", __file__, "test_logging_handler") == (
        extra["logger_name"],
        extra["path"],
        extra["module"],
    )
    assert "test_a_record_arrives_with_all_it_says" == extra["func_name"]
    assert isinstance(extra["line"], int)
    assert (threading.get_ident(), "MainThread", "MainProcess") == (
        extra["thread_id"],
        extra["thread_name"],
        extra["process_name"],
    )
    assert "bob" == extra["user"]


class HostileMessage:
    def __str__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"msg": "%s and %s", "args": (1, 2)}, "1 and 2"),
        ({"msg": "%(a)s", "args": {"a": 1}}, "1"),
        ({"msg": "100%", "args": ()}, "100%"),
        ({"msg": "%d", "args": ("x",)}, "%d ['x']"),
        ({"msg": "%s %s", "args": (1,)}, "%s %s [1]"),
        ({"msg": "%(b)s", "args": {"a": 1, "token": "hunter2"}}, "%(b)s {'a': 1, 'token': '[REDACTED]'}"),
        ({"msg": ValueError("nope"), "args": ()}, "nope"),
        ({"msg": None, "args": None}, "None"),
        ({"msg": [{"password": "hunter2"}], "args": None}, "[{'password': '[REDACTED]'}]"),
        ({"msg": 5, "args": ("x",)}, "5 ['x']"),
        ({"msg": HostileMessage(), "args": ()}, "<HostileMessage that raised RuntimeError>"),
    ],
)
def test_the_message_is_told_even_where_its_format_is_broken(
    line: Line, handler: BeatsHandler, attributes: dict[str, Any], message: str
) -> None:
    handler.handle(record(**attributes))

    assert message == line.document()["message"]
    assert {} == handler.outlet.failures


def test_fields_of_the_users_are_those_the_standard_does_not_know(line: Line, handler: BeatsHandler) -> None:
    other = logging.Formatter("%(asctime)s %(message)s")
    one = record(user="bob", request_id=7)
    other.format(one)  # leaves `message` and `asctime` in the record, as any handler before ours does

    handler.handle(one)

    assert {"user", "request_id"} == line.document()["extra"].keys() - _of_an_empty_record()


def _of_an_empty_record() -> set[str]:
    return {
        *("logger_name", "path", "line", "func_name", "module", "thread_id", "thread_name", "process_name"),
        *("stack_info", "asyncio_task"),
    }


def test_a_record_class_of_the_users_may_add_fields_first(line: Line, handler: BeatsHandler) -> None:
    class Request(logging.LogRecord):
        def __init__(self, *args: Any) -> None:
            self.request_id = 7
            super().__init__(*args)

    handler.handle(Request("shop", 20, "shop.py", 1, "hello", (), None))

    document = line.document()
    assert ("hello", 7, "shop.py") == (
        document["message"],
        document["extra"]["request_id"],
        document["extra"]["path"],
    )


def test_a_logger_adapter_and_a_filter_add_fields(line: Line, logger: logging.Logger) -> None:
    def add_tenant(record: logging.LogRecord) -> bool:
        record.tenant = "acme"
        return True

    logger.addFilter(add_tenant)
    try:
        logging.LoggerAdapter(logger, {"request_id": 7}).info("hello")
    finally:
        logger.removeFilter(add_tenant)

    assert {"request_id": 7, "tenant": "acme"}.items() <= line.document()["extra"].items()


def test_a_stack_is_told_when_it_was_asked_for(line: Line, logger: logging.Logger) -> None:
    logger.info("here", stack_info=True)

    assert line.document()["extra"]["stack_info"].startswith("Stack (most recent call last):")


def test_the_asyncio_task_is_told(line: Line, logger: logging.Logger) -> None:
    async def main() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.set_name("checkout")
        logger.info("hello")

    asyncio.run(main())

    assert "checkout" == line.document()["extra"]["asyncio_task"]


def test_a_level_of_the_users_own_has_its_number(line: Line, logger: logging.Logger) -> None:
    logging.addLevelName(25, "NOTICE")

    logger.log(25, "hello")

    document = line.document()
    assert ("NOTICE", 25) == (document["level"], document["extra"]["level_number"])


def test_the_record_is_left_as_it_was(line: Line, handler: BeatsHandler) -> None:
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    one = record(msg="%s", args=({"password": "hunter2"},), exc_info=(None, None, None), user={"name": "bob"})
    before = dict(one.__dict__)

    handler.handle(one)

    assert before == one.__dict__


# Exceptions


@pytest.mark.parametrize("how", [lambda error: True, lambda error: error, lambda error: sys.exc_info()])
def test_an_exception_is_told_in_whatever_form_it_comes(
    line: Line, handler: BeatsHandler, how: Callable[[Exception], object]
) -> None:
    try:
        fail()
    except ValueError as error:
        handler.handle(record(exc_info=how(error)))

    extra = line.document()["extra"]
    assert ("ValueError", "nope") == (extra["error_type"], extra["error_message"])
    assert extra["stack_trace"].startswith("Traceback (most recent call last):")
    assert extra["stack_trace"].endswith("ValueError: nope")


@pytest.mark.parametrize("exc_info", [None, False, True, (None, None, None), 0])
def test_a_record_without_an_exception_has_no_error(line: Line, handler: BeatsHandler, exc_info: object) -> None:
    handler.handle(record(exc_info=exc_info))

    assert {"error_type", "error_message", "stack_trace"}.isdisjoint(line.document()["extra"])


def test_logging_an_exception_where_there_is_none_loses_nothing(line: Line, logger: logging.Logger) -> None:
    logger.error("no exception here", exc_info=True)  # noqa: LOG014 - that is the mistake

    assert "no exception here" == line.document()["message"]


def test_the_text_of_an_exception_is_taken_where_that_is_all_there_is(line: Line, handler: BeatsHandler) -> None:
    text = 'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    g()\nshop.Refused: no funds'

    handler.handle(record(exc_text=text))

    extra = line.document()["extra"]
    assert ("Refused", "no funds", text) == (extra["error_type"], extra["error_message"], extra["stack_trace"])


# Formatters


def test_a_formatter_that_was_set_writes_the_message_but_not_the_exception(
    line: Line, handler: BeatsHandler, logger: logging.Logger
) -> None:
    handler.setFormatter(logging.Formatter("[%(levelname)s] %(message)s"))

    try:
        fail()
    except ValueError:
        logger.exception("bad %s", "luck", stack_info=True)

    document = line.document()
    assert "[ERROR] bad luck" == document["message"]
    assert "ValueError" == document["extra"]["error_type"]
    assert "stack_info" in document["extra"]


def test_a_formatter_that_fails_costs_only_its_format(
    line: Line, handler: BeatsHandler, logger: logging.Logger
) -> None:
    handler.setFormatter(logging.Formatter("%(request_id)s %(message)s"))

    logger.info("hello")

    assert "hello" == line.document()["message"]


# Manners


def test_the_projects_own_loggers_are_not_shipped(line: Line, handler: BeatsHandler) -> None:
    handler.handle(record(name="beats_core.sender"))
    handler.handle(record(name="beats_integrations"))
    handler.handle(record(name="shop"))

    assert "shop" == line.document()["extra"]["logger_name"]


def test_what_the_project_has_to_say_is_seen_where_no_other_handler_shows_it(
    line: Line, handler: BeatsHandler, capsys: pytest.CaptureFixture[str]
) -> None:
    own = logging.getLogger("beats_core.seen")
    own.propagate = False
    second, other = BeatsHandler(line.shipper), logging.StreamHandler(io.StringIO())
    for one in (logging.NullHandler(), handler, second):
        own.addHandler(one)

    own.warning("events are lost")
    own.info("not worth a line")
    own.addHandler(other)
    own.warning("shown by the other")
    own.handlers.clear()

    assert "events are lost\n" == capsys.readouterr().err
    assert [] == line.documents()


def test_an_object_that_logs_while_it_is_shipped_is_shipped_with_what_it_logs(
    line: Line, logger: logging.Logger
) -> None:
    class Talkative:
        def __repr__(self) -> str:
            logger.info("from inside")
            return "talkative"

    logger.info("hello", extra={"object": Talkative()})

    inner, outer = line.documents()
    assert ("from inside", "hello", "talkative") == (inner["message"], outer["message"], outer["extra"]["object"])


def test_level_and_filters_are_those_of_every_handler(line: Line) -> None:
    handler = BeatsHandler(line.shipper, level="WARNING")
    handler.addFilter(lambda record: "secret" not in record.getMessage())
    logger = logging.getLogger("shop.filtered")
    logger.propagate = False
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)

    logger.info("too low")
    logger.error("secret")
    logger.error("shown")

    logger.removeHandler(handler)
    assert "shown" == line.document()["message"]


def test_a_filter_may_replace_the_record_where_python_allows_it(line: Line, handler: BeatsHandler) -> None:
    handler.addFilter(lambda _: record(msg="another"))  # type: ignore[arg-type,return-value] # since Python 3.12

    handler.handle(record())

    assert ("another" if sys.version_info >= (3, 12) else "hello") == line.document()["message"]


def test_threads_do_not_wait_for_one_another(line: Line, handler: BeatsHandler) -> None:
    handler.acquire()  # as a thread that was forked away, or switched off by gevent, may have
    try:
        thread = threading.Thread(target=handler.handle, args=(record(),))
        thread.start()
        thread.join(30)
        assert not thread.is_alive()
    finally:
        handler.release()

    assert "hello" == line.document()["message"]


def test_flush_waits_until_all_is_acknowledged(line: Line, handler: BeatsHandler) -> None:
    for _ in range(100):
        handler.handle(record())

    handler.flush()

    assert 100 == line.shipper.stats().acked


def test_a_closed_handler_refuses_and_does_not_raise(line: Line, handler: BeatsHandler) -> None:
    handler.close()
    handler.close()

    handler.handle(record())

    assert [] == line.documents()
    assert {"closed": 1} == handler.outlet.failures


def test_a_handler_that_was_never_made_does_not_break_the_shutdown_of_the_others() -> None:
    before = list(logging._handlerList)  # type: ignore[attr-defined] # noqa: SLF001 - what logging.shutdown goes through

    with pytest.raises(OptionError):
        BeatsHandler(pipelining=0)

    assert before == logging._handlerList  # type: ignore[attr-defined] # noqa: SLF001
