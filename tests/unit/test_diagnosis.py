"""Reasons as people read them, and whose behaviour a loss looks like."""

from __future__ import annotations

import dataclasses
import errno
import os
import socket
import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.diagnosis import Ending, Facts, failure_reason, handshaking, loss_hint
from beats_core.frames import Batch, encode_ack
from beats_core.protocol import ClientProtocol

MIB = 1 << 20


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] {reason.lower()} (_ssl.c:1006)")
    error.reason = reason
    return error


def within_handshake(error: OSError) -> OSError:
    with pytest.raises(type(error)) as raised, handshaking():
        raise error
    assert raised.value is error
    return error


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
        (ssl.SSLEOFError(8, "EOF occurred in violation"), "the peer ended the TLS connection without a word"),
        (ssl.SSLZeroReturnError(6, "TLS/SSL connection has been closed"), "the peer ended the TLS connection without"),
        (ssl.SSLError(1, "[SSL] PEM lib"), "TLS failed: "),
        (tls_error("LENGTH_MISMATCH"), "TLS failed: length mismatch"),
        (tls_error("TLSV1_ALERT_EXPORT_RESTRICTION"), "TLS failed: tlsv1 alert export restriction"),
    ],
)
def test_a_failure_has_a_reason_in_words(error: OSError, reason: str) -> None:
    assert failure_reason(error).startswith(reason)


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "asks for a client certificate: set ssl.certificate and ssl.key"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "asks for a client certificate (ssl.certificate), or has no cipher suite"),
        ("SSLV3_ALERT_BAD_CERTIFICATE", "does not accept our certificate, or asks for one"),
        ("TLSV1_ALERT_UNKNOWN_CA", "does not accept our certificate: it does not know the CA"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "does not accept our certificate: it has expired"),
        ("SSL/TLS_ALERT_CERTIFICATE_EXPIRED", "does not accept our certificate: it has expired"),
        ("TLSV1_ALERT_PROTOCOL_VERSION", "no version of TLS in common"),
        ("UNSUPPORTED_PROTOCOL", "no version of TLS in common"),
        ("NO_SHARED_CIPHER", "no cipher suite in common"),
        ("WRONG_VERSION_NUMBER", "the peer does not speak TLS on this port"),
        ("RECORD_LAYER_FAILURE", "the peer does not speak TLS on this port"),
        ("HTTP_REQUEST", "the peer does not speak TLS on this port"),
    ],
)
def test_what_openssl_calls_by_a_code_is_said_in_words(reason: str, words: str) -> None:
    assert words in failure_reason(tls_error(reason))
    assert words in failure_reason(within_handshake(tls_error(reason)))


@pytest.mark.parametrize(
    "error",
    [
        ssl.SSLEOFError(8, "EOF occurred in violation of protocol"),
        ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
        ConnectionAbortedError(),
        BrokenPipeError(errno.EPIPE, "Broken pipe"),
    ],
)
def test_an_end_in_the_middle_of_a_handshake_says_what_it_may_mean(error: OSError) -> None:
    words = "perhaps it speaks no TLS on this port, or asks for a client certificate"

    assert words not in failure_reason(error)
    assert words in failure_reason(within_handshake(error))
    assert words in failure_reason(ConnectionResetError()), "asyncio's, for the same"


def test_a_handshake_without_an_answer_says_so() -> None:
    assert failure_reason(within_handshake(TimeoutError())).startswith("the TLS handshake timed out: ")


def test_other_failures_are_the_same_in_a_handshake() -> None:
    assert "no route to host" == failure_reason(within_handshake(OSError(errno.EHOSTUNREACH, "x")))


def test_a_certificate_that_is_not_accepted_says_why() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "it expired on 2024-05-01"

    for each in (error, within_handshake(error)):
        assert "the receiver's certificate is not accepted: it expired on 2024-05-01" == failure_reason(each)


# What a lost line looks like.

FIRST = Facts(
    ending="closed", window=100, window_bytes=10_000, event_bytes=100, windows=1
)  # the first window of a line


def hint(**facts: Any) -> str:
    return loss_hint(dataclasses.replace(FIRST, **facts)) or ""


@pytest.mark.parametrize("ending", ["closed", "reset"])
def test_a_window_above_go_lumbers_limit_is_its_likely_cause(ending: Ending) -> None:
    assert (
        "go-lumber and Elastic's lumberjack input take at most 10,000 events, this window had 12,000: "
        "lower bulk_max_size"
    ) == hint(ending=ending, window=12_000)
    assert "10,000" not in hint(ending=ending, window=10_000)
    assert "" == hint(ending=ending, window=12_000, window_acked=1, heard=6), "it took it"
    assert "10,000" not in hint(ending="silent", window=12_000)


def test_a_line_that_ends_without_a_byte_may_be_of_the_wrong_kind() -> None:
    for ending in ("closed", "reset"):
        assert "perhaps the port wants TLS (ssl), or is no Beats port" == hint(ending=ending)
        assert "client certificate" in hint(ending=ending, encrypted=True)
        assert "" == hint(ending=ending, heard=6)
        assert "" == hint(ending=ending, encrypted=True, heard=6)


