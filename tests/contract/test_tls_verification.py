"""Whom a client trusts, by both drivers with real handshakes, and what it says about those it does not."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from beats_core import ConnectionLost
from support.authority import Authority, Homemade
from support.clients import MakeDriver, numbered
from support.scripted import Scripted, acknowledged, answering

REFUSED = "the receiver's certificate is not accepted: "


@pytest.fixture(scope="module")
def intermediate(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority below the one that is trusted."""
    return Authority(tmp_path_factory.mktemp("intermediate"), below=authority)


def delivers(driver: MakeDriver, tls: ssl.SSLContext, option: Any, name: str = "localhost") -> bool:
    """Tell whether events get through; if not, see to it that nothing was sent, and that it was for the certificate."""
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        try:
            with driver(f"{name}:{receiver.port}", ssl=option, timeout=10) as client:
                return client.send(numbered(3)) == 3
        except ConnectionLost as lost:
            failure = lost
    assert REFUSED in failure.reason
    assert isinstance(failure.__cause__, ssl.SSLCertVerificationError)
    assert [] == receiver.windows
    return False


def refusal(driver: MakeDriver, tls: ssl.SSLContext, option: Any, name: str = "localhost") -> str:
    """Return what the client says of a receiver that it does not trust."""
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        client = driver(f"{name}:{receiver.port}", ssl=option, timeout=10)
        with pytest.raises(ConnectionLost) as lost, client:
            client.send(numbered(3))
    assert [] == receiver.windows
    host, _, why = lost.value.reason.partition(REFUSED)
    assert f"cannot connect to {name}:{receiver.port}: " == host
    return why


@pytest.fixture
def servers(authority: Authority, stranger: Authority, tmp_path: Path) -> dict[str, ssl.SSLContext]:
    """One receiver for each thing that can be wrong."""
    return {
        "right": authority.server(),
        "wrong host": authority.server("elsewhere.example"),
        "common name only": authority.server(common_name="localhost"),
        "expired": authority.server(expired=True),
        "unknown authority": stranger.server(),
        "self-signed": Homemade(tmp_path).server(),
    }


@pytest.mark.parametrize(
    ("mode", "trusted"),
    [
        ("full", {"right", "common name only"}),
        ("strict", {"right"}),
        ("certificate", {"right", "common name only", "wrong host"}),
        ("none", {"right", "common name only", "wrong host", "expired", "unknown authority", "self-signed"}),
    ],
)
def test_a_verification_mode_decides_who_is_trusted(
    driver: MakeDriver, authority: Authority, servers: dict[str, ssl.SSLContext], mode: str, trusted: set[str]
) -> None:
    option = {**authority.option, "verification_mode": mode}

    assert trusted == {name for name, tls in servers.items() if delivers(driver, tls, option)}


def test_a_self_signed_certificate_that_is_named_is_trusted(driver: MakeDriver, tmp_path: Path) -> None:
    own = Homemade(tmp_path)

    assert delivers(driver, own.server(), {"certificate_authorities": own.path})
    assert not delivers(driver, own.server(), {"certificate_authorities": own.path}, name="127.0.0.1")


def test_authorities_may_be_given_as_text(driver: MakeDriver, authority: Authority) -> None:
    assert delivers(driver, authority.server(), {"certificate_authorities": Path(authority.path).read_text()})


def test_an_intermediate_authority_is_trusted_by_its_root_or_by_itself(
    driver: MakeDriver, authority: Authority, intermediate: Authority, stranger: Authority
) -> None:
    assert delivers(driver, intermediate.server(), authority.option)
    assert delivers(driver, intermediate.server(), intermediate.option)
    assert not delivers(driver, intermediate.server(), stranger.option)
    assert not delivers(driver, authority.server(), intermediate.option)


# What is said of a certificate that is not accepted.


def test_of_another_host_it_says_for_which_it_is(driver: MakeDriver, authority: Authority) -> None:
    tls = authority.server("ls1.example.com", "*.logs.example.com", "10.0.0.1")
    names = "it is for ls1.example.com, *.logs.example.com and 10.0.0.1"

    assert f"{names}, not for localhost" == refusal(driver, tls, authority.option)
    assert f"{names}, not for 127.0.0.1" == refusal(driver, tls, authority.option, name="127.0.0.1")
    many = authority.server(*(f"ls{number}.example.com" for number in range(9)))
    assert "ls4.example.com and 4 more, not for localhost" in refusal(driver, many, authority.option)


def test_of_a_common_name_it_says_that_it_does_not_count(driver: MakeDriver, authority: Authority) -> None:
    option = {**authority.option, "verification_mode": "strict"}
    said = refusal(driver, authority.server(common_name="localhost"), option)

    assert "it has no subject alternative name (its common name is 'localhost'), so it is for no host, not for " in said


