"""Options from the environment, a URL, a mapping and arguments: how values are written, and which counts.

The tests over `SAMPLES` hold for each option there is and will be: one without a sample fails.
"""

from __future__ import annotations

import itertools
import logging
import logging.config
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core import AsyncClient, Client, Shipper
from beats_core.errors import OptionError
from beats_core.options import OPTIONS, Options

# Two values of each option, as text and as an argument.
SAMPLES: dict[str, list[tuple[str, Any]]] = {
    "hosts": [("ls1:5044, ls2", ("ls1:5044", "ls2:5044")), ("[::1]:1", ("[::1]:1",))],
    "enabled": [("no", False), ("yes", True)],
    "loadbalance": [("on", True), ("off", False)],
    "workers": [("3", 3), ("4", 4)],
    "failback_interval": [("never", None), ("5m", 300.0)],
    "resolve_all": [("1", True), ("0", False)],
    "resolve_interval": [("10s", 10.0), ("1h", 3600.0)],
    "pipelining": [("1", 1), ("5", 5)],
    "slow_start": [("True", True), ("FALSE", False)],
    "bulk_max_size": [("10", 10), ("10000", 10_000)],
    "bulk_max_bytes": [("1MB", 1_000_000), ("1MiB", 1 << 20)],
    "flush_interval": [("0", 0.0), ("20ms", 0.02)],
    "compression_level": [("0", 0), ("9", 9)],
    "timeout": [("10", 10.0), ("1m30s", 90.0)],
    "connect_timeout": [("none", None), ("5s", 5.0)],
    "handshake_timeout": [("none", None), ("1.5", 1.5)],
    "write_timeout": [("none", None), ("500ms", 0.5)],
    "ack_timeout": [("none", None), ("2m", 120.0)],
    "stall_timeout": [("0", None), ("10m", 600.0)],
    "idle_timeout": [("off", None), ("25s", 25.0)],
    "ttl": [("never", None), ("10m", 600.0)],
    "backoff_init": [("2", 2.0), (".5s", 0.5)],
    "backoff_max": [("30s", 30.0), ("1h30m", 5400.0)],
    "max_event_bytes": [("1048576", 1 << 20), ("20 MiB", 20 << 20)],
    "on_too_large": [("truncate", "truncate"), ("Dead_Letter", "dead_letter")],
    "queue_mem_bytes": [("1GiB", 1 << 30), ("128mb", 128_000_000)],
    "on_full": [("block", "block"), ("Drop_Oldest", "drop_oldest")],
    "block_timeout": [("0", 0.0), ("1500ms", 1.5)],
    "keep_level": [("30", 30), ("50", 50)],
    "spool": [("/var/spool/beats", "/var/spool/beats"), ("/q", "/q")],
    "durability": [("journal", "journal"), ("MEMORY", "memory")],
    "fsync": [("each", "each"), ("none", "none")],
    "spool_max_bytes": [("10GB", 10_000_000_000), ("64MiB", 64 << 20)],
    "spool_min_free_bytes": [("0", 0), ("1GB", 1_000_000_000)],
    "shutdown_timeout": [("0", 0.0), ("20s", 20.0)],
    "ssl": [("true", True), ("false", False)],
    "proxy_url": [("socks5://u:p%40ss@proxy:1080", "socks5://u:p%40ss@proxy:1080"), ("http://p:3128", "http://p:3128")],
    "proxy_use_local_resolver": [("true", True), ("false", False)],
    "source_address": [("10.0.0.1", "10.0.0.1"), ("::1", "::1")],
    "tcp_keepalive_idle": [("off", None), ("1m", 60.0)],
    "tcp_keepalive_interval": [("5s", 5.0), ("7", 7.0)],
    "tcp_keepalive_count": [("3", 3), ("5", 5)],
    "tcp_user_timeout": [("never", None), ("2m", 120.0)],
    "index": [("shop", "shop"), ("shop-%{+YYYY}&x=y", "shop-%{+YYYY}&x=y")],
    "add_id": [("false", False), ("true", True)],
}


class Source(NamedTuple):
    """One way to say something: what `Options.load` takes for an option, its text and its value."""

    name: str
    given: Callable[[str, str, Any], dict[str, Any]]


def _in_url(name: str, text: str, _value: object) -> dict[str, Any]:
    if name == "hosts":
        return {"environ": {"BEATS_URL": f"beats://{text}"}}
    return {"environ": {"BEATS_URL": f"beats://a?{name}={quote(text)}"}}


# The first that says something counts.
SOURCES = (
    Source("argument", lambda name, _text, value: {name: value}),
    Source("variable", lambda name, text, _value: {"environ": {f"BEATS_{name.upper()}": text}}),
    Source("URL", _in_url),
    Source("mapping", lambda name, text, _value: {"mapping": {name: text}}),
)


