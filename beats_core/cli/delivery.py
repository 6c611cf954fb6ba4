"""From payloads to acknowledged events: one client, pipelined, and a bounded number of new beginnings."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from beats_core.backoff import Backoff
from beats_core.cli.exits import UNAVAILABLE, exit_code
from beats_core.cli.interrupt import Interrupt
from beats_core.client import Client
from beats_core.errors import ConnectionLost
from beats_core.frames import Batch
from beats_core.options import Options


class Delivery:
    """Delivers payloads to the first of the hosts that takes them. One thread.

    Args:
        options: Where to, and how.
        retries: How many times in a row a line may be lost, or not be made, without any ack in between.
        interrupt: Ends waiting.
        tell: Called with a sentence when something goes wrong that is tried again.
    """

    def __init__(self, options: Options, retries: int, interrupt: Interrupt, tell: Callable[[str], None]) -> None:
        self.acked = 0
        self.resent = 0
        self._options = options
        self._retries = retries
        self._interrupt = interrupt
        self._tell = tell
        self._client = Client(options=options)
        self._backoff = Backoff(options.backoff_init, options.backoff_max)
        self._waiting: deque[Batch] = deque()
        self._sent = 0  # on this connection, and not acknowledged
        self._sent_before = 0  # the oldest of what waits: sent, and lost with a connection
        self._failures = 0

    @property
    def unacked(self) -> int:
        """How many of the events it was given are not acknowledged."""
        return self._sent + sum(map(len, self._waiting))

    def deliver(self, payloads: list[bytes]) -> None:
        """Send payloads; return when all are sent and `pipelining` windows at most are not acknowledged.

        Raises:
            ConnectionLost: For good.
        """
        self._waiting.extend(Batch(payloads).split(self._options.bulk_max_size, self._options.bulk_max_bytes))
        while self._waiting:
            self._step(self._post_or_read)

    def finish(self) -> None:
        """Wait until everything is acknowledged.

        Raises:
            ConnectionLost: For good.
        """
        while self._waiting or self._client.in_flight:
            self._step(self._post_or_read)

    def wait_for_input(self, descriptor: int) -> bool:
        """Wait until there is something to read, taking acks meanwhile; False if Ctrl-C came first.

        Raises:
            ConnectionLost: For good.
        """
        if not self._interrupt.can_wait:
            self.finish()
            return True
        while self._client.in_flight:
            ready = self._interrupt.wait_for([descriptor, self._client.fileno()], self._client.ack_due)
            if self._interrupt.pending or (ready and self._interrupt.wait_for([descriptor], 0)):
                break
            self._step(self._read_now)
            while self._waiting:
                self._step(self._post_or_read)
        return self._interrupt.wait_for([descriptor], None)

    def close(self) -> None:
        """Close the line, whatever is in flight."""
        self._client.close()

    def _step(self, action: Callable[[], None]) -> None:
        """Do one thing with the client. A lost line costs a try; what it left over goes first on the next one."""
        try:
            action()
        except ConnectionLost as lost:
            rest = lost.unacked.split(self._options.bulk_max_size, self._options.bulk_max_bytes)
            self._waiting.extendleft(reversed(rest))
            self._sent_before += self._sent
            self._sent = 0
            if self.unacked:
                self._begin_anew(lost)

    def _begin_anew(self, lost: ConnectionLost) -> None:
        self._failures += 1
        # Who has acknowledged something does speak Beats, and is trusted: then it is worth another try.
        hopeless = exit_code(lost) != UNAVAILABLE and not self.acked
        if hopeless or self._failures > self._retries:
            raise ConnectionLost(lost.reason, Batch(())) from lost.__cause__
        wait = self._backoff.wait_time()
        self._tell(f"{lost.reason}; trying again in {wait:.1f} s ({self._failures} of {self._retries})")
        self._interrupt.sleep(wait)

    def _post_or_read(self) -> None:
        if self._waiting and self._client.in_flight < (1 if self._client.slow else self._options.pipelining):
            batch = self._waiting.popleft()  # if it fails, the batch is in `unacked`
            self._client.post(batch)
            self._sent += len(batch)
            again = min(len(batch), self._sent_before)
            self.resent += again
            self._sent_before -= again
        else:
            self._count(self._client.read_acks())

    def _read_now(self) -> None:
        self._count(self._client.read_acks(at_most=0))

    def _count(self, acked: list[tuple[Batch, int]]) -> None:
        count = sum(number for _, number in acked)
        if count:
            self.acked += count
            self._sent -= count
            self._failures = 0
            self._backoff.reset()
