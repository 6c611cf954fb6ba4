"""Every option once: its name, default, kind, Filebeat's name where it has one, and what it does.

From this table come the checks of arguments, the reading of environment, URL and mappings (in `option_sources`), and
the reference page of the documentation. Filebeat's nested names are flat here: `backoff.init` is `backoff_init`.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict, Unpack

from beats_core.errors import OptionError
from beats_core.hosts import Host, parse_host
from beats_core.option_kinds import (
    ADDRESS,
    AS_TIMEOUT,
    BOOLEAN,
    HOSTS,
    KEEPALIVE,
    MOST_FRAME_BYTES,
    MOST_MEMORY_BYTES,
    NEVER,
    PATH,
    PROXY,
    SECONDS,
    SOME_SECONDS,
    SSL,
    TEXT,
    Option,
    one_of,
    option,
    size,
    whole,
)
from beats_core.option_sources import (
    Layer,
    check_names,
    read_environment,
    read_mapping,
    read_url,
    warn_of_problems,
)
from beats_core.redaction import redacted
from beats_core.tls import Ssl, Tls


class OptionValues(TypedDict, total=False):
    """The options but `hosts`, as keyword arguments of the clients and the shipper; see `Options`."""

    enabled: bool
    loadbalance: bool
    workers: int
    failback_interval: float | None
    resolve_all: bool
    resolve_interval: float
    pipelining: int
    slow_start: bool
    bulk_max_size: int
    bulk_max_bytes: int
    flush_interval: float
    compression_level: int
    timeout: float
    connect_timeout: float | None
    handshake_timeout: float | None
    write_timeout: float | None
    ack_timeout: float | None
    stall_timeout: float | None
    idle_timeout: float | None
    ttl: float | None
    backoff_init: float
    backoff_max: float
    max_event_bytes: int
    on_too_large: str
    queue_mem_bytes: int
    on_full: str
    block_timeout: float
    keep_level: int
    spool: str | None
    durability: str | None
    fsync: str
    spool_max_bytes: int
    spool_min_free_bytes: int
    shutdown_timeout: float
    ssl: Ssl
    proxy_url: str | None
    proxy_use_local_resolver: bool
    source_address: str | None
    tcp_keepalive_idle: float | None
    tcp_keepalive_interval: float
    tcp_keepalive_count: int
    tcp_user_timeout: float | None
    index: str
    add_id: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class Options:
    """What a client or shipper was told. Immutable and hashable: equal options compare equal.

    `Options(...)` is what is given, and else the defaults; `Options.load(...)` asks the environment as well. What each
    option can be and does is in the table `OPTIONS`, and in the documentation's reference.

    Raises:
        OptionError: Names the option, the value and what is allowed. The files of `ssl` are read here, too.
    """

    hosts: Sequence[str] | str = option(
        ("localhost:5044",), HOSTS, "Receivers; tried in order, or all at once with `loadbalance`", filebeat="hosts"
    )
    enabled: bool = option(
        True, BOOLEAN, "False makes everything a no-op: nothing is accepted, connected or sent", filebeat="enabled"
    )
    loadbalance: bool = option(
        False,
        BOOLEAN,
        "One connection to each host, windows to whichever is free. Else the first that works",
        filebeat="loadbalance",
    )
    workers: int = option(
        1,
        whole(1, 1000, "connections"),
        "Connections to each host; without `loadbalance`, to the first host that works",
        filebeat="worker",
    )
    failback_interval: float | None = option(
        60.0, NEVER, "How often a shipper that is not on its first host tries the earlier ones"
    )
    resolve_all: bool = option(False, BOOLEAN, "Each address of a name is a host of its own")
    resolve_interval: float = option(60.0, SOME_SECONDS, "How often names are resolved again with `resolve_all`")
    pipelining: int = option(
        2,
        whole(1, 100, "windows"),
        "Windows in flight on one connection before the first is acknowledged",
        filebeat="pipelining",
    )
    slow_start: bool = option(
        False, BOOLEAN, "Begin with small windows, and grow with each that is acknowledged", filebeat="slow_start"
    )
    bulk_max_size: int = option(
        2048,
        whole(1, 1 << 20, "events"),
        "Most events of one window. go-lumber refuses more than 10,000",
        filebeat="bulk_max_size",
    )
    bulk_max_bytes: int = option(
        8 << 20,
        size(MOST_FRAME_BYTES),
        "Most bytes of one window before compression; a larger event travels alone",
    )
    flush_interval: float = option(
        0.1,
        SECONDS,
        "Longest an event waits for its window to fill while another is in flight",
        filebeat="queue.mem.flush.timeout",
    )
    compression_level: int = option(3, whole(0, 9), "0 is off, 1 fastest, 9 smallest", filebeat="compression_level")
    timeout: float = option(
        30.0,
        SOME_SECONDS,
        "For connecting, for the peer to take bytes, and for its silence while an ack is due",
        filebeat="timeout",
    )
    connect_timeout: float | None = option(None, AS_TIMEOUT, "For each address, and a proxy before it")
    handshake_timeout: float | None = option(None, AS_TIMEOUT, "For TLS")
    write_timeout: float | None = option(None, AS_TIMEOUT, "For the peer to take bytes")
    ack_timeout: float | None = option(None, AS_TIMEOUT, "For its silence while an ack is due")
    stall_timeout: float | None = option(300.0, NEVER, "For keep-alives without any ack")
    idle_timeout: float | None = option(
        50.0, NEVER, "A line that was idle for so long is not used again; Logstash closes one after 60 s"
    )
    ttl: float | None = option(
        None, NEVER, "How long a line is used, give or take a tenth, before another takes its place", filebeat="ttl"
    )
    backoff_init: float = option(
        1.0, SECONDS, "The first wait after no host could be reached; doubles, with jitter", filebeat="backoff.init"
    )
    backoff_max: float = option(60.0, SECONDS, "The longest wait", filebeat="backoff.max")
    max_event_bytes: int = option(10 << 20, size(MOST_FRAME_BYTES), "Largest event; a larger one: see `on_too_large`")
    on_too_large: str = option(
        "drop",
        one_of("drop", "truncate", "dead_letter"),
        '"drop" refuses such an event, "truncate" shortens its texts, "dead_letter" sets it aside',
    )
    queue_mem_bytes: int = option(
        64 << 20, size(MOST_MEMORY_BYTES), "Most memory for events that are not settled; then: see `on_full`"
    )
    on_full: str = option(
        "drop_newest",
        one_of("drop_newest", "drop_oldest", "block"),
        "Without room: refuse the event, give up the oldest, or wait for `block_timeout` and then refuse it",
    )
    block_timeout: float = option(1.0, SECONDS, 'How long `put()` waits for room with `on_full="block"`')
    keep_level: int = option(
        40, whole(0, 1000), "Events from this level on are given up last, and the last tenth of the room is theirs"
    )
    spool: str | None = option(
        None, PATH, "The directory for events on disk; many processes may share it", filebeat="queue.disk.path"
    )
    durability: str | None = option(
        None,
        one_of("memory", "spool", "journal").or_none('for "spool" with a directory, else "memory"'),
        'Where an event is when it is accepted: in "memory", soon on disk ("spool"), or on disk ("journal")',
    )
    fsync: str = option(
        "second",
        one_of("none", "second", "each"),
        "When the disk is told to keep what was written; none: by the system",
    )
    spool_max_bytes: int = option(
        1_000_000_000, size(MOST_MEMORY_BYTES), "Most bytes on disk", filebeat="queue.disk.max_size"
    )
    spool_min_free_bytes: int = option(
        100_000_000, size(MOST_MEMORY_BYTES, least=0), "Free bytes of the disk that are not touched"
    )
    shutdown_timeout: float = option(5.0, SECONDS, "How long `close()` and the end of the program wait for acks")
    ssl: Ssl = option(  # noqa: RUF009 - a field, like the others
        None, SSL, "None or False: plain TCP. True: TLS, with the system's authorities. Or its parts", filebeat="ssl"
    )
    proxy_url: str | None = option(None, PROXY, "The proxy, with `user:password@` where needed", filebeat="proxy_url")
    proxy_use_local_resolver: bool = option(
        False, BOOLEAN, "Names are resolved here, not by the proxy", filebeat="proxy_use_local_resolver"
    )
    source_address: str | None = option(None, ADDRESS, "The local address to connect from")
    tcp_keepalive_idle: float | None = option(
        15.0, KEEPALIVE.or_none("for never", zero_too=True), "Silence before TCP's own keep-alives begin"
    )
    tcp_keepalive_interval: float = option(15.0, KEEPALIVE, "Between two of them")
    tcp_keepalive_count: int = option(9, whole(1, 127), "How many unanswered ones end the connection")
    tcp_user_timeout: float | None = option(
        None,
        SOME_SECONDS.or_none("for the system's choice", zero_too=True),
        "How long sent bytes may stay unacknowledged by TCP",
    )
    index: str = option(
        "python",
        TEXT,
        "`@metadata.beat`, of which Logstash's usual configuration makes the index name",
        filebeat="index",
    )
    add_id: bool = option(
        True, BOOLEAN, "Give each event a unique `@metadata._id`, by which Elasticsearch tells a repetition"
    )

    def __post_init__(self) -> None:
        """Check every value, and bring it into the form it is kept in."""
        for name, row in OPTIONS.items():
            value = getattr(self, name)
            try:
                object.__setattr__(self, name, row.kind.keep(value))
            except OptionError:
                raise
            except ValueError as error:
                raise OptionError(name, value, row.kind.allowed) from error
        if not self.enabled:  # what nobody will use may be missing
            return
        if self.proxy_url is not None and importlib.util.find_spec("python_socks") is None:
            raise OptionError("proxy_url", self.proxy_url, "needs python-socks: pip install beats-integrations[proxy]")
        _ = self.tls  # whatever is wrong with the files shows here, at the caller, and not at the first connection

    def __reduce__(self) -> tuple[Callable[[], Options], tuple[()]]:
        """Copy and pickle what was told: a context cannot be, another process reads the files itself."""
        return functools.partial(type(self), **{name: getattr(self, name) for name in OPTIONS}), ()

    def __repr__(self) -> str:
        """Show them as a call, without secrets."""
        shown = (f"{name}={redacted(name, getattr(self, name))!r}" for name in OPTIONS)
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def addresses(self) -> tuple[Host, ...]:
        """The hosts, parsed."""
        return tuple(parse_host(host) for host in self.hosts)

    @functools.cached_property
    def tls(self) -> Tls | None:
        """What it takes to speak TLS, or None for plain TCP."""
        return Tls.from_option(self.ssl)

    @property
    def connect_seconds(self) -> float:
        """How long connecting to one address may take."""
        return self.timeout if self.connect_timeout is None else self.connect_timeout

    @property
    def handshake_seconds(self) -> float:
        """How long the handshake of TLS may take."""
        return self.timeout if self.handshake_timeout is None else self.handshake_timeout

    @property
    def write_seconds(self) -> float:
        """How long the peer may take no bytes."""
        return self.timeout if self.write_timeout is None else self.write_timeout

    @property
    def ack_seconds(self) -> float:
        """How long the peer may be silent while an ack is due."""
        return self.timeout if self.ack_timeout is None else self.ack_timeout

    @classmethod
    def load(
        cls,
        mapping: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        *,
        hosts: Sequence[str] | str | None = None,
        **arguments: Unpack[OptionValues],
    ) -> Options:
        """Make options of the arguments, else of the environment, else of a mapping, else of the defaults.

        The environment is `BEATS_<OPTION>`, `BEATS_SSL_<PART>`, `BEATS_URL` and `BEATS_DISABLED`. A variable with a
        value that cannot be is told once to the logger `beats_core.options` and then ignored; but TLS stays on.

        Args:
            mapping: As for `from_mapping`.
            environ: The environment; None is the process's own.
            hosts: None is not given.
            **arguments: Other options. `ssl` replaces everything that environment and mapping say about TLS; None is
                not given.

        Raises:
            OptionError: There is no such option, it cannot have that value, or certificates cannot be read.
        """
        given = _given(arguments if hosts is None else {"hosts": hosts, **arguments})
        variables = read_environment(OPTIONS, environ)
        warn_of_problems(variables)
        layers = [variables, Layer(given)]
        if mapping is not None:
            layers.insert(0, read_mapping(OPTIONS, mapping))
        return cls._lay(layers)

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> Options:
        """Make options of the environment, the process's own if it is None; as `load` does.

        Raises:
            OptionError: The certificates that it names cannot be read, or do not fit.
        """
        return cls.load(environ=environ)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Options:
        """Make options of a mapping and nothing else.

        Args:
            mapping: Our names; or those of Filebeat's `output.logstash`, nested or with dots; or a whole
                configuration of Filebeat's, of which that section is taken. Durations and sizes may be texts with
                units. What Filebeat has and we do not is told once to the logger `beats_core.options`.

        Raises:
            OptionError: There is no such option, it cannot have that value, or certificates cannot be read.
        """
        return cls._lay([read_mapping(OPTIONS, mapping)])

    @classmethod
    def from_url(cls, url: str, **arguments: Unpack[OptionValues]) -> Options:
        """Make options of a URL, and of arguments, which come first.

        Args:
            url: `beats://ls1:5044,ls2:5044?loadbalance=true` for plain TCP;
                `beats+tls://ls1:5044?ssl.certificate_authorities=/ca.pem` for TLS; `beats+unix:///run/beats.sock`.
            **arguments: Other options.

        Raises:
            OptionError: It is no such URL; or as for `from_mapping`.
        """
        given = _given(arguments)
        return cls._lay([read_url(OPTIONS, url), Layer(given)])

    @classmethod
    def _lay(cls, layers: Sequence[Layer]) -> Options:
        """Lay the values of each layer over those of the layers before it."""
        values: dict[str, Any] = {}
        for layer in layers:
            values |= layer.values
        try:
            return cls(**values)
        except OptionError as error:
            name = error.option.partition(".")[0]
            said_by = next((layer for layer in reversed(layers) if name in layer.values), None)
            if said_by is None:
                raise
            raise said_by.in_its_words(error) from error


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, but not an `ssl` that nobody gave: what others say of TLS, only False turns off."""
    check_names(OPTIONS, arguments)
    return {name: value for name, value in arguments.items() if name != "ssl" or value is not None}


OPTIONS: Mapping[str, Option] = {
    field.name: Option(name=field.name, type=str(field.type), default=field.default, **field.metadata)
    for field in dataclasses.fields(Options)
}
