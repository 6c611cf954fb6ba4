"""The receivers of the field, each as its source and its answers show it."""

from __future__ import annotations

import re
from typing import ClassVar

from beats_core import AckTimeout, ConnectionLost, Stalled
from support.receivers import Event, Inside, Read, Receiver, Refused, json_value, read_event
from support.scripted import Window
from support.strict_json import strict_object

MIB = 1 << 20
# Fluentd's: '%Y-%m-%dT%H:%M:%S.%N%z'
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+(Z|[+-]\d\d:?\d\d)")


class Logstash(Receiver):
    """logstash-input-beats 7: acknowledges the highest sequence, and resets.

    A window that is not exact leaves it out of step: the size of the next one is noted in a batch that is handed on,
    and the batch after that has none, so that it never ends.
    """

    title = "Logstash"
    keeps_alive = True
    poison = frozenset({"broken", "text beside message"})
    overload: ClassVar[type[ConnectionLost] | None] = Stalled
    merges_event: ClassVar[bool] = True  # into the `event` of its default schema since Logstash 8, an object

    _size = 0
    _heard = 0  # bytes from the client when a window was finished

    def window(self, version: int, count: int, depth: int) -> None:
        self._size = count
        if self.batch:
            self._hand_on()
        elif not count:
            self.empty_window(version)

    def event(self, event: Event) -> None:
        self.batch.append(event)
        if len(self.batch) == self._size:
            self._hand_on()

    def empty_window(self, version: int) -> None:
        self.ack(Event(version, 0, b""))

    def number_to_ack(self, batch: list[Event], size: int) -> int:
        return max(event.sequence for event in batch)

    def deliver(self, event: Event) -> None:
        try:
            fields = strict_object(event.payload)
        except ValueError:
            raise Refused from None
        if self.merges_event and "message" in fields and not isinstance(fields.get("event", {}), dict):
            raise Refused
        super().deliver(event)

    def keeps_alive_now(self) -> bool:
        """Only for bytes that came since a window was finished: not for one that came together with it."""
        return len(self.peer.wire) > self._heard

    def overloaded(self) -> None:
        while True:
            self.work()

    def close(self) -> None:
        if self.peer.tls:
            self.peer.leave()
        else:
            self.peer.reset()

    def _hand_on(self) -> None:
        batch, self.batch = self.batch, []
        size, self._size = self._size, 0
        number = self.number_to_ack(batch, size)
        for position, event in enumerate(batch, 1):
            if position == len(batch):
                self.last_event_is_due()
            self.deliver(event)
            if event.sequence == number:
                self.peer.take_all()  # at the end of the client's stream the channel closes, and no ack leaves
                self.ack(event)
        self._heard = len(self.peer.wire)
        self.done += 1


class LogstashBefore513(Logstash):
    """The plugin before 5.1.3: acknowledges the event whose sequence is the size of the window, or none."""

    title = "Logstash before plugin 5.1.3"
    poison = frozenset({"broken"})
    merges_event = False

    def number_to_ack(self, batch: list[Event], size: int) -> int:
        return size

    def empty_window(self, version: int) -> None:
        """Say nothing."""


class GoLumber(Receiver):
    """go-lumber's server, also in Elastic's lumberjack input: counts, and wants the rest of a window in one frame.

    It reads one window ahead; if that is refused, the ack to the one before is lost.
    """

    title = "go-lumber"
    versions = b"2"  # of its v2 server alone
    keeps_alive = True
    largest_window = 10_000
    overload: ClassVar[type[ConnectionLost] | None] = Stalled

    _unanswered: Event | None = None

    def window(self, version: int, count: int, depth: int) -> None:
        if not count:
            return
        events: list[Event] = []
        self._fill(events, count, self.peer.read)
        if self._unanswered:
            self.ack(self._unanswered)
        for event in events:
            self.deliver(event)
        self.last_event_is_due()
        self._unanswered = Event(version, count, b"")
        self.done += 1

    def between_frames(self) -> None:
        if self._unanswered and not self.peer.has_more():
            self.ack(self._unanswered)
            self._unanswered = None

    def event(self, event: Event) -> None:
        raise Refused  # not within a window

    def compressed(self, stream: bytes, depth: int) -> None:
        raise Refused  # as above

    def overloaded(self) -> None:
        while True:
            self.work()

    def _fill(self, events: list[Event], count: int, read: Read, depth: int = 0) -> None:
        """Read up to that many events; what else stands in a compressed frame is dropped."""
        window = self.peer.windows[-1]
        while len(events) < count:
            version, kind = read(1), read(1)
            if version != b"2" or kind not in b"JC":
                raise Refused
            window.frames += "" if depth else kind.decode()
            if kind == b"C":
                stream = read(int.from_bytes(read(4)))
                self._fill(events, count, Inside(self.inflate(stream)), depth + 1)
                continue
            event = read_event(2, kind, read)
            json_value(event.payload)
            window.sequences.append(event.sequence)
            window.payloads.append(event.payload)
            events.append(event)


class Vector(Receiver):
    """Vector since mid-2026: acknowledges the sequence that completes a window, once its sinks have the events."""

    title = "Vector"
    nests = False
    largest_event = 100 * MIB
    largest_inflated = 100 * MIB

    _left = 0  # events of the open window

    def window(self, version: int, count: int, depth: int) -> None:
        if self._left:
            raise Refused
        self._left = count

    def event(self, event: Event) -> None:
        self._left = max(0, self._left - 1)  # one outside of a window is acknowledged alone
        if not self._left:
            self.last_event_is_due()
        self.deliver(event)
        if not self._left:
            self.complete(event)

    def complete(self, event: Event) -> None:
        self.ack(event)
        self.done += 1

    def deliver(self, event: Event) -> None:
        if not isinstance(json_value(event.payload), dict):
            raise Refused
        super().deliver(event)

    def retire(self) -> None:
        self.peer.end()


