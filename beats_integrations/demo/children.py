"""The programs of the demo as processes. Whatever happens, none is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Self

_LAST_LINES = 15


class Children:
    """Starts processes, waits for them, and kills what is left at the end of its `with` block.

    Args:
        folder: Where what they print is kept.
        environment: What they get on top of this process's.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self._environment = {**os.environ, **environment}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Kill what still runs, with everything it has started."""
        for process in self._processes.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def start(self, name: str, module: str, *arguments: str) -> None:
        """Run a Python module as a process."""
        with self._output(name).open("wb") as output:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the demo alone, and a group of its own is easily ended
            )

    def alive(self, name: str) -> bool:
        """Tell whether it still runs."""
        return self._processes[name].poll() is None

    def terminate(self, name: str) -> None:
        """Ask it to end."""
        self._processes[name].terminate()

    def wait(self, name: str, seconds: float) -> str | None:
        """Wait for its end; return what is wrong with it, with the last it printed, or None."""
        deadline = monotonic() + seconds
        try:
            code = self._processes[name].wait(max(0.0, deadline - monotonic()))
        except subprocess.TimeoutExpired:
            return f"{name} does not end.\n{self._last_words(name)}"
        return None if code == 0 else f"{name} ended with {code}.\n{self._last_words(name)}"

    def _last_words(self, name: str) -> str:
        lines = self._output(name).read_text("utf-8", "replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-_LAST_LINES:])

    def _output(self, name: str) -> Path:
        return self._folder / f"{name}.log"
