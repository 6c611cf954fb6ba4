"""Many shippers whose receiver goes away and comes back: when do they connect?"""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from beats_core import Options, ReceivedWindow, Receiver, Shipper
from faults.parents import die_with_parent
from faults.processes import environment, wait_until

_PER_PROCESS = 50
_OUTAGE = 4.0  # seconds
_BIN = 0.1  # seconds
_FIRST = 1.0  # seconds in which all have noticed; the waves come afterwards


@dataclass(frozen=True)
class Herd:
    """What was seen.

    Attributes:
        connects: Seconds after the outage began, of each try to connect.
    """

    accepted: int
    arrived: int
    connects: list[float]

    def largest_share(self) -> float:
        """The share of all tries after the first that fall into the fullest tenth of a second."""
        later = [at for at in self.connects if at > _FIRST]
        return max(Counter(int(at / _BIN) for at in later).values(), default=0) / max(1, len(later))

    def histogram(self) -> str:
        seconds = Counter(int(at) for at in self.connects)
        counts = " ".join(str(seconds[second]) for second in range(max(seconds, default=0) + 1))
        return f"connects in each second: {counts}"


def stampede(shippers: int, directory: Path) -> Herd:
    """Take the receiver away from that many shippers, and give it back."""
    arrived = Counter[int]()
    counting = threading.Lock()

    def consume(window: ReceivedWindow) -> None:
        with counting:
            arrived.update(json.loads(payload)["id"] for payload in window.payloads)

    receiver = Receiver(consume=consume, max_connections=4096)
    away = directory / "away"
    programs = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "faults.herd",
                receiver.host,
                str(first),
                str(min(_PER_PROCESS, shippers - first)),
                away,
            ],
            env=environment(),
        )
        for first in range(0, shippers, _PER_PROCESS)
    ]
    try:
        wait_until(lambda: arrived.total() >= shippers)
        receiver.close()
        connects: list[float] = []
        with _Refusing(receiver.port, connects):
            away.touch()  # now each has something to send again
            time.sleep(_OUTAGE)
        with Receiver(receiver.host, consume, max_connections=4096):
            for program in programs:
                assert 0 == program.wait(60)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    return Herd(2 * shippers, sum(min(2, number) for number in arrived.values()), connects)


class _Refusing:
    """Accepts each connection, notes when, and resets it."""

    def __init__(self, port: int, connects: list[float]) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=4096)
        self._connects = connects
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> None:
        self._began = time.monotonic()
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self._connects.append(time.monotonic() - self._began)
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                line.close()


def _ship(host: str, first: int, count: int, away: Path) -> None:
    """Have shippers put one event, and another when the receiver is away."""
    die_with_parent()
    options = Options(hosts=host, backoff_init=0.5, backoff_max=2.0, timeout=20.0, failback_interval=None)
    shippers = [Shipper(options=options) for _ in range(count)]
    for number, shipper in enumerate(shippers, first):
        assert shipper.put({"id": number})
    assert all(shipper.flush(30) for shipper in shippers)
    wait_until(away.exists)
    for number, shipper in enumerate(shippers, first):
        assert shipper.put({"id": number})
    assert all(shipper.flush(50) for shipper in shippers)
    for shipper in shippers:
        shipper.close()


if __name__ == "__main__":
    _ship(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