class VectorBefore2026(Vector):
    """Vector before: whatever it finds at once is one window to it, and the last sequence of that is acknowledged."""

    title = "Vector before mid-2026"
    one_at_a_time = True
    largest_event = largest_inflated = 1 << 32

    _last: Event | None = None

    def window(self, version: int, count: int, depth: int) -> None:
        self._left = count

    def event(self, event: Event) -> None:
        super().event(event)
        self._last = event

    def complete(self, event: Event) -> None:
        """Say nothing yet."""

    def between_frames(self) -> None:
        if self._last and not self.peer.has_more():
            self.ack(self._last)
            self._last = None
            self.done += 1


class Graylog(Receiver):
    """Graylog: acknowledges an event when it is read whose sequence is the size of the window; parses it later."""

    title = "Graylog"
    versions = b"2"
    largest_event = 16 * MIB
    largest_inflated = 64 * MIB
    poison = frozenset()
    overload: ClassVar[type[ConnectionLost] | None] = None

    _size = 0

    def window(self, version: int, count: int, depth: int) -> None:
        self._size = count

    def event(self, event: Event) -> None:
        if event.sequence == self._size:
            self.last_event_is_due()
            self.ack(event)
            self.done += 1
        try:
            if isinstance(json_value(event.payload), dict):
                self.deliver(event)
        except Refused:  # it writes a line to its log
            return

    def compressed(self, stream: bytes, depth: int) -> None:
        if len(stream) > self.largest_event:
            raise Refused
        super().compressed(stream, depth)

    def overloaded(self) -> None:
        """Acknowledge all the same: the journal is behind the decoder."""


class Fluentd(Receiver):
    """fluent-plugin-beats: acknowledges every fifth of a window, by sequence; cannot do without a timestamp."""

    title = "Fluentd"
    poison = frozenset({"broken", "without timestamp"})

    _size: int | None = None

    @staticmethod
    def acked_before_last(count: int) -> int:
        every = count // 5
        return (count - 1) // every * every if every else 0

    def window(self, version: int, count: int, depth: int) -> None:
        self._size = count

    def event(self, event: Event) -> None:
        last = event.sequence == self._size
        if last:
            self.last_event_is_due()
        self.deliver(event)
        if self._size is None:  # it asks nil whether to acknowledge
            raise Refused
        every = self._size // 5 if event.version == 2 else 0
        if last or (every and event.sequence % every == 0):
            self.ack(event)
        self.done += last

    def deliver(self, event: Event) -> None:
        found = json_value(event.payload)
        for fields in found if isinstance(found, list) else [found]:
            stamp = fields.get("@timestamp") if isinstance(fields, dict) else None
            if not isinstance(stamp, str) or not TIMESTAMP.fullmatch(stamp):
                raise Refused
            super().deliver(event)


class NiFi(Receiver):
    """NiFi's ListenBeats: queues a whole window, acknowledges the last event for which there was room."""

    title = "NiFi"
    versions = b"2"
    nests = False
    # It never says more of a window for which there was no room: the next number is the next window's.
    one_at_a_time = True
    poison = frozenset()
    overload: ClassVar[type[ConnectionLost] | None] = AckTimeout

    _size = 1
    _is_full = False

    @classmethod
    def acked_by_overload(cls, count: int) -> int:
        return count - 1

    def window(self, version: int, count: int, depth: int) -> None:
        if not count:
            raise Refused  # an ArrayBlockingQueue for nothing
        self.batch, self._size = [], count

    def event(self, event: Event) -> None:
        self.batch.append(event)
        if len(self.batch) < self._size:
            return
        queued = self.batch
        self._is_full = False
        self.last_event_is_due()
        if self._is_full:
            queued = queued[:-1]
        for each in queued:
            self.deliver(each)
        if queued:
            self.ack(queued[-1])
        self.batch, self._size = [], 1
        self.done += 1

    def overloaded(self) -> None:
        self._is_full = True


class Camel(Receiver):
    """camel-lumberjack: decodes a whole window, acknowledges an event whose sequence is the size of the window."""

    title = "Camel"

    _open: Window | None = None

    def window(self, version: int, count: int, depth: int) -> None:
        if self._open:
            self._hand_on(self._open)
        self._open = Window(count)

    def event(self, event: Event) -> None:
        if self._open is None or (self.batch and event.version != self.batch[0].version):
            raise Refused
        json_value(event.payload)
        self.batch.append(event)
        if len(self.batch) == self._open.count:
            self._hand_on(self._open)
            self._open = None

    def _hand_on(self, window: Window) -> None:
        batch, self.batch = self.batch, []
        for event in batch:
            if event.sequence == window.count:
                self.last_event_is_due()
            self.deliver(event)
            if event.sequence == window.count:
                self.ack(event)
                self.done += 1


Column = type[Receiver]
COLUMNS: tuple[Column, ...] = (
    Logstash,
    LogstashBefore513,
    GoLumber,
    Vector,
    VectorBefore2026,
    Graylog,
    Fluentd,
    NiFi,
    Camel,
)
