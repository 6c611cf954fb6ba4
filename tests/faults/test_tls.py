"""Rows 26 to 31: TLS that is wrong, changes, or stops in the middle."""

from __future__ import annotations

import shutil
import ssl
from pathlib import Path
from typing import Any

from faults.catalogue import row
from faults.processes import wait_until
from faults.scene import Scene
from support.authority import Authority
from support.scripted import Peer, Scripted, acknowledged, answering

EVENTS = 1000  # of each of two threads
FAILURES = 3  # handshakes that fail before the receiver is mended


def client(authority: Authority, **more: Any) -> dict[str, Any]:
    return {"ssl": {**authority.option, **more}}


def mends(scene: Scene, scripted: Scripted, good: ssl.SSLContext, **options: Any) -> None:
    """Have a producer fail a few times, then make the receiver right, and see that everything arrives."""
    scene.producer(scripted.host, events=EVENTS, options=options)
    wait_until(lambda: len(scripted.peers) >= FAILURES)
    scene.wait_for_accepted(2 * EVENTS)
    assert 0 == scene.arrived
    assert not any(b"text" in peer.wire for peer in scripted.peers), "it was sent in the clear"
    scripted.tls = good
    scene.healed()
    scene.judge(bound=0)


@row("F26", "a certificate of an unknown authority")
def test_f26_an_unknown_authority_is_refused(scene: Scene, authority: Authority, stranger: Authority) -> None:
    scripted = scene.scripted(answering(acknowledged), tls=stranger.server())
    mends(scene, scripted, authority.server(), **client(authority))


@row("F26", "an expired certificate")
def test_f26_an_expired_certificate_is_refused(scene: Scene, authority: Authority) -> None:
    scripted = scene.scripted(answering(acknowledged), tls=authority.server(expired=True))
    mends(scene, scripted, authority.server(), **client(authority))


@row("F26", "a certificate for another name")
def test_f26_a_certificate_for_another_name_is_refused(scene: Scene, authority: Authority) -> None:
    scripted = scene.scripted(answering(acknowledged), tls=authority.server("elsewhere.example.org"))
    mends(scene, scripted, authority.server(), **client(authority))


@row("F27", "TLS 1.3 refuses the client after its handshake")
def test_f27_a_refusal_after_the_handshake_costs_no_event(scene: Scene, authority: Authority) -> None:
    scripted = scene.scripted(answering(acknowledged), tls=authority.server(wants_certificate=True))
    mends(scene, scripted, authority.server(), **client(authority))


@row("F28", "the authority is another one, its file is replaced")
def test_f28_a_new_authority_is_read_without_a_restart(scene: Scene, authority: Authority, stranger: Authority) -> None:
    trusted = Path(scene.path("trusted.pem"))
    shutil.copy(authority.path, trusted)
    scripted = scene.scripted(_one_window, answering(acknowledged), tls=authority.server())
    options = {"ssl": {"certificate_authorities": [str(trusted)]}}
    scene.producer(scripted.host, events=EVENTS, rate=1000, options=options)
    scene.wait_for_arrivals(1)
    scripted.tls = stranger.server()
    wait_until(lambda: len(scripted.peers) > FAILURES)
    shutil.copy(stranger.path, scene.path("new.pem"))
    Path(scene.path("new.pem")).replace(trusted)
    scene.healed()
    scene.judge(losses=1)


def _one_window(peer: Peer) -> None:
    acknowledged(peer, peer.window())
    peer.closed.wait(0.2)
    peer.leave()


@row("F29", "the receiver stops reading in the middle of TLS records")
def test_f29_a_line_on_which_a_write_timed_out_is_never_written_to_again(scene: Scene, authority: Authority) -> None:
    def stalls(peer: Peer) -> None:
        peer.take(1000)
        peer.closed.wait(4)
        while peer.has_more():  # what is in the buffers must be the beginning of one window, and nothing else
            peer.take()

    scripted = scene.scripted(stalls, answering(acknowledged), tls=authority.server(), receive_buffer=4096)
    options = {**client(authority), "write_timeout": 1.0, "bulk_max_size": 2000, "compression_level": 0}
    scene.producer(scripted.host, events=400, size=20_000, threads=1, options=options)
    scene.judge(bound=0)


@row("F30", "the receiver never answers close_notify")
def test_f30_closing_waits_for_nobody(scene: Scene, authority: Authority) -> None:
    def goes_silent(peer: Peer) -> None:
        while sum(len(window.payloads) for window in peer.windows) < 2 * EVENTS:
            acknowledged(peer, peer.window())
        peer.wait_for_end()

    scripted = scene.scripted(goes_silent, tls=authority.server())
    producer = scene.producer(scripted.host, events=EVENTS, options=client(authority), closing=30.0)
    producer.end(at_most=20.0)  # it does not use up what it may wait for acks
    scene.judge(bound=0)


@row("F31", "plain text at a port that wants TLS")
def test_f31_plain_text_for_tls_costs_no_event(scene: Scene, authority: Authority) -> None:
    scripted = scene.scripted(answering(acknowledged), tls=authority.server())
    scene.producer(scripted.host, events=EVENTS)
    wait_until(lambda: len(scripted.peers) >= FAILURES)
    scripted.tls = None
    scene.healed()
    scene.judge(bound=0)


@row("F31", "TLS at a port that wants plain text")
def test_f31_tls_for_plain_text_costs_no_event(scene: Scene, authority: Authority) -> None:
    def plain(peer: Peer) -> None:
        peer.take()
        peer.reset()

    scripted = scene.scripted(*[plain] * FAILURES, answering(acknowledged))
    scene.producer(scripted.host, events=EVENTS, options=client(authority))
    wait_until(lambda: len(scripted.peers) >= FAILURES)
    scripted.tls = authority.server()
    scene.healed()
    scene.judge(bound=0)
