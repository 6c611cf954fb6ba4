"""TLS for clients: whom to trust, what to show, and what was wrong. Nothing turns verification off silently.

A context is never changed once it is in use, because that is not safe while another thread shakes hands with it: files
that changed make a new one. There is no lock, so that a child after fork cannot find it held: what threads see is one
attribute, replaced whole; at worst two of them read the same files.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, cast

from beats_core.certificates import Certificate
from beats_core.errors import OptionError
from beats_core.tls_settings import TlsSettings, read_settings

_logger = logging.getLogger("beats_core.tls")

Ssl = bool | ssl.SSLContext | Mapping[str, object] | None
Line = ssl.SSLSocket | ssl.SSLObject

_MOST_NAMES = 5  # of a certificate, in a sentence; the rest is counted
_WARNINGS = {
    "none": "ssl.verification_mode=none: whoever answers is trusted, and can read and take every event",
    "certificate": "ssl.verification_mode=certificate: any host with a certificate of the authorities is trusted, "
    "whatever its name",
}
_warned: set[str] = set()

# What OpenSSL says of a chain that it cannot verify (x509_vfy.h).
_NO_ISSUER = (2, 19, 20, 21, 27)
_NOT_YET_VALID, _EXPIRED, _SELF_SIGNED, _OTHER_HOST, _OTHER_ADDRESS = 9, 10, 18, 62, 64


class Tls:
    """What a client needs to speak TLS. Any thread."""

    def __init__(self, settings: TlsSettings, ready: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._learnt = b""
        state = self._state()
        self._loaded = _Loaded(state, ready or self._made())

    @classmethod
    def from_option(cls, option: Ssl) -> Tls | None:
        """Read the `ssl` option, and every file it names; None for plain TCP.

        Args:
            option: None or False for plain TCP; True for the system's authorities; a mapping with Filebeat's names;
                or a context that is ready, used as it is.

        Raises:
            OptionError: A name is unknown, a value or a file is wrong, or a key does not fit its certificate.
        """
        if option is None or option is False:
            return None
        if isinstance(option, ssl.SSLContext):
            if option.protocol is ssl.PROTOCOL_TLS_SERVER:
                raise OptionError("ssl", option, "a context for clients is needed, as ssl.create_default_context() is")
            return cls(TlsSettings(), option)
        if option is not True and not isinstance(option, Mapping):
            raise OptionError("ssl", option, "true, false, a mapping of ssl options or an ssl.SSLContext")
        settings = read_settings({} if option is True else option)
        if settings is None:
            return None
        _warn_once(settings.verification_mode)
        return cls(settings)

    def context(self) -> ssl.SSLContext:
        """Return the context for the next connection: another one if a file has changed.

        Files that are missing or wrong now, as in the middle of a renewal, leave the last good context in use until
        they change again, with a warning.
        """
        loaded = self._loaded
        state = self._state()
        if state != loaded.state:
            self._loaded = loaded = _Loaded(state, self._made_anew() or loaded.context)
        return loaded.context

    def check(self, line: Line) -> None:
        """Check the public keys of `ca_sha256`, right after the handshake and before a byte is sent.

        Raises:
            ssl.SSLCertVerificationError: The peer is not to be trusted.
        """
        if not self._settings.pins:
            return
        chain = _chain(line, "get_verified_chain")
        if self._settings.pins.isdisjoint(certificate.pin for certificate in chain):
            found = f"; its CA {chain[-1].subject!r} has {chain[-1].pin}" if chain else ""
            raise _not_trusted(f"no certificate of its chain has a public key of ssl.ca_sha256{found}")

    def probe_context(self) -> ssl.SSLContext | None:
        """Return a context for a handshake that only looks at the peer's certificates, if that is needed first.

        It is, until the CA of `ca_trusted_fingerprint` is known: Python cannot look before it decides.
        """
        if not self._settings.fingerprint or self._learnt:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._settings.prepare(context)
        return context

    def learn(self, line: Line) -> None:
        """Take the CA from a handshake with `probe_context`, whose connection is then closed: nothing was sent on it.

        Raises:
            ssl.SSLCertVerificationError: The peer does not show that CA, and there are no other authorities.
        """
        chain = _chain(line, "get_unverified_chain")
        fingerprint = self._settings.fingerprint
        matching = [certificate for certificate in chain if certificate.fingerprint == fingerprint]
        if matching and matching[0].is_ca:
            self._learnt = matching[0].der
        elif matching:
            raise _not_trusted(f"ssl.ca_trusted_fingerprint is that of {matching[0].subject!r}, which is no CA")
        elif not self._settings.authorities:
            raise _not_trusted(_without_the_ca(chain))

    def _state(self) -> tuple[object, ...]:
        files = self._settings.state if self._settings.reload else ()
        return self._learnt, *files

    def _made(self) -> ssl.SSLContext:
        context = _Context(ssl.PROTOCOL_TLS_CLIENT)
        context.settings = self._settings
        self._settings.trust(context, self._learnt)
        self._settings.prepare(context)
        return context

    def _made_anew(self) -> ssl.SSLContext | None:
        try:
            context = self._made()
        except OptionError as error:
            _logger.warning("certificates have changed and are not usable, the last good ones stay in use: %s", error)
            return None
        _logger.info("certificates have changed and are used from the next connection on")
        return context


class _Loaded(NamedTuple):
    """A context, and the state of the files when it was made, or could not be."""

    state: tuple[object, ...]
    context: ssl.SSLContext


class _Explained:
    """A line which says in words what was wrong with the peer's certificate, as long as it is at hand."""

    def do_handshake(self, *args: Any) -> None:
        """Shake hands."""
        try:
            super().do_handshake(*args)  # type: ignore[misc] # of SSLSocket or SSLObject
        except ssl.SSLCertVerificationError as error:
            _explain(error, self)  # type: ignore[arg-type] # as above
            raise


