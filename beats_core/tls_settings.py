"""Filebeat's `ssl` options: what they may be, the files they name, and the context they make."""

from __future__ import annotations

import logging
import os
import re
import ssl
import tempfile
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from beats_core.certificates import Certificate, from_pem
from beats_core.errors import OptionError

_logger = logging.getLogger("beats_core.tls")

VERIFICATION_MODES = ("full", "strict", "certificate", "none")
PROTOCOLS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}

_TOO_OLD = ("SSLv3", "TLSv1", "TLSv1.0", "TLSv1.1")
_ARMOUR = "-----BEGIN "
_WORDS = {"true": True, "false": False}
_SHA256_BYTES = 32
_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")
_ENCRYPTED = re.compile(rb"BEGIN ENCRYPTED|Proc-Type: 4,ENCRYPTED")


class Pem:
    """PEM text that an option gives, or names a file of.

    Args:
        option: Its name.
        value: A path, or the text itself.
    """

    def __init__(self, option: str, value: object) -> None:
        self.option = option
        try:
            self.value = os.fsdecode(value)  # type: ignore[arg-type] # a TypeError says what it is not
        except TypeError as error:
            raise OptionError(option, value, "a path, or PEM text") from error
        self.is_text = _ARMOUR in self.value

    @property
    def state(self) -> object:
        """What changes when the file does: also when it is replaced, or may be read at last."""
        if self.is_text:
            return None
        try:
            found = Path(self.value).stat()
        except (OSError, ValueError) as error:
            return str(error)
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def read(self) -> bytes:
        """Return the text.

        Raises:
            OptionError: There is none to read.
        """
        if self.is_text:
            return self.value.replace("\\n", "\n").encode()  # many an environment holds it on one line
        try:
            content = Path(self.value).read_bytes()
        except (OSError, ValueError) as error:
            raise self.refused(f"cannot be read: {getattr(error, 'strerror', None) or error}") from error
        if not content.strip():
            raise self.refused("the file is empty")
        return content

    def certificates(self) -> list[Certificate]:
        """Return the certificates in it.

        Raises:
            OptionError: There is none, or one is damaged.
        """
        text = self.read()
        try:
            certificates = from_pem(text)
        except ValueError as error:
            raise self.refused(f"a certificate in it is damaged: {error}") from error
        if not certificates:
            raise self.refused(f"has no certificate in it (-----BEGIN CERTIFICATE-----), but {_contents(text)}")
        return certificates

    def refused(self, why: str) -> OptionError:
        """Return the error that says so of this option and value."""
        return OptionError(self.option, self.value, why)

    @contextmanager
    def path(self) -> Iterator[str]:
        """Have it as a file, which is all that OpenSSL's Python binding reads keys from."""
        if not self.is_text:
            yield self.value
        elif hasattr(os, "memfd_create"):
            with os.fdopen(os.memfd_create("beats"), "wb") as file:
                file.write(self.read())
                file.flush()
                yield f"/proc/self/fd/{file.fileno()}"
        else:
            with tempfile.NamedTemporaryFile() as file:  # readable for its owner only
                file.write(self.read())
                file.flush()
                yield file.name


