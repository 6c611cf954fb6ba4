"""What a producer needs of a shipper, ours or a peer's."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol

from beats_core import Shipper, Stats
from faults.orders import ProducerOrder
from support.shippers import unaccounted


class Shipping(Protocol):
    """Something that ships."""

    def put(self, event: dict[str, Any]) -> bool:
        """Accept an event, or return False."""

    def stats(self) -> Mapping[str, Any]:
        """Return what it knows, as JSON."""

    def close(self) -> Mapping[str, Any]:
        """Deliver what can be delivered, and return the same."""


class OurShipper:
    """The shipper."""

    def __init__(self, order: ProducerOrder) -> None:
        self._shipper = Shipper(**order.options)
        self._closing = order.closing

    def put(self, event: dict[str, Any]) -> bool:
        return self._shipper.put(event)

    def stats(self) -> Mapping[str, Any]:
        return told(self._shipper.stats())

    def close(self) -> Mapping[str, Any]:
        return told(self._shipper.close(self._closing))


def told(stats: Stats) -> Mapping[str, Any]:
    return {**dataclasses.asdict(stats), "unaccounted": unaccounted(stats)}
