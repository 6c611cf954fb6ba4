"""What an event gains when it is accepted: a time, a place to go, and an id; and that nothing else about it changes."""

from __future__ import annotations

import enum
import json
import os
import re
import threading
import types
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import beats_core.envelope
from beats_core.encoding import encode_event
from beats_core.envelope import Envelope, Event
from beats_core.errors import EventTooLarge
from beats_core.options import Options
from beats_core.version import VERSION
from support.event_strategies import hostile_events, plain_values
from support.odd_values import Text, View
from support.strict_json import strict_object

Clock = Callable[[int], None]

METADATA = {"beat": "python", "type": "_doc", "version": VERSION}


def envelope(**options: Any) -> Envelope:
    return Envelope(Options(**options))


def id_of(payload: bytes) -> str:
    found: str = json.loads(payload)["@metadata"]["_id"]
    return found


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    assert len(set(names)) == len(names), names
    return dict(pairs)


def parsed(payload: bytes) -> dict[str, Any]:
    """The payload, in which no object has a name twice."""
    strict_object(payload)
    found: dict[str, Any] = json.loads(payload, object_pairs_hook=once)
    return found


def sealed_both_ways(event: Any, **options: Any) -> list[dict[str, Any]]:
    """What comes of an event alone, and of the same one among others."""
    one = envelope(**options)
    return [parsed(one.seal(event)), parsed(one.seal_all([{"id": 1}, event, {"@timestamp": "then", "id": 2}])[1])]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the clock, in milliseconds."""

    def set_clock(now: int) -> None:
        monkeypatch.setattr(beats_core.envelope, "time_ns", lambda: now * 1_000_000)

    return set_clock


# What an event gains, and what it says itself.


def test_an_event_gains_a_time_and_metadata_and_stays_as_it_was() -> None:
    event = {"message": "hello"}
    for document in sealed_both_ways(event):
        at, metadata = document.pop("@timestamp"), document.pop("@metadata")
        assert {"message": "hello"} == document
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", at)
        assert abs((datetime.now(UTC) - datetime.fromisoformat(at)).total_seconds()) < 60
        assert metadata.pop("_id")
        assert METADATA == metadata
    assert {"message": "hello"} == event


def test_the_time_is_utc_with_milliseconds(clock: Clock) -> None:
    clock(1_768_636_800_007)
    assert "2026-01-17T08:00:00.007Z" == parsed(envelope().seal({"a": 1}))["@timestamp"]
    clock(1_768_636_799_999)
    assert "2026-01-17T07:59:59.999Z" == parsed(envelope().seal({"a": 1}))["@timestamp"]


@pytest.mark.parametrize("own", ["then", None, 5])
def test_a_time_of_its_own_stands(own: object) -> None:
    for document in sealed_both_ways({"@timestamp": own, "a": 1}):
        assert own == document["@timestamp"]


def test_metadata_of_its_own_wins_name_by_name() -> None:
    own = {"_id": "mine", "beat": "shop", "pipeline": "p"}
    event = {"@metadata": types.MappingProxyType(own), "a": 1}
    for document in sealed_both_ways(event):
        assert {**METADATA, **own} == document["@metadata"]
    assert {"_id": "mine", "beat": "shop", "pipeline": "p"} == own


@pytest.mark.parametrize("own", ["text", None, 1, ["a"], [("beat", "shop")]])
def test_metadata_that_is_no_mapping_gives_way(own: object) -> None:
    for document in sealed_both_ways({"@metadata": own}):
        assert document["@metadata"].pop("_id")
        assert METADATA == document["@metadata"]


def test_an_empty_event_is_its_envelope() -> None:
    nothing: dict[str, object] = {}
    for empty in (nothing, View()):
        for document in sealed_both_ways(empty):
            assert {"@timestamp", "@metadata"} == document.keys()


def test_without_ids_there_is_the_rest() -> None:
    events: list[dict[Any, Any]] = [{"a": 1}, {}, {"@metadata": {}}, {"@timestamp": "then"}, {1: 2}]
    for event in events:
        for document in sealed_both_ways(event, add_id=False):
            assert METADATA == document["@metadata"]
            assert "@timestamp" in document


def test_the_index_is_the_beat_whatever_is_in_its_name() -> None:
    index = 'shop-"%d"-%b-ü\n{}'
    for document in sealed_both_ways({"a": 1}, index=index):
        assert index == document["@metadata"]["beat"]


@pytest.mark.parametrize("ready", ['{"a": 1.10}', b'{"@metadata":5}', b" {}\n"])
def test_ready_json_stays_as_it_is(ready: str | bytes) -> None:
    expected = ready.encode() if isinstance(ready, str) else ready
    assert expected.strip() == envelope().seal(ready) == envelope().seal_all([ready])[0]


@pytest.mark.parametrize("wrong", [None, 3, ["a"], bytearray(b"{}")])
def test_what_is_no_event_is_a_type_error(wrong: Any) -> None:
    with pytest.raises(TypeError, match="an event is a mapping"):
        envelope().seal(wrong)
    with pytest.raises(TypeError, match="an event is a mapping"):
        envelope().seal_all([{"id": 1}, wrong])


# Names in disguise.


class Name(enum.Enum):
    TIME = "@timestamp"
    METADATA = "@metadata"
    OTHER = "other"


class NameText(enum.StrEnum):
    TIME = "@timestamp"
    METADATA = "@metadata"


class Called:
    """What is no text, and is written as its repr."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


