"""A sender in the thread of whoever logs, for a program in which no other thread runs.

It keeps its line from one call to the next. What it could not deliver waits for the next call.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from time import monotonic

from beats_core.sender import Sender

_logger = logging.getLogger("beats_core.sender")


class SenderHere(Sender):
    """A sender that is called."""

    def deliver_some(self, deadline: float) -> None:
        """Deliver until everything is settled, until `deadline`, or until the next try is not due yet."""
        self._deadline, self._hurried = deadline, True  # not so hurried that it would cut a rest short
        self._running = True
        try:
            for line in self._lines():
                self._read(line)  # the receiver may have closed it since
            while self._may_go_on() and self._step():
                pass
        except Exception:
            with suppress(Exception):  # also one of a handler, with which the application logs this
                _logger.exception("the sender failed and begins anew")
            self._hang_up()
            self._rest_until = monotonic() + self._backoff.wait_time()
        finally:
            self._deadline, self._hurried = None, False
            self._running = False
            if self._released:
                self.close()

    def close(self) -> None:
        """Release the descriptors, and the line that was kept."""
        if not self._running:
            self._hang_up()
        super().close()

    def _may_go_on(self) -> bool:
        if self._dialing is not None and self._dialing.done:
            self._take_over(self._dialing, monotonic())
        return self._line is not None or monotonic() >= self._rest_until