class _Socket(_Explained, ssl.SSLSocket):
    """For blocking drivers."""


class _Object(_Explained, ssl.SSLObject):
    """For asyncio."""


class _Context(ssl.SSLContext):
    """A context whose lines know the settings."""

    sslsocket_class = _Socket
    sslobject_class = _Object
    settings: TlsSettings


def _explain(error: ssl.SSLCertVerificationError, line: Line) -> None:
    """Put into `error.verify_message` what was wrong with the certificate, if its line can still tell."""
    settings = cast("_Context", line.context).settings
    with suppress(ssl.SSLCertVerificationError):  # it cannot; what OpenSSL said stays
        chain = _chain(line, "get_unverified_chain")
        found = _explanation(error, chain, line.server_hostname or "", settings) if chain else None
        error.verify_message = found or error.verify_message


def _explanation(
    error: ssl.SSLCertVerificationError, chain: list[Certificate], host: str, settings: TlsSettings
) -> str | None:
    code, leaf = error.verify_code, chain[0]
    now = datetime.now(UTC)
    if code in (_OTHER_HOST, _OTHER_ADDRESS):
        return f"{_whose(leaf)}, not for {host}"
    for certificate in chain:
        if code == _EXPIRED and certificate.not_after < now:
            return f"{_which(certificate, leaf)} expired on {_date(certificate.not_after)}"
        if code == _NOT_YET_VALID and certificate.not_before > now:
            begins = _date(certificate.not_before)
            return f"{_which(certificate, leaf)} is not valid before {begins}, or this machine's clock is wrong"
    if code == _SELF_SIGNED:
        return f"it is signed by itself ({leaf.subject!r}); if you trust it, name it in ssl.certificate_authorities"
    if code in _NO_ISSUER:
        trusted = "the system's authorities; name its CA in ssl.certificate_authorities"
        if settings.authorities:
            trusted = "ssl.certificate_authorities"
        elif settings.fingerprint:
            trusted = "the CA of ssl.ca_trusted_fingerprint"
        return f"its issuer {_highest(chain).issuer!r} is not among {trusted}"
    return None


def _chain(line: Line, name: str) -> list[Certificate]:
    """Return the chain that the peer sent, or that was verified; its own certificate comes first.

    Public from Python 3.13 on; before, CPython has the same below its surface, also when a handshake has failed.

    Raises:
        ssl.SSLCertVerificationError: One of them is no certificate that we can read.
    """
    public = getattr(line, name, None)
    if public is not None:
        chain = public()
    else:
        found = getattr(line._sslobj, name)()  # type: ignore[union-attr] # noqa: SLF001 - see above
        chain = [ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in found or ()]
    try:
        return [Certificate(der) for der in chain]
    except ValueError as error:
        raise _not_trusted(f"one of its certificates is damaged: {error}") from error


def _highest(chain: list[Certificate]) -> Certificate:
    """Return the certificate whose issuer the peer did not send, or which has signed itself."""
    by_subject = {certificate.subject: certificate for certificate in reversed(chain)}
    highest = chain[0]
    for _ in chain:
        highest = by_subject.get(highest.issuer, highest)
    return highest


def _whose(certificate: Certificate) -> str:
    names = certificate.names
    if not names:
        common = f" (its common name is {certificate.common_name!r})" if certificate.common_name else ""
        return f"it has no subject alternative name{common}, so it is for no host"
    more = [f"{len(names) - _MOST_NAMES} more"] if len(names) > _MOST_NAMES else []
    *first, last = [*names[:_MOST_NAMES], *more]
    return f"it is for {', '.join(first)} and {last}" if first else f"it is for {last}"


def _which(certificate: Certificate, leaf: Certificate) -> str:
    return "it" if certificate is leaf else f"the certificate of its CA {certificate.subject!r}"


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _without_the_ca(chain: list[Certificate]) -> str:
    if len(chain) == 1 and chain[0].issuer != chain[0].subject:
        return (
            "the receiver sends only its own certificate, ssl.ca_trusted_fingerprint needs its CA's as well: "
            f"let it send the CA {chain[0].issuer!r}, or name that one's file in ssl.certificate_authorities"
        )
    shown = "; ".join(f"{each.subject!r} has {each.fingerprint}" for each in chain if each.is_ca) or "no CA"
    return f"none of the certificates that the receiver sends has ssl.ca_trusted_fingerprint ({shown})"


def _not_trusted(why: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(ssl.SSLErrorNumber.SSL_ERROR_SSL, why)
    error.verify_code, error.verify_message = 1, why  # X509_V_ERR_UNSPECIFIED
    return error


def _warn_once(mode: str) -> None:
    if mode in _WARNINGS and mode not in _warned:
        _warned.add(mode)
        _logger.warning(_WARNINGS[mode])
