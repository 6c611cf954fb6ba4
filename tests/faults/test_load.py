"""Rows 51 to 54: too many events, too little time, clocks that jump, and nothing left to open or to start."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from faults.catalogue import FULL, row
from faults.groups import limited
from faults.scene import Scene
from support.requirements import require
from support.shippers import closed_port

EVENTS = 1500  # of each of two threads
BURST = 1_000_000 if FULL else 128_000


@row("F51", f"{BURST:,} events at once from 64 threads, nobody listens")
def test_f51_a_burst_is_bounded_in_memory_and_what_is_refused_is_counted(scene: Scene) -> None:
    options = {"queue_mem_bytes": 8 << 20, **({"spool_max_bytes": 8 << 20} if scene.spooled else {})}
    producer = scene.producer(
        closed_port(), events=BURST // 64, threads=64, size=400, retries=False, options=options, closing=0.5
    )
    report = producer.report()
    if scene.spooled:
        scene.drain(scene.sink(bind=closed_port()).host)
    scene.judge(bound=0, memory=64 << 20)

    assert report["refused"] == report["stats"]["dropped"]["full"] > 0
    assert BURST == scene.row.accepted + report["refused"] - (1 if scene.spooled else 0)


@row("F52", "a tenth of a CPU (cgroup), four busy threads")
def test_f52_a_starving_shipper_mistakes_nothing_for_a_time_out(scene: Scene) -> None:
    sink = scene.sink()
    begin = scene.path("begin")
    producer = scene.producer(sink.host, events=400, begin_at=begin, mischief=["busy_threads"])
    with limited(producer.pid, cpu=20_000):
        producer.begin()
        producer.end()
    scene.judge(bound=0)


@row("F53", "the wall clock jumps by a day, forth and back (faketime)")
def test_f53_nothing_waits_by_the_wall_clock(scene: Scene) -> None:
    require("faketime")
    [library, *_] = Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")
    clock = Path(scene.path("clock"))
    clock.write_text("+0")
    variables = {
        "LD_PRELOAD": str(library),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
    }
    sink = scene.sink()
    scene.producer(sink.host, events=3 * EVENTS, rate=1000, variables=variables)
    for jump in ("+1d", "-1d", "+0"):
        scene.wait_for_arrivals(scene.arrived + EVENTS // 4)
        clock.write_text(jump)
    sink.kill()
    clock.write_text("+30d")
    scene.wait_for_accepted(scene.accepted + 200)
    sink.start()
    scene.healed()
    scene.judge(losses=1)


@row("F53", "producer and receiver sleep (SIGSTOP), then go on")
def test_f53_a_machine_that_was_suspended_goes_on(scene: Scene) -> None:
    sink = scene.sink()
    producer = scene.producer(sink.host, events=EVENTS, rate=1000)
    scene.wait_for_arrivals(EVENTS // 2)
    os.killpg(producer.pid, signal.SIGSTOP)
    sink.freeze()
    time.sleep(3)  # longer than every time-out
    sink.thaw()
    os.killpg(producer.pid, signal.SIGCONT)
    scene.healed()
    scene.judge()


@row("F54", "no descriptor is left for a while")
def test_f54_without_descriptors_events_wait(scene: Scene) -> None:
    scene.producer(scene.sink().host, events=EVENTS, rate=500, mischief=["no_descriptors"])
    scene.healed()
    scene.judge(bound=0)


@row("F54", "no thread can be started for a while (cgroup)")
def test_f54_without_threads_events_wait(scene: Scene) -> None:
    sink = scene.sink()
    begin = scene.path("begin")
    producer = scene.producer(sink.host, events=EVENTS, threads=1, rate=500, begin_at=begin)
    with limited(producer.pid, pids=1):
        producer.begin()
        scene.wait_for_accepted(EVENTS // 4)
        assert 0 == scene.arrived
    scene.healed()
    scene.judge(bound=0)


@pytest.mark.parametrize("seed", range(8 if FULL else 1))
@row("F60", "kills, freezes, resets and stalls by chance")
def test_f60_everything_at_once(scene: Scene, seed: int) -> None:
    from faults.chaos import trouble

    scene.row.fault = f"kills, freezes, resets and stalls by chance (seed {seed})"
    trouble(scene, seed, rounds=40 if FULL else 8)
    scene.judge()
