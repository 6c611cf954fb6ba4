"""What the receivers of the field have in common, on one connection; `columns` has each of them.

They read the wire with code of their own and keep to what their originals do: which number is acknowledged and when,
what is refused, how a connection ends. Only their pace is another: `INTERVAL`.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from beats_core import ConnectionLost
from support.scripted import Gone, Peer, Script, Window, ack

INTERVAL = 0.03  # seconds between two keep-alives, instead of 5 (Logstash) or 3 (go-lumber)
PATIENCE = 0.4  # a time-out for clients that is kept by keep-alives, and too short for `slow` work without
UNBOUNDED = 1 << 32

Read = Callable[[int], bytes]


class Refused(Exception):
    """This receiver does not take what came, or cannot: it ends the connection."""


class Event(NamedTuple):
    """One data frame."""

    version: int
    sequence: int
    payload: bytes


class Receiver:
    """One connection to a receiver.

    Attributes:
        title: Its name, and its version where that matters.
        versions: Of the protocol, as they stand in a frame.
        nests: It takes a compressed frame inside another.
        keeps_alive: It sends keep-alives while it works.
        one_at_a_time: With several windows in flight its acks do not tell which of them they mean.
        largest_window: Most events of a window.
        largest_event: Most bytes of an event.
        largest_inflated: Most bytes of what is in one compressed frame.
        poison: What it refuses of events that a client may send as ready JSON.
        overload: What a client meets when that which is behind the receiver takes no more; None: nothing.
        peer: The connection.
        batch: Events that are not handled yet.
        done: How many windows were handled whole.

    Args:
        incidents: What happens before the last event of the first window is handled, of the second, and so on.
    """

    title: ClassVar[str]
    versions: ClassVar[bytes] = b"12"
    nests: ClassVar[bool] = True
    keeps_alive: ClassVar[bool] = False
    one_at_a_time: ClassVar[bool] = False
    largest_window: ClassVar[int] = UNBOUNDED
    largest_event: ClassVar[int] = UNBOUNDED
    largest_inflated: ClassVar[int] = UNBOUNDED
    poison: ClassVar[frozenset[str]] = frozenset({"broken"})
    overload: ClassVar[type[ConnectionLost] | None] = ConnectionLost

    def __init__(self, peer: Peer, *incidents: Incident) -> None:
        self.peer = peer
        self.batch: list[Event] = []
        self.done = 0
        self._incidents = list(incidents)

    @classmethod
    def script(cls, *incidents: Incident) -> Script:
        """Serve each connection as this receiver does."""
        return lambda peer: cls(peer, *incidents).serve()

    @staticmethod
    def acked_before_last(count: int) -> int:
        """How many events of a window are acknowledged before its last one is handled."""
        return 0

    @classmethod
    def acked_by_overload(cls, count: int) -> int:
        """How many events of a window are acknowledged though what is behind takes no more when the last one comes."""
        return cls.acked_before_last(count)

    def serve(self, windows: int | None = None) -> None:
        """Read and answer that many windows, or until either side ends the connection."""
        try:
            while windows is None or self.done < windows:
                self.frame(self.peer.read)
                self.between_frames()
        except Refused:
            self.close()
            raise Gone from None

    def frame(self, read: Read, depth: int = 0) -> None:
        """Read one frame."""
        version, kind = struct.unpack(">cc", read(2))
        if version not in self.versions:
            raise Refused
        if kind == b"W":
            (count,) = struct.unpack(">I", read(4))
            if count > self.largest_window:
                raise Refused
            self.peer.windows.append(Window(count))
            self.window(int(version), count, depth)
            return
        if depth == 0 and self.peer.windows:
            self.peer.windows[-1].frames += kind.decode()
        if kind == b"C":
            (length,) = struct.unpack(">I", read(4))
            self.compressed(read(length), depth + 1)
        elif kind in b"JD":
            event = read_event(int(version), kind, read, self.largest_event)
            if self.peer.windows:
                self.peer.windows[-1].sequences.append(event.sequence)
                self.peer.windows[-1].payloads.append(event.payload)
            self.event(event)
        else:
            raise Refused

    def compressed(self, stream: bytes, depth: int) -> None:
        """Read the frames of a compressed one, none of which may reach beyond its end."""
        if depth > 1 and not self.nests:
            raise Refused
        frames = self.inflate(stream)
        inside = Inside(frames)
        while inside.left:
            self.frame(inside, depth)

    def inflate(self, stream: bytes) -> bytes:
        """Unpack a finished zlib stream behind which nothing stands. Some take less than that."""
        try:
            decompress = zlib.decompressobj()
            frames = decompress.decompress(stream, self.largest_inflated + 1)
        except zlib.error:
            raise Refused from None
        if len(frames) > self.largest_inflated or not decompress.eof or decompress.unused_data:
            raise Refused
        return frames

    def window(self, version: int, count: int, depth: int) -> None:
        """Take a window frame, inside a compressed one if `depth` is not 0."""
        raise NotImplementedError

    def event(self, event: Event) -> None:
        """Take a data frame."""
        raise NotImplementedError

    def between_frames(self) -> None:
        """Do what is due when a frame is read, with all that is in it."""

    def last_event_is_due(self) -> None:
        """Let happen what is to happen with this window."""
        if self._incidents:
            self._incidents.pop(0)(self)

    def deliver(self, event: Event) -> None:
        self.peer.delivered.append(event.payload)

    def ack(self, event: Event, number: int | None = None) -> None:
        """Acknowledge the event, or that number, in the version in which it came."""
        self.peer.send(ack(event.sequence if number is None else number, event.version))

    def work(self, intervals: int = 1) -> None:
        """Be busy for that long."""
        for _ in range(intervals):
            self.peer.closed.wait(INTERVAL)
            if self.keeps_alive_now():
                self.peer.keep_alive()

    def keeps_alive_now(self) -> bool:
        return self.keeps_alive

    def overloaded(self) -> None:
        """Do what it does when that which is behind takes no more."""
        raise Refused

    def close(self) -> None:
        """End a connection on which something is wrong."""
        self.peer.leave()

    def retire(self) -> None:
        """End a connection on which nothing is in work."""
        self.close()


Incident = Callable[[Receiver], object]


class Inside:
    """The frames of a compressed frame, to be read one after the other."""

    def __init__(self, frames: bytes) -> None:
        self._frames = io.BytesIO(frames)
        self.left = len(frames)

    def __call__(self, size: int) -> bytes:
        if size > self.left:
            raise Refused
        self.left -= size
        return self._frames.read(size)


def read_event(version: int, kind: bytes, read: Read, largest: int = UNBOUNDED) -> Event:
    """Read the rest of a data frame; a key/value frame becomes a JSON object."""
    sequence, length = struct.unpack(">II", read(8))
    if kind == b"J":
        if length > largest:
            raise Refused
        return Event(version, sequence, read(length))
    texts = [read(*struct.unpack(">I", read(4))).decode() for _ in range(2 * length)]
    return Event(version, sequence, json.dumps(dict(zip(texts[::2], texts[1::2], strict=True))).encode())


def json_value(payload: bytes) -> Any:
    """Return the value that the bytes are in JSON, strictly.

    Raises:
        Refused: They are not JSON.
    """
    try:
        return json.loads(payload, parse_constant=_constant)
    except ValueError:
        raise Refused from None


def _constant(text: str) -> object:
    raise ValueError(text)


def undisturbed(receiver: Receiver) -> None:
    """Nothing happens."""


def busy(receiver: Receiver) -> None:
    """Work for so long that keep-alives are due."""
    receiver.work(2)


def slow(receiver: Receiver) -> None:
    """Work for longer than `PATIENCE`."""
    receiver.work(20)


def overloaded(receiver: Receiver) -> None:
    """Have nowhere to put the event."""
    receiver.overloaded()


def refusing(receiver: Receiver) -> None:
    """End the connection instead of handling the event."""
    raise Refused


def dying(receiver: Receiver) -> None:
    """End as a killed process does."""
    receiver.peer.close()
    raise Gone
