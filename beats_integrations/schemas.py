"""How a `LogEvent` is dressed as a document: Logstash's format, or the Elastic Common Schema.

A schema is a callable from `LogEvent` to a mapping; a user may bring one. Both here keep the user's fields in one
namespace, `extra`, so that a field is found at the same place whichever schema is chosen, and can never meet a name
to which Logstash or ECS gives a meaning. Where a field of the user has the name of one of ours, the user's gets a
number: `path_2`. What is None is left out.

Constant parts are shared between documents: read a document, do not change its inner mappings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC

import msgspec

from beats_integrations.log_event import LogEvent, TaskInfo
from beats_integrations.safety import free_name

Document = dict[str, object]

ECS_VERSION = "8.11.0"
STANDARD_LEVELS = frozenset({"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"})  # their names say their numbers

# What a log call says of itself in Logstash's `extra`. Reserved in every event, also in one that does not know its
# own line: so the same call is the same document whichever library made it, and a name keeps one type.
LOGSTASH_NAMES = frozenset(
    (
        *("application", "environment", "logger_name", "path", "line", "func_name", "module"),
        *("thread_name", "thread_id", "process_name", "error_type", "error_message", "stack_trace"),
    )
)
ECS_NAMES = frozenset({"module", "asyncio_task", "stack_info"})

# TaskInfo's names → ours, where they differ.
_TASK_IN_LOGSTASH = {
    "id": "task_id",
    "name": "task_name",
    "action": "event_action",
    "state": "task_state",
    "outcome": "event_outcome",
}
_CELERY_IN_ECS = ("queue", "routing_key", "exchange", "redelivered")
_EVENT_IN_ECS = ("action", "outcome", "reason")
_ELSEWHERE_IN_ECS = frozenset({*_CELERY_IN_ECS, *_EVENT_IN_ECS, "worker"})


class LogstashV1:
    """Logstash's own format, version 1, as PyLogBeat's README shows it. Any thread.

    Args:
        host: The host's name; `host` and `logsource`.
        program: What the process was started as (`sys.argv[0]`), taken as it is.
        application: The name of the application, `extra.application`.
        environment: Where it runs ("production"), `extra.environment`.
    """

    def __init__(
        self, *, host: str, program: str, application: str | None = None, environment: str | None = None
    ) -> None:
        self._host = host
        self._program = program
        self._constant = _known(application=application, environment=environment)

    def __call__(self, log_event: LogEvent) -> Document:
        """Return the document: the format's own names at the top, everything else in `extra`."""
        extra = self._constant.copy()
        if log_event.logger is not None:
            extra["logger_name"] = log_event.logger
        if log_event.path is not None:
            extra["path"] = log_event.path
        if log_event.line is not None:
            extra["line"] = log_event.line
        if log_event.function is not None:
            extra["func_name"] = log_event.function
        if log_event.module is not None:
            extra["module"] = log_event.module
        if log_event.thread is not None:
            extra["thread_id"] = log_event.thread
        if log_event.thread_name is not None:
            extra["thread_name"] = log_event.thread_name
        if log_event.process_name is not None:
            extra["process_name"] = log_event.process_name
        if log_event.level not in STANDARD_LEVELS:
            extra["level_number"] = log_event.level_number
        if log_event.asyncio_task is not None:
            extra["asyncio_task"] = log_event.asyncio_task
        if log_event.trace_id is not None:
            extra.update(_known(trace_id=log_event.trace_id, span_id=log_event.span_id))
        if log_event.stack_info is not None:
            extra["stack_info"] = log_event.stack_info
        if log_event.task is not None:
            extra.update(_logstash_task(log_event.task))
        error = log_event.error
        if error is not None:
            extra["error_type"] = error.type.rpartition(".")[2]
            extra["error_message"] = error.message
            extra["stack_trace"] = error.stack_trace
        document: Document = {
            "@timestamp": _timestamp(log_event),
            "@version": "1",
            "message": log_event.message,
            "host": self._host,
            "level": log_event.level,
            "logsource": self._host,
            "program": self._program,
            "type": "python-logstash",
            "extra": _with_fields(extra, log_event.fields, LOGSTASH_NAMES),
        }
        if log_event.process is not None:
            document["pid"] = log_event.process
        return _finished(document, log_event)


