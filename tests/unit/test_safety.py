from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beats_core import encode_event
from beats_integrations.log_event import ErrorInfo, LogEvent
from beats_integrations.safety import REDACTED, Safety, free_name, text_of

NOW = datetime(2026, 1, 17, 8, 0, tzinfo=UTC)


def safe(fields: Any, **limits: Any) -> Any:
    return Safety(**limits)(LogEvent(time=NOW, level="INFO", message="hello", fields=fields)).fields


def safe_value(value: object, **limits: Any) -> object:
    return safe({"value": value}, **limits)["value"]


# The common case


def test_an_event_of_short_scalars_is_returned_as_it_is() -> None:
    fields = {"user": "Zoë", "status": 200, "ratio": 0.5, "cached": True, "referrer": None, "at": NOW}
    log_event = LogEvent(time=NOW, level="INFO", message="hello", fields=fields)

    assert Safety()(log_event) is log_event


def test_small_containers_of_short_scalars_are_common_too() -> None:
    fields = {"customer": {"name": "Zoë", "tier": 3}, "items": [1, 2, 3], "none": [], "pair": [1, 2]}
    log_event = LogEvent(time=NOW, level="INFO", message="hello", fields=fields)

    assert Safety()(log_event) is log_event


def test_an_event_without_fields_is_returned_as_it_is() -> None:
    log_event = LogEvent(time=NOW, level="INFO", message="hello")

    assert Safety()(log_event) is log_event


def test_what_it_was_given_is_never_changed() -> None:
    inner = {"password": "hunter2", "tags": ["a", {"b": (1, 2)}]}
    fields = {"inner": inner, 1: "one"}

    safe(fields, max_depth=2, max_items=1)

    assert {"inner": {"password": "hunter2", "tags": ["a", {"b": (1, 2)}]}, 1: "one"} == fields


# Secrets


@pytest.mark.parametrize(
    "key",
    [
        *("password", "passwd", "secret", "token", "api_key", "authorization", "cookie", "set-cookie", "auth"),
        *("Authorization", "PASSWORD", "X-Api-Key", "apiKey", "Set-Cookie", "Proxy-Authorization", "client_secret"),
        *(
            "db_password",
            "accessToken",
            "csrftoken",
            "private_key",
            "aws_secret_access_key",
            "credentials",
            "sessionid",
        ),
    ],
)
def test_the_value_of_a_secret_does_not_leave_the_process(key: str) -> None:
    assert {key: REDACTED} == safe({key: "hunter2"})


@pytest.mark.parametrize("key", ["user", "total_tokens", "author", "authority", "cookie_consent", "secretary", "key"])
def test_a_name_that_only_resembles_a_secret_keeps_its_value(key: str) -> None:
    assert {key: "hunter2"} == safe({key: "hunter2"})


def test_secrets_are_found_at_any_depth_and_in_whatever_holds_them() -> None:
    class Login(msgspec.Struct):
        password: str = "hunter2"

    @dataclass
    class Account:
        name: str = "bob"
        token: str = "hunter2"
        pin: str = field(default="hunter2", repr=False)

    Pair = namedtuple("Pair", "user secret")  # noqa: PYI024 - the untyped kind is what older programs have

    class Attrs:  # as attrs marks its classes
        __attrs_attrs__ = (
            type("A", (), {"name": "passwd", "repr": True}),
            type("A", (), {"name": "pin", "repr": False}),
        )
        passwd = pin = "hunter2"

    class Pydantic:  # as pydantic tells its repr, which leaves out what has repr=False
        def __repr_args__(self) -> Iterator[tuple[str, object]]:
            yield "api_key", "hunter2"

    class Logged:
        def __structlog__(self) -> object:
            return {"password": "hunter2"}

    clean = safe(
        {
            "list": [{"password": "hunter2"}],
            "headers": [("Authorization", "hunter2"), (b"cookie", b"hunter2"), ["Accept", "text/html"]],
            "objects": [Login(), Account(), Pair("bob", "hunter2"), Attrs(), Pydantic(), Logged()],
            "whole": {"secret": {"a": {"b": "hunter2"}}},
        }
    )

    assert "hunter2" not in repr(clean)
    assert [["Authorization", REDACTED], ["cookie", REDACTED], ["Accept", "text/html"]] == clean["headers"]
    assert {"name": "bob", "token": REDACTED} == clean["objects"][1]
    assert {"user": "bob", "secret": REDACTED} == clean["objects"][2]


