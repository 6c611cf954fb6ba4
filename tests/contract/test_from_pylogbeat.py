"""What the guide for users of PyLogBeat says of it and of us: calls, events, windows, acks and the ends of lines.

Both clients meet the same scripted receiver. Where PyLogBeat waits in vain, its own time-out is a short one.
"""

from __future__ import annotations

import datetime as dt
import decimal
import inspect
import logging
import os
import re
import socket
import struct
import uuid
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from pylogbeat import ConnectionException, PyLogBeatClient

from beats_core import Client, ConnectionLost, EventTooLarge, Options, Shipper
from support.clients import numbered
from support.columns import COLUMNS, Column, GoLumber, Logstash
from support.pylogbeats import SHORT, highest_sequence, line_of, nobody, pylogbeat
from support.rows import events
from support.scripted import (
    PATIENCE,
    Peer,
    Scripted,
    acknowledged,
    answering,
    closes,
)

GUIDE = Path(__file__).parents[2] / "docs/how-to/from-pylogbeat.md"


SMALL_BUFFER = 4 << 10  # bytes

# Calls


def test_the_guide_has_every_argument_and_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)(?:=(.+?))?` \|", GUIDE.read_text("utf-8"), re.MULTILINE)
    parameters = inspect.signature(PyLogBeatClient).parameters.values()

    assert [
        (parameter.name, "" if parameter.default is parameter.empty else repr(parameter.default))
        for parameter in parameters
    ] == rows[: len(parameters)]


def test_both_connect_when_entered_or_first_used() -> None:
    with Scripted(answering(acknowledged)) as receiver:
        PyLogBeatClient("127.0.0.1", receiver.port)
        Client(receiver.host)
        with PyLogBeatClient("127.0.0.1", receiver.port) as old, Client(receiver.host) as new:
            old.connect()
            new.connect()
            old.send(numbered(1))
            new.send(numbered(1))
            assert 2 == len(receiver.peers)
        with closing(pylogbeat(receiver)) as old, closing(Client(receiver.host)) as new:
            old.send(numbered(1))
            new.send(numbered(1))
            assert 4 == len(receiver.peers)


def test_only_ours_says_how_many_events_it_sent() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        assert old.send(numbered(3)) is None
        assert 3 == new.send(numbered(3))


def test_a_closed_client_of_ours_is_opened_by_connect_alone() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.close()
        old.send(numbered(1))
        new.close()
        with pytest.raises(RuntimeError, match="the client is closed"):
            new.send(numbered(1))
        new.connect()
        new.send(numbered(1))


def test_by_default_pylogbeat_waits_for_ever_and_ours_for_half_a_minute() -> None:
    assert inspect.signature(PyLogBeatClient).parameters["timeout"].default is None
    apart = ("connect_timeout", "handshake_timeout", "write_timeout", "ack_timeout")
    assert [30, None, None, None, None] == [getattr(Options(), name) for name in ("timeout", *apart)]


def test_only_ours_knows_the_usual_port() -> None:
    with pytest.raises(TypeError, match="port"):
        PyLogBeatClient("logstash")
    assert [5044] == [host.port for host in Options(hosts="logstash").addresses]


def test_what_is_not_given_to_ours_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with Scripted(answering(acknowledged)) as receiver:
        monkeypatch.setenv("BEATS_HOSTS", receiver.host)
        with Client() as new:
            assert 1 == new.send(numbered(1))


EVENTS = [{"id": 0}, '{"id": 1}', b'{"id": 2}']


@pytest.mark.parametrize("some", [EVENTS, tuple(EVENTS), {*EVENTS[1:]}], ids=["list", "tuple", "set"])
def test_both_take_collections_of_mappings_texts_and_bytes(some: Any) -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.send(some)
        new.send(some)

        assert set(receiver.windows[0].ids) == set(receiver.windows[1].ids)
        assert len(some) == receiver.windows[1].count


def test_only_ours_takes_a_generator() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        with pytest.raises(TypeError):
            old.send(event for event in numbered(3))
        assert 3 == new.send(event for event in numbered(3))


@pytest.mark.parametrize("wrong", [{"id": 0}, '{"id": 0}', b'{"id": 0}', [1], [None]], ids=str)
def test_neither_takes_a_single_event_or_what_is_none(wrong: Any) -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        with pytest.raises(TypeError):
            old.send(wrong)
        with pytest.raises((TypeError, ValueError)):
            new.send(wrong)

        assert [] == receiver.windows


def test_no_events_hang_pylogbeat_once_it_has_sent_some() -> None:
    def serve(peer: Peer) -> None:
        peer.ack(peer.window().count)
        peer.ack(peer.window().count)  # as Logstash does, also if that is 0
        peer.wait_for_end()

    with Scripted(serve) as receiver:
        with pylogbeat(receiver, timeout=SHORT) as old:
            old.send(numbered(1))
            with pytest.raises(TimeoutError):
                old.send([])
        with Client(receiver.host) as new:
            new.send(numbered(1))
            assert 0 == new.send([])

        assert [[1, 0], [1]] == [[window.count for window in peer.windows] for peer in receiver.peers]


def test_pylogbeat_prints_what_ours_raises(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    assert logging.WARNING == logging.getLogger("pylogbeat").level  # set by its import
    with Scripted(answering(closes)) as receiver:
        with pylogbeat(receiver) as old, pytest.raises(ConnectionException):
            old.send(numbered(1))
        assert "unexpected frame" in capsys.readouterr().err
        with pylogbeat(receiver, use_logging=True) as old, pytest.raises(ConnectionException):
            old.send(numbered(1))
        assert {"pylogbeat"} == {record.name for record in caplog.records}

        caplog.clear()
        capsys.readouterr()
        with Client(receiver.host) as new, pytest.raises(ConnectionLost):
            new.send(numbered(1))
        assert ("", "") == capsys.readouterr()
        assert [] == caplog.records


def test_a_shipper_logs_under_names_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    with Shipper(nobody(), shutdown_timeout=0.2) as shipper:
        shipper.put({"message": "to nobody"})
    assert {"beats_core.sender", "beats_core.shipper"} == {record.name for record in caplog.records}


# Events


def test_ours_completes_mappings_and_leaves_ready_json_as_it_is() -> None:
    ready = b'{"message": "ready"}'
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old:
        old.send([{"message": "a mapping"}, ready])
        with Client(receiver.host, index="shop") as new:
            new.send([{"message": "a mapping"}, ready])

        assert [{"message": "a mapping"}, {"message": "ready"}] == receiver.windows[0].events
        assert ready == receiver.windows[1].payloads[1]
        event = receiver.windows[1].events[0]
        assert {"@timestamp", "@metadata", "message"} == set(event)
        assert {"beat", "type", "version", "_id"} == set(event["@metadata"])
        assert "shop" == event["@metadata"]["beat"]


A_TIME = dt.datetime(2026, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
SOME_ID = uuid.UUID(int=1)


@pytest.mark.parametrize(
    ("value", "arrives"),
    [
        (A_TIME, "2026-01-02T03:04:05Z"),
        (decimal.Decimal("1.50"), "1.50"),
        (SOME_ID, str(SOME_ID)),
        (b"\x00\xff", "AP8="),
        ({"only"}, ["only"]),
        (re.compile("unknown"), "re.compile('unknown')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_that_json_does_not_know_stop_the_whole_call_of_pylogbeat(value: object, arrives: object) -> None:
    mixed: list[dict[str, object]] = [{"good": True}, {"value": value}]
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        with pytest.raises(TypeError):
            old.send(mixed)
        assert [] == receiver.windows

        assert 2 == new.send(mixed)
        assert arrives == receiver.windows[0].events[1]["value"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")], ids=str)
def test_pylogbeat_ships_numbers_that_are_not_json(value: float) -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.send([{"value": value}])
        new.send([{"value": value}])

        assert re.fullmatch(rb'\{"value": (NaN|-?Infinity)\}', receiver.windows[0].payloads[0])
        assert b'"value":null' in receiver.windows[1].payloads[0]


def test_numbers_that_are_not_json_cost_pylogbeat_its_line_to_logstash() -> None:
    with Scripted(Logstash.script()) as receiver:
        for _ in range(3):
            with pylogbeat(receiver) as old, pytest.raises((ConnectionException, ConnectionResetError)):
                old.send([{"value": float("nan")}])
        with Client(receiver.host) as new:
            assert 1 == new.send([{"value": float("nan")}])


def test_pylogbeat_ships_text_that_is_no_json_object() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.send(["hello world"])
        assert [b"hello world"] == receiver.windows[0].payloads

        with pytest.raises(ValueError, match="ready JSON must be one object"):
            new.send(["hello world"])
        assert 1 == len(receiver.windows)


def test_only_ours_has_a_limit_for_one_event() -> None:
    large = [{"message": "x" * 2_000}]
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old:
        old.send(large)
        with Client(receiver.host, max_event_bytes=1_000) as new, pytest.raises(EventTooLarge):
            new.send(large)
        assert 1 == len(receiver.windows)


def test_only_pylogbeat_escapes_what_is_not_ascii() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.send([{"message": "größer"}])
        new.send([{"message": "größer"}])

        assert rb"gr\u00f6\u00dfer" in receiver.windows[0].payloads[0]
        assert "größer".encode() in receiver.windows[1].payloads[0]


# Windows


def test_pylogbeat_counts_on_and_ours_begins_each_window_at_one() -> None:
    with Scripted(answering(highest_sequence)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        for client in (old, new):
            client.send(numbered(2))
            client.send(numbered(3))
        old.close()
        old.send(numbered(1))

        assert [[[1, 2], [3, 4, 5]], [[1, 2], [1, 2, 3]], [[6]]] == [
            [window.sequences for window in peer.windows] for peer in receiver.peers
        ]


@pytest.mark.parametrize("column", COLUMNS, ids=[column.title for column in COLUMNS])
def test_the_second_send_of_pylogbeat_hangs_at_receivers_that_count(column: Column) -> None:
    echoes = column.title in ("Logstash", "Vector", "Vector before mid-2026", "NiFi")
    stamped = [{"@timestamp": "2026-01-02T03:04:05.678Z", **event} for event in events(3)]  # for Fluentd
    with Scripted(column.script()) as receiver:
        with pylogbeat(receiver, timeout=PATIENCE if echoes else SHORT) as old:
            old.send(stamped)
            with nullcontext() if echoes else pytest.raises(TimeoutError):
                old.send(stamped)
        with Client(receiver.host) as new:
            assert [3, 3, 3] == [new.send(events(3)) for _ in range(3)]


def test_pylogbeat_ends_at_sequence_2_to_the_32() -> None:
    with Scripted(answering(highest_sequence)) as receiver, pylogbeat(receiver) as old:
        old._sequence = 2**32 - 2  # noqa: SLF001 - the other way there takes hours
        old.send(numbered(1))
        for _ in range(2):
            with pytest.raises(struct.error):
                old.send(numbered(1))


def test_pylogbeat_writes_a_window_in_two_pieces_of_which_the_second_waits() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.send(numbered(5))
        new.send(numbered(5))

        assert [2, 1] == [peer.segments for peer in receiver.peers]
        assert not line_of(old).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with socket.socket(fileno=os.dup(new.fileno())) as line:
            assert line.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_with_a_timeout_pylogbeat_loses_what_a_full_buffer_does_not_take() -> None:
    event = b'{"id": 0, "message": "%b"}' % os.urandom(512 << 10).hex().encode()
    with Scripted(answering(acknowledged), receive_buffer=SMALL_BUFFER) as receiver:
        with pylogbeat(receiver, timeout=1) as old:
            line_of(old).setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            with pytest.raises(TimeoutError):
                old.send([event])
        assert [] == receiver.windows
        with pylogbeat(receiver, timeout=None) as old, Client(receiver.host) as new:
            with socket.socket(fileno=os.dup(new.fileno())) as line:
                for each in (line_of(old), line):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALL_BUFFER)
            old.send([event])
            assert 1 == new.send([event])

        assert [[event], [event]] == [window.payloads for window in receiver.windows]


def test_pylogbeat_sends_one_window_however_many_events_there_are() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old, Client(receiver.host) as new:
        old.send(numbered(12_000))
        new.send(numbered(12_000))

        assert [12_000] == [window.count for window in receiver.peers[0].windows]
        assert [2048, 2048, 2048, 2048, 2048, 1760] == [window.count for window in receiver.peers[1].windows]


def test_ours_sends_a_second_window_while_the_first_is_not_acknowledged() -> None:
    def serve(peer: Peer) -> None:
        counts = [peer.window().count, peer.window().count]
        assert peer.is_quiet(0.1)
        for count in counts:
            peer.ack(count)
        peer.ack(peer.window().count)

    with Scripted(serve) as receiver, Client(receiver.host, bulk_max_size=2) as new:
        assert 6 == new.send(numbered(6))


def test_go_lumber_refuses_the_large_windows_of_pylogbeat() -> None:
    with Scripted(GoLumber.script()) as receiver:
        with pylogbeat(receiver) as old:
            old.send(events(10_000))
        with pylogbeat(receiver) as old, pytest.raises((ConnectionException, ConnectionError)):
            old.send(events(10_001))
        with Client(receiver.host) as new:
            assert 12_000 == new.send(events(12_000))


def test_only_ours_can_leave_windows_uncompressed() -> None:
    with Scripted(answering(acknowledged)) as receiver, pylogbeat(receiver) as old:
        old.send(numbered(3))
        with Client(receiver.host, compression_level=0) as new:
            new.send(numbered(3))

        assert ["C", "JJJ"] == [window.frames for window in receiver.windows]
        assert b"\x78\x9c" == receiver.windows[0].raw[12:14]  # a zlib stream of level 6
