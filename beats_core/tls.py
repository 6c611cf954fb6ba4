"""TLS contexts for clients. Verification of the chain and of the host name is on; nothing turns it off silently."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from typing import cast

from beats_core.errors import OptionError

Ssl = bool | ssl.SSLContext | Mapping[str, object] | None

_NAMES = ("enabled", "certificate_authorities", "certificate", "key")


def client_context(option: Ssl) -> ssl.SSLContext | None:
    """Return the context for the `ssl` option, or None for plain TCP. Reads every file now.

    Args:
        option: None or False for plain TCP; True for the system's authorities; a mapping with Filebeat's names
            `certificate_authorities` (a path or several), `certificate` and `key` (paths), `enabled`;
            or a context that is ready, used as it is.

    Raises:
        OptionError: A name is unknown, a file cannot be read, or a key does not fit its certificate.
    """
    if isinstance(option, ssl.SSLContext):
        return option
    if option is None or option is False:
        return None
    if option is not True and not isinstance(option, Mapping):
        raise OptionError("ssl", option, "true, false, a mapping of ssl options or an ssl.SSLContext")
    settings: Mapping[str, object] = {} if option is True else option
    for name in settings:
        if name not in _NAMES:
            raise OptionError(f"ssl.{name}", settings[name], f"unknown; there are {', '.join(_NAMES)}")
    if not settings.get("enabled", True):
        return None
    # Not create_default_context: from 3.13 on it refuses authorities that are common in companies (VERIFY_X509_STRICT).
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_authorities(context, settings.get("certificate_authorities"))
    _load_certificate(context, settings.get("certificate"), settings.get("key"))
    return context


def _load_authorities(context: ssl.SSLContext, paths: object) -> None:
    if not paths:
        context.load_default_certs()
        return
    for path in paths if isinstance(paths, Sequence) and not isinstance(paths, str) else [paths]:
        try:
            context.load_verify_locations(cast("str", path))
        except (OSError, TypeError) as error:
            raise OptionError("ssl.certificate_authorities", path, f"not a readable PEM file: {error}") from error


def _load_certificate(context: ssl.SSLContext, certificate: object, key: object) -> None:
    if not certificate:
        if key:
            raise OptionError("ssl.key", key, "a key needs its ssl.certificate")
        return
    try:
        # An empty passphrase, so that an encrypted key is an error and never a question on the terminal.
        context.load_cert_chain(cast("str", certificate), cast("str | None", key), password="")
    except (OSError, TypeError, ValueError) as error:
        raise OptionError("ssl.certificate", certificate, f"does not load with key {key!r}: {error}") from error
