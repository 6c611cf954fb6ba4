"""A progress bar on a terminal; nothing anywhere else."""

from __future__ import annotations

import sys
from time import monotonic
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_PATIENCE = 1.0  # seconds; what is done sooner needs no bar


class ProgressBar:
    """Shows how much is read and acknowledged, on stderr, once that takes more than a moment.

    Args:
        total: Bytes there are to read; None if nobody knows.
        wanted: None: if stderr is a terminal.
    """

    def __init__(self, total: int | None, *, wanted: bool | None = None) -> None:
        self._total = total
        self._shown = sys.stderr.isatty() if wanted is None else wanted
        self._begin = monotonic()
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def update(self, read: int, acked: int) -> None:
        """Show these numbers: bytes read, events acknowledged."""
        took = monotonic() - self._begin
        if not self._shown or took < _PATIENCE:
            return
        if self._bar is None:
            self._start()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=read, acked=acked, rate=acked / took)

    def tell(self, text: str) -> None:
        """Print a line above the bar."""
        if self._bar is None:
            print(text, file=sys.stderr)
        else:
            self._bar.console.print(text, markup=False, highlight=False)

    def stop(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _start(self) -> None:
        try:
            from rich.console import Console  # noqa: PLC0415 - a tenth of a second, and only for terminals
            from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn  # noqa: PLC0415
        except ModuleNotFoundError:  # click came with something else; a bar is no reason to fail
            self._shown = False
            return
        self._bar = Progress(
            SpinnerColumn() if self._total is None else BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[acked]:,} acknowledged, {task.fields[rate]:,.0f} events/s"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=self._total, acked=0, rate=0.0)
        self._bar.start()
