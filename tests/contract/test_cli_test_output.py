"""`beats test output` as a user runs it: every rung, with real receivers and with those that are none."""

from __future__ import annotations

import json
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from beats_core import Receiver
from support.authority import Authority
from support.command_line import CLEAN, beats, finished, running
from support.scripted import Peer, Scripted, acks, answering


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def unused_host() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


def climbed(*arguments: object, **variables: str) -> tuple[int, str]:
    """The exit code, and what was printed without times."""
    code, output, messages = beats("test", "output", *arguments, env={**CLEAN, **variables})
    assert "Traceback" not in messages
    return code, re.sub(r"\(\d+(\.\d)? ms\)", "(1 ms)", output)


def found(*arguments: object, **variables: str) -> tuple[int, list[dict[str, Any]]]:
    """The exit code, and each rung of the only host."""
    code, output, messages = beats("test", "output", "--format", "json", *arguments, env={**CLEAN, **variables})
    assert "Traceback" not in messages
    report = json.loads(output)
    assert (1, code) == (report["version"], report["code"])
    (host,) = report["hosts"]
    return code, host["rungs"]


def last(*arguments: object, **variables: str) -> tuple[int, str, str, str]:
    """The exit code, and what became of the last rung: its name, its outcome and what it says."""
    code, rungs = found(*arguments, **variables)
    rung = rungs[-1]
    assert rung["code"] == code
    return code, rung["name"], rung["outcome"], f"{rung['detail']}; {rung['hint']}"


def test_the_ladder_leads_to_a_probe_event_and_its_ack(receiver: Receiver) -> None:
    code, output = climbed("-H", receiver.host)

    assert 0 == code
    assert (
        f"logstash: {receiver.host}...\n"
        "  connection...\n"
        "    parse host... OK\n"
        "    dns lookup... OK\n"
        "    addresses: 127.0.0.1\n"
        "    dial up... OK (1 ms)\n"
        "  TLS... WARN secure connection disabled\n"
        "  talk to server... OK\n"
        "  send 1 probe event... OK acknowledged (1 ms)\n"
        "1 of 1 hosts usable\n"
    ) == output
    (event,) = receiver.events
    assert ("beats test output: probe", ["beats_test"]) == (event["message"], event["tags"])
    assert {"@timestamp", "@metadata"} < event.keys()


def test_the_rungs_of_tls_say_what_was_agreed_and_whose_certificate_it_is(authority: Authority) -> None:
    with Receiver(ssl=authority.server()) as receiver:
        code, rungs = found("-H", receiver.host, "--ssl-ca", authority.path)

    assert 0 == code
    tls = {rung["name"]: rung for rung in rungs if rung["part"] == "TLS"}
    assert ["security", "handshake", "certificate"] == list(tls)
    assert {"OK"} == {rung["outcome"] for rung in tls.values()}
    assert "TLSv1.3" == tls["handshake"]["facts"]["TLS version"]
    assert tls["handshake"]["facts"]["cipher"].startswith("TLS_")
    assert {"names": ["localhost", "127.0.0.1", "::1"], "issuer": authority.name} == tls["certificate"]["facts"]
    assert re.fullmatch(r"expires in \d+ days", tls["certificate"]["detail"])


def test_without_a_probe_nothing_is_sent(receiver: Receiver) -> None:
    code, name, outcome, _ = last("-H", receiver.host, "--no-probe")

    assert (0, "talk to server", "OK") == (code, name, outcome)
    assert [] == receiver.events


def test_each_host_has_a_ladder_and_one_that_is_usable_is_enough(receiver: Receiver) -> None:
    dead = unused_host()

    code, output = climbed("-H", f"{dead},{receiver.host}")
    all_code, all_output = climbed("-H", dead, "-H", receiver.host, "--all")

    assert (0, 69) == (code, all_code)
    assert output == all_output
    assert [f"logstash: {dead}...", f"logstash: {receiver.host}..."] == re.findall("^logstash.*", output, re.MULTILINE)
    assert output.endswith("1 of 2 hosts usable\n")
    assert "dial up... ERROR connection refused\n    hint: nothing listens on port" in output


def test_the_code_is_that_of_all_hosts_or_69_if_they_fail_in_different_ways() -> None:
    with Scripted(Peer.wait_for_end, lambda peer: peer.send(b"HTTP/1.1 400")) as stranger:
        both, _ = climbed("-H", unused_host(), "-H", stranger.host)
    with Scripted(answering(acks(9))) as first, Scripted(answering(acks(9))) as second:
        same, _ = climbed("-H", first.host, "-H", second.host)

    assert (69, 76) == (both, same)


def test_switched_off_options_are_tested_nevertheless_and_it_says_so(receiver: Receiver) -> None:
    environ = {**CLEAN, "BEATS_DISABLED": "true", "BEATS_HOSTS": receiver.host}

    code, _, messages = beats("test", "output", env=environ)
    assert (0, 1) == (code, len(receiver.events))
    assert "beats: everything is switched off (enabled, BEATS_DISABLED), programs send nothing" in messages

    code, _, messages = beats("test", "output", env={**environ, "BEATS_SSL_CERTIFICATE": "/nowhere.pem"})
    assert 78 == code
    assert "Error: BEATS_SSL_CERTIFICATE='/nowhere.pem': cannot be read: No such file or directory" in messages


def test_a_host_nobody_listens_on_ends_with_69() -> None:
    host = unused_host()

    code, name, outcome, said = last("-H", host)

    assert (69, "dial up", "ERROR") == (code, name, outcome)
    assert f"port {host.rpartition(':')[2]} there" in said


