"""What every logging library knows about one log call, in neutral words.

Adapters turn their native record into a `LogEvent`; schemas dress a `LogEvent` as a document.
This room knows neither a library nor a schema, and does no I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import msgspec

NO_FIELDS: Mapping[str, object] = {}


class ErrorInfo(msgspec.Struct, frozen=True):
    """An exception as text: formatted when it was logged, without the values of local variables."""

    type: str
    message: str
    stack_trace: str = ""


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The Celery task an event belongs to; for a task event also what happened to it.

    A log record written inside a task carries what identifies the task (`id` to `worker`).
    A task event has `action` as well, and the outcome. None means not known or not applicable.
    Times are ISO 8601 text in UTC, durations are seconds.
    """

    id: str
    name: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    retries: int | None = None
    queue: str | None = None
    worker: str | None = None
    action: str | None = None
    state: str | None = None
    outcome: str | None = None
    exchange: str | None = None
    routing_key: str | None = None
    redelivered: bool | None = None
    eta: str | None = None
    expires: str | None = None
    runtime: float | None = None
    queue_time: float | None = None
    terminated: bool | None = None
    expired: bool | None = None
    signum: str | None = None
    reason: str | None = None


class LogEvent(msgspec.Struct, frozen=True, kw_only=True):
    """One log call. `time` is aware and in UTC; `level` is the upper-case name; `fields` is the user's data.

    `path`, `line`, `function` and `module` say where the call stands; None means the library did not tell.
    `trace_id` and `span_id` are W3C hexadecimal text, None outside of a trace.
    `id` is stable for one fact when the event may be made twice (Celery); None lets the shipper number it.
    """

    time: datetime
    level: str
    message: str
    level_number: int = 20
    logger: str | None = None
    path: str | None = None
    line: int | None = None
    function: str | None = None
    module: str | None = None
    process: int | None = None
    process_name: str | None = None
    thread: int | None = None
    thread_name: str | None = None
    asyncio_task: str | None = None
    stack_info: str | None = None
    error: ErrorInfo | None = None
    task: TaskInfo | None = None
    trace_id: str | None = None
    span_id: str | None = None
    fields: Mapping[str, object] = NO_FIELDS
    tags: tuple[str, ...] = ()
    id: str | None = None
