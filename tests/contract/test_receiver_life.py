"""Where a Receiver listens, over TLS too, and how it ends."""

from __future__ import annotations

import ssl
import subprocess
import sys
import threading

import pytest

from beats_core import OptionError, ReceivedWindow, Receiver
from support.authority import Authority
from support.clients import MakeDriver, bare, numbered
from support.consumer import Consumer
from support.wire import Sender, a, j, w, window

pytestmark = pytest.mark.usefixtures("no_receiver_left_behind")


def test_it_listens_on_ipv6() -> None:
    with Receiver("[::1]:0") as receiver, Sender(receiver.host) as sender:
        assert f"[::1]:{receiver.port}" == receiver.host
        sender.send(window(b"{}"))

        assert a(1) == sender.read(6)


def test_it_takes_the_same_port_again_at_once() -> None:
    port = 0
    for _ in range(3):
        with Receiver(f"127.0.0.1:{port}") as receiver, Sender(receiver.host) as sender:
            port = receiver.port
            sender.send(window(b"{}"))
            assert a(1) == sender.read(6)


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread() -> None:
    with Receiver() as receiver, pytest.raises(OSError, match="in use"):
        Receiver(receiver.host)


@pytest.mark.parametrize("bind", ["", "a b:1", "127.0.0.1:99999", "[::1:1"])
def test_a_bind_that_is_no_address_is_refused(bind: str) -> None:
    with pytest.raises(OptionError):
        Receiver(bind)


def test_closing_ends_every_connection_in_whatever_state(consumer: Consumer) -> None:
    receiver = Receiver(consume=consumer)
    idle, halfway, done = (Sender(receiver.host) for _ in range(3))
    halfway.send(w(1), b"2J")
    done.send(window(b"{}"))
    assert a(1) == done.read(6)
    receiver.close()
    receiver.close()
    assert [b"", b"", b""] == [sender.rest() for sender in (idle, halfway, done)]
    for sender in (idle, halfway, done):
        sender.line.close()
    assert 0 == receiver.connections


def test_closing_ends_a_tls_handshake(authority: Authority) -> None:
    receiver = Receiver(ssl=authority.server(), timeout=1000)
    with Sender(receiver.host) as silent:
        silent.send(b"\x16\x03")
        while not receiver.connections:
            threading.Event().wait(0.01)
        receiver.close()
        assert silent.rest()[:1] in (b"", b"\x15")  # nothing, or an alert


def test_closing_waits_for_the_consumer_that_works_and_acknowledges_its_window(consumer: Consumer) -> None:
    consumer.go_on.clear()
    finished = threading.Event()

    def consume(received: ReceivedWindow) -> None:
        consumer(received)
        finished.set()

    receiver = Receiver(consume=consume)
    with Sender(receiver.host) as sender:
        sender.send(window(b"{}"), window(b"{}", b"{}"))
        consumer.begun.acquire()
        closing = threading.Thread(target=receiver.close)
        closing.start()
        assert sender.is_quiet(0.1)
        assert closing.is_alive()
        consumer.go_on.set()
        closing.join()
        assert finished.is_set()
        assert a(1) == sender.rest()
    assert 1 == len(consumer.windows)


def test_a_consumer_may_close_its_receiver() -> None:
    receiver = Receiver(consume=lambda _: receiver.close())
    with Sender(receiver.host) as sender:
        sender.send(window(b"{}"))
        assert sender.rest() in (a(1), b"")


PROGRAM = """
import os, resource, sys
from beats_core import Receiver
with Receiver(consume=len) as receiver:
    used = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 2, used + 2))
    print(receiver.host, flush=True)
    sys.stdin.read()
"""


def test_without_descriptors_it_waits_until_there_are_some_again() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        host = program.stdout.readline().strip()
        senders = [Sender(host) for _ in range(20)]
        assert "cannot accept a connection: too many open files" == program.stderr.readline().strip()
        for sender in senders[:-1]:
            sender.line.close()
        senders[-1].send(window(b"{}"))
        assert a(1) == senders[-1].read(6)
        senders[-1].line.close()
        program.communicate()


def test_tls(authority: Authority, driver: MakeDriver) -> None:
    with Receiver(ssl=authority.server()) as receiver:
        with Sender(receiver.host) as plain:
            plain.send(window(b"{}"))
            assert b"2A" not in plain.rest()
        with driver(receiver.host, ssl=authority.option, bulk_max_size=100) as client:
            assert 1_000 == client.send(numbered(1_000))
        assert numbered(1_000) == bare(receiver.events, numbered(1_000))


def test_tls_keep_alives_and_limits(authority: Authority, consumer: Consumer) -> None:
    consumer.go_on.clear()
    tls = ssl.create_default_context(cafile=authority.path)
    with (
        Receiver(consume=consumer, ssl=authority.server(), keepalive=0.05, timeout=0.3) as receiver,
        Sender(receiver.host, tls) as sender,
    ):
        sender.send(window(b"{}"))
        assert a(0) * 3 == sender.read(18)
        consumer.go_on.set()
        answers = b""
        while not answers.endswith(a(1)) and (answer := sender.read(6)):
            answers += answer
        sender.send(w(2), j(1, b"{}"))
        assert b"" == sender.rest()


def test_a_tls_handshake_may_not_take_for_ever(authority: Authority) -> None:
    with Receiver(ssl=authority.server(), timeout=0.2) as receiver, Sender(receiver.host) as silent:
        assert silent.rest()[:1] in (b"", b"\x15")  # nothing, or an alert
