"""Every option: its default, what it takes, what it refuses, and what it shows of itself."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
import ssl
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import OptionError
from beats_core.hosts import Host
from beats_core.options import OPTIONS, Options, OptionValues
from beats_core.tls_settings import read_settings
from support.authority import Authority


def test_the_defaults_are_these() -> None:
    assert {
        "hosts": ("localhost:5044",),
        "loadbalance": False,
        "pipelining": 2,
        "bulk_max_size": 2_048,
        "bulk_max_bytes": 8 << 20,
        "flush_interval": 0.1,
        "compression_level": 3,
        "timeout": 30.0,
        "stall_timeout": 300.0,
        "backoff_init": 1.0,
        "backoff_max": 60.0,
        "max_event_bytes": 10 << 20,
        "queue_mem_bytes": 64 << 20,
        "shutdown_timeout": 5.0,
        "ssl": None,
        "index": "python",
    }.items() <= dataclasses.asdict(Options()).items()


def test_every_option_but_hosts_can_be_given_to_a_client() -> None:
    given = {name: hint.__forward_arg__ for name, hint in OptionValues.__annotations__.items()}

    assert {name: option.type for name, option in OPTIONS.items() if name != "hosts"} == given


def test_every_default_is_what_it_would_be_kept_as() -> None:
    assert {name: option.default for name, option in OPTIONS.items()} == {
        name: option.kind.keep(option.default) for name, option in OPTIONS.items()
    }


def test_every_option_says_what_it_does_and_what_it_can_be() -> None:
    assert [] == [option.name for option in OPTIONS.values() if not option.about or not option.kind.allowed]


@pytest.mark.parametrize(
    ("hosts", "listed"),
    [
        ("a", ("a:5044",)),
        ("a:1", ("a:1",)),
        ("a:1, b , [::1]:2", ("a:1", "b:5044", "[::1]:2")),
        (["a:1", "b"], ("a:1", "b:5044")),
        (("::1",), ("[::1]:5044",)),
    ],
)
def test_hosts_are_one_or_several(hosts: Any, listed: tuple[str, ...]) -> None:
    options = Options(hosts=hosts)

    assert listed == options.hosts
    assert len(listed) == len(options.addresses)
    assert all(isinstance(host, Host) for host in options.addresses)


BAD: list[tuple[str, Any]] = [
    ("hosts", ()),
    ("hosts", []),
    ("hosts", ""),
    ("hosts", "a,,b"),
    ("hosts", None),
    ("hosts", 5044),
    ("hosts", {"a"}),
    ("hosts", b"localhost"),
    ("hosts", ["a b"]),
    ("hosts", [None]),
    ("loadbalance", 1),
    ("loadbalance", "yes"),
    ("loadbalance", None),
    ("pipelining", 0),
    ("pipelining", 101),
    ("pipelining", 2.0),
    ("pipelining", True),
    ("pipelining", "2"),
    ("bulk_max_size", 0),
    ("bulk_max_size", -1),
    ("bulk_max_bytes", 0),
    ("flush_interval", -0.1),
    ("flush_interval", float("nan")),
    ("flush_interval", float("inf")),
    ("flush_interval", True),
    ("compression_level", -1),
    ("compression_level", 10),
    ("timeout", 0),
    ("timeout", -1),
    ("timeout", None),
    ("timeout", "30"),
    ("timeout", float("inf")),
    ("timeout", 0.0009),
    ("timeout", 20 * 86_400 + 1),
    ("timeout", 1e300),
    ("timeout", 10**400),
    ("workers", 0),
    ("connect_timeout", 0),
    ("stall_timeout", -1),
    ("stall_timeout", False),
    ("ttl", 10**9),
    ("tcp_keepalive_idle", 0.5),
    ("tcp_keepalive_idle", 40_000),
    ("tcp_keepalive_interval", 0),
    ("tcp_keepalive_count", 128),
    ("stall_timeout", "never"),
    ("backoff_init", -1),
    ("backoff_max", float("nan")),
    ("max_event_bytes", 0),
    ("max_event_bytes", 1 << 31),
    ("on_too_large", "Drop"),
    ("on_too_large", ["drop"]),
    ("queue_mem_bytes", 0),
    ("queue_mem_bytes", 1.5),
    ("shutdown_timeout", -1),
    ("ssl", "yes"),
    ("ssl", 1),
    ("proxy_url", ""),
    ("proxy_url", "proxy:1080"),
    ("proxy_url", "socks5://proxy"),
    ("proxy_url", "socks5://:1080"),
    ("proxy_url", "socks5://proxy:port"),
    ("proxy_url", "socks5://[::1:1080"),
    ("proxy_url", "socks4://proxy:1080"),
    ("proxy_url", "https://proxy:1080"),
    ("proxy_url", "http://proxy:3128/path"),
    ("proxy_url", b"socks5://proxy:1080"),
    ("source_address", "localhost"),
    ("source_address", "10.0.0.1:80"),
    ("source_address", 7),
    ("enabled", "true"),
    ("add_id", 1),
    ("index", ""),
    ("index", None),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_value_that_cannot_be_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(OptionError) as refused:
        Options(**{name: value})

    assert name == refused.value.option
    assert str(refused.value).startswith(f"{name}={refused.value.value!r}: ")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loadbalance", True),
        ("pipelining", 1),
        ("pipelining", 100),
        ("bulk_max_size", 1),
        ("flush_interval", 0),
        ("compression_level", 0),
        ("compression_level", 9),
        ("timeout", 0.001),
        ("timeout", 5),
        ("stall_timeout", None),
        ("backoff_init", 0),
        ("timeout", 20 * 86_400),
        ("ttl", None),
        ("connect_timeout", None),
        ("tcp_keepalive_idle", 1),
        ("shutdown_timeout", 0),
        ("on_too_large", "dead_letter"),
        ("proxy_url", "socks5://user:pass%40word@proxy:1080"),
        ("proxy_url", "socks5h://[::1]:1080/"),
        ("proxy_url", "http://proxy:3128"),
        ("source_address", "10.0.0.1"),
        ("source_address", "fe80::1%eth0"),
        ("index", "shop-%{+YYYY.MM.dd}"),
    ],
)
def test_a_value_at_the_edge_is_taken(name: str, value: Any) -> None:
    assert value == getattr(Options(**{name: value}), name)


NEVER = ("failback_interval", "idle_timeout", "stall_timeout", "tcp_keepalive_idle", "tcp_user_timeout", "ttl")


@pytest.mark.parametrize("name", NEVER)
@pytest.mark.parametrize("never", [None, 0, 0.0])
def test_never_is_none_and_0_is_taken_for_it(name: str, never: Any) -> None:
    assert getattr(Options(**{name: never}), name) is None


@pytest.mark.parametrize("step", ["connect", "handshake", "write", "ack"])
def test_each_step_takes_timeout_or_a_time_of_its_own(step: str) -> None:
    own: dict[str, Any] = {f"{step}_timeout": 2}

    assert 7.0 == getattr(Options(timeout=7), f"{step}_seconds")
    assert 2.0 == getattr(Options(timeout=7, **own), f"{step}_seconds")


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        (("localhost", 5044), 'a host and its port are one text: hosts="localhost:5044"'),
        (["ls1", 9], 'hosts="ls1:9"'),
        ("beats://ls1:5044", "that is a URL, for Options.from_url() or BEATS_URL"),
        (["ls1", "beats+tls://ls2:5044"], "that is a URL, for Options.from_url() or BEATS_URL"),
    ],
)
def test_a_likely_slip_with_hosts_is_explained(hosts: Any, told: str) -> None:
    with pytest.raises(OptionError, match=re.escape(told)):
        Options(hosts=hosts)


def test_a_proxy_needs_python_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)

    with pytest.raises(OptionError, match=re.escape("needs python-socks: pip install")):
        Options(proxy_url="socks5://proxy:1080")


def test_what_is_disabled_needs_neither_certificates_nor_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)

    options = Options(enabled=False, proxy_url="socks5://proxy:1080", ssl={"certificate": "/nowhere.pem"})

    # And yet it is not plain TCP that it says.
    with pytest.raises(OptionError, match=re.escape("/nowhere.pem")):
        _ = options.tls


# Secrets

KEY = "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----\n"


def test_options_show_no_secrets(authority: Authority) -> None:
    client = authority.client("secret@example.org", passphrase="hunter2")
    inline = {**client, "key": Path(str(client["key"])).read_text(), "key_passphrase": "hunter2"}
    options = Options(ssl=inline, proxy_url="socks5://bob:hunter2@proxy:1080")

    shown = repr(options)
    assert "hunter2" not in shown
    assert "PRIVATE" not in shown
    assert "proxy_url='socks5://bob:[REDACTED]@proxy:1080'" in shown
    assert str(client["certificate"]) in shown


@pytest.mark.parametrize(
    "arguments",
    [
        {"proxy_url": "socks4://bob:hunter2@proxy:1080"},
        {"proxy_url": "bob:hunter2@proxy:1080"},
        {"proxy_url": "socks5://bob:hun/ter2@hunter2@proxy"},
        {"hosts": "bob:hunter2@ls1:5044"},
        {"hosts": ["ls1", "beats://bob:hunter2@ls2"]},
        {"hosts": "beats://ls1?ssl.key_passphrase=hunter2"},
        {"ssl": [{"key_passphrase": "hunter2"}]},
        {"ssl": {"key_passphrase": ["hunter2"], "certificate": "/nowhere"}},
        {"ssl": {"key": KEY.replace("MIIE", "hunter2")}},
        {"ssl": {"certificate": KEY.replace("MIIE", "hunter2")}},
        {"ssl": {"password": "hunter2"}},
        {"ssl": {"key_passphras": "hunter2"}},
        {"ssl": {"passwd": "hunter2"}},
        {"ssl": {"key": "MC4CAQAwBQYDK2VwBCIEIJhunter2hunter2hunter2hunter2hunter2hunter2"}},
    ],
)
def test_errors_show_no_secrets(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionError) as refused:
        Options(**arguments)

    assert "hunter2" not in f"{refused.value} {refused.value!r} {refused.value.args}"


def test_no_value_makes_an_error_endless() -> None:
    with pytest.raises(OptionError, match=r"^timeout='x{499}…: seconds, ") as refused:
        Options(timeout="x" * 1_000_000)  # type: ignore[arg-type] # that is the case

    assert 1_000_000 == len(str(refused.value.value))


def test_what_reads_the_options_shows_no_passphrase() -> None:
    assert "hunter2" not in repr(read_settings({"key_passphrase": "hunter2"}))


def test_an_option_that_does_not_exist_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="bulk_size"):
        Options(bulk_size=1)  # type: ignore[call-arg] # that is the case


def sent(options: Options) -> object:
    return pickle.loads(pickle.dumps(options))  # noqa: S301 - our own


@pytest.mark.parametrize("again", [sent, copy.deepcopy, copy.copy])
def test_options_with_tls_can_be_copied_and_sent_to_another_process(again: Any, authority: Authority) -> None:
    options = Options(hosts="a", ssl={**authority.option, "verification_mode": "strict"})

    copied = again(options)

    assert options == copied
    assert hash(options) == hash(copied)
    assert copied.tls.context().verify_mode == ssl.CERT_REQUIRED


def test_a_context_can_be_copied() -> None:
    context = ssl.create_default_context()

    assert copy.deepcopy(Options(ssl=context)).ssl is context


def test_a_context_for_servers_is_refused() -> None:
    with pytest.raises(OptionError, match=r"ssl=.*: a context for clients is needed"):
        Options(ssl=ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_options_do_not_change() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Options().timeout = 1  # type: ignore[misc] # that is the case


def test_equal_options_are_one_key(authority: Authority) -> None:
    def make(**changes: Any) -> Options:
        return Options(**{"hosts": "a,b", "ssl": {"certificate_authorities": [authority.path]}, **changes})

    assert make() == make(hosts=["a:5044", "b"])
    assert hash(make()) == hash(make(hosts=["a:5044", "b"]))
    assert 1 == len({make(), make()})
    assert make() != make(timeout=1)
    assert make() != make(ssl=None)
    assert make() != make(ssl={"certificate_authorities": authority.path})


def test_the_context_is_made_once(authority: Authority) -> None:
    assert Options().tls is None
    assert Options(ssl=False).tls is None
    options = Options(ssl=authority.option)
    assert options.tls is options.tls is not None
    context = ssl.create_default_context()
    ready = Options(ssl=context).tls
    assert ready is not None
    assert context is ready.context()


def test_a_mapping_of_the_callers_may_change_afterwards(authority: Authority) -> None:
    mapping: dict[str, object] = {"certificate_authorities": [authority.path]}
    options = Options(ssl=mapping)
    before = hash(options)
    mapping.clear()

    assert {"certificate_authorities": [authority.path]} == options.ssl
    assert before == hash(options)


def test_a_context_shows_nothing_private() -> None:
    assert "SSLContext" not in repr(Options(ssl=True))


@given(
    name=st.sampled_from([field.name for field in dataclasses.fields(Options)]),
    value=st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.lists(st.text()),
)
def test_any_value_is_taken_or_refused_by_an_option_error(name: str, value: Any) -> None:
    try:
        options = Options(**{name: value})
    except OptionError:
        return
    assert options == dataclasses.replace(options)
    assert hash(options) == hash(dataclasses.replace(options))
    repr(options)
