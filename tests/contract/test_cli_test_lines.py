"""`beats test output` with other ways than one address of one name: several, unix sockets, proxies."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core import Receiver
from support.command_line import CLEAN, LIMIT, beats
from support.proxies import KNOWN_TO_PROXIES, running_proxies
from support.scripted import Peer, Scripted, acknowledged, answering

# A resolver to which one name has several addresses, here as everywhere.
SEVERAL = """
import socket, sys
look_up, several = socket.getaddrinfo, sys.argv.pop(1).split(",")
def getaddrinfo(host, *arguments, **options):
    addresses = several if host == "several.test" else [host]
    return [row for address in addresses for row in look_up(address, *arguments, **options)]
socket.getaddrinfo = getaddrinfo
from beats_core.cli import main
main()
"""


@pytest.fixture(scope="module")
def proxies() -> Iterator[dict[str, str]]:
    with running_proxies() as urls:
        yield urls


def without_times(output: str) -> str:
    return re.sub(r" \(\d+(\.\d)? ms\)", "", output)


def climbed(*arguments: object, **variables: str) -> tuple[int, str]:
    code, output, messages = beats("test", "output", *arguments, env={**CLEAN, **variables})
    assert "" == messages
    return code, without_times(output)


def climbed_where_several_are(addresses: str, *arguments: object) -> tuple[int, str]:
    ended = subprocess.run(
        [sys.executable, "-c", SEVERAL, addresses, "test", "output", *map(str, arguments)],
        capture_output=True,
        text=True,
        env=CLEAN,
        timeout=LIMIT,
        check=False,
    )
    assert "" == ended.stderr
    return ended.returncode, without_times(ended.stdout)


def test_the_addresses_of_a_name_are_tried_in_turn_as_clients_do() -> None:
    with Receiver("127.0.0.2:0") as receiver:
        code, output = climbed_where_several_are("127.0.0.1,127.0.0.2,127.0.0.3", "-H", f"several.test:{receiver.port}")

        assert 0 == code
        assert (
            "    addresses: 127.0.0.1, 127.0.0.2, 127.0.0.3\n"
            "    dial up 127.0.0.1... WARN connection refused\n"
            "    hint: the next address is tried\n"
            "    dial up 127.0.0.2... OK\n"
            "  TLS... WARN secure connection disabled\n"
        ) in output
        assert "127.0.0.3..." not in output
        assert 1 == len(receiver.events)


def test_with_resolve_all_each_address_is_a_host() -> None:
    with Receiver("127.0.0.2:0") as receiver:
        host = f"several.test:{receiver.port}"
        code, output = climbed_where_several_are(
            *("127.0.0.1,127.0.0.2", "-H", host, "-E", "resolve_all=true", "--all", "--no-probe")
        )

    assert 69 == code
    assert [f"{host} (127.0.0.1)", f"{host} (127.0.0.2)"] == re.findall(r"^logstash: (.*)\.\.\.$", output, re.MULTILINE)
    assert "dial up... ERROR connection refused\n" in output
    assert output.endswith("1 of 2 hosts usable\n")


def test_a_name_without_an_address_is_one_host_with_resolve_all_too() -> None:
    code, output = climbed("-H", "no-such-host.invalid", "-E", "resolve_all=true")

    assert 69 == code
    assert "dns lookup... ERROR" in output
    assert output.endswith("0 of 1 hosts usable\n")


def test_a_unix_socket_needs_no_name_and_no_tls(tmp_path: Path) -> None:
    script = answering(acknowledged)
    with Scripted(Peer.wait_for_end, script, name=str(tmp_path / "socket")) as receiver:
        code, output = climbed("-H", receiver.host)

    assert 0 == code
    assert (
        f"logstash: unix://{tmp_path}/socket...\n"
        "  connection...\n"
        "    parse host... OK\n"
        "    dial up... OK\n"
        "  TLS... OK not needed on a unix socket\n"
        "  talk to server... OK\n"
        "  send 1 probe event... OK acknowledged\n"
        "1 of 1 hosts usable\n"
    ) == output


def test_a_unix_socket_that_is_not_there_ends_with_69(tmp_path: Path) -> None:
    code, output = climbed("-H", f"unix://{tmp_path}/none.sock")

    assert 69 == code
    assert "dial up... ERROR no such file or directory\n    hint: there is no such socket" in output


@pytest.mark.parametrize("kind", ["tiny socks5", "tiny http", "tiny socks5 with credentials"])
def test_through_a_proxy_which_looks_the_name_up(kind: str, proxies: dict[str, str]) -> None:
    with Receiver() as receiver:
        code, output = climbed("-H", f"{KNOWN_TO_PROXIES}:{receiver.port}", BEATS_PROXY_URL=proxies[kind])

        assert 1 == len(receiver.events)
    assert 0 == code
    scheme, _, rest = proxies[kind].partition("://")
    assert (
        f"    proxy... OK {rest.rpartition('@')[2]} ({scheme})\n"
        "    dns lookup... OK left to the proxy\n"
        "    dial up... OK\n"
    ) in output
    assert "p%40ss" not in output


def test_through_a_proxy_to_an_address_that_is_looked_up_here(proxies: dict[str, str]) -> None:
    with Receiver() as receiver:
        code, output = climbed(
            *("-H", receiver.host, "--proxy-url", proxies["tiny http"], "-E", "proxy_use_local_resolver=true")
        )

    assert 0 == code
    assert "    addresses: 127.0.0.1\n    dial up... OK\n" in output


def test_a_proxy_that_wants_credentials_says_so(proxies: dict[str, str]) -> None:
    url = proxies["tiny socks5 with credentials"].replace("user:p%40ss%3Aword@", "")

    code, output = climbed("-H", "127.0.0.1", BEATS_PROXY_URL=url)

    assert 69 == code
    assert re.search(r"dial up... ERROR the proxy .* wants credentials", output)


def test_a_proxy_that_is_not_there_is_named(proxies: dict[str, str]) -> None:
    with Scripted(Peer.wait_for_end) as gone:
        url = f"socks5://{gone.host}"
    code, output = climbed("-H", "127.0.0.1", BEATS_PROXY_URL=url)

    assert 69 == code
    assert f"dial up... ERROR the proxy {url.removeprefix('socks5://')} cannot be reached: connection refused" in output
    assert "input { beats" not in output  # the receiver is not what is missing
