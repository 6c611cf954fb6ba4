"""Any mapping to one strict JSON object in bytes.

Total: whatever an event holds, the result is JSON that Logstash and go-lumber parse. The common event
costs one call of the encoder and no walk. What the encoder refuses, or what its output may carry
beyond a parser's limits, goes through `_plain`, which rewrites the event as plain JSON values and says
in the text what it could not keep.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import msgspec

from beats_core.errors import EventTooLarge

MAX_EVENT_BYTES = 10 << 20  # Filebeat's max_bytes of a message
MAX_DEPTH = 500  # Logstash's parser (Jackson) refuses a depth above 1,000
PLAIN_DEPTH = 100  # what is deeper than MAX_DEPTH is cut to this, in a walk that needs stack itself
MAX_DIGITS = 300  # go's float64 ends at 309 digits, Jackson refuses numbers above 1,000
MAX_KEY = 40_000  # bytes; Jackson refuses names above 50,000
MAX_TEXT = 1_000  # characters kept of what is only known by its repr

# A number of more digits than MAX_DIGITS covers six bytes in a row of every fiftieth byte.
_SAMPLE = 50
_SIX_DIGITS = b"000000"
_DIGITS_AS_0 = bytes.maketrans(b"123456789", b"000000000")  # and then to find a text: half the time of an expression
_SHALLOW = 2 * MAX_DEPTH  # bytes; the brackets alone of a depth beyond MAX_DEPTH are more
_UNENCODABLE = b'{"message":"event could not be encoded","tags":["_beats_unencodable"]}'


def encode_event(event: Mapping[str, object] | str | bytes, limit: int = MAX_EVENT_BYTES) -> bytes:
    """Return the event as the UTF-8 bytes of one JSON object, with nothing added. Any thread.

    NaN and infinities become null, bytes base64, sets lists, dates RFC 3339, dataclasses objects, enums their
    values, lone surrogates U+FFFD; an unknown object becomes its repr, a cycle or too great a depth a short text.
    Of keys that are equal as text the last one wins.

    Args:
        event: A mapping; or a JSON object that is ready, as text or bytes, which is returned as it is.
        limit: Most bytes the result may have.

    Raises:
        EventTooLarge: The result is larger than `limit`.
        TypeError: The event is neither a mapping nor text nor bytes.
        ValueError: Ready JSON that is no object: it does not start with `{` and end with `}`.
    """
    if type(event) is dict:
        payload = encode_dict(event)
    elif isinstance(event, Mapping):
        payload = encode_dict(as_dict(event))
    else:
        payload = ready_json(event)
    if len(payload) > limit:
        raise EventTooLarge(len(payload), limit, payload)
    return payload


def encode_dict(event: dict[Any, Any]) -> bytes:
    """Return a dict as `encode_event` does, however large. Never raises."""
    try:
        payload = _encode(event)
    except Exception:  # noqa: BLE001 - anything may come out of an object's own methods
        return _encode_plainly(event)
    size = len(payload)
    if size > MAX_DIGITS and (_has_long_number(payload) or (size > _SHALLOW and _is_beyond_parsers(payload))):
        return _encode_plainly(event)
    return payload


def encode_ordinary(events: list[dict[Any, Any]], limit: int) -> list[bytes] | None:
    """Return the payloads of dicts if none needs a second look, else None: what is checked is checked in bulk.

    Args:
        events: At least one.
        limit: Most bytes of each.
    """
    try:
        lines = _encode_lines(events)
    except Exception:  # noqa: BLE001 - anything may come out of an object's own methods
        return None
    *payloads, _ = lines.split(b"\n")
    if len(payloads) != len(events) or max(map(len, payloads)) > min(limit, MAX_KEY) or _has_long_number(lines):
        return None  # of another number if an event holds ready JSON of several lines (msgspec.Raw)
    suspicious = [payload for payload in payloads if len(payload) > _SHALLOW and _is_beyond_parsers(payload)]
    return None if suspicious else payloads


def ready_json(event: object) -> bytes:
    """Return ready JSON as bytes, as it is but for white space around it.

    Raises:
        TypeError: It is neither text nor bytes.
        ValueError: It is no object.
    """
    if isinstance(event, str):
        payload = event.encode("utf-8", "replace").strip()
    elif isinstance(event, bytes):
        payload = event.strip()
    else:
        raise TypeError(f"an event is a mapping, or a JSON object as str or bytes, not {type(event).__name__}")
    if payload[:1] != b"{" or payload[-1:] != b"}":
        raise ValueError(f"ready JSON must be one object, {{...}}, but starts {payload[:20]!r}")
    return payload


def as_dict(mapping: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy, even while another thread changes the mapping. Never raises."""
    for _ in range(10):
        try:
            return dict(mapping)
        except RuntimeError:  # changed size during iteration
            continue
        except Exception:  # noqa: BLE001 - its own methods raise
            break
    return {"unreadable": _text(mapping)}


