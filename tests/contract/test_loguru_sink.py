from __future__ import annotations

import asyncio
import io
import logging
import pickle
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from loguru import logger as root_logger

from beats_core import Receiver
from beats_integrations.loguru import BeatsSink, add
from support.logging_records import fail
from support.shipping import Line, a_line

line = pytest.fixture(a_line)


@pytest.fixture
def logger(line: Line) -> Iterator[Any]:
    """loguru's logger with our sink and no other."""
    root_logger.remove()
    add(root_logger, line.shipper, level=0)
    yield root_logger
    root_logger.remove()
    root_logger.configure(extra={}, patcher=lambda record: None)


def test_a_message_arrives_with_all_its_record_says(line: Line, logger: Any) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    logger.bind(user="bob").warning("paid {} of {total}", 3, total="five")

    document = line.document()
    extra = document["extra"]
    assert ("paid 3 of five", "WARNING") == (document["message"], document["level"])
    assert before < datetime.fromisoformat(document["@timestamp"]) < datetime.now(UTC)
    assert (__name__, __file__, "test_loguru_sink") == (extra["logger_name"], extra["path"], extra["module"])
    assert "test_a_message_arrives_with_all_its_record_says" == extra["func_name"]
    assert (threading.get_ident(), "MainThread", "MainProcess") == (
        extra["thread_id"],
        extra["thread_name"],
        extra["process_name"],
    )
    assert {"user": "bob", "total": "five"}.items() <= extra.items()
    assert isinstance(document["pid"], int)
    assert isinstance(extra["line"], int)


def test_fields_come_from_wherever_loguru_takes_them(line: Line, logger: Any) -> None:
    logger.configure(extra={"a": 1, "b": 1, "c": 1, "d": 1})

    with logger.contextualize(b=2, c=2, d=2):
        logger.bind(c=3, d=3).info("hello", d=4)

    assert {"a": 1, "b": 2, "c": 3, "d": 4}.items() <= line.document()["extra"].items()


@pytest.mark.parametrize(
    ("level", "name", "number"), [("TRACE", "TRACE", 5), ("SUCCESS", "SUCCESS", 25), (35, "LEVEL 35", 35)]
)
def test_levels_of_logurus_own_have_their_number(
    line: Line, logger: Any, level: str | int, name: str, number: int
) -> None:
    logger.log(level, "hello")

    document = line.document()
    assert (name, number) == (document["level"], document["extra"]["level_number"])


def test_a_patcher_may_add_change_or_remove_any_key(line: Line, logger: Any) -> None:
    def spoil(record: dict[str, Any]) -> None:
        record["trace"] = "abc"
        record["user"] = "of the record"
        for key in ("name", "file", "function", "line", "module", "thread", "elapsed"):
            del record[key]

    logger.bind(user="bob").patch(spoil).info("hello")

    extra = line.document()["extra"]
    assert {"trace": "abc", "user": "bob", "user_2": "of the record"}.items() <= extra.items()
    assert {"path", "line", "logger_name", "thread_id"}.isdisjoint(extra)


def test_a_record_of_which_little_is_left_is_shipped(line: Line) -> None:
    class Bare(str):
        __slots__ = ("record",)

    bare = Bare("hello\n")
    bare.record = {"message": "hello"}  # type: ignore[attr-defined] # as a patcher may leave it
    sink = BeatsSink(line.shipper)

    sink.write(bare)  # type: ignore[arg-type] # as above

    document = line.document()
    assert ("hello", "INFO", {}) == (document["message"], document["level"], document["extra"])


# Exceptions


def test_an_exception_is_told_without_the_values_of_variables(line: Line) -> None:
    root_logger.remove()
    root_logger.add(BeatsSink(line.shipper), backtrace=True, diagnose=True)  # loguru's own defaults
    try:
        fail()
    except ValueError:
        root_logger.exception("bad {}", "luck")
    root_logger.remove()

    document = line.document()
    extra = document["extra"]
    assert ("bad luck", "ERROR") == (document["message"], document["level"])
    assert ("ValueError", "nope") == (extra["error_type"], extra["error_message"])
    assert extra["stack_trace"].startswith("Traceback (most recent call last):\n  File")
    assert extra["stack_trace"].endswith("\nValueError: nope")
    assert "'hunter2'" not in repr(document)


def test_an_exception_may_be_handed_over(line: Line, logger: Any) -> None:
    logger.opt(exception=ValueError("nope")).error("bad")

    assert ("ValueError", "nope", "ValueError: nope") == tuple(
        line.document()["extra"][name] for name in ("error_type", "error_message", "stack_trace")
    )


def test_a_wish_for_an_exception_that_is_not_there_is_no_error(line: Line, logger: Any) -> None:
    logger.opt(exception=True).error("hello")

    assert "error_type" not in line.document()["extra"]


