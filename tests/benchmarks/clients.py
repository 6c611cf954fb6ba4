"""One client sends a corpus and prints what that took, as `tests/interop/go/sender` does for go-lumber's.

    {"events": 10, "seconds": 0.1, "cpu_seconds": 0.2}

The clock runs from the first event to the last ack, without connecting and without reading the corpus. A process of
its own, so that its CPU time is the client's alone. That every event was acked the caller sees at the receiver.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import msgspec

from beats_core import AsyncClient, Client, Shipper
from beats_core.frames import encode_window

Windows = list[Sequence[dict[str, Any]]] | list[Sequence[bytes]]  # of dicts, or of ready JSON
Send = Callable[[], object]  # sends all windows and returns when they are acked

_ACK_BYTES = 6
_WAIT_AT_MOST = 120.0  # seconds; a benchmark that hangs has found a bug and must say so


@contextmanager
def replay(host: str, level: int, windows: Windows) -> Iterator[Send]:
    """Write the bytes of ready windows, two in flight: how much the receiver can take."""
    ready = {id(window): encode_window([msgspec.json.encode(event) for event in window], level) for window in windows}
    with socket.create_connection(_address(host), _WAIT_AT_MOST) as line:

        def send() -> None:
            owed = 0
            for window in windows:
                line.sendall(ready[id(window)])
                owed += _ACK_BYTES
                while owed > _ACK_BYTES:
                    owed -= len(line.recv(owed))
            while owed:
                owed -= len(line.recv(owed))

        yield send


@contextmanager
def pylogbeat(host: str, _level: int, windows: Windows) -> Iterator[Send]:
    """PyLogBeat as its users have it: the standard library's json, always zlib level 6, one window in flight."""
    from pylogbeat import PyLogBeatClient

    with PyLogBeatClient(*_address(host), timeout=_WAIT_AT_MOST) as line:

        def send() -> None:
            for window in windows:
                line.send(window)

        yield send


@contextmanager
def client(host: str, level: int, windows: Windows) -> Iterator[Send]:
    """Our blocking client, two windows in flight by `post` and `wait_ack`."""
    with Client(host, compression_level=level, bulk_max_size=len(windows[0])) as line:
        line.connect()

        def send() -> None:
            for window in windows:
                line.post(window)
                while line.in_flight > 1:
                    line.wait_ack()
            while line.in_flight:
                line.wait_ack()

        yield send


@contextmanager
def client_send(host: str, level: int, windows: Windows) -> Iterator[Send]:
    """Our blocking client, one call of `send` per window, which waits for its ack."""
    with Client(host, compression_level=level, bulk_max_size=len(windows[0])) as line:
        line.connect()

        def send() -> None:
            for window in windows:
                line.send(window)

        yield send


@contextmanager
def async_client(host: str, level: int, windows: Windows) -> Iterator[Send]:
    """Our asyncio client, ten windows in one call, of which it keeps two in flight."""
    with asyncio.Runner() as runner:
        line = AsyncClient(host, compression_level=level, bulk_max_size=len(windows[0]))
        runner.run(line.connect())

        async def send() -> None:
            for first in range(0, len(windows), 10):
                await line.send([event for window in windows[first : first + 10] for event in window])

        yield lambda: runner.run(send())
        runner.run(line.close())


@contextmanager
def shipper(host: str, level: int, windows: Windows) -> Iterator[Send]:
    """Our shipper: one `put` per event, then `flush`. Each event gets its `@metadata`."""
    # Room for all of the corpus: what is measured is the way through, not how often a full queue refuses.
    with Shipper(host, compression_level=level, bulk_max_size=len(windows[0]), queue_mem_bytes=8 << 30) as line:

        def send() -> None:
            for window in windows:
                for event in window:
                    line.put(event)
            if not line.flush(_WAIT_AT_MOST):
                sys.exit(f"not acked in {_WAIT_AT_MOST} seconds: {line.stats()}")

        yield send


CLIENTS: dict[str, Callable[[str, int, Windows], AbstractContextManager[Send]]] = {
    "replay": replay,
    "pylogbeat": pylogbeat,
    "client": client,
    "client_send": client_send,
    "async_client": async_client,
    "shipper": shipper,
}


def main() -> None:
    """Send a corpus with one client."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("client", choices=CLIENTS)
    parser.add_argument("--host", required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="file of JSON lines")
    parser.add_argument("--encode", choices=("map", "raw"), default="map", help="raw: events are ready JSON")
    parser.add_argument("--window", type=int, default=2048)
    parser.add_argument("--compression", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()

    events = options.corpus.read_bytes().splitlines()
    if options.encode == "map":
        events = [msgspec.json.decode(line) for line in events]
    windows = [events[first : first + options.window] for first in range(0, len(events), options.window)]
    with CLIENTS[options.client](options.host, options.compression, windows * options.repeat) as send:
        # A program that ships logs does not hold the corpus: its garbage collector must not walk it either.
        gc.collect()
        gc.freeze()
        started, started_cpu = time.perf_counter(), time.process_time()
        send()
        seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - started_cpu
    print(json.dumps({"events": len(events) * options.repeat, "seconds": seconds, "cpu_seconds": cpu_seconds}))


def _address(host: str) -> tuple[str, int]:
    name, _, port = host.rpartition(":")
    return name, int(port)


if __name__ == "__main__":
    main()
