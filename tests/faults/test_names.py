"""Rows 24 and 25: names that cannot be resolved, mean something else now, take long, or lead into a black hole."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from faults.catalogue import row
from faults.namespaces import ELSEWHERE, FAR, FAR_6, Network
from faults.processes import environment
from faults.scene import Scene

EVENTS = 1000  # of each of two threads
NAME = "receiver.test"
Say = Callable[..., None]


@pytest.fixture
def say(network: Network, scene: Scene) -> Say:
    """Have the name server of the near side know this of the receiver, or nothing."""
    zone = Path(scene.path("zone.json"))

    def tell(**known: Any) -> None:
        written = zone.with_suffix(".new")
        written.write_text(json.dumps({NAME: known} if known else {}))
        written.replace(zone)

    tell()
    network.resolver("127.0.0.1")
    server = subprocess.Popen(
        [*network.near, sys.executable, "-m", "faults.name_server", "127.0.0.1", str(zone)],
        stdout=subprocess.PIPE,
        env=environment(),
    )
    scene.stack.callback(server.wait)
    scene.stack.callback(server.kill)
    assert server.stdout is not None
    with server.stdout:
        assert server.stdout.readline()
    return tell


@row("F24", "NXDOMAIN, and then the name exists")
def test_f24_a_name_that_comes_to_exist_is_found(scene: Scene, network: Network, say: Say) -> None:
    scene.sink(bind=f"{FAR}:5044", within=network.far)
    scene.producer(f"{NAME}:5044", within=network.near, events=EVENTS)
    scene.wait_for_accepted(2 * EVENTS)
    say(A=[FAR])
    scene.healed()
    scene.judge(bound=0)


@row("F24", "the name means another address, the first is dead")
def test_f24_a_receiver_that_moved_is_followed(scene: Scene, network: Network, say: Say) -> None:
    say(A=[FAR])
    sink = scene.sink(bind=f"{FAR}:5044", within=network.far)
    scene.producer(f"{NAME}:5044", within=network.near, events=EVENTS, rate=1000)
    scene.wait_for_arrivals(EVENTS // 2)
    sink.kill()
    scene.sink(bind=f"{ELSEWHERE}:5044", within=network.far)
    say(A=[ELSEWHERE])
    scene.healed()
    scene.judge(losses=1)


@row("F24", "the resolver takes 0.7 s for each answer")
def test_f24_a_slow_resolver_keeps_no_event_from_being_accepted(scene: Scene, network: Network, say: Say) -> None:
    network.resolver("127.0.0.1")
    say(A=[FAR], delay=0.7)
    scene.sink(bind=f"{FAR}:5044", within=network.far)
    producer = scene.producer(f"{NAME}:5044", within=network.near, events=EVENTS)
    scene.wait_for_accepted(2 * EVENTS)
    arrived_meanwhile = scene.arrived
    scene.judge(bound=0)

    assert 0 == arrived_meanwhile, "everything was accepted before the name was resolved"
    assert producer.report()["refused"] == 0


@row("F25", "the IPv6 address swallows every SYN, IPv4 answers")
def test_f25_the_address_that_answers_is_found(scene: Scene, network: Network, say: Say) -> None:
    say(A=[FAR], AAAA=[FAR_6])
    network.rule("ip6 nexthdr tcp drop")
    scene.sink(bind=f"{FAR}:5044", within=network.far)
    scene.producer(f"{NAME}:5044", within=network.near, events=EVENTS, options={"connect_timeout": 0.5})
    scene.healed()
    scene.judge(bound=0)
