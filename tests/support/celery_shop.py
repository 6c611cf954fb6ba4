"""The Celery app of the tests: one task for each way in which a task can end."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import Ignore, Reject
from celery.utils.log import get_task_logger

from support.celery_brokers import Broker

task_logger = get_task_logger("shop.orders")
logger = logging.getLogger("shop.stock")


class OutOfStock(Exception):
    """An error that the task is known to raise."""


class Unpicklable(Exception):
    """An error that cannot travel from the pool's process to the worker's."""

    def __init__(self, text: str, lock: object) -> None:
        super().__init__(text, lock)
        self.text = text

    def __str__(self) -> str:
        return self.text


def make_shop(broker: Broker | None = None) -> Celery:
    """Return a new app; without a broker its tasks run where they are called."""
    app = Celery("shop", set_as_current=False)
    app.conf.update(
        broker_url="memory://" if broker is None else broker.url,
        broker_transport_options={} if broker is None else dict(broker.transport_options),
        broker_connection_retry_on_startup=True,
        task_always_eager=broker is None,
    )
    app.task(name="shop.charge")(charge)
    app.task(name="shop.flaky", bind=True)(flaky)
    app.task(name="shop.fail")(fail)
    app.task(name="shop.fail_unpicklable")(fail_unpicklable)
    app.task(name="shop.reserve", throws=(OutOfStock,))(reserve)
    app.task(name="shop.skip")(skip)
    app.task(name="shop.refuse")(refuse)
    app.task(name="shop.put_back", bind=True, acks_late=True)(put_back)
    app.task(name="shop.order", bind=True)(order)
    app.task(name="shop.wait")(wait)
    app.task(name="shop.die")(die)
    return app


def charge(*arguments: object, **details: object) -> object:
    """Succeed, logging as a task may, and return what must not be shown."""
    task_logger.info("charging")
    logger.warning("stock is low", extra={"left": 3})
    print("printed")  # noqa: T201 - Celery makes it a log record
    return [*arguments, *details.values()]


def flaky(self: Any, times: int, **details: object) -> int:
    """Fail that many times, then succeed."""
    if self.request.retries < times:
        raise self.retry(exc=ConnectionError("bank is closed"), countdown=0, max_retries=times)
    return times


def fail(**details: object) -> None:
    raise ValueError("nope")


def fail_unpicklable(**details: object) -> None:
    raise Unpicklable("cannot travel", threading.Lock())


def reserve(**details: object) -> None:
    raise OutOfStock("none left")


def skip(**details: object) -> None:
    raise Ignore


def refuse(**details: object) -> None:
    raise Reject("not mine", requeue=False)


def put_back(self: Any, **details: object) -> None:
    """Give the message back to the broker, once."""
    if not self.request.delivery_info["redelivered"]:
        raise Reject("try again", requeue=True)


def order(self: Any, **details: object) -> str:
    """Send another task, and return its id."""
    child_id: str = self.app.tasks["shop.charge"].delay(**details).id
    return child_id


def wait(**details: object) -> None:
    """Never end."""
    threading.Event().wait()


def die(path: str) -> None:
    """Kill the process as soon as that file exists."""
    while not Path(path).exists():
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGKILL)
