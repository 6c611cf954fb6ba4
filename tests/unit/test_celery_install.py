"""install() and what it connects: signals, the handler, and the end of processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals
from celery.utils.dispatch import Signal

from beats_integrations.celery import Installation, install
from beats_integrations.celery.worker_logs import WorkerLogHandler
from beats_integrations.logging import BeatsHandler
from support.celery_brokers import Broker
from support.celery_shop import charge, make_shop
from support.shipping import KeepingShipper

SIGNALS = [signal for signal in vars(signals).values() if isinstance(signal, Signal)]


@pytest.fixture
def shipper() -> KeepingShipper:
    return KeepingShipper()


@pytest.fixture
def app() -> Celery:
    return make_shop()


@pytest.fixture
def installation(app: Celery, shipper: KeepingShipper) -> Iterator[Installation]:
    installation = install(app, shipper)
    yield installation
    installation.uninstall()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """What stands for the root, and for celery.task, when Celery sets up logging."""
    logger = logging.Logger("root or celery.task", logging.DEBUG)  # noqa: LOG001 - known to nobody else
    yield logger
    assert [] == logger.handlers


def set_up_logging(signal: Signal, logger: logging.Logger) -> None:
    signal.send(sender=None, logger=logger, loglevel=20, logfile=None, format="", colorize=False)


def actions(shipper: KeepingShipper) -> list[Any]:
    return [document["extra"].get("event_action") for document in shipper.documents]  # type: ignore[attr-defined]


def test_a_second_install_returns_the_first(app: Celery, installation: Installation, shipper: KeepingShipper) -> None:
    assert installation is install(app)

    app.tasks["shop.charge"].apply()

    assert ["task-started", "task-succeeded"] == actions(shipper)


def test_two_apps_are_two_installations(installation: Installation, shipper: KeepingShipper) -> None:
    other_app, other_shipper = make_shop(), KeepingShipper()
    other = install(other_app, other_shipper)
    try:
        other_app.tasks["shop.fail"].apply()
    finally:
        other.uninstall()

    assert other is not installation
    assert ["task-started", "task-failed"] == actions(other_shipper)
    assert [] == actions(shipper)


def test_a_published_task_is_told_once_by_the_app_that_has_it(
    installation: Installation, shipper: KeepingShipper
) -> None:
    sender, other_shipper = make_shop(Broker("memory://")), KeepingShipper()
    sender.task(name="shop.elsewhere", shared=False)(charge)
    sender.finalize()
    other = install(sender, other_shipper)
    try:
        sender.tasks["shop.elsewhere"].delay()
        sender.send_task("shop.nobody")
    finally:
        other.uninstall()
        sender.control.purge()
        sender.close()

    assert (["task-sent"], ["task-sent"]) == (actions(shipper), actions(other_shipper))
    assert "shop.elsewhere" in str(other_shipper.documents[0]["message"])


def test_uninstall_leaves_nothing_behind(app: Celery, shipper: KeepingShipper, logger: logging.Logger) -> None:
    before = [list(signal.receivers) for signal in SIGNALS]
    installation = install(app, shipper)
    set_up_logging(signals.after_setup_logger, logger)

    installation.uninstall()
    installation.uninstall()

    assert before == [list(signal.receivers) for signal in SIGNALS]
    app.tasks["shop.charge"].apply()
    assert [] == shipper.documents
    again = install(app, shipper)
    again.uninstall()
    assert again is not installation


def test_a_wrong_option_is_refused_and_nothing_is_connected(app: Celery, shipper: KeepingShipper) -> None:
    before = [list(signal.receivers) for signal in SIGNALS]

    with pytest.raises(ValueError, match="hosts"):
        install(app, shipper, hosts="localhost")

    assert before == [list(signal.receivers) for signal in SIGNALS]
    install(app, shipper).uninstall()


@pytest.mark.parametrize("signal", [signals.after_setup_logger, signals.after_setup_task_logger])
def test_the_loggers_that_celery_sets_up_get_the_handler_once(
    app: Celery, shipper: KeepingShipper, logger: logging.Logger, signal: Signal
) -> None:
    installation = install(app, shipper)
    set_up_logging(signal, logger)
    set_up_logging(signal, logger)

    logger.info("hello")

    assert [WorkerLogHandler] == [type(handler) for handler in logger.handlers]
    assert ["hello"] == [document["message"] for document in shipper.documents]
    installation.uninstall()


def test_a_logger_that_ships_already_is_left_alone(
    installation: Installation, shipper: KeepingShipper, logger: logging.Logger
) -> None:
    handler = BeatsHandler(shipper)
    logger.addHandler(handler)

    set_up_logging(signals.after_setup_logger, logger)

    assert [handler] == logger.handlers
    logger.removeHandler(handler)
    handler.close()


def test_what_a_signal_sends_can_never_fail_its_sender(app: Celery, shipper: KeepingShipper) -> None:
    class Consumer:
        def __init__(self) -> None:
            self.app = app

    install(app, shipper, schema="ecs")
    try:
        answers = signals.task_received.send(sender=Consumer(), request=object())
    finally:
        install(app).uninstall()

    assert [None] == [answer for _, answer in answers]
    assert [] == shipper.documents


def test_a_child_of_the_pool_delivers_before_it_ends(
    app: Celery, installation: Installation, shipper: KeepingShipper
) -> None:
    signals.worker_process_shutdown.send(sender="celery@w1", pid=1, exitcode=0)

    assert ["flush"] == [call.partition("(")[0] for call in shipper.calls]
    app.tasks["shop.charge"].apply()
    assert [] == shipper.documents


def test_a_worker_delivers_before_it_ends_and_may_be_followed_by_another(
    app: Celery, installation: Installation, shipper: KeepingShipper
) -> None:
    signals.worker_shutdown.send(sender=None)

    assert ["flush"] == [call.partition("(")[0] for call in shipper.calls]
    app.tasks["shop.charge"].apply()
    assert ["task-started", "task-succeeded"] == actions(shipper)
