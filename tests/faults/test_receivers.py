"""Rows 11, 14 to 18, 21, 22 and 57: receivers that are frozen, killed, silent, slow, or wrong."""

from __future__ import annotations

import time

from faults.catalogue import FULL, row
from faults.scene import PIPELINING, WINDOW, Scene
from support.scripted import Gone, Peer, Window, acknowledged, acks, after, answering, closes, sends, silence

EVENTS = 1500  # of each of two threads
KILLS = 20 if FULL else 4
RESTARTS = 20 if FULL else 2  # each takes go-lumber seconds


@row("F11", "SIGSTOP of the receiver, then SIGCONT")
def test_f11_a_frozen_receiver_is_left_and_found_again(scene: Scene) -> None:
    sink = scene.sink()
    scene.producer(sink.host, events=EVENTS, rate=1000)
    scene.wait_for_arrivals(EVENTS // 3)
    sink.freeze()
    scene.wait_for_accepted(scene.accepted + 200)
    time.sleep(300 if FULL and scene.spooled else 4)
    sink.thaw()
    scene.healed()
    # Every line that was tried meanwhile stands in the frozen one's queue, with windows in it.
    scene.judge()


@row("F14", "two connections are accepted and never acknowledged")
def test_f14_a_receiver_that_never_acknowledges_is_left(scene: Scene) -> None:
    scripted = scene.scripted(answering(silence), answering(silence), answering(acknowledged))
    scene.producer(scripted.host, events=EVENTS, options={"ack_timeout": 0.5})
    scene.judge(losses=2)


@row("F15", "keep-alives for much longer than the time-out")
def test_f15_a_busy_receiver_is_waited_for(scene: Scene) -> None:
    def busy(peer: Peer, window: Window) -> None:
        for _ in range(10):
            peer.closed.wait(0.2)
            peer.keep_alive()
        peer.ack(window.count)

    scripted = scene.scripted(answering(busy, acknowledged))
    scene.producer(scripted.host, events=EVENTS, options={"ack_timeout": 0.6})
    scene.judge(bound=0)


@row("F16", "a part of a window is acknowledged, then the end, 5 times")
def test_f16_what_was_acknowledged_does_not_come_again(scene: Scene) -> None:
    rest: list[int] = []

    def half(peer: Peer) -> None:
        window = peer.window()
        peer.ack(window.count // 2)
        peer.end()
        peer.wait_for_end()
        rest.append(window.count - window.count // 2)

    scripted = scene.scripted(*[half] * 5, answering(acknowledged))
    scene.producer(scripted.host, events=EVENTS)
    scene.wait_for_arrivals(2 * EVENTS)
    scene.judge(bound=5 * PIPELINING * WINDOW)

    assert scene.row.duplicated == sum(rest)


@row("F17", "acks beyond the window, backwards, and of nothing")
def test_f17_acks_that_cannot_be_cost_a_line_and_no_event(scene: Scene) -> None:
    def unasked(peer: Peer) -> None:
        peer.ack(50)
        peer.wait_for_end()

    def backwards(peer: Peer, window: Window) -> None:
        if window.count > 2:
            peer.ack(2)
            peer.ack(1)
        peer.ack(window.count)
        peer.ack(window.count)  # once more: of a window in flight, or of none
        raise Gone

    scripted = scene.scripted(
        answering(acks(WINDOW + 1)),
        answering(acks((1 << 32) - 1)),
        unasked,
        answering(backwards),
        answering(acknowledged),
    )
    scene.producer(scripted.host, events=EVENTS)
    scene.judge(losses=4)


@row("F18", "garbage, version 1, unknown frames, HTTP, nothing but bytes")
def test_f18_an_answer_that_is_none_costs_a_line_and_no_event(scene: Scene) -> None:
    answers = [b"\0" * 100, b"1A\0\0\0\1", b"2W\0\0\0\1", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"2A\0\0", b"\xff"]
    wrong = [answering(after(sends(data), closes)) for data in answers]
    scripted = scene.scripted(*wrong, answering(acknowledged))
    scene.producer(scripted.host, events=EVENTS)
    scene.judge(losses=len(answers))


@row("F21", f"go-lumber's server is stopped and started, {RESTARTS} times")
def test_f21_restarts_under_load_lose_nothing(scene: Scene) -> None:
    receiver = scene.go_lumber()
    scene.producer(receiver.host, events=RESTARTS * 1000, rate=2000)
    for number in range(RESTARTS):
        receiver.wait_until((number + 1) * 1000)
        receiver.stop()
        receiver.start()
    scene.healed()
    scene.judge(losses=RESTARTS)


@row("F22", f"go-lumber's server is killed and started, {KILLS} times")
def test_f22_kills_under_load_lose_nothing(scene: Scene) -> None:
    receiver = scene.go_lumber()
    scene.producer(receiver.host, events=KILLS * 1000, rate=2000)
    for number in range(KILLS):
        receiver.wait_until((number + 1) * 1000)
        receiver.kill()
        receiver.start()
    scene.healed()
    scene.judge(losses=KILLS)


@row("F22", f"our receiver is killed and started, {2 * KILLS} times")
def test_f22_a_receiver_that_is_killed_again_and_again_has_everything(scene: Scene) -> None:
    sink = scene.sink()
    scene.producer(sink.host, events=KILLS * 1000, rate=2000)
    for number in range(2 * KILLS):
        scene.wait_for_arrivals((number + 1) * 500)
        sink.kill()
        sink.start()
    scene.healed()
    scene.judge(losses=2 * KILLS)


@row("F57", "a receiver that works long on each window")
def test_f57_a_slow_receiver_fills_the_memory_and_what_is_refused_is_counted(scene: Scene) -> None:
    sink = scene.sink(work=0.1, keepalive=0.5)
    options = {"queue_mem_bytes": 1 << 20, **({"spool_max_bytes": 4 << 20} if scene.spooled else {})}
    producer = scene.producer(sink.host, events=2000, size=500, retries=scene.spooled, options=options)
    report = producer.report()
    scene.judge(bound=0)

    if not scene.spooled:
        assert report["refused"] == report["stats"]["dropped"]["full"] > 0
