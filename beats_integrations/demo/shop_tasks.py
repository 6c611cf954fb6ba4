"""A Celery app: tasks that succeed, retry and fail. Its worker ships its logs and what happens to its tasks."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, signals
from celery.utils.log import get_task_logger

from beats_core import Options
from beats_integrations.celery import install
from beats_integrations.demo import broker
from beats_integrations.demo.program import FOLDER, write_report
from beats_integrations.demo.watched_shipper import WatchedShipper

SOURCE = "celery"

app = Celery("shop", broker=broker.URL, set_as_current=False)
app.conf.update(
    broker_transport_options=broker.transport_options(os.environ[FOLDER]),
    broker_connection_retry_on_startup=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
)
shipper = WatchedShipper(options=Options.from_env())
install(app, shipper, application="shop")
log = get_task_logger("shop.orders")


@app.task(name="shop.pay")
def pay(order: int) -> None:
    """Succeed."""
    log.info("order %d is paid", order)


@app.task(bind=True, name="shop.ship")
def ship(task: Any, order: int) -> None:
    """Succeed at the second try."""
    log.info("looking for a carrier for order %d", order)
    if not task.request.retries:
        raise task.retry(exc=ConnectionError("the carrier does not answer"), countdown=0.2)


@app.task(name="shop.refund")
def refund(order: int) -> None:
    """Fail."""
    log.warning("order %d is to be refunded", order)
    raise ValueError(f"order {order} was never paid")


KINDS = {"succeeds": pay, "retries": ship, "fails": refund}


# After `install`, which flushes at the same signals: what is reported is delivered.
@signals.worker_process_shutdown.connect
@signals.worker_shutdown.connect
def _report(**_: object) -> None:
    write_report(shipper.report(SOURCE, logged=[]))
