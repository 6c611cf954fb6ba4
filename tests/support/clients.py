"""The two drivers behind one blocking face: every promise of a client is tested on both."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

from beats_core import AsyncClient, Batch, Client
from beats_core.driver import Events

T = TypeVar("T")


class Driver(Protocol):
    """What both drivers can do, blocking."""

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None: ...
    @property
    def in_flight(self) -> int: ...
    @property
    def unacked(self) -> Batch: ...
    @property
    def slow(self) -> bool: ...
    @property
    def ack_due(self) -> float | None: ...
    def connect(self) -> None: ...
    def close(self) -> None: ...
    def send(self, events: Events) -> int: ...
    def post(self, events: Events) -> int: ...
    def wait_ack(self, at_most: float | None = None) -> int: ...
    def read_acks(self, at_most: float | None = None) -> list[tuple[Batch, int]]: ...


MakeDriver = Callable[..., Driver]  # (hosts, **options); entering it connects


class BlockingAsyncClient:
    """An AsyncClient with an event loop of its own, which runs only during calls."""

    new_loop: Callable[[], asyncio.AbstractEventLoop] | None = None  # None: asyncio's own

    def __init__(self, hosts: Sequence[str] | str = "localhost:5044", **options: Any) -> None:
        self._client = AsyncClient(hosts, **options)
        self._runner = asyncio.Runner(loop_factory=self.new_loop)

    def __enter__(self) -> Self:
        try:
            self.connect()
        except BaseException:
            self._runner.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.close()
        finally:
            self._runner.close()

    @property
    def in_flight(self) -> int:
        return self._client.in_flight

    @property
    def unacked(self) -> Batch:
        return self._client.unacked

    @property
    def slow(self) -> bool:
        return self._client.slow

    @property
    def ack_due(self) -> float | None:
        return self._client.ack_due

    def connect(self) -> None:
        self._run(self._client.connect())

    def close(self) -> None:
        self._run(self._client.close())

    def send(self, events: Events) -> int:
        return self._run(self._client.send(events))

    def post(self, events: Events) -> int:
        return self._run(self._client.post(events))

    def wait_ack(self, at_most: float | None = None) -> int:
        return self._run(self._client.wait_ack(at_most))

    def read_acks(self, at_most: float | None = None) -> list[tuple[Batch, int]]:
        return self._run(self._client.read_acks(at_most))

    def _run(self, call: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(call)


class UvloopClient(BlockingAsyncClient):
    """An AsyncClient in uvloop's event loop."""

    @staticmethod
    def new_loop() -> asyncio.AbstractEventLoop:
        import uvloop

        return uvloop.new_event_loop()


DRIVERS: dict[str, MakeDriver] = {"Client": Client, "AsyncClient": BlockingAsyncClient}
# Where it has no wheels (Windows, PyPy) nothing of ours is different.
UNDER_UVLOOP: dict[str, MakeDriver] = {"uvloop": UvloopClient} if importlib.util.find_spec("uvloop") else {}


def numbered(count: int, first: int = 0) -> list[dict[str, Any]]:
    return [{"id": first + offset, "message": f"event {first + offset}"} for offset in range(count)]


def ids(batch: Batch) -> list[int]:
    return [json.loads(payload)["id"] for payload in batch.payloads]


def bare(received: Sequence[dict[str, Any]], sent: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the received events without what a client has put around those that were sent."""
    return [
        {name: value for name, value in event.items() if name in original}
        for event, original in zip(received, sent, strict=True)
    ]
