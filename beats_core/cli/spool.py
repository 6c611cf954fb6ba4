"""`beats spool` and what can be said to it. What it does is in `spool_report`, `spool_replay` and `spool_purge`."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from typing import Any

import click

from beats_core.cli import exits
from beats_core.cli.arguments import load, refusal, with_arguments
from beats_core.cli.listen import formatter
from beats_core.cli.settings import Misconfigured
from beats_core.cli.spool_purge import Choice, confirmation, purge
from beats_core.cli.spool_replay import EventReplay, LetterReplay
from beats_core.cli.spool_report import list_parts, show_events, show_letters, verify
from beats_core.cli.terminal import log_to_stderr, printable, wants_color

_DIRECTORY = click.argument(
    "directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, readable=True, executable=True)
)
_PARTS = click.option(
    *("--part", "parts"), multiple=True, metavar="NAME", help="Only this part: its directory, or as `ls` shows it."
)
_LIMIT = click.option("--limit", type=click.IntRange(1), metavar="N", help="Not more than N events.")
_JSON = click.option("--json", "as_json", is_flag=True, help="For programs.")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.group()
def spool() -> None:
    """Look at a spool directory, deliver what is in it, or delete it; also while processes use it."""


@spool.command("ls", epilog=exits.HELP)
@_DIRECTORY
@_JSON
def ls_command(*, directory: str, as_json: bool) -> None:
    """Say which process has how many events in DIR that are not acknowledged.

    The part of a dead process is adopted by any living one that uses DIR, within a minute; or see `replay`.
    """
    sys.exit(_run(lambda: list_parts(directory, as_json=as_json)))


@spool.command("show", epilog=exits.HELP)
@_DIRECTORY
@_PARTS
@_LIMIT
@click.option("--dead", is_flag=True, help="The dead letters instead: events that were given up, and why.")
@_JSON
@click.option("--color", type=click.Choice(["auto", "always", "never"]), default="auto", show_default=True)
def show_command(
    *, directory: str, parts: tuple[str, ...], limit: int | None, dead: bool, as_json: bool, color: str
) -> None:
    """Print the events in DIR that are not acknowledged, oldest first, as `beats listen` prints them."""
    if dead and parts:
        raise click.UsageError("--part has no dead letters: they are those of all processes")
    text = formatter("ndjson" if as_json else "pretty", color=wants_color(color, sys.stdout))
    if dead:
        sys.exit(_run(lambda: show_letters(directory, text, limit=limit, as_json=as_json)))
    sys.exit(_run(lambda: show_events(directory, text, parts=parts, limit=limit, as_json=as_json)))


@spool.command("verify", epilog=exits.HELP)
@_DIRECTORY
@_JSON
def verify_command(*, directory: str, as_json: bool) -> None:
    """Read everything in DIR and check it against its checksums; change nothing.

    A torn frame at the end is no damage: a process died while it wrote it, and nobody was told that it is kept.
    """
    sys.exit(_run(lambda: verify(directory, as_json=as_json)))


@spool.command("replay", epilog=exits.HELP)
@_DIRECTORY
@click.option("--dead", is_flag=True, help="Send the dead letters again; those acknowledged are removed.")
@_LIMIT
@click.option(
    "--retries",
    type=click.IntRange(0),
    default=3,
    show_default=True,
    help="How often in a row to connect again, without any ack in between.",
)
@click.option("--progress/--no-progress", default=None, help="By default on a terminal.")
@with_arguments
def replay_command(
    *, directory: str, dead: bool, limit: int | None, retries: int, progress: bool | None, **values: Any
) -> None:
    """Deliver what dead processes left in DIR.

    Each event is removed when it is acknowledged. What belongs to a living process is left alone.
    """
    log_to_stderr()
    try:
        options = load(**values, spool=directory, durability="spool").options
    except Misconfigured as wrong:
        raise refusal(wrong) from wrong
    if not options.enabled:
        click.echo(f"beats: {exits.SWITCHED_OFF}: nothing is sent", err=True)
        return
    kind = LetterReplay if dead else EventReplay
    sys.exit(kind(directory, options, limit=limit, retries=retries, progress=progress).run())


@spool.command("purge", epilog=exits.HELP)
@_DIRECTORY
@click.option(*("--part", "parts"), multiple=True, metavar="NAME", help="A part: its directory, or as `ls` shows it.")
@click.option("--dead", is_flag=True, help="The dead letters.")
@click.option("--corrupt", is_flag=True, help="The damaged bytes that were set aside.")
@click.option("--all", "everything", is_flag=True, help="All of these; but no part of another format.")
@click.option(
    "--older-than",
    callback=lambda _context, _option, text: _seconds(text),
    metavar="AGE",
    help="Only what was last written so long ago: 90m, 12h, 7d.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def purge_command(
    *,
    directory: str,
    parts: tuple[str, ...],
    dead: bool,
    corrupt: bool,
    everything: bool,
    older_than: float | None,
    yes: bool,
) -> None:
    """Delete events that nobody will deliver; never those of a living process.

    What would go is said, and asked for on a terminal.
    """
    if not (parts or dead or corrupt or everything):
        raise click.UsageError("say what to delete: --part NAME, --dead, --corrupt or --all")
    choice = Choice(
        parts=parts,
        all_parts=everything,
        dead=dead or everything,
        corrupt=corrupt or everything,
        older_than=older_than,
    )
    sys.exit(_run(lambda: purge(directory, choice, confirmation(yes=yes))))


def _run(command: Callable[[], int]) -> int:
    try:
        return command()
    except OSError as error:
        click.echo(printable(f"beats: {error.filename or 'spool'}: {(error.strerror or str(error)).lower()}"), err=True)
        return exits.FAILED
    except KeyboardInterrupt:
        return exits.INTERRUPTED


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhdw])", text.strip())
    if found is None:
        raise click.BadParameter(f"{text!r} is no age: 90m, 12h, 7d")
    return float(found[1]) * _SECONDS[found[2]]
