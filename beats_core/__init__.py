"""A complete Beats (Lumberjack v2) client: from Python events to acknowledged events."""

from __future__ import annotations

from beats_core.async_client import AsyncClient
from beats_core.client import Client
from beats_core.encoding import encode_event
from beats_core.errors import (
    AckTimeout,
    BeatsError,
    ConnectionLost,
    EventTooLarge,
    OptionError,
    ProtocolError,
    SpoolError,
    SpoolFull,
    Stalled,
)
from beats_core.frames import Batch
from beats_core.options import Options
from beats_core.protocol import ReceivedWindow
from beats_core.receiver import Receiver
from beats_core.shipper import Shipper
from beats_core.stats import HostStats, Stats

__all__ = [
    "AckTimeout",
    "AsyncClient",
    "Batch",
    "BeatsError",
    "Client",
    "ConnectionLost",
    "EventTooLarge",
    "HostStats",
    "OptionError",
    "Options",
    "ProtocolError",
    "ReceivedWindow",
    "Receiver",
    "Shipper",
    "SpoolError",
    "SpoolFull",
    "Stalled",
    "Stats",
    "encode_event",
]
