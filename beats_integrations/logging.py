"""The adapter for the standard library's logging: a handler.

From code, `logging.getLogger().addHandler(BeatsHandler(hosts=["logstash:5044"]))`, or from `dictConfig`:

    "handlers": {"beats": {"class": "beats_integrations.logging.BeatsHandler", "hosts": ["logstash:5044"]}}

Do not put it behind a `QueueHandler`: it does not block, and a queue loses what an exception was.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from beats_integrations.event_dict import from_event_dict, from_plain_record
from beats_integrations.log_event import NO_FIELDS, LogEvent
from beats_integrations.outlet import Outlet, is_own
from beats_integrations.safety import free_name, text_of

if TYPE_CHECKING:
    from beats_core import Shipper

# Everything else on a record is the user's: `extra=`, a LoggerAdapter's, what a filter or a factory added.
_STANDARD_IN_ORDER = list(logging.LogRecord("", 0, "", 0, "", (), None).__dict__)
_FRESH = len(_STANDARD_IN_ORDER)
_STANDARD = frozenset(_STANDARD_IN_ORDER) | {
    *("message", "asctime", "taskName"),  # formatters write the first two
    *("_logger", "_name", "_from_structlog", "_record"),  # structlog's own
}
_LOGURU_EXC_TEXT = "\n"  # what loguru leaves in a record it hands to a stdlib handler
_CELERY_ARGUMENTS = frozenset({"args", "kwargs", "return_value"})
_SPECIAL = frozenset({"extra", "task_id", "task_name", "data"})
_NOT_IN_A_TASK = "???"  # what Celery's TaskFormatter writes into a record as the task's id and name


class BeatsHandler(logging.Handler):
    """Ships log records. Any thread; never raises, and waits for nothing.

    The message is `record.getMessage()`. Where a formatter was set its text is the message instead, without the
    exception, which has fields of its own; what a formatter makes of time and level is then in the text as well.

    Args:
        shipper: The shipper to use; without one it is made of `options`, and of `BEATS_*` for the rest.
        level: As for every handler.
        **options: `schema`, `application`, `environment` and `safety` as for `Outlet`, and `beats_core.Options`.

    Raises:
        OptionError: An option has a value it cannot have.
        ValueError: Both a shipper and options for one; or there is no such schema.
    """

    def __init__(self, shipper: Shipper | None = None, *, level: int | str = logging.NOTSET, **options: Any) -> None:
        # First: logging keeps a list of its handlers, and one that was never finished would break its shutdown.
        self.outlet = Outlet(shipper, **options)
        super().__init__(level)

    def setFormatter(self, fmt: logging.Formatter | None) -> None:  # noqa: N802 - logging's name
        """Take a formatter, but not the one that `basicConfig` gives to each handler when it was asked for none."""
        by_default = type(fmt) is logging.Formatter and fmt._fmt == logging.BASIC_FORMAT  # noqa: SLF001
        super().setFormatter(None if by_default else fmt)

    def handle(self, record: logging.LogRecord) -> Any:
        """Ship the record unless a filter refuses it, without the handler's lock: threads need not queue up here."""
        verdict: Any = self.filter(record)
        if isinstance(verdict, logging.LogRecord):  # since Python 3.12 a filter may return another one
            record = verdict
        if verdict:
            self.emit(record)
        return verdict

    def emit(self, record: logging.LogRecord) -> None:
        """Ship the record; what this project itself logs is not shipped, but shown where nobody else does."""
        if is_own(record.name):
            self._show(record)
        else:
            self.outlet.ship_record(self._log_event, record)

    def flush(self) -> None:
        """Wait until what was logged so far is acknowledged, for `shutdown_timeout` at most."""
        self.outlet.flush()

    def close(self) -> None:
        """Deliver what was logged so far, for `shutdown_timeout` at most, and take no more."""
        self.outlet.close()
        super().close()

    def _show(self, record: logging.LogRecord) -> None:
        """Do what logging does without any handler: where there are only handlers like this, the first one does it."""
        handlers: list[logging.Handler] = []
        logger: logging.Logger | None = logging.getLogger(record.name)
        while logger is not None:
            handlers += [handler for handler in logger.handlers if not isinstance(handler, logging.NullHandler)]
            logger = logger.parent if logger.propagate else None
        stderr = logging.lastResort
        unseen = all(isinstance(handler, BeatsHandler) for handler in handlers)
        if stderr is not None and record.levelno >= stderr.level and unseen and handlers[:1] == [self]:
            stderr.handle(record)

    def _log_event(self, record: logging.LogRecord) -> LogEvent:
        return from_record(record, self.formatter)


