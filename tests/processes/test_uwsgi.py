"""uWSGI, which forks its workers without telling Python: each event arrives once, whatever its options."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import pytest

from beats_core import Receiver
from support.requirements import require
from support.shippers import wait_until
from support.web_server import WebServer

OPTIONS = {
    "default": (),
    "enable-threads": ("--enable-threads",),
    "threads": ("--threads", "2"),
    "lazy": ("--lazy-apps", "--enable-threads"),
    "recycling": ("--enable-threads", "--max-requests", "5"),
    "fork hooks": ("--enable-threads", "--py-call-uwsgi-fork-hooks"),
    "gevent": ("--gevent", "10"),
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS.keys())
def test_what_workers_log_arrives_once(options: tuple[str, ...], tmp_path: Path) -> None:
    command = [
        require("uwsgi"),
        "--http-socket",
        "ADDRESS",
        "--master",
        "--workers",
        "2",
        "--die-on-term",
    ]
    command += ["--need-app", "--module", "support.web_app", "--virtualenv", sys.prefix, *options]
    patch = {"WEB_PATCH": "gevent"} if "--gevent" in options else {}
    with Receiver() as receiver, WebServer(command, receiver.host, tmp_path, **patch) as server:
        server.request(*range(100))
        wait_until(lambda: len(receiver.events) >= 100)
        server.stop()

        requested = [event for event in receiver.events if event["id"] != "imported"]
        assert Counter(map(str, range(100))) == Counter(event["id"] for event in requested)
        imported = [event["process"] for event in receiver.events if event["id"] == "imported"]
        assert len(imported) == len(set(imported)) > 0
        assert len(receiver.events) == len({event["@metadata"]["_id"] for event in receiver.events})
