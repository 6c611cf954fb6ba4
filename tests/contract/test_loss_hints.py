"""A lost line names the likely receiver and cause, by both drivers."""

from __future__ import annotations

from typing import Any

import pytest

from beats_core import ConnectionLost, Shipper
from support.clients import MakeDriver, numbered
from support.scripted import (
    Answer,
    Peer,
    Scripted,
    Window,
    acknowledged,
    acks,
    after,
    answering,
    closes,
    resets,
    sends,
    silence,
)
from support.shippers import wait_until

FEW, TOO_MANY = 3, 12_000


def keeps_alive(peer: Peer, window: Window) -> None:
    while not peer.closed.is_set():
        peer.keep_alive()
        if not peer.is_quiet(0.05):
            peer.take()


@pytest.mark.parametrize(
    ("answer", "count", "options", "reason"),
    [
        (closes, TOO_MANY, {}, "the peer closed the connection; go-lumber and Elastic's lumberjack input take at most"),
        (resets, TOO_MANY, {}, " 10,000 events, this window had 12,000: lower bulk_max_size"),
        (closes, FEW, {}, "; perhaps the port wants TLS (ssl), or is no Beats port"),
        (resets, FEW, {}, "; perhaps the port wants TLS (ssl), or is no Beats port"),
        (silence, FEW, {"timeout": 0.2}, "; Vector, Graylog, Fluentd and NiFi send no keep-alives while they work"),
        (
            after(acks(1), silence),
            FEW,
            {"timeout": 0.2},
            "; NiFi acknowledges the part of a window",
        ),
        (keeps_alive, FEW, {"stall_timeout": 0.2}, "; perhaps Logstash's pipeline is blocked"),
        (sends(b"HTTP/1.1 400 Bad Request\r\n\r\n"), FEW, {}, "the peer speaks HTTP; this is an HTTP port"),
        (
            sends(b"\x15\x03\x03\x00\x02\x02\x28"),
            FEW,
            {},
            "a plain connection; the port wants TLS",
        ),
        (sends(b"SSH-2.0-OpenSSH_9.2\r\n"), FEW, {}, "; this is an SSH port"),
    ],
)
def test_the_reason_of_a_loss_says_whose_behaviour_it_looks_like(
    driver: MakeDriver, answer: Answer, count: int, options: dict[str, Any], reason: str
) -> None:
    with Scripted(answering(answer)) as receiver:
        client = driver(receiver.host, bulk_max_size=20_000, compression_level=1, **options)
        with pytest.raises(ConnectionLost) as lost, client:
            client.send(numbered(count))

    assert reason in lost.value.reason


def test_an_ack_that_spans_windows_points_at_old_versions_of_vector(driver: MakeDriver) -> None:
    def serve(peer: Peer) -> None:
        peer.window()
        peer.window()
        peer.ack(2 * FEW)
        peer.wait_for_end()

    with Scripted(serve) as receiver:
        client = driver(receiver.host, bulk_max_size=FEW, pipelining=2)
        with pytest.raises(ConnectionLost, match="older versions of Vector"), client:
            client.send(numbered(2 * FEW))


def test_a_loss_that_points_nowhere_says_what_happened_and_no_more(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged, closes)) as receiver:
        client = driver(receiver.host, bulk_max_size=FEW, pipelining=1)
        with pytest.raises(ConnectionLost) as lost, client:
            client.send(numbered(2 * FEW))

    assert "the peer closed the connection" == lost.value.reason


def test_a_shipper_too_tells_a_host_that_closes_again_and_again() -> None:
    with (
        Scripted(answering(closes)) as receiver,
        Shipper(receiver.host, backoff_init=0.001, backoff_max=0.002) as shipper,
    ):
        shipper.put({"message": "x"})
        wait_until(lambda: "3 lines in a row ended so" in (shipper.stats().hosts[receiver.host].error or ""))
        shipper.close(0)
