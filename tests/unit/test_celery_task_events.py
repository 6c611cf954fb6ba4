"""What the signals of tasks become that run where they are called; and of signals sent for their own sake."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from datetime import UTC
from types import SimpleNamespace

import pytest
from celery import signals
from celery.app.task import Context
from celery.exceptions import Reject

from support.celery_shop import make_shop
from support.celery_told import HOSTNAME, Consumer, Told, task_of


@pytest.fixture
def told() -> Iterator[Told]:
    """Tasks that run where they are called."""
    told = Told(make_shop())
    yield told
    told.disconnect()


def test_a_task_that_succeeds_is_told_with_all_facts_but_its_arguments(told: Told) -> None:
    result = told.app.tasks["shop.charge"].apply(("SECRET",), {"card": "SECRET"}, task_id="t1")

    assert ["SECRET", "SECRET"] == result.get()
    assert ["task-started", "task-succeeded"] == told.actions()
    event = told.only("succeeded")
    task = task_of(event)
    assert ("t1", "shop.charge", "t1", None, 0) == (task.id, task.name, task.root_id, task.parent_id, task.retries)
    assert ("SUCCESS", "success") == (task.state, task.outcome)
    assert task.runtime is not None
    assert task.runtime >= 0
    assert f"Task shop.charge[t1] succeeded in {task.runtime:.3f}s" == event.message
    assert ("INFO", 20, "celery.task", "t1-succeeded-0") == (
        event.level,
        event.level_number,
        event.logger,
        event.id,
    )
    assert ("celery", "task-succeeded") == event.tags
    assert (os.getpid(), threading.get_ident()) == (event.process, event.thread)
    assert UTC is event.time.tzinfo
    assert "SECRET" not in repr(told.events)


def test_a_task_that_fails_is_told_with_its_traceback(told: Told) -> None:
    told.app.tasks["shop.fail"].apply(task_id="t1")

    event = told.only("failed")
    assert event.error is not None
    assert ("ValueError", "nope") == (event.error.type, event.error.message)
    assert event.error.stack_trace.startswith("Traceback (most recent call last):")
    assert "in fail\n" in event.error.stack_trace
    task = task_of(event)
    assert f"Task shop.fail[t1] failed in {task.runtime:.3f}s: ValueError: nope" == event.message
    assert ("ERROR", 40, "FAILURE", "failure") == (event.level, event.level_number, task.state, task.outcome)


def test_an_error_that_cannot_be_pickled_is_told_as_itself(told: Told) -> None:
    told.app.tasks["shop.fail_unpicklable"].apply()

    error = told.only("failed").error
    assert error is not None
    assert ("support.celery_shop.Unpicklable", "cannot travel") == (error.type, error.message)
    assert "in fail_unpicklable\n" in error.stack_trace


def test_an_error_that_the_task_is_known_to_raise_is_no_reason_to_worry(told: Told) -> None:
    told.app.tasks["shop.reserve"].apply()

    event = told.only("failed")
    assert ("INFO", "FAILURE", "failure") == (event.level, task_of(event).state, task_of(event).outcome)


def test_each_try_of_a_task_has_ids_of_its_own(told: Told) -> None:
    told.app.tasks["shop.flaky"].apply((2,), task_id="t1")

    assert {
        "t1-started-0",
        "t1-retried-0",
        "t1-started-1",
        "t1-retried-1",
        "t1-started-2",
        "t1-succeeded-2",
    } == {event.id for event in told.events}
    assert 6 == len(told.events)
    event = next(event for event in told.events if event.id == "t1-retried-0")
    assert event.error is not None
    assert ("ConnectionError", "bank is closed") == (event.error.type, event.error.message)
    assert "Task shop.flaky[t1] retried in 0s: ConnectionError: bank is closed" == event.message
    assert ("WARNING", "RETRY", "unknown") == (event.level, task_of(event).state, task_of(event).outcome)
    assert "Retry in 0s: ConnectionError('bank is closed')" == task_of(event).reason


def test_a_task_that_ignores_itself_is_told(told: Told) -> None:
    told.app.tasks["shop.skip"].apply(task_id="t1")

    assert ["task-started", "task-ignored"] == told.actions()
    event = told.only("ignored")
    assert ("INFO", "IGNORED", "Task shop.skip[t1] ignored") == (event.level, task_of(event).state, event.message)


def test_a_task_that_rejects_its_message_is_told_with_the_reason(told: Told) -> None:
    told.app.tasks["shop.refuse"].apply(task_id="t1")

    event = told.only("rejected")
    assert ("WARNING", "REJECTED", "not mine") == (event.level, task_of(event).state, task_of(event).reason)
    assert "Task shop.refuse[t1] rejected: not mine" == event.message


def test_a_failure_of_which_nothing_more_is_known_is_told_with_its_id(told: Told) -> None:
    task = told.app.tasks["shop.charge"]

    signals.task_failure.send(sender=task, task_id="t9", exception=Reject("gone"), traceback="Traceback: gone\n")

    event = told.only("failed")
    assert ("t9", "shop.charge", "WARNING") == (task_of(event).id, task_of(event).name, event.level)
    assert event.error is not None
    assert "Traceback: gone" == event.error.stack_trace


def test_an_internal_error_of_celery_is_critical(told: Told) -> None:
    task = told.app.tasks["shop.charge"]

    signals.task_internal_error.send(
        sender=task,
        task_id="t1",
        args=("SECRET",),
        kwargs={},
        request={"id": "t1", "retries": 1, "args": ("SECRET",), "hostname": HOSTNAME},
        exception=OSError("no disk"),
    )

    event = told.only("internal-error")
    assert ("CRITICAL", 50, HOSTNAME, 1) == (
        event.level,
        event.level_number,
        task_of(event).worker,
        task_of(event).retries,
    )
    assert "Task shop.charge[t1] internal error: OSError: no disk" == event.message
    assert "SECRET" not in repr(told.events)


def test_a_task_that_the_worker_does_not_know_is_told(told: Told) -> None:
    consumer = Consumer(told.app)
    message = SimpleNamespace(
        headers={"id": "t1", "task": "shop.nobody", "argsrepr": "SECRET"},
        delivery_info={"exchange": "", "routing_key": "celery", "redelivered": False},
        properties={},
    )

    signals.task_unknown.send(sender=consumer, message=message, exc=KeyError(), name="shop.nobody", id="t1")

    event = told.only("unknown")
    assert "Task shop.nobody[t1] unknown to this worker" == event.message
    assert ("ERROR", "celery", HOSTNAME) == (event.level, task_of(event).queue, task_of(event).worker)
    assert "SECRET" not in repr(told.events)


@pytest.mark.parametrize(
    ("headers", "properties", "expected"),
    [
        ({"id": "t1", "task": "shop.charge"}, {}, "Task shop.charge[t1] rejected: no task"),
        ({}, {"correlation_id": "c1"}, "Task ?[c1] rejected: no task"),
        (None, None, "Task ?[unknown] rejected: no task"),
    ],
)
def test_a_message_that_is_no_task_is_told(
    told: Told, headers: dict[str, str] | None, properties: dict[str, str] | None, expected: str
) -> None:
    consumer = Consumer(told.app)
    message = SimpleNamespace(headers=headers, delivery_info=None, properties=properties)

    signals.task_rejected.send(sender=consumer, message=message, exc=None)

    event = told.only("rejected")
    assert expected == event.message
    assert (event.id is None) == ("unknown" in expected), "messages without an id are not one and the same"


def test_tasks_of_another_app_are_not_told(told: Told) -> None:
    other = make_shop()

    other.tasks["shop.charge"].apply()
    other.tasks["shop.fail"].apply()
    other.tasks["shop.flaky"].apply((1,))
    other.tasks["shop.skip"].apply()

    assert [] == told.events


def test_signals_of_another_app_s_worker_are_not_told(told: Told) -> None:
    other = make_shop()
    task, consumer = other.tasks["shop.charge"], Consumer(other)

    signals.task_received.send(sender=consumer, request=None)
    signals.task_unknown.send(sender=consumer, message=None, exc=None, name="shop.charge", id="t1")
    signals.task_rejected.send(sender=consumer, message=None, exc=None)
    signals.task_revoked.send(sender=task, request=None, terminated=False, signum=None, expired=True)
    signals.task_internal_error.send(sender=task, task_id="t1", args=(), kwargs={}, request={}, exception=None)

    assert [] == told.events


@pytest.mark.parametrize(
    ("eta", "expected"),
    [
        ("2026-11-23T02:00:10.034000+02:00", "2026-11-23T00:00:10.034000Z"),
        ("2026-11-23T02:00:10", "2026-11-23T02:00:10Z"),
        ("soon", None),
        (7, None),
    ],
)
def test_an_eta_is_told_in_utc(told: Told, eta: object, expected: str | None) -> None:
    message = SimpleNamespace(headers={"id": "t1", "eta": eta}, delivery_info=None, properties=None)

    signals.task_unknown.send(sender=Consumer(told.app), message=message, exc=None, name="shop.nobody", id="t1")

    assert expected == task_of(told.only("unknown")).eta


def test_an_unknown_signal_number_is_told_as_it_is(told: Told) -> None:
    signals.task_revoked.send(
        sender=told.app.tasks["shop.charge"],
        request=Context({"id": "t1"}),
        terminated=True,
        signum="a signal of tomorrow",
        expired=False,
    )

    assert "a signal of tomorrow" == task_of(told.only("revoked")).signum
