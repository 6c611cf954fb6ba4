"""What goes wrong in a handshake, by both drivers: what is said of it, and that nothing but the handshake goes out."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from beats_core import ConnectionLost
from support.authority import Authority
from support.clients import MakeDriver, ids, numbered
from support.scripted import Peer, Scripted, acknowledged, answering

SECRET = [{"message": "correct horse battery staple"}]


def complaint(driver: MakeDriver, receiver: Scripted, option: Any) -> str:
    """Return why nothing can be sent, and see to it that nothing was: neither lost nor received."""
    client = driver(f"localhost:{receiver.port}", ssl=option, timeout=10)
    with pytest.raises(ConnectionLost) as lost, client:
        client.send(numbered(3))
    if not lost.value.reason.startswith("cannot connect to "):
        assert [0, 1, 2] == ids(lost.value.unacked)
    assert [] == receiver.windows
    return lost.value.reason


def limited(context: ssl.SSLContext, version: str) -> ssl.SSLContext:
    context.minimum_version = context.maximum_version = ssl.TLSVersion[version]
    return context


VERSIONS = pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])


@VERSIONS
def test_a_receiver_that_wants_a_certificate_gets_it(driver: MakeDriver, authority: Authority, version: str) -> None:
    option = authority.client()
    tls = limited(authority.server(wants_certificate=True), version)
    texts = {name: Path(str(option[name])).read_text() for name in ("certificate", "key")}
    for given in (option, {**option, **texts}):
        with Scripted(answering(acknowledged), tls=tls) as receiver, driver(receiver.host, ssl=given) as client:
            assert 3 == client.send(numbered(3))
            assert [texts["certificate"]] == [certificate_of(peer) for peer in receiver.peers]


def test_an_encrypted_key_is_as_good(driver: MakeDriver, authority: Authority) -> None:
    option = {**authority.client("locked@example.org", "open sesame"), "key_passphrase": "open sesame"}
    tls = authority.server(wants_certificate=True)
    with Scripted(answering(acknowledged), tls=tls) as receiver, driver(receiver.host, ssl=option) as client:
        assert 3 == client.send(numbered(3))


@VERSIONS
def test_without_a_certificate_a_receiver_that_wants_one_says_so(
    driver: MakeDriver, authority: Authority, version: str
) -> None:
    """With TLS 1.2 in the handshake, with TLS 1.3 when it has been finished."""
    tls = limited(authority.server(wants_certificate=True), version)
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        assert "asks for a client certificate" in complaint(driver, receiver, authority.option)


@VERSIONS
def test_a_certificate_of_an_authority_that_the_receiver_does_not_know_is_named_as_the_reason(
    driver: MakeDriver, authority: Authority, stranger: Authority, version: str
) -> None:
    tls = limited(authority.server(wants_certificate=True), version)
    option = {**stranger.client("stranger@example.org"), **authority.option}
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        said = complaint(driver, receiver, option)

    # After TLS 1.3's handshake the alert can be overtaken by the reset that follows it.
    assert "it does not know the CA that issued it" in said or "does not accept ours" in said


def test_without_a_version_in_common_that_is_said(driver: MakeDriver, authority: Authority) -> None:
    with Scripted(answering(acknowledged), tls=limited(authority.server(), "TLSv1_3")) as receiver:
        said = complaint(driver, receiver, {**authority.option, "supported_protocols": ["TLSv1.2"]})

    assert "no version of TLS in common" in said


def test_without_a_cipher_suite_in_common_that_is_said(driver: MakeDriver, authority: Authority) -> None:
    tls = limited(authority.server(), "TLSv1_2")
    tls.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256")
    suites = ["ECDHE-ECDSA-AES-256-GCM-SHA384", "ECDHE-RSA-AES-256-GCM-SHA384"]
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        said = complaint(driver, receiver, {**authority.option, "cipher_suites": suites})

    assert "no cipher suite in common" in said


def test_the_chosen_version_and_suite_are_spoken(driver: MakeDriver, authority: Authority) -> None:
    chosen = {"supported_protocols": ["TLSv1.2"], "cipher_suites": ["ECDHE-ECDSA-AES-256-GCM-SHA384"]}
    with (
        Scripted(answering(acknowledged), tls=authority.server()) as receiver,
        driver(receiver.host, ssl={**authority.option, **chosen}) as client,
    ):
        client.send(numbered(1))
        (peer,) = receiver.peers
        assert peer.tls is not None
        assert ("ECDHE-ECDSA-AES256-GCM-SHA384", "TLSv1.2", 256) == peer.tls.cipher()


# Plain receivers.


def says_http(peer: Peer) -> None:
    peer.take()
    peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    peer.wait_for_end()


def acks_at_once(peer: Peer) -> None:
    peer.send(b"2A\x00\x00\x00\x01")
    peer.wait_for_end()


def ends_at_once(peer: Peer) -> None:
    peer.take()
    peer.end()
    peer.wait_for_end()


def resets_at_once(peer: Peer) -> None:
    peer.take()
    peer.reset()


def repeats(peer: Peer) -> None:
    peer.take()
    peer.send(bytes(peer.wire))
    peer.wait_for_end()


NO_TLS = "does not speak TLS on this port"
MAYBE_NO_TLS = "perhaps it speaks no TLS on this port"


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (says_http, NO_TLS),
        (acks_at_once, NO_TLS),
        (ends_at_once, MAYBE_NO_TLS),
        (resets_at_once, MAYBE_NO_TLS),
        (repeats, "TLS failed: "),
    ],
)
@pytest.mark.parametrize("changes", ["", "none", "fingerprint", "pin", "certificate"])
def test_a_plain_receiver_is_told_nothing_and_known_for_what_it_is(
    driver: MakeDriver, authority: Authority, script: Callable[[Peer], None], words: str, changes: str
) -> None:
    option = {
        "": authority.option,
        "none": {"verification_mode": "none"},
        "fingerprint": {"ca_trusted_fingerprint": authority.fingerprint},
        "pin": {**authority.option, "ca_sha256": authority.pin},
        "certificate": authority.client(),
    }[changes]
    with Scripted(script) as receiver:
        client = driver(receiver.host, ssl=option, timeout=10)
        with pytest.raises(ConnectionLost) as lost, client:
            client.send(SECRET)

    assert words in lost.value.reason
    assert_nothing_but_handshakes(receiver)


def test_nothing_leaks_while_one_tries_again_and_again(driver: MakeDriver, authority: Authority) -> None:
    with Scripted(says_http, ends_at_once, resets_at_once) as receiver:
        for _ in range(5):
            client = driver(receiver.host, ssl=authority.option, timeout=10)
            with pytest.raises(ConnectionLost), client:
                client.send(SECRET)

    assert 5 == len(receiver.peers)
    assert_nothing_but_handshakes(receiver)


def test_a_receiver_that_is_refused_gets_no_event_even_encrypted(
    driver: MakeDriver, authority: Authority, stranger: Authority
) -> None:
    heard: list[bytes] = []  # deciphered
    for option in (
        {**authority.option, "ca_sha256": stranger.pin},
        {"ca_trusted_fingerprint": stranger.fingerprint},
    ):
        with Scripted(lambda peer: heard.append(peer.wait_for_end()), tls=authority.server()) as receiver:
            client = driver(receiver.host, ssl=option, timeout=10)
            with pytest.raises(ConnectionLost, match="certificate is not accepted"), client:
                client.send(SECRET)
        assert 1 == len(receiver.peers)

    assert not any(heard)


def certificate_of(peer: Peer) -> str:
    assert peer.tls is not None
    return ssl.DER_cert_to_PEM_cert(peer.tls.getpeercert(binary_form=True) or b"")


def assert_nothing_but_handshakes(receiver: Scripted) -> None:
    """Every byte that came is in a TLS record of the handshake, or an alert."""
    assert receiver.peers
    for peer in receiver.peers:
        rest = bytes(peer.wire)
        while rest:
            assert rest[0] in (0x15, 0x16), rest[:16]
            length = int.from_bytes(rest[3:5])
            assert len(rest) >= 5 + length
            assert b"correct horse" not in rest[: 5 + length]
            rest = rest[5 + length :]
