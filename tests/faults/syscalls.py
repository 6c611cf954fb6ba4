"""strace as a source of faults: errors, delays and SIGKILL at chosen system calls of a process that already runs.

The counts of `when` begin when it is attached, for each thread anew; so what a process does at its start does not
count. The ledgers of the suite are written by `writev`, which nothing here touches.
"""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from faults.processes import wait_until
from support.requirements import require


class Injected:
    """Has the system calls of a process fail.

    Args:
        pid: Of the process; threads that it starts later are meant as well.
        *injections: As strace takes them: "write:error=ENOSPC:when=3..5".
    """

    def __init__(self, pid: int, *injections: str) -> None:
        calls = ",".join(sorted({call for injection in injections for call in injection.partition(":")[0].split(",")}))
        flags = [flag for injection in injections for flag in ("-e", f"inject={injection}")]
        self._process = subprocess.Popen(
            [require("strace"), "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={calls}", *flags, "-p", str(pid)],
            stderr=subprocess.PIPE,
        )
        self._pid = pid

    def __enter__(self) -> Self:
        """Wait until it has a hand on all threads."""
        wait_until(self._holds_all)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let the process go on by itself."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        assert self._process.stderr is not None
        self._process.communicate()

    def _holds_all(self) -> bool:
        if self._process.poll() is not None:
            assert self._process.stderr is not None
            raise AssertionError(f"strace cannot attach: {self._process.stderr.read().decode()}")
        return all(_tracer(self._pid, thread) for thread in os.listdir(f"/proc/{self._pid}/task"))


def _tracer(pid: int, thread: str) -> int:
    lines = Path(f"/proc/{pid}/task/{thread}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("TracerPid:"))
