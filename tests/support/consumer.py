"""A consumer of received windows that a test can hold up, or make fail."""

from __future__ import annotations

import threading

from beats_core import ReceivedWindow


class Consumer:
    """Keeps the windows it is given.

    Attributes:
        windows: All so far.
        begun: Released once for each window, when it comes.
        go_on: While it is not set, the consumer works and works.
        failure: What it raises, if anything.
    """

    def __init__(self) -> None:
        self.windows: list[ReceivedWindow] = []
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()
        self.go_on.set()
        self.failure: Exception | None = None

    def __call__(self, received: ReceivedWindow) -> None:
        self.windows.append(received)
        self.begun.release()
        self.go_on.wait()
        if self.failure:
            raise self.failure