def test_secrets_below_the_greatest_depth_are_not_shown_either() -> None:
    deep: dict[str, object] = {"password": "hunter2"}
    for _ in range(20):
        deep = {"deeper": deep}

    assert "hunter2" not in repr(safe(deep))


def test_names_of_secrets_can_be_added() -> None:
    assert {"iban": REDACTED, "name": "bob"} == safe({"iban": "DE00", "name": "bob"}, redact=["IBAN"])


# Values


@pytest.mark.parametrize(
    ("value", "plain"),
    [(2**63 - 1, 2**63 - 1), (-(2**63) - 1, str(-(2**63) - 1)), ("\ud83d\ude00 \ud800", "😀 �"), (b"a", "a")],
)
@pytest.mark.parametrize("inside", [lambda value: value, lambda value: [value], lambda value: {"value": value}])
def test_what_receivers_refuse_is_written_otherwise(value: object, plain: object, inside: Any) -> None:
    assert inside(plain) == safe_value(inside(value))


def test_a_set_has_the_same_order_in_every_process() -> None:
    assert ["a", "b", "c"] == safe_value({"c", "a", "b"})


def test_an_unknown_object_is_its_repr() -> None:
    assert "<class 'int'>" == safe_value(int)


# Names


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("", "_"),
        (" ", "_"),
        ("a[b]", "a_b_"),
        ("a\nb\x00c\x7f", "a_b_c_"),
        ("\ud800x", "�x"),
        (".", "_._"),
        ("a..b", "a._.b"),
        (".a.", "_.a._"),
        ("http.status", "http.status"),
        (1, "1"),
        (None, "None"),
        ((1, 2), "(1, 2)"),
        (b"\xffa", "\\xffa"),
        ("k" * 300, "k" * 255 + "…"),
    ],
)
def test_keys_become_names_that_logstash_and_elasticsearch_accept(key: object, name: str) -> None:
    assert {name: "value"} == safe({key: "value"})


def test_keys_that_become_equal_are_all_kept_with_a_number() -> None:
    assert {"1": "a", "1_2": "b", "x_": "c", "x__2": "d"} == safe({1: "a", "1": "b", "x[": "c", "x]": "d"})


def test_a_key_that_cannot_be_written_is_kept_by_its_type() -> None:
    class Hostile:
        def __str__(self) -> str:
            raise ValueError

    assert {"<Hostile that raised ValueError>": 1} == safe({Hostile(): 1})


def test_a_key_that_is_a_text_of_its_own_class_is_a_plain_text_afterwards() -> None:
    class Key(str):
        __slots__ = ()

    [name] = safe({Key("a"): 1})

    assert str is type(name)


def test_made_up_keys_do_not_fill_memory() -> None:
    safety = Safety()
    for number in range(5_000):
        assert safety.are_plain({f"key{number}": 1})

    assert 4_096 == len(safety.plain_keys)


def test_a_free_name_is_the_first_with_a_number_that_nobody_has() -> None:
    assert "path" == free_name("path", {"line"})
    assert "path_3" == free_name("path", {"path", "path_2"})


# Caps, each visible


def test_too_many_keys_are_cut_and_counted() -> None:
    clean = safe({f"k{number}": number for number in range(10)}, max_keys=4)

    assert {"k0": 0, "k1": 1, "k2": 2, "k3": 3, "_truncated": {"keys": 6}} == clean


def test_a_long_list_is_cut_and_counted() -> None:
    assert {"a": [0, 1, 2], "_truncated": {"items": 7}} == safe({"a": list(range(10))}, max_items=3)


def test_what_is_too_deep_is_cut_and_counted() -> None:
    clean = safe({"a": {"b": {"c": {"d": 1}}}, "x": [[[1]]]}, max_depth=3)

    assert {"a": {"b": {"c": "<too deep>"}}, "x": [["<too deep>"]], "_truncated": {"levels": 2}} == clean


def test_a_long_string_is_cut_and_says_by_how_much() -> None:
    clean = safe({"a": "x" * 1_000}, max_string_bytes=100)

    assert {"a": "x" * 60 + "…[940 characters cut]", "_truncated": {"characters": 940}} == clean