def test_of_an_expired_one_it_says_when(driver: MakeDriver, authority: Authority) -> None:
    assert refusal(driver, authority.server(expired=True), authority.option).startswith("it expired on 20")


def test_of_one_that_is_not_yet_valid_it_says_from_when(driver: MakeDriver, tmp_path: Path) -> None:
    own = Homemade(tmp_path, days=(2, 9))
    said = refusal(driver, own.server(), {"certificate_authorities": own.path})

    assert said.startswith("it is not valid before 20")
    assert said.endswith(" UTC, or this machine's clock is wrong")


@pytest.mark.parametrize(("days", "why"), [((-9, -2), "expired on 20"), ((2, 9), "is not valid before 20")])
def test_of_an_authority_out_of_date_it_says_which(
    driver: MakeDriver, tmp_path: Path, days: tuple[int, int], why: str
) -> None:
    above = Homemade(tmp_path, "Corp CA", days=days, extensions=[x509.BasicConstraints(ca=True, path_length=None)])
    below = Homemade(tmp_path, by=above)
    said = refusal(driver, below.server(), {"certificate_authorities": above.path})

    assert said.startswith(f"the certificate of its CA 'Corp CA' {why}")


def test_of_all_else_openssl_speaks_for_itself(driver: MakeDriver, tmp_path: Path) -> None:
    for_clients = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    own = Homemade(tmp_path, extensions=[for_clients])

    assert "purpose" in refusal(driver, own.server(), {"certificate_authorities": own.path})


def test_a_damaged_certificate_is_never_trusted_for_its_pin(driver: MakeDriver, tmp_path: Path) -> None:
    """OpenSSL may still have something to say of it, and then does."""
    above = Homemade(tmp_path, "Corp CA", extensions=[x509.BasicConstraints(ca=True, path_length=None)])
    damaged = x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x07\x87\x05\x7f\x00\x00\x01\x02")
    below = Homemade(tmp_path, by=above, extensions=[damaged])
    option = {"certificate_authorities": above.path, "ca_sha256": "A" * 43 + "="}

    assert refusal(driver, below.server(), option).startswith("one of its certificates is damaged: ")
    assert "IP address mismatch" in refusal(driver, below.server(), option, name="127.0.0.1")


def test_of_an_unknown_authority_it_says_which_and_where_to_name_it(
    driver: MakeDriver, authority: Authority, stranger: Authority
) -> None:
    issuer = f"its issuer {stranger.name!r} is not among"

    assert f"{issuer} ssl.certificate_authorities" == refusal(driver, stranger.server(), authority.option)
    system = "the system's authorities; name its CA in ssl.certificate_authorities"
    assert f"{issuer} {system}" == refusal(driver, stranger.server(), True)
    assert f"{issuer} ssl.certificate_authorities" == refusal(
        driver, stranger.server(shows_authority=True), authority.option
    )


def test_of_a_self_signed_one_it_says_so(driver: MakeDriver, authority: Authority, tmp_path: Path) -> None:
    said = refusal(driver, Homemade(tmp_path).server(), authority.option)

    assert "it is signed by itself ('localhost'); if you trust it, name it in ssl.certificate_authorities" == said


def test_with_a_ready_context_openssl_speaks_for_itself(driver: MakeDriver, authority: Authority) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(authority.path)

    assert "Hostname mismatch" in refusal(driver, authority.server("elsewhere.example"), context)
    assert delivers(driver, authority.server(), context)


# Pins.


def test_a_pin_is_of_any_public_key_in_the_verified_chain(
    driver: MakeDriver, authority: Authority, intermediate: Authority, stranger: Authority
) -> None:
    for pins, trusted in (
        (authority.pin, True),
        ([stranger.pin, authority.pin], True),
        (intermediate.pin, True),
        (stranger.pin, False),
    ):
        option = {**authority.option, "ca_sha256": pins}
        assert trusted is delivers(driver, intermediate.server(), option)


def test_a_pin_comes_on_top_of_all_other_checks(driver: MakeDriver, authority: Authority, stranger: Authority) -> None:
    option = {**authority.option, "ca_sha256": stranger.pin}

    assert "elsewhere.example" in refusal(driver, authority.server("elsewhere.example"), option)
    assert "its issuer" in refusal(driver, stranger.server(), option)
    said = refusal(driver, authority.server(), option)
    assert said.startswith("no certificate of its chain has a public key of ssl.ca_sha256; its CA ")
    assert said.endswith(f"{authority.name!r} has {authority.pin}")


@pytest.mark.parametrize("mode", ["full", "strict", "certificate"])
def test_a_pin_counts_in_every_mode_that_verifies(
    driver: MakeDriver, authority: Authority, stranger: Authority, mode: str
) -> None:
    option = {**authority.option, "verification_mode": mode}

    assert delivers(driver, authority.server(), {**option, "ca_sha256": authority.pin})
    assert not delivers(driver, authority.server(), {**option, "ca_sha256": stranger.pin})


