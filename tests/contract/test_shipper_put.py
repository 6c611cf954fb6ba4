"""What happens to an event in `put`: what it gains, when it is refused, and that nothing ever comes out of it."""

from __future__ import annotations

import collections
import re
import types
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest

from beats_core import Options, Receiver, Shipper, Stats
from beats_core.version import VERSION
from support.shippers import closed_port, ids, in_parallel, put, unaccounted, wait_until
from support.shipping import Line, a_line

line = pytest.fixture(a_line)


# What an event gains.


def test_an_event_gains_a_time_and_metadata_and_stays_as_it_was(line: Line) -> None:
    event = {"message": "hello"}
    assert line.shipper.put(event)
    document = line.document()

    assert {"message": "hello"} == event
    assert {"message", "@timestamp", "@metadata"} == document.keys()
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", document["@timestamp"])
    assert abs(datetime.fromisoformat(document["@timestamp"]).timestamp() - datetime.now().timestamp()) < 60  # noqa: DTZ005
    assert document["@metadata"].pop("_id")
    assert {"beat": "python", "type": "_doc", "version": VERSION} == document["@metadata"]


def test_what_an_event_says_itself_stands(line: Line) -> None:
    own = {"_id": "mine", "beat": "shop", "pipeline": "p"}
    line.shipper.put({"@timestamp": "then", "@metadata": own})
    document = line.document()

    assert {"beat": "shop", "type": "_doc", "version": VERSION, "_id": "mine", "pipeline": "p"} == document["@metadata"]
    assert document["@timestamp"] == "then"
    assert {"_id": "mine", "beat": "shop", "pipeline": "p"} == own


def test_metadata_that_is_no_mapping_gives_way(line: Line) -> None:
    line.shipper.put({"@metadata": "text"})

    assert line.document()["@metadata"]["beat"] == "python"


def test_the_index_is_the_beat() -> None:
    with Receiver() as receiver, Shipper(receiver.host, index="shop") as shipper:
        shipper.put({})
        assert shipper.flush()

        assert receiver.events[0]["@metadata"]["beat"] == "shop"


@pytest.mark.parametrize("event", ['{"id": 1}', b'{"id": 1}'])
def test_ready_json_is_shipped_as_it_is(line: Line, event: str | bytes) -> None:
    line.shipper.put(event)

    assert {"id": 1} == line.document()


@pytest.mark.parametrize(
    "event",
    [
        collections.UserDict(id=1),
        collections.ChainMap({"id": 1}, {"id": 2}),
        types.MappingProxyType({"id": 1}),
        collections.OrderedDict(id=1),
    ],
    ids=lambda event: type(event).__name__,
)
def test_any_mapping_is_an_event(line: Line, event: Mapping[str, object]) -> None:
    assert line.shipper.put(event)

    assert line.document()["id"] == 1


def test_what_changes_after_the_put_does_not_change_the_event(line: Line) -> None:
    event: dict[str, Any] = {"list": [1]}
    line.shipper.put(event)
    event["list"].append(2)
    event["more"] = True

    assert ([1], False) == (line.document()["list"], "more" in line.document())


def test_no_two_events_have_the_same_id() -> None:
    with Receiver() as receiver, Shipper(receiver.host) as one, Shipper(receiver.host) as other:
        in_parallel(16, lambda thread: put(one if thread % 2 else other, *range(500)))
        assert one.flush()
        assert other.flush()
        given = [event["@metadata"]["_id"] for event in receiver.events]

    assert len(given) == len(set(given)) == 8_000


# What never comes out of it.


class Hostile(Mapping[str, object]):
    """A mapping, one of whose methods raises."""

    def __init__(self, method: str, error: BaseException) -> None:
        self.method = method
        self.error = error

    def _meet(self, method: str) -> None:
        if method == self.method:
            raise self.error

    def __getitem__(self, key: str) -> object:
        self._meet("__getitem__")
        if key != "id":
            raise KeyError(key)
        return 1

    def __iter__(self) -> Iterator[str]:
        self._meet("__iter__")
        return iter(["id"])

    def __len__(self) -> int:
        self._meet("__len__")
        return 1

    def __contains__(self, key: object) -> bool:
        self._meet("__contains__")
        return key == "id"

    def get(self, key: str, default: object = None) -> object:
        self._meet("get")
        return default

    def keys(self) -> Any:
        self._meet("keys")
        return ["id"]


class Liar:
    def __getattribute__(self, name: str) -> object:
        raise RuntimeError("I have no class")


class Raising:
    def __repr__(self) -> str:
        raise RuntimeError("I have no name")


@pytest.mark.parametrize("method", ["__getitem__", "__iter__", "__len__", "__contains__", "get", "keys"])
@pytest.mark.parametrize("error", [ValueError(), RuntimeError(), KeyError(), RecursionError(), MemoryError()], ids=repr)
def test_a_mapping_whose_methods_raise_is_shipped_or_refused_and_counted(
    line: Line, method: str, error: Exception
) -> None:
    accepted = line.shipper.put(Hostile(method, error))
    stats = line.shipper.stats()

    assert (accepted, stats.lost) == (stats.accepted == 1, 0 if accepted else 1)
    assert line.shipper.put({"id": 2})
    assert line.documents()[-1]["id"] == 2


