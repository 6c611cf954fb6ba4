"""`beats listen`: a receiver for people. Prints what arrives, and acknowledges it when it is printed."""

from __future__ import annotations

import ssl
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from beats_core.cli.exits import FAILED, INTERRUPTED, OK
from beats_core.cli.pretty import Pretty
from beats_core.cli.terminal import log_to_stderr, silence_stdout
from beats_core.diagnosis import failure_reason
from beats_core.protocol import ReceivedWindow
from beats_core.receiver import Receiver

_FAREWELL = 1.0  # seconds for senders to take the last acks and leave


class Stopped(Exception):
    """Raised to the receiver when nothing is printed any more: the window is not acknowledged."""


def formatter(output: str, *, color: bool) -> Callable[[bytes], str]:
    """Return what makes text of a payload: "pretty", "ndjson", "raw", or "none"."""
    if output == "none":
        return lambda _: ""
    if output == "raw":
        return lambda payload: f"{payload.decode('utf-8', 'backslashreplace')}\n"
    if output == "ndjson":
        return lambda payload: f"{msgspec.json.encode(_decoded(payload)).decode()}\n"
    pretty = Pretty(color=color)
    return lambda payload: pretty(_decoded(payload))


class Listening:
    """One run of `beats listen`.

    Args:
        bind: `name:port`.
        format_event: Makes text of a payload.
        count: How many events to end after; None never ends.
        context: For TLS.
    """

    def __init__(
        self, bind: str, format_event: Callable[[bytes], str], *, count: int | None, context: ssl.SSLContext | None
    ) -> None:
        self._bind = bind
        self._format = format_event
        self._count = count
        self._context = context
        self._printing = threading.Lock()  # one window at a time, whole
        self._done = threading.Event()
        self._code = OK
        self._events = 0
        self._windows = 0

    def run(self) -> int:
        """Print until there is a reason to end; return the exit code."""
        # A window refused at the end is no complaint.
        log_to_stderr().addFilter(lambda record: not (record.exc_info and record.exc_info[0] is Stopped))
        try:
            receiver = Receiver(self._bind, self._print, ssl=self._context)
        except OSError as error:
            print(f"beats: cannot listen on {self._bind}: {failure_reason(error)}", file=sys.stderr)
            return FAILED
        with receiver:
            try:
                kind = "TLS" if self._context else "plain"
                print(f"beats: listening on {receiver.host} ({kind}); Ctrl-C ends it", file=sys.stderr, flush=True)
                self._done.wait()
                self._part(receiver)
            except KeyboardInterrupt:
                self._code = INTERRUPTED
                self._done.set()
        print(f"{self._events:,} events in {self._windows:,} windows", file=sys.stderr)
        return self._code

    def _print(self, window: ReceivedWindow) -> None:
        text = "".join(map(self._format, window.payloads))
        with self._printing:
            if self._done.is_set():
                raise Stopped
            try:
                _write(text)
            except OSError as error:
                self._give_up(error)
                raise Stopped from error
            self._events += len(window)
            self._windows += 1
            if self._count is not None and self._events >= self._count:
                self._done.set()

    def _give_up(self, error: OSError) -> None:
        """End because the output takes no more. A reader that has had enough, as `head` has, is no failure."""
        if not isinstance(error, BrokenPipeError):
            self._code = FAILED
            print(f"beats: cannot write: {failure_reason(error)}", file=sys.stderr)
        silence_stdout()
        self._done.set()

    def _part(self, receiver: Receiver) -> None:
        """Give the ack of the last window time to arrive."""
        deadline = time.monotonic() + _FAREWELL
        while receiver.connections and time.monotonic() < deadline:
            time.sleep(0.01)


def _decoded(payload: bytes) -> object:
    """Return the document, or what Logstash makes of one that is not JSON."""
    try:
        document: object = msgspec.json.decode(payload)
    except (ValueError, RecursionError):
        return {"message": payload.decode("utf-8", "backslashreplace"), "tags": ["_jsonparsefailure"]}
    return document


def _write(text: str) -> None:
    output = sys.stdout.buffer
    output.write(text.encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
    output.flush()