# The fingerprint of an authority that the receiver shows.


def test_a_trusted_fingerprint_makes_the_authority_trusted(driver: MakeDriver, authority: Authority) -> None:
    option = {"ca_trusted_fingerprint": authority.fingerprint}

    assert delivers(driver, authority.server(shows_authority=True), option)
    assert "it is for elsewhere.example, not for localhost" == refusal(
        driver, authority.server("elsewhere.example", shows_authority=True), option
    )
    assert "expired" in refusal(driver, authority.server(expired=True, shows_authority=True), option)


def test_the_authority_is_learnt_once(driver: MakeDriver, authority: Authority) -> None:
    tls = authority.server(shows_authority=True)
    option = {"ca_trusted_fingerprint": authority.fingerprint}
    with Scripted(answering(acknowledged), tls=tls) as receiver, driver(receiver.host, ssl=option) as client:
        assert 1 == client.send(numbered(1))
        assert [0, 1] == [len(peer.windows) for peer in receiver.peers], "one line to look, one to send"
        client.close()
        client.connect()
        assert 1 == client.send(numbered(1, first=1))
        assert [0, 1, 1] == [len(peer.windows) for peer in receiver.peers]
    assert [0, 1] == receiver.ids


def test_once_learnt_nobody_else_is_trusted(driver: MakeDriver, authority: Authority, stranger: Authority) -> None:
    with (
        Scripted(answering(acknowledged), tls=authority.server(shows_authority=True)) as receiver,
        driver(f"localhost:{receiver.port}", ssl={"ca_trusted_fingerprint": authority.fingerprint}) as client,
    ):
        assert 1 == client.send(numbered(1))
        client.close()
        receiver.tls = stranger.server(shows_authority=True)
        with pytest.raises(ConnectionLost, match=r"is not among the CA of ssl\.ca_trusted_fingerprint"):
            client.connect()
    assert [0] == receiver.ids


def test_an_intermediate_authority_may_be_the_trusted_one(driver: MakeDriver, intermediate: Authority) -> None:
    assert delivers(driver, intermediate.server(), {"ca_trusted_fingerprint": intermediate.fingerprint})


def test_a_receiver_that_shows_its_own_certificate_only_is_told_to_show_more(
    driver: MakeDriver, authority: Authority
) -> None:
    said = refusal(driver, authority.server(), {"ca_trusted_fingerprint": authority.fingerprint})

    assert said.startswith("the receiver sends only its own certificate, ssl.ca_trusted_fingerprint needs its CA's")
    assert f"let it send the CA {authority.name!r}" in said


def test_another_authority_than_the_trusted_one_is_refused_with_its_fingerprint(
    driver: MakeDriver, authority: Authority, stranger: Authority
) -> None:
    option = {"ca_trusted_fingerprint": authority.fingerprint}
    said = refusal(driver, stranger.server(shows_authority=True), option)

    assert f"{stranger.name!r} has {stranger.fingerprint}" in said


def test_a_fingerprint_of_what_is_no_authority_is_refused(driver: MakeDriver, tmp_path: Path) -> None:
    own = Homemade(tmp_path)
    said = refusal(driver, own.server(), {"ca_trusted_fingerprint": hashlib.sha256(own.der).hexdigest()})

    assert "ssl.ca_trusted_fingerprint is that of 'localhost', which is no CA" == said


def test_named_authorities_count_beside_the_fingerprint(
    driver: MakeDriver, authority: Authority, stranger: Authority
) -> None:
    option = {**stranger.option, "ca_trusted_fingerprint": authority.fingerprint}

    assert delivers(driver, stranger.server(), option)
    assert delivers(driver, authority.server(shows_authority=True), option)
    assert not delivers(driver, authority.server(), option)


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_looking_at_a_receiver_that_wants_a_certificate_works(
    driver: MakeDriver, authority: Authority, version: str
) -> None:
    tls = authority.server(wants_certificate=True, shows_authority=True)
    mine = authority.client()
    del mine["certificate_authorities"]
    option = {**mine, "ca_trusted_fingerprint": authority.fingerprint, "supported_protocols": [version]}

    assert delivers(driver, tls, option)


def test_fingerprint_and_pin_may_be_asked_for_together(
    driver: MakeDriver, authority: Authority, stranger: Authority
) -> None:
    tls = authority.server(shows_authority=True)
    option = {"ca_trusted_fingerprint": authority.fingerprint}

    assert delivers(driver, tls, {**option, "ca_sha256": authority.pin})
    assert not delivers(driver, tls, {**option, "ca_sha256": stranger.pin})
