"""The ledger against a list: whatever senders do, in whatever order, nothing is lost, doubled or out of line."""

from __future__ import annotations

import copy
import itertools
from collections import Counter
from dataclasses import dataclass, field
from enum import Enum

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from beats_core.backlog import ENDLESS, REFUSALS, Backlog, DeadLetter
from beats_core.frames import Batch, Important


class State(Enum):
    PENDING = "pending"
    IN_FLIGHT = "in flight"
    ACKED = "acked"
    DROPPED = "dropped"
    DEAD = "dead"


@dataclass
class Event:
    """What the model knows of one event; its place in the list is its ordinal."""

    payload: bytes
    state: State = State.PENDING
    returned: bool = False
    refused_alone: int = 0  # times running, until it was a suspect
    held_against: int = 0  # times since
    acked_then: int = 0  # how many were acknowledged when it was last held against it

    @property
    def suspect(self) -> bool:
        return self.refused_alone == REFUSALS


@dataclass
class Lease:
    line: int  # the connection on which it is in flight
    batch: Batch
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = len(self.batch)


class Ledger(RuleBasedStateMachine):
    @initialize(
        bulk_max_size=st.integers(1, 6), bulk_max_bytes=st.integers(1, 60), flush_interval=st.sampled_from([0.0, 1.0])
    )
    def begin(self, bulk_max_size: int, bulk_max_bytes: int, flush_interval: float) -> None:
        self.bulk_max_size = bulk_max_size
        self.bulk_max_bytes = bulk_max_bytes
        self.backlog = Backlog(bulk_max_size, bulk_max_bytes, flush_interval)
        self.events: list[Event] = []
        self.leases: list[Lease] = []
        self.now = 0.0
        self.resent = 0
        self.refused = False  # ever

    def ordinals(self, *states: State) -> list[int]:
        return [ordinal for ordinal, event in enumerate(self.events) if event.state in states]

    def events_of(self, batch: Batch) -> list[Event]:
        return [self.events[int(payload.split()[0])] for payload in batch.payloads]

    def left_of(self, lease: Lease) -> list[Event]:
        return self.events_of(lease.batch)[len(lease.batch) - lease.left :]

    @rule(kinds=st.lists(st.tuples(st.integers(1, 40), st.sampled_from([bytes, bytes, Important])), max_size=12))
    def append(self, kinds: list[tuple[int, type[bytes]]]) -> None:
        begin = len(self.events)
        for place, (size, kind) in enumerate(kinds, begin):
            self.events.append(Event(kind(b"%d" % place + b" " * size)))
        self.backlog.append([event.payload for event in self.events[begin:]], self.now)

    def waiting(self) -> list[bytes]:
        """Return the payloads of all that wait but for suspects, oldest first, from a copy that is emptied."""
        backlog = copy.deepcopy(self.backlog)
        taken: list[bytes] = []
        while (batch := backlog.take(float("inf"))) is not None:
            taken += batch.payloads
            backlog.ack(batch, len(batch))
        ordinals = sorted(int(payload.split()[0]) for payload in taken)
        return [self.events[ordinal].payload for ordinal in ordinals if not self.events[ordinal].suspect]

    @rule(size=st.integers(1, 100), overhead=st.integers(0, 10))
    def drop_oldest(self, size: int, overhead: int) -> None:
        before = self.waiting()
        count = self.backlog.drop_oldest(size, overhead)
        after = self.waiting()
        gone = [payload for payload in before if payload not in after]
        events = [self.events[int(payload.split()[0])] for payload in gone]
        assert count == len(gone) == len(before) - len(after)
        assert not [event for event in events if event.suspect or event.state is not State.PENDING]
        for event in events:
            event.state = State.DROPPED
        freed = sum(len(payload) + overhead for payload in gone)
        if self.refused:  # what is on trial is spared
            return
        assert freed >= size or not after
        ordinary = [payload for payload in before if type(payload) is bytes]
        others = [payload for payload in before if type(payload) is Important]
        assert gone == sorted((ordinary + others)[: len(gone)], key=before.index)
        assert not gone or freed - max(len(payload) + overhead for payload in gone) < size

    @rule(size=st.integers(1, 80))
    def bury(self, size: int) -> None:
        self.events.append(Event(b"%d" % len(self.events) + b" " * size, State.DEAD))
        self.backlog.bury(DeadLetter(self.events[-1].payload, "too large"))

    @rule(seconds=st.sampled_from([0.25, 1.0, 100.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def hurry(self) -> None:
        self.backlog.hurry()

    @rule(line=st.integers(0, 1), at_most=st.none() | st.integers(1, 4))
    def take(self, line: int, at_most: int | None = None) -> None:
        alongside = [lease.batch for lease in self.leases if lease.line == line]
        wait = self.backlog.wait_time(self.now, alongside)
        batch = self.backlog.take(self.now, alongside, at_most)
        assert (batch is not None) == (wait == 0)
        if batch is None:
            return
        events = self.events_of(batch)
        assert [event.payload for event in events] == list(batch.payloads)
        assert batch.first <= self.events.index(events[0])
        assert all(event.state is State.PENDING for event in events)
        assert len(batch) <= min(self.bulk_max_size, at_most or self.bulk_max_size)
        assert batch.size <= self.bulk_max_bytes or len(batch) == 1
        if events[0].suspect:
            assert len(batch) == 1
            assert not alongside
        else:
            pending = self.ordinals(State.PENDING)
            oldest = min(ordinal for ordinal in pending if not self.events[ordinal].suspect)
            assert self.events[oldest] is events[0]
        for event in events:
            event.state = State.IN_FLIGHT
        self.leases.append(Lease(line, batch))

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 9), share=st.floats(0.01, 1))
    def ack(self, choice: int, share: float) -> None:
        lease = self.leases[choice % len(self.leases)]
        count = max(1, int(lease.left * share))
        for event in self.left_of(lease)[:count]:
            event.state = State.ACKED
        lease.left -= count
        self.backlog.ack(lease.batch, count)
        assert self.backlog.left(lease.batch) == lease.left
        assert self.backlog.is_leased(lease.batch) == bool(lease.left)
        if not lease.left:
            self.leases.remove(lease)

    @precondition(lambda self: self.leases)
    @rule(choice=st.integers(0, 9), refused=st.booleans(), proven=st.booleans())
    def put_back(self, choice: int, *, refused: bool, proven: bool) -> None:
        lease = self.leases.pop(choice % len(self.leases))
        events = self.left_of(lease)
        refused = refused and lease.left == len(lease.batch)
        self.refused = self.refused or refused
        self.backlog.put_back(lease.batch, refused=refused, proven=proven)
        self.resent += lease.left
        for event in events:
            event.state = State.PENDING
        if len(events) == 1:
            self.judge(events[0], refused=refused, proven=proven)

    @rule(times=st.integers(1, 9), at_most=st.none() | st.integers(1, 4))
    def close_on_whatever_comes(self, times: int, at_most: int | None) -> None:
        for _ in range(times):
            leased = len(self.leases)
            self.take(0, at_most)
            if len(self.leases) > leased:
                self.put_back(leased, refused=True, proven=True)

    def judge(self, event: Event, *, refused: bool, proven: bool) -> None:
        acked = len(self.ordinals(State.ACKED))
        if not event.suspect:
            event.refused_alone = event.refused_alone + 1 if refused else 0
            event.acked_then = acked
        elif refused and event.acked_then < acked:
            event.acked_then = acked
            event.held_against += proven
            if event.held_against == REFUSALS:
                event.state = State.DEAD

    @invariant()
    def every_event_is_in_exactly_one_place(self) -> None:
        backlog = self.backlog
        known = Counter(event.state for event in self.events)
        assert backlog.appended == len(self.events)
        assert (
            backlog.pending,
            backlog.in_flight,
            backlog.acked,
            backlog.dropped.total(),
            backlog.dead,
        ) == tuple(known[state] for state in State)
        assert backlog.appended == (
            backlog.pending + backlog.in_flight + backlog.acked + backlog.dropped.total() + backlog.dead
        )
        assert backlog.settled == backlog.acked + backlog.dropped.total() + backlog.dead

    @invariant()
    def bytes_add_up(self) -> None:
        def size(*states: State) -> int:
            return sum(len(self.events[ordinal].payload) for ordinal in self.ordinals(*states))

        assert self.backlog.appended_bytes == size(*State)
        assert self.backlog.acked_bytes == size(State.ACKED)
        assert self.backlog.settled_bytes == size(State.ACKED, State.DROPPED, State.DEAD)
        assert self.backlog.resent == self.resent

    @invariant()
    def every_event_before_settled_until_is_settled(self) -> None:
        unsettled = self.ordinals(State.PENDING, State.IN_FLIGHT)
        oldest = min(unsettled, default=len(self.events))
        if State.DROPPED in {event.state for event in self.events}:  # which leaves gaps in the numbers
            assert self.backlog.settled_until <= oldest
            assert bool(unsettled) or self.backlog.settled_until == len(self.events)
        else:
            assert self.backlog.settled_until == oldest

    @invariant()
    def the_unsettled_runs_hold_every_event_that_is_not(self) -> None:
        runs = self.backlog.unsettled()
        assert runs == sorted(runs)
        assert all(end <= first for (_, end), (first, _) in itertools.pairwise(runs))
        assert runs[-1][1] == ENDLESS
        unsettled = self.ordinals(State.PENDING, State.IN_FLIGHT)
        told = [ordinal for first, end in runs for ordinal in range(first, min(end, len(self.events)))]
        if self.backlog.dropped or self.backlog.dead_letters:  # which leave gaps in the numbers
            assert self.backlog.dropped or set(unsettled) <= set(told)
        else:
            assert unsettled == told

    @invariant()
    def there_is_always_a_way_on(self) -> None:
        """With nothing in flight nobody else will wake the sender: whatever is pending must become due by itself."""
        if self.backlog.pending and not self.backlog.in_flight:
            assert self.backlog.wait_time(self.now) is not None

    def teardown(self) -> None:
        """Now and then the ledger is dropped; else a receiver accepts everything that is left."""
        if len(self.events) % 2:
            self.drop_all()
        while self.leases:
            self.ack(0, 1.0)
        while self.backlog.pending:
            self.take(0)
            self.ack(0, 1.0)
        self.every_event_is_in_exactly_one_place()
        self.bytes_add_up()
        assert self.backlog.settled == len(self.events)

    def drop_all(self) -> None:
        unsettled = self.ordinals(State.PENDING, State.IN_FLIGHT)
        assert self.backlog.drop_all("shutdown") == len(unsettled)
        assert self.backlog.unsettled() == [(len(self.events), ENDLESS)]
        for ordinal in unsettled:
            self.events[ordinal].state = State.DROPPED
        for lease in self.leases:  # a sender that is still at it is ignored
            self.backlog.ack(lease.batch, lease.left)
            self.backlog.put_back(lease.batch, refused=True)
        self.leases = []
        assert self.backlog.take(self.now) is None
        assert self.backlog.settled_until == len(self.events)


TestLedger = Ledger.TestCase
