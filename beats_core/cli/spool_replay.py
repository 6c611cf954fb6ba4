"""`beats spool replay`: delivers what dead processes left in a spool, or the dead letters, and says how it ended.

What dead processes left is adopted under their locks, as any process does that uses the spool, and settled there as it
is acknowledged. So wherever this ends, nothing is lost, and no more is sent twice than was in flight.
"""

from __future__ import annotations

import sys
from time import monotonic

import msgspec

from beats_core.admission import open_spool
from beats_core.backlog import Backlog
from beats_core.cli.courier import Courier, Lines, deliver_alone
from beats_core.cli.exits import DAMAGED, FAILED, INTERRUPTED, OK, PARTLY, exit_code
from beats_core.cli.interrupt import Interrupt
from beats_core.cli.progress import ProgressBar
from beats_core.cli.terminal import printable
from beats_core.errors import BeatsError, ConnectionLost
from beats_core.letters import Letters, letter_of
from beats_core.options import Options
from beats_core.spool import Spool
from beats_core.spool.inspection import look_into

_ENDLESS = 1 << 62


class Replay:
    """One run, of events or of letters.

    Args:
        directory: The spool's.
        options: Where to, and how; with this spool.
        limit: Most events to deliver; None is all.
        retries: See `Lines`.
        progress: Whether to show progress; None: on a terminal.
    """

    def __init__(
        self, directory: str, options: Options, *, limit: int | None, retries: int, progress: bool | None
    ) -> None:
        self._directory = directory
        self._options = options
        self._limit = limit
        self._show_progress = progress
        self._interrupt = Interrupt()
        self._bar = ProgressBar(None, wanted=False)
        self._lines = Lines(options, retries, self._interrupt, self._tell)
        self._letters = Letters(directory)
        self._acked = 0
        self._remarks: list[str] = []  # for the summary

    def run(self) -> int:
        """Deliver, say how it ended, and return the exit code."""
        began = monotonic()
        code = FAILED
        try:
            with self._interrupt:
                code = self._deliver()
        except ConnectionLost as lost:
            self._tell(lost.reason)
            code = PARTLY if self._acked else exit_code(lost)
        except (BeatsError, OSError) as error:
            self._tell(str(error))
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            self._bar.stop()
            self._lines.close()
        took = monotonic() - began
        rate = f"{took:.1f} s, {self._acked / took:,.0f} events/s"
        print(", ".join([f"{self._acked:,} events acknowledged", *self._remarks, rate]), file=sys.stderr)
        return INTERRUPTED if self._interrupt.pending else code

    def _deliver(self) -> int:
        """Deliver, and return the exit code."""
        raise NotImplementedError

    def _tell(self, text: str) -> None:
        self._bar.tell(printable(f"beats: {text}"))

    def _remark(self, count: int, what: str) -> None:
        if count:
            self._remarks.append(f"{count:,} {what}")


class EventReplay(Replay):
    """Delivers what dead processes left."""

    def _deliver(self) -> int:
        used = [part for part in look_into(self._directory).parts if part.in_use]
        if used:
            names = ", ".join(f"{part.host} {part.pid} ({part.unsettled:,} events)" for part in used)
            self._tell(f"left alone, because living processes use them: {names}")
        spool = open_spool(self._options)
        assert spool is not None  # noqa: S101 - the options have it
        ledger = Backlog(self._options.bulk_max_size, self._options.bulk_max_bytes, 0.0)
        try:
            _adopt_all(spool)
            self._empty(spool, ledger)
        finally:
            spool.close()
            self._remark(spool.events, "left in the spool")
            self._remark(ledger.dead, "not accepted and now dead letters")
            self._remark(spool.lost, "lost to damage")
        if spool.foreign:
            self._tell(f"{spool.foreign:,} segments are of another format, and were left alone")
        if spool.damaged:
            self._tell(f"{spool.damaged:,} damaged places were passed over; see {self._directory}/corrupt")
            return DAMAGED
        everything = not spool.events or self._limit is not None
        return OK if everything and not ledger.dead else FAILED

    def _empty(self, spool: Spool, ledger: Backlog) -> None:
        total = spool.bytes
        self._bar = ProgressBar(total, wanted=self._show_progress)
        courier = Courier(ledger, self._lines, self._options)
        while True:
            self._read(spool, ledger)
            if ledger.settled == ledger.appended:
                return
            try:
                courier.step()
            finally:  # at the end of a line, too, an event may be dead
                self._acked = ledger.acked
                self._settle(spool, ledger)
            self._bar.update(total - spool.bytes, self._acked)

    def _read(self, spool: Spool, ledger: Backlog) -> None:
        """Have enough for the windows in flight, and no more: after Ctrl-C what was read is still delivered."""
        options = self._options
        while not self._interrupt.pending:
            waiting = ledger.appended - ledger.settled
            waiting_bytes = ledger.appended_bytes - ledger.settled_bytes
            left = options.bulk_max_size if self._limit is None else self._limit - ledger.appended
            windows = options.pipelining + 1
            if waiting >= windows * options.bulk_max_size or waiting_bytes >= windows * options.bulk_max_bytes:
                return
            payloads = spool.read(min(left, options.bulk_max_size), options.bulk_max_bytes) if left > 0 else []
            if not payloads:
                return
            ledger.append(payloads, monotonic())

    def _settle(self, spool: Spool, ledger: Backlog) -> None:
        for letter in ledger.collect_letters():
            self._letters.add(letter)
        spool.settle([*ledger.unsettled(), (ledger.appended, _ENDLESS)])


class LetterReplay(Replay):
    """Sends the dead letters again, each in a window of its own; those not acknowledged stay what they are."""

    def _deliver(self) -> int:
        refused = unusable = 0
        with self._letters.take() as taken:
            self._bar = ProgressBar(sum(map(len, taken.lines)), wanted=self._show_progress)
            waiting = taken.lines[::-1]
            kept: list[bytes] = []
            read = 0
            try:
                while waiting and not self._interrupt.pending and self._acked + refused != self._limit:
                    letter = letter_of(waiting[-1])
                    if letter is None or not _is_event(letter.event):
                        unusable += 1
                        kept.append(waiting.pop())
                        continue
                    if deliver_alone(letter.event.encode(), self._lines):
                        refused += 1
                        kept.append(waiting[-1])
                    else:
                        self._acked += 1
                    read += len(waiting.pop())
                    self._bar.update(read, self._acked)
            finally:
                taken.keep([*kept, *waiting[::-1]])
                self._remark(refused, "not accepted again")
                self._remark(unusable, "that are not whole events")
                self._remark(len(waiting), "left")
        return FAILED if refused or unusable else OK


def _adopt_all(spool: Spool) -> None:
    """Take over all parts of dead processes."""
    before = -1
    while spool.parts > before:  # a few at a time
        before = spool.parts
        spool.adopt()


def _is_event(text: str) -> bool:
    """Tell whether a letter has its whole event: of one that was too large it has the beginning."""
    try:
        return isinstance(msgspec.json.decode(text), dict)
    except (ValueError, RecursionError):
        return False
