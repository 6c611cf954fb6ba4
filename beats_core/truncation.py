"""Shorten an event that is too large: its longest texts, evenly, and nothing that is short.

What is short says what an event is: a name, an id, a number. Half of an id looks like one and is none, so texts of
up to `KEPT` characters stay whole, as do `tags` and what begins with `@`. A shortened event has the tag `TAG`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

TAG = "_beats_truncated"
KEPT = 64  # the hexadecimal digits of a SHA-256, a UUID, most addresses

_encode = msgspec.json.encode
_decode = msgspec.json.decode
_LONGEST_CHARACTER = 6  # bytes in JSON: \u001f


def truncate(payload: bytes, limit: int) -> bytes | None:
    """Return the event in at most `limit` bytes, or None if it cannot be read, or is too large without long texts.

    Takes time in proportion to the event, and the memory of one more copy of it.
    """
    try:
        event = _decode(payload)
    except (ValueError, RecursionError):
        return None
    tags = event.get("tags")
    event["tags"] = [*(tags if isinstance(tags, list) else [] if tags is None else [tags]), TAG]
    texts = _take_long_texts(event, limit)
    room = limit - len(_encode(event))
    share = _share([len(_encode(text)) - 2 for _, _, text in texts], room)
    if room < 0 or share < KEPT:
        return None
    for holder, key, text in texts:
        holder[key] = _beginning(text, share)
    return _encode(event)


def _take_long_texts(event: dict[str, Any], most: int) -> list[tuple[Any, Any, str]]:
    """Empty the long texts of an event; return where each was, and as many of its characters as might fit."""
    taken: list[tuple[Any, Any, str]] = []
    holders: list[Any] = [event]
    for holder in holders:
        items: Iterable[tuple[Any, Any]] = holder.items() if isinstance(holder, dict) else enumerate(holder)
        for key, value in items:
            if holder is event and (key == "tags" or key.startswith("@")):
                continue
            if isinstance(value, dict | list):
                holders.append(value)
            elif isinstance(value, str) and len(value) > KEPT:
                taken.append((holder, key, value[:most]))
                holder[key] = ""
    return taken


def _share(sizes: Sequence[int], room: int) -> int:
    """Return the most bytes each may have so that all fit: what one does not need is shared by the others."""
    left = len(sizes)
    for size in sorted(sizes):
        if size * left > room:
            return room // left
        room -= size
        left -= 1
    return max(sizes, default=KEPT)


def _beginning(text: str, size: int) -> str:
    """Return as much of a text as has at most so many bytes in JSON."""
    text = text[:size]
    encoded = _encode(text)
    if len(encoded) <= size + 2:
        return text
    for end in range(size + 1, size + 1 - _LONGEST_CHARACTER, -1):
        with suppress(ValueError):  # the end is inside of a character
            text = _decode(encoded[:end] + b'"')
            break
    return text
