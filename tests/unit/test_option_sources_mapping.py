"""Options from a mapping: our names, Filebeat's, and a whole configuration of Filebeat's."""

from __future__ import annotations

import logging.config
import ssl
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import OptionError
from beats_core.filebeat import FILEBEAT_OPTIONS
from beats_core.options import OPTIONS, Options

SECTION: dict[str, Any] = {
    "hosts": ["ls1:5044", "ls2"],
    "loadbalance": True,
    "worker": 2,
    "ttl": "5m",
    "backoff": {"init": "2s", "max": 30},
    "ssl": {"verification_mode": "certificate"},
}
EXPECTED = Options(
    hosts=["ls1", "ls2"],
    loadbalance=True,
    workers=2,
    ttl=300,
    backoff_init=2,
    backoff_max=30,
    ssl={"verification_mode": "certificate"},
)
DOTTED = {
    "hosts": ["ls1:5044", "ls2"],
    "loadbalance": True,
    "worker": 2,
    "ttl": "5m",
    "backoff.init": "2s",
    "backoff.max": 30,
    "ssl.verification_mode": "certificate",
}
OURS = {
    "hosts": "ls1,ls2",
    "loadbalance": "true",
    "workers": "2",
    "ttl": 300.0,
    "backoff_init": 2,
    "backoff_max": "30s",
    "ssl": {"verification_mode": "certificate"},
}


@pytest.mark.parametrize(
    "mapping",
    [
        SECTION,
        DOTTED,
        OURS,
        MappingProxyType(SECTION),
        {"output.logstash": SECTION},
        {"output": {"logstash": DOTTED}},
        {"output": {"logstash.ttl": "5m", "logstash": {name: SECTION[name] for name in SECTION if name != "ttl"}}},
        {f"output.logstash.{name}": value for name, value in DOTTED.items()},
        {"output.logstash": SECTION, "name": "me", "filebeat.inputs": [{"type": "log"}], "setup": {"ilm": {}}},
        logging.config.DictConfigurator({"options": SECTION}).config["options"],
    ],
)
def test_names_are_ours_or_filebeats_nested_or_with_dots(mapping: Any) -> None:
    assert EXPECTED == Options.from_mapping(mapping)


def test_values_of_a_dict_config_are_what_they_stand_for() -> None:
    configurator = logging.config.DictConfigurator({"hosts": ["ls1"], "options": {"hosts": "cfg://hosts"}})

    assert Options(hosts="ls1") == Options.from_mapping(configurator.config["options"])


def test_an_ssl_section_means_tls_as_in_filebeat() -> None:
    assert Options.from_mapping({"ssl": {}}).tls is not None
    assert Options.from_mapping({"ssl": None}).tls is None
    assert Options.from_mapping({"ssl": {"enabled": False}}).tls is None
    assert Options.from_mapping({"ssl": {"curve_types": ["P-256"]}}).tls is not None
    context = ssl.create_default_context()
    assert Options.from_mapping({"ssl": context}).ssl is context


def test_a_mapping_that_holds_itself_is_refused() -> None:
    mapping: dict[str, Any] = {}
    mapping["backoff"] = mapping

    with pytest.raises(OptionError, match="must not hold itself"):
        Options.from_mapping(mapping)


def test_no_pipelining_is_one_window_at_a_time() -> None:
    assert 1 == Options.from_mapping({"pipelining": 0}).pipelining


@pytest.mark.parametrize(
    "option", [option for option in FILEBEAT_OPTIONS if option.missing], ids=lambda each: each.name
)
def test_what_filebeat_has_and_we_do_not_is_told_once_with_the_reason(option: Any, told: list[str]) -> None:
    for _ in range(2):
        options = Options.from_mapping({"output.logstash": {option.name: option.default, "index": "shop"}})
        assert "shop" == options.index

    assert [f"Filebeat's option {option.name} is ignored: {option.note}"] == told


def test_the_disk_queue_of_filebeat_is_a_spool(told: list[str]) -> None:
    options = Options.from_mapping({"queue": {"disk": {"max_size": "10GB", "path": "/q", "segment_size": "1GB"}}})

    assert Options(spool="/q", spool_max_bytes=10_000_000_000) == options
    assert ["queue.disk.segment_size"] == [text.split()[2] for text in told]