@dataclass(frozen=True, kw_only=True)
class TlsSettings:
    """The `ssl` options, checked. Files are read when a context is made."""

    authorities: tuple[Pem, ...] = ()
    certificate: Pem | None = None
    key: Pem | None = None
    passphrase: str = field(default="", repr=False)
    passphrase_file: Pem | None = None
    verification_mode: str = "full"
    protocols: tuple[str, ...] = ()
    ciphers: str = ""
    pins: frozenset[str] = frozenset()
    fingerprint: str = ""
    reload: bool = True

    @property
    def state(self) -> tuple[object, ...]:
        """What changes when one of the files does."""
        files = (*self.authorities, self.certificate, self.key, self.passphrase_file)
        return tuple(file.state for file in files if file)

    def trust(self, context: ssl.SSLContext, also: bytes = b"") -> None:
        """Have the context verify the peer, as the options say. Reads the authorities' files.

        Args:
            context: A bare one, not `create_default_context`'s: from 3.13 on that refuses authorities which are
                common in companies (VERIFY_X509_STRICT).
            also: The DER bytes of one more authority.

        Raises:
            OptionError: A file cannot be read, or holds no certificates.
        """
        context.check_hostname = self.verification_mode in ("full", "strict")
        context.hostname_checks_common_name = self.verification_mode != "strict"
        context.verify_mode = ssl.CERT_NONE if self.verification_mode == "none" else ssl.CERT_REQUIRED
        # As in Go, whatever certificate is named is trusted, also an intermediate one or the receiver's own.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        for file in self.authorities:
            for certificate in file.certificates():
                try:
                    context.load_verify_locations(cadata=certificate.der)
                except ssl.SSLError as error:
                    raise file.refused(f"OpenSSL does not take the certificate of {certificate.subject!r}") from error
        if also:
            context.load_verify_locations(cadata=also)
        if not self.authorities and not self.fingerprint and context.verify_mode:
            context.load_default_certs()

    def prepare(self, context: ssl.SSLContext) -> None:
        """Have the context speak as the options say, and show our certificate if there is one. Reads its files.

        Raises:
            OptionError: A file cannot be read, or the key does not fit.
        """
        versions = [PROTOCOLS[name] for name in self.protocols]
        context.minimum_version = min(versions, default=ssl.TLSVersion.TLSv1_2)
        context.maximum_version = max(versions, default=ssl.TLSVersion.MAXIMUM_SUPPORTED)
        context.options |= ssl.OP_NO_RENEGOTIATION
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        if self.certificate is None:
            return
        _warn_of_dates(self.certificate, self.certificate.certificates()[0])
        key = self.key or self.certificate
        text = key.read()
        if not _KEY.search(text):
            hint = "; name its file in ssl.key" if key is self.certificate else ""
            raise key.refused(f"has no private key in it (-----BEGIN PRIVATE KEY-----), but {_contents(text)}{hint}")
        passphrase = self._passphrase()
        if _ENCRYPTED.search(text) and not passphrase:
            raise OptionError("ssl.key_passphrase", None, f"{key.option} is encrypted: its passphrase is needed")
        try:
            with self.certificate.path() as certificate_path, key.path() as key_path:
                # An empty passphrase, so that there is never a question on the terminal.
                context.load_cert_chain(certificate_path, key_path, passphrase)
        except (OSError, ValueError) as error:
            if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
                raise key.refused(f"is the key of another certificate than {_named(self.certificate)}") from error
            if _ENCRYPTED.search(text):
                raise OptionError("ssl.key_passphrase", passphrase, f"does not open {_named(key)}") from error
            raise key.refused(f"does not load with {_named(self.certificate)}: {error}") from error

    def _passphrase(self) -> str:
        if self.passphrase or self.passphrase_file is None:
            return self.passphrase
        try:
            return self.passphrase_file.read().decode().rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise self.passphrase_file.refused("is no text in UTF-8") from error


def read_settings(option: Mapping[str, object]) -> TlsSettings | None:
    """Return the settings that a mapping with Filebeat's names means; None if it turns TLS off.

    Raises:
        OptionError: A name is unknown, or a value wrong.
    """
    given: dict[str, object] = {}
    for name, value in _flat(option):
        if name not in SSL_PARTS:
            raise OptionError(f"ssl.{name}", value, f"unknown; there are {', '.join(SSL_PARTS)}")
        if value not in (None, "", [], ()):
            given[name] = value
    if not _boolean("ssl.enabled", given.get("enabled", True)):
        return None
    for name, value in given.items():
        if name in _OTHERS:
            _OTHERS[name](f"ssl.{name}", value)
    values = {
        field: read(f"ssl.{name}", given[name]) for name, (field, read) in _READERS.items() if field and name in given
    }
    settings = TlsSettings(**values)  # type: ignore[arg-type] # each reader returns what its field holds
    _check_together(settings, given)
    return settings


def _flat(option: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for name, value in option.items():
        if name in _GROUPS and isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", value[inner]) for inner in value)
        else:
            yield name, value


def _check_together(settings: TlsSettings, given: Mapping[str, object]) -> None:
    if settings.key and not settings.certificate:
        raise settings.key.refused("a key needs its ssl.certificate")
    if settings.verification_mode == "none":
        for name in ("ca_sha256", "ca_trusted_fingerprint"):
            if name in given:
                raise OptionError(f"ssl.{name}", given[name], "there is nothing to check with verification_mode=none")


def _boolean(option: str, value: object) -> bool:
    known = _WORDS.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(known, bool):
        raise OptionError(option, value, "true or false")
    return known


def _text(option: str, value: object) -> str:
    if not isinstance(value, str):
        raise OptionError(option, value, "a text")
    return value


def _several(value: object) -> list[object]:
    return list(value) if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]


def _pems(option: str, value: object) -> tuple[Pem, ...]:
    return tuple(Pem(option, each) for each in _several(value))


def _verification_mode(option: str, value: object) -> str:
    if not isinstance(value, str) or value.lower() not in VERIFICATION_MODES:
        raise OptionError(option, value, f"one of {', '.join(VERIFICATION_MODES)}")
    return value.lower()


