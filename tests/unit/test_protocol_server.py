"""The receiver's end of a connection, without a connection: windows in are windows out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.frames import Batch, encode_window
from beats_core.protocol import ClientProtocol, ReceivedWindow, ServerProtocol
from support.wire import a, c, d, events, j, w, window


def read(server: ServerProtocol, *chunks: bytes) -> list[ReceivedWindow]:
    return [received for chunk in chunks for received in server.receive_data(chunk)]


def test_a_server_returns_a_window_when_it_is_complete() -> None:
    server = ServerProtocol()

    assert [] == server.receive_data(w(2) + j(1, b'{"a":1}'))
    within = [server.within_window]
    (received,) = server.receive_data(j(2, b'{"b":2}'))
    assert [b'{"a":1}', b'{"b":2}'] == received.payloads
    assert [{"a": 1}, {"b": 2}] == received.events
    assert (2, 2, 2, 2, "") == (len(received), received.count, received.sequence, received.version, received.peer)
    assert [True, False] == [*within, server.within_window]
    assert 0 == server.held


def test_a_server_acknowledges_with_the_last_sequence_in_the_windows_version() -> None:
    server = ServerProtocol()
    first, second, third = read(
        server, window(b"1", b"2"), w(2) + events([b"3", b"4"], first=1001), w(1, 1) + d(7, {b"a": b"b"})
    )
    for received in (first, second, third):
        server.acknowledge(received)
    server.keep_alive()

    assert a(2) + a(1002) + a(7, 1) + a(0) == server.data_to_send()
    assert b"" == server.data_to_send()
    assert [{"a": "b"}] == third.events


def test_a_server_answers_an_empty_window_with_a_keep_alive() -> None:
    server = ServerProtocol()

    assert [] == server.receive_data(w(0) + w(0, 1))
    assert a(0) + a(0) == server.data_to_send()
    assert not server.within_window


def test_a_server_knows_what_it_holds() -> None:
    server = ServerProtocol()
    assert 0 == server.held
    server.receive_data(w(2) + j(1, b"x" * 100) + j(2, b"y" * 50)[:30])

    assert 130 <= server.held <= 230
    server.receive_data(j(2, b"y" * 50)[30:])
    assert 0 == server.held


def test_a_window_that_has_begun_with_nothing_held_is_within() -> None:
    server = ServerProtocol()
    server.receive_data(w(1))

    assert 0 == server.held
    assert server.within_window


SERVER_MISTAKES: dict[str, tuple[bytes, str]] = {
    "window in a window": (w(2) + j(1, b"1") + w(1), "new window after 1 of 2 events"),
    "empty window in a window": (w(2) + j(1, b"1") + w(0), "new window after 1 of 2 events"),
    "event without a window": (j(1, b"1"), "event without a window"),
    "surplus event": (w(1) + c(events([b"1", b"2"])), "event without a window"),
    "ack": (a(1), "a sender sends no acks"),
    "version 1 event": (w(1) + j(1, b"1", 1), "event of version 1 in a window of version 2"),
    "version 2 event": (w(1, 1) + j(1, b"1"), "event of version 2 in a window of version 1"),
    "too large a window": (w(11), "window of 11 events, allowed are 10"),
    "too many bytes": (w(2) + j(1, b"x" * 500) + j(2, b"x" * 500), "window takes more than 1000 bytes"),
    "too long a frame": (w(1) + j(1, b"x" * 601), "J frame claims 601 bytes, allowed are 1 to 600"),
    "too much inflated": (w(1) + c(b"2J\0\0\0\x01\0\0\2\0" + b"x" * 691), "C frame inflates to more than 700 bytes"),
    "garbage": (b"garbage", "the peer does not speak Beats"),
}


@pytest.mark.parametrize(("mistake", "reason"), SERVER_MISTAKES.values(), ids=SERVER_MISTAKES)
def test_a_senders_mistake_ends_the_connection_after_what_was_complete(mistake: bytes, reason: str) -> None:
    server = ServerProtocol(max_window=10, max_window_bytes=1_000, max_frame_bytes=600, max_inflated_bytes=700)
    received = read(server, window(b"0") + mistake)

    assert [b"0"] == received[0].payloads
    assert server.closed
    assert reason in str(server.error)
    assert [] == server.receive_data(window(b"0"))


def test_all_windows_of_one_call_together_are_bounded() -> None:
    """A few bytes may inflate to many windows."""
    server = ServerProtocol(max_window_bytes=1_000)
    full = window(b"x" * 400)

    assert 2 == len(server.receive_data(full * 2))
    assert 2 == len(server.receive_data(full * 2))
    assert 2 == len(server.receive_data(full * 3))
    assert "window takes more than 1000 bytes, or all that came with it" == str(server.error)


def test_an_end_of_file_ends_the_connection_without_a_mistake() -> None:
    server = ServerProtocol()
    server.receive_data(w(1))

    assert [] == server.receive_data(b"")
    assert server.closed
    assert server.error is None


def test_a_payload_that_is_no_json_shows_when_it_is_decoded() -> None:
    (received,) = ServerProtocol().receive_data(window(b"nonsense"))

    with pytest.raises(ValueError, match="JSON is malformed"):
        _ = received.events


payloads = st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=8)


@given(sent=st.lists(st.tuples(payloads, st.integers(0, 3)), max_size=6), size=st.integers(1, 40))
def test_windows_in_are_windows_out_however_they_are_cut(sent: list[tuple[list[bytes], int]], size: int) -> None:
    wire = b"".join(encode_window(some, level) for some, level in sent)
    server = ServerProtocol()
    received = read(server, *(wire[start : start + size] for start in range(0, len(wire), size)))

    assert [some for some, _ in sent] == [each.payloads for each in received]
    assert (None, False, False) == (server.error, server.closed, server.within_window)


@given(sent=st.lists(payloads, min_size=1, max_size=5), level=st.integers(0, 2), cut=st.integers(1, 30))
def test_both_ends_agree(sent: list[list[bytes]], level: int, cut: int) -> None:
    ours, theirs = ClientProtocol(level), ServerProtocol()
    for some in sent:
        ours.send(Batch(some))
    for received in theirs.receive_data(ours.data_to_send()):
        theirs.acknowledge(received)
        theirs.keep_alive()
    answer = theirs.data_to_send()
    acked = [got for at in range(0, len(answer), cut) for got in ours.receive_data(answer[at : at + cut])]

    assert [(some, len(some)) for some in sent] == [(of.payloads, count) for of, count in acked]
    assert (0, False) == (ours.in_flight, ours.closed)


@given(chunks=st.lists(st.binary(max_size=30), max_size=6))
def test_a_server_raises_for_nothing_that_comes(chunks: list[bytes]) -> None:
    server = ServerProtocol(max_window=10, max_window_bytes=1_000, max_frame_bytes=600, max_inflated_bytes=700)
    read(server, w(1), *chunks)

    assert server.held <= 2_000
