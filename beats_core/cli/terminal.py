"""What holds for everything that is printed: colour, what may be shown, and what to do when nobody reads on."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TextIO

import msgspec

JSON_VERSION = 1  # goes up when something in the objects of `--format json` changes its name or meaning

_KILO = 1000


def wants_color(choice: str, stream: TextIO, environ: Mapping[str, str] | None = None) -> bool:
    """Decide on colour: "always" or "never", or by "auto" what the environment says, then whether it is a terminal."""
    environ = os.environ if environ is None else environ
    if choice != "auto":
        return choice == "always"
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR") or environ.get("CLICOLOR_FORCE"):
        return True
    return environ.get("TERM") != "dumb" and stream.isatty()


def printable(text: str) -> str:
    """Return the text with everything escaped that is more, or less, than a visible character."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def sized(size: int) -> str:
    """Return so many bytes as people read them: "9.3 MB"."""
    number = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if number < _KILO:
            return f"{number:.{0 if unit == 'B' else 1}f} {unit}"
        number /= _KILO
    return f"{number:.1f} TB"


def lasting(seconds: float) -> str:
    """Return so much time as people read it, in its two largest units: "3 d 7 h"."""
    left = max(0, int(seconds))
    found: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not found):
            found.append(f"{count} {unit}")
        elif found:
            break
    return " ".join(found[:2])


@contextmanager
def for_a_reader() -> Iterator[None]:
    """End the block when nobody reads on, as with `| head`, which is no failure."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()


def sound(name: str) -> str:
    """Return the name of a file as JSON can have it: on Linux it is any bytes."""
    return name.encode("utf-8", "backslashreplace").decode()


def print_json(found: Mapping[str, object]) -> None:
    """Print what a command found out as one object, for programs."""
    print(msgspec.json.encode({"version": JSON_VERSION, **found}).decode())


def log_to_stderr() -> logging.Handler:
    """Have what the core logs told in one line each; return what does it."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine())
    logging.getLogger("beats_core").addHandler(handler)
    return handler


class _OneLine(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(f"beats: {record.getMessage()}")


def silence_stdout() -> None:
    """Let go of a pipe that nobody reads: else Python writes what is buffered once more when it ends, and complains."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _escape(char: str) -> str:
    return "    " if char == "\t" else char.encode("unicode_escape").decode()