def load(*given: Mapping[str, Any]) -> Options:
    environ = {name: text for each in given for name, text in each.get("environ", {}).items()}
    return Options.load(**{name: value for each in given for name, value in each.items()} | {"environ": environ})


def test_every_option_has_samples() -> None:
    assert set(OPTIONS) == set(SAMPLES)
    assert [] == [name for name, [(_, first), (_, second)] in SAMPLES.items() if first == second]


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_can_be_set_by_every_source(name: str, source: Source) -> None:
    for text, value in SAMPLES[name]:
        assert value == getattr(load(source.given(name, text, value)), name)


@pytest.mark.parametrize(("higher", "lower"), list(itertools.combinations(SOURCES, 2)), ids=lambda source: source.name)
@pytest.mark.parametrize("name", OPTIONS)
def test_of_two_sources_the_higher_counts(name: str, higher: Source, lower: Source) -> None:
    for one, other in itertools.permutations(SAMPLES[name]):
        assert one[1] == getattr(load(lower.given(name, *other), higher.given(name, *one)), name)


@pytest.mark.parametrize("name", OPTIONS)
def test_what_no_source_says_is_the_default(name: str) -> None:
    assert OPTIONS[name].default == getattr(Options.load({}, {f"BEATS_{name.upper()}": "  "}), name)


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"hosts", "ssl"}))
def test_a_url_in_code_sets_every_option_and_arguments_come_first(name: str) -> None:
    (text, value), (_, other) = SAMPLES[name]
    url = f"beats://a?{name}={quote(text)}"

    assert value == getattr(Options.from_url(url), name)
    assert other == getattr(Options.from_url(url, **{name: other}), name)


@pytest.mark.parametrize("make", [Client, AsyncClient, Shipper, Options.load])
def test_an_option_that_does_not_exist_is_named_with_the_one_that_is_meant(make: Callable[..., Any]) -> None:
    with pytest.raises(OptionError, match=r"bulk_size=5: there is no such option; did you mean bulk_max_size\?"):
        make(bulk_size=5)


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATS_PIPELINING", "7")

    assert 7 == Options.from_env().pipelining
    assert 2 == Options.from_env({}).pipelining
    assert 2 == Options().pipelining


def test_variables_that_are_no_options_are_nobodys_business() -> None:
    assert Options() == Options.from_env({"PATH": "/bin", "BEATS_DEMO_SECONDS": "3", "BEATS_": "x", "beats_hosts": "a"})


# What is wrong


@pytest.mark.parametrize(
    ("variable", "meant"),
    [
        ("BEATS_HOST", "BEATS_HOSTS"),
        ("BEATS_BULK_SIZE", "BEATS_BULK_MAX_SIZE"),
        ("BEATS_DISABLE", "BEATS_DISABLED"),
        ("BEATS_TLS_KEY", "BEATS_SSL_KEY"),
    ],
)
def test_a_variable_that_looks_like_another_is_told(variable: str, meant: str, told: list[str]) -> None:
    assert "7" not in Options.from_env({variable: "7"}).hosts

    [warning] = told
    assert warning.startswith(f"{variable}='7': there is no such variable; did you mean {meant}?; ")


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"ssl", "index", "spool"}))
def test_a_bad_variable_is_told_once_and_the_layer_below_counts(name: str, told: list[str]) -> None:
    text, value = SAMPLES[name][0]
    variable = f"BEATS_{name.upper()}"
    environ = {variable: "b@d"}

    assert value == getattr(Options.load({name: text}, environ), name)
    assert OPTIONS[name].default == getattr(Options.from_env(environ), name)

    [warning] = told
    assert warning.startswith(f"{variable}='b@d': ")
    assert warning.endswith("; it is ignored")


@pytest.mark.parametrize("digits", [20, 400, 100_000])
def test_a_number_beyond_all_bounds_is_told(digits: int, told: list[str]) -> None:
    assert (
        OPTIONS["bulk_max_bytes"].default
        == Options.from_env({"BEATS_BULK_MAX_BYTES": f"{'9' * digits}k"}).bulk_max_bytes
    )

    [warning] = told
    assert warning.endswith(": a whole number of bytes, 1 to 2147483647; it is ignored")


def test_a_bad_part_of_the_url_leaves_the_others(told: list[str]) -> None:
    url = "beats+tls://ls1?pipelining=two&ttl=5m&pipelning=3&workers=2&workers=3"

    assert Options(hosts="ls1", ssl=True, ttl=300, workers=2) == Options.from_env({"BEATS_URL": url})
    assert [
        "BEATS_URL (pipelining)='two': a whole number of windows, 1 to 100; it is ignored",
        "BEATS_URL (pipelning)='3': there is no such option; did you mean pipelining?; it is ignored",
        "BEATS_URL (workers)='3': it is given twice; it is ignored",
    ] == told


