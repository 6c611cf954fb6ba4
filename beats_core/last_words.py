"""The one line a process says on the real stderr at its end, if anything was not delivered.

By then nobody else would say it: logging may have been shut down, or never set up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress

from beats_core.stats import Stats


def say_undelivered(stats: Stats, hosts: Iterable[object]) -> None:
    """Write it, where there is a stderr to write to."""
    lost = {**stats.dropped, "dead": stats.dead}
    reasons = ", ".join(f"{reason} {number}" for reason, number in lost.items() if number)
    told = f"{stats.lost + stats.dead} lost" + (f" ({reasons})" if reasons else "")
    receivers = ", ".join(map(str, hosts))
    line = f"beats: {stats.acked} delivered, {stats.spooled} spooled, {told} to {receivers}\n"
    # There may be none, it may be closed, and nobody may read it. The original: the program may have replaced it.
    with suppress(Exception):
        if sys.__stderr__ is not None:
            sys.__stderr__.write(line)
            sys.__stderr__.flush()
