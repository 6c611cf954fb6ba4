"""What children of multiprocessing do: functions of a module, because a child that is spawned imports them."""

from __future__ import annotations

import atexit
import sys

from beats_core import Options, Shipper


def put(host: str, first: int, count: int) -> None:
    """Put, and end without a further word."""
    shipper = Shipper.shared(Options(hosts=host, shutdown_timeout=30))
    for number in range(first, first + count):
        assert shipper.put({"id": number})


def put_and_exit(host: str, first: int, count: int) -> None:
    put(host, first, count)
    sys.exit(0)


def put_and_fail(host: str, first: int, count: int) -> None:
    put(host, first, count)
    raise SystemExit(7)


def put_again_at_exit(host: str, first: int, count: int) -> None:
    put(host, first, count)
    atexit.register(put, host, first + count, count)


def put_for_nobody(host: str) -> None:
    shipper = Shipper.shared(Options(hosts=host, shutdown_timeout=0.2))
    assert shipper.put({"id": 1})
