from __future__ import annotations

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from beats_core.bell import Bell

LONG = 60.0  # seconds that no test waits out


@pytest.fixture(params=["poll", "select"])
def bell(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bell]:
    if request.param == "select":
        monkeypatch.delattr(select, "poll")  # as on Windows
    made = Bell()
    yield made
    made.close()


def test_a_ring_ends_the_wait(bell: Bell) -> None:
    ringing = threading.Timer(0.05, bell.ring)
    ringing.start()
    bell.wait(None)
    ringing.join()


def test_rings_before_a_wait_end_one_wait(bell: Bell) -> None:
    for _ in range(3):
        bell.ring()
    bell.wait(LONG)
    bell.wait(0.01)


@pytest.mark.parametrize("seconds", [-1.0, 0.0, 0.001])
def test_a_wait_ends_with_its_time(bell: Bell, seconds: float) -> None:
    bell.wait(seconds)


def test_a_wait_ends_when_a_line_is_readable(bell: Bell) -> None:
    line, other_end = socket.socketpair()
    with line, other_end:
        other_end.send(b"x")
        bell.wait(1e12, [-1, line.fileno()])  # -1: a line that is lost


def test_nobody_minds_a_ring_too_many(bell: Bell) -> None:
    for _ in range(100_000):
        bell.ring()
    bell.close()
    bell.ring()
