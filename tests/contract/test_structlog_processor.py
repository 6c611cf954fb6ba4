from __future__ import annotations

import asyncio
import io
import logging
import pickle
import subprocess
import sys
import threading
from typing import Any

import pytest
import structlog
from structlog.processors import CallsiteParameterAdder

from beats_core import Receiver
from beats_integrations.structlog import BeatsProcessor
from support.logging_records import fail
from support.shipping import Line, a_line
from support.structlog_events import a_processor, logger_of

line = pytest.fixture(a_line)
processor = pytest.fixture(a_processor)


# Common chains


def test_an_event_of_structlogs_default_chain_arrives(line: Line, processor: BeatsProcessor) -> None:
    log = logger_of(
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        structlog.dev.set_exc_info,
        structlog.processors.TimeStamper(fmt="iso"),
        processor,
    )

    with structlog.contextvars.bound_contextvars(request_id=7):
        log.bind(user="bob").warning("paid %d of %s", 3, "five", amount=12.5, stack_info=True)

    document = line.document()
    extra = document["extra"]
    assert ("paid 3 of five", "WARNING") == (document["message"], document["level"])
    assert {"user": "bob", "request_id": 7, "amount": 12.5}.items() <= extra.items()
    assert extra["stack_info"].startswith("Stack (most recent call last):")
    assert {
        *("user", "request_id", "amount", "stack_info", "thread_id", "thread_name", "process_name"),
    } == extra.keys()


def test_an_event_of_the_stdlib_chain_arrives(line: Line, processor: BeatsProcessor) -> None:
    logger = logging.getLogger("shop.structlog")
    log = structlog.wrap_logger(
        logger,
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            structlog.processors.UnicodeDecoder(),
            CallsiteParameterAdder(),
            processor,
            structlog.stdlib.render_to_log_kwargs,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    logger.addHandler(logging.NullHandler())
    # `render_to_log_kwargs` refuses names like `module`, which the application would see: drop them behind us.
    log = log.bind()
    with pytest.raises(KeyError, match="overwrite"):
        log.info("paid %d", 3)

    document = line.document()
    extra = document["extra"]
    assert ("paid 3", "INFO") == (document["message"], document["level"])
    assert "shop.structlog" == extra["logger_name"]
    assert (__file__, "test_structlog_processor") == (extra["path"], extra["module"])
    assert "test_an_event_of_the_stdlib_chain_arrives" == extra["func_name"]
    assert threading.get_ident() == extra["thread_id"]
    assert {"pathname", "filename", "lineno", "thread", "process", "positional_args"}.isdisjoint(extra)


# Being a processor


def test_later_processors_change_nothing_of_what_was_shipped(line: Line, processor: BeatsProcessor) -> None:
    def spoil(_logger: Any, _name: str, event: dict[str, Any]) -> dict[str, Any]:
        event.pop("event")
        event["items"].append("late")
        return event

    log = logger_of(processor, spoil)

    log.info("hello", items=["early"])

    document = line.document()
    assert ("hello", ["early"]) == (document["message"], document["extra"]["items"])


def test_a_terminal_processor_lets_nothing_through(line: Line) -> None:
    output: list[Any] = []
    log = logger_of(BeatsProcessor(line.shipper, terminal=True), output=output)

    log.info("hello")

    assert [] == output
    assert "hello" == line.document()["message"]


def test_whatever_goes_wrong_the_event_goes_on(line: Line) -> None:
    def schema(log_event: object) -> dict[str, object]:
        raise ZeroDivisionError

    output: list[Any] = []
    processor = BeatsProcessor(line.shipper, schema=schema)
    log = logger_of(processor, output=output)

    log.info("hello")

    assert [{"event": "hello"}] == output
    assert {"ZeroDivisionError": 1} == processor.outlet.failures


@pytest.mark.parametrize("rendered", ["hello", b"hello", (("hello",), {})])
@pytest.mark.parametrize("terminal", [False, True])
def test_behind_the_renderer_it_complains_and_harms_nothing(line: Line, rendered: Any, terminal: bool) -> None:  # noqa: FBT001 - a parameter of a test
    processor = BeatsProcessor(line.shipper, terminal=terminal)

    if terminal:
        with pytest.raises(structlog.DropEvent):
            processor(None, "info", rendered)
    else:
        assert processor(None, "info", rendered) is rendered

    assert {"TypeError": 1} == processor.outlet.failures


def test_async_log_calls_are_shipped_with_their_exception(line: Line, processor: BeatsProcessor) -> None:
    log = logger_of(structlog.processors.add_log_level, processor)

    async def main() -> None:
        structlog.contextvars.bind_contextvars()
        await log.ainfo("hello")
        try:
            fail()
        except ValueError:
            await log.aexception("bad")

    asyncio.run(main())

    hello, bad = line.documents()
    assert ("hello", "INFO") == (hello["message"], hello["level"])
    assert ("bad", "ERROR", "nope") == (bad["message"], bad["level"], bad["extra"]["error_message"])


def test_threads_may_share_it(line: Line, processor: BeatsProcessor) -> None:
    log = logger_of(structlog.processors.add_log_level, processor)

    def work(worker: int) -> None:
        for number in range(50):
            log.info("hello", worker=worker, number=number)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    pairs = [(document["extra"]["worker"], document["extra"]["number"]) for document in line.documents()]
    assert sorted(pairs) == [(worker, number) for worker in range(4) for number in range(50)]


def test_it_is_pickled_as_what_it_was_made_of() -> None:
    with Receiver() as receiver:
        processor = BeatsProcessor(hosts=[receiver.host], application="shop", terminal=True)

        twin = pickle.loads(pickle.dumps(processor))  # noqa: S301 - of our own

        with pytest.raises(structlog.DropEvent):
            twin(None, "info", {"event": "hello"})
        twin.flush()
        assert "shop" == receiver.events[0]["extra"]["application"]
        processor.close()
        twin.close()


# Inside a ProcessorFormatter


def formatter(processor: BeatsProcessor, **options: Any) -> structlog.stdlib.ProcessorFormatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            processor,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ],
        **options,
    )


