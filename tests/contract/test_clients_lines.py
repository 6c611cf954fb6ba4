"""What a line of either client is made of: its addresses, its socket, and how long each step may take."""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from beats_core import AckTimeout, Client, ConnectionLost
from beats_core.hosts import Host
from support.authority import Authority
from support.clients import MakeDriver, ids, numbered
from support.scripted import Peer, Scripted, acknowledged, answering, closes, silence

NAME = "several.test"
PLAIN_AND_TLS = pytest.mark.parametrize("link", ["plain", "TLS"])
Addresses = Callable[..., None]


@pytest.fixture
def addresses(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """Have the resolver know `NAME` by these addresses, in this order."""
    look_up = socket.getaddrinfo
    known: list[str] = []

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        hosts = known if host == NAME else [host]
        return [info for each in hosts for info in look_up(each, *arguments, **options)]

    async def in_uvloop(self: Any, *arguments: Any, **options: Any) -> Any:
        return getaddrinfo(*arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    with suppress(ImportError):  # uvloop has a resolver of its own
        import uvloop

        monkeypatch.setattr(uvloop.Loop, "getaddrinfo", in_uvloop, raising=False)
    return lambda *addresses: known.extend(addresses)


@contextmanager
def nobody_answers(name: str = "127.0.0.1") -> Iterator[int]:
    """A listener whose queue is full answers no one, as a host behind a firewall that drops packets; yield its port."""
    with socket.socket() as listener:
        listener.bind((name, 0))
        listener.listen(0)
        with socket.create_connection(listener.getsockname()):
            yield listener.getsockname()[1]


def client_end(receiver: Scripted) -> socket.socket:
    """The socket of the client that is connected to the receiver, a copy."""
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # the directory's own
            if path.is_socket():
                line = socket.socket(fileno=os.dup(int(path.name)))
                with suppress(OSError):  # not connected
                    if line.getpeername()[:2] == ("127.0.0.1", receiver.port):
                        return line
                line.close()
    raise AssertionError("no such socket")


def reason_of(driver: MakeDriver, host: str, **options: object) -> str:
    with pytest.raises(ConnectionLost) as lost, driver(host, **options):
        pass
    return lost.value.reason


@PLAIN_AND_TLS
def test_a_receiver_may_listen_on_a_unix_socket(
    driver: MakeDriver, authority: Authority, tmp_path: Path, link: str
) -> None:
    """With TLS its certificate is for localhost: a path is no name."""
    tls, option = (authority.server("localhost"), authority.option) if link == "TLS" else (None, None)
    with Scripted(answering(acknowledged), name=str(tmp_path / "socket"), tls=tls) as receiver:
        with driver(receiver.host, ssl=option) as client:
            assert 3 == client.send(numbered(3))
        assert [0, 1, 2] == receiver.ids


def test_a_lost_unix_socket_is_connected_to_again(driver: MakeDriver, tmp_path: Path) -> None:
    with (
        Scripted(answering(closes), answering(acknowledged), name=str(tmp_path / "socket")) as receiver,
        driver(receiver.host) as client,
    ):
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(3))
        assert 3 == client.send(lost.value.unacked)


def test_a_unix_socket_that_is_not_there_is_named(driver: MakeDriver, tmp_path: Path) -> None:
    host = f"unix://{tmp_path}/socket"

    assert f"cannot connect to {host}: no such file or directory" == reason_of(driver, host)


def test_every_address_of_a_name_is_tried(driver: MakeDriver, addresses: Addresses) -> None:
    addresses("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with Scripted(answering(acknowledged)) as receiver, driver(f"{NAME}:{receiver.port}") as client:
        assert 3 == client.send(numbered(3))


def test_an_address_that_does_not_answer_costs_no_more_than_its_own_time(
    driver: MakeDriver, addresses: Addresses
) -> None:
    addresses("127.0.0.2", "127.0.0.1")
    with nobody_answers("127.0.0.2") as port, Scripted(answering(acknowledged), port=port) as receiver:
        with driver(f"{NAME}:{port}", connect_timeout=0.3) as client:
            assert 3 == client.send(numbered(3))
        assert [0, 1, 2] == receiver.ids


def test_an_address_where_tls_fails_is_not_the_last(
    driver: MakeDriver, authority: Authority, stranger: Authority, addresses: Addresses
) -> None:
    addresses("127.0.0.2", "127.0.0.1")
    tls, wrong = authority.server(NAME), stranger.server(NAME)
    with (
        Scripted(answering(acknowledged), tls=tls) as receiver,
        Scripted(answering(acknowledged), tls=wrong, name="127.0.0.2", port=receiver.port) as impostor,
        driver(f"{NAME}:{receiver.port}", ssl=authority.option) as client,
    ):
        assert 3 == client.send(numbered(3))
        assert [] == impostor.windows


def test_addresses_that_fail_alike_have_one_reason(driver: MakeDriver, addresses: Addresses) -> None:
    addresses("127.0.0.2", "127.0.0.3")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"{NAME}:{listener.getsockname()[1]}"

        assert f"cannot connect to {host}: connection refused" == reason_of(driver, host)


def test_addresses_that_fail_differently_have_one_each(driver: MakeDriver, addresses: Addresses) -> None:
    addresses("127.0.0.2", "127.0.0.1")
    with nobody_answers() as port:
        reason = reason_of(driver, f"{NAME}:{port}", connect_timeout=0.2)

    assert f"cannot connect to {NAME}:{port}: connection refused (127.0.0.2), timed out (127.0.0.1)" == reason


def test_a_host_may_be_one_address_of_a_name(authority: Authority) -> None:
    """The certificate is for the name all the same."""
    with Scripted(answering(acknowledged), tls=authority.server(NAME)) as receiver:
        client = Client("nowhere.invalid", ssl=authority.option)
        client.connect(hosts=[Host(NAME, receiver.port, "127.0.0.1")])
        assert 3 == client.send(numbered(3))
        client.close()


def test_hosts_given_to_connect_are_those_that_a_lost_line_is_replaced_with() -> None:
    with Scripted(answering(closes), answering(acknowledged)) as receiver:
        client = Client("nowhere.invalid")
        client.connect(hosts=[Host("127.0.0.1", receiver.port)])
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(3))
        assert 3 == client.send(lost.value.unacked)
        client.close()


def test_connecting_can_be_limited_in_all() -> None:
    with nobody_answers() as port:
        client = Client([f"127.0.0.1:{port}"] * 3, timeout=60)
        with pytest.raises(ConnectionLost, match="timed out"):
            client.connect(at_most=0.2)


def test_the_receiver_sees_the_source_address(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, source_address="127.0.0.5"):
        assert "127.0.0.5" == receiver.accept().address


def test_a_source_address_that_is_not_ours_is_named(driver: MakeDriver) -> None:
    reason = reason_of(driver, "127.0.0.1:1", source_address="203.0.113.9")

    assert "cannot connect to 127.0.0.1:1: cannot connect from 203.0.113.9: " in reason


def test_of_a_name_the_addresses_of_the_sources_family_remain(driver: MakeDriver, addresses: Addresses) -> None:
    addresses("::1", "127.0.0.1")
    with Scripted() as receiver, driver(f"{NAME}:{receiver.port}", source_address="127.0.0.5"):
        assert "127.0.0.5" == receiver.accept().address


def options_of(line: socket.socket) -> list[int]:
    with line:
        return [
            line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
            line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE),
            line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL),
            line.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT),
            line.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT),
        ]


