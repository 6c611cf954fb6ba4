"""The delivery ledger: which events wait, which are in flight, which are settled, across all connections.

An event enters by `append` and leaves by `ack`, by a counted drop, or dead; nothing else removes it:

    appended = pending + in flight + acked + dropped + dead       after every call

A batch is leased to one connection by `take`. `ack` settles its oldest events, `put_back` returns the rest,
which goes first next time. Events are numbered in the order of `append`; `Batch.first` is that number.
This room has no clock, lock or I/O: the caller holds the lock and knows the time.

Poison. A window that the receiver answers three times running by closing the connection, acknowledging
nothing of it, is halved until a single event is left. That event is suspect: it is set aside until the
receiver has acknowledged something else, and tried again; when it was refused three more times, each time after
something else had been acknowledged, on the very same connection, it is dead. The detour tells a poisonous event from
a receiver, or a load balancer before it, that closes every connection: an outage kills no event, nor does a receiver
that flaps, or one of several that accepts nothing.
"""

from __future__ import annotations

from bisect import insort
from collections import Counter, deque
from collections.abc import Sequence
from typing import Self

from beats_core.frames import Batch, Important

REFUSALS = 3  # closings in a row before a window is halved
DEAD_LETTERS = 16  # dead events kept for a look
ENDLESS = 1 << 62


class DeadLetter(bytes):
    """An event that is not to be sent, and why: its payload, or of one that is too large how it begins.

    Attributes:
        reason: Why.
        receiver: Who refused it last; empty if nobody did.
        attempts: How often it was sent alone.
    """

    reason: str
    receiver: str
    attempts: int

    def __new__(cls, payload: bytes, reason: str = "", receiver: str = "", attempts: int = 0) -> Self:
        """Return the payload with what is known of its end."""
        letter = super().__new__(cls, payload)
        letter.reason = reason
        letter.receiver = receiver
        letter.attempts = attempts
        return letter


def _ordinal(batch: Batch) -> int:
    return batch.first


