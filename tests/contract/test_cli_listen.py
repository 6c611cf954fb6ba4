"""`beats listen` as a user runs it."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from beats_core import Client, ConnectionLost, Receiver
from support.command_line import CLEAN, LIMIT, beats, finished, issue_certificates, listening


def test_listen_prints_what_send_sends_and_acknowledges_it() -> None:
    with listening("--count", 2) as (process, host):
        sent = beats("send", "-H", host, "-F", "level=warning", stdin=b"stock is low\nstock is \x1b[31mgone\n")
        code, output, messages = finished(process)

    assert 0 == sent[0], sent[2]
    assert 0 == code, messages
    assert "2 events in 1 windows" in messages
    assert ["WARNING  stock is low", r"WARNING  stock is \x1b[31mgone"] == [
        line.partition(" ")[2] for line in output.splitlines()
    ]


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("ndjson", '{"message":"a b"}\n{"message":"{not json}","tags":["_jsonparsefailure"]}\n'),
        ("raw", '{ "message": "a b" }\n{not json}\n'),
        ("none", ""),
    ],
)
def test_listen_prints_other_formats(output: str, expected: str) -> None:
    with listening("--count", 2, "-o", output) as (process, host):
        with Client(host) as client:
            assert 2 == client.send([b'{ "message": "a b" }', b"{not json}"])
        assert (0, expected) == finished(process)[:2]


@pytest.mark.parametrize(
    ("arguments", "environment", "colored"),
    [
        ((), {}, False),
        ((), {"FORCE_COLOR": "1"}, True),
        ((), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        (("--color", "always"), {"NO_COLOR": "1"}, True),
        (("--color", "never"), {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_is_the_users_choice(
    arguments: tuple[str, ...],
    environment: dict[str, str],
    colored: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    with listening("--count", 1, *arguments, env={**CLEAN, **environment}) as (process, host):
        with Client(host) as client:
            client.send([{"message": "hello", "level": "INFO"}])
        output = finished(process)[1]

    assert colored == ("\x1b[32mINFO" in output)


def test_listen_acknowledges_nothing_that_could_not_be_printed() -> None:
    with listening() as (process, host), Client(host) as client:
        assert process.stdout is not None
        client.send([{"message": "printed"}])
        assert b"printed" in process.stdout.readline()
        process.stdout.close()
        with pytest.raises(ConnectionLost) as lost:
            client.send([{"message": "not printed"}])
        code = process.wait(LIMIT)
        assert process.stderr is not None
        messages = process.stderr.read().decode()

    assert 1 == len(lost.value.unacked)
    assert 0 == code
    assert "1 events in 1 windows\n" == messages


def test_listen_ends_with_130_on_ctrl_c_and_sums_up() -> None:
    with listening("-o", "none") as (process, host):
        with Client(host) as client:
            client.send([{"message": "one"}])
        process.send_signal(signal.SIGINT)
        code, _, messages = finished(process)

    assert (130, "1 events in 1 windows\n") == (code, messages)


def test_listen_speaks_tls(tmp_path: Path) -> None:
    issue_certificates(tmp_path)
    with listening("--count", 1, "--certificate", tmp_path / "server.pem", "-o", "ndjson") as (process, host):
        sent = beats("send", "-H", host, "--ssl-ca", tmp_path / "ca.pem", stdin=b"secret\n")
        code, output, _ = finished(process)

    assert (0, 0) == (sent[0], code), sent[2]
    assert "secret" == json.loads(output)["message"]


def test_listen_says_why_it_cannot_listen() -> None:
    with Receiver() as receiver:
        taken, _, messages = beats("listen", "--bind", receiver.host)
    wrong, _, usage = beats("listen", "--bind", "host:99999")

    assert 1 == taken
    assert f"cannot listen on {receiver.host}: address already in use" in messages
    assert 2 == wrong
    assert "port from 0 to 65535" in usage
