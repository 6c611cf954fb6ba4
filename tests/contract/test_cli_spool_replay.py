"""`beats spool replay` as a user runs it: what dead processes left arrives, once, and what does not arrive stays."""

from __future__ import annotations

import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from beats_core import ReceivedWindow, Receiver
from beats_core.letters import Letters
from support.command_line import CLEAN, IMPATIENT, LIMIT, beats, finished, running
from support.shippers import closed_port, ids, wait_until
from support.spool_owners import add_letters, damage, left_by_a_killed, living, make_foreign, parts_of


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def shown(spool: Path) -> list[int]:
    return [json.loads(line)["id"] for line in beats("spool", "show", spool, "--json")[1].splitlines()]


@pytest.mark.parametrize("durability", ["spool", "journal"])
def test_what_dead_processes_left_arrives_in_order_and_the_spool_is_empty(
    receiver: Receiver, tmp_path: Path, durability: str
) -> None:
    for first in range(0, 5000, 500):  # more parts than are adopted at a time
        left_by_a_killed(tmp_path, *range(first, first + 500), durability=durability)

    code, output, messages = beats("spool", "replay", tmp_path, "-H", receiver.host)

    assert (0, "") == (code, output)
    assert list(range(5000)) == ids(receiver.events)
    assert messages.startswith("5,000 events acknowledged, ")
    assert "left" not in messages
    assert [] == list(tmp_path.iterdir())


def test_what_a_living_process_has_is_left_alone(receiver: Receiver, tmp_path: Path) -> None:
    with living(tmp_path, 1, 2) as process:
        left_by_a_killed(tmp_path, 3)

        code, _, messages = beats("spool", "replay", tmp_path, "-H", receiver.host)

        assert (0, [3]) == (code, ids(receiver.events))
        assert "left alone, because living processes use them: " in messages
        assert f" {process.pid} (2 events)" in messages
        assert [1, 2] == shown(tmp_path)


def test_a_limit_leaves_the_rest_for_the_next_time(receiver: Receiver, tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(100))

    code, _, messages = beats("spool", "replay", tmp_path, "-H", receiver.host, "--limit", 30)

    assert (0, list(range(30))) == (code, ids(receiver.events))
    assert "30 events acknowledged, 70 left in the spool" in messages
    assert list(range(30, 100)) == shown(tmp_path)
    assert 0 == beats("spool", "replay", tmp_path, "-H", receiver.host)[0]
    assert list(range(100)) == ids(receiver.events)


def test_with_nobody_there_nothing_is_lost(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(10))

    code, _, messages = beats("spool", "replay", tmp_path, "-H", closed_port(), "--retries", 1)

    assert 69 == code
    assert "connection refused; trying again in" in messages
    assert "0 events acknowledged, 10 left in the spool" in messages
    assert list(range(10)) == shown(tmp_path)


def test_a_receiver_that_goes_away_leaves_the_rest(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(200))
    arrived: list[int] = []

    def consume(window: ReceivedWindow) -> None:
        if len(arrived) >= 100:
            raise RuntimeError("enough")
        arrived.extend(event["id"] for event in window.events)

    with Receiver(consume=consume) as failing:
        code, _, messages = beats(
            *("spool", "replay", tmp_path, "-H", failing.host, "--bulk-max-size", 10), env=IMPATIENT
        )

    assert (75, list(range(100))) == (code, arrived), messages
    assert "100 events acknowledged, 100 left in the spool" in messages
    assert list(range(100, 200)) == shown(tmp_path)


def test_an_event_that_is_not_accepted_is_a_dead_letter_and_the_rest_arrives(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(200))
    arrived: list[int] = []

    def consume(window: ReceivedWindow) -> None:
        numbers = [event["id"] for event in window.events]
        if 3 in numbers:
            raise RuntimeError("not this one")
        arrived.extend(numbers)

    with Receiver(consume=consume) as choosy:
        code, _, messages = beats("spool", "replay", tmp_path, "-H", choosy.host, "--bulk-max-size", 8)

    assert 1 == code, messages
    assert [number for number in range(200) if number != 3] == sorted(arrived)
    assert "1 not accepted and now dead letters" in messages
    (letter,) = Letters(str(tmp_path)).read()
    assert 3 == json.loads(letter.event)["id"]
    assert choosy.host == letter.receiver
    assert [] == parts_of(tmp_path)


def test_ctrl_c_ends_it_and_loses_nothing(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(5000))
    arrived: list[int] = []
    begun = threading.Event()

    def consume(window: ReceivedWindow) -> None:
        arrived.extend(event["id"] for event in window.events)
        begun.set()

    with Receiver(consume=consume) as receiver:
        arguments = ("spool", "replay", tmp_path, "-H", receiver.host, "--bulk-max-size", 1, "--pipelining", 1)
        with running(*arguments, env=CLEAN) as process:
            assert begun.wait(LIMIT)
            process.send_signal(signal.SIGINT)
            code, _, messages = finished(process)

    assert 130 == code
    assert f"{len(arrived):,} events acknowledged, {5000 - len(arrived):,} left in the spool" in messages
    assert list(range(len(arrived), 5000)) == shown(tmp_path)


def test_killed_in_the_middle_it_loses_nothing(tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, *range(5000))
    arrived: list[int] = []
    begun = threading.Event()

    def consume(window: ReceivedWindow) -> None:
        arrived.extend(event["id"] for event in window.events)
        if len(arrived) > 100:
            begun.set()

    with Receiver(consume=consume) as receiver:
        with running("spool", "replay", tmp_path, "-H", receiver.host, "--bulk-max-size", 10) as process:
            assert begun.wait(LIMIT)
            process.kill()
            process.wait(LIMIT)
        assert 0 == beats("spool", "replay", tmp_path, "-H", receiver.host)[0]

    counts = Counter(arrived)
    assert set(range(5000)) == set(counts)
    assert sum(counts.values()) - 5000 <= 30  # what was in flight, or acknowledged and not noted yet


