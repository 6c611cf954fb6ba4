"""A JSON parser with the limits of the strictest receivers: Logstash's Jackson and go-lumber's encoding/json."""

from __future__ import annotations

import json
import math
from typing import Any


def strict_object(payload: bytes) -> dict[str, Any]:
    """Return the one JSON object that the bytes are.

    Raises:
        ValueError: A receiver would refuse them.
    """
    if payload[:1] != b"{" or payload[-1:] != b"}":
        raise ValueError(f"no object: {payload[:20]!r}")
    parsed = json.loads(payload.decode("utf-8"), parse_constant=_constant, parse_float=_number, parse_int=_number)
    level: list[Any] = [parsed]
    depth = 0
    while level:
        depth += 1
        for value in level:
            if isinstance(value, dict) and any(len(key.encode()) > 50_000 for key in value):
                raise ValueError("a name of more than 50,000 bytes")
        children = [list(v.values()) if isinstance(v, dict) else v for v in level if isinstance(v, dict | list)]
        level = [child for some in children for child in some]
    if depth > 1_000:
        raise ValueError(f"depth {depth}")
    found: dict[str, Any] = parsed
    return found


def _constant(text: str) -> object:
    raise ValueError(text)


def _number(text: str) -> int | float:
    if len(text) > 1_000 or not math.isfinite(float(text)):
        raise ValueError(f"a number of {len(text)} characters")
    return float(text) if set(text) & set(".eE") else int(text)
