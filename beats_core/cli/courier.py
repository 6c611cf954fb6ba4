"""Delivers what a ledger holds, or one event alone, in the calling thread, with a bounded number of new beginnings."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from beats_core.backlog import Backlog
from beats_core.backoff import Backoff
from beats_core.cli.exits import UNAVAILABLE, exit_code
from beats_core.cli.interrupt import Interrupt
from beats_core.client import Client
from beats_core.errors import ConnectionLost
from beats_core.frames import Batch
from beats_core.line import Line, Target, is_refusal
from beats_core.options import Options

# A window of the largest size is halved to its one bad event in fewer; a receiver that refuses everything gets no more.
_MOST_REFUSALS = 100  # in a row
_PAUSE = 0.1  # seconds after a refusal, at most: it is the event that is tried, not the receiver


class Lines:
    """The line to the first receiver that can be reached, and the next one when that is lost. One thread.

    Args:
        options: Where to, and how.
        retries: How many times in a row a line may be lost, or not be made, without any ack in between.
        interrupt: Ends waiting.
        tell: Called with a sentence when something goes wrong that is tried again.
    """

    def __init__(self, options: Options, retries: int, interrupt: Interrupt, tell: Callable[[str], None]) -> None:
        self._options = options
        self._retries = retries
        self._interrupt = interrupt
        self._tell = tell
        self._targets = [Target(host, options) for host in options.addresses]
        self._line: Line | None = None
        self._backoff = Backoff(options.backoff_init, options.backoff_max)
        self._acked = False  # anything, ever
        self._failures = 0
        self._refusals = 0

    def open(self) -> Line:
        """Return the line, having made one if there is none.

        Raises:
            ConnectionLost: For good.
        """
        while self._line is None:
            try:
                self._line = self._connect()
            except ConnectionLost as lost:
                self.lose(lost)
        return self._line

    def worked(self) -> None:
        """Take note of an ack."""
        self._acked = True
        self._failures = self._refusals = 0
        self._backoff.reset()

    def lose(self, lost: ConnectionLost, *, refused: bool = False) -> None:
        """Give the line up, and wait a while before the next.

        Args:
            lost: Why.
            refused: It was closed because of what was sent.

        Raises:
            ConnectionLost: For good: there were too many.
        """
        self.close()
        # Who has acknowledged something does speak Beats, and is trusted: then it is worth another try.
        hopeless = exit_code(lost) != UNAVAILABLE and not self._acked
        if refused:
            self._refusals += 1
        else:
            self._failures += 1
        if hopeless or self._interrupt.pending or self._failures > self._retries or self._refusals > _MOST_REFUSALS:
            raise ConnectionLost(lost.reason, Batch(())) from lost.__cause__
        if refused:
            if self._refusals == 1:
                self._tell(f"{lost.reason}; an event may be the cause, trying on")
            self._interrupt.sleep(min(_PAUSE, self._options.backoff_init))
            return
        wait = self._backoff.wait_time()
        self._tell(f"{lost.reason}; trying again in {wait:.1f} s ({self._failures} of {self._retries})")
        self._interrupt.sleep(wait)

    def close(self) -> None:
        """Close the line, whatever is in flight."""
        line, self._line = self._line, None
        if line is not None:
            line.target.closings = line.client.closings
            line.client.close()

    def _connect(self) -> Line:
        failures = []
        for target in self._targets:
            client = Client(options=self._options)
            try:
                client.connect(hosts=[target.host])
            except ConnectionLost as lost:
                failures.append(lost)
            else:
                return Line(target, client, 0.0, None)
        reasons = "; ".join(lost.reason for lost in failures)
        raise ConnectionLost(reasons, Batch(())) from failures[-1].__cause__


class Courier:
    """Delivers what a ledger holds. One thread.

    Args:
        backlog: What there is to deliver. It tells a bad event from a bad receiver.
        lines: Over which.
        options: The same as theirs.
    """

    def __init__(self, backlog: Backlog, lines: Lines, options: Options) -> None:
        self._backlog = backlog
        self._lines = lines
        self._options = options

    def step(self) -> None:
        """Send what there is room for, and wait for the receiver once.

        Raises:
            ConnectionLost: For good. The ledger has again what was in flight.
        """
        line = self._lines.open()
        try:
            while line.client.in_flight < (1 if line.client.slow else self._options.pipelining):
                batch = line.take(self._backlog, monotonic())
                if batch is None:
                    break
                line.client.post(batch)
            acked = line.client.read_acks()
        except ConnectionLost as lost:
            refused = is_refusal(lost)
            line.give_back(self._backlog, refused=refused)
            self._lines.lose(lost, refused=refused)
            return
        if acked:
            line.settle(self._backlog, acked)
            self._lines.worked()


def deliver_alone(payload: bytes, lines: Lines) -> str:
    """Deliver one event in a window of its own; return why it was refused, or nothing.

    Raises:
        ConnectionLost: For good, and not because of this event.
    """
    while True:
        line = lines.open()
        try:
            line.client.send(Batch((payload,)))
        except ConnectionLost as lost:
            refused = is_refusal(lost)
            lines.lose(lost, refused=refused)
            if refused:
                return lost.reason
        else:
            lines.worked()
            return ""
