"""Small file systems of their own, for tests that fill one. Root may mount, and who may `sudo` without a password."""

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
    failed = "it needs Linux"
    if sys.platform == "linux":
        mine = f"size={size},uid={os.geteuid()},gid={os.getegid()}{options}"
        failed = _as_root("mount", "-t", "tmpfs", "-o", mine, "tmpfs", str(directory))
    if not failed:
        try:
            yield directory
        finally:
            assert not _as_root("umount", "-l", str(directory))
        return
    reason = f"a tmpfs cannot be mounted here: {failed}"
    if everything_required():
        pytest.fail(f"{reason}, and BEATS_TESTS_REQUIRE=all", pytrace=False)
    pytest.skip(reason)


def remount(directory: Path, option: str) -> None:
    """Give a mounted file system another option: "ro" or "rw"."""
    assert not _as_root("mount", "-o", f"remount,{option}", str(directory))


def _as_root(*command: str) -> str:
    """Run a command and return why it failed; "" if it did not."""
    root = [] if os.geteuid() == 0 else ["sudo", "-n"]
    try:
        done = subprocess.run([*root, *command], capture_output=True, text=True, check=False)
    except OSError as error:
        return str(error)
    return done.stderr.strip() or "it failed" if done.returncode else ""


def fill_up(disk: Path) -> None:
    """Leave no byte of a disk free."""
    with (disk / "rest").open("wb", buffering=0) as rest, suppress(OSError):
        while True:
            rest.write(bytes(4096))