NO_EVENTS = {
    "nothing": lambda: None,
    "a number": lambda: 3,
    "a list": lambda: ["a"],
    "pairs": lambda: [("a", 1)],
    "an object": object,
    "an object without a class": Liar,
    "no text": lambda: "",
    "text": lambda: "text",
    "a JSON list": lambda: b"[1]",
    "bytes": lambda: b"\xff",
    "half of JSON": lambda: "{",
    "a bytearray": lambda: bytearray(b"{}"),
}


@pytest.mark.parametrize("make", NO_EVENTS.values(), ids=NO_EVENTS.keys())
def test_what_is_no_event_is_refused_and_counted(line: Line, make: Callable[[], Any]) -> None:
    assert not line.shipper.put(make())
    assert line.shipper.stats().lost == 1


def test_hostile_values_are_shipped_somehow(line: Line) -> None:
    events: list[Any] = [{"a": Raising()}, {Raising(): 1}, {"a": Liar()}, {"a": {1, "b", None}}]

    assert [True] * len(events) == [line.shipper.put(event) for event in events]
    assert len(line.documents()) == len(events)


def test_a_level_that_is_no_number_is_no_reason_to_raise(line: Line) -> None:
    assert not line.shipper.put({"id": 1}, level=None)  # type: ignore[arg-type] # what it is about
    assert {"invalid": 1} == line.shipper.stats().dropped


# Memory.


def fill(shipper: Shipper, event: Mapping[str, object], level: int = 20) -> int:
    """Put until one is refused; return how many were accepted."""
    accepted = 0
    while shipper.put(event, level):
        accepted += 1
    return accepted


def test_with_a_dead_receiver_memory_is_bounded_and_the_newest_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    host, most = closed_port(), 200_000
    with Shipper(host, queue_mem_bytes=most, backoff_init=0.01, backoff_max=0.01, shutdown_timeout=0) as shipper:
        ordinary = fill(shipper, {"message": "x" * 900})
        important = fill(shipper, {"message": "x" * 900}, level=40)
        for _ in range(100):
            assert not shipper.put({"message": "x" * 900}, level=50)
        stats = shipper.stats()

        assert most * 0.85 < stats.waiting_bytes <= most
        assert 0 < important < ordinary / 5
        assert {"full": 102} == stats.dropped
        assert unaccounted(stats) == 0
        wait_until(lambda: [text for text in caplog.messages if text.startswith("events are refused: full ")])

        with Receiver(host) as receiver:
            assert shipper.flush(60)
            assert len(receiver.events) == ordinary + important
            assert shipper.stats().waiting_bytes == 0
            assert fill(shipper, {"message": "x" * 900}) > 0


def test_the_numbers_hold_at_every_moment_while_sixteen_threads_put_and_lines_are_lost() -> None:
    """Accepted is what `put` said, and each accepted event is in exactly one place."""
    windows = iter(range(1_000_000))

    def now_and_then_fail(window: object) -> None:
        if next(windows) % 5 == 4:
            raise ConnectionError("cut off")

    accepted = [0] * 16
    seen: list[Stats] = []
    with Receiver(consume=now_and_then_fail) as receiver:
        options = Options(
            hosts=receiver.host, queue_mem_bytes=400_000, bulk_max_size=64, backoff_init=0.001, backoff_max=0.002
        )
        shipper = Shipper(options=options)

        def put_or_watch(thread: int) -> None:
            if thread < 16:
                for number in range(600):
                    accepted[thread] += shipper.put({"id": number}, level=30)
            else:
                for _ in range(300):
                    least = sum(accepted)
                    stats = shipper.stats()
                    assert unaccounted(stats) == 0
                    assert least <= stats.accepted
                    assert min(stats.inbox, stats.pending, stats.in_flight, stats.waiting_bytes) >= 0
                    assert stats.waiting_bytes <= 400_000
                    seen.append(stats)

        in_parallel(18, put_or_watch)
        assert shipper.flush(60)
        stats = shipper.close()

    assert (sum(accepted), sum(accepted), 0) == (stats.accepted, stats.acked, unaccounted(stats))
    assert 16 * 600 == stats.accepted + stats.lost
    assert stats.resent > 0


# Shared.


def test_equal_options_share_one_shipper_until_the_last_user_has_left() -> None:
    with Receiver() as receiver:
        one = Shipper.shared(Options(hosts=receiver.host))
        other = Shipper.shared(Options(hosts=[receiver.host]))
        different = Shipper.shared(Options(hosts=receiver.host, index="shop"))
        assert one is other
        assert one is not different

        put(one, 1)
        one.release()
        assert ([1], False) == (ids(receiver.events), other.closed)
        put(other, 2)
        other.release()
        assert ([1, 2], True) == (ids(receiver.events), other.closed)

        again = Shipper.shared(Options(hosts=receiver.host))
        assert again is not one
        again.release()
        different.release()


def test_a_shared_shipper_that_was_closed_is_not_shared_any_more() -> None:
    options = Options(hosts=closed_port())
    one = Shipper.shared(options)
    one.close()
    other = Shipper.shared(options)

    assert one is not other
    one.release()
    assert (other, False) == (Shipper.shared(options), other.closed)
    other.release()
    other.release()
    assert (True, True) == (one.closed, other.closed)


def test_threads_that_share_and_release_all_meet_a_shipper_that_works() -> None:
    with Receiver() as receiver:
        options = Options(hosts=receiver.host)

        def come_and_go(thread: int) -> None:
            for number in range(20):
                shipper = Shipper.shared(options)
                put(shipper, number)
                shipper.release()

        in_parallel(8, come_and_go)

        assert len(receiver.events) == 160
