"""The kinds of values options have: what is allowed, how it is kept, and how it is written as text.

Durations are seconds, sizes bytes. In a text they may have units: those of Go for durations (`1m30s`, `500ms`), and
for sizes, as in Filebeat, `10MB` for 10,000,000 bytes and `10MiB` for 10,485,760.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from beats_core.errors import OptionError
from beats_core.hosts import parse_host, parse_proxy
from beats_core.redaction import redacted

MOST_SECONDS = 20 * 86_400  # poll(2) takes milliseconds in 31 bits, which are 24.8 days; the rest is for jitter
MOST_FRAME_BYTES = (1 << 31) - 1  # what Logstash reads as a frame's length
MOST_MEMORY_BYTES = 1 << 48

_WORDS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_NONE = ("none", "never", "off")
_DECIMAL = r"(?:\d+(?:\.\d*)?|\.\d+)"
_DURATION_PART = rf"({_DECIMAL})(ns|us|µs|ms|s|m|h)"
_SECONDS_PER = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = re.compile(rf"({_DECIMAL}) ?([kmgt])(i?)b?|(\d+) ?b?", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True)
class Kind:
    """What the value of an option can be.

    Attributes:
        allowed: The same in words, for errors and the documentation.
        keep: Returns a value as `Options` keeps it; a ValueError if it is not allowed.
        read: Returns the value that a text stands for, on which `keep` has the last word; a ValueError if for none.
    """

    allowed: str
    keep: Callable[[object], object]
    read: Callable[[str], object] = str

    def from_text(self, text: str) -> object:
        """Return the value that a text stands for, as `Options` keeps it.

        Raises:
            ValueError: It stands for none, or for one that is not allowed.
        """
        return self.keep(self.read(text))

    def or_none(self, meaning: str, *, zero_too: bool = False) -> Kind:
        """Return the kind that has None as well, and what it means; with `zero_too` 0 is taken for None."""

        def keep(value: object) -> object:
            zero = isinstance(value, int | float) and not isinstance(value, bool) and not value
            return None if value is None or (zero and zero_too) else self.keep(value)

        def read(text: str) -> object:
            return None if text.lower() in _NONE else self.read(text)

        return dataclasses.replace(self, allowed=f"{self.allowed}; None {meaning}", keep=keep, read=read)


class Option(NamedTuple):
    """One row of the table of options.

    Attributes:
        name: As a keyword argument.
        type: Its annotation.
        default: As `Options` keeps it.
        kind: What else it can be.
        about: What it does, in a clause.
        filebeat: What Filebeat calls it, or nothing.
    """

    name: str
    type: str
    default: object
    kind: Kind
    about: str
    filebeat: str


def option(default: Any, kind: Kind, about: str, *, filebeat: str = "") -> Any:
    """Return the field of `Options` that declares an option."""
    return dataclasses.field(default=default, metadata={"kind": kind, "about": about, "filebeat": filebeat})


class SslOptions(Mapping[str, object]):
    """An `ssl` option that is a mapping: a copy that nobody changes, with a hash, and a `repr` without secrets."""

    def __init__(self, options: Mapping[str, object]) -> None:
        # By name: a mapping of logging.config makes of a value what it stands for only then.
        self._options = {name: _copy(options[name]) for name in options}

    def __getitem__(self, name: str) -> object:
        """Return one of them."""
        return self._options[name]

    def __iter__(self) -> Iterator[str]:
        """Iterate over their names."""
        return iter(self._options)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._options)

    def __hash__(self) -> int:
        """Return the same for equal ones."""
        return hash(frozenset(self._options))  # of the names: not every value has a hash

    def __repr__(self) -> str:
        """Show them as a dict does."""
        return repr(redacted("ssl", self._options))


def _copy(value: object) -> object:
    return list(value) if isinstance(value, list | tuple) else value


def _boolean(value: object) -> object:
    if value is not True and value is not False:
        raise ValueError
    return value


def read_boolean(text: str) -> bool:
    """Return what `true`, `yes`, `on`, `1` or their opposites say.

    Raises:
        ValueError: It is none of these words.
    """
    if text.lower() not in _WORDS:
        raise ValueError
    return _WORDS[text.lower()]


def _whole_between(least: int, most: int) -> Callable[[object], int]:
    def keep(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return value

    return keep


def whole(least: int, most: int, what: str = "") -> Kind:
    """Return the kind of whole numbers of something."""
    allowed = f"a whole number{f' of {what}' if what else ''}, {least} to {most}"
    return Kind(allowed, _whole_between(least, most), int)


def size(most: int, least: int = 1) -> Kind:
    """Return the kind of a number of bytes."""
    return Kind(f"a whole number of bytes, {least} to {most}", _whole_between(least, most), _read_size)


def _read_size(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if not found:
        raise ValueError
    number, power, binary, plain = found.groups()
    if plain:
        return int(plain)
    return int(Fraction(number) * (1024 if binary else 1000) ** ("kmgt".index(power.lower()) + 1))


def seconds(least: float = 0, most: float = MOST_SECONDS) -> Kind:
    """Return the kind of a duration between two, both included."""

    def keep(value: object) -> float:
        # NaN compares false.
        if not isinstance(value, int | float) or isinstance(value, bool) or not least <= value <= most:
            raise ValueError
        return float(value)

    return Kind(f"seconds, {least} to {most}", keep, _read_seconds)


def _read_seconds(text: str) -> float:
    if re.fullmatch(_DECIMAL, text, re.ASCII):
        return float(text)
    if not re.fullmatch(f"(?:{_DURATION_PART})+", text, re.ASCII):
        raise ValueError
    return sum(float(number) * _SECONDS_PER[unit] for number, unit in re.findall(_DURATION_PART, text, re.ASCII))


def one_of(*words: str) -> Kind:
    """Return the kind that is one of some words."""

    def keep(value: object) -> str:
        if not isinstance(value, str) or value not in words:
            raise ValueError
        return value

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", keep, str.lower)


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _path(value: object) -> str:
    # Absolute, because the program may go to another directory, and so that equal ones are equal.
    return str(Path(_text(os.fspath(value) if isinstance(value, os.PathLike) else value)).absolute())


def _hosts(value: object) -> tuple[str, ...]:
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, Sequence) or isinstance(listed, bytes | bytearray) or not listed:
        raise ValueError
    name, *rest = listed
    if isinstance(name, str) and len(rest) == 1 and isinstance(rest[0], int):
        raise OptionError("hosts", value, f'a host and its port are one text: hosts="{name}:{rest[0]}"')
    for host in listed:
        if isinstance(host, str) and re.match(r"\s*beats(\+\w+)?://", host):
            raise OptionError(
                "hosts", value, "that is a URL, for Options.from_url() or BEATS_URL; a host is 'name:port'"
            )
    return tuple(str(parse_host(host)) for host in listed)


def _proxy(value: object) -> str:
    text = _text(value)
    parse_proxy(text)
    return text


def _address(value: object) -> str:
    return str(ipaddress.ip_address(_text(value)))


def _ssl(value: object) -> object:
    if isinstance(value, Mapping):
        return SslOptions(value)  # tls knows what may be in it
    if value is not None and not isinstance(value, bool | ssl.SSLContext):
        raise ValueError
    return value


BOOLEAN = Kind("true or false", _boolean, read_boolean)
SECONDS = seconds()
SOME_SECONDS = seconds(0.001)
NEVER = SOME_SECONDS.or_none("for never", zero_too=True)
KEEPALIVE = seconds(1, 32_767)  # Linux: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL
AS_TIMEOUT = SOME_SECONDS.or_none("for `timeout`")
TEXT = Kind("a text that is not empty", _text)
PATH = Kind("a path", _path).or_none("for none")
HOSTS = Kind("one host or a list of hosts, each 'name:port'", _hosts)
PROXY = Kind("a URL `socks5://`, `socks5h://` or `http://` with host and port", _proxy).or_none("for no proxy")
ADDRESS = Kind("an address of IPv4 or IPv6", _address).or_none("for the system's choice")
SSL = Kind("true, false, a mapping of ssl options or an ssl.SSLContext", _ssl, read_boolean)
