"""The sender's end of a connection, without one. The invariant: acked, and then `unacked`, is what was sent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core.errors import AckTimeout, Stalled
from beats_core.frames import Batch
from beats_core.protocol import ClientProtocol, Patience
from support.wire import a, c, d, j, w


def batch(*numbers: int) -> Batch:
    return Batch([b"%d" % number for number in numbers])


def numbers(payloads: Any) -> list[int]:
    return [int(payload) for payload in payloads]


def client(*sizes: int) -> ClientProtocol:
    """One with windows of these sizes in flight, their events counted on from 1."""
    protocol = ClientProtocol(compression_level=0)
    first = 1
    for size in sizes:
        protocol.send(batch(*range(first, first + size)))
        first += size
    protocol.data_to_send()
    return protocol


def test_a_window_waits_to_be_written_once() -> None:
    protocol = ClientProtocol(compression_level=0)
    assert b"" == protocol.data_to_send()
    protocol.send(Batch([b"{}"]))

    assert b"2W\0\0\0\x012J\0\0\0\x01\0\0\0\x02{}" == protocol.data_to_send()
    assert b"" == protocol.data_to_send()


def test_several_windows_are_written_in_order_each_numbered_from_one() -> None:
    protocol = ClientProtocol(compression_level=0)
    protocol.send(batch(1, 2))
    protocol.send(batch(3))

    assert w(2) + j(1, b"1") + j(2, b"2") + w(1) + j(1, b"3") == protocol.data_to_send()


def test_windows_are_compressed_by_default() -> None:
    protocol = ClientProtocol()
    protocol.send(Batch([b"{}"]))

    assert b"2W\0\0\0\x012C" == protocol.data_to_send()[:8]


def test_an_empty_window_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="at least one event"):
        ClientProtocol().send(Batch([]))


def test_nothing_can_be_sent_on_a_closed_connection() -> None:
    protocol = client()
    protocol.receive_data(b"")
    with pytest.raises(RuntimeError, match="closed"):
        protocol.send(batch(1))


def test_an_ack_settles_the_oldest_window() -> None:
    protocol = client(2, 3)
    first, second = batch(1, 2).payloads, batch(3, 4, 5).payloads

    ((acked, count),) = protocol.receive_data(a(2))
    assert (first, 2) == (acked.payloads, count)
    assert 1 == protocol.in_flight
    assert [3, 4, 5] == numbers(protocol.unacked.payloads)
    ((acked, count),) = protocol.receive_data(a(3))
    assert (second, 3) == (acked.payloads, count)
    assert (0, 0) == (protocol.in_flight, len(protocol.unacked))


# Windows of 3 and 2 events; what the receiver sends; counts newly acked, what is unacked, whether it is over and why.
ANSWERS: dict[str, tuple[bytes, list[int], list[int], str | None]] = {
    "nothing": (b"", [], [1, 2, 3, 4, 5], None),
    "all": (a(3) + a(2), [3, 2], [], None),
    "a part": (a(1), [1], [2, 3, 4, 5], None),
    "part by part": (a(1) + a(2) + a(3) + a(1) + a(2), [1, 1, 1, 1, 1], [], None),
    "the same again": (a(2) + a(2) + a(2), [2], [3, 4, 5], None),
    "backwards": (a(2) + a(1) + a(3), [2, 1], [4, 5], None),
    "keep-alives": (a(0) + a(0), [], [1, 2, 3, 4, 5], None),
    "keep-alives between": (a(0) + a(3) + a(0) + a(2) + a(0), [3, 2], [], None),
    "half an ack": (a(3) + a(2)[:4], [3], [4, 5], None),
    "beyond the window": (a(4), [], [1, 2, 3, 4, 5], "ack 4 for a window of 3 events"),
    "beyond the second": (a(3) + a(3), [3], [4, 5], "ack 3 for a window of 2 events"),
    "highest": (a(2) + a(2**32 - 1), [2], [3, 4, 5], "ack 4294967295 for a window of 3 events"),
    "one too many": (a(3) + a(2) + a(1), [3, 2], [], "ack 1 while no window is open"),
    "version 1": (a(1) + a(3, 1), [1], [2, 3, 4, 5], "ack of protocol version 1 on a version 2 connection"),
    "an event": (a(1) + j(1, b"{}"), [1], [2, 3, 4, 5], "a receiver sends acks only, this one sent EventFrame"),
    "a window": (a(1) + w(1), [1], [2, 3, 4, 5], "a receiver sends acks only, this one sent WindowFrame"),
    "a compressed event": (a(1) + c(j(1, b"{}")), [1], [2, 3, 4, 5], "a receiver sends acks only"),
    "a large event": (a(1) + j(1, b"x" * 80), [1], [2, 3, 4, 5], "J frame claims 80 bytes, allowed are 1 to 64"),
    "garbage": (a(1) + b"garbage", [1], [2, 3, 4, 5], "the peer does not speak Beats"),
}
each_answer = pytest.mark.parametrize(("answer", "acked", "unacked", "error"), ANSWERS.values(), ids=ANSWERS)


@each_answer
@pytest.mark.parametrize("size", [100, 1], ids=["whole", "byte by byte"])
def test_answers_are_taken_as_the_protocol_says(
    answer: bytes, acked: list[int], unacked: list[int], error: str | None, size: int
) -> None:
    protocol = client(3, 2)
    chunks = [answer[start : start + size] for start in range(0, len(answer), size)]
    counts = [count for chunk in chunks for _, count in protocol.receive_data(chunk)]

    assert acked == counts
    assert unacked == numbers(protocol.unacked.payloads)
    assert (error is not None) == protocol.closed == (protocol.error is not None)
    assert (error or "") in str(protocol.error or "")


@each_answer
def test_after_the_end_nothing_counts_any_more(
    answer: bytes, acked: list[int], unacked: list[int], error: str | None
) -> None:
    protocol = client(3, 2)
    if answer:
        protocol.receive_data(answer)
    assert [] == protocol.receive_data(b"")
    assert protocol.closed
    assert (error is not None) == (protocol.error is not None)  # an end of file is nobody's fault

    assert [] == protocol.receive_data(a(1) + a(2))
    assert unacked == numbers(protocol.unacked.payloads)


def test_what_is_unacked_can_be_the_batch_itself() -> None:
    sent = batch(1, 2, 3)
    protocol = ClientProtocol()
    protocol.send(sent)

    assert sent is protocol.unacked


def test_a_keep_alive_makes_slow_until_all_is_settled() -> None:
    protocol = client(1, 1)
    told = []
    for answer in (b"", a(0), a(1), a(1)):
        if answer:
            protocol.receive_data(answer)
        told.append((protocol.slow, protocol.silence_expected))
    assert [(False, False), (True, False), (True, True), (False, False)] == told

    protocol.receive_data(a(0))  # while idle it says nothing
    assert not protocol.slow


def test_a_window_behind_a_slow_one_may_have_keep_alives_of_its_own() -> None:
    protocol = client(1, 1)
    protocol.receive_data(a(0) + a(1) + a(0))

    assert protocol.slow
    assert not protocol.silence_expected


answers = st.one_of(
    st.builds(a, st.integers(0, 6)),
    st.builds(a, st.sampled_from([0, 1, 2**31, 2**32 - 1])),
    st.builds(a, st.integers(0, 3), st.just(1)),
    st.builds(lambda count: b"".join(map(a, range(1, count + 1))), st.integers(1, 5)),
    st.sampled_from([w(1), j(1, b"{}"), c(j(1, b"{}")), c(a(1)), d(1, {}), b"?", b"2", b"2A\0\0"]),
    st.binary(max_size=6),
)


@given(data=st.data())
def test_whatever_a_receiver_answers_acked_and_unacked_are_what_was_sent(data: st.DataObject) -> None:
    protocol = ClientProtocol(compression_level=0)
    sent: list[int] = []
    acked: list[int] = []
    batches: list[Batch] = []
    settled: dict[int, int] = {}  # by identity, which is unique while `batches` keeps them

    for _ in range(data.draw(st.integers(1, 12))):
        if data.draw(st.booleans()) and not protocol.closed:
            size = data.draw(st.integers(1, 5))
            fresh = list(range(len(sent), len(sent) + size))
            sent += fresh
            batches.append(batch(*fresh))
            protocol.send(batches[-1])
            assert protocol.data_to_send().startswith(b"2W")
        else:
            answer = data.draw(answers)
            cut = data.draw(st.integers(0, len(answer)))
            for chunk in filter(None, (answer[:cut], answer[cut:])):
                for of, count in protocol.receive_data(chunk):
                    assert count > 0
                    start = settled.get(id(of), 0)
                    acked += numbers(of.payloads[start : start + count])
                    settled[id(of)] = start + count
                    assert settled[id(of)] <= len(of)
                assert sent == acked + numbers(protocol.unacked.payloads)
        assert sent == acked + numbers(protocol.unacked.payloads)
        assert (protocol.in_flight == 0) == (len(protocol.unacked) == 0)
        assert protocol.closed or protocol.error is None


@given(chunks=st.lists(st.binary(max_size=20), max_size=10))
def test_arbitrary_bytes_neither_raise_nor_settle_what_was_not_sent(chunks: list[bytes]) -> None:
    protocol = client(3)
    acked = sum(count for chunk in chunks for _, count in protocol.receive_data(chunk))

    assert list(range(acked + 1, 4)) == numbers(protocol.unacked.payloads)


class TestPatience:
    """Seconds are the test's own; time-out 30, stall 300."""

    def patience(self) -> Patience:
        patience = Patience(30, 300)
        patience.restart(1_000)
        return patience

    def test_with_nothing_in_flight_there_is_nothing_to_wait_for(self) -> None:
        assert self.patience().left(client(), 5_000) is None
        assert self.patience().verdict(client(), 5_000) is None

    def test_silence_runs_out_after_the_timeout(self) -> None:
        patience, protocol = self.patience(), client(2)

        assert 30 == patience.left(protocol, 1_000)
        assert 1 == patience.left(protocol, 1_029)
        assert patience.verdict(protocol, 1_029) is None
        assert (AckTimeout, "the peer was silent for 30 seconds") == patience.verdict(protocol, 1_030)

    def test_whatever_is_heard_ends_the_silence(self) -> None:
        patience, protocol = self.patience(), client(2)
        patience.heard(1_020, progress=False)

        assert 30 == patience.left(protocol, 1_020)
        assert patience.verdict(protocol, 1_049) is None
        assert patience.verdict(protocol, 1_050) is not None

    def test_keep_alives_without_progress_run_out_after_the_stall_timeout(self) -> None:
        patience, protocol = self.patience(), client(2)
        for now in range(1_000, 1_300, 10):
            patience.heard(now, progress=False)

        assert 5 == patience.left(protocol, 1_295)
        assert (Stalled, "keep-alives, but no acknowledgement for 300 seconds") == patience.verdict(protocol, 1_300)

    def test_silence_is_silence_also_when_the_stall_timeout_is_the_shorter_one(self) -> None:
        patience, protocol = Patience(30, 10), client(2)
        patience.restart(1_000)

        assert (AckTimeout, "the peer was silent for 10 seconds") == patience.verdict(protocol, 1_010)
        patience.heard(1_009, progress=False)
        assert (Stalled, "keep-alives, but no acknowledgement for 10 seconds") == patience.verdict(protocol, 1_010)

    def test_progress_starts_both_clocks_anew(self) -> None:
        patience, protocol = self.patience(), client(2)
        patience.heard(1_299, progress=True)

        assert patience.verdict(protocol, 1_300) is None
        assert 29 == patience.left(protocol, 1_300)

    def test_the_silence_of_a_window_behind_a_slow_one_does_not_run_out(self) -> None:
        patience, protocol = self.patience(), client(1, 1)
        protocol.receive_data(a(0) + a(1))

        assert 200 == patience.left(protocol, 1_100)
        assert patience.verdict(protocol, 1_299) is None
        assert (Stalled, "keep-alives, but no acknowledgement for 300 seconds") == patience.verdict(protocol, 1_300)

    def test_without_a_stall_timeout_it_may_wait_for_ever(self) -> None:
        patience, protocol = Patience(30, None), client(1, 1)
        patience.restart(1_000)
        assert 30 == patience.left(protocol, 1_000)
        protocol.receive_data(a(0) + a(1))

        assert patience.left(protocol, 1e9) is None
        assert patience.verdict(protocol, 1e9) is None

    def test_the_time_the_peer_took_bytes_does_not_count(self) -> None:
        patience, protocol = self.patience(), client(1)
        patience.excuse(1_000, 1_100)
        assert 30 == patience.left(protocol, 1_100)

        patience.excuse(1_110, 1_115)
        assert 20 == patience.left(protocol, 1_115)
        patience.heard(1_120, progress=False)
        patience.excuse(1_110, 1_125)  # heard meanwhile: not excused into the future
        assert 30 == patience.left(protocol, 1_125)


def test_what_the_peer_did_on_the_line_is_kept_for_the_words_about_its_end() -> None:
    protocol = client(3, 2)
    first = protocol.oldest
    assert first
    assert [1, 2, 3] == numbers(first.batch.payloads)
    assert (0, b"", 0, False) == (protocol.heard, protocol.first_bytes, protocol.acked, protocol.kept_alive)

    protocol.receive_data(a(0) + a(2)[:3])
    protocol.receive_data(a(2)[3:] + a(3) + a(1))
    assert (24, (a(0) + a(2) + a(3))[:16]) == (protocol.heard, protocol.first_bytes)
    assert (4, True) == (protocol.acked, protocol.kept_alive)
    second = protocol.oldest
    assert second
    assert 1 == second.acked

    protocol.receive_data(a(2))
    assert protocol.oldest is None
    assert 5 == protocol.acked


def test_a_keep_alive_for_no_window_says_nothing_of_the_peer() -> None:
    protocol = client()
    protocol.receive_data(a(0))

    assert not protocol.kept_alive
