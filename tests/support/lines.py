"""What the tests of lines that come and go share: options with which little is waited for, and scripts of receivers."""

from __future__ import annotations

import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from beats_core import Options, Shipper
from support.scripted import PATIENCE, Peer, Script

LONG = 60.0  # seconds that no test waits out


def lively(hosts: Sequence[str] | str, **values: Any) -> Options:
    """Options with which hardly anything is waited for, and each event is a window."""
    defaults = {"backoff_init": 0.001, "backoff_max": 0.002, "flush_interval": 0, "bulk_max_size": 1}
    return Options(hosts=hosts, **{**defaults, **values})


def state(shipper: Shipper, host: str) -> str:
    """Say how the host is; "unknown" before anything is known of it."""
    hosts = shipper.stats().hosts
    return hosts[host].state if host in hosts else "unknown"


def lagging(windows: int, left: list[int]) -> Script:
    """Acknowledge a window when so many are in flight or nothing more comes; note how many are left at the end."""

    def script(peer: Peer) -> None:
        waiting: deque[int] = deque()
        try:
            while True:
                if waiting and (len(waiting) == windows or peer.is_quiet(0.002)):
                    peer.ack(waiting.popleft())
                else:
                    waiting.append(peer.window().count)
        finally:
            left.append(len(waiting))

    return script


class Hesitant:
    """A script: holds so many windows until `go` is set, acknowledges one after the other, and waits for the end."""

    def __init__(self, windows: int) -> None:
        self.go = threading.Event()
        self.holding = threading.Event()
        self.ended = threading.Event()
        self._windows = windows

    def __call__(self, peer: Peer) -> None:
        held = [peer.window().count for _ in range(self._windows)]
        self.holding.set()
        assert self.go.wait(PATIENCE)
        for count in held:
            assert peer.is_quiet(0.02)  # neither closed yet, nor sent anything more
            peer.ack(count)
        assert b"" == peer.wait_for_end()
        self.ended.set()


@contextmanager
def black_hole(port: int = 0) -> Iterator[str]:
    """A host that answers no SYN: the queue of those who wait to be accepted is full."""
    with socket.create_server(("127.0.0.1", port), backlog=0) as listener:
        waiting = [socket.socket() for _ in range(4)]
        for line in waiting:
            line.setblocking(False)
            line.connect_ex(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        for line in waiting:
            line.close()
