"""What AsyncClient promises beside what both clients do: cancellation, other tasks, a loop that is not held up."""

from __future__ import annotations

import asyncio
import gc
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from beats_core import AsyncClient, Client, ConnectionLost, encode_event
from support.authority import Authority
from support.clients import ids, numbered
from support.scripted import Peer, Scripted, ack, acknowledged, acks, after, answering, silence

LARGE = [{"id": number, "message": "x" * 1_000_000} for number in range(20)]
LARGE_WINDOWS: dict[str, Any] = {"compression_level": 0, "bulk_max_bytes": 1 << 30}


@asynccontextmanager
async def cancelled_when(happened: threading.Event, call: Any) -> AsyncIterator[None]:
    """Run the call in a task, and cancel it as soon as the receiver has seen something happen."""
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(happened.wait)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    yield


def test_a_cancelled_send_leaves_its_window_in_flight_and_the_client_usable() -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def serve(peer: Peer) -> None:
        first = peer.window()
        arrived.set()
        go_on.wait()
        peer.ack(first.count)
        answering(acknowledged)(peer)

    async def main(host: str) -> None:
        async with AsyncClient(host, bulk_max_size=5, pipelining=1) as client:
            async with cancelled_when(arrived, client.send(numbered(10))):
                assert 1 == client.in_flight
                assert [0, 1, 2, 3, 4] == ids(client.unacked)
            go_on.set()
            assert 3 == await client.send(numbered(3, first=20))
            assert 0 == client.in_flight

    with Scripted(serve) as receiver:
        asyncio.run(main(receiver.host))
        assert [[0, 1, 2, 3, 4], [20, 21, 22]] == [window.ids for window in receiver.windows]


def test_a_time_limit_around_send_is_kept() -> None:
    async def main(host: str) -> None:
        async with AsyncClient(host) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.send(numbered(10))
            assert list(range(3, 10)) == ids(client.unacked)

    with Scripted(answering(after(acks(3), silence))) as receiver:
        asyncio.run(main(receiver.host))


def test_a_window_that_was_cut_in_the_middle_ends_the_line() -> None:
    begun, hold = threading.Event(), threading.Event()

    def serve(peer: Peer) -> None:
        peer.ack(peer.window().count)
        peer.read(10)
        begun.set()
        hold.wait()

    async def main(host: str) -> None:
        async with AsyncClient(host, **LARGE_WINDOWS) as client:
            assert 1 == await client.send(numbered(1))
            async with cancelled_when(begun, client.post(LARGE)):
                assert list(range(20)) == ids(client.unacked)
            with pytest.raises(ConnectionLost, match="writing was interrupted") as lost:
                await client.send(numbered(2, first=20))
            assert list(range(22)) == ids(lost.value.unacked)
            assert 2 == await client.send(numbered(2))

    with Scripted(serve, answering(acknowledged)) as receiver:
        asyncio.run(main(receiver.host))
        hold.set()


def test_a_cancelled_wait_loses_no_ack() -> None:
    """However the cancellation and the ack fall together: the receiver acks at the moment of the cancellation."""

    async def main(receiver: Scripted) -> None:
        async with AsyncClient(receiver.host) as client:
            peer = receiver.accept()
            for turns in range(30):
                await client.post(numbered(10))
                peer.window()
                waiting = asyncio.ensure_future(client.read_acks())
                await asyncio.sleep(0)
                peer.ack(10)
                for _ in range(turns % 6):
                    await asyncio.sleep(0)
                waiting.cancel()
                settled = sum(count for _, count in await one_of(waiting))
                while client.in_flight:
                    settled += await client.wait_ack()
                assert 10 == settled

    async def one_of(waiting: asyncio.Future[Any]) -> Any:
        try:
            return await waiting
        except asyncio.CancelledError:
            return []

    with Scripted() as receiver:
        asyncio.run(main(receiver))


def test_a_cancelled_connect_leaves_nothing_behind(authority: Authority) -> None:
    accepted = threading.Event()

    def silent(peer: Peer) -> None:
        peer.take()
        accepted.set()
        peer.wait_for_end()

    async def main(host: str) -> None:
        client = AsyncClient(host, ssl=authority.option)
        async with cancelled_when(accepted, client.connect()):
            assert 0 == client.in_flight
        async with cancelled_when(accepted, client.send(numbered(3))):
            assert 0 == client.in_flight
        await client.close()

    with Scripted(silent) as receiver:
        asyncio.run(main(receiver.host))
    gc.collect()


