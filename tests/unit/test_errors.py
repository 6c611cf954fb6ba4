"""The tree of errors, their facts and their sentences."""

from __future__ import annotations

import copy
import pickle

import pytest

import beats_core
from beats_core import errors
from beats_core.errors import (
    AckTimeout,
    BeatsError,
    ConnectionLost,
    EventTooLarge,
    OptionError,
    ProtocolError,
    SpoolError,
    SpoolFull,
    Stalled,
)
from beats_core.frames import Batch

ONE_OF_EACH: list[BeatsError] = [
    BeatsError("something"),
    ProtocolError("ack 3 while no window is open"),
    ConnectionLost("connection reset by peer", Batch([b"{}", b"{}"])),
    AckTimeout("the peer was silent for 30 seconds", Batch([b"{}"])),
    Stalled("keep-alives only", Batch([])),
    EventTooLarge(70_112, 65_536),
    SpoolError("disk failed"),
    SpoolFull("disk full"),
    OptionError("timeout", 0, "seconds, more than 0"),
]


def test_every_error_of_the_package_is_in_the_tree() -> None:
    found = {value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)}

    assert {type(error) for error in ONE_OF_EACH} == found
    assert all(issubclass(kind, BeatsError) for kind in found)
    assert {kind.__name__ for kind in found} <= set(beats_core.__all__)


@pytest.mark.parametrize("kind", [AckTimeout, Stalled])
def test_time_outs_are_lost_connections(kind: type[ConnectionLost]) -> None:
    assert issubclass(kind, ConnectionLost)


def test_a_wrong_option_is_a_wrong_value() -> None:
    assert issubclass(OptionError, ValueError)


@pytest.mark.parametrize(
    ("error", "sentence"),
    list(
        zip(
            ONE_OF_EACH,
            [
                "something",
                "ack 3 while no window is open",
                "connection reset by peer (2 events to send again)",
                "the peer was silent for 30 seconds (1 event to send again)",
                "keep-alives only",
                "event is 70112 bytes, limit is 65536 (max_event_bytes)",
                "disk failed",
                "disk full",
                "timeout=0: seconds, more than 0",
            ],
            strict=True,
        )
    ),
    ids=lambda value: type(value).__name__,
)
def test_an_error_says_its_facts_in_a_sentence(error: BeatsError, sentence: str) -> None:
    assert sentence == str(error)


def test_facts_are_attributes() -> None:
    _, _, lost, _, _, large, _, _, option = ONE_OF_EACH
    assert isinstance(lost, ConnectionLost)
    assert isinstance(large, EventTooLarge)
    assert isinstance(option, OptionError)

    assert ("connection reset by peer", 2) == (lost.reason, len(lost.unacked))
    assert (70_112, 65_536) == (large.size, large.limit)
    assert ("timeout", 0, "seconds, more than 0") == (option.option, option.value, option.allowed)


@pytest.mark.parametrize("error", ONE_OF_EACH, ids=lambda error: type(error).__name__)
def test_an_error_survives_copying_and_pickling(error: BeatsError) -> None:
    """As multiprocessing and Celery do it."""
    for again in (copy.copy(error), pickle.loads(pickle.dumps(error))):  # noqa: S301 - it is ours
        assert type(error) is type(again)
        assert str(error) == str(again)


def test_contents_of_events_are_in_no_sentence() -> None:
    lost = ConnectionLost("reset", Batch([b'{"password":"secret"}']))

    assert "secret" not in f"{lost} {lost!r}"