@pytest.mark.parametrize(
    "url",
    [
        "ls1:5044",
        "http://ls1",
        "beats://",
        "beats://ls1:port",
        "beats://bob@ls1",
        "beats+tls://?ttl=5m",
        "beats+unix://run/x.sock",
        "beats://ls1/path",
        "beats://ls1?ttl=often",
        "beats://ls1?ttl",
        "beats://ls1?hosts=ls2",
        "beats://ls1?unknown=1",
        "beats://ls1?ssl.verification_mode=lax",
        None,
        5044,
    ],
)
def test_a_bad_url_in_code_is_refused(url: Any) -> None:
    with pytest.raises(OptionError):
        Options.from_url(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("beats://ls1", {"hosts": "ls1"}),
        ("beats://ls1:1,ls2/?loadbalance=true", {"hosts": ["ls1:1", "ls2"], "loadbalance": True}),
        ("beats+tls://[::1]:1", {"hosts": "[::1]:1", "ssl": True}),
        ("beats+unix:///run/my%20x.sock", {"hosts": ["unix:///run/my x.sock"]}),
        ("beats://ls1?backoff.init=2s&worker=3", {"hosts": "ls1", "backoff_init": 2, "workers": 3}),
    ],
)
def test_a_url_says_hosts_tls_and_options(url: str, expected: dict[str, Any]) -> None:
    assert Options(**expected) == Options.from_url(url)
    assert Options(**expected) == Options.from_env({"BEATS_URL": url})


@pytest.mark.parametrize("text", ["true", "1", "YES", "on"])
def test_disabled_is_not_enabled(text: str) -> None:
    assert not Options.from_env({"BEATS_DISABLED": text}).enabled
    assert not Options.from_env({"BEATS_DISABLED": text, "BEATS_ENABLED": "true"}).enabled
    assert not Options.load({"enabled": True}, {"BEATS_DISABLED": text}).enabled
    assert Options.load(environ={"BEATS_DISABLED": text}, enabled=True).enabled


def test_disabled_reads_no_certificates() -> None:
    assert not Options.from_env({"BEATS_DISABLED": "true", "BEATS_SSL_CERTIFICATE": "/nowhere.pem"}).enabled


def test_disabled_by_a_word_that_is_none_is_told(told: list[str]) -> None:
    assert Options.from_env({"BEATS_DISABLED": "false"}).enabled
    assert [] == told
    assert Options.from_env({"BEATS_DISABLED": "maybe"}).enabled
    assert ["BEATS_DISABLED='maybe': true or false; it is ignored"] == told


def test_a_warning_shows_no_secret(told: list[str]) -> None:
    Options.from_env({"BEATS_PROXY_URL": "socks4://bob:hunter2@proxy:1", "BEATS_URL": "beat://a?ssl.key_passphrase=x"})

    assert ["hunter2" in text or "=x" in text for text in told] == [False, False]


def test_a_missing_library_is_an_error_that_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "python_socks", None)

    with pytest.raises(OptionError, match="BEATS_PROXY_URL='http://p:1': needs python-socks"):
        Options.from_env({"BEATS_PROXY_URL": "http://p:1"})


SAID = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
TEXTS = SAID | st.sampled_from([text for samples in SAMPLES.values() for text, _ in samples])


@given(environ=st.dictionaries(st.sampled_from([f"BEATS_{name.upper()}" for name in OPTIONS]), TEXTS, max_size=5))
def test_no_text_in_the_environment_is_an_error(environ: dict[str, str]) -> None:
    options = Options.from_env(environ)

    assert options == Options.from_env(environ)


@given(url=TEXTS | st.builds("{}://{}?{}={}".format, st.sampled_from(["beats", "beats+tls", "x"]), SAID, SAID, SAID))
def test_no_text_in_the_url_is_an_error_unless_tls_could_not_be_what_it_says(url: str) -> None:
    try:
        options = Options.from_env({"BEATS_URL": url})
    except OptionError as error:
        refused = error.option
    else:
        refused = ""
        assert options.tls or url.strip() == "" or url.strip().startswith(("beats://", "beats+unix://"))
    assert not refused or refused.startswith("BEATS_URL (ssl.")


def test_the_environment_is_read_as_the_process_has_it() -> None:
    """Python hands bytes that are no UTF-8 over as lone surrogates."""
    assert "python" == Options.from_env({"BEATS_HOSTS": os.fsdecode(b"\xff"), "BEATS_PIPELINING": "\udcff"}).index


def test_a_dict_config_may_hold_a_mapping_of_options() -> None:
    made: list[Options] = []

    def handler(options: Mapping[str, Any]) -> logging.Handler:
        made.append(Options.from_mapping(options))
        return logging.NullHandler()

    section = {"hosts": ["ls1"], "backoff": {"init": "2s"}, "ssl": {"enabled": False}}
    configuration = {"version": 1, "handlers": {"beats": {"()": handler, "options": section}}}
    logging.config.dictConfig({**configuration, "disable_existing_loggers": False})

    assert [Options(hosts="ls1", backoff_init=2, ssl={"enabled": False})] == made
