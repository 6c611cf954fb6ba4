from __future__ import annotations

import logging
import logging.config
import logging.handlers
from typing import Any

import pytest

from beats_core import OptionError, Receiver
from beats_integrations.logging import BeatsHandler

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
