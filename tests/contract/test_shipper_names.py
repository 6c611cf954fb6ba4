"""Each address of a name is a host of its own: senders come and go with the addresses, and events stay."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest

from beats_core import Receiver, Shipper
from beats_core.sender import Sender
from support.lines import LONG, Hesitant, lively, state
from support.scripted import PATIENCE, Script, Scripted, acknowledged, after, answering, closes
from support.shippers import ids, put, unaccounted, wait_until

NAME = "receivers.invalid"
ADDRESSES = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
WILLING = [answering(acknowledged)]


class Names:
    """What the name means at present; nothing at all: it cannot be resolved. All other names are real."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.asked = 0
        self.threads: set[threading.Thread] = set()
        self.answering = threading.Event()
        self.answering.set()
        self._real = socket.getaddrinfo

    def __call__(self, name: Any, port: Any, *arguments: Any, **values: Any) -> Any:
        if name != NAME:
            return self._real(name, port, *arguments, **values)
        self.threads.add(threading.current_thread())
        assert self.answering.wait(PATIENCE)
        self.asked += 1
        if not self.addresses:
            raise socket.gaierror(socket.EAI_NONAME, "name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in self.addresses]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    yield names
    names.answering.set()
    assert threading.main_thread() not in names.threads


def on_addresses(stack: ExitStack, *scripts: Sequence[Script]) -> list[Scripted]:
    """Listen on one port of so many addresses, each of which plays its scripts."""
    servers: list[Scripted] = []
    for address, own in zip(ADDRESSES, scripts, strict=False):
        port = servers[0].port if servers else 0
        servers.append(stack.enter_context(Scripted(*own, name=address, port=port)))
    return servers


def host(server: Scripted, address: str | None = None) -> str:
    return f"{NAME}:{server.port} ({address})" if address else f"{NAME}:{server.port}"


def options(server: Scripted, **values: Any) -> Any:
    defaults = {"resolve_all": True, "resolve_interval": 0.02, "loadbalance": True, "pipelining": 1}
    return lively(host(server), **{**defaults, **values})


@pytest.mark.parametrize("workers", [1, 2])
def test_each_address_has_senders_of_its_own(names: Names, workers: int) -> None:
    names.addresses = list(ADDRESSES)
    scripts = [Hesitant(1) for _ in range(3 * workers)]
    with ExitStack() as stack:
        servers = on_addresses(stack, *(scripts[place::3] for place in range(3)))
        with Shipper(options=options(servers[0], workers=workers)) as shipper:
            put(shipper, *range(3 * workers))
            for script in scripts:
                assert script.holding.wait(PATIENCE)
            assert {host(servers[0], address): workers for address in ADDRESSES} == {
                name: stats.in_flight for name, stats in shipper.stats().hosts.items()
            }
            for script in scripts:
                script.go.set()
            assert shipper.flush(LONG)


def test_a_new_address_gets_its_share_and_one_that_vanished_finishes_what_it_has(names: Names) -> None:
    names.addresses = list(ADDRESSES[:1])
    first = Hesitant(1)
    with ExitStack() as stack:
        one, two = on_addresses(stack, [first], WILLING)
        with Shipper(options=options(one)) as shipper:
            put(shipper, 0)
            assert first.holding.wait(PATIENCE)
            names.addresses = list(ADDRESSES[:2])
            put(shipper, 1)
            wait_until(lambda: two.ids == [1])

            names.addresses = list(ADDRESSES[1:2])
            wait_until(lambda: state(shipper, host(one, ADDRESSES[0])) == "draining")
            put(shipper, 2)
            wait_until(lambda: two.ids == [1, 2])
            first.go.set()
            assert shipper.flush(LONG)
            assert first.ended.wait(PATIENCE)
            wait_until(lambda: host(one, ADDRESSES[0]) not in shipper.stats().hosts)
            stats = shipper.stats()

    assert (3, 0, 0) == (stats.acked, stats.resent, unaccounted(stats))
    assert {host(one): 1, host(two, ADDRESSES[1]): 2} == {name: stats.acked for name, stats in stats.hosts.items()}


def test_addresses_that_come_and_go_under_load_lose_and_repeat_nothing(names: Names) -> None:
    names.addresses = list(ADDRESSES[:1])
    turns = [ADDRESSES[:2], ADDRESSES[1:], ADDRESSES[2:], ADDRESSES[::2], ADDRESSES]
    with ExitStack() as stack:
        servers = on_addresses(stack, WILLING, WILLING, WILLING)
        with Shipper(options=options(servers[0], pipelining=4, bulk_max_size=3, resolve_interval=0.005)) as shipper:
            number = 0
            for turn in turns * 2:
                names.addresses = list(turn)
                asked = names.asked
                while names.asked < asked + 3:
                    put(shipper, *range(number, number + 10))
                    number += 10
                    time.sleep(0.0005)
            stats = shipper.close(LONG)
        arrived = sorted(event for server in servers for event in server.ids)

    assert list(range(number)) == arrived
    assert (number, 0, 0) == (stats.acked, stats.resent, unaccounted(stats))
    assert sum(each.acked for each in stats.hosts.values()) == number


def test_while_names_cannot_be_resolved_what_is_there_stays(names: Names) -> None:
    names.addresses = list(ADDRESSES[:2])
    with ExitStack() as stack:
        one, two = on_addresses(stack, WILLING, WILLING)
        with Shipper(options=options(one)) as shipper:
            put(shipper, 0)
            assert shipper.flush(LONG)
            names.addresses = []
            asked = names.asked
            wait_until(lambda: names.asked > asked + 2)
            put(shipper, *range(1, 20))
            assert shipper.flush(LONG)

            assert list(range(20)) == sorted(one.ids + two.ids)
            assert shipper.stats().resent == 0
            assert max(len(one.peers), len(two.peers)) == 1


@pytest.mark.parametrize("loadbalance", [True, False])
def test_events_wait_until_the_name_can_be_resolved(names: Names, *, loadbalance: bool) -> None:
    with ExitStack() as stack:
        [server] = on_addresses(stack, WILLING)
        with Shipper(options=options(server, loadbalance=loadbalance, resolve_interval=LONG)) as shipper:
            put(shipper, 0)
            wait_until(lambda: any("not known" in str(stats.error) for stats in shipper.stats().hosts.values()))
            names.addresses = [ADDRESSES[0]]
            assert shipper.flush(LONG)
            wait_until(lambda: host(server, ADDRESSES[0]) in shipper.stats().hosts)

            assert [0] == server.ids


def test_without_load_balancing_the_addresses_are_looked_up_before_the_first_is_tried(names: Names) -> None:
    names.addresses = list(ADDRESSES[:1])
    with ExitStack() as stack:
        one, two = on_addresses(stack, [answering(after(acknowledged, closes))], WILLING)
        with Shipper(options=options(one, loadbalance=False)) as shipper:
            put(shipper, 0)
            assert shipper.flush(LONG)
            wait_until(lambda: not any(stats.connected for stats in shipper.stats().hosts.values()))
            names.addresses = [ADDRESSES[2], ADDRESSES[1]]  # at the first of them nobody listens
            put(shipper, 1)
            assert shipper.flush(LONG)
            stats = shipper.stats().hosts

        assert ([0], [1]) == (one.ids, two.ids)
        assert {host(one): 1, host(two, ADDRESSES[1]): 1, host(one, ADDRESSES[2]): 0} == {
            name: each.acked for name, each in stats.items()
        }


def test_when_the_time_of_a_line_is_up_the_addresses_are_looked_up_anew(names: Names) -> None:
    names.addresses = list(ADDRESSES[:1])
    with ExitStack() as stack:
        one, two = on_addresses(stack, WILLING, WILLING)
        with Shipper(options=options(one, loadbalance=False, ttl=0.1)) as shipper:
            put(shipper, 0)
            assert shipper.flush(LONG)
            names.addresses = list(ADDRESSES[1:2])
            wait_until(lambda: two.peers)
            wait_until(one.peers[0].closed.is_set)
            put(shipper, 1)
            assert shipper.flush(LONG)

        assert ([0], [1]) == (one.ids, two.ids)


# Its end.


def test_a_close_before_the_first_answer_delivers_when_it_comes(names: Names) -> None:
    names.addresses = [ADDRESSES[0]]
    names.answering.clear()
    with ExitStack() as stack:
        [server] = on_addresses(stack, WILLING)
        shipper = Shipper(options=options(server))
        put(shipper, 0)
        wait_until(lambda: names.threads)
        answering_soon = threading.Timer(0.05, names.answering.set)
        answering_soon.start()

        assert shipper.close(LONG).acked == 1
        answering_soon.join()


def test_a_close_does_not_wait_for_names_that_nobody_resolves(names: Names) -> None:
    names.answering.clear()
    shipper = Shipper(options=lively(f"{NAME}:1", resolve_all=True, loadbalance=True))
    put(shipper, 0)
    wait_until(lambda: names.threads)

    assert {"shutdown": 1} == shipper.close(0.1).dropped


def test_where_no_thread_can_be_started_any_more_the_one_that_looks_names_up_delivers(
    names: Names, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CPython 3.12 starts none while it ends."""
    names.addresses = [ADDRESSES[0]]
    names.answering.clear()
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if isinstance(getattr(getattr(thread, "_target", None), "__self__", None), Sender):
            raise RuntimeError("can't create new thread at interpreter shutdown")  # noqa: TRY004 - as CPython says it
        start(thread)

    with Receiver() as receiver:
        port = receiver.host.rpartition(":")[2]
        shipper = Shipper(options=lively(f"{NAME}:{port}", resolve_all=True, loadbalance=True))
        put(shipper, 0)
        wait_until(lambda: names.threads)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        answering_soon = threading.Timer(0.05, names.answering.set)
        answering_soon.start()

        assert shipper.close(LONG).acked == 1
        assert [0] == ids(receiver.events)
        answering_soon.join()
    assert logging.ERROR in {record.levelno for record in caplog.records}
