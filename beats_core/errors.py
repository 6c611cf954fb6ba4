"""Every error this package raises, on one screen.

    BeatsError
    ├── ProtocolError          the peer broke Lumberjack v2
    ├── ConnectionLost         the line is gone; `unacked` is what to send again
    │   ├── AckTimeout         the peer was silent for too long
    │   └── Stalled            the peer sent keep-alives, but acknowledged nothing for too long
    ├── EventTooLarge          one event is larger than the limit
    ├── SpoolError             the spool's disk failed
    │   └── SpoolFull          there is no room for more: the quota, the disk, or a limit of the system
    └── OptionError            an option has a value it cannot have; also a ValueError

A caller's mistake other than an option (an event that is no mapping, a closed client) is a plain
ValueError or RuntimeError at the call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from beats_core.redaction import redacted

if TYPE_CHECKING:
    from beats_core.frames import Batch


_MOST_SHOWN = 500  # letters of a value in an error
HEAD_BYTES = 64 << 10  # kept of an event that is too large: enough to see which it is


class BeatsError(Exception):
    """The root of the tree."""


class ProtocolError(BeatsError):
    """The peer sent what Lumberjack does not allow. As a rule the `__cause__` of a ConnectionLost."""


class ConnectionLost(BeatsError):
    """The connection ended, for whatever reason, before everything was acknowledged.

    Attributes:
        reason: What happened, as a clause that fits behind a colon.
        unacked: The events to send again, oldest first; `len()` says how many, and it may be empty.
            `client.send(error.unacked)` sends them on a new connection.
    """

    def __init__(self, reason: str, unacked: Batch) -> None:
        super().__init__(reason, unacked)
        self.reason = reason
        self.unacked = unacked

    def __str__(self) -> str:
        """Name the reason and how much is left to send again."""
        count = len(self.unacked)
        return f"{self.reason} ({count} event{'s' if count > 1 else ''} to send again)" if count else self.reason


class AckTimeout(ConnectionLost):
    """The peer sent nothing at all, not even a keep-alive, for `timeout` seconds."""


class Stalled(ConnectionLost):
    """The peer kept the connection alive but acknowledged nothing for `stall_timeout` seconds."""


class EventTooLarge(BeatsError):
    """One event, encoded, is larger than `max_event_bytes`. Nothing of it was sent.

    Attributes:
        size: Its bytes.
        limit: What was allowed.
        head: How it begins, up to 64 KiB of it.
    """

    def __init__(self, size: int, limit: int, payload: bytes = b"") -> None:
        super().__init__(size, limit)
        self.size = size
        self.limit = limit
        self.head = payload[:HEAD_BYTES]

    def __str__(self) -> str:
        """Name both numbers."""
        return f"event is {self.size} bytes, limit is {self.limit} (max_event_bytes)"


class SpoolError(BeatsError):
    """The spool could not be read or written."""


class SpoolFull(SpoolError):
    """The spool has no room for what was to be kept: its quota, the disk, or a limit of the system. Nothing was."""


class OptionError(BeatsError, ValueError):
    """An option has a value it cannot have, or there is no such option.

    Attributes:
        option: The name, as it was given.
        value: The value, as it was given, but for the secrets in it.
        allowed: What would have been right, in words.
    """

    def __init__(self, option: str, value: object, allowed: str) -> None:
        value = redacted(option, value)
        super().__init__(option, value, allowed)
        self.option = option
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        """Name the option, what it was set to and what it takes."""
        shown = repr(self.value)
        if len(shown) > _MOST_SHOWN:
            shown = f"{shown[:_MOST_SHOWN]}…"
        return f"{self.option}={shown}: {self.allowed}"
