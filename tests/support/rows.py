"""What every row of the matrix starts from: a link to a receiver, and numbered events."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from support.clients import Driver
from support.columns import Column
from support.scripted import Scripted

Link = Callable[..., AbstractContextManager[tuple[Scripted, Driver]]]  # (*scripts, **options of the client)


def events(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": number, "message": f"event {number}"} for number in range(first, first + count)]


def windows_at_once(column: Column) -> int:
    """How many windows may be in flight with this receiver so that each ack has one meaning."""
    return 1 if column.one_at_a_time else 4


def delivered(receiver: Scripted) -> list[int]:
    """Return the `id` of each event that was handed on, in order."""
    return [json.loads(payload)["id"] for peer in receiver.peers for payload in peer.delivered]
