"""What the processes of the fault suite are told: one JSON object each, on their command lines."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any, Self


class _Order:
    def to_json(self) -> str:
        return json.dumps(asdict(self))  # type: ignore[call-overload]  # each order is a dataclass

    @classmethod
    def from_json(cls, text: str) -> Self:
        return cls(**json.loads(text))


@dataclass(frozen=True, kw_only=True)
class ProducerOrder(_Order):
    """What a producer does.

    Attributes:
        run: What its events belong to.
        ledger: The path of the file in which it notes what was accepted.
        options: The shipper's.
        client: What ships: "shipper" is ours, others are in `faults.peers`.
        events: How many each thread puts.
        threads: How many threads put.
        rate: Events per second of each thread; 0 is as fast as it can.
        size: Characters of an event's text.
        retries: A refused event is put again until it is accepted.
        idle: Seconds in which nothing is put, when half of the events were.
        children: How many processes the first thread forks meanwhile, each of which puts events of its own.
        begin_at: A path that must exist before the first event is put.
        end_at: A path that must exist after the last one, before it ends.
        mischief: What else it does to itself; see `faults.mischief`.
        ending: "close" closes; "return" leaves it to the exit handlers; others see `faults.producer`.
        closing: Seconds to wait for acks.
    """

    run: str
    ledger: str
    options: dict[str, Any]
    client: str = "shipper"
    events: int = 1000
    threads: int = 2
    rate: float = 0.0
    size: int = 200
    retries: bool = True
    idle: float = 0.0
    children: int = 0
    begin_at: str = ""
    end_at: str = ""
    mischief: list[str] = field(default_factory=list)
    ending: str = "close"
    closing: float = 60.0


@dataclass(frozen=True, kw_only=True)
class SinkOrder(_Order):
    """What a receiver does.

    Attributes:
        ledger: The path of the file in which it notes what arrived, before it acknowledges.
        bind: Where it listens.
        work: Seconds it works on each window before the ack.
        keepalive: Seconds between keep-alives meanwhile.
    """

    ledger: str
    bind: str = "127.0.0.1:0"
    work: float = 0.0
    keepalive: float = 3.0