def test_the_limit_of_a_string_counts_bytes_and_splits_no_character() -> None:
    cut = safe_value("€" * 100, max_string_bytes=99)

    assert isinstance(cut, str)
    assert cut.startswith("€" * 19 + "…[81 ")
    assert len(cut.encode()) <= 99
    assert "€" * 33 == safe_value("€" * 33, max_string_bytes=99)


def test_the_whole_event_is_bounded_whatever_its_parts_are() -> None:
    fields = {f"k{a}": [{f"b{b}": "x" * 1_000 for b in range(100)} for _ in range(100)] for a in range(100)}

    clean = safe(fields)

    assert len(encode_event(clean)) < 2 << 20
    assert {"keys", "items", "characters"} >= clean["_truncated"].keys() > set()


def test_a_message_is_cut_at_its_end_and_a_stack_trace_in_its_middle() -> None:
    trace = "Traceback\n" + "frame\n" * 1_000 + "ValueError: nope"
    log_event = LogEvent(
        time=NOW,
        level="ERROR",
        message="m" * 1_000,
        error=ErrorInfo("ValueError", "e" * 1_000, trace),
        stack_info="Stack\n" + "frame\n" * 1_000,
    )

    clean = Safety(max_text_bytes=120)(log_event)

    assert "m" * 80 + "…[920 characters cut]" == clean.message
    assert clean.error is not None
    assert clean.error.message.endswith("…[920 characters cut]")
    assert clean.error.stack_trace.startswith("Traceback\nframe")
    assert clean.error.stack_trace.endswith("frame\nValueError: nope")
    assert "characters cut]…" in clean.error.stack_trace
    assert clean.stack_info is not None
    assert len(clean.stack_info) < 200
    assert clean.fields["_truncated"] == {"characters": pytest.approx(13_700, abs=300)}


def test_an_error_that_is_short_enough_stays_as_it_is() -> None:
    error = ErrorInfo("ValueError", "nope", "Traceback\n…\nValueError: nope")
    log_event = LogEvent(time=NOW, level="ERROR", message="hello", error=error, stack_info="Stack")

    assert log_event == Safety()(log_event)


def test_a_field_of_the_name_of_our_note_is_kept() -> None:
    clean = safe({"_truncated": "mine", "a": [1, 2]}, max_items=1)

    assert {"_truncated": "mine", "a": [1], "_truncated_2": {"items": 1}} == clean


# Properties

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes() | st.decimals(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text() | st.integers(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), values, max_size=8))
def test_whatever_the_fields_are_the_result_is_encodable_and_needs_nothing_more(fields: dict[str, Any]) -> None:
    clean = safe(fields)

    assert isinstance(msgspec.json.decode(encode_event(clean)), dict)
    assert repr(clean) == repr(safe(clean))


@given(st.dictionaries(st.text(max_size=3), st.text(), max_size=8), st.integers(1, 8), st.integers(50, 200))
def test_the_caps_hold(fields: dict[str, str], max_keys: int, max_string_bytes: int) -> None:
    clean = safe(fields, max_keys=max_keys, max_string_bytes=max_string_bytes)
    cut = clean.pop("_truncated", {})

    assert len(clean) <= max_keys
    assert len(fields) == len(clean) + cut.get("keys", 0)
    assert all(len(value.encode()) <= max_string_bytes for value in clean.values())


@pytest.mark.parametrize(
    "name", ["user[password]", "password:", "password ", "\x00password\x00", "form[user][token]", " Set-Cookie :"]
)
def test_what_is_put_around_the_name_of_a_secret_does_not_hide_it(name: str) -> None:
    assert [REDACTED] == list(safe({name: "hunter2"}).values())


@pytest.mark.parametrize("redact", ["iban", ["iban"], ["IBAN:"]])
def test_one_more_name_of_a_secret_may_be_given_as_it_is(redact: str | list[str]) -> None:
    assert {"iban": REDACTED, "a": "kept"} == safe({"iban": "DE02", "a": "kept"}, redact=redact)


def test_a_given_name_is_found_under_the_name_that_logstash_gets() -> None:
    assert [REDACTED] == list(safe({"user[pin]": "1234"}, redact=["user[pin]"]).values())


def test_text_of_an_object_that_denies_every_attribute_is_what_it_says() -> None:
    class Unbound:
        def __getattribute__(self, name: str) -> object:
            raise RuntimeError("outside of a request")

        def __str__(self) -> str:
            return "<unbound>"

    assert "<unbound>" == text_of(Unbound())