@pytest.mark.skipif(sys.platform != "linux", reason="the names of Linux")
@PLAIN_AND_TLS
def test_the_socket_has_the_options_of_tcp(driver: MakeDriver, authority: Authority, link: str) -> None:
    tls, option = (authority.server(), authority.option) if link == "TLS" else (None, None)
    given = {
        "tcp_keepalive_idle": 20,
        "tcp_keepalive_interval": 4.6,
        "tcp_keepalive_count": 3,
        "tcp_user_timeout": 12.5,
    }
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        with driver(receiver.host, ssl=option, **given):
            assert [1, 1, 20, 5, 3, 12_500] == options_of(client_end(receiver))
        with driver(receiver.host, ssl=option):
            assert [1, 1, 15, 15, 9, 0] == options_of(client_end(receiver))
        with driver(receiver.host, ssl=option, tcp_keepalive_idle=None):
            assert [1, 0] == options_of(client_end(receiver))[:2]


def test_connecting_has_a_time_out_of_its_own(driver: MakeDriver) -> None:
    with nobody_answers() as port:
        assert "timed out" in reason_of(driver, f"127.0.0.1:{port}", connect_timeout=0.3)


def test_the_handshake_has_a_time_out_of_its_own(driver: MakeDriver, authority: Authority) -> None:
    with Scripted(lambda peer: peer.wait_for_end()) as receiver:
        reason = reason_of(driver, receiver.host, ssl=authority.option, handshake_timeout=0.3)

    assert "the TLS handshake timed out" in reason


