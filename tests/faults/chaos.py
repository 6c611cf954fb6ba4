"""Trouble of all kinds, in an order that a seed decides."""

from __future__ import annotations

import random
import time

from faults.meddling_proxy import Meddling, MeddlingProxy
from faults.scene import Scene

_RATE = 2000  # events per second
_EVENTS_PER_ROUND = 400


def trouble(scene: Scene, seed: int, rounds: int) -> None:
    """Ship to two receivers behind meddling proxies, and do something to one of them in each round."""
    chance = random.Random(seed)
    sinks = [scene.sink(), scene.sink()]
    proxies = [
        scene.stack.enter_context(MeddlingProxy(sink.host, *(_meddling(chance) for _ in range(rounds))))
        for sink in sinks
    ]
    hosts = [proxy.host for proxy in proxies]
    options = {"loadbalance": chance.random() < 0.5, "timeout": 1.0}
    scene.producer(hosts, threads=1, events=rounds * _EVENTS_PER_ROUND, rate=_RATE, options=options)
    for number in range(rounds - 1):
        scene.wait_for_accepted((number + 1) * _EVENTS_PER_ROUND)
        sink = chance.choice(sinks)
        if chance.random() < 0.5:
            sink.kill()
            time.sleep(chance.uniform(0, 0.3))
            sink.start()
        else:
            sink.freeze()
            time.sleep(chance.uniform(0, 1.5))
            sink.thaw()


def _meddling(chance: random.Random) -> Meddling:
    direction = chance.choice(["up", "down"])
    return Meddling(
        after=chance.randrange(60_000 if direction == "up" else 40),
        direction=direction,  # type: ignore[arg-type]  # one of the two
        then=chance.choice(["reset", "end", "stall", "damage"]),
        delay=chance.choice([0.0, 0.02]),
        piece=chance.choice([0, 0, 7]) if direction == "down" else 0,
    )
