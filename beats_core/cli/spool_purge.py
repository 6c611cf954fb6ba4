"""`beats spool purge`: deletes what nobody will deliver any more, and says what that was.

It finds what would go, asks, and then deletes under the locks: what got an owner meanwhile stays.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import time

import click

from beats_core.cli.exits import FAILED, OK
from beats_core.cli.terminal import printable, sized
from beats_core.letters import Letters, letter_of
from beats_core.spool.inspection import FoundPart, look_into
from beats_core.spool.part import PART_NAME, Part


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What is to be deleted.

    Attributes:
        parts: By name, or what is told of them otherwise; these also if their format is another one.
        all_parts: Those of all dead owners.
        dead: The dead letters.
        corrupt: The damaged bytes that were set aside.
        older_than: Seconds since it was written last; None is any.
    """

    parts: Sequence[str] = ()
    all_parts: bool = False
    dead: bool = False
    corrupt: bool = False
    older_than: float | None = None


def is_called(part: FoundPart, name: str) -> bool:
    """Tell whether people mean this part: by the name of its directory, or the end of that."""
    return name in (part.name, part.key)


def purge(directory: str, choice: Choice, confirm: Callable[[str], bool]) -> int:
    """Delete what is chosen; return the exit code.

    Args:
        directory: The spool's.
        choice: What.
        confirm: Is asked, with what would go, before anything does.
    """
    before = None if choice.older_than is None else time() - choice.older_than
    found = look_into(directory)
    code = OK
    for name in choice.parts:
        if not any(is_called(part, name) for part in found.parts):
            _say(f"there is no part {name}")
            code = FAILED
    parts = []
    for part in found.parts:
        named = any(is_called(part, name) for name in choice.parts)
        if not (named or choice.all_parts) or (before is not None and part.modified >= before):
            continue
        reason = (
            "a living process uses it"
            if part.in_use
            else "it is of another format"
            if part.foreign and not named
            else ""
        )
        if reason:
            _say(f"{part.name} is left alone: {reason}")
            code = FAILED if named else code
        else:
            parts.append(part)
    damaged = [path for path in found.damaged if choice.corrupt and _is_ours(path) and _is_older(path, before)]
    letters = sum(_is_letter_older(line, before) for line in _lines(directory)) if choice.dead else 0
    plan = [_part_told(part) for part in parts]
    plan += [f"{letters:,} dead letters"] if letters else []
    plan += [f"{len(damaged):,} files of damaged bytes, {_size_of(damaged)}"] if damaged else []
    if not plan:
        print("nothing to delete")
        return code
    if not confirm("\n".join(["This would be gone for good:", *(f"  {item}" for item in plan)])):
        print("nothing was deleted")
        return code
    for part in parts:
        code = max(code, _delete_part(part))
    if letters:
        print(f"deleted {_delete_letters(directory, before):,} dead letters")
    if damaged:
        size = _size_of(damaged)
        for path in damaged:
            os.unlink(path)  # noqa: PTH108 - a text
        print(f"deleted {len(damaged):,} files of damaged bytes, {size}")
    return code


def _delete_part(found: FoundPart) -> int:
    told = _part_told(found)
    part = Part.take_over(found.path)
    if part is None:
        _say(f"{found.name} is left alone: it has an owner now, or is gone")
        return FAILED
    try:
        part.clear()
    except OSError as error:
        part.release()
        _say(f"{found.name}: {error.strerror}: {error.filename}")
        return FAILED
    if not part.remove():
        _say(f"{found.path} holds files that are none of a spool's, and stays")
    print(f"deleted {told}")
    return OK


def _delete_letters(directory: str, before: float | None) -> int:
    with Letters(directory).take() as taken:
        kept = [line for line in taken.lines if not _is_letter_older(line, before)]
        taken.keep(kept)
        return len(taken.lines) - len(kept)


def _part_told(part: FoundPart) -> str:
    return printable(f"{part.name}: {part.unsettled:,} events that nobody acknowledged, {sized(part.size)}")


def _lines(directory: str) -> list[bytes]:
    return list(Letters(directory).lines())


def _is_letter_older(line: bytes, before: float | None) -> bool:
    if before is None:
        return True
    letter = letter_of(line)
    try:
        return letter is not None and datetime.fromisoformat(letter.time).astimezone(UTC).timestamp() < before
    except (ValueError, OverflowError):
        return False


def _is_ours(path: str) -> bool:
    name = os.path.basename(path)  # noqa: PTH119 - a text
    return PART_NAME.match(name) is not None and os.path.isfile(path)  # noqa: PTH113 - a text


def _is_older(path: str, before: float | None) -> bool:
    return before is None or os.stat(path).st_mtime < before  # noqa: PTH116 - a text


def _size_of(paths: Sequence[str]) -> str:
    return sized(sum(os.stat(path).st_size for path in paths))  # noqa: PTH116 - a text


def _say(text: str) -> None:
    print(printable(f"beats: {text}"), file=sys.stderr)


def confirmation(*, yes: bool) -> Callable[[str], bool]:
    """Return who is asked: nobody with `yes`, else the terminal, without which nothing is deleted."""

    def ask(plan: str) -> bool:
        if yes:
            return True
        click.echo(plan, err=True)
        if not sys.stdin.isatty():
            raise click.UsageError("there is no terminal to ask on: say --yes")
        return click.confirm("Delete it?", err=True)

    return ask
