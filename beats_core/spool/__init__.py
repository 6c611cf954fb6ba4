"""The durable store: events on the disk between being accepted and being acknowledged."""

from __future__ import annotations

from beats_core.errors import SpoolFull
from beats_core.frames import Important
from beats_core.spool.spool import Spool

__all__ = ["Important", "Spool", "SpoolFull"]
