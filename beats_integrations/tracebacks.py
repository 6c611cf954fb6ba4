"""An exception, in whatever form a library hands it over, as an `ErrorInfo`.

The text is made at once, in the thread that logged: Celery and loguru clear frames right afterwards. It never
holds the values of local variables, which is where passwords are.
"""

from __future__ import annotations

import re
import sys
import textwrap
import traceback
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from beats_integrations.log_event import ErrorInfo

# What names the error: the first line after the last frame that is not indented. Its message may have more lines.
_ERROR_LINE = re.compile(r"^([A-Za-z_][\w.<>]*)(?:: (.*))?\Z", re.MULTILINE | re.DOTALL)
_LAST_FRAME = re.compile(r'.*^  File "', re.MULTILINE | re.DOTALL)
_GROUP_LINE = re.compile(r"^  \| ([A-Za-z_][\w.<>]*): (.*)$", re.MULTILINE)

_CAUSE = "\n\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\n\nDuring handling of the above exception, another exception occurred:\n\n"


def error_info(exc_info: object) -> ErrorInfo | None:
    """Return the error that `exc_info` names, None when there is none. Never raises.

    Args:
        exc_info: An exception; a (type, value, traceback) tuple, which may hold three None; billiard's
            ExceptionInfo; or anything else that is true for "the exception being handled".
    """
    if isinstance(exc_info, BaseException):
        return _formatted(exc_info, exc_info.__traceback__)
    if isinstance(exc_info, tuple):
        return _of_tuple(exc_info)
    if not exc_info:
        return None
    exception, text = getattr(exc_info, "exception", None), getattr(exc_info, "traceback", None)
    if isinstance(exception, BaseException) and isinstance(text, str):
        exception = getattr(exception, "exc", exception)  # billiard wraps it for the way between processes
        return ErrorInfo(_qualified(type(exception)), _said(exception), text.rstrip("\n"))
    return _of_tuple(sys.exc_info())


def error_from_text(text: str) -> ErrorInfo:
    """Return the error that a traceback in text ends with; type and message are empty where no line names one."""
    stack_trace = text.strip("\n")
    last_frame = _LAST_FRAME.match(stack_trace)
    found = _ERROR_LINE.search(stack_trace, last_frame.end() if last_frame else 0) or _GROUP_LINE.search(stack_trace)
    if found is None:
        return ErrorInfo("", "", stack_trace)
    return ErrorInfo(found[1], found[2] or "", stack_trace)


def error_from_stacks(stacks: list[Any]) -> ErrorInfo | None:
    """Return the error in what structlog's `dict_tracebacks` makes, without its locals; None if it is something else.

    The first stack is the error itself, those behind it are what it came from.
    """
    try:
        return ErrorInfo(str(stacks[0]["exc_type"]), str(stacks[0]["exc_value"]), _chain_text(stacks))
    except Exception:  # noqa: BLE001 - somebody's own list under the same key
        return None


def _of_tuple(exc_info: tuple[Any, ...]) -> ErrorInfo | None:
    if len(exc_info) != 3:
        return None
    kind, value, trace = exc_info
    if isinstance(value, BaseException):
        return _formatted(value, trace if isinstance(trace, TracebackType) else None)
    if isinstance(kind, type) and issubclass(kind, BaseException):
        # loguru's `enqueue` keeps the type of an exception it cannot pickle, and loses the rest.
        return ErrorInfo(_qualified(kind), "" if value is None else _said(value))
    return None


def _formatted(error: BaseException, trace: TracebackType | None) -> ErrorInfo:
    try:
        stack_trace = "".join(traceback.format_exception(type(error), error, trace)).rstrip("\n")
    except Exception:  # noqa: BLE001 - hostile __cause__ or __notes__, or no stack left after a RecursionError
        stack_trace = ""
    return ErrorInfo(_qualified(type(error)), _said(error), stack_trace)


def _qualified(kind: type) -> str:
    """Name the type as the last line of a traceback does."""
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _said(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a hostile __str__
        return f"<{type(value).__name__} whose str raised {type(error).__name__}>"


def _chain_text(stacks: list[Any]) -> str:
    """Write structlog's stacks as Python does: what came first stands first."""
    text = _stack_text(stacks[-1])
    for later, earlier in zip(stacks[-2::-1], stacks[:0:-1], strict=True):
        text += (_CAUSE if earlier["is_cause"] else _CONTEXT) + _stack_text(later)
    return text


def _stack_text(stack: Mapping[str, Any]) -> str:
    lines = [f'  File "{frame["filename"]}", line {frame["lineno"]}, in {frame["name"]}' for frame in stack["frames"]]
    if lines:
        lines.insert(0, "Traceback (most recent call last):")
    lines.append(f"{stack['exc_type']}: {stack['exc_value']}" if stack["exc_value"] else str(stack["exc_type"]))
    lines.extend(stack.get("exc_notes") or ())
    lines.extend(textwrap.indent(_chain_text(inner), "  | ") for inner in stack.get("exceptions") or ())
    return "\n".join(lines)
