"""The `beats` command: `send`, `listen`, `test`, `spool`. Needs the extra `cli`, and is imported by nothing else."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command and exit with its code."""
    try:
        from beats_core.cli.commands import beats  # noqa: PLC0415 - without click it cannot be imported
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        print("beats needs click and rich: pip install 'beats-integrations[cli]'", file=sys.stderr)
        sys.exit(1)
    beats(prog_name="beats")
