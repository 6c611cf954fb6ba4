"""Elastic's go-lumber as processes: its server (`GoReceiver`) and its client (`run_sender`).

The programs are in tests/interop/go. They are built once per change of their sources, into .cache/.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, NamedTuple, Self

import pytest

from support.requirements import everything_required, require

REPOSITORY = Path(__file__).parents[2]
SOURCES = REPOSITORY / "tests" / "interop" / "go"
BINARIES = REPOSITORY / ".cache" / "go-lumber"


@functools.cache
def build(command: Literal["receiver", "sender"]) -> Path:
    """Return the executable of one of our Go programs; the first build needs Go's module proxy."""
    go = require("go")
    digest = hashlib.sha256()
    for source in (SOURCES / "go.mod", SOURCES / "go.sum", *sorted((SOURCES / command).glob("*.go"))):
        digest.update(source.read_bytes())
    binary = BINARIES / f"{command}-{digest.hexdigest()[:16]}"
    if not binary.exists():
        BINARIES.mkdir(parents=True, exist_ok=True)
        partial = binary.with_name(f"{binary.name}.{os.getpid()}")  # a second test run may be building as well
        environment = os.environ | {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        download = subprocess.run(
            [go, "mod", "download"], cwd=SOURCES, env=environment, capture_output=True, text=True, check=False
        )
        if download.returncode:
            missing = f"go-lumber is not here and cannot be fetched: {download.stderr.strip()}"
            (pytest.fail if everything_required() else pytest.skip)(missing)
        subprocess.run(
            [go, "build", "-trimpath", "-ldflags=-s -w", "-o", str(partial), f"./{command}"],
            cwd=SOURCES,
            env=environment,
            check=True,
        )
        partial.replace(binary)
    return binary


class CertificateFiles(NamedTuple):
    """The PEM files of a certificate: the chain, and its private key."""

    chain: str
    key: str


class GoReceiver:
    """go-lumber's server in a process of its own, which writes what it received before it acks.

    What it wrote stays readable here after `kill()` and over any number of restarts.

    Args:
        write: What is kept of an event: "events" all of it, "ids" its `id` alone; with "windows" nothing is
            decoded and only the sizes of the windows are kept.
        ack_delay: Seconds it works on each window before the ack.
        keepalive: Seconds between keep-alives meanwhile; 0 sends none.
        timeout: Seconds one window may take to arrive.
        acks: False never acks.
        close_every: Close the connection instead of acking every so many windows, after writing them.
        certificate: What it shows its clients; turns TLS on.
        client_authorities: PEM file of the authorities that must have signed a client's certificate.
        only_tls_12: It speaks no newer TLS.
    """

    def __init__(
        self,
        *,
        write: Literal["events", "ids", "windows"] = "events",
        ack_delay: float = 0.0,
        keepalive: float = 3.0,
        timeout: float = 30.0,
        acks: bool = True,
        close_every: int = 0,
        certificate: CertificateFiles | None = None,
        client_authorities: str | None = None,
        only_tls_12: bool = False,
    ) -> None:
        self.host = "127.0.0.1:0"
        self._binary = build("receiver")
        self._counts_windows = write == "windows"
        self._flags = [
            f"--write={write}",
            f"--ack-delay={ack_delay}s",
            f"--keepalive={keepalive}s",
            f"--timeout={timeout}s",
            f"--never-ack={not acks}",
            f"--close-every={close_every}",
            f"--tls-cert={certificate.chain if certificate else ''}",
            f"--tls-key={certificate.key if certificate else ''}",
            f"--tls-ca={client_authorities or ''}",
            f"--tls-1.2={only_tls_12}",
        ]
        self._arrived = threading.Condition()
        self._lines: list[bytes] = []
        self._count = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open from restart to restart

    def __enter__(self) -> Self:
        """Start it, on a free port."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""
        with self._log:
            self.stop()

    @property
    def port(self) -> int:
        """Where it listens, or listened last."""
        return int(self.host.rpartition(":")[2])

    @property
    def count(self) -> int:
        """How many events were received so far."""
        return self._count

    def wait_until(self, count: int, timeout: float = 30.0) -> None:
        """Wait until that many events were received, since the first start."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._count >= count, timeout):
                raise TimeoutError(f"{self._count} of {count} events after {timeout} s; go-lumber said:\n{self.log()}")

    def lines(self) -> list[bytes]:
        """Return what it wrote so far, as it wrote it: JSON as it came over the wire."""
        with self._arrived:
            return self._lines.copy()

    def events(self) -> list[Any]:
        """Return what was received so far, in order: events as dicts, or ids, or the sizes of windows."""
        return [json.loads(line) for line in self.lines()]

    def wait_for(self, count: int, timeout: float = 30.0) -> list[Any]:
        """Wait as `wait_until` does and return `events()`."""
        self.wait_until(count, timeout)
        return self.events()

    def log(self) -> str:
        """Return what it wrote to stderr: go-lumber tells there why it closed a connection."""
        return os.pread(self._log.fileno(), 1 << 20, 0).decode(errors="replace")

    def start(self) -> None:
        """Start the process; again after `stop()` or `kill()`, then on the same port."""
        process = subprocess.Popen(
            [self._binary, f"--listen={self.host}", *self._flags],
            bufsize=0,  # else reading the first line takes some of the second
            stdout=subprocess.PIPE,
            stderr=self._log,
        )
        assert process.stdout is not None
        first = process.stdout.readline()
        if not first:
            process.stdout.close()
            raise RuntimeError(f"the receiver ended with {process.wait()}:\n{self.log()}")
        self.host = json.loads(first)["listening"]
        self._process = process
        self._reader = threading.Thread(target=self._read, args=(process.stdout,), daemon=True)
        self._reader.start()

    def stop(self) -> None:
        """End the process in order. Does nothing if it does not run."""
        if self._process is not None:
            self._process.terminate()
            code = self._end(self._process)
            assert code == 0, f"the receiver ended with {code}:\n{self.log()}"

    def kill(self) -> None:
        """End the process with SIGKILL, in the middle of whatever it does."""
        assert self._process is not None
        self._process.kill()
        self._end(self._process)

    def _end(self, process: subprocess.Popen[bytes]) -> int:
        code = process.wait(timeout=30)
        self._reader.join()  # whatever the process wrote is in the pipe and still to be read
        self._process = None
        return code

    def _read(self, output: IO[bytes]) -> None:
        unfinished = b""  # a killed process may leave half a line; nothing of its window was acked
        with output:
            while chunk := os.read(output.fileno(), 1 << 20):
                *lines, unfinished = (unfinished + chunk).split(b"\n")
                with self._arrived:
                    self._lines += lines
                    self._count += sum(map(int, lines)) if self._counts_windows else len(lines)
                    self._arrived.notify_all()


@dataclass(frozen=True)
class SenderReport:
    """What one run of go-lumber's client took: from the first send to the last ack, without connecting."""

    events: int
    acked: int
    windows: int
    seconds: float
    cpu_seconds: float
    error: str


def run_sender(
    host: str,
    events: int | Iterable[Mapping[str, object]] | Path,
    *,
    window: int = 2048,
    pipeline: int = 0,
    compression: int = 3,
    repeat: int = 1,
    encode: Literal["map", "raw"] = "map",
    authorities: str | None = None,
    read_timeout: float = 30.0,
) -> SenderReport:
    """Send events with go-lumber's own client and wait for the end.

    Args:
        host: Where to.
        events: A number makes that many small events with ids from 0; a path names a file of JSON lines.
        window: Events per window.
        pipeline: Windows in flight with its async client; 0 takes the sync client.
        compression: zlib level; 0 sends plain frames.
        repeat: How many times to send everything.
        encode: "map" has encoding/json encode maps while the clock runs, "raw" sends ready JSON.
        authorities: PEM file of the authorities that must have signed the server's certificate; turns TLS on.
        read_timeout: Seconds of silence after which it gives up.
    """
    source, lines = ["--corpus=-"], b""
    if isinstance(events, int):
        source = [f"--events={events}"]
    elif isinstance(events, Path):
        source = [f"--corpus={events}"]
    else:
        lines = b"\n".join(json.dumps(event).encode() for event in events)
    flags = [
        f"--window={window}",
        f"--pipeline={pipeline}",
        f"--compression={compression}",
        f"--repeat={repeat}",
        f"--encode={encode}",
        f"--timeout={read_timeout}s",
        f"--tls-ca={authorities or ''}",
    ]
    completed = subprocess.run(
        [build("sender"), f"--host={host}", *source, *flags],
        input=lines,
        capture_output=True,
        check=False,  # it ends with 1 when not everything was acked; the report says so as well
    )
    if not completed.stdout:
        raise RuntimeError(f"the sender ended with {completed.returncode}:\n{completed.stderr.decode()}")
    return SenderReport(**json.loads(completed.stdout))
