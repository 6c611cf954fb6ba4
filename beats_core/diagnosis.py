"""Why a line could not be opened or was lost, in words a person can act on. No I/O.

All that a receiver can say is an ack, so a hint is a guess: it names whose behaviour fits the facts, and what to do.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

Ending = Literal["closed", "reset", "silent", "stalled", "misbehaved"]

_IN_HANDSHAKE = "in the TLS handshake"

# By which alert a peer ends a connection (RFC 8446, 6.2), without what OpenSSL's versions put before its name.
_ALERTS = {
    "CERTIFICATE_REQUIRED": "the peer asks for a client certificate: set ssl.certificate and ssl.key",
    "HANDSHAKE_FAILURE": "the peer refuses the TLS handshake: it asks for a client certificate (ssl.certificate), "
    "or has no cipher suite in common with us (ssl.cipher_suites)",
    "BAD_CERTIFICATE": "the peer does not accept our certificate, or asks for one and got none (ssl.certificate)",
    "UNKNOWN_CA": "the peer does not accept our certificate: it does not know the CA that issued it",
    "CERTIFICATE_UNKNOWN": "the peer does not accept our certificate",
    "UNSUPPORTED_CERTIFICATE": "the peer does not accept our certificate: it is of a kind that it does not take",
    "CERTIFICATE_EXPIRED": "the peer does not accept our certificate: it has expired",
    "CERTIFICATE_REVOKED": "the peer does not accept our certificate: it is revoked",
    "DECRYPT_ERROR": "the peer does not accept our certificate: its signature is wrong",
    "ACCESS_DENIED": "the peer does not let the owner of our certificate in",
    "PROTOCOL_VERSION": "no version of TLS in common with the peer (ssl.supported_protocols)",
    "INSUFFICIENT_SECURITY": "the peer wants stronger cipher suites (ssl.cipher_suites)",
    "UNRECOGNIZED_NAME": "the peer has no certificate for this host name",
    "INTERNAL_ERROR": "the peer failed inside, in the TLS handshake",
}
_NO_TLS = "the peer does not speak TLS on this port"
# What OpenSSL says by itself.
_REASONS = {
    "WRONG_VERSION_NUMBER": _NO_TLS,
    "HTTP_REQUEST": _NO_TLS,
    "HTTPS_PROXY_REQUEST": _NO_TLS,
    "PACKET_LENGTH_TOO_LONG": _NO_TLS,
    "RECORD_LAYER_FAILURE": _NO_TLS,
    "UNKNOWN_PROTOCOL": _NO_TLS,
    "UNSUPPORTED_PROTOCOL": _ALERTS["PROTOCOL_VERSION"],
    "NO_PROTOCOLS_AVAILABLE": _ALERTS["PROTOCOL_VERSION"],
    "NO_SHARED_CIPHER": "no cipher suite in common with the peer",
    "NO_CIPHERS_AVAILABLE": "no cipher suite for these versions of TLS (ssl.cipher_suites, ssl.supported_protocols)",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "DH_KEY_TOO_SMALL": "the peer's key exchange is too weak",
    "EE_KEY_TOO_SMALL": "the key of the peer's certificate is too small",
    "CA_MD_TOO_WEAK": "a certificate of the peer is signed with a broken algorithm",
}
_HUNG_UP = (
    "the peer ended the TLS handshake without a word: perhaps it speaks no TLS on this port, or asks for a client "
    "certificate"
)

GO_LUMBER_WINDOW = 10_000  # events (server/v2 MaxWindowSize)
GO_LUMBER_SECONDS = 30.0  # for a window to arrive
GRAYLOG_EVENT_BYTES, GRAYLOG_WINDOW_BYTES = 16 << 20, 64 << 20  # BeatsFrameDecoder
VECTOR_WINDOW_BYTES = 100 << 20  # --max-decompressed-size-bytes
_AGAIN = 3  # closings in a row that are no coincidence

# How those begin whose port it is not.
_STRANGERS = (
    ((b"\x15\x03", b"\x16\x03"), "the port wants TLS: set ssl"),
    ((b"HTTP/", b"<"), "this is an HTTP port; Beats has another one, as a rule 5044"),
    ((b"{", b"["), "perhaps a port for JSON; the beats input has another one, as a rule 5044"),
    ((b"SSH-",), "this is an SSH port"),
)


@contextmanager
def handshaking() -> Iterator[None]:
    """Note on whatever ends a TLS handshake that it was one, so that `failure_reason` can say so."""
    try:
        yield
    except OSError as error:
        error.add_note(_IN_HANDSHAKE)
        raise


def in_handshake(error: BaseException) -> bool:
    """Tell whether it ended a TLS handshake."""
    return _IN_HANDSHAKE in getattr(error, "__notes__", ())


def failure_reason(error: OSError) -> str:
    """Say in words why a line could not be opened or was lost; a clause that fits behind a colon."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the receiver's certificate is not accepted: {error.verify_message}"
    # asyncio's, when the peer closes in the middle of one, has no arguments.
    shaking = in_handshake(error) or (isinstance(error, ConnectionResetError) and not error.args)
    if shaking and isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return _HUNG_UP
    if shaking and isinstance(error, TimeoutError):
        return "the TLS handshake timed out: perhaps the peer speaks no TLS on this port"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return "the peer ended the TLS connection without a word"
    if isinstance(error, ssl.SSLError):
        reason = getattr(error, "reason", None) or ""
        _, alert, name = reason.partition("ALERT_")
        words = _ALERTS.get(name) if alert else _REASONS.get(reason)
        return words or f"TLS failed: {reason.lower().replace('_', ' ') or error}"
    if isinstance(error, TimeoutError):
        return "timed out"
    if error.errno and not isinstance(error, socket.gaierror):
        return os.strerror(error.errno).lower()  # asyncio's own text repeats the address
    return (error.strerror or str(error) or type(error).__name__).lower()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a driver knows of a line that was lost while windows were in flight.

    Attributes:
        ending: "closed" and "reset" by the peer, "silent" for AckTimeout, "stalled" for Stalled, "misbehaved" for a
            ProtocolError.
        error: The ProtocolError's text.
        encrypted: The line was TLS.
        heard: How many bytes the peer ever sent on it.
        first_bytes: The first few of them.
        kept_alive: Keep-alives came.
        window: Events of the oldest window.
        window_acked: How many of them were acknowledged.
        window_bytes: Their bytes before compression.
        event_bytes: Those of the largest.
        windows: How many were in flight.
        seconds: Since that window began to be written.
        closings: How many lines to this host ended so in a row, without any ack, this one included.
    """

    ending: Ending
    error: str = ""
    encrypted: bool = False
    heard: int = 0
    first_bytes: bytes = b""
    kept_alive: bool = False
    window: int = 0
    window_acked: int = 0
    window_bytes: int = 0
    event_bytes: int = 0
    windows: int = 0
    seconds: float = 0.0
    closings: int = 1


def loss_hint(facts: Facts) -> str | None:
    """Say whose behaviour that is and what to do, as a clause that can follow "; ". None if the facts point nowhere."""
    if facts.ending == "misbehaved":
        return _about_misbehaviour(facts)
    if facts.ending == "silent":
        return _about_silence(facts)
    if facts.ending == "stalled":
        return (
            "perhaps Logstash's pipeline is blocked, by an output or a full queue; Logstash also stays like this when "
            "it has lost count of a window's events"
        )
    return _about_closing(facts) if facts.window and not facts.window_acked else None


def _about_misbehaviour(facts: Facts) -> str | None:
    for beginnings, hint in _STRANGERS:
        if facts.first_bytes.startswith(beginnings):
            return hint
    if facts.error.startswith("ack ") and " for a window of " in facts.error and facts.windows > 1:
        return "older versions of Vector acknowledge several windows at once: set pipelining to 1, or update it"
    return None


def _about_silence(facts: Facts) -> str | None:
    if 0 < facts.window_acked < facts.window:
        return (
            "NiFi acknowledges the part of a window that it has room for, and then nothing more: it is overloaded; for "
            "NiFi set pipelining to 1"
        )
    if facts.kept_alive:
        return None
    senders = "Vector, Graylog, Fluentd and NiFi send no keep-alives while they work: raise ack_timeout if it is one"
    return senders if facts.heard else f"{senders}; or this is no Beats port"


def _about_closing(facts: Facts) -> str | None:
    if facts.window > GO_LUMBER_WINDOW:
        return (
            f"go-lumber and Elastic's lumberjack input take at most {GO_LUMBER_WINDOW:,} events, this window had "
            f"{facts.window:,}: lower bulk_max_size"
        )
    for size, limit, whose, option in (
        (facts.event_bytes, GRAYLOG_EVENT_BYTES, "Graylog takes events of", "max_event_bytes"),
        (facts.window_bytes, VECTOR_WINDOW_BYTES, "Vector takes windows of", "bulk_max_bytes"),
        (facts.window_bytes, GRAYLOG_WINDOW_BYTES, "Graylog takes windows of", "bulk_max_bytes"),
    ):
        if size > limit:
            return f"{whose} at most {limit >> 20} MiB, this one had {size / (1 << 20):.0f}: lower {option}"
    if not facts.kept_alive and GO_LUMBER_SECONDS - 2 <= facts.seconds <= GO_LUMBER_SECONDS + 10:
        return "go-lumber gives a window 30 seconds to arrive: lower bulk_max_bytes if the network is slow"
    suspicion = "the port wants TLS (ssl), or is no Beats port"
    if facts.encrypted:
        suspicion = "it asks for a client certificate (ssl.certificate), or does not accept ours"
    if facts.closings >= _AGAIN:
        again = (
            f"{facts.closings} lines in a row ended so: perhaps it is overloaded or at its limit of connections (as "
            "Fluentd's max_connections), or one of the events is one that it cannot take"
        )
        return again if facts.heard else f"{again}; or {suspicion}"
    return None if facts.heard else f"perhaps {suspicion}"
