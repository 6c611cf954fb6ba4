"""What the signals of tasks become that go through a broker, and of their ends which the worker tells."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from billiard.exceptions import WorkerLostError
from celery.exceptions import Terminated

from beats_integrations.celery.task_events import SENT_AT_HEADER
from support.celery_brokers import Broker
from support.celery_shop import make_shop
from support.celery_told import HOSTNAME, Told, exception_info, fetch, task_of


@pytest.fixture
def queued() -> Iterator[Told]:
    """Tasks that are sent to a broker in this process, to be fetched by `fetch`."""
    told = Told(make_shop(Broker("memory://")))
    yield told
    told.app.control.purge()
    told.app.close()
    told.disconnect()


def test_a_sent_task_is_told_when_the_broker_has_it(queued: Told) -> None:
    queued.app.tasks["shop.charge"].apply_async(
        ("SECRET",), {"card": "SECRET"}, task_id="t1", root_id="r1", parent_id="p1", group_id="g1", countdown=60
    )

    assert ["task-sent"] == queued.actions()
    event = queued.only("sent")
    task = task_of(event)
    assert ("t1", "shop.charge", "r1", "p1", "g1") == (
        task.id,
        task.name,
        task.root_id,
        task.parent_id,
        task.group_id,
    )
    assert ("celery", "", "celery", "PENDING", None) == (
        task.queue,
        task.exchange,
        task.routing_key,
        task.state,
        task.outcome,
    )
    assert task.worker is None
    assert task.eta is not None
    eta = datetime.fromisoformat(task.eta)
    assert timedelta(seconds=50) < eta - event.time <= timedelta(seconds=60)
    assert ("Task shop.charge[t1] sent to celery", "t1-sent-0") == (event.message, event.id)
    assert "SECRET" not in repr(queued.events)


def test_a_named_exchange_is_told_with_the_queue_behind_it(queued: Told) -> None:
    queued.app.amqp.queues.add("eu", exchange="orders", exchange_type="topic", routing_key="orders.eu")

    queued.app.tasks["shop.charge"].apply_async(exchange="orders", routing_key="orders.eu")
    queued.app.tasks["shop.charge"].apply_async(exchange="orders", routing_key="orders.us", declare=[])

    known, unknown = (task_of(event) for event in queued.events)
    assert ("eu", "orders", "orders.eu") == (known.queue, known.exchange, known.routing_key)
    assert ("orders.us", "orders", "orders.us") == (unknown.queue, unknown.exchange, unknown.routing_key)


def test_a_task_of_the_first_protocol_is_told_too(queued: Told) -> None:
    queued.app.conf.task_protocol = 1

    queued.app.tasks["shop.charge"].apply_async(("SECRET",), task_id="t1")

    event = queued.only("sent")
    assert ("t1", "shop.charge", 0) == (task_of(event).id, task_of(event).name, task_of(event).retries)
    assert "SECRET" not in repr(queued.events)


def test_what_a_worker_takes_and_runs_is_told_with_how_long_it_waited(queued: Told) -> None:
    queued.app.tasks["shop.charge"].apply_async(("SECRET",), task_id="t1", expires=60)
    fetch(queued.app).execute()

    assert ["task-sent", "task-received", "task-started", "task-succeeded"] == queued.actions()
    received = task_of(queued.only("received"))
    assert (HOSTNAME, "celery", False, 0) == (
        received.worker,
        received.queue,
        received.redelivered,
        received.retries,
    )
    assert received.expires is not None
    assert received.expires.endswith("Z")
    started, succeeded = task_of(queued.only("started")), task_of(queued.only("succeeded"))
    assert started.queue_time is not None
    assert 0 <= started.queue_time < 60
    assert started.queue_time == succeeded.queue_time
    assert started.runtime is None
    assert "SECRET" not in repr(queued.events)


def test_waiting_for_its_eta_is_not_waiting_in_the_queue(queued: Told) -> None:
    now = time.time()
    eta = datetime.fromtimestamp(now - 10, UTC).isoformat()

    queued.app.tasks["shop.charge"].apply_async()
    fetch(queued.app, {"eta": eta, SENT_AT_HEADER: now - 1000}).execute()

    queue_time = task_of(queued.only("started")).queue_time
    assert queue_time is not None
    assert 10 <= queue_time < 100


def test_a_message_of_another_producer_has_no_queue_time(queued: Told) -> None:
    queued.app.tasks["shop.charge"].apply_async()
    fetch(queued.app, {SENT_AT_HEADER: "yesterday"}).execute()

    assert task_of(queued.only("started")).queue_time is None


def test_a_message_delivered_again_has_ids_of_its_own(queued: Told) -> None:
    for redelivered in (False, True, True):
        queued.app.tasks["shop.charge"].apply_async(task_id="t1")
        fetch(queued.app, redelivered=redelivered).execute()

    started = [event for event in queued.events if task_of(event).action == "task-started"]
    assert [False, True, True] == [task_of(event).redelivered for event in started]
    assert 3 == len({event.id for event in started})
    assert "t1-started-0" == started[0].id


def test_a_task_that_replaces_another_under_its_id_has_ids_of_its_own(queued: Told) -> None:
    queued.app.tasks["shop.charge"].apply_async(task_id="t1", replaced_task_nesting=1)
    fetch(queued.app).execute()

    assert "t1-succeeded-0-replaced1" == queued.only("succeeded").id


def test_a_hard_time_limit_is_told_once_with_what_was_known_of_the_task(queued: Told) -> None:
    queued.app.tasks["shop.wait"].apply_async(kwargs={"card": "SECRET"}, task_id="t1", retries=2)
    request = fetch(queued.app)

    request.on_timeout(soft=False, timeout=1.5)
    request.on_failure(exception_info(WorkerLostError("the process was killed")))

    assert ["task-sent", "task-received", "task-failed"] == queued.actions()
    event = queued.only("failed")
    task = task_of(event)
    assert ("t1", "shop.wait", 2, "celery", HOSTNAME) == (
        task.id,
        task.name,
        task.retries,
        task.queue,
        task.worker,
    )
    assert event.error is not None
    assert event.error.type.endswith("TimeLimitExceeded")
    assert "t1-failed-2" == event.id
    assert "SECRET" not in repr(queued.events)


def test_a_lost_process_is_told_once(queued: Told) -> None:
    queued.app.tasks["shop.charge"].apply_async(task_id="t1")
    request = fetch(queued.app)

    request.on_failure(exception_info(WorkerLostError("signal 9 (SIGKILL)")))

    event = queued.only("failed")
    assert ("ERROR", "t1-failed-0") == (event.level, event.id)
    assert event.error is not None
    assert ("billiard.exceptions.WorkerLostError", "signal 9 (SIGKILL)") == (event.error.type, event.error.message)
    assert event.error.stack_trace.startswith("Traceback")


def test_an_expired_task_is_told_as_revoked(queued: Told) -> None:
    queued.app.tasks["shop.charge"].apply_async(task_id="t1", expires=-1)
    request = fetch(queued.app)

    assert request.revoked()
    event = queued.only("revoked")
    task = task_of(event)
    assert (True, False, None, "REVOKED") == (task.expired, task.terminated, task.signum, task.state)
    assert "Task shop.charge[t1] revoked as it has expired" == event.message
    assert "WARNING" == event.level


@pytest.mark.parametrize("signum", [15, "15", "SIGTERM", -15])
def test_a_terminated_task_is_told_with_the_name_of_the_signal(queued: Told, signum: object) -> None:
    queued.app.tasks["shop.wait"].apply_async(task_id="t1")
    request = fetch(queued.app)

    request.on_failure(exception_info(Terminated(signum)))

    event = queued.only("revoked")
    task = task_of(event)
    assert ("SIGTERM", True, False) == (task.signum, task.terminated, task.expired)
    assert "Task shop.wait[t1] revoked by SIGTERM" == event.message


def test_a_task_cancelled_for_a_lost_broker_is_told_as_retried(queued: Told) -> None:
    queued.app.tasks["shop.wait"].apply_async(task_id="t1")
    request = fetch(queued.app)
    request.time_start = time.time()

    request.cancel(SimpleNamespace(terminate_job=lambda *_: None))

    event = queued.only("retried")
    assert ("cancelled", "t1") == (task_of(event).reason, task_of(event).id)
