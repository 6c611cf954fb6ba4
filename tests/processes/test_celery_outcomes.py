"""What arrives of the tasks and the log of real workers, on three brokers and in five pools."""

from __future__ import annotations

import json
import os
from collections import Counter

import pytest

from support.celery_story import SECRET, Story, action_of, play, steps_of

PREFORK = ["filesystem-prefork", "redis-prefork", "rabbitmq-prefork"]
ANY_POOL = [*PREFORK, "filesystem-solo", "redis-threads", "redis-gevent", "redis-eventlet"]


@pytest.fixture(scope="module")
def story(request: pytest.FixtureRequest) -> Story:
    """One worker's life. It is played once for all tests that look at it."""
    broker, _, pool = request.param.partition("-")
    return play(broker, pool)


in_any_pool = pytest.mark.parametrize("story", ANY_POOL, indirect=True, scope="module")
in_prefork = pytest.mark.parametrize("story", PREFORK, indirect=True, scope="module")


@in_any_pool
def test_every_step_of_every_task_arrives_exactly_once(story: Story) -> None:
    told = {label: dict(steps_of(story.events, task_id)) for label, task_id in story.ids.items()}

    assert story.expected == told


@in_any_pool
def test_every_event_has_an_id_of_its_own(story: Story) -> None:
    counts = Counter(event["@metadata"]["_id"] for event in story.events)

    assert [] == [event_id for event_id, count in counts.items() if count > 1]


@in_any_pool
def test_arguments_and_results_never_leave_the_worker(story: Story) -> None:
    assert SECRET in story.log, "the worker's own log does show them"
    assert [] == [event for event in story.events if SECRET in json.dumps(event)]


@in_any_pool
def test_what_a_task_logs_says_which_task_it_was(story: Story) -> None:
    task_id = story.ids["charge"]
    for logger, message in (
        ("shop.orders", "charging"),
        ("shop.stock", "stock is low"),
        ("celery.redirected", "printed"),
    ):
        (line,) = (line for line in story.lines(message) if line["extra"].get("task_id") == task_id)
        expected = {
            "logger_name": logger,
            "task_id": task_id,
            "task_name": "shop.charge",
            "root_id": task_id,
            "retries": 0,
            "queue": "celery",
            "worker": f"{story.pool}@tests",
        }
        assert expected == {name: line["extra"].get(name) for name in expected}
    (line,) = (line for line in story.lines("stock is low") if line["extra"].get("task_id") == task_id)
    assert 3 == line["extra"]["left"]


@in_any_pool
def test_the_worker_s_own_lines_arrive_once_and_without_a_task(story: Story) -> None:
    (line,) = story.lines(f"{story.pool}@tests ready.")

    assert "task_id" not in line["extra"]
    assert [] == [event for event in story.events if event["extra"].get("logger_name") == "celery.app.trace"]


@in_any_pool
def test_a_task_sent_by_a_task_names_its_parent(story: Story) -> None:
    (sent,) = (
        event
        for event in story.events
        if event["extra"].get("parent_id") == story.ids["order"] and action_of(event) == "sent"
    )
    child_id = sent["extra"]["task_id"]

    assert story.expected["charge"] == steps_of(story.events, child_id)
    assert {story.ids["order"]} == {event["extra"]["root_id"] for event in story.told(child_id)}


@in_any_pool
def test_an_end_says_how_long_it_waited_and_took_and_where(story: Story) -> None:
    (event,) = story.told(story.ids["charge"], "succeeded")

    extra = event["extra"]
    assert extra["runtime"] >= 0
    assert extra["queue_time"] >= 0
    assert ("celery", "", "celery", f"{story.pool}@tests") == (
        extra["queue"],
        extra["exchange"],
        extra["routing_key"],
        extra["worker"],
    )
    assert f"Task shop.charge[{story.ids['charge']}] succeeded in {extra['runtime']:.3f}s" == event["message"]
    assert ["celery", "task-succeeded"] == event["tags"]


@in_any_pool
def test_a_failure_has_its_traceback(story: Story) -> None:
    (event,) = story.told(story.ids["fail"], "failed")
    (unpicklable,) = story.told(story.ids["fail_unpicklable"], "failed")

    extra = event["extra"]
    assert ("ERROR", "ValueError", "nope") == (event["level"], extra["error_type"], extra["error_message"])
    assert "in fail\n" in extra["stack_trace"]
    assert "Unpicklable" == unpicklable["extra"]["error_type"]


@in_any_pool
def test_a_message_that_is_no_task_is_told(story: Story) -> None:
    (event,) = story.told("unknown", "rejected")

    assert "Task ?[unknown] rejected: no task" == event["message"]


@in_prefork
def test_the_end_of_a_killed_process_is_told_by_the_worker(story: Story) -> None:
    (terminated,) = story.told(story.ids["terminated"], "revoked")
    (limited,) = story.told(story.ids["limited"], "failed")
    died = story.told(story.ids.get("died", ""), "failed")

    assert ("SIGTERM", True) == (terminated["extra"]["signum"], terminated["extra"]["terminated"])
    assert "TimeLimitExceeded" == limited["extra"]["error_type"]
    assert ["WorkerLostError"] * len(died) == [event["extra"]["error_type"] for event in died]
    for event in (terminated, limited, *died):
        extra = event["extra"]
        assert ("celery", "prefork@tests", 0) == (extra["queue"], extra["worker"], extra["retries"])


@in_prefork
def test_tasks_are_told_by_the_process_that_ran_them(story: Story) -> None:
    (sent,) = story.told(story.ids["charge"], "sent")
    (received,) = story.told(story.ids["charge"], "received")
    (started,) = story.told(story.ids["charge"], "started")
    (succeeded,) = story.told(story.ids["charge"], "succeeded")

    assert os.getpid() == sent["pid"]
    assert 3 == len({sent["pid"], received["pid"], started["pid"]})
    assert started["pid"] == succeeded["pid"]
    assert started["extra"]["process_name"].startswith("ForkPoolWorker-")