@pytest.mark.parametrize("time", [Name.TIME, NameText.TIME, Text("@timestamp"), Called("@timestamp")])
@pytest.mark.parametrize("metadata", [Name.METADATA, NameText.METADATA, Text("@metadata"), Called("@metadata")])
def test_a_name_that_is_ours_in_disguise_is_there_once(time: Any, metadata: Any) -> None:
    for document in sealed_both_ways({time: "then", metadata: {Name.OTHER: 1, "beat": "shop"}, 1: 2}):
        assert "then" == document["@timestamp"]
        assert (1, "shop") == (document["@metadata"]["other"], document["@metadata"]["beat"])
        assert 2 == document["1"]


names = st.text() | st.sampled_from(["@timestamp", "@metadata", *Name, *NameText, Text("@timestamp")]) | st.integers()
fields = st.dictionaries(names, plain_values, max_size=4)


@given(event=fields, own_metadata=st.none() | fields, add_id=st.booleans())
def test_it_is_what_its_definition_says(
    event: dict[Any, Any],
    own_metadata: dict[Any, Any] | None,
    add_id: bool,  # noqa: FBT001 - hypothesis's
) -> None:
    """The definition: {"@timestamp": now, **event, "@metadata": {ours, **its own}}."""
    if own_metadata is not None:
        event["@metadata"] = own_metadata
    own = json.loads(encode_event(event))
    given_metadata = own.get("@metadata")
    for kind in (dict, types.MappingProxyType, OrderedDict):
        for document in sealed_both_ways(kind(event), add_id=add_id):
            metadata = dict(METADATA)
            if add_id:
                metadata["_id"] = document["@metadata"]["_id"]
            if isinstance(given_metadata, dict):
                metadata |= given_metadata
            assert {"@timestamp": document["@timestamp"], **own, "@metadata": metadata} == document


@given(events=st.lists(hostile_events | st.just(b'{"ready":1}'), max_size=6))
def test_whatever_it_holds_it_becomes_strict_json_with_an_envelope(events: list[Any]) -> None:
    one = envelope()
    for payloads in ([one.seal(event) for event in events], one.seal_all(iter(events))):
        assert len(events) == len(payloads)
        for event, payload in zip(events, payloads, strict=True):
            document = strict_object(payload)
            if event != b'{"ready":1}':
                assert "beat" in document["@metadata"]
                assert "@timestamp" in document


@pytest.mark.parametrize("more", [0, 1, 1_023, 1_024, 5_000])
def test_many_are_sealed_in_order(more: int) -> None:
    events: list[Event] = [{"id": number} for number in range(more)]
    payloads = envelope().seal_all(events)

    assert list(range(more)) == [json.loads(payload)["id"] for payload in payloads]
    assert more == len({id_of(payload) for payload in payloads})


@pytest.mark.parametrize(
    "odd",
    [
        {"n": 10**400},
        {"deep": [[[[]]]] * 300},
        {"nan": float("nan")},
        {"set": {1}},
        {"long": "x" * 50_000},
        {"digits": "7" * 1_000},
        {"raw": msgspec.Raw(b'{"a":\n{"b":1}}')},
        {1: 2},
        {},
        {"@metadata": {}},
        b"{}",
    ],
)
def test_one_odd_event_among_many_changes_no_other(odd: Any) -> None:
    sealed = envelope().seal_all([{"id": 1}, odd, {"id": 2}])

    assert [1, 2] == [json.loads(sealed[0])["id"], json.loads(sealed[2])["id"]]
    if isinstance(odd, dict):
        odd_alone = {**json.loads(encode_event(odd)), "@timestamp": 0, "@metadata": 0}
        assert odd_alone == {**json.loads(sealed[1]), "@timestamp": 0, "@metadata": 0}


# Ids.


def test_ids_are_short_and_need_no_quoting() -> None:
    assert re.fullmatch(r"[0-9]{13}[0-9A-Za-z_-]{12}[0-9]{12}", id_of(envelope().seal({"a": 1})))


