"""Client and AsyncClient against go-lumber's server over TLS: what is said of it when that does not come about."""

from __future__ import annotations

from typing import Any

import pytest

from beats_core import ConnectionLost
from support.authority import Authority
from support.clients import MakeDriver, ids, numbered
from support.go_lumber import CertificateFiles, GoReceiver


def files_of(option: dict[str, object]) -> CertificateFiles:
    return CertificateFiles(str(option["certificate"]), str(option["key"]))


def complaint(driver: MakeDriver, receiver: GoReceiver, option: Any, name: str = "127.0.0.1") -> str:
    """Return why nothing can be sent, and see to it that nothing was: neither lost nor received."""
    client = driver(f"{name}:{receiver.port}", ssl=option, timeout=10)
    with pytest.raises(ConnectionLost) as lost, client:
        client.send(numbered(3))
    if not lost.value.reason.startswith("cannot connect to "):
        assert [0, 1, 2] == ids(lost.value.unacked)
    assert 0 == receiver.count
    return lost.value.reason


def test_tls(driver: MakeDriver, authority: Authority, server_certificate: CertificateFiles) -> None:
    with (
        GoReceiver(write="ids", certificate=server_certificate) as receiver,
        driver(receiver.host, ssl=authority.option, bulk_max_size=500) as client,
    ):
        assert 10_000 == client.send(numbered(10_000))

        assert list(range(10_000)) == receiver.wait_for(10_000)


def test_mutual_tls(driver: MakeDriver, authority: Authority, server_certificate: CertificateFiles) -> None:
    with (
        GoReceiver(write="ids", certificate=server_certificate, client_authorities=authority.path) as receiver,
        driver(receiver.host, ssl=authority.client("checkout@example.org"), bulk_max_size=500) as client,
    ):
        assert 10_000 == client.send(numbered(10_000))

        assert list(range(10_000)) == receiver.wait_for(10_000)


@pytest.mark.parametrize("only_tls_12", [False, True], ids=["1.3", "1.2"])
def test_without_a_client_certificate(
    driver: MakeDriver, authority: Authority, server_certificate: CertificateFiles, *, only_tls_12: bool
) -> None:
    """TLS 1.3 refuses it only after connecting: at the first read."""
    with GoReceiver(
        certificate=server_certificate, client_authorities=authority.path, only_tls_12=only_tls_12
    ) as receiver:
        assert "client certificate" in complaint(driver, receiver, authority.option)


@pytest.mark.parametrize("only_tls_12", [False, True], ids=["1.3", "1.2"])
def test_a_client_certificate_of_another_authority(
    driver: MakeDriver,
    authority: Authority,
    stranger: Authority,
    server_certificate: CertificateFiles,
    *,
    only_tls_12: bool,
) -> None:
    option = {**stranger.client("stranger@example.org"), **authority.option}
    with GoReceiver(
        certificate=server_certificate, client_authorities=authority.path, only_tls_12=only_tls_12
    ) as receiver:
        said = complaint(driver, receiver, option)

    # After TLS 1.3's handshake the alert can be overtaken by the reset that follows it.
    assert "does not accept our" in said


def test_a_server_of_another_authority(
    driver: MakeDriver, authority: Authority, stranger: Authority, stranger_certificate: CertificateFiles
) -> None:
    with GoReceiver(certificate=stranger_certificate) as receiver:
        said = complaint(driver, receiver, authority.option)

    assert "certificate is not accepted" in said
    assert "authority" in said or "issue" in said


def test_a_server_of_another_name(driver: MakeDriver, authority: Authority) -> None:
    certificate = files_of(authority.client("elsewhere.example.org"))
    with GoReceiver(certificate=certificate) as receiver:
        said = complaint(driver, receiver, authority.option, "localhost")

    assert "elsewhere.example.org" in said
    assert "localhost" in said


def test_a_server_whose_certificate_has_expired(driver: MakeDriver, authority: Authority) -> None:
    certificate = files_of(authority.client("localhost", days=(-3, -1)))
    with GoReceiver(certificate=certificate) as receiver:
        assert "expired" in complaint(driver, receiver, authority.option, "localhost")


def test_a_server_with_tls_12_only(
    driver: MakeDriver, authority: Authority, server_certificate: CertificateFiles
) -> None:
    with GoReceiver(write="ids", certificate=server_certificate, only_tls_12=True) as receiver:
        with driver(receiver.host, ssl=authority.option) as client:
            assert 10 == client.send(numbered(10))
        with driver(receiver.host, ssl={**authority.option, "supported_protocols": ["TLSv1.2"]}) as client:
            assert 10 == client.send(numbered(10))

        assert [*range(10), *range(10)] == receiver.wait_for(20)


def test_no_version_of_tls_in_common(
    driver: MakeDriver, authority: Authority, server_certificate: CertificateFiles
) -> None:
    with GoReceiver(certificate=server_certificate, only_tls_12=True) as receiver:
        said = complaint(driver, receiver, {**authority.option, "supported_protocols": ["TLSv1.3"]})

    assert "version of TLS" in said


def test_tls_to_a_plain_port(driver: MakeDriver, authority: Authority) -> None:
    with GoReceiver() as receiver:
        assert "TLS" in complaint(driver, receiver, authority.option)


def test_plain_to_a_tls_port(driver: MakeDriver, server_certificate: CertificateFiles) -> None:
    with GoReceiver(certificate=server_certificate) as receiver:
        assert "TLS" in complaint(driver, receiver, None)
