"""`beats send`: read, make events, deliver, and say how it ended."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from time import monotonic

from beats_core.cli.delivery import Delivery
from beats_core.cli.exits import FAILED, INTERRUPTED, OK, exit_code
from beats_core.cli.interrupt import Interrupt
from beats_core.cli.lines import BadLine, EventMaker, Line, LineReader, size_of
from beats_core.cli.progress import ProgressBar
from beats_core.errors import ConnectionLost
from beats_core.options import Options

_SHOWN_BAD_LINES = 10


class Sending:
    """One run of `beats send`.

    Args:
        options: Where to, and how.
        make_event: Makes payloads of lines.
        skip_bad: Go on after a bad line, instead of ending there.
        retries: See `Delivery`.
        progress: Whether to show progress; None: on a terminal.
    """

    def __init__(
        self, options: Options, make_event: EventMaker, *, skip_bad: bool, retries: int, progress: bool | None
    ) -> None:
        self._options = options
        self._make_event = make_event
        self._skip_bad = skip_bad
        self._show_progress = progress
        self._interrupt = Interrupt()
        self._delivery = Delivery(options, retries, self._interrupt, lambda text: self._bar.tell(f"beats: {text}"))
        self._bad_lines = 0
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._begin = monotonic()

    def run(self, paths: Sequence[str]) -> int:
        """Send the lines of all files in turn, "-" being the standard input; return the exit code."""
        code = FAILED
        self._bar = ProgressBar(None, wanted=False)
        try:
            sizes = [size_of(path) for path in paths]
            total = None if None in sizes else sum(size or 0 for size in sizes)
            self._bar = ProgressBar(total, wanted=self._show_progress)
            with self._interrupt:
                code = self._send(paths)
        except OSError as error:
            self._bar.tell(f"beats: {error.filename or 'input'}: {(error.strerror or str(error)).lower()}")
        except ConnectionLost as lost:
            self._bar.tell(f"beats: {lost.reason}")
            code = INTERRUPTED if self._interrupt.pending else exit_code(lost)
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            self._bar.stop()
            self._delivery.close()
        self._print_summary()
        return code

    def _send(self, paths: Sequence[str]) -> int:
        """Read, and deliver what was read, also when a bad line or Ctrl-C ends the reading."""
        code = OK
        try:
            done = 0
            for path in paths:
                with LineReader(path, self._options.max_event_bytes) as reader:
                    for _ in self._pieces(reader):
                        self._bar.update(done + reader.bytes_read, self._delivery.acked)
                    done += reader.bytes_read
        except BadLine as bad:
            self._bar.tell(f"beats: {bad}")
            code = FAILED
        self._deliver()
        self._delivery.finish()
        return INTERRUPTED if self._interrupt.pending else code

    def _pieces(self, reader: LineReader) -> Iterator[None]:
        """Read to the end, one piece at a time; what is there when the input pauses leaves at once."""
        while not self._interrupt.pending:
            if reader.size is None and not self._has_more(reader):
                self._deliver()
                if not self._delivery.wait_for_input(reader.fileno()):
                    return
            lines = reader.read()
            if lines is None:
                return
            for line in lines:
                self._add(reader, line)
            yield

    def _has_more(self, reader: LineReader) -> bool:
        """Tell whether a window that has begun can be filled without waiting."""
        return bool(self._pending) and self._interrupt.can_wait and self._interrupt.wait_for([reader.fileno()], 0)

    def _add(self, reader: LineReader, line: Line) -> None:
        try:
            payload = self._make_event(reader, line)
        except BadLine as bad:
            if not self._skip_bad:
                raise
            self._bad_lines += 1
            if self._bad_lines <= _SHOWN_BAD_LINES:
                self._bar.tell(f"beats: {bad}")
            return
        if payload is None:
            return
        self._pending.append(payload)
        self._pending_bytes += len(payload)
        if len(self._pending) >= self._options.bulk_max_size or self._pending_bytes >= self._options.bulk_max_bytes:
            self._deliver()

    def _deliver(self) -> None:
        payloads, self._pending, self._pending_bytes = self._pending, [], 0
        if payloads:
            self._delivery.deliver(payloads)

    def _print_summary(self) -> None:
        took = monotonic() - self._begin
        acked = self._delivery.acked
        left = self._delivery.unacked + len(self._pending)
        parts = [f"{acked:,} events acknowledged"]
        if left:
            parts.append(f"{left:,} not acknowledged")
        if self._delivery.resent:
            parts.append(f"{self._delivery.resent:,} sent again")
        if self._bad_lines:
            parts.append(f"{self._bad_lines:,} bad lines skipped")
        parts += [f"{took:.1f} s", f"{acked / took:,.0f} events/s"]
        print(", ".join(parts), file=sys.stderr)