def test_ids_sort_as_their_events_were_accepted(clock: Clock) -> None:
    one, other = envelope(), envelope(index="other")
    given_out = []
    for now in (5_000, 5_000, 5_001, 5_999, 6_000, 4_000, 3_999, 1, 6_001, 999_999_999_999, 1_700_000_000_000):
        clock(now)
        given_out += [id_of(one.seal({"a": 1})), id_of(other.seal({"@metadata": {}}))]
        given_out += [id_of(payload) for payload in one.seal_all([{"a": 1}, {"@timestamp": 1}])]

    assert sorted(given_out) == given_out
    assert len(set(given_out)) == len(given_out)


def test_ids_begin_with_the_time_in_milliseconds(clock: Clock) -> None:
    clock(4_102_444_800_123)  # later than any other test's

    assert id_of(envelope().seal({"a": 1})).startswith("4102444800123")


def test_a_clock_that_is_set_back_makes_no_two_ids_the_same(clock: Clock) -> None:
    one = envelope()
    given_out = set()
    for turn in range(200):
        clock(1_000_000 + (turn * 7_919) % 50)
        given_out |= {id_of(payload) for payload in one.seal_all([{"a": 1}] * 3)} | {id_of(one.seal({"a": 1}))}

    assert 800 == len(given_out)


def test_threads_get_different_ids() -> None:
    one, other = envelope(), envelope()
    given_out: list[list[str]] = [[] for _ in range(16)]

    def seal(thread: int) -> None:
        mine = one if thread % 2 else other
        for _ in range(200):
            given_out[thread].append(id_of(mine.seal({"a": 1})))
        given_out[thread] += map(id_of, mine.seal_all([{"a": 1}] * 300))

    threads = [threading.Thread(target=seal, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 16 * 500 == len({identity for some in given_out for identity in some})
    assert all(some == sorted(some) for some in given_out)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_gets_other_ids_from_the_same_envelope() -> None:
    one = envelope()
    one.seal({"a": 1})
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.write(writer, b"\n".join([one.seal({"a": 1}), *one.seal_all([{"a": 1}] * 20)]))
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        theirs = {id_of(payload)[13:25] for payload in pipe.read().split(b"\n")}
    ours = {id_of(payload)[13:25] for payload in one.seal_all([{"a": 1}] * 20)}

    assert (1, 1) == (len(theirs), len(ours))
    assert theirs != ours


# The limit.


@pytest.mark.parametrize("add_id", [True, False])
@pytest.mark.parametrize(
    "event",
    [
        {"a": "x" * 500},
        {"@timestamp": "then", "a": "x" * 500},
        {"@metadata": {"pipeline": "p"}, "a": "x" * 500},
        {"@metadata": {"pipeline": "x" * 500}},
        {"a": {"x" * 500}},
        b'{"a":"' + b"x" * 500 + b'"}',
        View(("a", "x" * 500)),
    ],
    ids=repr,
)
def test_the_limit_is_of_all_that_is_sent_and_kept_to_the_byte(event: Any, add_id: bool) -> None:  # noqa: FBT001
    size = len(envelope(add_id=add_id).seal(event))
    enough, too_little = (envelope(add_id=add_id, max_event_bytes=limit) for limit in (size, size - 1))

    assert size == len(enough.seal(event)) == len(enough.seal_all([event])[0])
    for refuse in (too_little.seal, lambda event: too_little.seal_all([{"id": 1}, event])):
        with pytest.raises(EventTooLarge) as refused:
            refuse(event)
        assert (size, size - 1) == (refused.value.size, refused.value.limit)


def test_of_an_event_that_is_too_large_the_error_has_the_head_and_no_more() -> None:
    with pytest.raises(EventTooLarge) as refused:
        envelope(max_event_bytes=1_000).seal({"id": 7, "text": "x" * 1_000_000})

    assert refused.value.head.startswith(b'{"id":7,"text":"xxx')
    assert 65_536 == len(refused.value.head)


@pytest.mark.parametrize("limit", [300, 400, 1_000, 100_000])
@pytest.mark.parametrize(
    "event",
    [{"a": "x" * 200_000}, {"@metadata": {"_id": "m" * 80}, "a": ["ü" * 200_000]}, View(("a", "\x01" * 200_000))],
    ids=["dict", "own metadata", "mapping"],
)
def test_truncated_it_fits_with_its_envelope(event: Any, limit: int) -> None:
    one = envelope(max_event_bytes=limit, on_too_large="truncate")
    for payload in (one.seal(event), one.seal_all([event])[0]):
        document = parsed(payload)
        assert limit - 6 <= len(payload) <= limit
        assert ["_beats_truncated"] == document["tags"]
        assert event.get("@metadata", document["@metadata"])["_id"] == document["@metadata"]["_id"]


def test_what_cannot_be_truncated_is_too_large_all_the_same() -> None:
    one = envelope(max_event_bytes=10_000, on_too_large="truncate")
    for event in ({str(number): number for number in range(100_000)}, b'{"a":' + b"9" * 20_000 + b",}"):
        with pytest.raises(EventTooLarge):
            one.seal(event)
