"""What both clients take, refuse and forget: events, options, closing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from beats_core import Batch, Client, EventTooLarge, OptionError
from support.clients import MakeDriver, numbered
from support.scripted import Scripted, acknowledged, answering


def test_ready_json_is_sent_as_it_is(driver: MakeDriver) -> None:
    ready: list[bytes | str] = [b'{"a": 1.10}', '{"b":"\\u00fc"}', b' {"c":1}\n']
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        client.send(ready)

        assert [b'{"a": 1.10}', b'{"b":"\\u00fc"}', b'{"c":1}'] == receiver.windows[0].payloads


def test_any_iterable_of_events_can_be_sent(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        assert 3 == client.send(event for event in numbered(3))
        assert 2 == client.send(tuple(numbered(2)))
        assert 1 == client.send(Batch([b'{"id":7}']))

        assert [0, 1, 2, 0, 1, 7] == receiver.ids


def test_no_events_need_no_receiver(driver: MakeDriver) -> None:
    with Scripted() as receiver:
        gone = receiver.host
    with Scripted() as receiver, driver(receiver.host) as client:
        assert 0 == client.send([])
        assert 0 == client.post([])
        assert 0 == client.send(Batch([]))
        assert 0 == client.in_flight
        assert receiver.accept().is_quiet(0)
    assert 0 == Client(gone).send([])


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"message": "x" * 1000}, EventTooLarge),
        (b'{"message":"' + b"x" * 1000 + b'"}', EventTooLarge),
        (["no", "mapping"], TypeError),
        (None, TypeError),
        ("no object", ValueError),
        (b"[1]", ValueError),
    ],
    ids=["large mapping", "large bytes", "list", "None", "text", "array"],
)
def test_an_event_that_cannot_be_sent_is_refused_before_anything_is_sent(
    driver: MakeDriver, event: Any, error: type[Exception]
) -> None:
    options = {"max_event_bytes": 500, "bulk_max_size": 1}
    with Scripted() as receiver, driver(receiver.host, **options) as client:
        with pytest.raises(error):
            client.send([{"id": 1}, {"id": 2}, event])
        with pytest.raises(error):
            client.post([event])
        assert 0 == client.in_flight

        client.post([{"id": 3}])
        assert [3] == receiver.accept().window().ids


def test_more_events_than_a_window_may_have_are_refused_by_post(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host, bulk_max_size=10) as client:
        with pytest.raises(ValueError, match="11 events in one window, bulk_max_size is 10"):
            client.post(numbered(11))
        assert 10 == client.post(numbered(10))
        assert 10 == receiver.accept().window().count


def test_a_closed_client_says_so_until_it_is_connected_again(driver: MakeDriver) -> None:
    with Scripted(answering(acknowledged)) as receiver, driver(receiver.host) as client:
        client.close()
        client.close()
        assert [] == client.read_acks()
        with pytest.raises(RuntimeError, match="closed"):
            client.send(numbered(1))
        with pytest.raises(RuntimeError, match="closed"):
            client.post(numbered(1))

        client.connect()
        client.connect()
        assert 1 == client.send(numbered(1))
        assert 2 == len(receiver.peers)


def test_closing_forgets_what_is_in_flight(driver: MakeDriver) -> None:
    with Scripted() as receiver, driver(receiver.host) as client:
        client.post(numbered(3))
        client.close()
        assert 0 == client.in_flight
        assert 0 == len(client.unacked)
        peer = receiver.accept()
        peer.window()
        assert b"" == peer.wait_for_end()


def test_a_client_connects_at_its_first_use() -> None:
    with Scripted(answering(acknowledged)) as receiver:
        client = Client(receiver.host)
        assert -1 == client.fileno()
        assert [] == client.read_acks()
        assert 1 == client.send([{"id": 1}])
        assert client.fileno() >= 0
        client.close()
        assert -1 == client.fileno()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"timeout": 0}, "timeout=0: seconds, 0.001 to "),
        ({"pipelining": 0}, "pipelining=0: a whole number of windows, 1 to 100"),
        ({"compression_level": 10}, "compression_level=10: a whole number, 0 to 9"),
        ({"ssl": {"certificate_authorities": ["/nowhere.pem"]}}, "ssl.certificate_authorities='/nowhere.pem'"),
    ],
)
def test_a_bad_option_is_refused_at_the_call(driver: MakeDriver, options: dict[str, Any], named: str) -> None:
    with pytest.raises(OptionError) as refused:
        driver("localhost:5044", **options)

    assert str(refused.value).startswith(named)


def test_a_batch_shows_no_contents() -> None:
    batch = Batch([json.dumps({"password": "secret"}).encode()])

    assert "<Batch of 1 events, 22 bytes>" == repr(batch)