def test_two_tasks_at_once_are_refused() -> None:
    arrived = threading.Event()

    def serve(peer: Peer) -> None:
        arrived.set()
        peer.window()
        go_on.wait()
        peer.ack(10)

    async def main(host: str) -> None:
        async with AsyncClient(host) as client:
            first = asyncio.ensure_future(client.send(numbered(10)))
            await asyncio.to_thread(arrived.wait)
            for call in (client.send(numbered(1)), client.post(numbered(1)), client.read_acks(), client.connect()):
                with pytest.raises(RuntimeError, match="another task is using this client"):
                    await call
            go_on.set()
            assert 10 == await first

    go_on = threading.Event()
    with Scripted(serve) as receiver:
        asyncio.run(main(receiver.host))


def test_closing_ends_the_wait_of_another_task_with_everything_unacked() -> None:
    arrived = threading.Event()

    def serve(peer: Peer) -> None:
        peer.window()
        arrived.set()
        peer.wait_for_end()

    async def main(host: str) -> None:
        client = AsyncClient(host, bulk_max_size=5, pipelining=1)
        sending = asyncio.ensure_future(client.send(numbered(10)))
        await asyncio.to_thread(arrived.wait)
        await client.close()
        with pytest.raises(ConnectionLost, match="the client was closed") as lost:
            await sending
        assert list(range(10)) == ids(lost.value.unacked)
        with pytest.raises(RuntimeError, match="the client is closed"):
            await client.send(numbered(1))

    with Scripted(serve) as receiver:
        asyncio.run(main(receiver.host))


def test_closing_while_another_task_connects_is_noticed() -> None:
    async def main(host: str) -> None:
        client = AsyncClient(host)
        sending = asyncio.ensure_future(client.send(numbered(10)))
        await asyncio.sleep(0)
        await client.close()
        with pytest.raises(RuntimeError, match="the client is closed"):
            await sending

    with Scripted(answering(acknowledged)) as receiver:
        asyncio.run(main(receiver.host))
        assert [] == receiver.windows


def test_a_client_connects_at_its_first_use() -> None:
    async def main(host: str) -> int:
        client = AsyncClient(host)
        try:
            return await client.send(numbered(4))
        finally:
            await client.close()

    with Scripted(answering(acknowledged)) as receiver:
        assert 4 == asyncio.run(main(receiver.host))


def test_many_clients_share_a_loop() -> None:
    async def deliver(host: str, first: int) -> int:
        async with AsyncClient(host, bulk_max_size=10) as client:
            return await client.send(numbered(100, first))

    async def main(host: str) -> list[int]:
        return await asyncio.gather(*(deliver(host, 100 * number) for number in range(20)))

    with Scripted(answering(acknowledged)) as receiver:
        assert [100] * 20 == asyncio.run(main(receiver.host))
        assert list(range(2_000)) == sorted(receiver.ids)


def test_the_loop_runs_on_while_a_receiver_is_slow() -> None:
    """Another task of the same loop plays the receiver: it could not if the client held the loop up."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(6 + sum(10 + len(encode_event(event)) for event in LARGE))
        writer.write(ack(0) + ack(20))
        await reader.read()
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, AsyncClient(f"127.0.0.1:{port}", **LARGE_WINDOWS) as client:
            assert 20 == await client.send(LARGE)

    asyncio.run(main())


def test_a_program_may_end_after_a_loss_without_closing(authority: Authority) -> None:
    """Neither the loop nor the interpreter complains: warnings are errors here."""

    async def main(host: str) -> None:
        client = AsyncClient(host, ssl=authority.option)
        await client.post(numbered(3))
        with pytest.raises(ConnectionLost):
            await client.read_acks()

    def serve(peer: Peer) -> None:
        peer.window()

    with Scripted(serve, tls=authority.server()) as receiver:
        asyncio.run(main(receiver.host))
    gc.collect()


def test_the_blocking_client_survives_an_interrupted_write() -> None:
    """As ctrl-C does it: the window is half written, so its line has ended."""

    class Interrupt(BaseException):
        pass

    hold, begun = threading.Event(), threading.Event()

    def serve(peer: Peer) -> None:
        peer.read(10)
        begun.set()
        hold.wait()

    def interrupt(*_: object) -> None:
        raise Interrupt

    def ring() -> None:
        begun.wait()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    ringing = threading.Thread(target=ring)
    try:
        with Scripted(serve, answering(acknowledged)) as receiver, Client(receiver.host, **LARGE_WINDOWS) as client:
            ringing.start()
            with pytest.raises(Interrupt):
                client.send(LARGE)
            assert list(range(20)) == ids(client.unacked)
            with pytest.raises(ConnectionLost, match="writing was interrupted") as lost:
                client.send(numbered(1, first=20))
            assert list(range(21)) == ids(lost.value.unacked)
            assert 1 == client.send(numbered(1))
            hold.set()
    finally:
        ringing.join()
        signal.signal(signal.SIGUSR1, before)