class Ecs:
    """The Elastic Common Schema, 8.x, as nested objects: Logstash does not split dotted names. Any thread.

    Args:
        host: The host's name, `host.hostname`.
        program: What the process was started as (`sys.argv[0]`), `process.executable`.
        application: `service.name`.
        environment: `service.environment`.
        namespace: Where the user's fields are. ECS promises never to define `extra`.
    """

    def __init__(
        self,
        *,
        host: str,
        program: str,
        application: str | None = None,
        environment: str | None = None,
        namespace: str = "extra",
    ) -> None:
        self._ecs: Document = {"version": ECS_VERSION}
        self._host: Document = {"hostname": host}
        self._program = program
        self._service = _known(name=application, environment=environment)
        self._namespace = namespace

    def __call__(self, log_event: LogEvent) -> Document:
        """Return the document. It has a name of ECS only where the event says something under it."""
        log: Document = {"level": log_event.level.lower()}
        if log_event.logger is not None:
            log["logger"] = log_event.logger
        origin: Document = {}
        if log_event.path is not None:
            file: Document = {"name": log_event.path}
            if log_event.line is not None:
                file["line"] = log_event.line
            origin["file"] = file
        if log_event.function is not None:
            origin["function"] = log_event.function
        if origin:
            log["origin"] = origin
        document: Document = {
            "@timestamp": _timestamp(log_event),
            "ecs": self._ecs,
            "message": log_event.message,
            "log": log,
            "host": self._host,
            "process": self._process(log_event),
        }
        if self._service:
            document["service"] = self._service
        if log_event.level not in STANDARD_LEVELS:
            document["event"] = {"severity": log_event.level_number}
        if log_event.task is not None:
            self._add_task(document, log_event.task)
        if log_event.trace_id is not None:
            document["trace"] = {"id": log_event.trace_id}
            if log_event.span_id is not None:
                document["span"] = {"id": log_event.span_id}
        error = log_event.error
        if error is not None:
            document["error"] = {"type": error.type, "message": error.message, "stack_trace": error.stack_trace}
        own: Document = {} if log_event.module is None else {"module": log_event.module}
        if log_event.asyncio_task is not None:
            own["asyncio_task"] = log_event.asyncio_task
        if log_event.stack_info is not None:
            own["stack_info"] = log_event.stack_info
        if own or log_event.fields:
            document[self._namespace] = _with_fields(own, log_event.fields, ECS_NAMES)
        return _finished(document, log_event)

    def _process(self, log_event: LogEvent) -> Document:
        process: Document = {"executable": self._program}
        if log_event.process is not None:
            process["pid"] = log_event.process
        if log_event.process_name is not None:
            process["name"] = log_event.process_name
        if log_event.thread is not None or log_event.thread_name is not None:
            process["thread"] = _known(id=log_event.thread, name=log_event.thread_name)
        return process

    def _add_task(self, document: Document, task: TaskInfo) -> None:
        known = _known(**msgspec.structs.asdict(task))
        celery: Document = {"task": {name: value for name, value in known.items() if name not in _ELSEWHERE_IN_ECS}}
        celery.update((name, known[name]) for name in _CELERY_IN_ECS if name in known)
        document["celery"] = celery
        if task.worker is not None:
            document["service"] = {**self._service, "node": {"name": task.worker}}
        if task.action is not None:
            document["event"] = {
                "kind": "event",
                "category": ["process"],
                "type": _event_types(task),
                "dataset": "celery.task",
                **{name: known[name] for name in _EVENT_IN_ECS if name in known},
                **_known(duration=None if task.runtime is None else round(task.runtime * 1e9)),
            }
        trace_id = (task.root_id or "").replace("-", "")
        if len(trace_id) == 32:
            # A root's UUID is a valid W3C trace id, and joins what all tasks of one workflow logged.
            document["trace"] = {"id": trace_id}


def _event_types(task: TaskInfo) -> list[str]:
    if task.outcome == "failure":
        return ["end", "error"]
    if task.outcome == "success":
        return ["end"]
    return ["start"] if task.action == "task-started" else ["info"]


def _logstash_task(task: TaskInfo) -> Document:
    return {
        _TASK_IN_LOGSTASH.get(name, name): value
        for name, value in msgspec.structs.asdict(task).items()
        if value is not None
    }


def _finished(document: Document, log_event: LogEvent) -> Document:
    if log_event.tags:
        document["tags"] = list(log_event.tags)
    if log_event.id is not None:
        document["@metadata"] = {"_id": log_event.id}
    return document


def _with_fields(own: Document, fields: Mapping[str, object], reserved: Collection[str]) -> Document:
    """Return our names and the user's together, none of them lost."""
    if not fields:
        return own
    merged = {**own, **fields}
    if len(merged) == len(own) + len(fields) and fields.keys().isdisjoint(reserved):
        return merged
    merged = own.copy()
    taken = {*own, *fields, *reserved}
    for name, value in fields.items():
        if name in own or name in reserved:
            if name in own and own[name] == value and type(own[name]) is type(value):
                continue  # the library told us the same that the user did, the id of a task for example
            name = free_name(name, taken)  # noqa: PLW2901
            taken.add(name)
        merged[name] = value
    return merged


def _known(**values: object) -> Document:
    return {name: value for name, value in values.items() if value is not None}


def _timestamp(log_event: LogEvent) -> str:
    """Return the time in milliseconds, as Logstash has it: truncated, so never in the future."""
    try:
        text: str = msgspec.to_builtins(log_event.time)  # ten times as fast as isoformat()
    except TypeError:  # a subclass of datetime
        text = ""
    if len(text) == 27 and text[26] == "Z":
        return f"{text[:23]}Z"
    return f"{log_event.time.astimezone(UTC).isoformat(timespec='milliseconds')[:23]}Z"
