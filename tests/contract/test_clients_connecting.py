"""How both clients find a receiver: addresses, several hosts, TLS; and that nothing leaves where it should not."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable

import pytest

from beats_core import Client, ConnectionLost
from support.authority import Authority
from support.clients import MakeDriver, ids, numbered
from support.scripted import (
    Answer,
    Gone,
    Peer,
    Scripted,
    ack,
    acknowledged,
    acks,
    after,
    answering,
    closes,
    ends,
    resets,
    silence,
)

SECRET = [{"id": 0, "password": "correct horse battery staple"}]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def enter(driver: MakeDriver, host: str | list[str], **options: object) -> None:
    with driver(host, **options):
        pass


@pytest.mark.parametrize(
    ("address", "written"), [("127.0.0.1", "127.0.0.1:%d"), ("127.0.0.1", "localhost:%d"), ("::1", "[::1]:%d")]
)
def test_receivers_are_reached_by_address_and_name(driver: MakeDriver, address: str, written: str) -> None:
    with Scripted(answering(acknowledged), name=address) as receiver, driver(written % receiver.port) as client:
        assert 3 == client.send(numbered(3))


def test_the_first_host_that_can_be_reached_is_used(driver: MakeDriver) -> None:
    dead = f"127.0.0.1:{unused_port()}"
    with Scripted(answering(acknowledged)) as first, Scripted(answering(acknowledged)) as second:
        with driver([dead, first.host, second.host]) as client:
            assert 3 == client.send(numbered(3))

        assert [0, 1, 2] == first.ids
        assert [] == second.peers


def test_after_a_loss_hosts_are_tried_in_order_again(driver: MakeDriver) -> None:
    with Scripted(answering(closes)) as second, Scripted(answering(closes)) as first:
        with driver([first.host, second.host]) as client:
            with pytest.raises(ConnectionLost):
                client.send(numbered(1))
            first.__exit__(None, None, None)
            with pytest.raises(ConnectionLost):
                client.send(numbered(2))
        assert [0] == first.ids
        assert [0, 1] == second.ids

        with Scripted(answering(acknowledged), port=first.port), driver([first.host, second.host]) as client:
            assert 1 == client.send(numbered(1))
        assert [0, 1] == second.ids


def test_when_no_host_can_be_reached_the_reason_names_each(driver: MakeDriver) -> None:
    dead = [f"127.0.0.1:{unused_port()}", f"[::1]:{unused_port()}"]
    with pytest.raises(ConnectionLost) as lost:
        enter(driver, dead)

    assert 0 == len(lost.value.unacked)
    assert f"cannot connect to {dead[0]}: connection refused; {dead[1]}: connection refused" == str(lost.value)
    assert isinstance(lost.value.__cause__, ConnectionRefusedError)


def test_a_name_that_does_not_resolve_is_a_lost_connection(driver: MakeDriver) -> None:
    with pytest.raises(ConnectionLost, match=r"cannot connect to no-such-host\.invalid:5044: ") as lost:
        enter(driver, "no-such-host.invalid")

    assert isinstance(lost.value.__cause__, OSError)


def test_events_that_find_no_receiver_are_all_unacked(driver: MakeDriver) -> None:
    with Scripted(answering(closes)) as receiver, driver(receiver.host, bulk_max_size=3) as client:
        with pytest.raises(ConnectionLost):
            client.send(numbered(1))
        receiver.__exit__(None, None, None)

        with pytest.raises(ConnectionLost, match="connection refused") as lost:
            client.send(numbered(10))
        assert list(range(10)) == ids(lost.value.unacked)
        with pytest.raises(ConnectionLost, match="connection refused") as lost:
            client.post(numbered(2))
        assert [0, 1] == ids(lost.value.unacked)
        assert 0 == client.in_flight


def test_connecting_takes_no_longer_than_its_timeout(driver: MakeDriver) -> None:
    """A listener whose queue is full answers no one, as a host behind a firewall that drops packets."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        host = "{}:{}".format(*listener.getsockname())
        with socket.create_connection(listener.getsockname()), pytest.raises(ConnectionLost) as lost:
            enter(driver, host, timeout=0.3)

    assert f"cannot connect to {host}: timed out" == str(lost.value)


def test_a_client_sends_small_windows_at_once() -> None:
    with (
        Scripted() as receiver,
        Client(receiver.host) as client,
        socket.socket(fileno=os.dup(client.fileno())) as line,
    ):
        assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "[::1]"])