def from_record(record: logging.LogRecord, formatter: logging.Formatter | None = None) -> LogEvent:
    """Return a stdlib record as a `LogEvent`; its message is the formatter's, where there is one."""
    fields = NO_FIELDS if len(record.__dict__) == _FRESH else _fields(record)
    if isinstance(record.msg, dict) and not record.args:
        return _from_dict(record, formatter, fields)
    message = _message(record) if formatter is None else _formatted(record, formatter)
    return from_plain_record(record, message, fields)


def _from_dict(
    record: logging.LogRecord, formatter: logging.Formatter | None, fields: Mapping[str, object]
) -> LogEvent:
    """Unwrap a dictionary that was logged as the message, as structlog's `wrap_for_formatter` does."""
    event_dict = {**fields, **record.msg, "_record": record}  # type: ignore[dict-item] # msg is a dict here
    if formatter is not None:
        event_dict["event"] = _formatted(record, formatter)
    elif not {"event", "message", "msg"}.intersection(event_dict):
        event_dict["event"] = text_of(record.msg)
    return from_event_dict(None, record.levelname, event_dict)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    attributes = record.__dict__
    names = list(attributes)
    if names[:_FRESH] == _STANDARD_IN_ORDER:  # as a rule what was added stands behind
        del names[:_FRESH]
    fields: dict[str, Any] = {name: attributes[name] for name in names if name not in _STANDARD}
    if not _SPECIAL.isdisjoint(fields):
        _add_special(fields, record.name)
    return fields


def _add_special(fields: dict[str, Any], logger: str) -> None:
    """Put in place what loguru and Celery add to a record."""
    if isinstance(fields.get("extra"), dict):  # loguru's fields are in one attribute
        for name, value in fields.pop("extra").items():
            fields[free_name(name, fields)] = value
    for name in ("task_id", "task_name"):
        if isinstance(fields.get(name), str) and fields[name] == _NOT_IN_A_TASK:
            del fields[name]
    if logger.startswith("celery.") and isinstance(fields.get("data"), dict):
        # Celery's own lines about a task carry what it was called with, which may be anybody's secret.
        fields["data"] = {name: value for name, value in fields["data"].items() if name not in _CELERY_ARGUMENTS}


def _message(record: logging.LogRecord) -> str:
    try:
        if not record.args and not isinstance(record.msg, str):
            return text_of(record.msg)
        message = text_of(record.getMessage())
    except Exception:  # noqa: BLE001 - the format does not fit its arguments; the record is shipped all the same
        return f"{text_of(record.msg)} {text_of(record.args)}"
    if record.exc_text == _LOGURU_EXC_TEXT and record.exc_info:
        # loguru wrote the exception into the message, with the values of local variables.
        return message.partition("\nTraceback (most recent call last):")[0]
    return message


def _formatted(record: logging.LogRecord, formatter: logging.Formatter) -> str:
    """Return the formatter's text without the exception and the stack, which have fields of their own."""
    shown = copy.copy(record)
    shown.exc_info = shown.exc_text = shown.stack_info = None
    try:
        return text_of(formatter.format(shown))
    except Exception:  # noqa: BLE001 - it wants fields that this record does not have, or the format is broken
        return _message(record)
