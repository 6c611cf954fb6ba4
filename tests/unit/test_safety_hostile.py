from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from beats_integrations.log_event import LogEvent
from beats_integrations.safety import Safety, text_of

NOW = datetime(2026, 1, 17, 8, 0, tzinfo=UTC)


def safe(fields: Any, **limits: Any) -> Any:
    return Safety(**limits)(LogEvent(time=NOW, level="INFO", message="hello", fields=fields)).fields


def safe_value(value: object, **limits: Any) -> object:
    return safe({"value": value}, **limits)["value"]


# Containers


def test_a_cycle_ends_where_it_closes() -> None:
    cycle: dict[str, object] = {"name": "a"}
    cycle["self"] = [cycle]

    assert {"value": {"name": "a", "self": ["<cycle>"]}} == safe({"value": cycle})


def test_the_same_value_twice_is_no_cycle() -> None:
    shared = {"a": 1}

    assert [{"a": 1}, {"a": 1}] == safe_value([shared, shared])


# Objects that want no good


class Hostile:
    def __repr__(self) -> str:
        raise RuntimeError("no")

    __str__ = __repr__


class HostileMapping(dict[str, object]):
    def items(self) -> Any:
        raise OSError


class HostileName(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override] # that is the point
        raise ValueError


class Nameless(metaclass=HostileName):
    __repr__ = Hostile.__repr__


class EndlessStructlog:
    def __structlog__(self) -> object:
        return EndlessStructlog()


@pytest.mark.parametrize(
    ("value", "note"),
    [
        (Hostile(), "<Hostile that raised RuntimeError>"),
        ([Hostile()], ["<Hostile that raised RuntimeError>"]),
        (HostileMapping(a=1), "<HostileMapping that raised OSError>"),
        (Nameless(), "<Nameless that raised RuntimeError>"),
        (EndlessStructlog(), "<EndlessStructlog that raised RecursionError>"),
    ],
)
def test_whatever_an_object_does_there_is_a_value_that_names_it(value: object, note: object) -> None:
    assert note == safe_value(value)


def test_fields_that_cannot_be_read_are_named() -> None:
    assert {"_unreadable": "<HostileMapping that raised OSError>"} == safe(HostileMapping(a=1))


def test_a_key_that_cannot_be_compared_harms_nobody() -> None:
    class Key:
        armed = False

        def __hash__(self) -> int:
            if self.armed:
                raise ValueError
            return hash("user")

        def __str__(self) -> str:
            return "user"

    key = Key()
    fields = {key: 1}
    Key.armed = True

    assert {"user": 1} == safe(fields)


def test_a_mapping_that_another_thread_changes_meanwhile_is_read_all_the_same() -> None:
    fields: dict[str, object] = {f"k{number}": number for number in range(50)}
    stop = threading.Event()

    def change() -> None:
        number = 0
        while not stop.is_set():
            fields[f"new{number % 100}"] = number
            fields.pop(f"new{(number - 50) % 100}", None)
            number += 1

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(300):
            assert safe({"value": fields})["value"].items() >= {"k0": 0, "k49": 49}.items()
            assert safe(fields)["k0"] == 0
    finally:
        stop.set()
        thread.join()


def test_a_mapping_that_never_keeps_still_is_given_up() -> None:
    class Restless(dict[str, object]):
        def items(self) -> Any:
            raise RuntimeError("dictionary changed size during iteration")

    assert {"value": {}, "_truncated": {"keys": 1}} == safe({"value": Restless(a=1)})


def test_an_object_that_logs_while_it_is_read_is_read() -> None:
    class Talkative:
        def __repr__(self) -> str:
            logging.getLogger("talkative").debug("being looked at")
            return "talkative"

    assert "talkative" == safe_value(Talkative())


# Messages that are no text


def test_the_text_of_anything_is_its_str() -> None:
    assert "hello" == text_of("hello")
    assert "nope" == text_of(ValueError("nope"))
    assert "<Hostile that raised RuntimeError>" == text_of(Hostile())


def test_the_text_of_a_container_shows_no_secret() -> None:
    assert "{'user': 'bob', 'password': '[REDACTED]'}" == text_of({"user": "bob", "password": "hunter2"})
    assert "[{'token': '[REDACTED]'}]" == text_of(({"token": "hunter2"},))
