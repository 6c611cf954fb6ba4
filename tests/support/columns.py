"""The receivers of the field as scripts: how each acknowledges, what it refuses, how it closes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from support.scripted import Answer, Gone, Peer, Script, Window, acknowledged

Check = Callable[[Window], bool]


def ack_last_sequence(peer: Peer, window: Window) -> None:
    peer.ack(window.sequences[-1])


def ack_highest_sequence(peer: Peer, window: Window) -> None:
    peer.ack(max(window.sequences))


def ack_if_numbered(peer: Peer, window: Window) -> None:
    """Acknowledge an event only if its number is the size of the window: else the client waits in vain."""
    if window.sequences[-1] == window.count:
        peer.ack(window.count)


def ack_every_fifth(peer: Peer, window: Window) -> None:
    """Acknowledge every 20 % of the window, by sequence."""
    step = max(1, window.count // 5)
    for sequence in window.sequences:
        if sequence == window.count or sequence % step == 0:
            peer.ack(sequence)


def after_keep_alives(answer: Answer, count: int = 2) -> Answer:
    """Work for so long that keep-alives are sent, then answer."""

    def slowly(peer: Peer, window: Window) -> None:
        for _ in range(count):
            peer.keep_alive()
        answer(peer, window)

    return slowly


def anything(_: Window) -> bool:
    return True


def one_compressed_frame(window: Window) -> bool:
    """What go-lumber reads: the events in one compressed frame, or none of them; at most 10,000."""
    return window.frames in ("C", "J" * window.count) and window.count <= 10_000


def numbered(window: Window) -> bool:
    return list(range(1, window.count + 1)) == window.sequences


@dataclass(frozen=True)
class Column:
    """One receiver.

    Attributes:
        name: And its version, where versions differ.
        answer: How it acknowledges a window.
        accepts: Windows it can read; at any other it closes the connection, or never acknowledges it.
        closes: How it ends a connection.
        merges: It acknowledges only the last of the windows that it finds: it is to be given one at a time.
    """

    name: str
    answer: Answer
    accepts: Check = anything
    closes: Callable[[Peer], None] = Peer.close
    merges: bool = False

    def __str__(self) -> str:
        return self.name

    def script(self, *instead: Answer) -> Script:
        """Serve windows as it does, but the first ones with `instead`."""

        def serve(peer: Peer) -> None:
            answers = list(instead)
            while True:
                window = peer.window()
                if not self.accepts(window):
                    self.closes(peer)
                    raise Gone
                (answers.pop(0) if answers else self.answer)(peer, window)

        return serve


COLUMNS = [
    Column("logstash", ack_highest_sequence, closes=Peer.reset),
    Column("logstash, slow", after_keep_alives(ack_highest_sequence), closes=Peer.reset),
    Column("logstash before plugin 5.1.3", ack_if_numbered, closes=Peer.reset),
    Column("logstash 2", ack_every_fifth, closes=Peer.reset),
    Column("go-lumber", acknowledged, one_compressed_frame),
    Column("go-lumber, slow", after_keep_alives(acknowledged, 5), one_compressed_frame),
    Column("vector", ack_last_sequence),
    Column("vector before mid-2026", ack_last_sequence, merges=True),
    Column("graylog", ack_if_numbered),
    Column("fluentd", ack_every_fifth, numbered),
    Column("nifi", ack_last_sequence),
    Column("camel", ack_if_numbered),
]