def by_name(mapping: Mapping[Any, Any]) -> dict[str, object]:
    """Return a copy whose keys are the names they have in JSON; of equal ones the last wins. Never raises."""
    return {_name(key): value for key, value in as_dict(mapping).items()}


def _has_long_number(payload: bytes) -> bool:
    """Tell whether there may be a number of more than MAX_DIGITS digits. Quick, and may be wrong to say yes."""
    return payload[::_SAMPLE].translate(_DIGITS_AS_0).find(_SIX_DIGITS) >= 0


def _is_beyond_parsers(payload: bytes) -> bool:
    """Tell whether names or depth may break a limit of a receiver's parser. Quick, and may be wrong to say yes."""
    if len(payload) > MAX_KEY:
        return True
    # Five times as fast as `count`, which looks at each byte.
    return len(payload) - len(payload.replace(b"{", b"").replace(b"[", b"")) > MAX_DEPTH


def _encode_plainly(event: dict[str, object]) -> bytes:
    for depth in (PLAIN_DEPTH, 10, 1):  # less where the caller has left little stack
        # It may be out of stack or memory, or changed by another thread meanwhile.
        with suppress(Exception):
            return _encode(_plain(event, depth, set()))
    return _UNENCODABLE


def _hook(value: object) -> object:
    """Give msgspec something it knows for what it does not. Called for keys as well."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return as_dict(value)
    return _text(value)


_encoder = msgspec.json.Encoder(enc_hook=_hook)
_encode: Callable[[object], bytes] = _encoder.encode
_encode_lines: Callable[[list[Any]], bytes] = _encoder.encode_lines


def _plain(value: Any, room: int, above: set[int]) -> object:
    """Return `value` as plain JSON values: bounded, without cycles, with everything replaced that no parser takes."""
    if value is None or value is True or value is False:
        return value
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, enum.Enum):
        return _plain(value.value, room - 1, above) if room else _text(value)
    if isinstance(value, int):
        return int(value) if -(10**MAX_DIGITS) < value < 10**MAX_DIGITS else f"<integer of {value.bit_length()} bits>"
    if isinstance(value, float):
        return float(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    if not isinstance(value, Mapping | list | tuple | set | frozenset):
        value = _leaf(value)
        if not isinstance(value, dict | list):
            return value
    if id(value) in above:
        return "<cycle>"
    if not room:
        return "<too deep>"
    above.add(id(value))
    try:
        if isinstance(value, Mapping):
            return {name: _plain(item, room - 1, above) for name, item in by_name(value).items()}
        return [_plain(item, room - 1, above) for item in list(value)]
    finally:
        above.discard(id(value))


def _leaf(value: object) -> object:
    """Return what msgspec makes of a value that we do not know (a date, a UUID, a struct), or its text."""
    try:
        encoded = _encode(value)
        decoded: object = msgspec.json.decode(encoded)
    except Exception:  # noqa: BLE001 - anything may come out of an object's own methods
        return _text(value)
    return decoded


def _name(key: object) -> str:
    """Return what a key is called in JSON."""
    if isinstance(key, str):
        name = _clean(key)
    else:
        try:
            (name,) = msgspec.json.decode(_encode({key: None}))
        except Exception:  # noqa: BLE001 - anything may come out of an object's own methods
            name = _text(key)
    return name if len(name) <= MAX_KEY // 4 else name.encode()[:MAX_KEY].decode("utf-8", "ignore")


def _text(value: object) -> str:
    try:
        return _clean(repr(value)[:MAX_TEXT])
    except Exception as error:  # noqa: BLE001 - a hostile __repr__
        return f"<{type(value).__name__} whose repr raised {type(error).__name__}>"


def _clean(text: str) -> str:
    """Return plain text in which each lone surrogate is U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str.__str__(text)
