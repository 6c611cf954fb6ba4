from __future__ import annotations

import gc
import logging
import logging.config
import logging.handlers
import threading
from pathlib import Path
from typing import Any

import pytest

from beats_core import OptionError, Options, Receiver, Shipper
from beats_integrations.logging import BeatsHandler
from support.shippers import closed_port, wait_until

# Configuration


def configuration(receiver: Receiver, **handler: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"short": {"format": "%(name)s: %(message)s"}},
        "handlers": {"beats": {"class": "beats_integrations.logging.BeatsHandler", "hosts": [receiver.host]} | handler},
        "loggers": {"shop.configured": {"handlers": ["beats"], "level": "DEBUG", "propagate": False}},
    }


def unconfigure() -> None:
    logging.config.dictConfig(
        {"version": 1, "disable_existing_loggers": False, "loggers": {"shop.configured": {"handlers": []}}}
    )


def test_dictconfig_takes_plain_json_values() -> None:
    with Receiver() as receiver:
        options = {
            "level": "INFO",
            "formatter": "short",
            "schema": "ecs",
            "application": "shop",
            "environment": "production",
            "loadbalance": False,
            "queue_mem_bytes": 1 << 20,
            "safety": {"redact": ["iban"]},
        }
        logging.config.dictConfig(configuration(receiver, **options))
        logger = logging.getLogger("shop.configured")

        logger.debug("too low")
        logger.info("hello", extra={"iban": "DE00"})

        [document] = receiver.wait_for(1)
        assert "shop.configured: hello" == document["message"]
        assert {"name": "shop", "environment": "production"} == document["service"]
        assert "[REDACTED]" == document["extra"]["iban"]
        unconfigure()


def test_configuring_again_keeps_shipping() -> None:
    logger = logging.getLogger("shop.configured")
    with Receiver() as receiver:
        for number in range(3):
            logging.config.dictConfig(configuration(receiver))
            logger.info("hello %d", number)

        assert ["hello 0", "hello 1", "hello 2"] == [document["message"] for document in receiver.wait_for(3)]
        unconfigure()


def test_a_wrong_option_is_named_by_dictconfig() -> None:
    with Receiver() as receiver, pytest.raises(ValueError, match="Unable to configure handler 'beats'") as raised:
        logging.config.dictConfig(configuration(receiver, pipelining=0))

    assert isinstance(raised.value.__cause__, OptionError)


@pytest.mark.parametrize(
    ("slip", "meant"), [("aplication", "application"), ("enviroment", "environment"), ("hots", "hosts")]
)
def test_a_misspelt_option_is_told_the_right_one(slip: str, meant: str) -> None:
    options: dict[str, Any] = {slip: "x"}

    with pytest.raises(OptionError, match=rf"^{slip}='x': there is no such option; did you mean {meant}\?$"):
        BeatsHandler(**options)


def test_the_format_that_basicconfig_gives_to_every_handler_is_not_the_message() -> None:
    with Receiver() as receiver:
        handler = BeatsHandler(hosts=[receiver.host])
        logger = logging.getLogger("a.shop")
        try:
            handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))  # as logging.basicConfig does
            logger.addHandler(handler)
            logger.warning("order %d packed", 4711)
        finally:
            logger.removeHandler(handler)
            handler.close()

        assert ["order 4711 packed"] == [event["message"] for event in receiver.wait_for(1)]


# Again and again


def test_configuring_again_while_nobody_receives_loses_nothing() -> None:
    """A handler that goes has nobody to hand its events to but the next one, which has equal options."""
    logger = logging.getLogger("shop.configured")
    host = closed_port()
    options: dict[str, Any] = {"hosts": [host], "shutdown_timeout": 0.05, "backoff_init": 0.01, "backoff_max": 0.05}
    with Receiver() as nobody:
        for number in range(3):
            logging.config.dictConfig(configuration(nobody, **options))
            logger.info("%d", number)
        unconfigure()
        logging.config.dictConfig(configuration(nobody, **options))
        with Receiver(host) as receiver:
            assert ["0", "1", "2"] == [document["message"] for document in receiver.wait_for(3)]
            unconfigure()


@pytest.mark.parametrize("changing", [False, True], ids=["equal options", "other options each time"])
def test_a_thousand_configurations_leave_no_thread_and_no_descriptor(changing: bool) -> None:  # noqa: FBT001
    logger = logging.getLogger("shop.configured")

    def left() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    with Receiver() as receiver:
        before = left()
        for number in range(1_000):
            logging.config.dictConfig(configuration(receiver, index=f"index-{number if changing else 0}"))
            if number % 10 == 0:
                logger.info("%d", number)
        unconfigure()
        receiver.wait_for(100)
        wait_until(lambda: left() <= before)


def test_shippers_that_nobody_uses_end_when_their_events_are_delivered() -> None:
    logger = logging.getLogger("shop.configured")
    host = closed_port()
    options: dict[str, Any] = {"hosts": [host], "shutdown_timeout": 0, "backoff_init": 0.01, "backoff_max": 0.05}
    before = threading.active_count()
    with Receiver() as nobody:
        for number in range(5):
            logging.config.dictConfig(configuration(nobody, index=f"index-{number}", **options))
            logger.info("%d", number)
        with Receiver(host) as receiver:
            assert {"0", "1", "2", "3", "4"} == {document["message"] for document in receiver.wait_for(5)}

            def ended() -> bool:
                Shipper.shared(Options(hosts=host)).release()  # the next one that comes tidies up
                unconfigure()
                return sum(thread.name == "beats-shipper" for thread in threading.enumerate()) == 0

            wait_until(ended)
    assert before >= threading.active_count()
