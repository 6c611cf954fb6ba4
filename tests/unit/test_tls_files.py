"""The files and texts of the `ssl` option: what is read, and how it fails at the call."""

from __future__ import annotations

import os
import ssl
import stat
from pathlib import Path
from typing import Any

import pytest

from beats_core.errors import OptionError
from beats_core.tls import Tls
from support.authority import Authority, Homemade, encrypted


def context_of(option: Any) -> ssl.SSLContext:
    tls = Tls.from_option(option)
    assert tls is not None
    return tls.context()


def loads(option: Any) -> bool:
    return bool(context_of(option).get_ciphers())


def refusal(option: Any) -> OptionError:
    with pytest.raises(OptionError) as refused:
        Tls.from_option(option)
    return refused.value


def test_given_authorities_are_trusted_instead_of_the_systems(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    text = Path(authority.path).read_text()
    for option, count in (
        (authority.path, 1),
        ([authority.path], 1),
        (Path(authority.path), 1),
        ([Path(authority.path), other.path], 2),
        ((authority.path, other.path), 2),
        (text, 1),
        ([text, other.path], 2),
        (text + Path(other.path).read_text(), 2),
        (text.replace("\n", "\\n"), 1),
    ):
        assert count == len(context_of({"certificate_authorities": option}).get_ca_certs())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("\n", "is empty"),
        ("nonsense", "has no certificate in it (-----BEGIN CERTIFICATE-----), but no PEM text"),
        ("-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n", "but a RSA PRIVATE KEY"),
        ("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n", "is damaged"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n", "is damaged"),
    ],
)
def test_a_file_that_holds_no_certificate_is_refused_and_told_what_it_holds(
    tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(text)

    for name, value in (("certificate_authorities", [str(path)]), ("certificate", str(path))):
        error = refusal({name: value})
        assert (f"ssl.{name}", str(path)) == (error.option, error.value)
        assert why in error.allowed


@pytest.mark.parametrize(
    ("path", "why"),
    [("/nowhere/ca.pem", "No such file or directory"), ("/", "Is a directory"), ("a\0b", "null")],
)
def test_what_is_no_file_is_refused(path: str, why: str) -> None:
    for name in ("certificate_authorities", "certificate"):
        error = refusal({name: path})
        assert (f"ssl.{name}", path) == (error.option, error.value)
        assert why in error.allowed


def test_a_file_that_may_not_be_read_is_refused(authority: Authority, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_bytes(Path(authority.path).read_bytes())
    path.chmod(0)
    myself = os.geteuid()
    if not myself:
        os.seteuid(65_534)  # root may read everything
    try:
        error = refusal({"certificate_authorities": str(path)})
    finally:
        os.seteuid(myself)

    assert "Permission denied" in error.allowed


def test_a_certificate_that_openssl_does_not_take_is_refused(tmp_path: Path) -> None:
    whole = bytearray(Homemade(tmp_path).der)
    signature = whole.rindex(b"\x03", 0, -64)  # of the elements, the last one is the signature's bit string
    whole[signature] = 0x04
    text = ssl.DER_cert_to_PEM_cert(bytes(whole))

    assert "OpenSSL does not take the certificate of 'localhost'" == refusal({"certificate_authorities": text}).allowed


def test_one_bad_file_among_good_ones_is_refused(authority: Authority) -> None:
    assert "/nowhere" == refusal({"certificate_authorities": [authority.path, "/nowhere"]}).value


def test_certificate_and_key_may_be_files_or_text_or_one_of_each(authority: Authority) -> None:
    option = authority.client("app@example.org")
    paths = [Path(str(option[name])) for name in ("certificate", "key")]
    certificates = [str(paths[0]), paths[0], paths[0].read_text()]
    keys = [str(paths[1]), paths[1], paths[1].read_text(), paths[1].read_text().replace("\n", "\\n")]
    for certificate in certificates:
        for key in keys:
            assert loads({"certificate": certificate, "key": key})


def test_text_is_never_left_in_a_file(authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are no anonymous files, there is one for a moment, for its owner only."""
    option = authority.client("app@example.org")
    texts = {name: Path(str(option[name])).read_text() for name in ("certificate", "key")}
    monkeypatch.delattr("os.memfd_create", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    modes: list[int] = []
    load = ssl.SSLContext.load_cert_chain

    def look_and_load(self: ssl.SSLContext, *arguments: Any) -> None:
        modes.extend(stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir())
        load(self, *arguments)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", look_and_load)
    context_of(texts)

    assert [0o600, 0o600] == modes
    assert [] == list(tmp_path.iterdir())


def test_certificate_and_key_may_be_one_file(authority: Authority, tmp_path: Path) -> None:
    option = authority.client("app@example.org")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(str(option["key"])).read_bytes() + Path(str(option["certificate"])).read_bytes())

    assert loads({"certificate": str(both)})


def test_a_key_needs_a_certificate_and_a_certificate_a_key(authority: Authority) -> None:
    option = authority.client("app@example.org")

    assert "ssl.key" == refusal({"key": option["key"]}).option
    error = refusal({"certificate": option["certificate"]})
    assert "ssl.certificate" == error.option
    assert "name its file in ssl.key" in error.allowed


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    one, other = authority.client("one@example.org"), authority.client("other@example.org")

    error = refusal({"certificate": one["certificate"], "key": other["key"]})

    assert ("ssl.key", other["key"]) == (error.option, error.value)
    assert f"is the key of another certificate than {one['certificate']}" == error.allowed


def test_a_key_that_is_none_is_refused(authority: Authority, tmp_path: Path) -> None:
    option = authority.client("app@example.org")
    damaged = tmp_path / "damaged.key"
    damaged.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    for key, why in (
        (option["certificate"], "has no private key in it (-----BEGIN PRIVATE KEY-----), but a CERTIFICATE"),
        (str(damaged), "does not load with"),
        ("/nowhere", "No such file"),
    ):
        error = refusal({**option, "key": key})
        assert ("ssl.key", key) == (error.option, error.value)
        assert why in error.allowed


def test_no_error_shows_a_key_or_a_passphrase(authority: Authority, tmp_path: Path) -> None:
    option = authority.client("app@example.org", "open sesame")
    other = Path(str(authority.client("other@example.org")["key"])).read_text()
    for changed in ({"key": other}, {"key": other[:100]}, {"key_passphrase": "hush"}):
        error = refusal({**option, **changed})
        for shown in (str(error), repr(error), repr(error.value)):
            assert other[40:60] not in shown
            assert "hush" not in shown


@pytest.mark.parametrize("traditional", [False, True], ids=["PKCS 8", "traditional"])
@pytest.mark.parametrize("passphrase", ["open sesame", "Öffne dich"])
def test_an_encrypted_key_is_opened_with_its_passphrase(
    authority: Authority, tmp_path: Path, passphrase: str, *, traditional: bool
) -> None:
    option = authority.client("app@example.org")
    key, file = tmp_path / "app.key", tmp_path / "passphrase"
    key.write_bytes(encrypted(Path(str(option["key"])).read_bytes(), passphrase, traditional=traditional))
    for ending in ("", "\n", "\r\n"):
        file.write_bytes((passphrase + ending).encode())
        for given in (
            {"key": str(key), "key_passphrase": passphrase},
            {"key": str(key), "key_passphrase_path": str(file)},
            {"key": key.read_text(), "key_passphrase": passphrase, "key_passphrase_path": "/nowhere"},
        ):
            assert loads({**option, **given})


def test_without_or_with_a_wrong_passphrase_nobody_is_asked_for_it(authority: Authority, tmp_path: Path) -> None:
    option = authority.client("app@example.org", "open sesame")
    binary = tmp_path / "passphrase"
    binary.write_bytes(b"\xff\xfe")
    for given, name, why in (
        ({}, "key_passphrase", "ssl.key is encrypted: its passphrase is needed"),
        ({"key_passphrase": "wrong"}, "key_passphrase", f"does not open {option['key']}"),
        ({"key_passphrase": "x" * 5000}, "key_passphrase", f"does not open {option['key']}"),
        ({"key_passphrase_path": "/nowhere"}, "key_passphrase_path", "No such file"),
        ({"key_passphrase_path": str(binary)}, "key_passphrase_path", "no text in UTF-8"),
    ):
        error = refusal({**option, **given})
        assert f"ssl.{name}" == error.option
        assert why in error.allowed


@pytest.mark.parametrize(
    ("days", "warning"), [((-9, -2), "expired on"), ((2, 9), "is not valid before"), ((-2, 9), None)]
)
def test_a_certificate_of_ours_that_no_receiver_will_take_is_warned_of(
    authority: Authority, caplog: pytest.LogCaptureFixture, days: tuple[int, int], warning: str | None
) -> None:
    option = authority.client("dates@example.org", days=days)

    assert loads(option)

    assert [f"ssl.certificate: {option['certificate']} {warning}"] * bool(warning) == [
        record.getMessage().rpartition(" 20")[0] for record in caplog.records
    ]