def test_the_queue_of_a_whole_configuration_is_looked_at(told: list[str]) -> None:
    queue = {"mem": {"events": 4096, "flush.timeout": "1s"}}
    options = Options.from_mapping({"output.logstash": {"index": "shop"}, "queue": queue})

    assert Options(index="shop", flush_interval=1) == options
    assert 1 == len(told)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"host": "a"}, "host='a': there is no such option; did you mean hosts?"),
        ({"backoff": {"initial": 1}}, "backoff.initial=1: there is no such option; did you mean backoff.init?"),
        ({"output.logstash": {"bulk_size": 1}}, "bulk_size=1: there is no such option; did you mean bulk_max_size?"),
        (
            {"output.elasticsearch": {"hosts": "a"}},
            "output.elasticsearch.hosts='a': there is no such option; there are",
        ),
        ({5: 5}, "5=5: there is no such option; there are hosts"),
        ({"backoff": {"init": "soon"}}, "backoff.init='soon': seconds, 0 to"),
        ({"timeout": True}, "timeout=True: seconds"),
        ({"timeout": None}, "timeout=None: seconds"),
        ({"bulk_max_size": 0}, "bulk_max_size=0: a whole number of events"),
        ({"bulk_max_bytes": "1.5"}, "bulk_max_bytes='1.5': a whole number of bytes"),
        ({"ttl": "-1s"}, "ttl='-1s': seconds"),
        ({"hosts": []}, "hosts=[]: one host or a list"),
        ([("hosts", "a")], "mapping=[('hosts', 'a')]: a mapping of options"),
    ],
)
def test_what_is_wrong_is_named_as_it_was_written(mapping: Any, message: str) -> None:
    with pytest.raises(OptionError) as refused:
        Options.from_mapping(mapping)

    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *[("10s", 10), ("1m30s", 90), ("500ms", 0.5), ("1h1m1s", 3661), ("1.5m", 90), ("2000000us", 2)],
        *[("1000000000ns", 1), ("1000000µs", 1), (".5", 0.5), ("5", 5), ("2.", 2)],
    ],
)
def test_durations_have_the_units_of_go(text: str, seconds: float) -> None:
    assert seconds == pytest.approx(Options.from_mapping({"timeout": text}).timeout)


@pytest.mark.parametrize("text", ["", "s", "10 s", "10S", "1d", "1m30", "1e3", "inf", "nan", "-1s", "٣s", "1s1", "+1"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="timeout="):
        Options.from_mapping({"timeout": text})


@pytest.mark.parametrize(
    ("text", "size"),
    [
        *[("10MB", 10_000_000), ("10MiB", 10 << 20), ("10 mib", 10 << 20), ("1.5kB", 1_500), ("2k", 2_000)],
        *[("1Gi", 1 << 30), ("1024", 1024), ("1024B", 1024), ("1GB", 1_000_000_000)],
    ],
)
def test_sizes_have_decimal_and_binary_units(text: str, size: int) -> None:
    assert size == Options.from_mapping({"queue_mem_bytes": text}).queue_mem_bytes


@pytest.mark.parametrize("text", ["", "MB", "10XB", "1.5", "1.5B", "-1MB", "10MBB", "1e6", "9999TB", "1_000", "٣MB"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OptionError, match="queue_mem_bytes="):
        Options.from_mapping({"queue_mem_bytes": text})


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda values: st.lists(values) | st.dictionaries(st.text(), values),
    max_leaves=5,
)
NAMES = st.sampled_from([*OPTIONS, *(option.name for option in FILEBEAT_OPTIONS), "output.logstash", "ssl", "backoff"])


@given(mapping=st.dictionaries(NAMES | st.text(), VALUES, max_size=3))
def test_any_mapping_makes_options_or_an_option_error(mapping: dict[str, Any]) -> None:
    try:
        options = Options.from_mapping(mapping)
    except OptionError as error:
        str(error)
    else:
        assert options == Options.from_mapping(mapping)