def test_what_catch_catches_arrives(line: Line, logger: Any) -> None:
    with logger.catch(message="caught"):
        fail()

    document = line.document()
    assert ("caught", "ValueError") == (document["message"], document["extra"]["error_type"])


# Being a sink


def test_loguru_does_not_wait_after_each_message(line: Line) -> None:
    assert not hasattr(BeatsSink(line.shipper), "flush")


def test_level_and_filter_are_logurus(line: Line) -> None:
    root_logger.remove()
    add(root_logger, line.shipper, level="INFO", filter=lambda record: "secret" not in record["message"])

    for level, message in (("DEBUG", "too low"), ("INFO", "secret"), ("INFO", "shown")):
        root_logger.log(level, message)
    root_logger.remove()

    assert "shown" == line.document()["message"]


def test_removing_the_sink_delivers_what_was_logged() -> None:
    root_logger.remove()
    with Receiver() as receiver:
        number = add(root_logger, hosts=[receiver.host], application="shop")
        for _ in range(100):
            root_logger.info("hello")
        root_logger.remove(number)

        assert 100 == len(receiver.events)
        assert "shop" == receiver.events[0]["extra"]["application"]


def test_complete_waits_until_what_was_logged_is_acknowledged(line: Line, logger: Any) -> None:
    async def main() -> int:
        for _ in range(100):
            logger.info("hello")
        await logger.complete()
        return line.shipper.stats().acked

    assert 100 == asyncio.run(main())


def test_the_asyncio_task_is_told(line: Line, logger: Any) -> None:
    async def main() -> None:
        await asyncio.create_task(work(), name="checkout")

    async def work() -> None:
        logger.info("hello")

    asyncio.run(main())

    assert "checkout" == line.document()["extra"]["asyncio_task"]


def test_an_object_that_logs_while_it_is_shipped_is_shipped_once(
    line: Line, logger: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    class Talkative:
        def __repr__(self) -> str:
            stdlib.info("from inside")
            return "talkative"

    class ToLoguru(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            logger.info(record.getMessage())

    stdlib = logging.getLogger("shop.to.loguru")
    stdlib.propagate = False
    stdlib.setLevel(logging.DEBUG)
    handler = ToLoguru()
    stdlib.addHandler(handler)

    logger.bind(object=Talkative()).info("hello")
    logger.info("still alive")

    stdlib.removeHandler(handler)
    assert ["hello", "still alive"] == [document["message"] for document in line.documents()]


def test_whatever_goes_wrong_the_program_does_not_notice(line: Line, capsys: pytest.CaptureFixture[str]) -> None:
    def schema(log_event: object) -> dict[str, object]:
        raise ZeroDivisionError

    sink = BeatsSink(line.shipper, schema=schema)
    root_logger.remove()
    root_logger.add(sink, catch=False)

    root_logger.info("hello")
    root_logger.remove()

    assert {"ZeroDivisionError": 1} == sink.outlet.failures


def test_a_stopped_sink_refuses_and_does_not_raise(line: Line) -> None:
    sink = BeatsSink(line.shipper)
    number = root_logger.add(sink)
    message: list[Any] = []
    other = root_logger.add(message.append)
    root_logger.info("hello")
    root_logger.remove(number)
    root_logger.remove(other)

    sink.write(message[0])
    sink.stop()

    assert "hello" == line.document()["message"]
    assert {"closed": 1} == sink.outlet.failures


def test_threads_may_share_it(line: Line, logger: Any) -> None:
    def work(worker: int) -> None:
        for number in range(50):
            logger.info("hello", worker=worker, number=number)

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    pairs = [(document["extra"]["worker"], document["extra"]["number"]) for document in line.documents()]
    assert sorted(pairs) == [(worker, number) for worker in range(4) for number in range(50)]


def test_other_sinks_get_the_record_as_it_was(line: Line, logger: Any) -> None:
    text = io.StringIO()
    logger.add(text, format="{message} {extra}")

    logger.bind(password="hunter2").info("hello")

    assert "hello {'password': 'hunter2'}\n" == text.getvalue()
    assert "[REDACTED]" == line.document()["extra"]["password"]


def test_it_is_pickled_as_what_it_was_made_of() -> None:
    with Receiver() as receiver:
        sink = BeatsSink(hosts=[receiver.host], application="shop")

        twin = pickle.loads(pickle.dumps(sink))  # noqa: S301 - of our own

        assert twin.outlet.shipper is sink.outlet.shipper
        sink.stop()
        twin.stop()


def test_without_loguru_it_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['loguru'] = None; from beats_integrations.loguru import BeatsSink"

    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert "ImportError: loguru is not installed: pip install 'beats-integrations[loguru]'" in ended.stderr
