"""One worker's life, from its first task to its end: every way a task can go, and what a Receiver got of it."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from celery import Celery

from beats_core import Receiver
from beats_integrations.celery import install
from support.celery_brokers import BROKERS
from support.celery_shop import make_shop
from support.celery_worker import LIMIT, CeleryWorker

SECRET = "4111111111111111"  # in arguments and results; must not be in any event
DETAILS = {"card": SECRET}

# What a worker without a fault tells of each task, as often as that.
TOLD_IN_ANY_POOL: Mapping[str, Mapping[str, int]] = {
    "charge": {"sent": 1, "received": 1, "started": 1, "succeeded": 1},
    "flaky": {"sent": 3, "received": 3, "started": 3, "retried": 2, "succeeded": 1},
    "fail": {"sent": 1, "received": 1, "started": 1, "failed": 1},
    "fail_unpicklable": {"sent": 1, "received": 1, "started": 1, "failed": 1},
    "reserve": {"sent": 1, "received": 1, "started": 1, "failed": 1},
    "skip": {"sent": 1, "received": 1, "started": 1, "ignored": 1},
    "refuse": {"sent": 1, "received": 1, "started": 1, "rejected": 1, "failed": 1},
    "order": {"sent": 1, "received": 1, "started": 1, "succeeded": 1},
    "expired": {"sent": 1, "revoked": 1},
    "revoked": {"sent": 1, "revoked": 1},
    "unknown": {"sent": 1, "unknown": 1},
}
# What only a broker can do that tells a message it delivers again.
TOLD_BY_A_SERVER: Mapping[str, Mapping[str, int]] = {
    "put_back": {"sent": 1, "received": 2, "started": 2, "rejected": 1, "succeeded": 1},
}
# What only a pool of processes can do to a task.
TOLD_IN_PREFORK: Mapping[str, Mapping[str, int]] = {
    "terminated": {"sent": 1, "received": 1, "started": 1, "revoked": 1},
    "limited": {"sent": 1, "received": 1, "started": 1, "failed": 1},
    "died": {"sent": 1, "received": 1, "started": 1, "failed": 1},
}


@dataclass(frozen=True)
class Story:
    """What became of the tasks of one worker, by their labels, and of everything that was logged."""

    pool: str
    ids: Mapping[str, str]
    expected: Mapping[str, Mapping[str, int]]
    events: list[Any]
    log: str

    def told(self, task_id: str, action: str | None = None) -> list[Any]:
        """Return the task events of one task."""
        return told(self.events, task_id, action)

    def lines(self, message: str) -> list[Any]:
        """Return the log records, not task events, with that message."""
        return [event for event in self.events if event["message"] == message and "event_action" not in event["extra"]]


def told(events: list[Any], task_id: str, action: str | None = None) -> list[Any]:
    """Return the events of one task, or those of one action."""
    return [
        event
        for event in events
        if event["extra"].get("task_id") == task_id
        and "event_action" in event["extra"]
        and action in (None, action_of(event))
    ]


def action_of(event: Any) -> str:
    """Return what happened to the task, without Celery's prefix; "" for a log record."""
    return str(event["extra"].get("event_action", "")).removeprefix("task-")


def steps_of(events: list[Any], task_id: str) -> Counter[str]:
    """Count what was told of a task."""
    return Counter(map(action_of, told(events, task_id)))


