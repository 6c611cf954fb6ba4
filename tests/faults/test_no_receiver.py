"""Rows 1 to 3, 12, 19, 20, 23: nobody listens, or not for long."""

from __future__ import annotations

import itertools
import time

from faults.catalogue import FULL, row
from faults.namespaces import FAR, Network
from faults.scene import Scene
from support.scripted import Gone, Peer, acknowledged, answering
from support.shippers import closed_port

EVENTS = 1500  # of each of two threads


@row("F01", "nobody ever listens")
def test_f01_without_any_receiver_everything_is_counted_or_waits_on_disk(scene: Scene) -> None:
    producer = scene.producer(closed_port(), events=EVENTS, closing=1.0)
    stats = producer.report()["stats"]

    if scene.spooled:
        assert not stats["dropped"]
        scene.drain(scene.sink().host)
    else:
        assert {"shutdown": 2 * EVENTS} == stats["dropped"]
    scene.judge(bound=0)


@row("F02", "somebody listens later")
def test_f02_what_waited_for_a_receiver_arrives_once_and_in_order(scene: Scene) -> None:
    host = closed_port()
    scene.producer(host, events=EVENTS)
    scene.wait_for_accepted(2 * EVENTS)
    sink = scene.sink(bind=host)
    scene.healed()
    scene.judge(bound=0)

    for thread in range(2):
        assert list(range(EVENTS)) == [entry.seq for entry in sink.entries() if entry.thread == thread]


@row("F03", "the first host swallows every SYN")
def test_f03_a_host_that_does_not_answer_is_passed_over(scene: Scene, network: Network) -> None:
    network.rule("tcp dport 5044 tcp flags syn drop")
    sink = scene.sink(bind=f"{FAR}:5045", within=network.far)
    hosts = [f"{FAR}:5044", sink.host]
    scene.producer(hosts, within=network.near, events=EVENTS, options={"connect_timeout": 0.5})
    scene.healed()
    scene.judge(bound=0)


@row("F12", "the link is down and up again")
def test_f12_after_the_link_was_down_everything_arrives(scene: Scene, network: Network) -> None:
    sink = scene.sink(bind=f"{FAR}:5044", within=network.far)
    scene.producer(sink.host, within=network.near, events=EVENTS, rate=1000)
    scene.wait_for_arrivals(EVENTS // 3)
    network.link("down")
    scene.wait_for_accepted(scene.accepted + 500)
    time.sleep(2.5)  # longer than the time-out
    network.link("up")
    scene.healed()
    scene.judge()


@row("F19", "an idle line is reset")
def test_f19_a_line_that_was_reset_while_idle_loses_nothing(scene: Scene) -> None:
    def resets_when_idle(peer: Peer) -> None:
        while sum(len(window.payloads) for window in peer.windows) < EVENTS // 2:
            acknowledged(peer, peer.window())
        assert peer.is_quiet(0.3)
        peer.reset()
        raise Gone

    scripted = scene.scripted(resets_when_idle, answering(acknowledged))
    scene.producer(scripted.host, events=EVENTS, threads=1, idle=1.5)
    scene.judge(bound=0)


@row("F20", "each connection is closed at once, 6 times")
def test_f20_backing_off_goes_on_though_connecting_succeeds(scene: Scene) -> None:
    times: list[float] = []

    def closes(peer: Peer) -> None:
        times.append(time.monotonic())
        peer.reset()
        raise Gone

    scripted = scene.scripted(*[closes] * 6, answering(acknowledged))
    scene.producer(scripted.host, events=EVENTS, options={"backoff_init": 0.05, "backoff_max": 5.0})
    scene.healed()
    scene.judge()

    waits = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert sum(waits) > 8 * 0.05, "it does not back off: a connection alone proves nothing"


@row("F23", "one of three hosts is dead, another flaps")
def test_f23_the_host_that_lives_has_everything(scene: Scene) -> None:
    flapping, alive = scene.sink(), scene.sink()
    hosts = [closed_port(), flapping.host, alive.host]
    scene.producer(hosts, events=3 * EVENTS, rate=1500, options={"loadbalance": True})
    for arrived in (EVENTS // 2, EVENTS, 2 * EVENTS):
        scene.wait_for_arrivals(arrived)
        flapping.kill()
        time.sleep(0.1)  # some events find it dead
        flapping.start()
    scene.judge(losses=3)


@row("F23", "all three hosts are dead for a while")
def test_f23_after_all_hosts_were_dead_everything_arrives(scene: Scene) -> None:
    sinks = [scene.sink() for _ in range(3)]
    scene.producer([sink.host for sink in sinks], events=2 * EVENTS, rate=2000, options={"loadbalance": True})
    scene.wait_for_arrivals(EVENTS)
    for sink in sinks:
        sink.kill()
    scene.wait_for_accepted(scene.accepted + 500)
    for sink in sinks:
        sink.start()
    scene.healed()
    scene.judge(losses=3)


@row("F58", f"{1000 if FULL else 200} shippers lose their receiver at once", "memory")
def test_f58_connections_after_an_outage_are_spread(scene: Scene) -> None:
    from faults.herd import stampede

    herd = stampede(1000 if FULL else 200, scene.directory)
    scene.row.notes.append(herd.histogram())
    scene.row.accepted, scene.row.arrived, scene.row.lost = herd.accepted, herd.arrived, herd.accepted - herd.arrived
    assert herd.accepted == herd.arrived
    # Without jitter each wave is one spike. A slow machine only makes it flatter.
    assert herd.largest_share() < 0.5, herd.histogram()
