"""A connection in the making: who gets it, and what becomes of it when nobody wants it any more."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from beats_core import Client, Options, Receiver, Shipper
from beats_core.hosts import Host, parse_host
from beats_core.line import Dialing
from support.lines import LONG, lively
from support.scripted import PATIENCE
from support.shippers import closed_port, ids, put, wait_until


class Way:
    """A way to a receiver that is found when `known` is set."""

    def __init__(self, *hosts: str) -> None:
        self.known = threading.Event()
        self.done = threading.Event()
        self._hosts = [parse_host(host) for host in hosts]

    def hosts(self) -> list[Host]:
        assert self.known.wait(PATIENCE)
        return self._hosts

    def dialing(self) -> Dialing:
        return Dialing(Options(), self.hosts, lambda hosts: hosts, at_most=None, on_done=self.done.set)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def test_the_first_host_that_can_be_reached_is_connected_to(receiver: Receiver) -> None:
    absent = closed_port()
    way = Way(absent, receiver.host)
    dialing = way.dialing()
    dialing.begin()
    assert not dialing.done
    way.known.set()
    assert way.done.wait(PATIENCE)

    assert dialing.client is not None
    assert (str(dialing.host), dialing.failure) == (receiver.host, None)
    assert [absent] == [str(host) for host, _ in dialing.tried]
    dialing.client.send([{"id": 1}])
    dialing.client.close()
    assert [1] == ids(receiver.events)


def test_what_was_given_up_before_it_was_tried_is_not_tried(receiver: Receiver) -> None:
    way = Way(receiver.host)
    dialing = way.dialing()
    dialing.begin()
    dialing.give_up()
    way.known.set()
    assert way.done.wait(PATIENCE)

    assert dialing.client is None


def test_what_was_given_up_when_it_was_done_is_closed(receiver: Receiver) -> None:
    way = Way(receiver.host)
    way.known.set()
    dialing = way.dialing()
    dialing.run()
    dialing.give_up()

    assert dialing.client is not None
    assert dialing.client.fileno() == -1


def test_what_was_given_up_while_it_was_tried_is_closed(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    way = Way(receiver.host)
    way.known.set()
    dialing = way.dialing()
    connect = Client.connect

    def give_up_meanwhile(client: Client, *arguments: Any) -> None:
        connect(client, *arguments)
        dialing.give_up()

    monkeypatch.setattr(Client, "connect", give_up_meanwhile)
    dialing.run()

    assert dialing.client is not None
    assert dialing.client.fileno() == -1


def refuse_threads(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


def test_where_no_thread_can_be_started_lines_change_all_the_same(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse_threads(monkeypatch, "beats-dialing")
    with Shipper(options=lively(receiver.host, ttl=0.05)) as shipper:
        put(shipper, 0)
        wait_until(lambda: (stats := shipper.stats().hosts.get(receiver.host)) and stats.connections >= 3)
        put(shipper, 1)
        assert shipper.flush(LONG)

    assert [0, 1] == ids(receiver.events)


def test_an_error_of_ours_while_another_line_is_opened_costs_nothing(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connect = Client.connect

    def fail(client: Client, *arguments: Any) -> None:
        if threading.current_thread().name == "beats-dialing":
            raise ZeroDivisionError
        connect(client, *arguments)

    monkeypatch.setattr(Client, "connect", fail)
    with Shipper(options=lively(receiver.host, ttl=0.05)) as shipper:
        put(shipper, 0)
        wait_until(lambda: caplog.records)
        put(shipper, 1)
        assert shipper.flush(LONG)
        stats = shipper.stats()

    assert (1, 0) == (stats.hosts[receiver.host].connections, stats.resent)
    assert {logging.ERROR} == {record.levelno for record in caplog.records}