def play(broker_name: str, pool: str) -> Story:
    """Run a worker through all of it, and return what arrived once it has ended."""
    with BROKERS[broker_name]() as broker, Receiver() as receiver:
        options: dict[str, Any] = {"hosts": receiver.host, "shutdown_timeout": LIMIT}
        app = make_shop(broker)
        installation = install(app, **options)
        # At DEBUG the pool logs every call it makes, and in a prefork worker that includes the message's body.
        level = "DEBUG" if pool == "prefork" else "INFO"
        try:
            with CeleryWorker(broker, pool, options, level=level) as worker:
                ids, expected = _send_to_any_pool(app, worker), dict(TOLD_IN_ANY_POOL)
                if broker_name != "filesystem":
                    ids["put_back"] = app.tasks["shop.put_back"].delay(**DETAILS).id
                    expected |= TOLD_BY_A_SERVER
                _wait_until_told(worker, receiver, ids, expected)
                if pool == "prefork":
                    # Without an event loop, as with files, the pool takes ten seconds to miss a process.
                    labels = ["terminated", "limited"] if broker_name == "filesystem" else list(TOLD_IN_PREFORK)
                    ids |= _send_to_prefork(app, labels, worker, receiver)
                    expected |= {label: TOLD_IN_PREFORK[label] for label in labels}
                    _wait_until_told(worker, receiver, ids, expected)
                worker.stop()
                log = worker.log()
        finally:
            installation.uninstall()
            app.close()
        return Story(pool, ids, expected, receiver.events, log)


def _send_to_any_pool(app: Celery, worker: CeleryWorker) -> dict[str, str]:
    ids = {
        label: app.tasks[f"shop.{label}"].delay(**DETAILS).id
        for label in ("charge", "fail", "fail_unpicklable", "reserve", "skip", "refuse", "order")
    }
    ids["flaky"] = app.tasks["shop.flaky"].delay(2, **DETAILS).id
    # Given as `expires=` it would be the broker's to drop: RabbitMQ does.
    past = {"expires": datetime.fromtimestamp(0, UTC).isoformat()}
    ids["expired"] = app.tasks["shop.charge"].apply_async(kwargs=DETAILS, headers=past).id
    ids["unknown"] = app.send_task("shop.nobody", kwargs=DETAILS).id
    ids["revoked"] = str(uuid4())
    # Asked until it answers: at Redis, a worker that does not listen yet misses it.
    worker.wait_until(lambda: app.control.revoke(ids["revoked"], reply=True, limit=1, timeout=1.0) != [], "it answers")
    app.tasks["shop.charge"].apply_async(kwargs=DETAILS, task_id=ids["revoked"])
    with app.producer_or_acquire() as producer:
        producer.publish(DETAILS, exchange="", routing_key="celery", serializer="json")  # no task at all
    return ids


def _send_to_prefork(app: Celery, labels: list[str], worker: CeleryWorker, receiver: Receiver) -> dict[str, str]:
    """Send tasks whose process is killed. What a process had not delivered by then would be gone with it."""
    ids = {}
    with tempfile.TemporaryDirectory() as folder:
        now = Path(folder) / "now"
        for label in labels:
            if label == "terminated":
                result = app.tasks["shop.wait"].delay(**DETAILS)
            elif label == "limited":
                result = app.tasks["shop.wait"].apply_async(kwargs=DETAILS, time_limit=2)
            else:
                result = app.tasks["shop.die"].delay(str(now))
            ids[label] = task_id = result.id
            worker.wait_until(lambda: told(receiver.events, task_id, "started") != [], "it has started")  # noqa: B023
            if label == "terminated":
                app.control.revoke(task_id, terminate=True)
        now.touch()
        _wait_until_told(worker, receiver, ids, {label: TOLD_IN_PREFORK[label] for label in labels})
    return ids


def _wait_until_told(
    worker: CeleryWorker, receiver: Receiver, ids: Mapping[str, str], expected: Mapping[str, Mapping[str, int]]
) -> None:
    def all_told() -> bool:
        events = receiver.events
        return all(Counter(steps) <= steps_of(events, ids[label]) for label, steps in expected.items())

    try:
        worker.wait_until(all_told, "all is told")
    except AssertionError as error:
        counts = {label: steps_of(receiver.events, task_id) for label, task_id in ids.items()}
        raise AssertionError(f"{json.dumps(counts, indent=1)}\n{error}") from None
