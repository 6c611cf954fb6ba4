"""The log records of a Celery program, without what Celery itself writes into them of arguments and results.

Two kinds of Celery's own lines are treated specially, whoever configured their level:

- What the task events tell already ("Task … received", "… succeeded in …s: <result>", "… raised unexpected: …") is
  not shipped: the same fact twice, and its text and its `args` hold arguments and results.
- Lines that show a whole message or call (an unknown task, an invalid message, the pool at DEBUG) are shipped with
  `WITHHELD` in place of it.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Collection, Mapping

from beats_integrations.logging import BeatsHandler

WITHHELD = "[not shipped: it may hold a task's arguments]"

# Every line of these two loggers about one task carries a dict `data`, with these keys in what the events tell too.
# The one without them says that a task had been done before, and no signal does.
_TASK_LOGGERS = frozenset({"celery.app.trace", "celery.worker.strategy"})
_TOLD_BY_EVENTS = frozenset({"args", "exc"})

# (logger, how the line begins) → which of its arguments to withhold.
_REVEALING: Mapping[tuple[str, str], Collection[int]] = {
    ("celery.worker.consumer.consumer", "Received unregistered task"): (1, 2),
    ("celery.worker.consumer.consumer", "Received invalid task message"): (1,),
    ("celery.worker.consumer.consumer", "Received and deleted unknown message"): (0,),
    ("celery.worker.consumer.consumer", "Can't decode message body"): (3, 4),
    ("celery.worker.strategy", "Couldn't convert ETA"): (2,),
    ("celery.pool", "TaskPool: Apply"): (1, 2),
}
_REVEALING_LOGGERS = frozenset(logger for logger, _ in _REVEALING)


class WorkerLogHandler(BeatsHandler):
    """A BeatsHandler for the loggers that Celery sets up."""

    def emit(self, record: logging.LogRecord) -> None:
        """Ship the record, unless a task event tells the same. Never raises."""
        if not record.name.startswith("celery."):
            super().emit(record)
        elif not _told_by_task_event(record):
            super().emit(_withheld(record))


def _told_by_task_event(record: logging.LogRecord) -> bool:
    data = getattr(record, "data", None)
    return record.name in _TASK_LOGGERS and isinstance(data, dict) and not _TOLD_BY_EVENTS.isdisjoint(data)


def _withheld(record: logging.LogRecord) -> logging.LogRecord:
    """Return the record itself, or a copy that shows less: other handlers may want all of it."""
    if record.name not in _REVEALING_LOGGERS or not isinstance(record.args, tuple) or not isinstance(record.msg, str):
        return record
    for (logger, beginning), hidden in _REVEALING.items():
        if record.name == logger and record.msg.startswith(beginning):
            shown = copy.copy(record)
            shown.args = tuple(WITHHELD if i in hidden else value for i, value in enumerate(record.args))
            return shown
    return record
