"""Failures in our own threads: neither an error of ours nor one in the application's logging ends them."""

from __future__ import annotations

import inspect
import logging
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import pytest

from beats_core import Receiver, Shipper, backlog, client, compression, frames, protocol
from beats_core.sender import Sender
from support.scripted import Scripted, acknowledged, after, answering, closes
from support.shippers import closed_port, ids, put, unaccounted, wait_until


class Broken(logging.Handler):
    """A handler of the application's with a mistake in it."""

    def emit(self, record: logging.LogRecord) -> None:
        raise RuntimeError("the handler is broken")


@pytest.fixture
def broken_logging() -> Iterator[None]:
    handler = Broken()
    logger = logging.getLogger("beats_core")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


@pytest.mark.usefixtures("broken_logging")
def test_a_logging_handler_that_raises_stops_no_delivery() -> None:
    host = closed_port()
    shipper = Shipper(host, backoff_init=0.001, backoff_max=0.002, queue_mem_bytes=10_000)
    while shipper.put({"id": 1, "message": "x" * 100}):  # until one is refused: that is told
        pass
    wait_until(lambda: shipper.stats().hosts and shipper.stats().hosts[host].error)  # so is this
    with Receiver(host) as receiver:
        assert shipper.flush(30)  # and this
        put(shipper, 2)
        stats = shipper.close()

        assert ids(receiver.events)[-1] == 2
    assert (stats.accepted, 0) == (stats.acked, unaccounted(stats))


@pytest.mark.usefixtures("broken_logging")
def test_a_logging_handler_that_raises_does_not_keep_a_shipper_from_closing() -> None:
    shipper = Shipper(closed_port(), shutdown_timeout=0.05)
    put(shipper, 1)

    assert {"shutdown": 1} == shipper.close().dropped


class Failing:
    """Raises in the sender's thread at the n-th call of a function that moves bytes, whichever it is."""

    def __init__(self, at: int) -> None:
        self.left = at
        self.files = {inspect.getfile(module) for module in (client, compression, frames, protocol)}
        self.name = ""

    def __call__(self, frame: FrameType, event: str, argument: object) -> None:
        if frame.f_code.co_filename not in self.files or not self._is_senders():
            return
        callers = [caller.f_code for caller, _ in traceback.walk_stack(frame)]
        if callers[1].co_filename == inspect.getfile(backlog):  # the ledger does not fail halfway
            return
        if {"close", "_drop_line"} & {caller.co_name for caller in callers}:  # nor does what closes a line
            return
        self.left -= 1
        if self.left == 0:
            self.name = frame.f_code.co_qualname
            raise RuntimeError(f"failure in {self.name}")

    def _is_senders(self) -> bool:
        target = getattr(threading.current_thread(), "_target", None)
        return isinstance(getattr(target, "__self__", None), Sender)


@contextmanager
def failing(at: int) -> Iterator[Failing]:
    failure = Failing(at)
    before = threading.gettrace()  # that of coverage
    threading.settrace(failure)
    try:
        yield failure
    finally:
        threading.settrace(before)


def test_an_error_anywhere_in_the_client_costs_the_line_and_nothing_else(caplog: pytest.LogCaptureFixture) -> None:
    failed: set[str] = set()
    for at in range(1, 400):
        lines = answering(acknowledged, closes), answering(after(acknowledged))
        with Scripted(*lines) as server, failing(at) as failure:
            shipper = Shipper(server.host, backoff_init=0.001, backoff_max=0.002, bulk_max_size=2)
            put(shipper, *range(7))
            assert shipper.flush(30)
            stats = shipper.close()

        assert set(range(7)) == set(server.ids)
        assert (7, 0, 0) == (stats.acked, stats.dead, unaccounted(stats))
        if not failure.name:
            break
        failed.add(failure.name)

    assert {"Client.connect", "Client.post", "Client.read_acks", "encode_window", "compress"} <= failed
    assert "RuntimeError: failure in" in caplog.text
