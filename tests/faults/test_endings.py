"""Rows 32, 33, 35 to 37: the producer ends, is ended, and is ended at every system call."""

from __future__ import annotations

import random
import signal

import pytest

from beats_core import Receiver
from faults.catalogue import FULL, LOOPS, ON_DISK, row
from faults.groups import limited
from faults.processes import PATIENCE
from faults.scene import Scene
from faults.syscalls import Injected
from support.programs import run
from support.shippers import closed_port

RATE = 1500  # events per second, of each of two threads
# What a killed process may have had in memory with durability "spool": half a second's events, where 50 ms are usual.
IN_MEMORY = RATE
POINTS = range(1, 200) if FULL else (1, 3, 7, 15)  # which system call of each kind it is killed at


def may_lose(scene: Scene, kills: int) -> int | None:
    return {"memory": None, "spool": kills * IN_MEMORY, "journal": 0}[scene.durability]


@row("F32", f"SIGKILL of the producer at any moment, {LOOPS} times", "memory", *ON_DISK, every=True)
def test_f32_what_a_killed_producer_had_on_disk_is_delivered_by_the_next(scene: Scene) -> None:
    chance = random.Random(scene.run)
    sink = scene.sink()
    for _ in range(LOOPS):
        producer = scene.producer(sink.host, events=100_000, rate=RATE)
        scene.wait_for_accepted(scene.accepted + chance.randrange(1, 1500))
        producer.kill()
    scene.drain(sink.host)
    scene.judge(crashes=LOOPS, may_lose=may_lose(scene, LOOPS))


@row("F32", f"SIGKILL of the producer, the receiver is dead, {LOOPS} times", "memory", *ON_DISK, every=True)
def test_f32_what_killed_producers_could_not_deliver_is_delivered_later(scene: Scene) -> None:
    chance = random.Random(scene.run)
    dead = closed_port()
    for _ in range(LOOPS):
        producer = scene.producer(dead, events=100_000, rate=RATE)
        scene.wait_for_accepted(scene.accepted + chance.randrange(1, 1500))
        producer.kill()
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0, crashes=LOOPS, may_lose=may_lose(scene, LOOPS))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("call", ["write,pwrite64", "openat", "unlink,rename,ftruncate,mkdir", "fsync,fdatasync"])
@row("F32", "SIGKILL at the n-th system call of a kind", *ON_DISK)
def test_f32_no_system_call_is_a_bad_one_to_be_killed_at(scene: Scene, call: str) -> None:
    sink = scene.sink()
    kills = 0
    for point in POINTS:
        end = scene.path(f"end{point}")
        producer = scene.producer(
            sink.host, events=300, rate=1000, begin_at=scene.path(f"begin{point}"), end_at=end, closing=10.0
        )
        producer.wait_until_ready()
        with Injected(producer.pid, f"{call}:signal=SIGKILL:when={point}"):
            producer.begin()
            producer.release()
            survived = producer.end(PATIENCE) == 0
        kills += not survived
        if survived:  # it makes no more of these calls than that
            break
    scene.drain(sink.host)
    scene.row.fault = f"SIGKILL at {kills} of the system calls {call}"
    scene.judge(crashes=kills, may_lose=may_lose(scene, kills))


@row("F33", "the kernel kills it for want of memory (cgroup)", "memory", *ON_DISK)
def test_f33_what_the_oom_killer_leaves_on_disk_is_delivered_by_the_next(scene: Scene) -> None:
    sink = scene.sink()
    begin = scene.path("begin")
    producer = scene.producer(sink.host, events=100_000, rate=RATE, begin_at=begin, mischief=["hoards_memory"])
    producer.wait_until_ready()
    with limited(producer.pid, memory=96 << 20):
        producer.begin()
        assert -signal.SIGKILL == producer.end()
    scene.drain(sink.host)
    scene.judge(crashes=1, may_lose=may_lose(scene, 1))


@pytest.mark.parametrize("ending", ["SIGTERM", "SIGABRT", "SIGSEGV", "os._exit"])
@row("F35", "an end without exit handlers", "memory", *ON_DISK)
def test_f35_an_end_without_exit_handlers_costs_what_was_not_on_disk(scene: Scene, ending: str) -> None:
    scene.row.fault = f"an end without exit handlers: {ending}"
    dead = closed_port()
    producer = scene.producer(dead, events=1000, rate=RATE, ending=ending)
    producer.end()
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0, crashes=1, may_lose=may_lose(scene, 1))


@pytest.mark.parametrize("ending", ["return", "exit"])
@row("F36", "a normal end, the receiver is dead", "memory", *ON_DISK)
def test_f36_a_normal_end_without_a_receiver_leaves_everything_on_disk(scene: Scene, ending: str) -> None:
    scene.row.fault = f"an end by {ending}, the receiver is dead"
    dead = closed_port()
    producer = scene.producer(dead, events=1000, ending=ending, options={"shutdown_timeout": 1.0})
    producer.end(at_most=30.0)
    assert scene.spooled or "0 delivered, 0 spooled, 2000 lost" in producer.complaints()
    scene.drain(scene.sink(bind=dead).host)
    scene.judge(bound=0, may_lose=0 if scene.spooled else None)


@pytest.mark.parametrize("ending", ["return", "exit"])
@row("F36", "a normal end with a backlog")
def test_f36_a_normal_end_delivers_what_is_left(scene: Scene, ending: str) -> None:
    scene.row.fault = f"an end by {ending} with a backlog"
    sink = scene.sink(work=0.01)
    scene.producer(sink.host, events=2000, ending=ending, options={"shutdown_timeout": 30.0})
    for producer in scene.producers:
        producer.end()
    scene.judge(bound=0)


@row("F37", "the first event is put by an exit handler", "memory")
def test_f37_an_event_of_an_exit_handler_is_delivered(scene: Scene) -> None:
    with Receiver() as receiver:
        run(
            """
            import atexit
            shipper = Shipper(host, shutdown_timeout=30)
            atexit.register(put, shipper, 1, 2, 3)
            """,
            receiver.host,
        )
        scene.row.accepted, scene.row.arrived = 3, len(receiver.wait_for(3))
    scene.row.lost = 0
