"""The `ssl` option: what it becomes, and how it fails at the call."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from beats_core.errors import OptionError
from beats_core.tls import client_context
from support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.mark.parametrize("option", [None, False, {"enabled": False}, {"enabled": False, "key": "/nowhere"}])
def test_without_tls_there_is_no_context(option: Any) -> None:
    assert client_context(option) is None


def verifies(context: ssl.SSLContext | None) -> bool:
    assert context is not None
    assert context.minimum_version >= ssl.TLSVersion.TLSv1_2
    return context.check_hostname and context.verify_mode == ssl.CERT_REQUIRED


@pytest.mark.parametrize("option", [True, {}, {"enabled": True}, {"certificate_authorities": []}])
def test_by_default_the_systems_authorities_are_trusted_and_all_is_verified(option: Any) -> None:
    context = client_context(option)

    assert verifies(context)
    assert context is not None
    assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()


def test_given_authorities_are_trusted_instead_of_the_systems(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    for option, count in (
        (authority.path, 1),
        ([authority.path], 1),
        (Path(authority.path), 1),
        ([Path(authority.path), other.path], 2),
        ((authority.path, other.path), 2),
    ):
        context = client_context({"certificate_authorities": option})
        assert verifies(context)
        assert context is not None
        assert count == len(context.get_ca_certs())


def test_a_context_is_used_as_it_is() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    assert context is client_context(context)


def test_a_certificate_of_the_clients_is_loaded(authority: Authority) -> None:
    option = authority.client("app@example.org")
    assert verifies(client_context(option))
    assert verifies(client_context({**option, "certificate": Path(str(option["certificate"]))}))


def test_certificate_and_key_may_be_one_file(authority: Authority, tmp_path: Path) -> None:
    option = authority.client("app@example.org")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(str(option["key"])).read_bytes() + Path(str(option["certificate"])).read_bytes())

    assert verifies(client_context({"certificate": str(both)}))


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("yes", "ssl"),
        (1, "ssl"),
        (["ca.pem"], "ssl"),
        ({"ca": "ca.pem"}, "ssl.ca"),
        ({"verification_mode": "none"}, "ssl.verification_mode"),
        ({"certificate_authorities": "/nowhere/ca.pem"}, "ssl.certificate_authorities"),
        ({"certificate_authorities": 5}, "ssl.certificate_authorities"),
        ({"certificate_authorities": [5]}, "ssl.certificate_authorities"),
        ({"certificate_authorities": [None]}, "ssl.certificate_authorities"),
        ({"certificate": "/nowhere/app.pem"}, "ssl.certificate"),
        ({"certificate": 5}, "ssl.certificate"),
        ({"key": "/nowhere/app.key"}, "ssl.key"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(option: Any, name: str) -> None:
    with pytest.raises(OptionError) as refused:
        client_context(option)

    assert name == refused.value.option


@pytest.mark.parametrize("text", ["", "nonsense", "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"])
def test_a_file_that_holds_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(text)

    for option in ({"certificate_authorities": [str(path)]}, {"certificate": str(path)}):
        with pytest.raises(OptionError, match=str(path)):
            client_context(option)


def test_one_bad_file_among_good_ones_is_refused(authority: Authority) -> None:
    with pytest.raises(OptionError, match="/nowhere"):
        client_context({"certificate_authorities": [authority.path, "/nowhere"]})


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.client("one@example.org"), authority.client("other@example.org")

    with pytest.raises(OptionError, match="does not load with key"):
        client_context({"certificate": one["certificate"], "key": other["key"]})


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_its_passphrase(
    authority: Authority, tmp_path: Path
) -> None:
    option = authority.client("app@example.org")
    key = serialization.load_pem_private_key(Path(str(option["key"])).read_bytes(), password=None)
    path = tmp_path / "encrypted.key"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"open sesame"),
        )
    )

    with pytest.raises(OptionError, match="does not load with key"):
        client_context({"certificate": option["certificate"], "key": str(path)})
