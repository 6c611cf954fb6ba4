"""The processes of a scene: receivers that can be stopped, killed and started again; and producers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from faults import ledgers
from faults.ledgers import Entry
from faults.orders import ProducerOrder, SinkOrder
from support.go_lumber import GoReceiver
from support.scripted import Scripted

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 60.0  # seconds before something awaited is given up
_MOMENT = 0.005


def environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BEATS_")}
    return {**inherited, "PYTHONPATH": os.pathsep.join(map(str, (REPOSITORY, REPOSITORY / "tests"))), **more}


def wait_until(holds: Callable[[], Any], at_most: float = PATIENCE, otherwise: str = "it did not happen") -> None:
    deadline = time.monotonic() + at_most
    while not holds():
        assert time.monotonic() < deadline, otherwise
        time.sleep(_MOMENT)


class Arrivals(Protocol):
    """Something that knows what has arrived at it."""

    @property
    def count(self) -> int:
        """How many events, also those that came again."""

    def entries(self) -> list[Entry]:
        """Which ones."""


class Sink:
    """A receiver in a process of its own.

    Args:
        order: What it does. It is started again where it listened before.
        within: The command that runs it elsewhere, in a network namespace say.
    """

    def __init__(self, order: SinkOrder, *, within: Sequence[str] = ()) -> None:
        self._order = order
        self._within = within
        self.host = ""
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def count(self) -> int:
        return ledgers.count(Path(self._order.ledger))

    def entries(self) -> list[Entry]:
        return ledgers.read(Path(self._order.ledger))

    def start(self) -> None:
        process = subprocess.Popen(
            [*self._within, sys.executable, "-m", "faults.sink", self._order.to_json()],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdout is not None
        with process.stdout:
            first = process.stdout.readline()
        assert first, f"the receiver ended with {process.wait()}"
        self.host = json.loads(first)["host"]
        self._order = replace(self._order, bind=self.host)
        self._process = process

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        self.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, if it runs, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class ScriptedSink:
    """What arrived at a receiver that follows a script."""

    def __init__(self, scripted: Scripted) -> None:
        self._scripted = scripted

    @property
    def count(self) -> int:
        return sum(len(window.payloads) for window in self._scripted.windows)

    def entries(self) -> list[Entry]:
        return [ledgers.arrival(payload) for window in self._scripted.windows for payload in window.payloads]


class GoSink:
    """What arrived at Elastic's server."""

    def __init__(self, receiver: GoReceiver) -> None:
        self._receiver = receiver

    @property
    def count(self) -> int:
        return self._receiver.count

    def entries(self) -> list[Entry]:
        return [ledgers.arrival(line) for line in self._receiver.lines()]


class Producer:
    """A producer in a process of its own.

    Args:
        order: What it does.
        within: The command that runs it, under another clock say.
        variables: Of its environment.
        before: What it does before everything else, in Python.
    """

    def __init__(
        self, order: ProducerOrder, *, within: Sequence[str] = (), variables: dict[str, str], before: str = ""
    ) -> None:
        self.order = order
        self._report: dict[str, Any] | None = None
        self.log = Path(f"{order.ledger}.log")
        program = ["-c", f"{before}\nfrom faults.producer import main\nmain()"] if before else ["-m", "faults.producer"]
        self._output = Path(f"{order.ledger}.output")
        with self.log.open("wb") as log, self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-X", "faulthandler", *program, order.to_json()],
                stdout=output,
                stderr=log,
                env=environment(**variables),
                start_new_session=True,  # what wraps it is killed with it
            )

    @property
    def accepted(self) -> int:
        return ledgers.count(Path(self.order.ledger))

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_until_ready(self) -> None:
        """Wait until it has made everything it needs, and waits for `begin`."""
        wait_until(lambda: Path(self.order.ledger).exists(), otherwise="the producer does not start")

    @property
    def ended_well(self) -> bool:
        """True if it runs, or has told of itself."""
        return self.process.poll() in (None, 0)

    def begin(self) -> None:
        Path(self.order.begin_at).touch()

    def release(self) -> None:
        """Let it end, if it waits for that."""
        if self.order.end_at:
            Path(self.order.end_at).touch()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to it and whatever runs it, and wait for its end."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        self.end(PATIENCE)

    def end(self, at_most: float = PATIENCE) -> int:
        """Wait for its end and return the status it ended with."""
        try:
            return self.process.wait(at_most)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGABRT)  # faulthandler tells where it hangs
            self.process.wait()
            raise AssertionError(f"the producer hangs:\n{self.complaints()}") from None

    def report(self) -> dict[str, Any]:
        """Return what it told of itself at its end."""
        if self._report is None:
            status = self.end()
            assert status == 0, f"the producer ended with {status}:\n{self.complaints()}"
            self._report = json.loads(self._output.read_text().splitlines()[-1])
        assert self._report is not None
        return self._report

    def complaints(self) -> str:
        return self.log.read_text(errors="replace")[-4000:]
