"""What Logstash expects around an event, put there when the event is accepted and never again.

    {"@timestamp":"2026-01-17T08:00:00.123Z","@metadata":{"beat":"python","type":"_doc","version":"0.1.0","_id":"..."},...}

An `_id` is made of 13 digits, the milliseconds of the time; 12 characters of chance, drawn once per process; and 12
digits that count. As text, ids sort by the time at which their events were accepted: to the event within
a process, also when the clock is set back, and to the millisecond across processes.

On the application's path. The envelope is made once per millisecond, as bytes, and put behind the opening brace of
the encoded event. No lock: what threads share is replaced whole, or counts in one step.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import count
from time import gmtime, strftime, time_ns
from typing import Any

import msgspec

from beats_core.encoding import as_dict, by_name, encode_dict, encode_ordinary, ready_json
from beats_core.errors import EventTooLarge
from beats_core.forks import after_fork
from beats_core.options import Options
from beats_core.truncation import truncate
from beats_core.version import VERSION

Event = Mapping[str, object] | str | bytes

_BULK = 1024  # events that are encoded in one go: what is copied is still in the processor's cache
_ID_END = 12 + len('"},')  # behind the chance: the count, and what closes `@metadata`

_chance = b""
_numbers = count(10**11)  # of one width; one for the process, whose ids stay in order whichever envelope made them
_latest = 0  # the time of the newest ids, in milliseconds


def _draw() -> None:
    """Draw what tells this process from all others, also from its parent."""
    global _chance  # noqa: PLW0603 - of the process
    _chance = urlsafe_b64encode(os.urandom(9))


_draw()
after_fork(_draw)


class Envelope:
    """Turns events into payloads that Logstash knows what to do with. Any thread.

    Args:
        options: `index` is `@metadata.beat`; `add_id`, `max_event_bytes` and `on_too_large` are obeyed.
    """

    def __init__(self, options: Options) -> None:
        self._add_id = options.add_id
        self._limit = options.max_event_bytes
        self._truncates = options.on_too_large == "truncate"
        metadata = msgspec.json.encode({"beat": options.index, "type": "_doc", "version": VERSION})
        self._metadata = b'"@metadata":' + (metadata[:-1] + b',"_id":"' if self._add_id else metadata + b",")
        self._heads = self._make_heads(0)
        # What is no larger fits, whichever head it gets.
        self._roomy = self._limit - len(self._heads[2]) - _ID_END

    def seal(self, event: Event) -> bytes:
        """Return the event as a payload: encoded now, with `@metadata`, and with `@timestamp` if it has none.

        Its own `@metadata` wins, key by key; one that is no mapping, which stops Logstash, gives way. Ready JSON
        stays as it is.

        Raises:
            EventTooLarge: It is, and is not to be truncated, or cannot be.
            TypeError: It is neither a mapping nor text nor bytes.
            ValueError: Ready JSON that is no object.
        """
        if type(event) is not dict:
            if isinstance(event, str | bytes) or not isinstance(event, Mapping):
                return self._fitting(ready_json(event))
            event = as_dict(event)
        try:
            "".join(event)  # raises if a name is no text, and so may be one of ours in disguise
        except TypeError:
            return self._seal_with_care(event)
        if "@metadata" in event or not event:
            return self._seal_with_care(event)
        payload = encode_dict(event)
        now = time_ns() // 1_000_000
        made_at, chance, timed, untimed = self._heads
        if made_at != now or chance is not _chance:
            self._heads = made_at, chance, timed, untimed = self._make_heads(now)
        head = untimed if "@timestamp" in event else timed
        if len(payload) > self._roomy:
            payload = self._fitting(payload, len(head) + (_ID_END if self._add_id else 0) - 1)
        # Also a copy of exactly the bytes it needs; the encoder's own result keeps a third more.
        return b'%b%d"},%b' % (head, next(_numbers), payload[1:]) if self._add_id else head + payload[1:]

    def seal_all(self, events: Iterable[Event]) -> list[bytes]:
        """Return the payloads of all events, in order, as `seal` makes them; raises before any is used."""
        events = events if isinstance(events, list) else list(events)
        payloads: list[bytes] = []
        for first in range(0, len(events), _BULK):
            some = events[first : first + _BULK]
            payloads += self._seal_ordinary(some) or [self.seal(event) for event in some]
        return payloads

    def _seal_ordinary(self, events: list[Any]) -> list[bytes] | None:
        """Return the payloads if all events are dicts that need no second look: what is checked is checked in bulk."""
        if set(map(type, events)) != {dict} or not all(events):
            return None
        names = set().union(*events)
        if "@metadata" in names or set(map(type, names)) != {str}:
            return None
        payloads = encode_ordinary(events, self._roomy)
        if payloads is None:
            return None
        timed, untimed = self._heads_now()
        heads = [untimed if "@timestamp" in event else timed for event in events]
        if self._add_id:
            parts = zip(heads, payloads, _numbers, strict=False)  # there is always another number
            return [b'%b%d"},%b' % (head, number, payload[1:]) for head, payload, number in parts]
        return [head + payload[1:] for head, payload in zip(heads, payloads, strict=True)]

    def _seal_with_care(self, event: dict[Any, Any]) -> bytes:
        """Seal an event with an `@metadata` of its own, with names that are no text, or without any."""
        event = by_name(event)
        own = event.pop("@metadata", None)
        timed, untimed = self._heads_now()
        head = untimed if "@timestamp" in event else timed
        if self._add_id:
            head = b'%b%d"},' % (head, next(_numbers))
        if isinstance(own, Mapping):
            envelope = msgspec.json.decode(head[:-1] + b"}")
            envelope["@metadata"] |= by_name(own)
            head = encode_dict(envelope)[:-1] + b","
        if not event:
            return self._fitting(head[:-1] + b"}")
        return head + self._fitting(encode_dict(event), len(head) - 1)[1:]

    def _fitting(self, payload: bytes, more: int = 0) -> bytes:
        """Return the payload, shortened if that is needed and wanted, so that `more` bytes may be added."""
        if len(payload) + more <= self._limit:
            return payload
        shortened = truncate(payload, self._limit - more) if self._truncates else None
        if shortened is None:
            raise EventTooLarge(len(payload) + more, self._limit, payload)
        return shortened

    def _heads_now(self) -> tuple[bytes, bytes]:
        """Return what goes before an event accepted now, up to the count in its id: with `@timestamp`, and without."""
        now = time_ns() // 1_000_000
        made_at, chance, timed, untimed = self._heads
        if made_at != now or chance is not _chance:
            self._heads = _, _, timed, untimed = self._make_heads(now)
        return timed, untimed

    def _make_heads(self, now: int) -> tuple[int, bytes, bytes, bytes]:
        global _latest  # noqa: PLW0603 - of the process
        chance = _chance
        _latest = latest = max(_latest, now)  # the clock may be set back
        second, millisecond = divmod(now, 1000)
        metadata = b"%b%013d%b" % (self._metadata, latest, chance) if self._add_id else self._metadata
        return now, chance, b'{"@timestamp":"%b.%03dZ",%b' % (_second(second), millisecond, metadata), b"{" + metadata


@lru_cache(maxsize=2)
def _second(seconds: int) -> bytes:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds)).encode()
