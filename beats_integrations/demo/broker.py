"""Celery's broker as a folder of files: no server to install. Good enough for one machine and a few hundred tasks.

It is kombu's, without two of its races (5.7): a message's file, and an exchange's, is created first and written then,
and a process that reads in between ends with a JSONDecodeError.
"""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from kombu.transport import TRANSPORT_ALIASES, filesystem
from kombu.utils.json import dumps

SCHEME = "beats-demo-files"
URL = f"{SCHEME}://localhost"  # the host says nothing, but without one kombu warns


def transport_options(folder: str) -> dict[str, object]:
    """Return where messages are; the folders are made."""
    messages, control, processed = (Path(folder, name) for name in ("messages", "control", "processed"))
    for path in (messages, control, processed):
        path.mkdir(exist_ok=True)
    return {
        "data_folder_in": str(messages),
        "data_folder_out": str(messages),
        "control_folder": str(control),
        # Else each message is moved to the system's folder of temporary files first, and may stay there.
        "store_processed": True,
        "processed_folder": str(processed),
        "polling_interval": 0.05,
    }


class Channel(filesystem.Channel):
    """Messages appear complete, and one process at a time touches an exchange."""

    def get_table(self, exchange: str) -> Any:
        """Read an exchange."""
        with self._alone():
            return super().get_table(exchange)

    def _queue_bind(self, *binding: Any) -> None:
        with self._alone():
            super()._queue_bind(*binding)

    def _put(self, queue: str, payload: object, **_: object) -> None:
        folder = Path(self.data_folder_out)
        name = f"{time.monotonic_ns():020}_{uuid4()}"
        partial = folder / f"{name}.partial"
        partial.write_text(dumps(payload), "utf-8")
        partial.rename(folder / f"{name}.{queue}.msg")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with Path(self.control_folder, "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Transport(filesystem.Transport):
    """kombu's, with our channels."""

    Channel = Channel


TRANSPORT_ALIASES[SCHEME] = f"{__name__}:Transport"
