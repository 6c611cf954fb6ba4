"""Rows 4 to 10 and 13: the line between is bad, by a proxy of ours and by the kernel's own means."""

from __future__ import annotations

import time
from typing import Any, Literal

import pytest

from faults.catalogue import FULL, row
from faults.meddling_proxy import Meddling, MeddlingProxy
from faults.namespaces import FAR, Network
from faults.processes import Producer, wait_until
from faults.scene import Scene

EVENTS = 1500  # of each of two threads
DELAY = 0.3 if FULL else 0.15  # seconds
SILENCE = 2.5  # seconds: longer than the time-out


def through(scene: Scene, *meddlings: Meddling, **values: Any) -> MeddlingProxy:
    """Start a producer that reaches its receiver through a proxy."""
    proxy = scene.stack.enter_context(MeddlingProxy(scene.sink().host, *meddlings))
    scene.producer(proxy.host, **{"events": EVENTS, **values})
    return proxy


def beyond(scene: Scene, network: Network, **values: Any) -> Producer:
    """Start a producer whose receiver is in another namespace, and let some events arrive."""
    sink = scene.sink(bind=f"{FAR}:5044", within=network.far)
    producer = scene.producer(sink.host, within=network.near, **{"events": EVENTS, "rate": 1000, **values})
    scene.wait_for_arrivals(EVENTS // 3)
    return producer


@row("F04", "nft drops everything, mid-stream")
def test_f04_a_line_that_falls_silent_is_replaced(scene: Scene, network: Network) -> None:
    beyond(scene, network)
    network.rule("tcp dport 5044 drop")
    scene.wait_for_accepted(scene.accepted + 200)
    time.sleep(SILENCE)
    network.heal()
    scene.healed()
    scene.judge()


@row("F05", "nft answers with RST, mid-window")
def test_f05_after_a_reset_only_what_was_not_acknowledged_comes_again(scene: Scene, network: Network) -> None:
    beyond(scene, network)
    network.rule("tcp dport 5044 reject with tcp reset")
    scene.wait_for_accepted(scene.accepted + 200)
    network.heal()
    scene.healed()
    scene.judge()


@row("F05", "ss -K kills the sockets, 5 times")
def test_f05_sockets_that_are_killed_lose_nothing(scene: Scene, network: Network) -> None:
    beyond(scene, network)
    for _ in range(5):
        scene.wait_for_arrivals(scene.arrived + 100)
        network.kill_lines()
    scene.healed()
    scene.judge()


@row("F05", "our proxy resets, up and down, 6 times")
def test_f05_resets_anywhere_in_a_window_or_an_ack_lose_nothing(scene: Scene) -> None:
    up = [Meddling(after=after) for after in (3, 5_000, 41_111)]
    down = [Meddling(after=after, direction="down") for after in (2, 6, 15)]
    through(scene, *up, *down)
    scene.judge(losses=6)


@row("F06", "FIN in the middle of a window, and of an ack")
def test_f06_a_half_closed_line_loses_nothing(scene: Scene) -> None:
    through(
        scene,
        Meddling(after=20_000, then="end"),
        Meddling(after=9, direction="down", then="end"),
        Meddling(after=60_000, then="end"),
    )
    scene.judge(losses=3)


@row("F07", "one packet of five is lost (nft)")
def test_f07_a_lossy_line_is_slow_and_correct(scene: Scene, network: Network) -> None:
    beyond(scene, network)
    network.rule("tcp dport 5044 numgen random mod 100 < 20 drop")
    scene.judge()


@row("F07", "one packet of five is lost (iptables)")
def test_f07_a_line_that_loses_acks_as_well_is_slow_and_correct(scene: Scene, network: Network) -> None:
    beyond(scene, network)
    chance = ("-m", "statistic", "--mode", "random", "--probability", "0.2")
    network.iptables("-A", "OUTPUT", "-p", "tcp", *chance, "-j", "DROP")
    scene.judge()


@row("F08", "a line of 800 kbit/s (tc tbf)")
def test_f08_a_slow_line_is_no_reason_to_give_it_up(scene: Scene, network: Network) -> None:
    network.queue("tbf", "rate", "100kbit" if FULL else "800kbit", "burst", "4kb", "latency", "400ms")
    beyond(scene, network, events=600, rate=0)
    scene.judge(bound=0)


@row("F08", "a receiver's line of 100 kB/s (proxy)")
def test_f08_a_window_that_takes_longer_than_the_time_out_is_still_progress(scene: Scene) -> None:
    # Each window takes longer than the time-out; in none of its parts does nothing move for so long.
    proxy = scene.stack.enter_context(MeddlingProxy(scene.sink().host, Meddling(rate=100_000, piece=2000)))
    options = {"timeout": 1.0, "bulk_max_size": 1000, "ack_timeout": 10.0}
    scene.producer(proxy.host, events=500, size=600, options=options)
    scene.judge(bound=0)


@row("F09", f"{DELAY * 1000:.0f} ms each way")
def test_f09_high_latency_is_no_reason_to_give_it_up(scene: Scene) -> None:
    through(scene, Meddling(delay=DELAY))
    scene.judge(bound=0)


@row("F10", "after 256 kB nothing more passes (nft quota)")
def test_f10_silence_in_the_middle_of_a_frame_loses_nothing(scene: Scene, network: Network) -> None:
    network.rule("tcp dport 5044 quota over 256 kbytes drop")
    sink = scene.sink(bind=f"{FAR}:5044", within=network.far)
    scene.producer(sink.host, within=network.near, events=EVENTS, size=400)
    scene.wait_for_arrivals(100)
    before = -1
    while before < scene.arrived:  # until the quota is used up
        before = scene.arrived
        time.sleep(SILENCE)
    network.heal()
    scene.healed()
    scene.judge()


@row("F10", "our proxy stalls, up and down")
def test_f10_a_line_that_stalls_is_replaced(scene: Scene) -> None:
    through(
        scene, Meddling(after=30_000, then="stall"), Meddling(after=9, direction="down", then="stall"), HALF_A_WINDOW
    )
    scene.judge(losses=3)


HALF_A_WINDOW = Meddling(after=8_000, then="stall")


@row("F13", "the MTU shrinks, and no ICMP says so")
def test_f13_a_smaller_mtu_is_survived(scene: Scene, network: Network) -> None:
    beyond(scene, network, size=600)
    network.rule("icmp type destination-unreachable drop; ip length > 600 tcp dport 5044 drop")
    network.link("mtu", "600")
    time.sleep(SILENCE)
    network.link("mtu", "1500")
    network.heal()
    scene.healed()
    scene.judge()


@row("F18", "our proxy splits everything into single bytes")
def test_f18_acks_that_come_byte_by_byte_are_acks(scene: Scene) -> None:
    through(scene, Meddling(piece=1), events=400)
    scene.judge(bound=0)


@pytest.mark.parametrize("direction", ["up", "down"])
@row("F18", "our proxy damages a byte")
def test_f18_a_damaged_byte_costs_a_line_and_no_event(scene: Scene, direction: Literal["up", "down"]) -> None:
    damages = [Meddling(after=at, direction=direction, then="damage") for at in DAMAGES[direction]]
    proxy = through(scene, *damages)
    scene.judge(losses=len(damages))
    wait_until(lambda: proxy.connections > 1)


# In a window's frame, in a compressed one's header, and in what it holds, which zlib's checksum covers; in acks.
DAMAGES = {"up": (1, 7, 4_000), "down": (0, 1, 7)}
