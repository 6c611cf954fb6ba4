"""A Backlog in the hands of one sender, step by step."""

from __future__ import annotations

from itertools import count

from beats_core.backlog import Backlog
from beats_core.frames import Batch


def payloads(*names: object) -> list[bytes]:
    return [str(name).encode() for name in names]


def new_backlog(
    *names: object, bulk_max_size: int = 4, bulk_max_bytes: int = 1000, flush_interval: float = 10.0
) -> Backlog:
    """Return a backlog that holds these events since time 0."""
    backlog = Backlog(bulk_max_size, bulk_max_bytes, flush_interval)
    backlog.append(payloads(*names), now=0.0)
    return backlog


def take(backlog: Backlog, now: float = 0.0) -> Batch:
    batch = backlog.take(now)
    assert batch is not None
    return batch


def take_all(backlog: Backlog, now: float = 0.0) -> list[list[bytes]]:
    """Lease everything that is due."""
    batches = iter(lambda: backlog.take(now), None)
    return [list(batch.payloads) for batch in batches]


def settle(backlog: Backlog) -> None:
    batch = take(backlog)
    backlog.ack(batch, len(batch))


def refuse(backlog: Backlog, times: int = 1, now: float = 0.0) -> list[bytes]:
    """Have a receiver close the connection on the next window, that many times; return the window of the last."""
    for _ in range(times):
        batch = take(backlog, now)
        backlog.put_back(batch, refused=True)
    return list(batch.payloads)


def counts(backlog: Backlog) -> dict[str, int]:
    return {
        "pending": backlog.pending,
        "in_flight": backlog.in_flight,
        "acked": backlog.acked,
        "dead": backlog.dead,
        "dropped": backlog.dropped.total(),
    }


def refuse_to_death(backlog: Backlog) -> None:
    """Refuse the suspect again and again while other events are accepted."""
    for number in count():
        backlog.append(payloads(f"good{number}"), now=0.0)
        while payloads(f"good{number}") != (batch := take(backlog)).payloads:
            backlog.put_back(batch, refused=True)
            if backlog.dead:
                return
        backlog.ack(batch, 1)