class Backlog:
    """The ledger of one shipper. The caller holds a lock.

    Args:
        bulk_max_size: Most events of a batch.
        bulk_max_bytes: Most payload bytes of a batch of several events.
        flush_interval: Seconds an event waits for its batch to fill while others are in flight.
    """

    def __init__(self, bulk_max_size: int, bulk_max_bytes: int, flush_interval: float) -> None:
        self.closed = False
        self.expecting = False  # what is in the spool is still to come
        self.appended = 0
        self.appended_bytes = 0
        self.acked = 0
        self.acked_bytes = 0
        self.settled_bytes = 0  # acked, dead or dropped
        self.resent = 0
        self.dropped: Counter[str] = Counter()
        self.dead = 0
        self.buried = 0  # of them, those that came dead
        self.dead_letters: deque[DeadLetter] = deque(maxlen=DEAD_LETTERS)
        self._collected = 0
        self._bulk_max_size = bulk_max_size
        self._bulk_max_bytes = bulk_max_bytes
        self._flush_interval = flush_interval
        self._filling: list[bytes] = []
        self._filling_bytes = 0
        self._filling_due = 0.0
        self._full: deque[Batch] = deque()
        self._returned: list[Batch] = []  # by ordinal
        self._leases: dict[int, Batch] = {}  # what is left of each lease, by the ordinal of the leased batch
        self._refusals: dict[int, int] = {}
        self._suspects: dict[int, int] = {}  # the ordinal of a suspect, and `acked` when it was last held against it
        self._attempts: dict[int, int] = {}  # of suspects
        self._aside: dict[int, Batch] = {}  # suspects that wait for their trial

    @property
    def pending(self) -> int:
        """How many events wait for a connection."""
        return self.appended - self.settled - self.in_flight

    @property
    def settled(self) -> int:
        """How many events are acknowledged, dead or dropped."""
        return self.acked + self.dead + self.dropped.total()

    @property
    def in_flight(self) -> int:
        """How many events are leased and not acknowledged."""
        return sum(map(len, self._leases.values()))

    @property
    def settled_until(self) -> int:
        """The ordinal before which every event is settled."""
        waiting = [
            *(batch.first for batch in self._leases.values()),
            *(batch.first for batch in self._returned[:1]),
            *self._aside,
        ]
        waiting.append(self._full[0].first if self._full else self.appended - len(self._filling))
        return min(waiting)

    def append(self, payloads: Sequence[bytes], now: float) -> None:
        """Take over events, oldest first: all of them, or none if it raises for want of memory."""
        filling = [*self._filling, *payloads]
        size = sum(map(len, payloads))
        filling_bytes = self._filling_bytes + size
        full: list[Batch] = []
        due = self._filling_due if self._filling else now + self._flush_interval
        if len(filling) >= self._bulk_max_size or filling_bytes >= self._bulk_max_bytes:
            first = self.appended - len(self._filling)
            *full, rest = Batch(filling, first).split(self._bulk_max_size, self._bulk_max_bytes)
            if len(rest) == self._bulk_max_size or rest.size >= self._bulk_max_bytes:
                full.append(rest)
                rest = Batch(())
            filling, filling_bytes, due = list(rest.payloads), rest.size, now + self._flush_interval
        self._full.extend(full)
        self._filling, self._filling_bytes, self._filling_due = filling, filling_bytes, due
        self.appended += len(payloads)
        self.appended_bytes += size

    def take(self, now: float, alongside: Sequence[Batch] = (), at_most: int | None = None) -> Batch | None:
        """Lease what is due, or None: returned batches first, then full ones, then what is there.

        A batch that is not full is due when nothing is in flight (eager), or after `flush_interval`. One that was
        refused before travels alone: go-lumber drops the ack of a good window when a bad one follows it in flight,
        so only of a window that is alone does a refusal say whom it meant.

        Args:
            now: The time.
            alongside: The leased batches that are in flight on the connection that asks.
            at_most: Events to lease, at least 1; the rest of a larger batch stays in line, at its place.
        """
        if any(map(self._on_trial, alongside)):
            return None
        suspect = self._suspect_to_try()
        if suspect is not None:
            batch = self._aside[suspect]
        else:
            if not (self._returned or self._full) and self._filling and (not self._leases or now >= self._filling_due):
                self.hurry()
            if not (self._returned or self._full):
                return None
            batch = (self._returned or self._full)[0]
        if alongside and self._on_trial(batch):  # the line is to run empty: a steady load would pass it over for ever
            return None
        lease = batch if at_most is None or len(batch) <= at_most else Batch(batch.payloads[:at_most], batch.first)
        rest = [] if lease is batch else [batch.tail(len(lease))]
        # From here on nothing can fail, and leave an event in two places or in none.
        self._leases[lease.first] = lease
        if suspect is not None:
            del self._aside[suspect]
        elif self._returned:
            self._returned[:1] = rest
        else:
            self._full.popleft()
            self._returned = rest
        if rest and lease.first in self._refusals:
            self._refusals[lease.first] = 0  # a shorter window is another one; it still travels alone
        return lease

    def wait_time(self, now: float, alongside: Sequence[Batch] = ()) -> float | None:
        """Return the seconds until `take` has something without a further call; None if it never will."""
        if any(map(self._on_trial, alongside)):
            return None
        if self._suspect_to_try() is not None:
            return None if alongside else 0.0
        if self._returned:
            return None if alongside and self._on_trial(self._returned[0]) else 0.0
        if self._full:
            return 0.0
        if not self._filling:
            return None
        return max(0.0, self._filling_due - now) if self._leases else 0.0

    def ack(self, batch: Batch, count: int) -> None:
        """Settle the oldest `count` events that are left of a leased batch.

        Raises:
            ValueError: The batch is not leased, or has fewer left.
        """
        if self.closed:
            return
        left = self._leases.get(batch.first)
        if left is None or not 0 < count <= len(left):
            raise ValueError(f"ack of {count} events for {left!r}")
        rest = left.tail(count)
        size = left.size - rest.size
        self.acked += count
        self.acked_bytes += size
        self.settled_bytes += size
        self._refusals.pop(batch.first, None)
        self._suspects.pop(batch.first, None)
        self._attempts.pop(batch.first, None)
        if len(rest):
            self._leases[batch.first] = rest
        else:
            del self._leases[batch.first]

    def is_leased(self, batch: Batch) -> bool:
        """Tell whether something of a taken batch is still to be acknowledged."""
        return batch.first in self._leases

    def left(self, batch: Batch) -> int:
        """Return how many events of a leased batch are still to be acknowledged."""
        return len(self._leases.get(batch.first, ()))

    def hurry(self) -> None:
        """Make everything that waits due now."""
        if self._filling:
            self._full.append(self._close_filling())

    def put_back(self, batch: Batch, *, refused: bool = False, proven: bool = True, receiver: str = "") -> None:
        """Return what is left of a leased batch; it goes first next time.

        Args:
            batch: As it was taken.
            refused: The receiver closed the connection when this was its oldest window, acknowledging nothing of it.
            proven: It had accepted something on that connection; else that it refuses says nothing of an event.
            receiver: Its name, for a dead letter.
        """
        if self.closed:
            return
        left = self._leases.pop(batch.first)
        self.resent += len(left)
        if left.first in self._suspects:
            self._judge(left, receiver, refused=refused, proven=proven)
            return
        refusals = self._refusals.pop(batch.first, 0) + 1
        if not refused or refusals < REFUSALS:
            if refused:
                self._refusals[left.first] = refusals
            insort(self._returned, left, key=_ordinal)
        elif len(left) > 1:
            middle = len(left) // 2
            insort(self._returned, Batch(left.payloads[:middle], left.first), key=_ordinal)
            insort(self._returned, left.tail(middle), key=_ordinal)
        else:
            self._suspects[left.first] = self.acked
            self._attempts[left.first] = REFUSALS
            self._aside[left.first] = left

    def bury(self, letter: DeadLetter) -> None:
        """Take over an event that is dead already."""
        self.hurry()  # a batch is numbered without a gap
        self.appended += 1
        self.appended_bytes += len(letter)
        self.settled_bytes += len(letter)
        self.dead += 1
        self.buried += 1
        self.dead_letters.append(letter)

    def drop_oldest(self, size: int, overhead: int = 0) -> int:
        """Give up the oldest events that wait, until so many bytes are free; important ones only after all others.

        Args:
            size: Bytes to free.
            overhead: What each event takes beside its payload.

        Returns:
            How many events that were. They are counted in `dropped["oldest"]`.
        """
        self.hurry()  # what is filling is numbered from behind, without a gap
        dropped = 0
        for important_too in (False, True):
            for room in (self._returned, self._full):
                for place, batch in enumerate(room):
                    if size <= 0:
                        break
                    if self._on_trial(batch):
                        continue
                    kept = _without_oldest(batch, size, overhead, important_too=important_too)
                    room[place] = kept
                    gone, freed = len(batch) - len(kept), batch.size - kept.size
                    dropped += gone
                    size -= freed + gone * overhead
                    self.settled_bytes += freed
        self._returned = [batch for batch in self._returned if len(batch)]
        self._full = deque(batch for batch in self._full if len(batch))
        if dropped:
            self.dropped["oldest"] += dropped
        return dropped

    def unsettled(self) -> list[tuple[int, int]]:
        """Return the ordinals of all events that are not settled, as runs: the first of each, and the one behind it.

        Sorted. The last has no end: it begins with what waits for its first connection, and what is yet to be appended
        belongs to it. A run may hold some that are dead; where `drop_oldest` left gaps, the numbers are too low.
        """
        batches = [*self._leases.values(), *self._returned, *self._aside.values()]
        waiting = self._full[0].first if self._full else self.appended - len(self._filling)
        return [*sorted((batch.first, batch.first + len(batch)) for batch in batches), (waiting, ENDLESS)]

    def collect_letters(self) -> list[DeadLetter]:
        """Return the dead letters since the last call, the newest `DEAD_LETTERS` of them."""
        new = min(self.dead - self._collected, len(self.dead_letters))
        self._collected = self.dead
        return list(self.dead_letters)[len(self.dead_letters) - new :]

    def drop_all(self, reason: str, *, spared: int = 0) -> int:
        """Drop everything that is not settled, leased or not, and return how many events that were.

        The ledger is closed then: what a sender still reports about its leases is ignored.

        Args:
            reason: To count them by.
            spared: How many of them are in the spool, where the next process finds them; they stay `pending`.
        """
        self.closed = True
        count = self.pending + self.in_flight - spared
        if count:
            self.dropped[reason] += count
        self.settled_bytes = self.appended_bytes
        self._filling = []
        self._filling_bytes = 0
        self._returned = []
        for room in (self._full, self._leases, self._refusals, self._suspects, self._attempts, self._aside):
            room.clear()
        return count

    def _on_trial(self, batch: Batch) -> bool:
        return batch.first in self._refusals or batch.first in self._suspects

    def _close_filling(self) -> Batch:
        batch = Batch(self._filling, self.appended - len(self._filling))
        self._filling = []
        self._filling_bytes = 0
        return batch

    def _judge(self, suspect: Batch, receiver: str, *, refused: bool, proven: bool) -> None:
        """Count a refusal against a suspect if others were accepted meanwhile; set it aside again, or it is dead."""
        first = suspect.first
        self._attempts[first] += 1
        if refused and self._suspects[first] < self.acked:
            self._suspects[first] = self.acked
            self._refusals[first] = self._refusals.get(first, 0) + proven
        if self._refusals.get(first) == REFUSALS:
            reason = "refused while others were accepted"
            letter = DeadLetter(suspect.payloads[0], reason, receiver, self._attempts.pop(first))
            del self._suspects[first], self._refusals[first]
            self.dead += 1
            self.dead_letters.append(letter)
            self.settled_bytes += suspect.size
        else:
            self._aside[first] = suspect

    def _suspect_to_try(self) -> int | None:
        """Return a suspect to try now: others were accepted since, or there is nothing else to do."""
        idle = not (self._returned or self._full or self._filling or self._leases)
        return next((first for first in self._aside if idle or self._suspects[first] < self.acked), None)


def _without_oldest(batch: Batch, size: int, overhead: int, *, important_too: bool) -> Batch:
    """Return the batch without its oldest events, as many as take so many bytes.

    What is left keeps the number of the first: the numbers behind it are then too low, but not too high, and its own.
    """
    kept: list[bytes] = []
    for payload in batch.payloads:
        if size > 0 and (important_too or type(payload) is not Important):
            size -= len(payload) + overhead
        else:
            kept.append(payload)
    return Batch(kept, batch.first)