def test_without_a_window_in_flight_an_end_means_nothing() -> None:
    for ending in ("closed", "reset"):
        assert "" == hint(ending=ending, window=0, windows=0)


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "this is an HTTP port"),
        (b"<html>", "this is an HTTP port"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "the port wants TLS"),
        (b"\x16\x03\x01", "the port wants TLS"),
        (b'{"error": "what?"}', "a port for JSON"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this is an SSH port"),
        (b"220 mail.example.com ESMTP", ""),
        (b"", ""),
    ],
)
def test_a_stranger_is_known_by_its_first_words(beginning: bytes, words: str) -> None:
    protocol = ClientProtocol()
    protocol.send(Batch([b"{}"]))
    protocol.receive_data(beginning)
    said = hint(ending="misbehaved", error=str(protocol.error), first_bytes=beginning, heard=len(beginning))

    assert words in said if words else not said


def test_an_ack_beyond_its_window_is_what_old_versions_of_vector_do() -> None:
    protocol = ClientProtocol()
    for _ in range(2):
        protocol.send(Batch([b"{}"] * 6))
    protocol.receive_data(encode_ack(12))
    facts = {"ending": "misbehaved", "error": str(protocol.error), "first_bytes": encode_ack(12), "heard": 6}

    assert "Vector acknowledge several windows at once: set pipelining to 1" in hint(windows=2, **facts)
    assert "" == hint(windows=1, **facts)


def test_silence_points_at_those_who_send_no_keep_alives() -> None:
    names = "Vector, Graylog, Fluentd and NiFi send no keep-alives while they work: raise ack_timeout"

    assert hint(ending="silent", heard=6).startswith(names)
    assert "or this is no Beats port" in hint(ending="silent")
    assert "no Beats port" not in hint(ending="silent", heard=6)
    assert "" == hint(ending="silent", heard=6, kept_alive=True)


def test_silence_after_a_part_of_a_window_is_what_nifi_does() -> None:
    assert hint(ending="silent", heard=6, window_acked=40).startswith("NiFi acknowledges the part of a window")
    assert hint(ending="silent", heard=6, window_acked=40).endswith("it is overloaded; for NiFi set pipelining to 1")
    assert "NiFi acknowledges" not in hint(ending="silent", heard=6)


def test_keep_alives_for_ever_point_at_logstashs_pipeline() -> None:
    assert hint(ending="stalled", kept_alive=True, heard=60).startswith("perhaps Logstash's pipeline is blocked")


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"event_bytes": 17 * MIB, "window_bytes": 17 * MIB},
            "Graylog takes events of at most 16 MiB, this one had 17",
        ),
        ({"window_bytes": 65 * MIB}, "Graylog takes windows of at most 64 MiB, this one had 65: lower bulk_max_bytes"),
        (
            {"window_bytes": 120 * MIB},
            "Vector takes windows of at most 100 MiB, this one had 120: lower bulk_max_bytes",
        ),
        ({"window_bytes": 64 * MIB, "event_bytes": 16 * MIB}, "perhaps the port wants TLS"),
    ],
)
def test_large_events_and_windows_name_whom_they_are_too_large_for(facts: dict[str, Any], words: str) -> None:
    assert words in hint(**facts)
    assert "MiB" not in hint(**facts, ending="silent")


def test_a_transfer_of_half_a_minute_is_what_go_lumber_cuts_off() -> None:
    assert hint(seconds=30.4, heard=6).startswith("go-lumber gives a window 30 seconds to arrive")
    for otherwise in ({"seconds": 5}, {"seconds": 60}, {"seconds": 30.4, "kept_alive": True}):
        assert "30 seconds" not in hint(**otherwise)


def test_lines_that_end_again_and_again_point_at_an_overload_or_an_event() -> None:
    for heard in (0, 6):
        said = hint(closings=3, heard=heard)
        assert said.startswith("3 lines in a row ended so: perhaps it is overloaded or at its limit of connections")
        assert "max_connections" in said
        assert ("; or the port wants TLS (ssl), or is no Beats port" in said) == (not heard)
    assert "in a row" not in hint(closings=2)


@given(
    facts=st.builds(
        Facts,
        ending=st.sampled_from(["closed", "reset", "silent", "stalled", "misbehaved"]),
        error=st.text(),
        encrypted=st.booleans(),
        heard=st.integers(0),
        first_bytes=st.binary(max_size=16),
        kept_alive=st.booleans(),
        window=st.integers(0, 1 << 20),
        window_acked=st.integers(0, 1 << 20),
        window_bytes=st.integers(0, 1 << 40),
        event_bytes=st.integers(0, 1 << 40),
        windows=st.integers(0, 100),
        seconds=st.floats(0, 1e9),
        closings=st.integers(1, 1000),
    )
)
def test_whatever_the_facts_a_hint_is_a_clause_or_nothing(facts: Facts) -> None:
    said = loss_hint(facts)

    assert said is None or (said and not said.endswith(".") and "\n" not in said and len(said) < 280)
