"""`beats test config` prints the options; `beats test output` has the ladder of each host climbed, and prints that."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from beats_core.cli.climb import Climber
from beats_core.cli.exits import INTERRUPTED, OK, UNAVAILABLE
from beats_core.cli.ladder import Ladder, Outcome, Rung
from beats_core.cli.settings import Settings
from beats_core.cli.terminal import print_json, printable
from beats_core.options import Options

_COLORS = {Outcome.OK: "32", Outcome.WARN: "33", Outcome.ERROR: "31"}
_WHOLE = 10  # milliseconds from which on tenths say nothing


def check_config(settings: Settings, *, as_json: bool) -> int:
    """Print the options and who says so; return the exit code: that there are settings means that they are right."""
    rows = list(settings)
    if as_json:
        print_json({"code": OK, "options": {row.name: {"value": row.value, "origin": row.origin} for row in rows}})
        return OK
    shown = [(row.name, printable(_as_text(row.value)), printable(row.origin)) for row in rows]
    name_width, value_width = (max(len(row[column]) for row in shown) for column in (0, 1))
    for name, value, origin in shown:
        print(f"{name:<{name_width}}  {value:<{value_width}}  {origin}")
    print("Config OK")
    return OK


def _as_text(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return str(int(value) if isinstance(value, float) and value.is_integer() else value)


def check_hosts(options: Options, *, probe: bool, want_all: bool, as_json: bool, color: bool) -> int:
    """Try each host, tell of it on the standard output, and return the exit code.

    Args:
        options: Those to test.
        probe: Whether an event is sent.
        want_all: Fail if one host is not usable.
        as_json: Print one object at the end, instead of text meanwhile.
        color: For text.
    """
    watcher = Silence() if as_json else Text(color=color)
    climber = Climber(options, watcher, probe=probe)
    try:
        ladders = climber.climb()
    except KeyboardInterrupt:
        if not as_json:
            print()
        return INTERRUPTED
    usable = sum(ladder.code == OK for ladder in ladders)
    code = _code(ladders, want_all=want_all)
    if as_json:
        print_json({"code": code, "usable": usable, "hosts": [ladder.report() for ladder in ladders]})
    else:
        print(f"{usable} of {len(ladders)} hosts usable")
    return code


def _code(ladders: Sequence[Ladder], *, want_all: bool) -> int:
    """Return the code of the hosts that failed, if it is that of all of them."""
    failures = {ladder.code for ladder in ladders} - {OK}
    if not failures or (not want_all and any(ladder.code == OK for ladder in ladders)):
        return OK
    return failures.pop() if len(failures) == 1 else UNAVAILABLE


class Text:
    """Prints each rung as it is climbed, indented as Filebeat does it.

    Args:
        color: Whether to use the terminal's colours.
    """

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._part = ""

    def ladder(self, host: str) -> None:
        """Print the host."""
        self._part = ""
        print(f"logstash: {printable(host)}...")

    def begin(self, rung: Rung) -> None:
        """Print what is tried, before it is."""
        if rung.part and rung.part != self._part:
            print(f"  {rung.part}...")
        self._part = rung.part
        print(f"{_margin(rung)}{rung.name}... ", end="")
        sys.stdout.flush()  # what comes next may take a while

    def end(self, rung: Rung) -> None:
        """Print what became of it."""
        print(" ".join(word for word in (self._paint(rung.outcome), printable(rung.detail), _took(rung)) if word))
        for name, value in rung.facts.items():
            shown = ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
            print(f"{_margin(rung)}{name}: {printable(shown)}")
        if rung.hint:
            print(f"{_margin(rung)}hint: {printable(rung.hint)}")

    def _paint(self, outcome: Outcome) -> str:
        return f"\x1b[{_COLORS[outcome]}m{outcome}\x1b[0m" if self._color else outcome


class Silence:
    """Prints nothing."""

    def ladder(self, host: str) -> None:
        """Print nothing."""

    def begin(self, rung: Rung) -> None:
        """Print nothing."""

    def end(self, rung: Rung) -> None:
        """Print nothing."""


def _margin(rung: Rung) -> str:
    return "    " if rung.part else "  "


def _took(rung: Rung) -> str:
    if rung.milliseconds is None:
        return ""
    return f"({rung.milliseconds:.{0 if rung.milliseconds >= _WHOLE else 1}f} ms)"
