"""structlog's event dictionary, in all the shapes its processors give it, and what a stdlib record says.

structlog itself is not needed for that: `BeatsHandler` meets such a dictionary as the message of a record, and a
processor inside structlog's ProcessorFormatter meets a record in the dictionary. Both are only read: processors
and handlers behind ours get them as they were.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from beats_integrations.correlation import current_asyncio_task, current_process_name, current_task, current_trace
from beats_integrations.log_event import NO_FIELDS, ErrorInfo, LogEvent
from beats_integrations.safety import text_of
from beats_integrations.tracebacks import error_from_stacks, error_from_text, error_info

LEVEL_NUMBERS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "SUCCESS": 25, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

# A structlog logger has whatever method is called on it; these mean a level of another name.
_LEVEL_OF_METHOD = {
    "WARN": "WARNING",
    "ERR": "ERROR",
    "EXCEPTION": "ERROR",
    "FAILURE": "ERROR",
    "FATAL": "CRITICAL",
    "MSG": "INFO",
    "LOG": "INFO",
}

_EVENT_RENAMED = ("message", "msg")  # what EventRenamer is told as a rule
_CALL_SITE: Mapping[str, tuple[str, type]] = {  # CallsiteParameterAdder's keys → LogEvent's names
    "pathname": ("path", str),
    "lineno": ("line", int),
    "func_name": ("function", str),
    "module": ("module", str),
    "thread": ("thread", int),
    "thread_name": ("thread_name", str),
    "process": ("process", int),
    "process_name": ("process_name", str),
}
_PRIVATE = ("_from_structlog", "_logger", "_name")  # between wrap_for_formatter and ProcessorFormatter
# Keys with a meaning that most dictionaries do not have: one comparison of sets tells.
_RARE = frozenset(
    (
        *("exc_info", "exception", "stack", "stack_info", "log_level", "level_number", "logger_name", "@timestamp"),
        *("filename", "_record"),
        *_CALL_SITE,
        *_PRIVATE,
    )
)
_NOTHING: Mapping[str, Any] = {}
_WEIGHED = frozenset({"level", "level_number", "time", "logger"})  # the dictionary's own keys come first
_NOT_OF_THE_RECORD = ("message", "fields", "tags")


def from_event_dict(logger: object, method_name: str, event_dict: Mapping[str, Any]) -> LogEvent:
    """Return what a structlog processor is called with as a `LogEvent`.

    Raises:
        TypeError: The event is no dictionary any more.
    """
    if not isinstance(event_dict, Mapping):
        raise TypeError(f"the event is a {type(event_dict).__name__}: our processor belongs before the renderer")
    fields = dict(event_dict)
    rare = _NOTHING if _RARE.isdisjoint(fields) else _rare(fields)
    level, level_number = _level(
        _taken(fields, "level", str) or rare.get("level", method_name), rare.get("level_number")
    )
    trace_id, span_id = current_trace()
    log_event = LogEvent(
        time=_taken_time(fields, "timestamp") or rare.get("time") or datetime.now(UTC),
        level=level,
        level_number=level_number,
        message=_message(fields),
        logger=_taken(fields, "logger", str) or rare.get("logger") or _name_of(logger),
        process=os.getpid(),
        process_name=current_process_name(),
        thread=threading.get_ident(),
        thread_name=threading.current_thread().name,
        asyncio_task=current_asyncio_task(),
        task=current_task(),
        trace_id=trace_id,
        span_id=span_id,
        fields=fields,
    )
    if not rare:
        return log_event
    return msgspec.structs.replace(log_event, **{name: fact for name, fact in rare.items() if name not in _WEIGHED})


def from_plain_record(record: logging.LogRecord, message: str, fields: Mapping[str, object]) -> LogEvent:
    """Return a stdlib record as a `LogEvent`, with this message and these fields of the user's."""
    error = error_info(record.exc_info) if record.exc_info else None
    if error is None and record.exc_text and record.exc_text.strip():
        error = error_from_text(record.exc_text)  # through a socket or another process only the text comes
    trace_id, span_id = current_trace()
    return LogEvent(
        time=datetime.fromtimestamp(record.created, UTC),
        level=record.levelname,
        level_number=record.levelno,
        message=message,
        logger=record.name,
        path=record.pathname,
        line=record.lineno,
        function=record.funcName,
        module=record.module,
        process=record.process,
        process_name=record.processName,
        thread=record.thread,
        thread_name=record.threadName,
        asyncio_task=getattr(record, "taskName", None) or current_asyncio_task(),  # Python 3.12 has it
        stack_info=record.stack_info,
        error=error,
        task=current_task(),
        trace_id=trace_id,
        span_id=span_id,
        fields=fields,
    )


