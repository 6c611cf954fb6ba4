"""Ctrl-C once ends the reading, and what was read is still delivered; twice ends everything.

An exception in the middle of writing a window would leave half of it on the line. So the first Ctrl-C is only noted,
and wakes whoever waits here.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import time
from types import FrameType, TracebackType
from typing import Self

_CAN_POLL = hasattr(select, "poll")  # on Windows only sockets can be waited for


class Interrupt:
    """Notes Ctrl-C inside its `with` block, and waits in such a way that Ctrl-C ends it. Main thread only."""

    can_wait = _CAN_POLL  # else `wait_for` must not be called

    def __init__(self) -> None:
        self.pending = False

    def __enter__(self) -> Self:
        """Take SIGINT over."""
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._handler_before = signal.signal(signal.SIGINT, self._handle)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Give it back."""
        signal.set_wakeup_fd(self._wakeup_before)
        signal.signal(signal.SIGINT, self._handler_before)
        self._reader.close()
        self._writer.close()

    def sleep(self, seconds: float) -> None:
        """Wait that long, or until Ctrl-C; no more at all after it."""
        if _CAN_POLL:
            self.wait_for([], seconds)
        else:
            time.sleep(seconds)

    def wait_for(self, descriptors: list[int], seconds: float | None) -> bool:
        """Wait until one can be read, for Ctrl-C, or for the time; None is for ever.

        Returns:
            Whether one can be read.
        """
        poll = select.poll()
        for descriptor in (*descriptors, self._reader.fileno()):
            poll.register(descriptor, select.POLLIN)
        ready = poll.poll(None if seconds is None else max(0.0, seconds) * 1000 + 1)
        return any(number in descriptors for number, _ in ready)

    def _handle(self, _number: int, _frame: FrameType | None) -> None:
        if self.pending or not _CAN_POLL:
            raise KeyboardInterrupt
        self.pending = True
        # Not print(): the signal may have come in the middle of another one.
        os.write(2, b"beats: interrupted; what was read is still delivered. Again to leave at once.\n")
