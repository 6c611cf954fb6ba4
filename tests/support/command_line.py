"""The `beats` command as a user runs it: in a process of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import trustme

BEATS = (sys.executable, "-m", "beats_core")
LIMIT = 30.0  # seconds for anything a command does
CLEAN = {
    name: value for name, value in os.environ.items() if not name.startswith(("BEATS_", "FORCE_COLOR", "CLICOLOR"))
}
IMPATIENT = {**CLEAN, "BEATS_BACKOFF_INIT": "0.01"}


def beats(
    *arguments: object, stdin: bytes = b"", env: Mapping[str, str] = IMPATIENT, cwd: Path | None = None
) -> tuple[int, str, str]:
    """Run the command; return its exit code, its output and its messages."""
    ended = subprocess.run(
        [*BEATS, *map(str, arguments)], input=stdin, capture_output=True, env=env, cwd=cwd, timeout=LIMIT, check=False
    )
    return ended.returncode, ended.stdout.decode(), ended.stderr.decode()


@contextmanager
def running(*arguments: object, env: Mapping[str, str] = IMPATIENT) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command meanwhile."""
    process = subprocess.Popen(
        [*BEATS, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=env,
        bufsize=0,
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def listening(*arguments: object, env: Mapping[str, str] = CLEAN) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run `beats listen` on a free port; yield the process and where it listens."""
    with running("listen", "--bind", "127.0.0.1:0", *arguments, env=env) as process:
        assert process.stderr is not None
        first = process.stderr.readline().decode()
        found = re.search(r"listening on (\S+)", first)
        assert found, first
        yield process, found[1]


def finished(process: subprocess.Popen[bytes]) -> tuple[int, str, str]:
    output, messages = process.communicate(timeout=LIMIT)
    return process.returncode, output.decode(), messages.decode()


def write(process: subprocess.Popen[bytes], text: bytes) -> None:
    assert process.stdin is not None
    process.stdin.write(text)


def issue_certificates(folder: Path) -> None:
    """Make two authorities, ca.pem and other.pem; the first has signed server.pem."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
