"""Every option: its default, what it takes, what it refuses, and how the environment sets it."""

from __future__ import annotations

import dataclasses
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import OptionError
from beats_core.hosts import Host
from beats_core.options import Options, OptionValues
from support.authority import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


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
    assert {field.name for field in dataclasses.fields(Options)} - {"hosts"} == set(OptionValues.__annotations__)


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
    ("stall_timeout", 0),
    ("stall_timeout", -1),
    ("stall_timeout", "never"),
    ("backoff_init", -1),
    ("backoff_max", float("nan")),
    ("max_event_bytes", 0),
    ("queue_mem_bytes", 0),
    ("queue_mem_bytes", 1.5),
    ("shutdown_timeout", -1),
    ("ssl", "yes"),
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
        ("shutdown_timeout", 0),
        ("index", "shop-%{+YYYY.MM.dd}"),
    ],
)
def test_a_value_at_the_edge_is_taken(name: str, value: Any) -> None:
    assert value == getattr(Options(**{name: value}), name)


def test_an_option_that_does_not_exist_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(TypeError, match="bulk_size"):
        Options(bulk_size=1)  # type: ignore[call-arg] # that is the case


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
    assert Options().ssl_context is None
    assert Options(ssl=False).ssl_context is None
    options = Options(ssl=authority.option)
    assert isinstance(options.ssl_context, ssl.SSLContext)
    assert options.ssl_context is options.ssl_context
    context = ssl.create_default_context()
    assert context is Options(ssl=context).ssl_context
    assert context is dataclasses.replace(Options(ssl=context), timeout=1).ssl_context


def test_a_mapping_of_the_callers_may_change_afterwards(authority: Authority) -> None:
    mapping: dict[str, object] = {"certificate_authorities": [authority.path]}
    options = Options(ssl=mapping)
    before = hash(options)
    mapping.clear()

    assert {"certificate_authorities": [authority.path]} == options.ssl
    assert before == hash(options)


def test_a_context_shows_nothing_private() -> None:
    assert "SSLContext" not in repr(Options(ssl=True))


def test_the_environment_sets_options() -> None:
    environ = {
        "BEATS_HOSTS": "ls1:5044, ls2",
        "BEATS_LOADBALANCE": "Yes",
        "BEATS_PIPELINING": "4",
        "BEATS_FLUSH_INTERVAL": " 0.5 ",
        "BEATS_TIMEOUT": "10",
        "BEATS_INDEX": "shop",
        "BEATS_BULK_MAX_SIZE": "",
        "BEATS_SSL": "false",
        "PATH": "/bin",
        "BEATS_UNKNOWN": "ignored",
    }

    assert Options(
        hosts=("ls1", "ls2"), loadbalance=True, pipelining=4, flush_interval=0.5, timeout=10, index="shop", ssl=False
    ) == Options.from_env(environ)
    assert Options() == Options.from_env({})


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATS_PIPELINING", "7")

    assert 7 == Options.from_env().pipelining


@pytest.mark.parametrize("text", ["true", "TRUE", "1", "yes", "On"])
def test_true_has_many_names(text: str) -> None:
    options = Options.from_env({"BEATS_LOADBALANCE": text, "BEATS_SSL": text})

    assert (True, True) == (options.loadbalance, options.ssl)


@pytest.mark.parametrize("text", ["false", "0", "NO", "off"])
def test_false_has_many_names(text: str) -> None:
    options = Options.from_env({"BEATS_LOADBALANCE": text, "BEATS_SSL": text})

    assert (False, False) == (options.loadbalance, options.ssl)


def test_the_environment_sets_tls(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    client = authority.client("app@example.org")
    environ = {
        "BEATS_SSL_CERTIFICATE_AUTHORITIES": f"{authority.path}, {other.path}",
        "BEATS_SSL_CERTIFICATE": str(client["certificate"]),
        "BEATS_SSL_KEY": str(client["key"]),
    }
    expected = {**client, "certificate_authorities": [authority.path, other.path]}

    assert expected == Options.from_env(environ).ssl
    assert expected == Options.from_env({**environ, "BEATS_SSL": "true"}).ssl
    assert False is Options.from_env({**environ, "BEATS_SSL": "false"}).ssl


@pytest.mark.parametrize(
    ("variable", "text", "option"),
    [
        ("BEATS_HOSTS", "a b", "hosts"),
        ("BEATS_LOADBALANCE", "maybe", "BEATS_LOADBALANCE"),
        ("BEATS_SSL", "maybe", "BEATS_SSL"),
        ("BEATS_PIPELINING", "two", "BEATS_PIPELINING"),
        ("BEATS_PIPELINING", "2.5", "BEATS_PIPELINING"),
        ("BEATS_PIPELINING", "0", "pipelining"),
        ("BEATS_TIMEOUT", "30s", "BEATS_TIMEOUT"),
        ("BEATS_TIMEOUT", "nan", "timeout"),
        ("BEATS_SSL_CERTIFICATE_AUTHORITIES", "/nowhere.pem", "ssl.certificate_authorities"),
        ("BEATS_SSL_KEY", "/nowhere.key", "ssl.key"),
    ],
)
def test_a_variable_that_cannot_be_is_refused(variable: str, text: str, option: str) -> None:
    with pytest.raises(OptionError) as refused:
        Options.from_env({variable: text})

    assert option == refused.value.option


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
    hash(options)
