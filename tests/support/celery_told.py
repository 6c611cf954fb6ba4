"""What the signals of an app become. The signals are sent by Celery's own code, without a worker."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery, signals
from celery.worker.request import Request

from beats_integrations.celery.task_events import TaskEvents
from beats_integrations.log_event import LogEvent, TaskInfo

HOSTNAME = "celery@w1"


class Consumer:
    """What sends the signals of a worker's main process."""

    hostname = HOSTNAME

    def __init__(self, app: Celery) -> None:
        self.app = app


class Told:
    """The events that one app's signals became."""

    def __init__(self, app: Celery) -> None:
        self.app = app
        self.events: list[LogEvent] = []
        self._connected: list[tuple[Any, Any]] = []
        for signal, make in TaskEvents(app, sends=lambda _name: True).receivers():
            receiver = functools.partial(self._keep, make)
            signal.connect(receiver, weak=False)
            self._connected.append((signal, receiver))

    def _keep(self, make: Any, **sent: Any) -> None:
        event = make(**sent)
        if event is not None:
            self.events.append(event)

    def disconnect(self) -> None:
        for signal, receiver in self._connected:
            signal.disconnect(receiver)

    def actions(self) -> list[str | None]:
        return [task_of(event).action for event in self.events]

    def only(self, action: str) -> LogEvent:
        (event,) = (event for event in self.events if task_of(event).action == f"task-{action}")
        return event


def task_of(event: LogEvent) -> TaskInfo:
    assert event.task is not None
    return event.task


def fetch(app: Celery, headers: Mapping[str, object] | None = None, *, redelivered: bool = False) -> Request:
    """Take the oldest task from the broker, as a worker does; `headers` replace those of the message."""
    with app.connection_for_read() as connection:
        queue = app.amqp.queues["celery"](connection.default_channel)
        message = queue.get(no_ack=True)
        message.delivery_info["redelivered"] = redelivered
        message.headers.update(headers or {})
        app.finalize()
        request = Request(message, app=app, hostname=HOSTNAME)
    consumer = Consumer(app)
    signals.task_received.send(sender=consumer, request=request)
    return request


def exception_info(error: Exception) -> ExceptionInfo:
    """What billiard hands to the worker."""
    try:
        raise error
    except type(error):
        return ExceptionInfo()
