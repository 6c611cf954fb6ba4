"""The Shipper against go-lumber's server."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beats_core import Shipper
from support.authority import Authority
from support.clients import numbered
from support.go_lumber import CertificateFiles, GoReceiver

PATIENCE = 30.0  # seconds without which nothing here should have to do


def put_all(shipper: Shipper, events: list[dict[str, Any]]) -> None:
    for event in events:
        assert shipper.put(event)


@pytest.mark.parametrize("level", [0, 3])
def test_every_event_arrives_once_in_order_with_a_time_and_an_id_of_its_own(level: int) -> None:
    events = [
        {"id": number, "message": f"Grüße {number} 🌍", "nested": {"a": [number, None]}} for number in range(5_000)
    ]
    with GoReceiver() as receiver:
        with Shipper(receiver.host, compression_level=level, index="shop") as shipper:
            put_all(shipper, events)
            stats = shipper.close(PATIENCE)

        received = receiver.wait_for(5_000)

    assert (5_000, 5_000, 0, 0) == (stats.accepted, stats.acked, stats.resent, stats.lost)
    metadata = [event.pop("@metadata") for event in received]
    assert all(event.pop("@timestamp").endswith("Z") for event in received)
    assert events == received
    assert {("shop", "_doc")} == {(about["beat"], about["type"]) for about in metadata}
    assert 5_000 == len({about["_id"] for about in metadata})


def test_tls_with_a_client_certificate(authority: Authority, server_certificate: CertificateFiles) -> None:
    with (
        GoReceiver(write="ids", certificate=server_certificate, client_authorities=authority.path) as receiver,
        Shipper(receiver.host, ssl=authority.client("shipper@example.org")) as shipper,
    ):
        put_all(shipper, numbered(5_000))

        assert 5_000 == shipper.close(PATIENCE).acked
        assert list(range(5_000)) == receiver.wait_for(5_000)


def test_a_slow_receiver_that_sends_keepalives_gets_every_event_once() -> None:
    with GoReceiver(write="ids", ack_delay=0.4, keepalive=0.1) as receiver:
        with Shipper(receiver.host, bulk_max_size=100, timeout=2.0) as shipper:
            put_all(shipper, numbered(500))
            stats = shipper.close(PATIENCE)

        assert (500, 0) == (stats.acked, stats.resent)
        assert list(range(500)) == receiver.wait_for(500)


def test_two_receivers_share_the_load_and_each_event_arrives_once() -> None:
    with (
        GoReceiver(write="ids", ack_delay=0.03) as one,
        GoReceiver(write="ids", ack_delay=0.03) as other,
        Shipper([one.host, other.host], loadbalance=True, bulk_max_size=100) as shipper,
    ):
        put_all(shipper, numbered(5_000))

        assert 5_000 == shipper.close(PATIENCE).acked

    assert one.count
    assert other.count
    assert list(range(5_000)) == sorted(one.events() + other.events())


def test_when_a_receiver_is_killed_the_next_one_gets_what_was_not_acked() -> None:
    with GoReceiver(write="ids", ack_delay=60) as one, GoReceiver(write="ids") as other:
        with Shipper([one.host, other.host], backoff_init=0.05) as shipper:
            put_all(shipper, numbered(100))
            one.wait_until(1)
            one.kill()
            put_all(shipper, numbered(100, first=100))
            stats = shipper.close(PATIENCE)

        assert 200 == stats.acked
        assert stats.resent > 0
        assert list(range(200)) == sorted(other.wait_for(200))


def test_a_receiver_that_is_killed_and_restarted_misses_nothing() -> None:
    with (
        GoReceiver(write="ids") as receiver,
        Shipper(receiver.host, backoff_init=0.05, bulk_max_size=200) as shipper,
    ):
        for first in range(0, 5_000, 1_000):
            put_all(shipper, numbered(1_000, first))
            receiver.wait_until(first + 100)
            receiver.kill()
            receiver.start()
        stats = shipper.close(PATIENCE)

    assert (5_000, 5_000) == (stats.accepted, stats.acked)
    assert set(range(5_000)) == set(receiver.events())


def test_a_receiver_that_closes_instead_of_acking_gets_everything_at_least_once() -> None:
    with (
        GoReceiver(write="ids", close_every=3) as receiver,
        Shipper(receiver.host, backoff_init=0.01, bulk_max_size=100) as shipper,
    ):
        put_all(shipper, numbered(2_000))
        stats = shipper.close(PATIENCE)

    assert (2_000, 0, 0) == (stats.acked, stats.dead, stats.lost)
    assert stats.resent > 0
    assert set(range(2_000)) == set(receiver.events())


def test_an_event_go_lumber_cannot_read_dies_alone_while_the_program_goes_on() -> None:
    """Ready JSON is shipped as it is, and 1e400 is JSON; but it is beyond the float64 of go."""
    with (
        GoReceiver() as receiver,
        Shipper(receiver.host, backoff_init=0.001, backoff_max=0.002, bulk_max_size=256) as shipper,
    ):
        put_all(shipper, numbered(500))
        assert shipper.put(b'{"id": "poison", "value": 1e400}')
        put_all(shipper, numbered(500, first=500))
        put = 1_000
        while not shipper.stats().dead:  # it is only sentenced while the receiver acknowledges others
            put_all(shipper, numbered(1, first=put))
            put += 1
            shipper.flush(0.05)
        stats = shipper.close(PATIENCE)

    assert (put + 1, put, 1, 0) == (stats.accepted, stats.acked, stats.dead, stats.lost)
    assert set(range(put)) == {json.loads(line)["id"] for line in receiver.lines()}
