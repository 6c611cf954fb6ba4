"""How much room there is: the quota, what the disk has to keep free, and the place for damaged bytes."""

from __future__ import annotations

import os
import time

from beats_core.errors import SpoolFull

_REFRESH_AFTER = 1.0  # seconds
_REFRESH_BYTES = 1 << 20  # written since
CORRUPT = "corrupt"
MAX_CORRUPT_BYTES = 16 << 20


class Volume:
    """The gauges. Reading and lowering them takes no lock: they may be off by what is being written just now.

    Args:
        directory: The spool's.
        max_bytes: What the spool may take.
        min_free_bytes: What has to stay free on the disk, for whoever else uses it.
    """

    def __init__(self, directory: str, max_bytes: int, min_free_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.min_free_bytes = min_free_bytes
        self.free = max_bytes + min_free_bytes  # when it was last looked at, less what was written since
        self._directory = directory
        self._seen_at = float("-inf")
        self._seen = self.free

    def refresh(self) -> None:
        """Look again how much is free, at most once a second and once a MiB. One thread."""
        now = time.monotonic()
        if now - self._seen_at < _REFRESH_AFTER and self._seen - self.free < _REFRESH_BYTES:
            return
        try:
            found = os.statvfs(self._directory)
        except OSError:
            return  # the directory is gone; whoever writes next makes it again
        self._seen_at = now
        self._seen = self.free = found.f_bavail * found.f_frsize

    def check(self, used: int, size: int) -> None:
        """Pass if so many bytes more may be written.

        Raises:
            SpoolFull: They may not.
        """
        if used + size > self.max_bytes:
            raise SpoolFull(f"the spool has {used} bytes, {size} more are over spool_max_bytes={self.max_bytes}")
        if self.free - size < self.min_free_bytes:
            raise SpoolFull(
                f"{max(0, self.free)} bytes are free on the disk of {self._directory}, "
                f"of which spool_min_free_bytes={self.min_free_bytes} stay free"
            )

    def set_aside(self, name: str, data: bytes) -> bool:
        """Keep a copy of damaged bytes, 16 MiB of such copies in all; tell whether it is kept."""
        directory = os.path.join(self._directory, CORRUPT)
        try:
            os.makedirs(directory, 0o700, exist_ok=True)
            with os.scandir(directory) as entries:
                used = sum(entry.stat().st_size for entry in entries)
            data = data[: max(0, MAX_CORRUPT_BYTES - used)]
            if not data or self.free - len(data) < self.min_free_bytes:
                return False
            path = os.path.join(directory, name)
            copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                os.write(copy, data)
            finally:
                os.close(copy)
        except OSError:
            return False
        return True
