"""The same producer, ledger and faults with PyLogBeat and python-logstash-async in our place: what do they lose?

Nothing is asserted of them, their numbers are printed. Of us the same is: nothing lost.
"""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from faults.catalogue import ON_DISK
from faults.meddling_proxy import Meddling, MeddlingProxy
from faults.processes import Producer, wait_until
from faults.scene import HAS_SPOOL, Scene
from support.authority import Authority
from support.scripted import acknowledged, answering
from support.shippers import closed_port

CLIENTS = ["shipper", "pylogbeat", "logstash-async"]
EVENTS = 200
RATE = 200.0  # events per second
pytestmark = pytest.mark.parametrize("client", CLIENTS)


def peer(injected: str) -> pytest.MarkDecorator:
    return pytest.mark.fault("peer", injected, True)


@pytest.fixture
def durability() -> str:
    """The best there is: a peer has what it has."""
    return ON_DISK[1] if HAS_SPOOL else "memory"


def ship(scene: Scene, client: str, host: str, options: dict[str, Any] | None = None, **values: Any) -> Producer:
    scene.row.durability = client
    own = {} if client == "shipper" else {"database": scene.path("queue.db"), "ssl": None}
    # PyLogBeat tells its caller that it failed; a log call has nowhere to keep the event, so it is not tried again.
    told = {"events": EVENTS, "rate": RATE, "retries": client != "pylogbeat", **values}
    return scene.producer(host, client=client, threads=1, options={**own, **(options or {})}, **told)


def judge(scene: Scene, client: str, host: str, crashes: int = 0, may_lose: int | None = 0) -> None:
    """Draw the sum, when what waits on a disk was given to a successor."""
    for producer in scene.producers:
        producer.end()
    if client == "shipper":
        scene.drain(host)
        scene.judge(crashes=crashes, may_lose=may_lose)
        return
    if client == "logstash-async":
        ship(scene, client, host, events=30, rate=10.0)
    with suppress(AssertionError):  # whatever it is, the row shows it
        scene.judge(bound=EVENTS * 100, may_lose=None)
    row = scene.row
    refused = sum(producer.report()["refused"] for producer in scene.producers if producer.process.returncode == 0)
    if refused:
        row.notes.append(f"{refused} more were refused")
    left = _left_in_database(scene.path("queue.db"))
    if left and row.lost:
        row.lost -= left
        row.notes.append(f"{left} are still in its database")
    row.bound = None
    row.verdict = "loses" if row.lost or refused else "yes"


def _left_in_database(path: str) -> int:
    if not Path(path).exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM event").fetchone()[0])


def ends(producer: Producer, at_most: float) -> bool:
    try:
        producer.process.wait(at_most)
    except subprocess.TimeoutExpired:
        return False
    return True


@peer("nothing at all")
def test_without_a_fault(scene: Scene, client: str) -> None:
    host = scene.sink().host
    ship(scene, client, host)
    judge(scene, client, host)


@peer("the receiver is killed and started, 3 times")
def test_the_receiver_is_killed_and_started(scene: Scene, client: str) -> None:
    sink = scene.sink()
    ship(scene, client, sink.host)
    for _ in range(3):
        time.sleep(0.3)  # some events, for whoever ships them
        sink.kill()
        time.sleep(0.1)
        sink.start()
    judge(scene, client, sink.host)


@peer("the line is reset in the middle of windows, 4 times")
def test_the_line_is_reset_in_the_middle_of_windows(scene: Scene, client: str) -> None:
    resets = [Meddling(after=after) for after in (100, 3_000, 9_000, 20_000)]
    proxy = scene.stack.enter_context(MeddlingProxy(scene.sink().host, *resets))
    ship(scene, client, proxy.host)
    judge(scene, client, proxy.host)


@peer("kill -9 of the producer, then the same again")
def test_the_producer_is_killed(scene: Scene, client: str) -> None:
    sink = scene.sink()
    producer = ship(scene, client, sink.host)
    wait_until(lambda: producer.accepted >= EVENTS // 2 or producer.process.poll() is not None)
    producer.kill()
    ship(scene, client, sink.host, events=EVENTS // 10)
    judge(scene, client, sink.host, crashes=1, may_lose=0 if HAS_SPOOL else None)


@peer("the receiver is dead at the end, then started, and a successor")
def test_the_receiver_is_dead_at_the_end(scene: Scene, client: str) -> None:
    dead = closed_port()
    ship(scene, client, dead, closing=1.0, ending="return", options={"shutdown_timeout": 1.0})
    producer = scene.producers[0]
    if not ends(producer, 20.0):
        scene.row.notes.append("does not end without a receiver")
        producer.kill()
    sink = scene.sink(bind=dead)
    ship(scene, client, sink.host, events=EVENTS // 10)
    judge(scene, client, sink.host, may_lose=0 if HAS_SPOOL else None)


@peer("TLS: the receiver's certificate is for another name")
def test_a_certificate_for_another_name(scene: Scene, client: str, authority: Authority) -> None:
    scripted = scene.scripted(answering(acknowledged), tls=authority.server("elsewhere.example.org"))
    producer = ship(
        scene, client, scripted.host, options={"ssl": authority.option, "shutdown_timeout": 1.0}, closing=1.0, events=5
    )
    if not ends(producer, 20.0):
        producer.kill()
    believed = scene.arrived
    scene.row.notes.append(f"tells {believed} events to a stranger" if believed else "tells a stranger nothing")
    if client != "shipper":
        judge(scene, client, scripted.host, may_lose=None)
        return
    scene.row.accepted, scene.row.arrived, scene.row.lost = scene.accepted, believed, 0
    scene.row.notes.append("all wait in the spool")
    scene.row.verdict = "no" if believed else "yes"
    assert believed == 0
