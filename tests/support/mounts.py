"""Small file systems of their own, for tests that fill one. Only root may mount."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from support.requirements import everything_required


@contextmanager
def tmpfs(directory: Path, size: str, options: str = "") -> Iterator[Path]:
    """Mount a tmpfs of that size for the length of a test, or end the test if that is not possible."""
    directory.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}{options}", "tmpfs", str(directory)]
    reason = "mounting a tmpfs needs Linux and root"
    if sys.platform == "linux" and os.geteuid() == 0:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        reason = f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}"
        if mounted.returncode == 0:
            try:
                yield directory
            finally:
                subprocess.run(["umount", "-l", str(directory)], check=True)
            return
    if everything_required():
        pytest.fail(f"{reason}, and BEATS_TESTS_REQUIRE=all", pytrace=False)
    pytest.skip(reason)


def fill_up(disk: Path) -> None:
    """Leave no byte of a disk free."""
    with (disk / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while True:
            rest.write(bytes(4096))
