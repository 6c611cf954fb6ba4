"""Both clients, and a shipper, through real proxies: SOCKS5 and HTTP CONNECT, two implementations of each.

The receiver has a name that only the proxies can look up, so that no other way leads there.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core import AsyncClient, Client, ConnectionLost, OptionError, Shipper
from support.authority import Authority
from support.clients import MakeDriver, ids, numbered
from support.proxies import CREDENTIALS, KNOWN_TO_PROXIES, running_proxies
from support.scripted import Peer, Scripted, ack, acknowledged, answering, closes

KINDS = pytest.mark.parametrize("kind", ["socks5", "http"])
EVERY_PROXY = pytest.mark.parametrize(
    "name",
    [
        "tiny socks5",
        "tiny socks5 with credentials",
        "tiny http",
        "tiny http with credentials",
        "pproxy socks5",
        "pproxy http",
    ],
)


@pytest.fixture(scope="module")
def proxies() -> Iterator[dict[str, str]]:
    with running_proxies() as urls:
        yield urls


def place(url: str) -> str:
    """Where the proxy listens, as an error names it."""
    return url.rpartition("/")[2].rpartition("@")[2]


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def reason_of(driver: MakeDriver, host: str, proxy_url: str, **options: object) -> str:
    with pytest.raises(ConnectionLost) as lost, driver(host, proxy_url=proxy_url, **options):
        pass
    assert isinstance(lost.value.__cause__, OSError)
    return lost.value.reason


@EVERY_PROXY
def test_events_arrive_through_a_proxy(driver: MakeDriver, proxies: dict[str, str], name: str) -> None:
    with Scripted(answering(acknowledged)) as receiver:
        with driver(f"{KNOWN_TO_PROXIES}:{receiver.port}", proxy_url=proxies[name]) as client:
            assert 3 == client.send(numbered(3))

        assert [0, 1, 2] == receiver.ids


@EVERY_PROXY
def test_tls_reaches_the_receiver_and_not_the_proxy(
    driver: MakeDriver, authority: Authority, proxies: dict[str, str], name: str
) -> None:
    tls = authority.server(KNOWN_TO_PROXIES)
    options = {"proxy_url": proxies[name], "ssl": authority.option}
    with Scripted(answering(acknowledged), tls=tls) as receiver:
        with driver(f"{KNOWN_TO_PROXIES}:{receiver.port}", **options) as client:
            assert 3 == client.send(numbered(3))

        assert [0, 1, 2] == receiver.ids


def test_tls_asks_for_the_receivers_name_through_a_proxy_too(
    driver: MakeDriver, authority: Authority, proxies: dict[str, str]
) -> None:
    with Scripted(answering(acknowledged), tls=authority.server("127.0.0.1")) as receiver:
        host = f"{KNOWN_TO_PROXIES}:{receiver.port}"
        reason = reason_of(driver, host, proxies["tiny socks5"], ssl=authority.option)

    assert "the receiver's certificate is not accepted: " in reason
    assert KNOWN_TO_PROXIES in reason
    assert [] == receiver.windows


@pytest.mark.parametrize("name", ["tiny socks5", "pproxy socks5", "pproxy http"])
def test_ipv6_is_reached_through_a_proxy(driver: MakeDriver, proxies: dict[str, str], name: str) -> None:
    with (
        Scripted(answering(acknowledged), name="::1") as receiver,
        driver(receiver.host, proxy_url=proxies[name]) as client,
    ):
        assert 3 == client.send(numbered(3))


@KINDS
def test_names_may_be_looked_up_here(driver: MakeDriver, proxies: dict[str, str], kind: str) -> None:
    options = {"proxy_url": proxies[f"tiny {kind}"], "proxy_use_local_resolver": True}
    with Scripted(answering(acknowledged)) as receiver:
        with driver(f"localhost:{receiver.port}", **options) as client:
            assert 3 == client.send(numbered(3))

        with pytest.raises(ConnectionLost) as lost, driver(f"{KNOWN_TO_PROXIES}:{receiver.port}", **options):
            pass
    assert isinstance(lost.value.__cause__, socket.gaierror)
    assert "proxy" not in lost.value.reason


def test_socks5h_is_socks5(driver: MakeDriver, proxies: dict[str, str]) -> None:
    url = proxies["tiny socks5"].replace("socks5", "socks5h")
    with (
        Scripted(answering(acknowledged)) as receiver,
        driver(f"{KNOWN_TO_PROXIES}:{receiver.port}", proxy_url=url) as client,
    ):
        assert 3 == client.send(numbered(3))


@KINDS
def test_the_proxy_is_reached_from_the_source_address(driver: MakeDriver, kind: str) -> None:
    addresses: list[str] = []
    with Scripted(lambda peer: addresses.append(peer.address)) as proxy:
        reason_of(driver, "127.0.0.1:1", f"{kind}://{proxy.host}", source_address="127.0.0.5")

    assert ["127.0.0.5"] == addresses


@KINDS
@pytest.mark.parametrize("credentials", ["user:wrong", "stranger:p%40ss%3Aword"])
def test_refused_credentials_are_told(driver: MakeDriver, proxies: dict[str, str], kind: str, credentials: str) -> None:
    url = proxies[f"tiny {kind} with credentials"].replace(CREDENTIALS, credentials)
    reason = reason_of(driver, "127.0.0.1:1", url)

    assert f"cannot connect to 127.0.0.1:1: the proxy {place(url)} refuses the credentials" == reason


@KINDS
def test_missing_credentials_are_told(driver: MakeDriver, proxies: dict[str, str], kind: str) -> None:
    url = proxies[f"tiny {kind} with credentials"].replace(f"{CREDENTIALS}@", "")
    reason = reason_of(driver, "127.0.0.1:1", url)

    assert f"the proxy {place(url)} wants credentials, user:password@ in proxy_url" in reason


@KINDS
def test_credentials_that_cannot_be_sent_are_told(driver: MakeDriver, proxies: dict[str, str], kind: str) -> None:
    url = proxies[f"tiny {kind} with credentials"].replace(CREDENTIALS, "user:%E4%BD%A0")
    reason = reason_of(driver, "127.0.0.1:1", url)

    assert f"the proxy {place(url)} cannot be told the credentials: they are too long, or not ASCII" in reason


@KINDS
def test_a_proxy_that_is_down_is_told_from_a_receiver_that_is(
    driver: MakeDriver, proxies: dict[str, str], kind: str
) -> None:
    target, proxy = f"127.0.0.1:{unused_port()}", f"127.0.0.1:{unused_port()}"

    assert f"cannot connect to {target}: the proxy {proxy} cannot be reached: connection refused" == reason_of(
        driver, target, f"{kind}://{proxy}"
    )
    working = proxies[f"tiny {kind}"]
    assert f"cannot connect to {target}: the proxy {place(working)} cannot reach {target}: " in reason_of(
        driver, target, working
    )


def test_a_proxy_whose_name_is_unknown_is_told(driver: MakeDriver) -> None:
    reason = reason_of(driver, "127.0.0.1:1", "socks5://no-such-proxy.invalid:1080")

    assert "the proxy no-such-proxy.invalid:1080 cannot be reached: " in reason


def test_a_proxy_that_hangs_up_is_told(driver: MakeDriver, proxies: dict[str, str]) -> None:
    target = f"127.0.0.1:{unused_port()}"
    reason = reason_of(driver, target, proxies["pproxy http"])

    assert f"hung up without an answer: perhaps it refuses the credentials, or cannot reach {target}" in reason


def test_a_proxy_that_says_yes_before_it_has_reached_anybody_loses_nothing(
    driver: MakeDriver, proxies: dict[str, str]
) -> None:
    with driver(f"127.0.0.1:{unused_port()}", proxy_url=proxies["pproxy socks5"]) as client:
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(3))

        assert [0, 1, 2] == ids(lost.value.unacked)


@pytest.mark.parametrize(
    ("kind", "answer", "told"),
    [
        ("socks5", b"HTTP/1.1 400 Bad Request\r\n\r\n", "does not answer as socks5 proxies do: "),
        ("http", b"\x05\xff", "does not answer as http proxies do: "),
        ("http", b"HTTP/1.1 5\xff \x1b[31m\r\n\r\n", "does not answer as http proxies do: Invalid status code: 5?"),
        ("http", b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not allow 127.0.0.1:1: 403 Forbidden"),
        ("http", b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", "wants credentials"),
        ("http", b"HTTP/1.1 500 Out of \x1b[31mpaper\r\n\r\n", "refuses 127.0.0.1:1: 500 Out of ?[31mpaper"),
        ("http", b"HTTP/1.1 500 Unable to connect\r\n\r\n", "refuses 127.0.0.1:1: 500 Unable to connect"),
    ],
)
def test_other_answers_are_told(driver: MakeDriver, kind: str, answer: bytes, told: str) -> None:
    def serve(peer: Peer) -> None:
        peer.take()
        peer.send(answer)
        peer.wait_for_end()

    with Scripted(serve) as proxy:
        assert f"the proxy {proxy.host} {told}" in reason_of(driver, "127.0.0.1:1", f"{kind}://{proxy.host}")


def test_an_answer_that_comes_in_pieces_is_read_to_its_end_and_no_further(driver: MakeDriver) -> None:
    """What belongs to the proxy's answer must not be taken for the receiver's, and the reverse."""

    def serve(peer: Peer) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            request += peer.read(1)
        peer.dribble(b"HTTP/1.1 200 OK\r\nVia: 1.1 somebody\r\n\r\n" + ack(0))
        answering(acknowledged)(peer)

    with Scripted(serve) as proxy, driver("192.0.2.1:5044", proxy_url=f"http://{proxy.host}") as client:
        assert 3 == client.send(numbered(3))


def test_an_answer_without_an_end_is_given_up(driver: MakeDriver) -> None:
    def serve(peer: Peer) -> None:
        peer.take()
        peer.send(b"HTTP/1.1 200 OK\r\n" + b"X-Endless: yes\r\n" * 10_000)
        peer.wait_for_end()

    with Scripted(serve) as proxy:
        reason = reason_of(driver, "127.0.0.1:1", f"http://{proxy.host}")

    assert f"the proxy {proxy.host} does not answer as http proxies do: an answer without an end" in reason


@KINDS
def test_a_proxy_that_does_not_answer_is_given_up(driver: MakeDriver, kind: str) -> None:
    with Scripted(lambda peer: peer.wait_for_end()) as proxy:
        reason = reason_of(driver, "127.0.0.1:1", f"{kind}://{proxy.host}", connect_timeout=0.3)

    assert f"cannot connect to 127.0.0.1:1: the proxy {proxy.host} did not answer in time" == reason


def test_no_proxy_is_on_the_way_to_a_unix_socket(driver: MakeDriver, tmp_path: Path) -> None:
    options = {"proxy_url": f"socks5://127.0.0.1:{unused_port()}"}
    with (
        Scripted(answering(acknowledged), name=str(tmp_path / "socket")) as receiver,
        driver(receiver.host, **options) as client,
    ):
        assert 3 == client.send(numbered(3))


def test_a_lost_line_is_opened_anew_through_the_proxy(driver: MakeDriver, proxies: dict[str, str]) -> None:
    with (
        Scripted(answering(closes), answering(acknowledged)) as receiver,
        driver(f"{KNOWN_TO_PROXIES}:{receiver.port}", proxy_url=proxies["tiny socks5"]) as client,
    ):
        with pytest.raises(ConnectionLost) as lost:
            client.send(numbered(3))
        assert 3 == client.send(lost.value.unacked)


@KINDS
def test_a_shipper_delivers_through_a_proxy(proxies: dict[str, str], kind: str) -> None:
    url = proxies[f"tiny {kind} with credentials"]
    with Scripted(answering(acknowledged)) as receiver:
        with Shipper(f"{KNOWN_TO_PROXIES}:{receiver.port}", proxy_url=url) as shipper:
            for event in numbered(3):
                assert shipper.put(event)
            assert shipper.flush(timeout=30)

        assert [0, 1, 2] == receiver.ids


@pytest.mark.parametrize("make", [Client, AsyncClient, Shipper])
@pytest.mark.parametrize("url", ["socks4://proxy:1080", "https://proxy:1", "proxy:1", "socks5://proxy", "http://:1"])
def test_what_is_no_proxy_is_refused_at_the_call(make: type[Client | AsyncClient | Shipper], url: str) -> None:
    with pytest.raises(OptionError, match="proxy_url"):
        make("localhost", proxy_url=url)
