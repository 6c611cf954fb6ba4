"""What no error, log line or `repr` may show of an option: passphrases, private keys, passwords in URLs."""

from __future__ import annotations

import re
from collections.abc import Mapping

REDACTED = "[REDACTED]"

# A key that lost its armour or was cut in the middle is still a key, so whatever looks like PEM goes, certificates too.
_PEM = re.compile(r"-----|PRIVATE KEY|\n.*\n", re.DOTALL)
# From the first colon behind the scheme up to the last @: a password may hold both.
_PASSWORD = re.compile(r"^((?:[a-z][a-z0-9+.-]*://)?+[^:@]*):.*@", re.DOTALL | re.IGNORECASE)
# Any spelling: what is misspelt is shown by the error that says so.
_SECRET = re.compile(r"pass|secret|token|credential", re.IGNORECASE)
_LONGEST_PATH = 200  # of a key; what is longer is the key itself, on one line
_BARE_KEY = re.compile(r"[A-Za-z0-9+/=\\\s]{60,}")  # base64 without armour; that of Ed25519 has 64 letters


def redacted(name: str, value: object) -> object:
    """Return the value of an option as it may be shown; mappings and lists are copied.

    Args:
        name: `ssl.key_passphrase`, `BEATS_SSL_KEY_PASSPHRASE`, `key_passphrase`, in any case.
        value: Whatever was given.
    """
    if value and _SECRET.search(name) and not name.lower().endswith("_path"):
        return REDACTED
    if isinstance(value, Mapping):
        return {key: redacted(str(key), value[key]) for key in value}
    if isinstance(value, list | tuple):
        items = [redacted(name, item) for item in value]
        return items if isinstance(value, list) else tuple(items)
    if isinstance(value, bytes | bytearray):
        return REDACTED if redacted(name, text := value.decode("latin-1")) != text else value
    if not isinstance(value, str):
        return value
    is_key = name.lower().endswith("key") and (len(value) > _LONGEST_PATH or _BARE_KEY.fullmatch(value))
    if is_key or _PEM.search(value):
        return REDACTED
    if "://" not in value or "?" not in value:
        return _PASSWORD.sub(rf"\1:{REDACTED}@", value)
    if found := _PASSWORD.match(value):  # where the password ends, the question mark leaves open
        return f"{found[1]}:{REDACTED}"
    # A parameter of BEATS_URL may be any of these secrets; the names tell enough.
    address, _, parameters = value.partition("?")
    names = [parameter.partition("=")[0] for parameter in parameters.split("&")]
    return f"{address}?{'&'.join(f'{each}=…' for each in names)}"