def test_tls_reaches_a_receiver_whose_authority_is_trusted(driver: MakeDriver, authority: Authority, name: str) -> None:
    address = "::1" if name == "[::1]" else "127.0.0.1"
    with Scripted(answering(acknowledged), name=address, tls=authority.server()) as receiver:
        with driver(f"{name}:{receiver.port}", ssl=authority.option) as client:
            assert 3 == client.send(numbered(3))

        assert [0, 1, 2] == receiver.ids
        assert b"event 0" not in receiver.peers[0].wire


def test_tls_with_a_context_of_the_users_own(driver: MakeDriver, authority: Authority) -> None:
    context = ssl.create_default_context(cafile=authority.path)
    tls = authority.server()
    with Scripted(answering(acknowledged), tls=tls) as receiver, driver(receiver.host, ssl=context) as client:
        assert 3 == client.send(numbered(3))


def test_large_windows_arrive_whole_over_tls(driver: MakeDriver, authority: Authority) -> None:
    events = [{"id": number, "message": f"{number:x}" * 300_000} for number in range(20)]
    options = {"compression_level": 0, "bulk_max_bytes": 64 << 20, "ssl": authority.option}
    with Scripted(answering(acknowledged), tls=authority.server()) as receiver:
        with driver(receiver.host, **options) as client:
            assert 20 == client.send(events)

        assert [events] == [
            [{name: event[name] for name in ("id", "message")} for event in window.events]
            for window in receiver.windows
        ]


@pytest.mark.parametrize("end", [ends, closes, resets])
@pytest.mark.parametrize("acked", [0, 4])
def test_the_end_of_a_tls_line_reports_exactly_the_unacked_tail(
    driver: MakeDriver, authority: Authority, acked: int, end: Answer
) -> None:
    script = answering(after(acks(acked), end))
    options = {"bulk_max_size": 10, "pipelining": 2, "ssl": authority.option}
    with Scripted(script, tls=authority.server()) as receiver, driver(receiver.host, **options) as client:
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(45))

        # asyncio's TLS forgets what it has not decrypted when a write fails: those acks can be missed, and are then
        # sent again. Never the reverse.
        missed = driver is not Client and end is resets and len(lost.value.unacked) == 45
        assert list(range(0 if missed else acked, 45)) == ids(lost.value.unacked)


def test_an_idle_tls_line_that_the_receiver_closed_is_replaced_in_silence(
    driver: MakeDriver, authority: Authority
) -> None:
    def serve_once(peer: Peer) -> None:
        peer.ack(peer.window().count)
        peer.close()

    with (
        Scripted(serve_once, answering(acknowledged), tls=authority.server()) as receiver,
        driver(receiver.host, ssl=authority.option) as client,
    ):
        assert 3 == client.send(numbered(3))
        receiver.peers[0].closed.wait()
        assert 4 == client.send(numbered(4, first=3))


def test_tls_acks_may_arrive_byte_by_byte(driver: MakeDriver, authority: Authority) -> None:
    def serve(peer: Peer) -> None:
        peer.window()
        peer.dribble(ack(0) + ack(3) + ack(10))

    with Scripted(serve, tls=authority.server()) as receiver, driver(receiver.host, ssl=authority.option) as client:
        assert 10 == client.send(numbered(10))


def test_a_tls_receiver_that_takes_no_bytes_is_given_up(driver: MakeDriver, authority: Authority) -> None:
    hold = threading.Event()
    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "timeout": 0.5, "ssl": authority.option}
    with (
        Scripted(lambda _: hold.wait(), tls=authority.server()) as receiver,
        driver(receiver.host, **options) as client,
    ):
        with pytest.raises(ConnectionLost, match=r"the peer took no bytes for 0.5 seconds") as lost:
            client.send([{"id": number, "message": "x" * 1_000_000} for number in range(20)])

        assert list(range(20)) == ids(lost.value.unacked)
        hold.set()


def test_a_tls_receiver_that_takes_no_bytes_but_sends_keep_alives_is_alive(
    driver: MakeDriver, authority: Authority
) -> None:
    pace = threading.Event()

    def serve(peer: Peer) -> None:
        first = peer.window()
        for _ in range(20):
            peer.keep_alive()
            pace.wait(0.05)
        peer.ack(first.count)
        peer.ack(peer.window().count)

    options = {"compression_level": 0, "bulk_max_bytes": 1 << 30, "timeout": 0.5, "ssl": authority.option}
    with Scripted(serve, tls=authority.server()) as receiver, driver(receiver.host, **options) as client:
        client.post([{"id": -1}])
        assert 20 == client.send([{"id": number, "message": "x" * 1_000_000} for number in range(20)])


