"""What may leave the process: bounded, readable by every receiver, and without the usual secrets.

`Safety` takes a `LogEvent` and returns one whose fields are plain values: the same one when there was nothing
to do, which costs one look at each value. It never changes what it was given and never raises, whatever an object does.

- A key that names a secret loses its value, at any depth. Keys are judged; values are not read.
- Keys become names that Logstash can address and Elasticsearch can map. Where two become one, the later has a number.
- Everything is capped. Where something was cut the text says so, and `_truncated` counts what is missing.
- Bytes become text, integers beyond 64 bits too, an unknown object its repr, a cycle or too great a depth a note.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextlib import suppress
from datetime import date, datetime, time
from itertools import islice
from typing import Any

import msgspec

from beats_integrations.log_event import ErrorInfo, LogEvent
from beats_integrations.plain import attributes, readable, simpler, type_name

REDACTED = "[REDACTED]"
TRUNCATED = "_truncated"

MAX_KEYS = 256  # of one mapping; Elasticsearch's default limit is 1,000 fields for a whole index
MAX_DEPTH = 8  # Elasticsearch's default limit is 20
MAX_ITEMS = 256
MAX_STRING_BYTES = 32_766  # Lucene's largest term: a longer keyword makes Elasticsearch refuse the whole event
MAX_TEXT_BYTES = 256 << 10  # message and stack traces are analysed text, not keywords
MAX_TOTAL_BYTES = 1 << 20  # leaves JSON's escapes room below the core's max_event_bytes
MAX_KEY = 256  # characters

# Compared with a key in lower case and "-" as "_": the whole of it, or its end (`db_password`, `accessToken`).
SECRETS = frozenset({"auth", "cookies", "csrf", "cvv", "pwd", "sessionid", "x_auth"})
SECRET_ENDINGS = (
    *("password", "passwd", "passphrase", "secret", "token", "authorization", "cookie", "credentials"),
    *("api_key", "apikey", "access_key", "accesskey", "private_key", "privatekey", "secret_key", "secretkey"),
)

_SHORT = 1_024  # bytes; MAX_KEYS strings like that need no counting to stay below MAX_TOTAL_BYTES
_FEW = 8  # small containers of so many small values are still little
_KNOWN_KEYS = 4_096  # the keys of log calls are few; a program that makes them up must not fill memory
_MARKER_BYTES = 40
_INT_MIN, _INT_MAX = -(1 << 63), (1 << 63) - 1  # Elasticsearch refuses an event with a number beyond
_UNADDRESSABLE = re.compile(r"[\[\]\x00-\x1f\x7f-\x9f]")  # Logstash's field references are written [a][b]
_SCALARS = frozenset({bool, float, type(None), datetime, date, time})


class Safety:
    """Makes a `LogEvent` fit to leave the process. Any thread.

    Args:
        max_keys: Most keys of one mapping.
        max_depth: Most mappings and lists inside one another.
        max_items: Most items of one list.
        max_string_bytes: Longest value.
        max_text_bytes: Longest message, error message and stack trace; of a stack trace the middle is cut.
        max_total_bytes: Roughly what all fields may hold together.
        redact: More names of secrets, or one.
    """

    def __init__(
        self,
        *,
        max_keys: int = MAX_KEYS,
        max_depth: int = MAX_DEPTH,
        max_items: int = MAX_ITEMS,
        max_string_bytes: int = MAX_STRING_BYTES,
        max_text_bytes: int = MAX_TEXT_BYTES,
        max_total_bytes: int = MAX_TOTAL_BYTES,
        redact: Iterable[str] | str = (),
    ) -> None:
        self.max_keys = max_keys
        self.max_depth = max_depth
        self.max_items = max_items
        self.max_string_bytes = max_string_bytes
        self.max_text_bytes = max_text_bytes
        self.max_total_bytes = max_total_bytes
        names = [redact] if isinstance(redact, str) else redact
        self.secrets = SECRETS.union(_folded(_name_of(name)) for name in names)
        # A character has up to 4 bytes: what is not longer than this many characters needs no measuring.
        self.short = min(_SHORT, max_string_bytes, max_total_bytes // max(1, max_keys)) // 4
        self._short_text = max_text_bytes // 4
        self._few = _FEW if max_depth > 1 and min(max_keys, max_items) >= _FEW else 0
        # Keys that were found to need nothing. Adding to a set and looking into it are atomic.
        self.plain_keys: set[str] = set()

    def __call__(self, log_event: LogEvent) -> LogEvent:
        """Return the event as it may leave the process: itself, when nothing has to change."""
        message = log_event.message
        plain = self.are_plain(log_event.fields)
        if (
            plain
            and log_event.error is None
            and log_event.stack_info is None
            and type(message) is str
            and len(message) <= self._short_text
            and (message.isascii() or _encodable(message))
        ):
            return log_event
        return _Walk(self).event(log_event, plain=plain)

    def is_secret(self, name: str) -> bool:
        """Tell whether the value under a key of this name must not leave the process."""
        folded = _folded(name)
        return folded in self.secrets or folded.endswith(SECRET_ENDINGS)

    def is_plain_key(self, key: object) -> bool:
        """Tell whether a key can stay as it is and its value may be shown; remember it in `plain_keys` if so."""
        if type(key) is not str or _name_of(key) != key or self.is_secret(key):
            return False
        if len(self.plain_keys) < _KNOWN_KEYS:
            self.plain_keys.add(key)
        return True

    def are_plain(self, fields: Mapping[str, object]) -> bool:
        """Tell whether all keys are plain, and all values short scalars or small containers of such."""
        if not fields:
            return True
        if type(fields) is not dict or len(fields) > self.max_keys:
            return False
        try:
            return self._are_plain_keys(fields) and self._are_short(fields.values(), self._few)
        except Exception:  # noqa: BLE001 - a hostile key, or another thread changes the dict: the walk copies it
            return False

    def _are_plain_keys(self, keys: Collection[object]) -> bool:
        return self.plain_keys.issuperset(keys) or all(map(self.is_plain_key, keys))

    def _are_short(self, values: Collection[Any], containers: int) -> bool:
        """Tell whether the values are short scalars, or up to `containers` dicts and lists of a few short scalars."""
        short = self.short
        for value in values:
            kind = type(value)
            if kind is str:
                if len(value) > short or not (value.isascii() or _encodable(value)):
                    return False
            elif kind is int:
                if not _INT_MIN <= value <= _INT_MAX:
                    return False
            elif kind is dict or kind is list:
                containers -= 1
                if containers < 0 or len(value) > self._few:
                    return False
                if kind is dict:
                    if not (self._are_plain_keys(value) and self._are_short(value.values(), 0)):
                        return False
                elif (len(value) == 2 and type(value[0]) is str) or not self._are_short(value, 0):
                    return False  # a list of two may be a header
            elif kind not in _SCALARS:
                return False
        return True


class _Walk:
    """One pass over an event that needs more than a look."""

    def __init__(self, safety: Safety) -> None:
        self.safety = safety
        self.room = safety.max_total_bytes
        self.cut: dict[str, int] = {}
        self.above: set[int] = set()

    def event(self, log_event: LogEvent, *, plain: bool) -> LogEvent:
        error, stack_info, fields = log_event.error, log_event.stack_info, log_event.fields
        if error is not None:
            error = ErrorInfo(self.text(error.type), self.text(error.message), self.stack_trace(error.stack_trace))
        if stack_info is not None:
            stack_info = self.stack_trace(stack_info)
        message = self.text(log_event.message)
        if not plain:
            fields = self.fields(fields)
        if self.cut:
            fields = {**fields, free_name(TRUNCATED, fields): self.cut}
        return msgspec.structs.replace(log_event, message=message, error=error, stack_info=stack_info, fields=fields)

    def text(self, text: str) -> str:
        return self.shortened(readable(text), self.safety.max_text_bytes)

    def stack_trace(self, text: str) -> str:
        """Cut the middle: where it began and what was raised stand at the ends."""
        plain, limit = readable(text), self.safety.max_text_bytes
        if _fits(plain, limit):
            return plain
        head, tail = _head(plain, limit // 3), _head(plain[: -limit - 1 : -1], limit // 2)[::-1]
        missing = self.count("characters", len(plain) - len(head) - len(tail))
        return f"{head}\n…[{missing} characters cut]…\n{tail}"

    def fields(self, fields: Mapping[str, object]) -> dict[str, object]:
        try:
            return self.mapping(fields, self.safety.max_depth)
        except Exception as error:  # noqa: BLE001 - a mapping whose own methods raise
            return {"_unreadable": _that_raised(fields, error)}

    def mapping(self, mapping: Mapping[Any, Any], depth: int) -> dict[str, object]:
        safety = self.safety
        plain_keys = safety.plain_keys
        clean: dict[str, object] = {}
        for key, value in _first_items(mapping, safety.max_keys):
            if self.room <= 0:
                break
            if type(key) is str and (key in plain_keys or safety.is_plain_key(key)):
                name, secret = key, False
            else:
                name = _name_of(self.key_text(key))
                secret = safety.is_secret(name)
            if name in clean:
                name = free_name(name, clean)
            self.room -= len(name) + 4
            clean[name] = REDACTED if secret else self.value(value, depth - 1)
        if len(mapping) > len(clean):
            self.count("keys", len(mapping) - len(clean))
        return clean

    def sequence(self, items: Collection[Any], depth: int) -> list[object]:
        kept = list(islice(items, self.safety.max_items))
        if len(kept) == 2 and isinstance(kept[0], str | bytes) and self.safety.is_secret(self.key_text(kept[0])):
            kept[1] = REDACTED  # headers come as pairs in ASGI, urllib3 and http.client
        clean: list[object] = []
        for item in kept:
            if self.room <= 0:
                break
            clean.append(self.value(item, depth - 1))
        if len(items) > len(clean):
            self.count("items", len(items) - len(clean))
        if isinstance(items, AbstractSet):
            clean.sort(key=repr)  # or each process would have its own order
        return clean

    def value(self, value: Any, depth: int) -> object:
        kind = type(value)
        if kind is str:
            if len(value) <= self.safety.short and value.isascii():
                self.room -= len(value)
                return value
            return self.string(value)
        self.room -= 8
        if kind in _SCALARS or (kind is int and _INT_MIN <= value <= _INT_MAX):
            return value
        try:
            if kind is dict:
                return self.inside(value, depth, self.mapping)
            if kind is list:
                return self.inside(value, depth, self.sequence)
            return self.rare(value, depth)
        except Exception as error:  # noqa: BLE001 - anything may come out of an object's own methods
            return _that_raised(value, error)

    def rare(self, value: Any, depth: int) -> object:
        if isinstance(value, Mapping):
            return self.inside(value, depth, self.mapping)
        if isinstance(value, tuple) and hasattr(value, "_fields"):
            return self.inside(value, depth, lambda value, depth: self.mapping(value._asdict(), depth))
        if isinstance(value, list | tuple | AbstractSet | deque):
            return self.inside(value, depth, self.sequence)
        simple = simpler(value)
        if simple is not value:
            return self.value(simple, depth)
        named = attributes(value)
        if named is not None:
            return self.inside(value, depth, lambda _, depth: self.mapping(named, depth))
        return self.string(repr(value))

    def inside(self, value: Any, depth: int, step: Callable[[Any, int], object]) -> object:
        if id(value) in self.above:
            return "<cycle>"
        if depth <= 0:
            self.count("levels", 1)
            return "<too deep>"
        self.above.add(id(value))
        try:
            return step(value, depth)
        finally:
            self.above.discard(id(value))

    def string(self, text: str) -> str:
        short = self.shortened(readable(text), min(self.safety.max_string_bytes, max(self.room, _MARKER_BYTES)))
        self.room -= len(short)
        return short

    def shortened(self, text: str, limit: int) -> str:
        if _fits(text, limit):
            return text
        head = _head(text, limit - _MARKER_BYTES)
        return f"{head}…[{self.count('characters', len(text) - len(head))} characters cut]"

    def key_text(self, key: object) -> str:
        try:
            simple = simpler(key)
            return simple if isinstance(simple, str) else str(simple)
        except Exception as error:  # noqa: BLE001 - a hostile __str__
            return _that_raised(key, error)

    def count(self, what: str, number: int) -> int:
        self.cut[what] = self.cut.get(what, 0) + number
        return number


def text_of(value: object) -> str:
    """Return `str(value)`, of mappings and lists without their secrets. Never raises."""
    with suppress(Exception):  # a proxy without an object does not even tell its class
        if isinstance(value, str):
            return value
        if isinstance(value, Mapping | list | tuple | AbstractSet | deque):
            return str(_Walk(_DEFAULT).value(value, MAX_DEPTH))
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - anything may come out of an object's own methods
        return _that_raised(value, error)


def free_name(name: str, taken: Collection[str]) -> str:
    """Return the name, or where it is taken the name with the first free number: `path_2`."""
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name}_{number}"
    return free


def _folded(name: str) -> str:
    """Return the name without what is put around it: `user[password]` ends in a bracket, `Password: ` in a blank."""
    return name.lower().replace("-", "_").strip("_ :.=\"'")


def _name_of(key: str) -> str:
    """Return the key as a name that Logstash can address and Elasticsearch can map."""
    name = _UNADDRESSABLE.sub("_", readable(key[: MAX_KEY + 1]))
    if len(name) > MAX_KEY:
        name = f"{name[: MAX_KEY - 1]}…"
    # Elasticsearch reads dots as levels, and refuses an event in which a level has no name.
    return ".".join(level if level.strip() else "_" for level in name.split("."))


def _first_items(mapping: Mapping[Any, Any], limit: int) -> list[tuple[Any, Any]]:
    for _ in range(10):
        try:
            return list(mapping.items() if len(mapping) <= limit else islice(mapping.items(), limit))
        except RuntimeError:  # another thread changed its size meanwhile
            continue
    return []


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fits(text: str, limit: int) -> bool:
    return len(text) <= limit and (4 * len(text) <= limit or text.isascii() or len(text.encode()) <= limit)


def _head(text: str, limit: int) -> str:
    """Return as much of the beginning as fits into `limit` bytes."""
    limit = max(0, limit)
    return text[:limit].encode()[:limit].decode(errors="ignore")


def _that_raised(value: object, error: Exception) -> str:
    return f"<{type_name(value)} that raised {type_name(error)}>"


_DEFAULT = Safety()
