"""Control groups, of either version, for a process that is to have little memory, little time or few threads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from faults.namespaces import missing
from faults.processes import wait_until

_ROOT = Path("/sys/fs/cgroup")
# What is written where: in version 2, and in version 1, whose controllers have a tree each.
_LIMITS = {
    "memory": (("memory.max", "{}"), ("memory.limit_in_bytes", "{}")),
    "cpu": (("cpu.max", "{} 100000"), ("cpu.cfs_quota_us", "{}")),
    "pids": (("pids.max", "{}"), ("pids.max", "{}")),
}


@contextmanager
def limited(pid: int, **limits: int) -> Iterator[None]:
    """Hold a process to limits: `memory` in bytes, `cpu` in microseconds of each 100,000, `pids` with its threads."""
    made: list[Path] = []
    try:
        for controller, limit in limits.items():
            made.append(_make(controller, limit))
            (made[-1] / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        for group in made:
            with suppress(OSError):  # it has ended
                (group.parent / "cgroup.procs").write_text(str(pid))
            wait_until(lambda group=group: not (group / "cgroup.procs").read_text())  # type: ignore[misc]  # bound here
            group.rmdir()


def _make(controller: str, limit: int) -> Path:
    is_unified = (_ROOT / "cgroup.controllers").exists()
    name, text = _LIMITS[controller][0 if is_unified else 1]
    group = (_ROOT if is_unified else _ROOT / controller) / f"beats-faults-{os.getpid()}-{controller}"
    try:
        if is_unified:
            (_ROOT / "cgroup.subtree_control").write_text(f"+{controller}")
        group.mkdir()
        (group / name).write_text(text.format(limit))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        missing(f"no control group for {controller} can be made: {error}")
    return group
