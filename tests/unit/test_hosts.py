"""Addresses as people write them; reasons as people read them."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import OptionError
from beats_core.hosts import Host, failure_reason, parse_host


@pytest.mark.parametrize(
    ("text", "host", "written"),
    [
        ("localhost", Host("localhost", 5044), "localhost:5044"),
        ("localhost:5045", Host("localhost", 5045), "localhost:5045"),
        (" logstash.example.com:5044 ", Host("logstash.example.com", 5044), "logstash.example.com:5044"),
        ("127.0.0.1:1", Host("127.0.0.1", 1), "127.0.0.1:1"),
        ("host:0", Host("host", 0), "host:0"),
        ("host:65535", Host("host", 65_535), "host:65535"),
        ("host:", Host("host", 5044), "host:5044"),
        ("[::1]:5045", Host("::1", 5045), "[::1]:5045"),
        ("[::1]", Host("::1", 5044), "[::1]:5044"),
        ("::1", Host("::1", 5044), "[::1]:5044"),
        ("2001:db8::2:1", Host("2001:db8::2:1", 5044), "[2001:db8::2:1]:5044"),
        ("fe80::1%eth0", Host("fe80::1%eth0", 5044), "[fe80::1%eth0]:5044"),
        ("bücher.example", Host("bücher.example", 5044), "bücher.example:5044"),
        ("under_score:1", Host("under_score", 1), "under_score:1"),
    ],
)
def test_an_address_is_read_and_written(text: str, host: Host, written: str) -> None:
    assert host == parse_host(text)
    assert written == str(host)
    assert host == parse_host(written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ":5044",
        "host:port",
        "host:-1",
        "host:65536",
        "host:99999999999999999999",
        "host:５０４４",
        "host:1 2",
        "[::1",
        "[::1]5044",
        "[::1]:x",
        "[]:1",
        "a b",
        "http://host:5044",
        "host/path",
        "user@host",
        "a..b",
        ".host",
        "x" * 64 + ".example",
        "null\0byte",
        "tab\there",
        "new\nline",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_host(text)

    assert ("hosts", text) == (refused.value.option, refused.value.value)
    assert "a host is 'name', 'name:port' or '[::1]:port', with a port from 0 to 65535" in str(refused.value)


@pytest.mark.parametrize("value", [None, 5044, b"host", ["host"], Host("host", 1)])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(OptionError):
        parse_host(value)


@given(text=st.text(max_size=30))
def test_of_arbitrary_text_nothing_comes_that_a_resolver_chokes_on(text: str) -> None:
    try:
        host = parse_host(text)
    except OptionError:
        return
    assert host == parse_host(str(host))
    host.name.encode("idna")
    assert host.name.isprintable()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused"), "connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "connection reset by peer"),
        (OSError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "connection refused"),
        (OSError(errno.EHOSTUNREACH, "anything"), os.strerror(errno.EHOSTUNREACH).lower()),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "name or service not known"),
        (TimeoutError("timed out"), "timed out"),
        (TimeoutError(), "timed out"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out"), "timed out"),
        (OSError("Something Else"), "something else"),
        (OSError(), "oserror"),
        (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "TLS failed: "),
        (
            ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
            "the peer ended the TLS connection without a word (it may not speak TLS, or want a client certificate)",
        ),
        (
            ConnectionResetError(),
            "the peer ended the TLS connection without a word (it may not speak TLS, or want a client certificate)",
        ),
    ],
)
def test_a_failure_has_a_reason_in_words(error: OSError, reason: str) -> None:
    assert failure_reason(error).startswith(reason)


def test_a_certificate_that_is_not_accepted_says_why() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "self-signed certificate"

    assert "the receiver's certificate is not accepted: self-signed certificate" == failure_reason(error)
