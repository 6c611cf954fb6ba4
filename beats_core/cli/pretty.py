"""A document as lines for people: time, level, logger, message and fields; tracebacks below, indented.

What is logged anywhere may be hostile. Nothing of a document reaches the terminal unless it is printable: control and
formatting characters are shown as escapes, and what follows a line break inside a text is indented under a bar, so
that no text can pass for another event.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from beats_core.cli.terminal import printable

MAX_VALUE = 200  # characters shown of one field's value
MIN_ID = 16  # characters of a value that is not shown twice
MAX_NESTING = 4  # levels of objects taken apart into dotted names

_LEVEL_COLORS = {"DEBUG": "34", "INFO": "32", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;97;41"}
_DIM = "2"
_LOGGER_COLOR = "36"
_BAR = "    │ "

# What says where the event comes from rather than what happened. `--output ndjson` shows all of it.
_HIDDEN_AT_TOP = frozenset(
    (
        *("@timestamp", "@version", "@metadata", "message", "host", "type", "tags"),
        *("level", "logsource", "pid", "program"),  # of the Logstash format
        *("agent", "ecs", "event", "log", "process", "service"),  # of ECS
    )
)
_HIDDEN = frozenset(
    (
        *("application", "environment", "func_name", "line", "logger_name", "module", "path", "process_name"),
        *("stack_info", "stack_trace", "thread_id", "thread_name", "error.stack_trace"),
        # The message of a task event says it in words.
        *("event_action", "event_outcome", "task_state"),
        *("celery.task.action", "celery.task.outcome", "celery.task.state"),
        # Where it was done.
        *("queue", "exchange", "routing_key", "redelivered", "worker"),
        *("celery.queue", "celery.exchange", "celery.routing_key", "celery.redelivered"),
    )
)
_ERROR_NAMES = frozenset({"error_type", "error_message", "error.type", "error.message"})


class Pretty:
    """Turns documents, of the Logstash format, ECS or any other shape, into lines. Any thread.

    Args:
        color: Whether to use the terminal's colours.
    """

    def __init__(self, *, color: bool) -> None:
        self._color = color

    def __call__(self, document: object) -> str:
        """Return the lines for one document, each with its end."""
        if not isinstance(document, Mapping):
            return f"{printable(document if isinstance(document, str) else _json(document))}\n"
        extra = _object(document.get("extra"))
        log = _object(document.get("log"))
        level = _text(document.get("level") or log.get("level")).upper()
        message, *below = _text(document.get("message")).splitlines() or [""]
        below += _below(document, extra)
        logger = _text(extra.get("logger_name") or log.get("logger")) or _program(document, log)
        words = [
            self._paint(_DIM, _clock(document.get("@timestamp"))),
            self._paint(_LEVEL_COLORS.get(level, ""), f"{printable(level):<8}"),
            self._paint(_LOGGER_COLOR, printable(logger)) if logger else "",
            printable(message),
            " ".join(self._fields(document, with_error=not below)),
        ]
        lines = [" ".join(word for word in words if word), *(self._paint(_DIM, _BAR) + printable(row) for row in below)]
        return "".join(f"{line.rstrip()}\n" for line in lines)

    def _fields(self, document: Mapping[str, object], *, with_error: bool) -> Iterator[str]:
        message = _text(document.get("message"))
        shown = set()
        for name, value in _flat(document):
            text = _text(round(value, 6) if isinstance(value, float) else value)
            if value is None or name in _HIDDEN or (not with_error and name in _ERROR_NAMES):
                continue
            # An id that has been said; what is short may be the same by chance.
            if len(text) >= MIN_ID and (text in message or text in shown):
                continue
            shown.add(text)
            yield self._paint(_DIM, f"{printable(name)}=") + _quoted(text)
        failures = [tag for tag in _list(document.get("tags")) if isinstance(tag, str) and tag.startswith("_")]
        if failures:  # as Logstash marks what went wrong on the way
            yield self._paint(_LEVEL_COLORS["ERROR"], printable(" ".join(failures)))

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._color and code and text else text


def _clock(timestamp: object) -> str:
    """Return the time of day here, with the date unless that is today."""
    text = _text(timestamp)
    try:
        moment = datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError, OSError):  # no time, or one that no clock here shows
        return printable(text[:MAX_VALUE])
    date = "" if moment.date() == datetime.now(moment.tzinfo).date() else f"{moment:%Y-%m-%d} "
    return f"{date}{moment:%H:%M:%S}.{moment.microsecond // 1000:03}"


def _below(document: Mapping[str, object], extra: Mapping[str, object]) -> list[str]:
    error = _object(document.get("error"))
    stacks = (error.get("stack_trace"), extra.get("stack_trace"), extra.get("stack_info"))
    return [row for stack in stacks if isinstance(stack, str) for row in stack.splitlines()]


def _program(document: Mapping[str, object], log: Mapping[str, object]) -> str:
    """Return what stands for the logger where there is none: the program's name, or the file's."""
    candidates = (
        document.get("program"),
        _object(document.get("process")).get("executable"),
        _object(log.get("file")).get("path"),
    )
    return next((os.path.basename(text) for text in candidates if isinstance(text, str)), "")  # noqa: PTH119 - a text


def _flat(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """Yield what is worth showing, with dotted names; what is in `extra` without that word."""
    for name, value in document.items():
        if name == "extra" and isinstance(value, Mapping):
            for inner, item in value.items():
                yield from _leaves(inner, item, MAX_NESTING)
        elif name not in _HIDDEN_AT_TOP:
            yield from _leaves(name, value, MAX_NESTING)


def _leaves(name: str, value: object, nesting: int) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping) and value and nesting:
        for inner, item in value.items():
            yield from _leaves(f"{name}.{inner}", item, nesting - 1)
    else:
        yield name, value


def _object(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    try:
        return msgspec.json.encode(value).decode()
    except RecursionError:
        return "<too deep>"


def _quoted(text: str) -> str:
    """Return a value so that one sees where it ends."""
    shown = f"{text[:MAX_VALUE]}…" if len(text) > MAX_VALUE else text
    if not shown or any(char.isspace() or char in "=\"'" for char in shown):
        return printable(_json(shown))
    return printable(shown)