def test_a_receiver_that_closes_without_an_ack_ends_with_69() -> None:
    def close(peer: Peer) -> None:
        peer.take()  # the probe, and then a handshake, to see whether that is what it wants
        peer.close()

    with Scripted(Peer.wait_for_end, close) as receiver:
        code, name, outcome, said = last("-H", receiver.host)

    assert (69, "send 1 probe event", "ERROR") == (code, name, outcome)
    assert said.startswith("the peer closed the connection")


@pytest.mark.parametrize(
    ("said_first", "complaint"),
    [(b"SSH-2.0-OpenSSH_9.6\r\n", "SSH"), (b"* OK IMAP4rev1 ready\r\n", "does not speak Beats")],
)
def test_who_speaks_first_is_no_receiver(said_first: bytes, complaint: str) -> None:
    def greet(peer: Peer) -> None:
        peer.send(said_first)
        peer.wait_for_end()

    with Scripted(greet) as stranger:
        code, name, outcome, said = last("-H", stranger.host, "--no-probe")

    assert (76, "talk to server", "ERROR") == (code, name, outcome)
    assert complaint in said


def test_an_ack_for_more_than_was_sent_ends_with_76() -> None:
    with Scripted(answering(acks(9))) as stranger:
        assert (76, "send 1 probe event") == last("-H", stranger.host)[:2]


def test_plain_text_to_a_port_that_speaks_tls_ends_with_76(authority: Authority) -> None:
    with Receiver(ssl=authority.server()) as receiver:
        code, name, _, said = last("-H", receiver.host)

    assert (76, "send 1 probe event") == (code, name)
    assert said.startswith("the port speaks TLS only; use --ssl")


@pytest.mark.parametrize("ending", [Peer.close, Peer.reset])
def test_tls_to_a_port_that_speaks_none_ends_with_76_however_it_hangs_up(ending: Any, authority: Authority) -> None:
    def hang_up(peer: Peer) -> None:
        peer.take()
        ending(peer)

    with Scripted(Peer.wait_for_end, hang_up) as receiver:
        code, name, _, said = last("-H", receiver.host, "--ssl-ca", authority.path)

    assert (76, "handshake") == (code, name)
    assert "do without TLS" in said


def test_an_unknown_authority_ends_with_77(authority: Authority) -> None:
    with Receiver(ssl=authority.server()) as receiver:
        code, name, _, said = last("-H", receiver.host, "--ssl")

    assert (77, "handshake") == (code, name)
    assert authority.name in said


def test_a_receiver_that_wants_a_client_certificate_is_usable_with_one(authority: Authority) -> None:
    client = authority.client()
    with Receiver(ssl=authority.server(wants_certificate=True)) as receiver:
        tls = ("-H", receiver.host, "--ssl-ca", authority.path)
        code, name, _, said = last(*tls)
        usable, _ = climbed(*tls, "--certificate", client["certificate"], "--key", client["key"])

        assert (77, "talk to server") == (code, name)
        assert "ssl.certificate" in said
        assert 0 == usable
        assert 1 == len(receiver.events)


def test_a_client_certificate_that_is_wanted_by_tls_1_2_ends_with_77_as_well(authority: Authority) -> None:
    server = authority.server(wants_certificate=True)
    server.maximum_version = ssl.TLSVersion.TLSv1_2
    with Receiver(ssl=server) as receiver:
        assert (77, "handshake") == last("-H", receiver.host, "--ssl-ca", authority.path)[:2]


@pytest.mark.parametrize(("mode", "said"), [("none", "is not verified"), ("certificate", "host name is not")])
def test_what_is_not_verified_is_a_warning(mode: str, said: str, authority: Authority) -> None:
    with Receiver(ssl=authority.server("other.example.com")) as receiver:
        code, output = climbed("-H", receiver.host, "--ssl-ca", authority.path, "--verification-mode", mode)

    assert 0 == code
    assert re.search(f"security... WARN .*{said}", output)


def test_a_certificate_that_soon_expires_is_a_warning(tmp_path: Path, authority: Authority) -> None:
    certificate = authority.ca.issue_cert("127.0.0.1", not_after=datetime.now(UTC) + timedelta(days=3, hours=1))
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(server)
    with Receiver(ssl=server) as receiver:
        code, output = climbed("-H", receiver.host, "--ssl-ca", authority.path)

    assert 0 == code
    assert "certificate... WARN expires in 3 days\n" in output


def test_an_event_that_is_not_allowed_to_be_so_large_is_the_configurations_fault(receiver: Receiver) -> None:
    assert 78 == last("-H", receiver.host, "-E", "max_event_bytes=20")[0]


def test_the_words_are_coloured_where_that_is_wanted(receiver: Receiver) -> None:
    green, yellow = "\x1b[32mOK\x1b[0m", "\x1b[33mWARN\x1b[0m"

    _, always = climbed("-H", receiver.host, "--color", "always")
    _, forced = climbed("-H", receiver.host, FORCE_COLOR="1")
    _, never = climbed("-H", receiver.host, FORCE_COLOR="1", NO_COLOR="1")

    assert green in always
    assert yellow in always
    assert always == forced
    assert "\x1b" not in never


def test_what_a_peer_says_cannot_control_the_terminal() -> None:
    def greet(peer: Peer) -> None:
        peer.send(b"\x1b[2J\x1b]0;owned\x07")
        peer.wait_for_end()

    with Scripted(greet) as stranger:
        assert "\x1b" not in climbed("-H", stranger.host)[1]


def test_a_rung_is_shown_before_it_is_climbed_and_ctrl_c_ends_it() -> None:
    with Scripted(Peer.wait_for_end) as silent, running("test", "output", "-H", silent.host, env=CLEAN) as process:
        assert process.stdout is not None
        shown = b""
        while not shown.endswith(b"send 1 probe event... "):
            shown += process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        code, _, messages = finished(process)

    assert (130, "") == (code, messages)
