"""What happens to a task, as events: Celery's signals on one side, `LogEvent`s on the other.

This room knows signals, requests and their traps. It never reads a task's arguments or its result, and knows
nothing of how an event is shipped.
"""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet, WeakValueDictionary

import msgspec
from celery import signals
from celery.app.task import Context
from celery.exceptions import Reject
from celery.utils.serialization import UnpickleableExceptionWrapper

from beats_integrations.correlation import current_process_name, current_trace, task_info
from beats_integrations.log_event import ErrorInfo, LogEvent, TaskInfo
from beats_integrations.tracebacks import error_info

SENT_AT_HEADER = "beats_sent_at"  # epoch seconds, in the message; the worker makes `queue_time` of it
NO_ID = "unknown"  # the task id of a message that has none
LOGGER = "celery.task"  # what the events name as their logger
LEVELS = {"INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}


Make = Callable[..., LogEvent | None]  # of what a signal sends


class Action(NamedTuple):
    """What can happen to a task, with Celery's name of the state it is in afterwards."""

    name: str
    state: str
    outcome: str | None = None
    level: str = "INFO"


SENT = Action("sent", "PENDING")
RECEIVED = Action("received", "RECEIVED")
STARTED = Action("started", "STARTED")
SUCCEEDED = Action("succeeded", "SUCCESS", "success")
FAILED = Action("failed", "FAILURE", "failure", "ERROR")
RETRIED = Action("retried", "RETRY", "unknown", "WARNING")
REVOKED = Action("revoked", "REVOKED", "unknown", "WARNING")
REJECTED = Action("rejected", "REJECTED", "unknown", "WARNING")
IGNORED = Action("ignored", "IGNORED", "unknown")
UNKNOWN = Action("unknown", "FAILURE", "failure", "ERROR")
INTERNAL_ERROR = Action("internal-error", "FAILURE", "failure", "CRITICAL")


class Run(NamedTuple):
    """One execution of a task, from its prerun on."""

    started: float
    queue_time: float | None


class TaskEvents:
    """Makes the events of one app's tasks. Any thread; each method takes what its signal sends.

    A method returns None where there is nothing to tell: the task of another app, a failure told before.

    Args:
        app: Whose tasks.
        sends: Whether a task of that name, published by this process, is this app's. The signals of publishing
            do not say so.
    """

    def __init__(self, app: Any, sends: Callable[[str], bool]) -> None:
        self._app = app
        self._sends = sends
        # In the process that executes: by the Context that Celery keeps on the task's stack meanwhile.
        self._running: WeakKeyDictionary[Any, Run] = WeakKeyDictionary()
        # In the process that receives: what the signals of time limits and lost processes do not say any more.
        self._requests: WeakValueDictionary[str, Any] = WeakValueDictionary()
        self._failed: WeakSet[Any] = WeakSet()

    def receivers(self) -> list[tuple[Any, Make]]:
        """Return each signal with what makes its event."""
        by_name: dict[Any, Make] = {
            signals.before_task_publish: self.stamp,
            signals.after_task_publish: self.sent,
        }
        by_app: dict[Any, Make] = {
            signals.task_received: self.received,
            signals.task_prerun: self.started,
            signals.task_success: self.succeeded,
            signals.task_failure: self.failed,
            signals.task_retry: self.retried,
            signals.task_postrun: self.finished,
            signals.task_revoked: self.revoked,
            signals.task_internal_error: self.internal_error,
            signals.task_unknown: self.unknown,
            signals.task_rejected: self.rejected,
        }
        return [
            *((signal, functools.partial(self._if_sent_here, make)) for signal, make in by_name.items()),
            *((signal, functools.partial(self._if_ours, make)) for signal, make in by_app.items()),
        ]

    def stamp(self, _sender: str, headers: dict[str, Any], **_: object) -> None:
        """Note in the message when it was sent; only in protocol 2, whose headers are the task's."""
        if "id" in headers:
            headers[SENT_AT_HEADER] = time.time()

    def sent(
        self, sender: str, headers: Mapping[str, Any], body: Any, exchange: Any, routing_key: str, **_: object
    ) -> LogEvent | None:
        """The broker has taken the task's message."""
        facts = headers if "id" in headers else body  # protocol 1 has everything in the body
        delivery = {"exchange": getattr(exchange, "name", exchange), "routing_key": routing_key}
        return self._event(SENT, Context(facts, task=sender, delivery_info=delivery), f" to {routing_key}")

    def received(self, _sender: Any, request: Any, **_: object) -> LogEvent | None:
        """A worker has taken the task from the broker."""
        self._requests[request.id] = request
        return self._event(RECEIVED, Context(request.request_dict))

    def started(self, sender: Any, **_: object) -> LogEvent | None:
        """The task's code begins to run."""
        context = sender.request
        self._running[context] = Run(time.monotonic(), _queue_time(context))
        return self._event(STARTED, context, name=sender.name)

    def succeeded(self, sender: Any, runtime: float | None = None, **_: object) -> LogEvent | None:
        """The task has returned. Celery before 5.7 does not say how long it took."""
        return self._event(SUCCEEDED, sender.request, name=sender.name, runtime=runtime)

    def failed(
        self, sender: Any, task_id: str, exception: Any, traceback: object = None, **_: object
    ) -> LogEvent | None:
        """The task has raised, or its process was lost.

        Celery tells it in the process that ran the task, or else in the one that received it; there once or twice,
        with or without the request.
        """
        context = sender.request
        if context not in self._running:
            request = self._requests.get(task_id)
            if request is not None:
                if request in self._failed:
                    return None
                self._failed.add(request)
                context = Context(request.request_dict)
            elif context.id != task_id:
                context = Context(id=task_id)
        if isinstance(exception, UnpickleableExceptionWrapper):
            exception = sys.exc_info()[1] or exception  # the one it stands for is being handled
        error = error_info(exception)
        if error and isinstance(traceback, str):
            error = ErrorInfo(error.type, error.message, traceback.rstrip("\n"))
        action = FAILED
        if isinstance(exception, Reject):
            action = action._replace(level="WARNING")
        elif isinstance(exception, tuple(sender.throws or ())):
            action = action._replace(level="INFO")
        return self._event(action, context, _cause(error), name=sender.name, error=error)

    def retried(self, sender: Any, request: Any, reason: Any = None, **_: object) -> LogEvent | None:
        """The task will run again. Without a reason Celery has cancelled it, for a lost connection to the broker."""
        error = error_info(getattr(reason, "exc", None))
        detail = "" if reason is None else f" {reason.humanize()}"
        return self._event(
            RETRIED,
            request,
            detail + _cause(error),
            name=sender.name,
            error=error,
            reason="cancelled" if reason is None else str(reason),
        )

    def finished(self, sender: Any, state: str | None = None, retval: object = None, **_: object) -> LogEvent | None:
        """Tell of the two ends that have no signal of their own. Here `retval` is the exception that says so."""
        if state == "REJECTED":
            reason = str(getattr(retval, "reason", "") or "")
            detail = f": {reason}" if reason else ""
            return self._event(REJECTED, sender.request, detail, name=sender.name, reason=reason or None)
        if state == "IGNORED":
            return self._event(IGNORED, sender.request, name=sender.name)
        return None

    def revoked(
        self,
        sender: Any,
        request: Any,
        terminated: bool = False,  # noqa: FBT001, FBT002 - Celery's names
        signum: object = None,
        expired: bool = False,  # noqa: FBT001, FBT002 - as above
        **_: object,
    ) -> LogEvent | None:
        """The task will not run, or not to its end."""
        signal_name = _signal_name(signum)
        detail = f" by {signal_name}" if signal_name else " as it has expired" if expired else ""
        return self._event(
            REVOKED,
            request,
            detail,
            name=sender.name,
            terminated=bool(terminated),
            expired=bool(expired),
            signum=signal_name,
        )

    def internal_error(self, sender: Any, task_id: str, request: Any, exception: Any, **_: object) -> LogEvent | None:
        """Celery itself has failed around the task, such as in storing its result."""
        error = error_info(exception)
        context = Context(request or {}, id=task_id)
        return self._event(INTERNAL_ERROR, context, _cause(error), name=sender.name, error=error)

    def unknown(self, sender: Any, message: Any, name: str, id: str, **_: object) -> LogEvent | None:  # noqa: A002
        """A worker has received a task of a name that it does not have, and has dropped it."""
        return self._event(UNKNOWN, Context(_message_facts(sender, message), id=id), " to this worker", name=name)

    def rejected(self, sender: Any, message: Any, exc: object = None, **_: object) -> LogEvent | None:
        """A worker has received a message that is no task, and has dropped it."""
        facts = _message_facts(sender, message)
        task_id = facts.get("id") or (message.properties or {}).get("correlation_id") or NO_ID
        error = error_info(exc)
        return self._event(
            REJECTED,
            Context(facts, id=task_id),
            _cause(error) or ": no task",
            name=facts.get("task"),
            error=error,
        )

    def _if_sent_here(self, make: Make, sender: str, **sent: Any) -> LogEvent | None:
        return make(sender, **sent) if self._sends(sender) else None

    def _if_ours(self, make: Make, sender: Any, **sent: Any) -> LogEvent | None:
        return make(sender, **sent) if sender.app == self._app else None  # the app may be a proxy: not "is"

    def _event(
        self,
        action: Action,
        context: Any,
        detail: str = "",
        *,
        name: str | None = None,
        runtime: float | None = None,
        error: ErrorInfo | None = None,
        **facts: Any,
    ) -> LogEvent | None:
        task = task_info(context, name)
        if task is None:
            return None
        run = self._running.get(context)
        if run is not None:
            facts["queue_time"] = run.queue_time
            if runtime is None and action is not STARTED:
                runtime = time.monotonic() - run.started
        delivery = context.delivery_info or {}
        task = msgspec.structs.replace(
            task,
            action=f"task-{action.name}",
            state=action.state,
            outcome=action.outcome,
            retries=context.retries or 0,
            queue=self._queue(delivery.get("exchange"), delivery.get("routing_key")),
            exchange=delivery.get("exchange"),
            routing_key=delivery.get("routing_key"),
            redelivered=delivery.get("redelivered"),
            eta=_utc_text(context.eta),
            expires=_utc_text(context.expires),
            runtime=runtime,
            **facts,
        )
        took = f" in {runtime:.3f}s" if action in (SUCCEEDED, FAILED) and runtime is not None else ""
        thread = threading.current_thread()
        trace_id, span_id = current_trace()
        return LogEvent(
            time=datetime.now(UTC),
            level=action.level,
            level_number=LEVELS[action.level],
            message=f"Task {task.name or '?'}[{task.id}] {action.name.replace('-', ' ')}{took}{detail}",
            logger=LOGGER,
            process=os.getpid(),
            process_name=current_process_name(),
            thread=thread.ident,
            thread_name=thread.name,
            error=error,
            task=task,
            trace_id=trace_id,
            span_id=span_id,
            tags=("celery", f"task-{action.name}"),
            id=_event_id(action, task, context.replaced_task_nesting),
        )

    def _queue(self, exchange: str | None, routing_key: str | None) -> str | None:
        if exchange:
            for queue in self._app.amqp.queues.values():
                if (queue.exchange.name, queue.routing_key) == (exchange, routing_key):
                    name: str = queue.name
                    return name
        return routing_key  # through the nameless exchange it is the queue; else it is the next best


def _event_id(action: Action, task: TaskInfo, nesting: int) -> str | None:
    """The same for one fact however often it is told; another for another delivery of the same message."""
    if task.id == NO_ID:
        return None
    parts = [task.id, action.name, str(task.retries)]
    if nesting:
        parts.append(f"replaced{nesting}")  # Task.replace() runs another task under the id of the first
    if task.redelivered:
        parts.append(f"{time.time_ns():x}")  # no broker tells how many times before
    return "-".join(parts)


def _queue_time(context: Any) -> float | None:
    """Seconds from when the task could have run, which is its eta if it has one, until now."""
    sent_at = getattr(context, SENT_AT_HEADER, None)
    if not isinstance(sent_at, float):
        return None
    eta = _utc(context.eta)
    ready_at = sent_at if eta is None else max(sent_at, eta.timestamp())
    return max(0.0, time.time() - ready_at)  # two hosts' clocks may differ by more than it waited


def _message_facts(consumer: Any, message: Any) -> dict[str, Any]:
    return {**(message.headers or {}), "delivery_info": message.delivery_info, "hostname": consumer.hostname}


def _cause(error: ErrorInfo | None) -> str:
    return "" if error is None else f": {error.type}: {error.message}"


def _signal_name(signum: object) -> str | None:
    """SIGTERM for 15, "15" and "SIGTERM"."""
    if signum is None:
        return None
    try:
        return signal.Signals(abs(int(str(signum)))).name
    except ValueError:
        return str(signum)


def _utc(moment: object) -> datetime | None:
    """A moment as Celery's requests hold it: a datetime or ISO 8601 text, which is in UTC where it says no zone."""
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError:
            return None
    if not isinstance(moment, datetime):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _utc_text(moment: object) -> str | None:
    utc = _utc(moment)
    return None if utc is None else utc.isoformat().replace("+00:00", "Z")
