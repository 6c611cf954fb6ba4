"""A window that was refused travels alone: only then does a refusal say which one was meant."""

from __future__ import annotations

from beats_core.backlog import REFUSALS, Backlog
from beats_core.frames import Batch


def backlog_of(*payloads: bytes) -> Backlog:
    """Return a backlog whose batches have one event each."""
    backlog = Backlog(1, 1000, 10.0)
    backlog.append(payloads, now=0.0)
    return backlog


def take(backlog: Backlog, *alongside: Batch) -> Batch:
    batch = backlog.take(0.0, alongside)
    assert batch is not None
    return batch


def test_a_window_that_was_refused_does_not_follow_another_one() -> None:
    backlog = backlog_of(b"a", b"b")
    refused, other = take(backlog), take(backlog)
    backlog.put_back(refused, refused=True)

    assert backlog.take(0.0, [other]) is None
    assert backlog.wait_time(0.0, [other]) is None
    backlog.ack(other, 1)
    assert 0.0 == backlog.wait_time(0.0)
    assert [b"a"] == list(take(backlog).payloads)


def test_nothing_follows_a_window_that_was_refused() -> None:
    backlog = backlog_of(b"a", b"b")
    backlog.put_back(take(backlog), refused=True)
    refused = take(backlog)

    assert backlog.take(0.0, [refused]) is None
    assert backlog.wait_time(0.0, [refused]) is None
    backlog.ack(refused, 1)
    assert [b"b"] == list(take(backlog).payloads)


def test_a_suspect_does_not_follow_another_window_and_is_not_passed_over_for_ever() -> None:
    """On a line that is never empty it would wait for as long as the load lasts, and every flush with it."""
    backlog = backlog_of(b"a", b"b", b"c", b"d")
    for _ in range(REFUSALS):
        backlog.put_back(take(backlog), refused=True)
    others = take(backlog), take(backlog)
    assert backlog.wait_time(0.0, others) == 0.0
    backlog.ack(others[0], 1)

    assert backlog.take(0.0, others[1:]) is None
    assert backlog.wait_time(0.0, others[1:]) is None
    backlog.ack(others[1], 1)
    assert [b"a"] == list(take(backlog).payloads)


def test_another_connection_may_go_on_meanwhile() -> None:
    backlog = backlog_of(b"a", b"b")
    backlog.put_back(take(backlog), refused=True)
    take(backlog)

    assert [b"b"] == list(take(backlog).payloads)
