"""What the tests of clients and receivers share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from support.clients import DRIVERS, UNDER_UVLOOP, MakeDriver
from support.consumer import Consumer

ALL_DRIVERS = DRIVERS | UNDER_UVLOOP


@pytest.fixture(params=ALL_DRIVERS)
def driver(request: pytest.FixtureRequest) -> MakeDriver:
    """Both clients, one after the other, and the second in both event loops."""
    return ALL_DRIVERS[request.param]


@pytest.fixture
def consumer() -> Iterator[Consumer]:
    """A consumer for a Receiver; whatever a test does, it does not wait for ever."""
    consumer = Consumer()
    yield consumer
    consumer.go_on.set()


@pytest.fixture
def no_receiver_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread of a Receiver."""
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("beats-"):
            thread.join(5.0)  # one that is about to end
            assert not thread.is_alive(), thread.name
