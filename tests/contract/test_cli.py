"""`beats send` as a user runs it, against a real Receiver or a scripted peer; `beats` without its libraries."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core import ReceivedWindow, Receiver
from support.command_line import BEATS, IMPATIENT, LIMIT, beats, finished, issue_certificates, running, write
from support.scripted import Peer, Scripted


def unused_host() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    issue_certificates(folder)
    return folder


def server_context(certificates: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates / "server.pem")
    return context


def test_the_lines_of_files_become_events_with_where_they_come_from(receiver: Receiver, tmp_path: Path) -> None:
    first, second = tmp_path / "a.log", tmp_path / "b.log"
    first.write_bytes(b"one\r\n\n \nt\xffwo\n")
    second.write_bytes(b"last without an end")

    code, output, messages = beats("send", "-H", receiver.host, first, second, "-F", "service.name=shop")

    assert (0, "") == (code, output)
    assert messages.startswith("3 events acknowledged, ")
    events = receiver.events
    assert ["one", "t\ufffdwo", "last without an end"] == [event["message"] for event in events]
    assert [(0, str(first)), (8, str(first)), (0, str(second))] == [
        (event["log"]["offset"], event["log"]["file"]["path"]) for event in events
    ]
    assert [{"name": "shop"}] * 3 == [event["service"] for event in events]
    assert [socket.gethostname()] * 3 == [event["host"] for event in events]
    assert 3 == len({event["@metadata"]["_id"] for event in events})
    assert all(event["@timestamp"].endswith("Z") for event in events)


def test_json_lines_are_the_events(receiver: Receiver) -> None:
    lines = (
        b'{"message":"own","@timestamp":"2024-01-01T00:00:00.000Z","@metadata":{"_id":"7"},"n":123456789012345678901}'
    )

    code, _, messages = beats("send", "-H", receiver.host, "--json", "--index", "shop", "-F", "a.b=c", stdin=lines)

    assert 0 == code, messages
    (event,) = receiver.events
    assert "2024-01-01T00:00:00.000Z" == event["@timestamp"]
    assert ("shop", "7") == (event["@metadata"]["beat"], event["@metadata"]["_id"])
    assert ({"b": "c"}, 123456789012345678901) == (event["a"], event["n"])


def test_a_bad_line_ends_the_sending_after_those_before_it(receiver: Receiver, tmp_path: Path) -> None:
    log = tmp_path / "events.json"
    log.write_text('{"n":1}\n[2]\n{"n":3}\n')

    code, _, messages = beats("send", "-H", receiver.host, "--json", log)

    assert 1 == code
    assert f"beats: {log}:2: not a JSON object but an array" in messages
    assert [1] == [event["n"] for event in receiver.events]


def test_bad_lines_can_be_skipped_and_are_counted(receiver: Receiver) -> None:
    lines = b'{"n":1}\n{"n":\n"text"\n{"n":"' + b"x" * 300_000 + b'"}\n{"n":5}\n'

    code, _, messages = beats(
        *("send", "-H", receiver.host, "--json", "--on-error", "skip"),
        stdin=lines,
        env={**IMPATIENT, "BEATS_MAX_EVENT_BYTES": "1000"},
    )

    assert 0 == code, messages
    assert "<stdin>:2: not JSON" in messages
    assert "<stdin>:4: longer than 1000 bytes" in messages
    assert "2 events acknowledged, 3 bad lines skipped, " in messages
    assert [1, 5] == [event["n"] for event in receiver.events]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("-F", "nothing"), "is not name=value"),
        (("-F", "a=1", "-F", "a.b=2"), "a.b would be both a value and an object"),
        (("--compression-level", "12"), "compression_level=12"),
        (("-H", "nowhere:port"), "hosts='nowhere:port'"),
        (("no such file",), "does not exist"),
        (("--no-ssl", "--certificate", __file__), "--no-ssl, and there are options for TLS"),
    ],
)
def test_wrong_usage_ends_with_2_and_says_what_is_wrong(arguments: tuple[str, ...], complaint: str) -> None:
    code, _, messages = beats("send", *arguments)

    assert 2 == code
    assert complaint in messages


def test_an_empty_input_is_no_event_and_no_connection() -> None:
    code, _, messages = beats("send", "-H", unused_host())

    assert 0 == code
    assert messages.startswith("0 events acknowledged, ")


def test_nobody_to_reach_ends_with_69_after_the_retries() -> None:
    code, _, messages = beats("send", "-H", unused_host(), "--retries", 2, stdin=b"one\ntwo\n")

    assert 69 == code
    assert "connection refused; trying again in" in messages
    assert "(2 of 2)" in messages
    assert "0 events acknowledged, 2 not acknowledged, " in messages


def test_a_peer_that_acknowledges_nothing_ends_with_69() -> None:
    with Scripted(Peer.wait_for_end) as silent:
        code, _, messages = beats("send", "-H", silent.host, "--timeout", 0.3, "--retries", 0, stdin=b"one\n")

    assert 69 == code
    assert "the peer was silent for 0.3 seconds" in messages


def test_a_peer_that_closes_the_line_may_want_tls() -> None:
    def close(peer: Peer) -> None:
        peer.window()
        peer.reset()

    with Scripted(close) as strange:
        code, _, messages = beats("send", "-H", strange.host, "--retries", 0, stdin=b"one\n")

    assert 69 == code
    assert "perhaps the port wants TLS (ssl)" in messages


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer speaks HTTP"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "the peer speaks TLS on a plain connection"),
        (b"2A\x00\x00\x00\x09", "ack 9 for a window of 1 events"),
    ],
)
def test_who_does_not_speak_beats_ends_with_76(answer: bytes, complaint: str) -> None:
    def strange(peer: Peer) -> None:
        peer.window()
        peer.send(answer)
        peer.wait_for_end()

    with Scripted(strange) as stranger:
        code, _, messages = beats("send", "-H", stranger.host, stdin=b"one\n")

    assert 76 == code
    assert f"beats: {complaint}" in messages


def test_tls_to_a_plain_receiver_ends_with_76(receiver: Receiver, certificates: Path) -> None:
    code, _, messages = beats("send", "-H", receiver.host, "--ssl-ca", certificates / "ca.pem", stdin=b"one\n")

    assert 76 == code
    assert "perhaps it speaks no TLS on this port" in messages


def test_tls_is_verified_and_a_wrong_authority_ends_with_77(certificates: Path) -> None:
    with Receiver(ssl=server_context(certificates)) as receiver:
        send = ("send", "-H", receiver.host, "--certificate-authorities")
        right, _, messages = beats(*send, certificates / "ca.pem", stdin=b"one\n")
        wrong, _, complaint = beats(*send, certificates / "other.pem", stdin=b"one\n")

        assert 0 == right, messages
        assert 77 == wrong
        assert "certificate is not accepted" in complaint
        assert 1 == len(receiver.events)


def test_what_was_not_acknowledged_is_sent_again() -> None:
    messages_seen: list[list[str]] = []

    def consume(window: ReceivedWindow) -> None:
        messages_seen.append([event["message"] for event in window.events])
        if len(messages_seen) == 1:
            raise RuntimeError("down for a moment")

    with Receiver(consume=consume) as receiver:
        code, _, messages = beats(
            *("send", "-H", receiver.host, "--bulk-max-size", 2, "--pipelining", 1), stdin=b"1\n2\n3\n"
        )

    assert 0 == code, messages
    assert [["1", "2"], ["1", "2"], ["3"]] == messages_seen
    assert "3 events acknowledged, 2 sent again, " in messages


def test_a_pause_in_the_input_does_not_hold_up_what_came_before_it(receiver: Receiver) -> None:
    with running("send", "-H", receiver.host) as process:
        for number in range(1, 4):
            write(process, b"line %d\n" % number)
            receiver.wait_for(number, LIMIT)

        code, _, messages = finished(process)

    assert 0 == code, messages


def test_a_line_lost_while_waiting_for_input_is_made_again() -> None:
    seen: list[str] = []
    arrived = threading.Semaphore(0)

    def consume(window: ReceivedWindow) -> None:
        seen.extend(event["message"] for event in window.events)
        arrived.release()
        if len(seen) == 1:
            raise RuntimeError("down for a moment")

    with Receiver(consume=consume) as receiver, running("send", "-H", receiver.host) as process:
        write(process, b"one\n")
        assert arrived.acquire(timeout=LIMIT)
        assert arrived.acquire(timeout=LIMIT)  # though no further input came
        code, _, messages = finished(process)

    assert (0, ["one", "one"]) == (code, seen), messages


def test_memory_does_not_grow_with_the_input() -> None:
    command = (
        "import atexit, resource, sys\n"
        "report = lambda: print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
        "atexit.register(report)\n"
        "from beats_core.cli import main\n"
        "main()\n"
    )

    def peak(receiver: Receiver, megabytes: int) -> int:
        source = f"import sys; [sys.stdout.buffer.write((b'x' * 99 + b'\\n') * 10_000) for _ in range({megabytes})]"
        with subprocess.Popen([sys.executable, "-c", source], stdout=subprocess.PIPE) as stream:
            ended = subprocess.run(
                [sys.executable, "-c", command, "send", "-H", receiver.host, "--compression-level", "1"],
                stdin=stream.stdout,
                capture_output=True,
                env=IMPATIENT,
                timeout=LIMIT,
                check=True,
            )
        assert f"{megabytes * 10_000:,} events acknowledged" in ended.stderr.decode()
        return int(ended.stderr.split()[-1])  # KiB

    with Receiver(consume=lambda window: None) as receiver:
        small, large = peak(receiver, 2), peak(receiver, 20)

    assert large - small < 8_000


def test_ctrl_c_ends_the_reading_and_what_was_read_is_acknowledged(receiver: Receiver) -> None:
    with running("send", "-H", receiver.host) as process:
        write(process, b"one\ntwo\n")
        receiver.wait_for(2, LIMIT)
        process.send_signal(signal.SIGINT)
        code = process.wait(LIMIT)
        assert process.stderr is not None
        messages = process.stderr.read().decode()

    assert 130 == code
    assert "2 events acknowledged, " in messages
    assert "Traceback" not in messages


def test_ctrl_c_twice_leaves_without_the_acknowledgement() -> None:
    entered, leave = threading.Event(), threading.Event()

    def consume(window: ReceivedWindow) -> None:
        entered.set()
        leave.wait(LIMIT)

    with Receiver(consume=consume) as receiver:
        with running("send", "-H", receiver.host) as process:
            write(process, b"one\n")
            assert entered.wait(LIMIT)
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            noted = process.stderr.readline().decode()
            process.send_signal(signal.SIGINT)
            code = process.wait(LIMIT)
            messages = process.stderr.read().decode()
        leave.set()

    assert "interrupted" in noted
    assert 130 == code
    assert "0 events acknowledged, 1 not acknowledged, " in messages
    assert "Traceback" not in messages


def test_ctrl_c_ends_the_wait_for_the_next_try() -> None:
    with running("send", "-H", unused_host(), env={**IMPATIENT, "BEATS_BACKOFF_INIT": "600"}) as process:
        write(process, b"one\n")
        assert process.stderr is not None
        assert b"trying again in" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        code = process.wait(LIMIT)
        messages = process.stderr.read().decode()

    assert 130 == code
    assert "0 events acknowledged, 1 not acknowledged, " in messages


def test_switched_off_it_sends_nothing_and_says_so(receiver: Receiver) -> None:
    environ = {**IMPATIENT, "BEATS_DISABLED": "true"}

    code, _, messages = beats("send", "-H", receiver.host, stdin=b"hello\n", env=environ)

    assert 0 == code
    assert "beats: everything is switched off (enabled, BEATS_DISABLED): nothing is read, nothing is sent\n" == messages
    assert not receiver.events


def test_progress_is_shown_on_a_terminal_only(receiver: Receiver) -> None:
    master, slave = os.openpty()
    shown = b""
    process = subprocess.Popen(
        [*BEATS, "send", "-H", receiver.host], stdin=subprocess.PIPE, stderr=slave, env={**IMPATIENT, "TERM": "xterm"}
    )
    os.close(slave)
    with process:
        assert process.stdin is not None
        deadline = time.monotonic() + LIMIT
        while b"acknowledged" not in shown and time.monotonic() < deadline:
            process.stdin.write(b"line\n")
            process.stdin.flush()
            os.set_blocking(master, False)
            try:
                shown += os.read(master, 65536)
            except BlockingIOError:
                time.sleep(0.02)
    os.close(master)

    assert b"events/s" in shown
    assert "\x1b" not in beats("send", "-H", receiver.host, stdin=b"one\n")[2]


def test_without_click_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['click'] = None; from beats_core.cli import main; main()"

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=False)

    assert 1 == ended.returncode
    assert "beats needs click and rich: pip install 'beats-integrations[cli]'\n" == ended.stderr
