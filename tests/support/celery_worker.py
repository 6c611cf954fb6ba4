"""A real Celery worker as a process."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from support.celery_brokers import Broker

TESTS = Path(__file__).parents[1]
LIMIT = 30.0  # seconds for anything a worker does


class CeleryWorker:
    """Runs `celery worker` on the app of the tests, from entering the `with` block until `stop()`.

    Args:
        broker: Where it gets its tasks.
        pool: "prefork", "solo", "threads", "gevent" or "eventlet".
        options: What it passes to `install()`.
        arguments: More of its command line.
        level: Of its log.
    """

    def __init__(
        self, broker: Broker, pool: str, options: dict[str, Any], *arguments: str, level: str = "INFO"
    ) -> None:
        settings = {"broker": dataclasses.asdict(broker), "options": options}
        self._environment = os.environ | {
            "CELERY_TEST_SETTINGS": json.dumps(settings),
            "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]),
        }
        self._command = [sys.executable, "-m", "celery", "-A", "support.celery_worker_app", "worker"]
        self._command += ["-P", pool, "-c", "1" if pool == "solo" else "2", "-n", f"{pool}@tests", "-l", level]
        self._command += ["--without-gossip", "--without-mingle", "--without-heartbeat", *arguments]
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Start it and wait until it takes tasks."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        try:
            self.wait_until(lambda: "tests ready." in self.log(), "the worker is ready")
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, whatever state it is in."""
        self._end()

    def log(self) -> str:
        """Return what it printed so far."""
        return os.pread(self._log.fileno(), 4 << 20, 0).decode(errors="replace")

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition while the worker runs; fail with its log otherwise."""
        assert self._process is not None
        deadline = time.monotonic() + LIMIT
        while not condition():
            if self._process.poll() is not None:
                raise AssertionError(f"the worker ended with {self._process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {LIMIT} s: {what}. {self._where()}")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it for a warm shutdown, and wait for its end."""
        assert self._process is not None
        self._process.terminate()
        try:
            code = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the worker does not stop. {self._where()}") from None
        assert code == 0, f"the worker ended with {code}:\n{self.log()}"

    def _where(self) -> str:
        """Return what the worker printed, ending with where each thread of each of its processes stands."""
        assert self._process is not None
        before = len(self.log())
        os.killpg(self._process.pid, signal.SIGRTMIN)  # see celery_worker_app
        time.sleep(1.0)  # nothing tells when the last of them has spoken
        return f"The worker said:\n{self.log()[:before]}\nIts threads:\n{self.log()[before:]}"

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(LIMIT)
        self._log.close()
