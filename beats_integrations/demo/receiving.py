"""The demo's receiver: prints what arrives and remembers its ids. It can go away and come back at the same address."""

from __future__ import annotations

import logging
import sys
import threading
from collections import Counter
from collections.abc import Callable, Collection
from time import monotonic
from types import TracebackType
from typing import Self

from beats_core import ReceivedWindow, Receiver
from beats_core.cli.pretty import Pretty
from beats_core.cli.terminal import wants_color
from beats_integrations.demo.tally import event_id


class Crash(Exception):
    """What the receiver has taken it does not acknowledge."""


class Reception:
    """Listens from entering its `with` block. What it received it remembers also while it is away."""

    def __init__(self) -> None:
        self._pretty = Pretty(color=wants_color("auto", sys.stdout))
        self._changed = threading.Condition()
        self._arrivals: Counter[str] = Counter()
        self._receiver: Receiver | None = None
        self._acknowledging = True
        self._gone = threading.Event()
        logging.getLogger("beats_core.receiver").addFilter(_is_no_part_of_the_play)
        self.host = "127.0.0.1:0"

    def __enter__(self) -> Self:
        """Listen on a free port."""
        self.come_back()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Stop listening."""
        self.go_away()

    @property
    def arrived(self) -> Collection[str]:
        """The ids of what arrived so far."""
        with self._changed:
            return set(self._arrivals)

    @property
    def repeated(self) -> int:
        """How many events arrived more often than once."""
        with self._changed:
            return sum(count > 1 for count in self._arrivals.values())

    def stop_acknowledging(self) -> None:
        """Take what comes, and leave it without an answer."""
        self._acknowledging = False

    def go_away(self) -> None:
        """Close the port and every connection."""
        self._gone.set()
        if self._receiver is not None:
            self._receiver.close()
            self._receiver = None

    def come_back(self) -> None:
        """Listen again where it did before."""
        self._acknowledging = True
        self._gone.clear()
        self._receiver = Receiver(self.host, self._take)
        self.host = self._receiver.host

    def wait_for(self, ids: Collection[str], seconds: float, alive: Callable[[], bool]) -> None:
        """Wait until all of them have arrived, for that long at most, and as long as it makes sense."""
        deadline = monotonic() + seconds
        with self._changed:
            while not self._arrivals.keys() >= set(ids) and monotonic() < deadline and alive():
                self._changed.wait(0.2)

    def say(self, text: str) -> None:
        """Print a line of the demo's own."""
        with self._changed:
            print(f"──── {text}", flush=True)

    def _take(self, window: ReceivedWindow) -> None:
        documents = window.events
        ids = [number for document in documents if (number := event_id(document)) is not None]
        with self._changed:
            try:
                print("".join(map(self._pretty, documents)), end="", flush=True)
            except BrokenPipeError as error:  # the demo ends at the next line of its own
                raise Crash from error
            self._arrivals.update(ids)
            self._changed.notify_all()
        if not self._acknowledging:
            self._gone.wait()
            raise Crash


def _is_no_part_of_the_play(record: logging.LogRecord) -> bool:
    return not (record.exc_info and record.exc_info[0] is Crash)
