"""AsyncClient, cancelled while its line is being opened: nothing is left behind, and the ledger is right."""

from __future__ import annotations

import asyncio
import gc
import socket
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest

from beats_core import AsyncClient
from support.authority import Authority
from support.clients import UNDER_UVLOOP, UvloopClient, ids, numbered
from support.scripted import Peer, Scripted, acknowledged, answering

LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None}
LOOPS |= dict.fromkeys(UNDER_UVLOOP, UvloopClient.new_loop)
Main = Callable[[], Coroutine[Any, Any, None]]


@pytest.fixture(params=LOOPS)
def run(request: pytest.FixtureRequest) -> Callable[[Main], None]:
    """Run a coroutine function in an event loop of each kind."""

    def run(main: Main) -> None:
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            runner.run(main())
        gc.collect()  # what was not closed is told, and fails the test

    return run


def options_of(step: str, authority: Authority, silent: str) -> tuple[str, dict[str, Any]]:
    """Return the host and the options with which the step meets the silent listener."""
    if step in ("socks5", "http"):
        return "127.0.0.1:1", {"proxy_url": f"{step}://{silent}"}
    if step == "handshake":
        return silent, {"ssl": authority.option}
    return silent, {"ssl": {"ca_trusted_fingerprint": authority.fingerprint}}


@pytest.mark.parametrize("step", ["socks5", "http", "handshake", "look at the authority"])
@pytest.mark.parametrize("call", ["connect", "send", "post"])
def test_cancelled_in_the_middle_of_a_step_the_line_is_closed(
    run: Callable[[Main], None], authority: Authority, step: str, call: str
) -> None:
    reached = threading.Event()

    def silent(peer: Peer) -> None:
        peer.take()
        reached.set()
        peer.wait_for_end()  # fails the test if that does not come

    async def main() -> None:
        host, options = options_of(step, authority, receiver.host)
        client = AsyncClient(host, **options)
        task = asyncio.ensure_future(client.connect() if call == "connect" else getattr(client, call)(numbered(3)))
        await asyncio.to_thread(reached.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert 0 == client.in_flight
        assert 0 == len(client.unacked)
        await client.close()

    with Scripted(silent) as receiver:
        run(main)
        receiver.peers[0].wait_for_end()


def test_cancelled_while_nobody_answers_the_client_is_usable(run: Callable[[Main], None]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            client = AsyncClient(["{}:{}".format(*listener.getsockname()), receiver.host], connect_timeout=0.5)
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.05):
                        await client.send(numbered(3))
                assert 0 == client.in_flight
            assert 3 == await client.send(numbered(3))
            await client.close()

    with Scripted(answering(acknowledged)) as receiver, socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)  # its queue is full with one
        with socket.create_connection(listener.getsockname()):
            run(main)
        assert [0, 1, 2] == receiver.ids


@pytest.mark.parametrize("link", ["plain", "TLS", "TLS with a look at the authority"])
def test_cancelled_at_any_turn_of_the_loop_nothing_is_lost_that_was_sent(
    run: Callable[[Main], None], authority: Authority, link: str
) -> None:
    options: dict[str, dict[str, Any]] = {
        "plain": {},
        "TLS": {"ssl": authority.option},
        "TLS with a look at the authority": {"ssl": {"ca_trusted_fingerprint": authority.fingerprint}},
    }
    tls = None if link == "plain" else authority.server(shows_authority=True)

    async def main() -> None:
        for turns in range(0, 200, 5):
            client = AsyncClient(receiver.host, bulk_max_size=5, pipelining=1, **options[link])
            task = asyncio.ensure_future(client.send(numbered(10, first=100 * turns)))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            under_way = ids(client.unacked)
            settled = 0
            while client.in_flight:
                settled += await client.wait_ack()
            assert len(under_way) == settled
            assert 1 == await client.send([{"id": -1}])
            await client.close()

            arrived = [number for number in receiver.ids if number // 100 == turns]
            assert list(range(100 * turns, 100 * turns + 10))[: len(arrived)] == arrived
            assert under_way == arrived[len(arrived) - len(under_way) :]

    with Scripted(answering(acknowledged), tls=tls) as receiver:
        run(main)