def _rare(fields: dict[str, Any]) -> dict[str, Any]:
    """Take the keys with a meaning out of `fields`; return what they say, by `LogEvent`'s names."""
    facts: dict[str, Any] = {}
    record = fields.pop("_record", None)
    if isinstance(record, logging.LogRecord):
        facts = msgspec.structs.asdict(from_plain_record(record, "", NO_FIELDS))
        for name in _NOT_OF_THE_RECORD:
            del facts[name]
    for key in _PRIVATE:
        fields.pop(key, None)
    if "pathname" in fields:
        _taken(fields, "filename", str)  # the end of the path
    said: dict[str, Any] = {name: _taken(fields, key, kind) for key, (name, kind) in _CALL_SITE.items()}
    if said["line"] is not None or said["function"] is not None:
        said["path"] = said["path"] or _taken(fields, "filename", str)  # else it is a file of the user's
    said["level"] = _taken(fields, "log_level", str)
    said["level_number"] = _taken(fields, "level_number", int)
    said["logger"] = _taken(fields, "logger_name", str)
    said["time"] = _taken_time(fields, "@timestamp")
    said["stack_info"] = _taken(fields, "stack", str) or _taken(fields, "stack_info", str)
    said["error"] = _taken_error(fields)
    _taken(fields, "stack_info", bool)  # a wish that StackInfoRenderer was not there to grant
    facts.update((name, fact) for name, fact in said.items() if fact is not None)
    return {name: fact for name, fact in facts.items() if fact is not None}


def _taken(fields: dict[str, Any], key: str, kind: type) -> Any:
    """Take a key out of `fields` if its value has exactly this type; else it is the user's own."""
    value = fields.get(key)
    if type(value) is not kind:
        return None
    del fields[key]
    return value


def _taken_error(fields: dict[str, Any]) -> ErrorInfo | None:
    """Take the exception out of `fields`: raw, or rendered by format_exc_info or dict_tracebacks."""
    exc_info, rendered = fields.get("exc_info"), fields.get("exception")
    error = error_info(exc_info)
    if error is not None or exc_info is None or isinstance(exc_info, bool | tuple):
        fields.pop("exc_info", None)
    stated = None
    if isinstance(rendered, str):
        stated = error_from_text(rendered)
    elif isinstance(rendered, list):
        stated = error_from_stacks(rendered)
    if stated is not None:
        del fields["exception"]
    return error or stated


def _taken_time(fields: dict[str, Any], key: str) -> datetime | None:
    """Take the time out of `fields` if it is certain which one is meant; other text stays there to be seen."""
    value = fields.get(key)
    if value is None:
        return None
    try:
        when = datetime.fromtimestamp(value, UTC) if type(value) is float else datetime.fromisoformat(value)
        if when.tzinfo is None:
            return None  # TimeStamper writes such text in UTC as well as in local time
        when = when.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        return None
    del fields[key]
    return when


def _message(fields: dict[str, Any]) -> str:
    key = "event"
    if not isinstance(fields.get(key), str):  # EventRenamer may have put something of the user's in its place
        key = next((key for key in _EVENT_RENAMED if isinstance(fields.get(key), str)), "event")
    message = "" if fields.get(key) is None else text_of(fields[key])
    fields.pop(key, None)
    if "positional_args" in fields:
        if "%" in message:
            try:
                message %= fields["positional_args"]
            except Exception:  # noqa: BLE001 - the format does not fit, or an argument's own __str__ raised
                return message  # and the arguments stay to be seen
        del fields["positional_args"]
    return message


def _level(text: str, number: int | None) -> tuple[str, int]:
    name = text.upper()
    name = _LEVEL_OF_METHOD.get(name, name)
    return name, LEVEL_NUMBERS.get(name, logging.INFO) if number is None else number


def _name_of(logger: object) -> str | None:
    name = getattr(logger, "name", None)
    return name if isinstance(name, str) else None