@pytest.mark.parametrize("terminal", [False, True])
def test_records_of_stdlib_loggers_arrive_with_all_they_say(line: Line, terminal: bool) -> None:  # noqa: FBT001 - a parameter of a test
    processor = BeatsProcessor(line.shipper, terminal=terminal)
    text: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text.append(self.format(record))

    handler = Keep()
    handler.setFormatter(
        formatter(processor, foreign_pre_chain=[structlog.stdlib.ExtraAdder()], pass_foreign_args=True)
    )
    logger = logging.getLogger("shop.foreign")
    logger.propagate = False
    logger.addHandler(handler)
    try:
        fail()
    except ValueError:
        logger.exception("bad %s", "luck", extra={"user": "bob"}, stack_info=True)
    logger.removeHandler(handler)

    document = line.document()
    extra = document["extra"]
    assert ("bad luck", "ERROR") == (document["message"], document["level"])
    assert {"user": "bob", "logger_name": "shop.foreign", "path": __file__, "error_type": "ValueError"}.items() <= (
        extra.items()
    )
    assert "test_records_of_stdlib_loggers_arrive_with_all_they_say" == extra["func_name"]
    assert {"_record", "_from_structlog", "positional_args"}.isdisjoint(extra)
    assert extra["stack_info"].startswith("Stack")
    assert text[0].startswith("event='bad luck'")


def test_events_of_structlog_arrive_through_the_formatter_too(line: Line, processor: BeatsProcessor) -> None:
    handler = logging.StreamHandler(io.StringIO())
    handler.setFormatter(formatter(processor))
    logger = logging.getLogger("shop.wrapped")
    logger.propagate = False
    logger.addHandler(handler)
    log = structlog.wrap_logger(
        logger, processors=[structlog.stdlib.add_log_level, structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    )

    log.error("hello", user="bob")

    logger.removeHandler(handler)
    document = line.document()
    assert ("hello", "ERROR") == (document["message"], document["level"])
    assert {"user": "bob", "logger_name": "shop.wrapped"}.items() <= document["extra"].items()


def test_without_structlog_it_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['structlog'] = None; import beats_integrations.structlog"

    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert "ImportError: structlog is not installed: pip install 'beats-integrations[structlog]'" in ended.stderr
