"""Programs of a few lines that ship events, run in a process of their own, with the receiver in the test's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

REPOSITORY = Path(__file__).parents[2]
TIME_LIMIT = 60.0  # seconds before a program that hangs is killed, and the test fails
# What was not closed is told; that forking with threads is dangerous (Python 3.12 and newer) is what is tested.
WARNINGS = ("-W", "always::ResourceWarning", "-W", "ignore:This process:DeprecationWarning")

# What each program begins with: `host` is where the receiver listens, `put(1, 2)` puts events that must be accepted.
PRELUDE = """
import os, signal, sys, threading, time
from beats_core import Options, Shipper

host = sys.argv[1]

def put(shipper, *ids):
    for number in ids:
        assert shipper.put({"id": number, "process": os.getpid()})
"""


def run(
    program: str, *arguments: str, before: str = "", expect: int = 0, complains: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end.

    Args:
        program: Its lines, which follow `PRELUDE`.
        arguments: The first is `host`.
        before: Lines that stand before everything else, so before the import of beats_core too.
        expect: The exit status it must have.
        complains: It may write to stderr. Else that fails the test: what Python ignores in finalisers and threads is
            told there, and what is never closed.
    """
    source = f"from __future__ import annotations\n{dedent(before)}\n{PRELUDE}\n{dedent(program)}"
    completed = subprocess.run(
        [sys.executable, *WARNINGS, "-c", source, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests")))},
        capture_output=True,
        text=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert completed.returncode == expect, f"ended with {completed.returncode}:\n{completed.stderr}"
    assert complains or not completed.stderr, completed.stderr
    return completed
