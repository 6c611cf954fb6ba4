"""Rows 44 to 47: forks, prefork servers, gevent, and log calls out of signal handlers and finalisers."""

from __future__ import annotations

import json

import pytest

from beats_core import Receiver
from faults.catalogue import LOOPS, row
from faults.processes import wait_until
from faults.scene import Scene
from support.programs import run

CHILDREN = 4 * LOOPS
EVENTS = 50 * CHILDREN  # of each of the parent's threads


@row("F44", f"{CHILDREN} forks while four threads put")
def test_f44_each_process_delivers_its_own_events_once(scene: Scene) -> None:
    sink = scene.sink()
    scene.producer(sink.host, events=EVENTS, threads=4, rate=1000, children=CHILDREN)
    scene.judge(bound=0)


@row("F45", f"{CHILDREN} forks, the receiver is killed twice")
def test_f45_children_of_a_busy_parent_survive_the_loss_of_a_receiver(scene: Scene) -> None:
    sink = scene.sink()
    scene.producer(sink.host, events=EVENTS, threads=2, rate=1000, children=CHILDREN)
    for share in (1, 2):
        scene.wait_for_arrivals(share * EVENTS // 2)
        sink.kill()
        sink.start()
    scene.judge(losses=2 * (1 + CHILDREN))


EARLY = "from gevent import monkey; monkey.patch_all()"
LATE = "import beats_core; from gevent import monkey; monkey.patch_all()"


@pytest.mark.parametrize("before", [EARLY, LATE], ids=["early", "late"])
@row("F46", "gevent patches everything")
def test_f46_greenlets_lose_nothing(scene: Scene, before: str) -> None:
    scene.row.fault = f"gevent patches everything, {'early' if before == EARLY else 'late'}"
    sink = scene.sink()
    scene.producer(sink.host, events=1500, rate=1500, before=before)
    scene.wait_for_arrivals(1000)
    sink.kill()
    sink.start()
    scene.judge(losses=1)


@row("F47", "signal handlers and finalisers log, without end", "memory")
def test_f47_log_calls_from_signal_handlers_and_finalisers_do_not_deadlock(scene: Scene) -> None:
    with Receiver() as receiver:
        told = run(
            """
            import gc, itertools, json
            shipper = Shipper(host, shutdown_timeout=30)
            numbers, accepted = itertools.count(), []

            def log(*_):
                number = next(numbers)
                if shipper.put({"id": number}):
                    accepted.append(number)

            class Chatty:
                def __init__(self):
                    self.circle = self
                def __del__(self):
                    log()

            gc.set_threshold(50)
            signal.signal(signal.SIGALRM, log)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            until = time.monotonic() + 0.7
            while time.monotonic() < until:
                Chatty()
                log()
            signal.setitimer(signal.ITIMER_REAL, 0)
            gc.collect()
            shipper.close(30)
            print(json.dumps(len(accepted)))
            """,
            receiver.host,
            complains=True,  # it may put more than the memory holds
        )
        accepted = json.loads(told.stdout)
        wait_until(lambda: len(receiver.events) >= accepted)
        scene.row.accepted, scene.row.arrived = accepted, len({event["id"] for event in receiver.events})
    scene.row.lost = accepted - scene.row.arrived
    assert 0 == scene.row.lost
