"""What environment, URL and mapping say about TLS; and that no slip turns it off."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import OptionError
from beats_core.option_sources import variable_of
from beats_core.options import Options
from support.authority import Authority


@pytest.fixture(scope="module")
def parts(authority: Authority) -> dict[str, tuple[str, object]]:
    """Each part of `ssl`, as text and as the value it says."""
    client = authority.client("parts@example.org", passphrase="open sesame")
    passphrase = Path(authority.path).with_name("passphrase")
    passphrase.write_text("open sesame\n")
    return {
        "enabled": ("yes", True),
        "certificate_authorities": (f"{authority.path}, {authority.path}", [authority.path, authority.path]),
        "certificate": (str(client["certificate"]), client["certificate"]),
        "key": (str(client["key"]), client["key"]),
        "key_passphrase": ("open sesame", "open sesame"),
        "key_passphrase_path": (str(passphrase), str(passphrase)),
        "verification_mode": ("certificate", "certificate"),
        "supported_protocols": ("TLSv1.2,TLSv1.3", ["TLSv1.2", "TLSv1.3"]),
        "cipher_suites": (
            "ECDHE-RSA-AES-256-GCM-SHA384, ECDHE-RSA-AES-128-GCM-SHA256",
            ["ECDHE-RSA-AES-256-GCM-SHA384", "ECDHE-RSA-AES-128-GCM-SHA256"],
        ),
        "ca_sha256": (f"{authority.pin},{authority.pin}", [authority.pin, authority.pin]),
        "ca_trusted_fingerprint": (authority.fingerprint, authority.fingerprint),
    }


def in_url(parts: Mapping[str, tuple[str, object]]) -> str:
    return "&".join(f"ssl.{part}={text.replace('%', '%25').replace('&', '%26')}" for part, (text, _) in parts.items())


def test_every_part_can_be_set_by_every_source(parts: dict[str, tuple[str, object]]) -> None:
    values = {part: value for part, (_, value) in parts.items()}
    variables = {variable_of(f"ssl.{part}"): text for part, (text, _) in parts.items()}

    assert values == Options.from_env(variables).ssl
    assert values == Options.from_env({"BEATS_URL": f"beats+tls://a?{in_url(parts)}"}).ssl
    assert values == Options.from_url(f"beats+tls://a?{in_url(parts)}").ssl
    assert values == Options.from_mapping({"ssl": values}).ssl
    assert values == Options.from_mapping({f"ssl.{part}": value for part, value in values.items()}).ssl


def test_tls_is_one_option_of_each_layer(authority: Authority) -> None:
    mapping = {"ssl": {**authority.option, "verification_mode": "certificate"}}
    environ = {"BEATS_SSL_CERTIFICATE_AUTHORITIES": authority.path}

    assert authority.option == Options.load(mapping, environ).ssl
    assert Options.load(mapping, environ, ssl=True).ssl is True
    assert Options.load(mapping, environ, ssl=False).ssl is False
    assert Options.load(mapping, {"BEATS_SSL": "off"}).ssl is False
    assert mapping["ssl"] == Options.load(mapping, {}).ssl


def test_none_is_no_word_against_tls() -> None:
    environ = {"BEATS_SSL_VERIFICATION_MODE": "strict"}

    assert Options.load({"ssl": True}, {}, ssl=None).ssl is True
    assert {"verification_mode": "strict"} == Options.load({}, environ, ssl=None).ssl
    assert Options.from_url("beats+tls://a", ssl=None).ssl is True
    assert Options.from_url("beats+tls://a", ssl=False).ssl is False


def test_a_variable_of_its_own_counts_more_than_the_url(authority: Authority) -> None:
    plain, tls = {"BEATS_URL": "beats://a"}, {"BEATS_URL": "beats+tls://a?ssl.verification_mode=certificate"}
    authorities = {"BEATS_SSL_CERTIFICATE_AUTHORITIES": authority.path}

    assert authority.option == Options.from_env({**plain, **authorities}).ssl
    assert {**authority.option, "verification_mode": "certificate"} == Options.from_env({**tls, **authorities}).ssl
    assert {"verification_mode": "strict"} == Options.from_env({**tls, "BEATS_SSL_VERIFICATION_MODE": "strict"}).ssl
    assert Options.from_env({**plain, "BEATS_SSL": "true"}).ssl is True
    assert Options.from_env({**tls, "BEATS_SSL": "false"}).ssl is False
    assert {"verification_mode": "certificate"} == Options.from_env({**tls, "BEATS_SSL": "true"}).ssl


def test_the_switch_counts_more_than_the_parts(authority: Authority) -> None:
    authorities = {"BEATS_SSL_CERTIFICATE_AUTHORITIES": authority.path}

    assert Options.from_env({**authorities, "BEATS_SSL": "no"}).tls is None
    assert Options.from_env({**authorities, "BEATS_SSL": "yes"}).ssl == authority.option
    assert Options.from_env({**authorities, "BEATS_SSL_ENABLED": "no"}).tls is None
    assert Options.from_env({**authorities, "BEATS_SSL_ENABLED": "no", "BEATS_SSL": "yes"}).ssl == authority.option


def test_a_url_without_tls_turns_none_off() -> None:
    assert Options.load({"ssl": True}, {"BEATS_URL": "beats://a"}).tls is not None
    assert Options.load({"ssl": True}, {"BEATS_URL": "beats://a", "BEATS_SSL": "false"}).tls is None
    assert Options.load({"ssl": True}, {"BEATS_HOSTS": "a"}).tls is not None
    assert Options.load({"ssl": True}, {"BEATS_URL": "beats+unix:///a", "BEATS_HOSTS": "b"}).tls is not None
    assert Options.load({"ssl": True}, {"BEATS_URL": "beats+unix:///a"}, hosts="b").tls is not None


@pytest.mark.parametrize("parameter", ["ssl=false", "ssl.enabled=false"])
def test_a_url_for_tls_does_not_turn_it_off(parameter: str) -> None:
    url = f"beats+tls://a?{parameter}"

    assert Options.from_env({"BEATS_URL": url}).tls is not None
    with pytest.raises(OptionError, match=r"url='beats\+tls://a.*': beats\+tls:// is for TLS"):
        Options.from_url(url)


def test_tls_beside_filebeats_section_is_not_passed_over() -> None:
    section = {"output.logstash": {"hosts": ["a"]}}

    for beside in ({"ssl": {"ca_sha256": ["x"]}}, {"ssl.enabled": True}, {"ssl": True}):
        with pytest.raises(OptionError, match=r"ssl.*: belongs into output\.logstash"):
            Options.from_mapping({**section, **beside})


def test_pem_text_may_stand_in_a_variable(authority: Authority) -> None:
    client = authority.client("inline@example.org")
    texts = {part: Path(str(client[part])).read_text() for part in ("certificate", "key")}
    authorities = f"Subject: C=DE, O=Our CA\n{Path(authority.path).read_text()}"
    environ = {
        "BEATS_SSL_CERTIFICATE_AUTHORITIES": authorities,
        "BEATS_SSL_CERTIFICATE": texts["certificate"],
        "BEATS_SSL_KEY": texts["key"],
    }

    options = Options.from_env(environ)
    assert options.tls is not None
    assert 1 == len(options.tls.context().get_ca_certs())


# Slips


@pytest.mark.parametrize(
    ("environ", "ssl", "warning"),
    [
        ({"BEATS_SSL": "maybe"}, True, "BEATS_SSL='maybe': .*; TLS is on"),
        ({"BEATS_TLS": "true"}, True, r"BEATS_TLS='true': .*; did you mean BEATS_SSL\?; TLS is on"),
        ({"BEATS_SSL_ENABLED": "maybe"}, True, "BEATS_SSL_ENABLED='maybe': true or false; TLS is on"),
        ({"BEATS_SSL": "maybe", "BEATS_SSL_ENABLED": "false"}, {}, "BEATS_SSL='maybe': .*; TLS is on"),
        ({"BEATS_URL": "beats+tsl://a"}, True, r"BEATS_URL='beats\+tsl://a': .*; it is ignored, but TLS is on"),
        ({"BEATS_URL": "a:5044"}, True, "BEATS_URL='a:5044': .*; it is ignored, but TLS is on"),
        ({"BEATS_URL": "beats+tls://a:port"}, True, r"BEATS_URL \(hosts\)='a:port': .*; it is ignored"),
        ({"BEATS_URL": "beats+unix://x"}, True, r"BEATS_URL \(hosts\)='unix://x': .*; it is ignored"),
        ({"BEATS_URL": "beats://a:port"}, None, r"BEATS_URL \(hosts\)='a:port': .*; it is ignored"),
        ({"BEATS_URL": "beats+tls://a?ssl.enabled=x"}, True, r"BEATS_URL \(ssl.enabled\)='x': .*; TLS is on"),
        (
            {"BEATS_SSL_VERIFICATION_MODE": "nil"},
            {"verification_mode": "full"},
            "BEATS_SSL_VERIFICATION_MODE='nil': one of full, strict, certificate, none; the mode is full",
        ),
    ],
)
def test_a_slip_never_turns_tls_off(environ: dict[str, str], ssl: object, warning: str, told: list[str]) -> None:
    assert ssl == Options.from_env(environ).ssl
    assert re.fullmatch(warning, told[0])
    assert 1 == len(told)


def test_an_unusable_plain_url_leaves_tls_to_the_layer_below() -> None:
    assert Options.load({"ssl": True}, {"BEATS_URL": "beats://a:port"}).tls is not None


@pytest.mark.parametrize(
    ("environ", "option", "value"),
    [
        ({"BEATS_SSL_CERTIFICATE_AUTHORITIES": "/nowhere.pem"}, "BEATS_SSL_CERTIFICATE_AUTHORITIES", "/nowhere.pem"),
        ({"BEATS_SSL_CERTIFICATE": "/nowhere.pem"}, "BEATS_SSL_CERTIFICATE", "/nowhere.pem"),
        ({"BEATS_SSL_KEY": "/nowhere.key"}, "BEATS_SSL_KEY", "/nowhere.key"),
        ({"BEATS_SSL_CERTIFICATE_AUTHORITY": "/ca.pem"}, "BEATS_SSL_CERTIFICATE_AUTHORITY", "/ca.pem"),
        ({"BEATS_SSL_SUPPORTED_PROTOCOLS": "TLSv1.3,TLSv9"}, "BEATS_SSL_SUPPORTED_PROTOCOLS", "TLSv9"),
        ({"BEATS_URL": "beats+tls://a?ssl.ca=/ca.pem"}, "BEATS_URL (ssl.ca)", "/ca.pem"),
        ({"BEATS_URL": "beats+tls://a?ssl.certificate=/nowhere"}, "BEATS_URL (ssl.certificate)", "/nowhere"),
    ],
)
def test_other_parts_that_are_wrong_are_errors_that_name_the_variable(
    environ: dict[str, str], option: str, value: str
) -> None:
    with pytest.raises(OptionError) as refused:
        Options.load({"ssl": True, "index": "shop"}, environ)

    assert (option, value) == (refused.value.option, refused.value.value)


def test_what_the_environment_says_of_tls_is_nobodys_business_where_an_argument_replaces_it() -> None:
    assert Options.load(environ={"BEATS_SSL_KEY": "/nowhere.key"}, ssl=False).tls is None


@pytest.mark.parametrize(
    ("mapping", "option"),
    [
        ({"ssl": "maybe"}, "ssl"),
        ({"ssl": 1}, "ssl"),
        ({"ssl": {"enabled": "maybe"}}, "ssl.enabled"),
        ({"ssl.verification_mode": "lax"}, "ssl.verification_mode"),
        ({"ssl": {"certificate": "/nowhere.pem"}}, "ssl.certificate"),
        ({"ssl": {"authorities": "/ca.pem"}}, "ssl.authorities"),
    ],
)
def test_what_a_mapping_has_wrong_is_an_error(mapping: dict[str, Any], option: str) -> None:
    for make in (Options.from_mapping, lambda mapping: Options.load(mapping, {})):
        with pytest.raises(OptionError) as refused:
            make(mapping)

        assert option == refused.value.option


NAMES = ["BEATS_SSL", *(variable_of(f"ssl.{part}") for part in ("enabled", "verification_mode", "key_passphrase"))]
OFF = {"false", "no", "off", "0"}


@given(
    environ=st.dictionaries(
        st.sampled_from(NAMES), st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(["true", *OFF])
    )
)
def test_only_a_plain_word_leaves_tls_off_where_something_is_said_of_it(environ: dict[str, str]) -> None:
    said = {name: text.strip().lower() for name, text in environ.items() if text.strip()}
    switch = said.get("BEATS_SSL") or said.get("BEATS_SSL_ENABLED")

    assert (bool(said) and switch not in OFF) == (Options.from_env(environ).tls is not None)