def test_writing_has_a_time_out_of_its_own(driver: MakeDriver) -> None:
    hold = threading.Event()
    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "write_timeout": 0.3}
    with (
        Scripted(lambda _: hold.wait(), receive_buffer=8 << 10) as receiver,
        driver(receiver.host, **options) as client,
    ):
        with pytest.raises(ConnectionLost, match=r"the peer took no bytes for 0\.3 seconds") as lost:
            client.send([{"id": number, "message": "x" * 1_000_000} for number in range(20)])

        assert list(range(20)) == ids(lost.value.unacked)
        hold.set()


def test_waiting_for_acks_has_a_time_out_of_its_own(driver: MakeDriver) -> None:
    with Scripted(answering(silence)) as receiver, driver(receiver.host, ack_timeout=0.3) as client:
        with pytest.raises(AckTimeout, match=r"the peer was silent for 0\.3 seconds") as lost:
            client.send(numbered(3))

        assert [0, 1, 2] == ids(lost.value.unacked)


def test_a_line_that_was_idle_for_too_long_is_replaced(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host, idle_timeout=0.05) as client:
        assert 3 == client.send(numbered(3))
        receiver.peers[0].closed.wait(0.1)  # its time is up
        assert not receiver.peers[0].closed.is_set()
        assert 3 == client.send(numbered(3, first=3))

        assert [[0, 1, 2], [3, 4, 5]] == [peer.windows[0].ids for peer in receiver.peers]
        assert receiver.peers[0].closed.wait(20)


def test_a_line_that_waits_for_an_ack_is_not_idle(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, idle_timeout=0.05) as client:
        client.post(numbered(3))
        peer = receiver.accept()
        peer.window()
        assert peer.is_quiet(0.1)
        client.post(numbered(3, first=3))
        assert [3, 4, 5] == peer.window().ids


def test_a_line_is_not_idle_before_its_time(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver:
        with driver(receiver.host, idle_timeout=60) as client:
            client.send(numbered(1))
            client.send(numbered(1))
        with driver(receiver.host, idle_timeout=None) as client:
            client.send(numbered(1))
            client.send(numbered(1))
        assert 2 == len(receiver.peers)


@PLAIN_AND_TLS
def test_nothing_ends_the_line_before_the_last_ack(driver: MakeDriver, authority: Authority, link: str) -> None:
    """Receivers that see the end of what they read throw the acks away that they have not sent."""

    def serve(peer: Peer) -> None:
        window = peer.window()
        assert peer.is_quiet(0.1)
        peer.ack(window.count)

    tls, option = (authority.server(), authority.option) if link == "TLS" else (None, None)
    with Scripted(serve, tls=tls) as receiver, driver(receiver.host, ssl=option) as client:
        assert 3 == client.send(numbered(3))


def test_a_disabled_client_does_nothing(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver:
        with driver(receiver.host, enabled=False) as client:
            assert 0 == client.send(numbered(3))
            assert 0 == client.send(event for event in [object()])  # type: ignore[misc] # it is not even looked at
            assert 0 == client.post(numbered(3))
            assert [] == client.read_acks()
            assert 0 == client.wait_ack(at_most=60)
            assert 0 == client.in_flight
            assert client.ack_due is None
        assert [] == receiver.peers


@pytest.mark.parametrize("script", [answering(closes)])
def test_the_reason_of_a_loss_guesses_at_its_cause(driver: MakeDriver, script: Callable[[Peer], None]) -> None:
    with Scripted(script) as receiver, driver(receiver.host, bulk_max_size=20_000) as client:
        with pytest.raises(ConnectionLost, match=r"; perhaps the port wants TLS \(ssl\), or is no Beats port"):
            client.send(numbered(1))
        with pytest.raises(ConnectionLost, match=r"; go-lumber .* 10,000 events, this window had 12,000"):
            client.send(numbered(12_000))
        with pytest.raises(ConnectionLost, match="; 3 lines in a row ended so"):
            client.send(numbered(1))
