"""The adapter for loguru: a sink.

    from beats_integrations.loguru import add

    add(logger, hosts=["logstash:5044"])

It needs no `enqueue=True`: it does not block, and a queue loses what an exception was.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from beats_integrations.correlation import current_asyncio_task, current_task, current_trace
from beats_integrations.log_event import NO_FIELDS, LogEvent
from beats_integrations.outlet import Outlet
from beats_integrations.safety import free_name, text_of
from beats_integrations.tracebacks import error_info

try:
    import loguru as _installed  # noqa: F401 - only asked whether it is there
except ImportError as error:
    raise ImportError("loguru is not installed: pip install 'beats-integrations[loguru]'") from error

if TYPE_CHECKING:
    from loguru import FilterDict, FilterFunction, Logger, Message, Record

    from beats_core import Shipper

_KEYS = frozenset(
    (
        *("elapsed", "exception", "extra", "file", "function", "level", "line", "message"),
        *("module", "name", "process", "thread", "time"),
    )
)


class BeatsSink:
    """Ships loguru's messages. Any thread; never raises, and waits for nothing.

    It reads the record and never the formatted text, which holds the values of local variables. It has no `flush`
    on purpose: loguru would call it, and wait, after every message.

    Args:
        shipper: The shipper to use; without one it is made of `options`, and of `BEATS_*` for the rest.
        **options: `schema`, `application`, `environment` and `safety` as for `Outlet`, and `beats_core.Options`.

    Raises:
        OptionError: An option has a value it cannot have.
        ValueError: Both a shipper and options for one; or there is no such schema.
    """

    def __init__(self, shipper: Shipper | None = None, **options: Any) -> None:
        self.outlet = Outlet(shipper, **options)

    def write(self, message: Message) -> None:
        """Ship the message's record."""
        self.outlet.ship_record(_from_message, message)

    def stop(self) -> None:
        """Deliver what was logged so far, for `shutdown_timeout` at most, and take no more: `logger.remove()`."""
        self.outlet.close()

    async def complete(self) -> None:
        """Wait until what was logged so far is acknowledged, for `shutdown_timeout` at most: `logger.complete()`."""
        await asyncio.get_running_loop().run_in_executor(None, self.outlet.flush)


def add(
    logger: Logger,
    shipper: Shipper | None = None,
    *,
    level: str | int = "DEBUG",
    filter: str | FilterDict | FilterFunction | None = None,  # noqa: A002 - loguru's name
    **options: Any,
) -> int:
    """Add a `BeatsSink` to a loguru logger the way that suits it.

    The text that loguru would format is not read, so it is kept short and without the values of variables.

    Args:
        logger: `loguru.logger`.
        shipper: As for `BeatsSink`.
        level: As for `logger.add`.
        filter: As for `logger.add`.
        **options: As for `BeatsSink`.

    Returns:
        The number for `logger.remove`.
    """
    return logger.add(
        BeatsSink(shipper, **options),
        level=level,
        filter=filter,
        format="{message}",
        backtrace=False,
        diagnose=False,
        catch=True,
    )


def from_record(record: Record) -> LogEvent:
    """Return a loguru record as a `LogEvent`. A patcher may have added, changed or removed any of its keys."""
    facts: Mapping[str, Any] = record
    fields = dict(facts.get("extra") or NO_FIELDS)
    if not facts.keys() <= _KEYS:
        for name in facts.keys() - _KEYS:
            fields[free_name(name, fields)] = facts[name]
    level, process, thread = facts.get("level"), facts.get("process"), facts.get("thread")
    when = facts.get("time")
    trace_id, span_id = current_trace()
    return LogEvent(
        # loguru's times are of a class of its own, in local time.
        time=datetime.fromtimestamp(when.timestamp(), UTC) if isinstance(when, datetime) else datetime.now(UTC),
        level=getattr(level, "name", "INFO").upper(),
        level_number=getattr(level, "no", 20),
        message=text_of(facts.get("message", "")),
        logger=facts.get("name"),
        path=getattr(facts.get("file"), "path", None),
        line=facts.get("line"),
        function=facts.get("function"),
        module=facts.get("module"),
        process=getattr(process, "id", None),
        process_name=getattr(process, "name", None),
        thread=getattr(thread, "id", None),
        thread_name=getattr(thread, "name", None),
        asyncio_task=current_asyncio_task(),
        error=error_info(facts.get("exception")),
        task=current_task(),
        trace_id=trace_id,
        span_id=span_id,
        fields=fields,
    )


def _from_message(message: Message) -> LogEvent:
    return from_record(message.record)
