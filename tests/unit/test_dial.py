"""What a line is made of that no receiver sees: the name TLS asks for, and options that a platform lacks."""

from __future__ import annotations

import socket

import pytest

from beats_core import Options
from beats_core.dial import Unreachable, new_socket, server_name, set_tcp_options
from beats_core.hosts import Host


@pytest.mark.parametrize(
    ("host", "name"),
    [
        (Host("ls1.example.com", 5044), "ls1.example.com"),
        (Host("ls1.example.com", 5044, "192.0.2.1"), "ls1.example.com"),
        (Host("ls1.example.com.", 5044), "ls1.example.com"),
        (Host("192.0.2.1", 5044), "192.0.2.1"),
        (Host("fe80::1%eth0", 5044), "fe80::1"),
        (Host("/run/beats.sock", 0), "localhost"),
    ],
)
def test_tls_asks_for_the_name_as_certificates_have_it(host: Host, name: str) -> None:
    assert name == server_name(host)


@pytest.mark.parametrize("missing", ["TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT", "TCP_USER_TIMEOUT"])
def test_what_the_platform_lacks_is_left_out(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delattr(socket, missing, raising=False)
    with socket.socket() as line:
        set_tcp_options(line, Options(tcp_user_timeout=10))

        assert line.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_socket_that_cannot_be_made_as_wanted_is_closed() -> None:
    """Warnings of what is left open are errors here."""
    with pytest.raises(Unreachable, match="cannot connect from 203"):
        new_socket(Host("127.0.0.1", 1, "127.0.0.1"), Options(source_address="203.0.113.9"))