def _protocols(option: str, value: object) -> tuple[str, ...]:
    for name in _several(value):
        if name in _TOO_OLD:
            raise OptionError(option, name, "is broken, and today's OpenSSL refuses it; there are TLSv1.2 and TLSv1.3")
        if not isinstance(name, str) or name not in PROTOCOLS:
            raise OptionError(option, name, "one or both of TLSv1.2 and TLSv1.3")
    return tuple(map(str, _several(value)))


def _ciphers(option: str, value: object) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    fixed = {cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"}
    names = []
    for given in _several(value):
        name = _text(option, given).upper()
        if name.replace("-", "_") in fixed:
            raise OptionError(
                option, given, "Python cannot choose among the suites of TLS 1.3: leave it out, they are all on"
            )
        # Filebeat writes ECDHE-RSA-AES-128-CBC-SHA and RSA-AES-128-CBC-SHA, and has one name with a slip.
        name = re.sub(r"AES-(128|256)", r"AES\1", name).replace("-CBC-SHA", "-SHA").removeprefix("RSA-")
        name = name.replace("POLY1205", "POLY1305")
        with suppress(ssl.SSLError, ValueError):  # it is not among those that are chosen then
            context.set_ciphers(name)
        if name not in {cipher["name"] for cipher in context.get_ciphers()}:
            raise OptionError(option, given, f"{ssl.OPENSSL_VERSION} has no such suite, or none that is strong enough")
        names.append(name)
    return ":".join(names)


def _pins(option: str, value: object) -> frozenset[str]:
    for pin in _several(value):
        try:
            right = len(b64decode(_text(option, pin), validate=True)) == _SHA256_BYTES
        except ValueError:
            right = False
        if not right:
            raise OptionError(option, pin, "the SHA-256 of a public key (SubjectPublicKeyInfo) in base64, 44 letters")
    return frozenset(map(str, _several(value)))


def _fingerprint(option: str, value: object) -> str:
    text = _text(option, value).replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise OptionError(option, value, "the SHA-256 of the CA's certificate in hexadecimal, 64 letters")
    return text


def _renegotiation(option: str, value: object) -> None:
    if value not in ("never", False):
        raise OptionError(option, value, "only never: TLS 1.3 has no renegotiation, and in 1.2 it is a risk")


def _curve_types(option: str, value: object) -> None:
    raise OptionError(option, value, "not supported: Python cannot choose curves; leave it out for OpenSSL's choice")


def _not_needed(option: str, value: object) -> None:
    _logger.warning("%s=%r is ignored: files are looked at before each connection", option, value)


# Name in Filebeat → the field it sets, and what reads it.
_READERS: dict[str, tuple[str, Callable[[str, object], object]]] = {
    "enabled": ("", _boolean),
    "certificate_authorities": ("authorities", _pems),
    "certificate": ("certificate", Pem),
    "key": ("key", Pem),
    "key_passphrase": ("passphrase", _text),
    "key_passphrase_path": ("passphrase_file", Pem),
    "verification_mode": ("verification_mode", _verification_mode),
    "supported_protocols": ("protocols", _protocols),
    "cipher_suites": ("ciphers", _ciphers),
    "ca_sha256": ("pins", _pins),
    "ca_trusted_fingerprint": ("fingerprint", _fingerprint),
    "certificate_reload": ("reload", _boolean),
    "certificate_reload.enabled": ("reload", _boolean),
}
# Those that set nothing: they are refused, or ignored.
_OTHERS: dict[str, Callable[[str, object], None]] = {
    "certificate_reload.reload_interval": _not_needed,
    "restart_on_cert_change.enabled": _not_needed,
    "restart_on_cert_change.period": _not_needed,
    "renegotiation": _renegotiation,
    "curve_types": _curve_types,
}
SSL_PARTS = (*_READERS, *_OTHERS)
_GROUPS = ("certificate_reload", "restart_on_cert_change")


def _warn_of_dates(file: Pem, certificate: Certificate) -> None:
    """Say that a receiver will refuse our certificate; the clock may be wrong, so it is no error."""
    now = datetime.now(UTC)
    if certificate.not_after < now:
        _logger.warning(
            "%s: %s expired on %s", file.option, _named(file), f"{certificate.not_after:%Y-%m-%d %H:%M} UTC"
        )
    elif certificate.not_before > now:
        begins = f"{certificate.not_before:%Y-%m-%d %H:%M} UTC"
        _logger.warning("%s: %s is not valid before %s", file.option, _named(file), begins)


def _named(file: Pem) -> str:
    return f"the text of {file.option}" if file.is_text else file.value


def _contents(text: bytes) -> str:
    armours = re.findall(rb"-----BEGIN ([A-Z0-9 ]+)-----", text)
    return f"a {armours[0].decode()}" if armours else "no PEM text"