@pytest.mark.parametrize("trusted", ["another authority", "the system's", "none, by context"])
def test_nothing_is_sent_to_a_receiver_whose_authority_is_not_trusted(
    driver: MakeDriver, authority: Authority, stranger: Authority, trusted: str
) -> None:
    option = {
        "another authority": authority.option,
        "the system's": True,
        "none, by context": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
    }[trusted]
    with (
        Scripted(answering(acknowledged), tls=stranger.server()) as receiver,
        pytest.raises(ConnectionLost, match="the receiver's certificate is not accepted: ") as lost,
    ):
        enter(driver, receiver.host, ssl=option)
    assert isinstance(lost.value.__cause__, ssl.SSLCertVerificationError)
    assert [] == receiver.windows


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_nothing_is_sent_to_a_receiver_of_another_name(driver: MakeDriver, authority: Authority, name: str) -> None:
    with (
        Scripted(answering(acknowledged), tls=authority.server("elsewhere.example")) as receiver,
        pytest.raises(ConnectionLost, match=r"not accepted: it is for elsewhere\.example, not for "),
    ):
        enter(driver, f"{name}:{receiver.port}", ssl=authority.option)
    assert [] == receiver.windows


def test_nothing_is_sent_to_a_receiver_whose_certificate_has_expired(driver: MakeDriver, authority: Authority) -> None:
    with (
        Scripted(answering(acknowledged), tls=authority.server(expired=True)) as receiver,
        pytest.raises(ConnectionLost, match=r"the receiver's certificate is not accepted: .*expired"),
    ):
        enter(driver, receiver.host, ssl=authority.option)
    assert [] == receiver.windows


def answers_in_plain(peer: Peer) -> None:
    peer.take()
    peer.send(ack(0))
    peer.wait_for_end()


def closes_at_once(peer: Peer) -> None:
    peer.take()
    peer.close()
    raise Gone


def resets_at_once(peer: Peer) -> None:
    peer.take()
    peer.reset()
    raise Gone


def is_silent(peer: Peer) -> None:
    peer.wait_for_end()


@pytest.mark.parametrize("plain", [answers_in_plain, closes_at_once, resets_at_once, is_silent])
def test_a_tls_client_tells_a_plain_receiver_nothing(
    driver: MakeDriver, authority: Authority, plain: Callable[[Peer], None]
) -> None:
    with Scripted(plain) as receiver:
        client = driver(receiver.host, ssl=authority.option, timeout=0.5)
        with pytest.raises(ConnectionLost, match="cannot connect to"), client:
            client.send(SECRET)

    assert [True] == [peer.wire.startswith(b"\x16\x03") for peer in receiver.peers]
    assert not any(b"correct horse" in peer.wire or b"2W\0\0" in peer.wire for peer in receiver.peers)


def test_a_plain_client_gets_nowhere_with_a_tls_receiver(driver: MakeDriver, authority: Authority) -> None:
    with Scripted(answering(acknowledged), tls=authority.server()) as receiver, driver(receiver.host) as client:
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(3))

        assert [0, 1, 2] == ids(lost.value.unacked)
    assert [] == receiver.windows


def test_a_receiver_may_want_a_certificate(driver: MakeDriver, authority: Authority) -> None:
    tls, option = authority.server(wants_certificate=True), authority.client()
    with Scripted(answering(acknowledged), tls=tls) as receiver, driver(receiver.host, ssl=option) as client:
        assert 3 == client.send(numbered(3))


def test_without_the_certificate_that_a_receiver_wants_all_is_unacked(driver: MakeDriver, authority: Authority) -> None:
    """With TLS 1.3 the client learns of it after it has connected."""
    tls = authority.server(wants_certificate=True)
    with Scripted(answering(silence), tls=tls) as receiver, driver(receiver.host, ssl=authority.option) as client:
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(3))

        assert [0, 1, 2] == ids(lost.value.unacked)
    assert [] == receiver.windows


def test_a_silent_tls_handshake_is_given_up(driver: MakeDriver, authority: Authority) -> None:
    with Scripted(is_silent) as receiver, pytest.raises(ConnectionLost, match="the TLS handshake timed out"):
        enter(driver, receiver.host, ssl=authority.option, timeout=0.3)
