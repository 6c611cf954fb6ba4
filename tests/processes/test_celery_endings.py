"""How workers end: nothing that their processes accepted may be lost, and none may hang."""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path
from typing import Any

from beats_core import Receiver, Shipper
from support.celery_brokers import Broker, filesystem_broker, free_port, redis_broker
from support.celery_shop import make_shop
from support.celery_story import steps_of, told
from support.celery_worker import LIMIT, CeleryWorker
from support.consumer import Consumer
from support.shippers import wait_until

TASKS = 12
STEPS = {"received": 1, "started": 1, "succeeded": 1}
LINES = {"charging", "stock is low", "printed"}


def send(broker: Broker) -> list[str]:
    """Send tasks, from a program without any adapter."""
    app = make_shop(broker)
    try:
        return [app.tasks["shop.charge"].delay().id for _ in range(TASKS)]
    finally:
        app.close()


def assert_all_arrived(receiver: Receiver, ids: list[str]) -> None:
    events = receiver.events
    for task_id in ids:
        assert STEPS == steps_of(events, task_id)
        lines = [
            event
            for event in events
            if event["extra"].get("task_id") == task_id and "event_action" not in event["extra"]
        ]
        assert LINES == {line["message"] for line in lines}
        assert len(LINES) == len(lines)


def test_children_that_are_recycled_after_each_task_deliver_everything() -> None:
    with redis_broker() as broker, Receiver() as receiver:
        options: dict[str, Any] = {"hosts": receiver.host, "shutdown_timeout": LIMIT}
        with CeleryWorker(broker, "prefork", options, "--max-tasks-per-child", "1") as worker:
            ids = send(broker)
            worker.wait_until(
                lambda: all(told(receiver.events, task_id, "succeeded") for task_id in ids), "every task has succeeded"
            )
            worker.stop()

        assert_all_arrived(receiver, ids)
        pids = {told(receiver.events, task_id, "succeeded")[0]["pid"] for task_id in ids}
        assert len(ids) == len(pids)


def test_a_worker_that_is_stopped_delivers_what_no_receiver_had_taken_before() -> None:
    port = free_port()
    with filesystem_broker() as broker:
        options: dict[str, Any] = {
            "hosts": f"127.0.0.1:{port}",
            "shutdown_timeout": LIMIT,
            "backoff_init": 0.05,
            "backoff_max": 0.2,
        }
        with CeleryWorker(broker, "prefork", options) as worker:
            ids = send(broker)
            worker.wait_until(lambda: worker.log().count("succeeded in") == TASKS, "every task has succeeded")
            with Receiver(f"127.0.0.1:{port}") as receiver:
                worker.stop()

                assert_all_arrived(receiver, ids)


def test_a_worker_works_and_ends_although_nobody_receives() -> None:
    with filesystem_broker() as broker:
        options: dict[str, Any] = {"hosts": f"127.0.0.1:{free_port()}", "shutdown_timeout": 0.5}
        with CeleryWorker(broker, "prefork", options) as worker:
            send(broker)
            worker.wait_until(lambda: worker.log().count("succeeded in") == TASKS, "every task has succeeded")
            worker.stop()


def test_no_thread_that_ships_takes_a_signal_sent_to_the_process() -> None:
    """Children of the pool die of SIGTERM; while one holds a lock that all share, its main thread blocks that signal.

    A thread that does not block it would take it instead, and end the child: the lock stays locked and the pool hangs.
    """
    consumer = Consumer()
    consumer.go_on.clear()  # while nothing is acknowledged no thread ends

    def shipping() -> list[threading.Thread]:
        return [thread for thread in threading.enumerate() if thread.name.startswith("beats-shipper")]

    with Receiver(consume=consumer) as receiver, Shipper(receiver.host) as shipper:
        before = set(shipping())
        shipper.put({"message": "hello"})
        Shipper(receiver.host).put({"message": "of one that nobody closes"})
        wait_until(lambda: len(set(shipping()) - before) == 5)  # two of each, and the one that the finaliser starts
        threads = set(shipping()) - before
        statuses = [Path(f"/proc/self/task/{thread.native_id}/status").read_text() for thread in threads]
        consumer.go_on.set()

        for status in statuses:
            blocked = re.search(r"^SigBlk:\s*(\w+)$", status, re.MULTILINE)
            assert blocked is not None
            assert int(blocked[1], 16) & 1 << signal.SIGTERM - 1
