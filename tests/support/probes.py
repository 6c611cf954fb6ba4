"""What the receivers of the field answer to windows that no client should send, and to a few that one may."""

from __future__ import annotations

import struct
from typing import NamedTuple

from support.columns import (
    Camel,
    Column,
    Fluentd,
    GoLumber,
    Graylog,
    Logstash,
    LogstashBefore513,
    NiFi,
    Vector,
    VectorBefore2026,
)
from support.wire import Sender, c, events, j, w

GOOD = b'{"@timestamp":"2026-01-02T03:04:05.678Z","id":1}'
BROKEN = b'{"id":}'
QUIET = 0.02  # seconds without a word that are taken for silence


class Probe(NamedTuple):
    """Bytes, and the answer: the numbers of the acks, then an x if the receiver ends the connection.

    Attributes:
        usual: The answer of those that are not in `others`.
        others: None where the answer is up to chance.
    """

    title: str
    data: bytes
    usual: str
    others: dict[Column, str | None]

    def answer_of(self, column: Column) -> str | None:
        return self.others.get(column, self.usual)

    def __str__(self) -> str:
        return self.title


def good(count: int, first: int = 1) -> bytes:
    return events([GOOD] * count, first)


PROBES = [
    Probe("plain frames", w(3) + good(3), "3", {}),
    Probe("one compressed frame", w(3) + c(good(3)), "3", {}),
    Probe("a compressed frame behind a plain one", w(3) + good(1) + c(good(2, 2)), "3", {}),
    Probe("two compressed frames", w(3) + c(good(2)) + c(good(1, 3)), "3", {GoLumber: "x"}),
    Probe("a window frame in a compressed one", c(w(3) + good(3)), "3", {GoLumber: "x"}),
    Probe(
        "a compressed frame in a compressed one",
        w(3) + c(c(good(3))),
        "3",
        {Vector: "x", VectorBefore2026: "x", NiFi: "x"},
    ),
    Probe("an empty window", w(0), "", {Logstash: "0", NiFi: "x"}),
    Probe(
        "a window that is not filled",
        w(5) + good(3) + w(4) + good(4),
        "4",
        # Logstash now has a batch without a size, in which the second window waits for ever.
        {Logstash: "3", LogstashBefore513: "", GoLumber: "x", Vector: "x", Fluentd: "1 2 3 4"},
    ),
    Probe(
        "more events than the window",
        w(2) + c(good(3)),
        "2",
        {Vector: "2 3", VectorBefore2026: "3", NiFi: "2 3", Camel: None},
    ),
    Probe(
        "an event without a window",
        good(1),
        "1",
        {Logstash: "", LogstashBefore513: "", GoLumber: "x", Graylog: "", Fluentd: "x", Camel: "x"},
    ),
    Probe(
        "sequences that run on",
        w(3) + c(good(3, 11)),
        "13",
        {LogstashBefore513: "", GoLumber: "3", Graylog: "", Fluentd: "", Camel: ""},
    ),
    Probe("a window of ten", w(10) + c(good(10)), "10", {Fluentd: "2 4 6 8 10"}),
    Probe(
        "the highest sequence twice, and not last",
        w(3) + c(j(7, GOOD) + j(7, GOOD) + j(1, GOOD)),
        "1",
        {Logstash: "7 7", LogstashBefore513: "", GoLumber: "3", Graylog: "", Fluentd: "", Camel: ""},
    ),
    Probe("broken JSON", w(2) + c(good(1) + j(2, BROKEN)), "x", {Graylog: "2", NiFi: "2"}),
    Probe(
        "an array for an event",
        w(1) + c(j(1, b"[" + GOOD + b"]")),
        "1",
        {Logstash: "x", LogstashBefore513: "x", Vector: "x", VectorBefore2026: "x"},
    ),
    Probe("a text beside a message", w(1) + c(j(1, GOOD[:-1] + b',"message":"m","event":"e"}')), "1", {Logstash: "x"}),
    Probe("no timestamp", w(1) + c(j(1, b"{}")), "1", {Fluentd: "x"}),
    Probe(
        "a good window and a bad one",
        w(1) + c(good(1)) + w(1) + c(j(1, BROKEN)),
        "1 x",
        {GoLumber: "x", VectorBefore2026: "x", Graylog: "1 1", NiFi: "1 1"},
    ),
    Probe("two windows", 2 * (w(2) + c(good(2))), "2 2", {VectorBefore2026: "2"}),
    Probe("ten thousand events", w(10_000) + c(good(10_000)), "10000", {Fluentd: "2000 4000 6000 8000 10000"}),
    Probe(
        "one event more",
        w(10_001) + c(good(10_001)),
        "10001",
        {GoLumber: "x", Fluentd: "2000 4000 6000 8000 10000 10001"},
    ),
    Probe("version 3", w(1, 3) + j(1, GOOD, 3), "x", {}),
    Probe("an unknown frame", b"2X\0\0\0\1", "x", {}),
    Probe("no zlib stream", w(1) + b"2C\0\0\0\4abcd", "x", {}),
]


def answer(sender: Sender, expected: str) -> str:
    """Return what the receiver answers, waiting for as much as is expected; more than that shows as well."""
    numbers = expected.replace("x", "").split()
    data = sender.read(6 * len(numbers))
    answered = [str(number) for _, number in struct.iter_unpack(">2sI", data[: len(data) // 6 * 6])]
    if "x" in expected or len(answered) < len(numbers):
        return " ".join([*answered, *(["x"] if sender.rest() == b"" else ["more"])])
    return " ".join([*answered, *([] if sender.is_quiet(QUIET) else ["more"])])
