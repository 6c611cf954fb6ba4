"""Rows 48 to 50: events of the shipper's own making, events that are none, and events that are too large."""

from __future__ import annotations

import decimal
import logging
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from beats_core import Receiver, Shipper
from beats_integrations.logging import BeatsHandler
from faults.catalogue import row
from faults.processes import wait_until
from faults.table import Row
from support.odd_values import BrokenOrder, BrokenView, Friendly, Grumpy, GrumpyText, Verbose
from support.scripted import Scripted, acknowledged, answering, closes
from support.shippers import unaccounted

WINDOW_OF_GO_LUMBER = 10_000


@row("F48", "the shipper's own complaints are logged through it", "memory")
def test_f48_what_the_shipper_says_is_not_shipped(row: Row, durability: str) -> None:
    root, before = logging.getLogger(), logging.getLogger().level
    with Scripted(*[answering(closes)] * 5, answering(acknowledged)) as scripted:
        shipper = Shipper(scripted.host, backoff_init=0.01, backoff_max=0.02, queue_mem_bytes=40_000)
        handler = BeatsHandler(shipper)
        root.addHandler(handler)
        root.setLevel(logging.DEBUG)
        try:
            for number in range(500):  # more than it takes: that some are refused is one of the things it says
                logging.getLogger("shop").info("order %d", number)
            assert shipper.flush(30)
        finally:
            root.setLevel(before)
            root.removeHandler(handler)
            stats = shipper.close(30)
            handler.close()
        said = {event["message"].split()[0] for window in scripted.windows for event in window.events}
        row.arrived = len({event["@metadata"]["_id"] for window in scripted.windows for event in window.events})
    row.accepted, row.lost = stats.accepted, stats.accepted - row.arrived

    assert (500, 0) == (stats.accepted + stats.dropped["full"], unaccounted(stats))
    assert {"order"} == said
    assert 0 == row.lost


class Loud:
    """Logs, and ships, while it is written down."""

    def __init__(self, says: Callable[[], object]) -> None:
        self._says = says

    def __str__(self) -> str:
        self._says()
        return "loud"

    __repr__ = __str__


def hostile(says: Callable[[], object]) -> list[Any]:
    """Return values that no JSON has, one at a time an event's."""
    circle: list[Any] = []
    circle.append(circle)
    deep: Any = 1
    for _ in range(10_000):
        deep = [deep]
    numbers = [float("nan"), float("inf"), -0.0, 1 << 4000, decimal.Decimal("NaN"), 1 + 2j]
    texts = ["\ud800", "a\0b\nc\x1b[0m", b"\xff\xfe", bytearray(b"x"), memoryview(b"y"), "x" * 2_000_000]
    rebels = [Grumpy(), GrumpyText("q"), Friendly(), Verbose(), BrokenOrder(1), BrokenView(("a", 1)), Loud(says)]
    keys = [{1: 2}, {None: 1}, {("a",): 1}, {b"k": 1}, {Grumpy(): 1}, {"@timestamp": object()}]
    return [
        *numbers,
        *texts,
        *rebels,
        *keys,
        object,
        print,
        circle,
        deep,
        uuid.uuid4(),
        datetime.now(UTC),
        {1, 2},
        iter([1]),
        ...,
    ]


@row("F49", "NaN, cycles, surrogates, 10,000 levels, values that raise or log", "memory")
def test_f49_each_event_is_one_valid_json_object_or_a_counted_refusal(row: Row, durability: str) -> None:
    with Receiver() as receiver, Shipper(receiver.host, max_event_bytes=1 << 20) as shipper:
        accepted = 0
        for value in hostile(lambda: shipper.put({"by": "an event that is being encoded"})):
            accepted += shipper.put({"value": value})
            accepted += shipper.put({"number": 1, "beside": "an event in order"})
        for event in (None, 7, [1], "no json", b"\xff", "[1]", "", Grumpy()):
            refused = not shipper.put(event)  # type: ignore[arg-type]  # which it survives
            accepted += not refused
        assert shipper.flush(30)
        stats = shipper.stats()
        arrived = receiver.events  # decoded strictly: each is one object
        row.accepted, row.arrived, row.lost = stats.accepted, len(arrived), stats.accepted - len(arrived)

        assert all(isinstance(event, dict) for event in arrived)
        assert stats.accepted == len(arrived)
        assert accepted <= stats.accepted
        assert len(hostile(print)) == sum(event.get("number") == 1 for event in arrived)
        assert set(stats.dropped) <= {"invalid", "too_large", "failed"}


@row("F50", "events beyond the limit among others; more than go-lumber's window", "memory")
def test_f50_an_event_that_is_too_large_harms_no_other(row: Row, durability: str) -> None:
    with Receiver(max_window=WINDOW_OF_GO_LUMBER) as receiver:
        with Shipper(receiver.host, max_event_bytes=10_000, queue_mem_bytes=64 << 20) as shipper:
            accepted = [shipper.put({"id": number, "text": "x" * size}) for number, size in enumerate(_SIZES)]
            stats = shipper.close(60)
        wait_until(lambda: len(receiver.events) >= sum(accepted))
        ids = {event["id"] for event in receiver.events}
    row.accepted, row.arrived, row.lost = stats.accepted, len(ids), stats.accepted - len(ids)

    assert ids == {number for number, size in enumerate(_SIZES) if size < 9_000}
    assert {"too_large": sum(size > 9_000 for size in _SIZES)} == stats.dropped


_SIZES = [10_001 if number % 100 == 50 else number % 700 for number in range(25_000)]
