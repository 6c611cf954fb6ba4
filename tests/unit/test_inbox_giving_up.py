"""Without room the oldest events give way: ordinary ones first, in order, within the bound, each counted."""

from __future__ import annotations

import threading

from beats_core.frames import Important
from beats_core.inbox import OVERHEAD, Inbox
from support.shippers import in_parallel

SIZE = OVERHEAD + 8


def inbox_for(events: int) -> Inbox[str]:
    """One that holds so many events of 8 bytes, a tenth of them important."""
    return Inbox(events * SIZE, gives_up=True)


def put(inbox: Inbox[str], *numbers: int, level: int = 20) -> list[bool]:
    return [inbox.put(b"%8d" % number, level) for number in numbers]


def numbers(items: list[bytes | str]) -> list[int | str]:
    return [item if isinstance(item, str) else int(item) for item in items]


def test_the_oldest_gives_way_to_the_newest() -> None:
    inbox = inbox_for(10)

    assert all(put(inbox, *range(30)))
    assert list(range(21, 30)) == numbers(inbox.drain())
    assert 30 == inbox.accepted
    assert 21 == inbox.given_up
    assert 9 * SIZE == inbox.waiting_bytes


def test_what_moved_on_cannot_give_way_and_the_newest_is_refused() -> None:
    inbox = inbox_for(10)
    put(inbox, *range(9))
    inbox.drain()

    assert [False] == put(inbox, 9)
    assert [True] == put(inbox, 9, level=40)  # of the reserve
    assert [False] == put(inbox, 10)
    assert 0 == inbox.given_up


def test_ordinary_events_give_way_before_important_ones_and_order_is_kept() -> None:
    inbox = inbox_for(10)
    put(inbox, 0, 1, level=40)
    put(inbox, *range(2, 9))
    put(inbox, 100, level=50)

    assert all(put(inbox, *range(9, 13), level=40))
    assert [0, 1, 6, 7, 8, 100, 9, 10, 11, 12] == numbers(inbox.drain())


def test_important_events_give_way_to_important_ones_alone() -> None:
    inbox = inbox_for(10)
    put(inbox, *range(10), level=40)

    assert [False] == put(inbox, 99)
    assert [True, True] == put(inbox, 10, 11, level=40)
    assert list(range(2, 12)) == numbers(inbox.drain())
    assert 2 == inbox.given_up


def test_a_level_of_the_users_own_makes_an_event_important() -> None:
    inbox: Inbox[str] = Inbox(2 * SIZE, gives_up=True, keep_level=30)
    inbox.put(b"%8d" % 1, 30)

    assert [Important] == list(map(type, inbox.drain()))


def test_a_marker_never_gives_way_and_stays_behind_what_was_before_it() -> None:
    inbox = inbox_for(10)
    put(inbox, *range(5))
    inbox.mark("marker")
    put(inbox, *range(5, 9))
    put(inbox, *range(9, 16))

    assert ["marker", *range(7, 16)] == numbers(inbox.drain())


def test_a_reader_that_sleeps_is_woken_by_what_was_spared() -> None:
    """A marker is all that is left in the queue, and the event that asked for its room is refused after all."""
    inbox = inbox_for(10)
    put(inbox, *range(9))
    inbox.drain()
    inbox.mark("marker")
    assert [False] == put(inbox, 9)
    found: list[bytes | str] = []
    reader = threading.Thread(target=lambda: found.extend(inbox.wait()), daemon=True)
    reader.start()
    reader.join(30)

    assert ["marker"] == found


def test_an_event_larger_than_everything_is_refused_and_nothing_gives_way() -> None:
    inbox = inbox_for(10)
    put(inbox, *range(9))

    assert not inbox.put(b"x" * 20 * SIZE, 20)
    assert 0 == inbox.given_up


def test_a_closed_inbox_refuses_and_nothing_gives_way() -> None:
    inbox = inbox_for(10)
    put(inbox, *range(9))
    inbox.close()

    assert [False, False] == [*put(inbox, 9), *put(inbox, 9, level=50)]
    assert 0 == inbox.given_up


def test_sixteen_threads_are_counted_exactly_and_stay_within_the_bound() -> None:
    inbox = inbox_for(100)
    most: list[int] = []

    def body(thread: int) -> None:
        for number in range(2_000):
            assert all(put(inbox, thread * 2_000 + number, level=20 + 20 * (number % 1_000 == 0)))
            most.append(inbox.waiting_bytes)

    in_parallel(16, body)
    left = numbers(inbox.drain())

    assert 32_000 == inbox.accepted == inbox.given_up + len(left)
    assert len(left) == len(set(left))
    assert max(most) <= 100 * SIZE
    assert inbox.waiting_bytes == len(left) * SIZE
