"""Where receivers and proxies listen: as people write it, and as the resolver knows it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import OptionError
from beats_core.hosts import Host, Proxy, parse_host, parse_proxy, resolve


@pytest.mark.parametrize(
    ("text", "host", "written"),
    [
        ("localhost", Host("localhost", 5044), "localhost:5044"),
        ("localhost:5045", Host("localhost", 5045), "localhost:5045"),
        (" logstash.example.com:5044 ", Host("logstash.example.com", 5044), "logstash.example.com:5044"),
        ("127.0.0.1:1", Host("127.0.0.1", 1), "127.0.0.1:1"),
        ("host:0", Host("host", 0), "host:0"),
        ("host:65535", Host("host", 65_535), "host:65535"),
        ("host:", Host("host", 5044), "host:5044"),
        ("[::1]:5045", Host("::1", 5045), "[::1]:5045"),
        ("[::1]", Host("::1", 5044), "[::1]:5044"),
        ("::1", Host("::1", 5044), "[::1]:5044"),
        ("2001:db8::2:1", Host("2001:db8::2:1", 5044), "[2001:db8::2:1]:5044"),
        ("fe80::1%eth0", Host("fe80::1%eth0", 5044), "[fe80::1%eth0]:5044"),
        ("bücher.example", Host("bücher.example", 5044), "bücher.example:5044"),
        ("under_score:1", Host("under_score", 1), "under_score:1"),
        ("unix:///run/beats.sock", Host("/run/beats.sock", 0), "unix:///run/beats.sock"),
        (" unix:///a b:c@d?#ü ", Host("/a b:c@d?#ü", 0), "unix:///a b:c@d?#ü"),
    ],
)
def test_an_address_is_read_and_written(text: str, host: Host, written: str) -> None:
    assert host == parse_host(text)
    assert written == str(host)
    assert host == parse_host(written)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        ":5044",
        "host:port",
        "host:-1",
        "host:65536",
        "host:99999999999999999999",
        "host:５０４４",
        "host:1 2",
        "[::1",
        "[::1]5044",
        "[::1]:x",
        "[]:1",
        "a b",
        "http://host:5044",
        "host/path",
        "user@host",
        "a..b",
        "a,b",
        "a." * 127,
        "ls1:5044,ls2:5044",
        "localhost:5044:5044",
        "[localhost:5044]:5044",
        "1:2:3",
        ".host",
        "x" * 64 + ".example",
        "null\0byte",
        "tab\there",
        "new\nline",
        "unix://",
        "unix://relative",
        "unix:/run/beats.sock",
        "unix:///null\0byte",
        "/run/beats.sock",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(OptionError) as refused:
        parse_host(text)

    assert ("hosts", text) == (refused.value.option, refused.value.value)
    assert "a host is 'name', 'name:port', '[::1]:port' or 'unix:///path', with a port from 0 to 65535" in str(
        refused.value
    )


@pytest.mark.parametrize("value", [None, 5044, b"host", ["host"], Host("host", 1)])
def test_what_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(OptionError):
        parse_host(value)


@given(text=st.text(max_size=30))
def test_of_arbitrary_text_nothing_comes_that_a_resolver_chokes_on(text: str) -> None:
    try:
        host = parse_host(text)
    except OptionError:
        return
    assert host == parse_host(str(host))
    assert host.name.isprintable()
    assert host.is_unix or host.name.encode("idna")


def test_a_path_is_told_from_a_name() -> None:
    assert parse_host("unix:///run/beats.sock").is_unix
    assert not parse_host("run").is_unix


@pytest.mark.parametrize(
    ("host", "written"),
    [
        (Host("name", 5044, "192.0.2.1"), "name:5044 (192.0.2.1)"),
        (Host("name", 5044, "2001:db8::1"), "name:5044 (2001:db8::1)"),
        (Host("::1", 5044, "::1"), "[::1]:5044"),
    ],
)
def test_an_address_of_a_name_is_written_behind_it(host: Host, written: str) -> None:
    assert written == str(host)


def test_a_name_is_resolved_into_each_of_its_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> list[tuple[Any, ...]]:
        found = [("2001:db8::1", 5044, 0, 0), ("192.0.2.1", 5044), ("2001:db8::1", 5044, 0, 0), ("192.0.2.2", 5044)]
        return [(None, None, None, "", address) for address in found]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)

    assert [
        Host("name", 5044, "2001:db8::1"),
        Host("name", 5044, "192.0.2.1"),
        Host("name", 5044, "192.0.2.2"),
    ] == resolve(Host("name", 5044))


@pytest.mark.parametrize(
    ("host", "resolved"),
    [
        (Host("127.0.0.1", 1), Host("127.0.0.1", 1, "127.0.0.1")),
        (Host("::1", 1), Host("::1", 1, "::1")),
        (Host("name", 1, "192.0.2.1"), Host("name", 1, "192.0.2.1")),
        (Host("/run/beats.sock", 0), Host("/run/beats.sock", 0)),
    ],
)
def test_what_needs_no_resolver_is_resolved_already(host: Host, resolved: Host) -> None:
    assert [resolved] == resolve(host)


def test_a_proxy_shows_no_password() -> None:
    assert "hunter2" not in repr(parse_proxy("socks5://bob:hunter2@proxy:1080"))


def test_a_name_without_an_address_is_an_error() -> None:
    with pytest.raises(socket.gaierror):
        resolve(Host("no-such-host.invalid", 5044))


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        ("socks5://proxy:1080", Proxy("socks5", Host("proxy", 1080), "", "")),
        ("socks5h://proxy:1080/", Proxy("socks5", Host("proxy", 1080), "", "")),
        ("HTTP://proxy:3128", Proxy("http", Host("proxy", 3128), "", "")),
        ("http://[::1]:3128", Proxy("http", Host("::1", 3128), "", "")),
        ("socks5://user:secret@proxy:1", Proxy("socks5", Host("proxy", 1), "user", "secret")),
        ("socks5://us%40er:p%3Aw%2f%25@proxy:1", Proxy("socks5", Host("proxy", 1), "us@er", "p:w/%")),
        ("socks5://user@proxy:1", Proxy("socks5", Host("proxy", 1), "user", "")),
    ],
)
def test_a_proxy_is_read(url: str, proxy: Proxy) -> None:
    assert proxy == parse_proxy(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "proxy:1080",
        "socks4://proxy:1080",
        "https://proxy:1080",
        "socks5://proxy",
        "socks5://proxy:0",
        "socks5://proxy:x",
        "socks5://proxy:65536",
        "socks5://:1080",
        "socks5://[::1:1080",
        "socks5://a b:1080",
        "http://proxy:3128/path",
        "http://proxy:3128?query",
        "http://proxy:3128#fragment",
    ],
)
def test_what_is_no_proxy_is_refused(url: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - whoever has the option words it
        parse_proxy(url)
    assert not isinstance(refused.value, OptionError)
