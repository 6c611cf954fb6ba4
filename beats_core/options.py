"""Every option once: Filebeat's name where it has one, the default, and what is allowed.

Filebeat's nested names are flat here (`backoff.init` is `backoff_init`). Durations are seconds, sizes bytes.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ssl import SSLContext
from typing import TypedDict

from beats_core.errors import OptionError
from beats_core.hosts import Host, parse_host
from beats_core.tls import Ssl, client_context


class OptionValues(TypedDict, total=False):
    """The options but `hosts`, as keyword arguments of the clients and the shipper; see `Options`."""

    loadbalance: bool
    pipelining: int
    bulk_max_size: int
    bulk_max_bytes: int
    flush_interval: float
    compression_level: int
    timeout: float
    stall_timeout: float | None
    backoff_init: float
    backoff_max: float
    max_event_bytes: int
    queue_mem_bytes: int
    shutdown_timeout: float
    ssl: Ssl
    index: str


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a client or shipper was told. Immutable and hashable: equal options compare equal.

    Attributes:
        hosts: Receivers, as `name:port`; tried in order, or all at once with `loadbalance`.
        loadbalance: One connection to each host, windows to whichever is free. Else the first that works.
        pipelining: Windows in flight on one connection before the first is acknowledged.
        bulk_max_size: Most events of one window. go-lumber refuses more than 10,000.
        bulk_max_bytes: Most bytes of one window before compression; a larger event travels alone.
        flush_interval: Longest an event waits for its window to fill while another is in flight.
        compression_level: 0 is off, 1 fastest, 9 smallest.
        timeout: For connecting, for the peer to take bytes, and for its silence while an ack is due.
        stall_timeout: For keep-alives without any ack; None waits for ever.
        backoff_init: The first wait after no host could be reached; doubles, with jitter.
        backoff_max: The longest wait.
        max_event_bytes: Largest event; a larger one is refused.
        queue_mem_bytes: Most memory for events that are not settled; then the newest are refused.
        shutdown_timeout: How long `close()` and the end of the program wait for acks.
        ssl: None or False: plain TCP. True: TLS, the system's authorities. A mapping with `certificate_authorities`,
            `certificate`, `key`. Or an `ssl.SSLContext`.
        index: `@metadata.beat`, of which Logstash's usual configuration makes the index name.
    """

    hosts: Sequence[str] | str = ("localhost:5044",)
    loadbalance: bool = False
    pipelining: int = 2
    bulk_max_size: int = 2048
    bulk_max_bytes: int = 8 << 20
    flush_interval: float = 0.1
    compression_level: int = 3
    timeout: float = 30.0
    stall_timeout: float | None = 300.0
    backoff_init: float = 1.0
    backoff_max: float = 60.0
    max_event_bytes: int = 10 << 20
    queue_mem_bytes: int = 64 << 20
    shutdown_timeout: float = 5.0
    ssl: Ssl = None
    index: str = "python"

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            OptionError: Names the option, the value and what is allowed.
        """
        object.__setattr__(self, "hosts", _host_list(self.hosts))
        for name, check, allowed in _CHECKS:
            value = getattr(self, name)
            if not check(value):
                raise OptionError(name, value, allowed)
        if isinstance(self.ssl, Mapping):
            object.__setattr__(self, "ssl", _FrozenMapping(self.ssl))
        # Whatever is wrong with the files shows here, at the caller, and not at the first connection.
        object.__setattr__(self, "_context", client_context(self.ssl))

    @property
    def addresses(self) -> tuple[Host, ...]:
        """The hosts, parsed."""
        return tuple(parse_host(host) for host in self.hosts)

    @property
    def ssl_context(self) -> SSLContext | None:
        """The context for TLS, or None for plain TCP."""
        context: SSLContext | None = self.__dict__["_context"]
        return context

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Options:
        """Read `BEATS_HOSTS` (comma-separated), `BEATS_LOADBALANCE` and so on; what is not set has its default.

        `BEATS_SSL` is true or false; `BEATS_SSL_CERTIFICATE_AUTHORITIES` (comma-separated), `BEATS_SSL_CERTIFICATE`
        and `BEATS_SSL_KEY` are paths and turn TLS on.

        Raises:
            OptionError: A variable has a value it cannot have.
        """
        environ = os.environ if environ is None else environ
        values: dict[str, object] = {}
        for option in dataclasses.fields(cls):
            text = environ.get(f"BEATS_{option.name.upper()}", "").strip()
            if text:
                values[option.name] = _from_text(option.name, text, option.default)
        tls = {
            name: [path.strip() for path in text.split(",")] if name == "certificate_authorities" else text
            for name in ("certificate_authorities", "certificate", "key")
            if (text := environ.get(f"BEATS_SSL_{name.upper()}", "").strip())
        }
        if tls and values.get("ssl", True) is True:
            values["ssl"] = tls
        return cls(**values)  # type: ignore[arg-type] # the names are the fields', the values are checked


class _FrozenMapping(dict[str, object]):
    """A mapping of ssl options that can be hashed, so that options with equal ones are equal."""

    def __hash__(self) -> int:  # type: ignore[override] # dict says None
        return hash(repr(sorted(self.items())))


def _host_list(hosts: object) -> tuple[str, ...]:
    listed = hosts.split(",") if isinstance(hosts, str) else hosts
    if not isinstance(listed, Sequence) or not listed:
        raise OptionError("hosts", hosts, "one host or a list of hosts, each 'name:port'")
    return tuple(str(parse_host(host)) for host in listed)


def _whole(least: int, most: int = 1 << 40) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


_CHECKS: tuple[tuple[str, Callable[[object], bool], str], ...] = (
    ("loadbalance", lambda value: isinstance(value, bool), "true or false"),
    ("pipelining", _whole(1, 100), "a whole number of windows, 1 to 100"),
    ("bulk_max_size", _whole(1, 1 << 20), "a whole number of events, 1 to 1048576"),
    ("bulk_max_bytes", _whole(1), "a whole number of bytes, at least 1"),
    ("flush_interval", _seconds, "seconds, at least 0"),
    ("compression_level", _whole(0, 9), "a whole number, 0 (off) to 9"),
    ("timeout", lambda value: _seconds(value) and value != 0, "seconds, more than 0"),
    ("stall_timeout", lambda value: value is None or (_seconds(value) and value != 0), "seconds, or None for never"),
    ("backoff_init", _seconds, "seconds, at least 0"),
    ("backoff_max", _seconds, "seconds, at least 0"),
    ("max_event_bytes", _whole(1), "a whole number of bytes, at least 1"),
    ("queue_mem_bytes", _whole(1), "a whole number of bytes, at least 1"),
    ("shutdown_timeout", _seconds, "seconds, at least 0"),
    ("index", lambda value: isinstance(value, str) and value != "", "a text that is not empty"),
)

_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def _from_text(name: str, text: str, default: object) -> object:
    """Return an environment variable's text as the type of the option's default."""
    variable = f"BEATS_{name.upper()}"
    if name == "ssl" or isinstance(default, bool):
        if text.lower() not in _BOOLEANS:
            raise OptionError(variable, text, "true or false")
        return _BOOLEANS[text.lower()]
    if isinstance(default, int | float):
        try:
            return int(text) if isinstance(default, int) else float(text)
        except ValueError as error:
            raise OptionError(variable, text, "a number") from error
    return text
