"""Clients of PyLogBeat, for the tests that hold what the guide for its users says."""

from __future__ import annotations

import socket
from typing import Any

from pylogbeat import PyLogBeatClient

from support.scripted import PATIENCE, Peer, Scripted, Window

SHORT = 0.5  # seconds of its patience where nothing is to come


def pylogbeat(receiver: Scripted, **arguments: Any) -> PyLogBeatClient:
    """A client for that receiver; its `timeout` is that of all tests unless another is given."""
    return PyLogBeatClient("127.0.0.1", receiver.port, **{"timeout": PATIENCE, **arguments})


def line_of(client: PyLogBeatClient) -> socket.socket:
    line: socket.socket = client._socket  # noqa: SLF001 - it has no fileno()
    return line


def highest_sequence(peer: Peer, window: Window) -> None:
    """Acknowledge as Logstash does: the only way it can go on after its first window."""
    peer.ack(max(window.sequences))


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return "{}:{}".format(*listener.getsockname())
