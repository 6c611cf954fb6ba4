"""Wakes a thread that waits for sockets."""

from __future__ import annotations

import select
from collections.abc import Iterable
from contextlib import suppress
from math import ceil

from beats_core.native import poll, socket_pair

_LONGEST = 86_400.0  # seconds of one wait; poll takes no more than 2**31 milliseconds


class Bell:
    """One thread waits, any thread rings. A ring while nobody waits ends the next wait."""

    def __init__(self) -> None:
        self._reader, self._writer = socket_pair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def ring(self) -> None:
        """End the wait. Any thread."""
        with suppress(OSError):  # full: it rings already; closed: nobody is there any more
            self._writer.send(b"\0")

    def wait(self, seconds: float | None, lines: Iterable[int] = ()) -> None:
        """Sleep until it rings, one of the descriptors is readable, or the time is up; None sleeps for ever."""
        seconds = None if seconds is None else min(max(0.0, seconds), _LONGEST)
        descriptors = [self._reader.fileno(), *(line for line in lines if line >= 0)]
        if poll is not None:
            waiting = poll()
            for descriptor in descriptors:
                waiting.register(descriptor, select.POLLIN)
            # Rounded up: a wait that ends too early is a wait in a loop.
            rung = bool(waiting.poll(None if seconds is None else ceil(seconds * 1000)))
        else:  # Windows
            rung = bool(select.select(descriptors, [], [], seconds)[0])
        if rung:
            with suppress(OSError):
                self._reader.recv(1024)

    def close(self) -> None:
        """Release its descriptors; after fork in a child, only this process's copies."""
        self._reader.close()
        self._writer.close()
