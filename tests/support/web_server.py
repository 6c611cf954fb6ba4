"""A web server that runs `support.web_app`, as a process, and requests to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Self

from support.programs import REPOSITORY
from support.shippers import closed_port

LIMIT = 60.0  # seconds before a server that hangs is killed, and the test fails


class WebServer(AbstractContextManager["WebServer"]):
    """Runs from entering to leaving.

    Args:
        command: What to run; "ADDRESS" in it is replaced by where to listen.
        host: Where the application ships to.
        folder: For its log.
        environment: More of it.
    """

    def __init__(self, command: Sequence[str], host: str, folder: Path, **environment: str) -> None:
        self._address = closed_port()
        self._command = [part.replace("ADDRESS", self._address) for part in command]
        self._environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests"))),
            "BEATS_HOSTS": host,
            "BEATS_SHUTDOWN_TIMEOUT": "30",
            **environment,
        }
        self._log = folder / "server.log"

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        if error is not None:
            sys.stderr.write(self.log())

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def request_of_each(self, workers: int) -> int:
        """Have at least 100 ids logged, from 0 on, and so many that each worker had one; return how many."""
        answered, count = self.request(*range(100)), 100
        while len(answered) < workers:
            answered |= self.request(count)
            count += 1
        return count

    def request(self, *ids: int) -> set[int]:
        """Have each id logged by a request of its own, several at once; return the processes that answered."""
        deadline = time.monotonic() + LIMIT

        def ask(number: int) -> int:
            while True:
                try:
                    with urllib.request.urlopen(f"http://{self._address}/{number}", timeout=LIMIT) as answer:
                        return int(answer.read())
                except OSError as failure:
                    # Only what was not begun is asked again: not listening yet.
                    refused = isinstance(getattr(failure, "reason", None), ConnectionRefusedError)
                    if not refused or time.monotonic() > deadline or self._process.poll() is not None:
                        raise
                    time.sleep(0.02)

        with ThreadPoolExecutor(4) as pool:
            return set(pool.map(ask, ids))

    def stop(self, by: signal.Signals = signal.SIGTERM) -> None:
        """Stop it as an operator does, and wait for its end."""
        self._process.send_signal(by)
        self._process.wait(LIMIT)
