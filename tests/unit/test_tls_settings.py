"""The `ssl` option: what it becomes, and how it fails at the call."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest

from beats_core.errors import OptionError
from beats_core.tls import Tls
from support.authority import Authority

FINGERPRINT = "ab" * 32
PIN = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="


def context_of(option: Any) -> ssl.SSLContext:
    tls = Tls.from_option(option)
    assert tls is not None
    return tls.context()


def refusal(option: Any) -> OptionError:
    with pytest.raises(OptionError) as refused:
        Tls.from_option(option)
    return refused.value


@pytest.mark.parametrize(
    "option",
    [
        None,
        False,
        {"enabled": False},
        {"enabled": "false"},
        {"enabled": False, "key": "/nowhere", "curve_types": ["x"]},
    ],
)
def test_without_tls_there_is_nothing(option: Any) -> None:
    assert Tls.from_option(option) is None


@pytest.mark.parametrize(
    "option",
    [
        True,
        {},
        {"enabled": True},
        {"enabled": "True"},
        {"certificate_authorities": []},
        {"certificate": "", "key": None},
    ],
)
def test_by_default_the_systems_authorities_are_trusted_and_all_is_verified(option: Any) -> None:
    context = context_of(option)

    assert (True, ssl.CERT_REQUIRED) == (context.check_hostname, context.verify_mode)
    assert context.get_ca_certs() == ssl.create_default_context().get_ca_certs()


def test_a_context_is_used_as_it_is() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    assert context is context_of(context)


@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("yes", "ssl"),
        (1, "ssl"),
        (["ca.pem"], "ssl"),
        ({"ca": "ca.pem"}, "ssl.ca"),
        ({"enabled": "perhaps"}, "ssl.enabled"),
        ({"enabled": 1}, "ssl.enabled"),
        ({"certificate_authorities": 5}, "ssl.certificate_authorities"),
        ({"certificate_authorities": [None]}, "ssl.certificate_authorities"),
        ({"certificate": 5}, "ssl.certificate"),
        ({"key": "/nowhere/app.key"}, "ssl.key"),
        ({"key_passphrase": 5}, "ssl.key_passphrase"),
        ({"verification_mode": "off"}, "ssl.verification_mode"),
        ({"verification_mode": False}, "ssl.verification_mode"),
        ({"certificate_reload": "sometimes"}, "ssl.certificate_reload"),
        ({"certificate_reload": {"often": True}}, "ssl.certificate_reload.often"),
        ({"certificate_reload": {"enabled": "x"}}, "ssl.certificate_reload.enabled"),
    ],
)
def test_an_option_that_cannot_be_is_refused_by_name(option: Any, name: str) -> None:
    assert name == refusal(option).option


@pytest.mark.parametrize(
    ("mode", "names", "common_name", "chain"),
    [
        ("full", True, True, ssl.CERT_REQUIRED),
        ("FULL", True, True, ssl.CERT_REQUIRED),
        ("strict", True, False, ssl.CERT_REQUIRED),
        ("certificate", False, True, ssl.CERT_REQUIRED),
        ("none", False, True, ssl.CERT_NONE),
    ],
)
def test_a_verification_mode_is_what_filebeat_means_by_it(
    mode: str, *, names: bool, common_name: bool, chain: ssl.VerifyMode
) -> None:
    context = context_of({"verification_mode": mode})

    assert (names, common_name, chain) == (
        context.check_hostname,
        context.hostname_checks_common_name,
        context.verify_mode,
    )


def test_the_strict_checks_that_python_3_13_has_by_default_are_off(authority: Authority) -> None:
    """They refuse authorities that are common in companies."""
    assert not context_of(authority.option).verify_flags & ssl.VERIFY_X509_STRICT


@pytest.mark.parametrize(
    ("protocols", "lowest", "highest"),
    [
        ([], "TLSv1_2", "MAXIMUM_SUPPORTED"),
        (["TLSv1.2", "TLSv1.3"], "TLSv1_2", "TLSv1_3"),
        (["TLSv1.3", "TLSv1.2"], "TLSv1_2", "TLSv1_3"),
        (["TLSv1.2"], "TLSv1_2", "TLSv1_2"),
        ("TLSv1.3", "TLSv1_3", "TLSv1_3"),
    ],
)
def test_versions_of_tls_are_limited(protocols: Any, lowest: str, highest: str) -> None:
    context = context_of({"supported_protocols": protocols})

    assert (ssl.TLSVersion[lowest], ssl.TLSVersion[highest]) == (context.minimum_version, context.maximum_version)


@pytest.mark.parametrize("name", ["SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1"])
def test_versions_that_are_broken_are_refused_and_why(name: str) -> None:
    error = refusal({"supported_protocols": ["TLSv1.2", name]})

    assert ("ssl.supported_protocols", name) == (error.option, error.value)
    assert "is broken" in str(error)


@pytest.mark.parametrize("name", ["TLSv1.4", "tls", 1.2, None])
def test_versions_that_do_not_exist_are_refused(name: Any) -> None:
    assert "ssl.supported_protocols" == refusal({"supported_protocols": [name]}).option


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        ("ECDHE-RSA-AES-128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
        ("ECDHE-ECDSA-AES-256-CBC-SHA", "ECDHE-ECDSA-AES256-SHA"),
        ("ECDHE-RSA-AES-128-CBC-SHA256", "ECDHE-RSA-AES128-SHA256"),
        ("RSA-AES-256-GCM-SHA384", "AES256-GCM-SHA384"),
        ("RSA-AES-128-CBC-SHA", "AES128-SHA"),
        ("ECDHE-RSA-CHACHA20-POLY1205", "ECDHE-RSA-CHACHA20-POLY1305"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
        ("ecdhe-rsa-aes256-gcm-sha384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ],
)
def test_cipher_suites_have_filebeats_names_and_openssls(given: str, chosen: str) -> None:
    for option in (given, [given]):
        ciphers = context_of({"cipher_suites": option}).get_ciphers()
        assert [chosen] == [cipher["name"] for cipher in ciphers if cipher["protocol"] != "TLSv1.3"]


def test_several_cipher_suites_keep_their_order() -> None:
    names = ["ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-AES128-GCM-SHA256"]
    ciphers = context_of({"cipher_suites": names}).get_ciphers()

    assert names == [cipher["name"] for cipher in ciphers if cipher["protocol"] != "TLSv1.3"]


@pytest.mark.parametrize("name", ["TLS-AES-128-GCM-SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"])
def test_suites_of_tls_1_3_are_refused_because_python_cannot_choose_among_them(name: str) -> None:
    assert "Python cannot choose" in str(refusal({"cipher_suites": ["ECDHE-RSA-AES-128-GCM-SHA256", name]}))


@pytest.mark.parametrize("name", ["ECDHE-RSA-RC4-128-SHA", "RSA-3DES-CBC3-SHA", "nonsense", "HIGH:!aNULL", "a\0b", 5])
def test_suites_that_openssl_does_not_have_are_refused_one_by_one(name: Any) -> None:
    error = refusal({"cipher_suites": ["ECDHE-RSA-AES-128-GCM-SHA256", name]})

    assert ("ssl.cipher_suites", name) == (error.option, error.value)


@pytest.mark.parametrize("pin", ["", "ab" * 32, PIN[:-1], PIN[4:], 5, b"x", f"sha256//{PIN}"])
def test_a_pin_is_the_base64_of_a_digest(pin: Any) -> None:
    assert Tls.from_option({"ca_sha256": PIN})
    error = refusal({"ca_sha256": [PIN, pin]})
    assert ("ssl.ca_sha256", pin) == (error.option, error.value)


@pytest.mark.parametrize("text", [FINGERPRINT, FINGERPRINT.upper(), ":".join(["AB"] * 32)])
def test_a_fingerprint_is_read_in_the_notations_that_tools_write(text: str) -> None:
    tls = Tls.from_option({"ca_trusted_fingerprint": text})
    assert tls is not None
    assert tls.probe_context() is not None


@pytest.mark.parametrize("text", ["ab", FINGERPRINT + "ab", "xy" * 32, PIN, 5])
def test_what_is_no_fingerprint_is_refused(text: Any) -> None:
    assert "ssl.ca_trusted_fingerprint" == refusal({"ca_trusted_fingerprint": text}).option


@pytest.mark.parametrize("name", ["ca_sha256", "ca_trusted_fingerprint"])
def test_checking_an_authority_while_checking_nothing_is_refused(name: str) -> None:
    values = {"ca_sha256": PIN, "ca_trusted_fingerprint": FINGERPRINT}
    error = refusal({"verification_mode": "none", name: values[name]})

    assert f"ssl.{name}" == error.option


def test_renegotiation_never_happens_and_nothing_else_may_be_asked_for() -> None:
    context = context_of({"renegotiation": "never"})

    assert context.options & ssl.OP_NO_RENEGOTIATION
    for other in ("once", "freely"):
        assert "ssl.renegotiation" == refusal({"renegotiation": other}).option


def test_curves_cannot_be_chosen_and_that_is_said() -> None:
    assert "Python cannot choose curves" in str(refusal({"curve_types": ["P-256"]}))


@pytest.mark.parametrize(
    "option",
    [
        {"certificate_reload": {"enabled": True, "reload_interval": "5s"}},
        {"certificate_reload.reload_interval": "5s"},
        {"restart_on_cert_change": {"enabled": True, "period": "1m"}},
    ],
)
def test_options_that_have_nothing_to_do_here_are_ignored_with_a_warning(
    option: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert Tls.from_option(option)

    assert {"is ignored: files are looked at before each connection"} == {
        record.getMessage().partition(" ")[2] for record in caplog.records
    }


def test_modes_that_verify_less_are_warned_of_once_in_a_process(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beats_core.tls._warned", set())
    for mode in ("full", "strict", "none", "certificate", "none", "certificate"):
        Tls.from_option({"verification_mode": mode})

    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert ["none", "certificate"] == [record.getMessage().partition("=")[2].partition(":")[0] for record in warnings]
