"""gunicorn: the application is imported before the workers are forked, or in each of them; each event arrives once."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from beats_core import Receiver
from support.shippers import wait_until
from support.web_server import WebServer

OPTIONS = {
    "sync": ("--preload",),
    "sync, not preloaded": (),
    "gthread": ("--preload", "--worker-class", "gthread", "--threads", "4"),
    "gevent": ("--worker-class", "gevent"),
    "gevent, patched late": ("--preload", "--worker-class", "gevent"),
    "recycling": ("--preload", "--max-requests", "5", "--max-requests-jitter", "3"),
    "recycling threads": ("--preload", "--max-requests", "5", "--worker-class", "gthread", "--threads", "4"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGQUIT], ids=["TERM", "QUIT"])
def test_what_workers_log_arrives_once(options: tuple[str, ...], by: signal.Signals, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gunicorn", "--bind", "ADDRESS", "--workers", "2", "support.web_app:application"]
    with Receiver() as receiver, WebServer([*command, *options], receiver.host, tmp_path) as server:
        count = server.request_of_each(2)  # one that is stopped while it begins would miss it, and be killed later
        server.stop(by)

        arrived = Counter(event["id"] for event in receiver.events)
        imported = [event["process"] for event in receiver.events if event["id"] == "imported"]
        workers = {event["process"] for event in receiver.events} - set(imported)
        assert Counter({str(number): 1 for number in range(count)}) == arrived - Counter(imported=len(imported))
        assert len(imported) == len(set(imported)) == (1 if "--preload" in options else max(1, len(imported)))
        assert ("--preload" in options) == bool(workers)
        assert len(receiver.events) == len({event["@metadata"]["_id"] for event in receiver.events})


def test_workers_that_are_stopped_deliver_what_nobody_had_taken_before(tmp_path: Path) -> None:
    with Receiver() as receiver:
        host = receiver.host
    command = [sys.executable, "-m", "gunicorn", "--bind", "ADDRESS", "--workers", "2", "--preload"]
    with WebServer(
        [*command, "support.web_app:application"], host, tmp_path, BEATS_BACKOFF_INIT="0.05", BEATS_BACKOFF_MAX="0.2"
    ) as server:
        count = server.request_of_each(2)
        with Receiver(host) as receiver:
            server.stop()
            wait_until(lambda: len(receiver.events) == count + 1)

            assert {"imported", *map(str, range(count))} == {event["id"] for event in receiver.events}