def test_two_at_once_send_nothing_twice(receiver: Receiver, tmp_path: Path) -> None:
    for first in range(0, 1000, 100):
        left_by_a_killed(tmp_path, *range(first, first + 100))

    with (
        running("spool", "replay", tmp_path, "-H", receiver.host) as one,
        running("spool", "replay", tmp_path, "-H", receiver.host) as other,
    ):
        codes = [finished(one)[0], finished(other)[0]]

    assert [0, 0] == codes
    assert list(range(1000)) == sorted(ids(receiver.events))


def test_damage_costs_what_is_damaged(receiver: Receiver, tmp_path: Path) -> None:
    damage(left_by_a_killed(tmp_path, *range(100), durability="journal"))

    code, _, messages = beats("spool", "replay", tmp_path, "-H", receiver.host)

    assert (65, 99) == (code, len(receiver.events))
    assert "1 lost to damage" in messages
    assert "1 damaged places were passed over" in messages
    assert 1 == len(list((tmp_path / "corrupt").iterdir()))


def test_another_format_is_left_alone(receiver: Receiver, tmp_path: Path) -> None:
    part = left_by_a_killed(tmp_path, 1)
    make_foreign(part)

    code, _, messages = beats("spool", "replay", tmp_path, "-H", receiver.host)

    assert (0, 0) == (code, len(receiver.events))
    assert "1 segments are of another format" in messages
    assert [part] == parts_of(tmp_path)


def test_switched_off_it_sends_nothing(receiver: Receiver, tmp_path: Path) -> None:
    left_by_a_killed(tmp_path, 1)
    code, _, messages = beats(
        "spool", "replay", tmp_path, "-H", receiver.host, env={**IMPATIENT, "BEATS_DISABLED": "true"}
    )

    assert (0, True) == (code, "switched off" in messages)
    assert [1] == shown(tmp_path)


def letters_in(spool: Path) -> list[str]:
    return [letter.event for letter in Letters(str(spool)).read()]


def test_dead_letters_that_are_acknowledged_go_and_all_others_stay(tmp_path: Path) -> None:
    path = add_letters(tmp_path, *(f'{{"id":{number}}}' for number in range(10)), '{"id":10')
    with path.open("ab") as file:
        file.write(b'{"time":"cut of\n')
    arrived: list[int] = []

    def consume(window: ReceivedWindow) -> None:
        numbers = [event["id"] for event in window.events]
        if {2, 3, 4, 5, 6} & set(numbers):
            raise RuntimeError("still not")
        if numbers == [7]:  # a process gives an event up meanwhile
            add_letters(tmp_path, '{"id":99}')
        arrived.extend(numbers)

    with Receiver(consume=consume) as receiver:
        code, _, messages = beats("spool", "replay", tmp_path, "-H", receiver.host, "--dead")

    assert 1 == code
    assert [0, 1, 7, 8, 9] == arrived
    assert "5 events acknowledged, 5 not accepted again, 2 that are not whole events" in messages
    assert Counter(['{"id":10', *(f'{{"id":{number}}}' for number in (2, 3, 4, 5, 6, 99))]) == Counter(
        letters_in(tmp_path)
    )
    assert b'{"time":"cut of\n' in path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_all_dead_letters_acknowledged_leave_no_file(receiver: Receiver, tmp_path: Path) -> None:
    add_letters(tmp_path, '{"id":1}', '{"id":2}').rename(tmp_path / "dead-letters.1.ndjson")
    add_letters(tmp_path, '{"id":3}')

    assert 0 == beats("spool", "replay", tmp_path, "-H", receiver.host, "--dead", "--limit", 1)[0]
    assert ['{"id":2}', '{"id":3}'] == letters_in(tmp_path)
    assert 0 == beats("spool", "replay", tmp_path, "-H", receiver.host, "--dead")[0]
    assert [1, 2, 3] == ids(receiver.events)
    assert [] == list(tmp_path.iterdir())


def test_with_nobody_there_all_dead_letters_stay(tmp_path: Path) -> None:
    add_letters(tmp_path, '{"id":1}', '{"id":2}')

    code, _, messages = beats("spool", "replay", tmp_path, "-H", closed_port(), "--dead", "--retries", 0)

    assert 69 == code
    assert "0 events acknowledged, 2 left, " in messages
    assert ['{"id":1}', '{"id":2}'] == letters_in(tmp_path)


def test_killed_while_it_sends_dead_letters_it_loses_none(tmp_path: Path) -> None:
    add_letters(tmp_path, *(f'{{"id":{number}}}' for number in range(500)))
    arrived: list[int] = []

    def consume(window: ReceivedWindow) -> None:
        arrived.extend(event["id"] for event in window.events)

    with Receiver(consume=consume) as receiver:
        with running("spool", "replay", tmp_path, "-H", receiver.host, "--dead") as process:
            wait_until(lambda: len(arrived) > 10)
            process.kill()
            process.wait(LIMIT)
        assert 500 == len(letters_in(tmp_path))  # by another name
        assert 0 == beats("spool", "replay", tmp_path, "-H", receiver.host, "--dead")[0]

    assert set(range(500)) == set(arrived)
    assert [] == list(tmp_path.iterdir())
