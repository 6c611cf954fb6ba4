from __future__ import annotations

import logging
import pickle
import re
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from beats_core import OptionError, Options, Shipper
from beats_integrations.log_event import LogEvent
from beats_integrations.outlet import Outlet, is_own
from support.shipping import KeepingShipper

NOW = datetime(2026, 1, 17, 8, 0, tzinfo=UTC)


def an_event(message: str = "hello", **event: Any) -> LogEvent:
    return LogEvent(time=NOW, level="INFO", message=message, **event)


@contextmanager
def complaints() -> Iterator[list[logging.LogRecord]]:
    """What the package tells of itself; it tells it from a thread of its own."""
    told: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            told.append(record)

    handler = Listener()
    logger = logging.getLogger("beats_integrations")
    logger.addHandler(handler)
    before = set(threading.enumerate())
    try:
        yield told
        for thread in set(threading.enumerate()) - before:
            thread.join()
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def shipper() -> Iterator[KeepingShipper]:
    with KeepingShipper() as shipper:
        yield shipper


# Shipping


def test_an_event_is_made_safe_dressed_and_put_with_its_level(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper, application="shop", environment="production")

    assert outlet.ship(an_event(level_number=30, fields={"user": "bob", "password": "hunter2"}))

    [document] = shipper.documents
    assert [30] == shipper.levels
    assert {"application": "shop", "environment": "production", "user": "bob", "password": "[REDACTED]"} == document[
        "extra"
    ]
    assert (socket.gethostname(), sys.argv[0]) == (document["host"], document["program"])


def test_the_schema_is_chosen_by_name_or_is_the_users_own(shipper: KeepingShipper) -> None:
    Outlet(shipper, schema="ecs").ship(an_event())
    Outlet(shipper, schema=lambda log_event: {"text": log_event.message}).ship(an_event())

    ecs, own = shipper.documents
    assert {"version": "8.11.0"} == ecs["ecs"]
    assert {"text": "hello"} == own


def test_safety_takes_options_or_is_the_users_own(shipper: KeepingShipper) -> None:
    event = an_event(fields={"iban": "DE00", "password": "hunter2"})

    Outlet(shipper, safety={"redact": ["iban"]}).ship(event)
    Outlet(shipper, safety=lambda log_event: log_event).ship(event)

    careful, careless = shipper.documents
    assert {"iban": "[REDACTED]", "password": "[REDACTED]"} == careful["extra"]
    assert {"iban": "DE00", "password": "hunter2"} == careless["extra"]


def test_a_record_is_mapped_inside_the_border(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)

    assert outlet.ship_record(lambda message, user: an_event(message, fields={"user": user}), "bye", "bob")
    assert not outlet.ship_record(lambda: None)

    [document] = shipper.documents
    assert ("bye", {"user": "bob"}) == (document["message"], document["extra"])
    assert {} == outlet.failures


@pytest.mark.parametrize(
    "name", ["beats_core", "beats_core.shipper", "beats_integrations", "beats_integrations.outlet"]
)
def test_what_the_project_itself_logs_is_no_event(shipper: KeepingShipper, name: str) -> None:
    outlet = Outlet(shipper)

    assert not outlet.ship(an_event(logger=name))
    assert [] == shipper.documents


@pytest.mark.parametrize("name", [None, "", "shop", "beats", "shop.beats_core", "beats_integrations.demo.shop"])
def test_other_loggers_are_not_the_projects(name: str | None) -> None:
    assert not is_own(name)


# The border


def test_nothing_that_mapping_raises_reaches_the_program(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)

    def broken() -> LogEvent:
        raise ZeroDivisionError

    with complaints() as told:
        assert not outlet.ship_record(broken)
        assert not outlet.ship_record(broken)

    assert {"ZeroDivisionError": 2} == outlet.failures
    assert ["beats_integrations"] == [record.name for record in told]
    assert told[0].exc_info is not None
    assert outlet.ship(an_event())


def test_nothing_that_a_schema_or_the_shipper_raises_reaches_the_program() -> None:
    def schema(log_event: LogEvent) -> Mapping[str, object]:
        raise KeyError(log_event.message)

    with KeepingShipper(refuses=MemoryError()) as refusing, KeepingShipper() as shipper, complaints() as told:
        outlets = [Outlet(refusing), Outlet(shipper, schema=schema)]
        assert [False, False] == [outlet.ship(an_event()) for outlet in outlets]

    assert [{"MemoryError": 1}, {"KeyError": 1}] == [outlet.failures for outlet in outlets]
    assert 2 == len(told)


@pytest.mark.parametrize("passes", [KeyboardInterrupt, SystemExit])
def test_the_wish_to_end_passes_the_border(shipper: KeepingShipper, passes: type[BaseException]) -> None:
    outlet = Outlet(shipper)

    def interrupted() -> LogEvent:
        raise passes

    with pytest.raises(passes):
        outlet.ship_record(interrupted)

    assert outlet.ship(an_event())


def test_an_event_logged_while_another_is_shipped_is_shipped_too(shipper: KeepingShipper) -> None:
    """A finaliser runs when it likes: as a rule while memory is taken, which is what shipping does."""
    outlet, other = Outlet(shipper), Outlet(shipper)

    class Talkative:
        def __repr__(self) -> str:
            outlet.ship(an_event("from inside"))
            other.ship(an_event("from inside, another adapter"))
            return "talkative"

    assert outlet.ship(an_event(fields={"object": Talkative()}))

    messages = [document["message"] for document in shipper.documents]
    assert ["from inside", "from inside, another adapter", "hello"] == messages
    assert ({}, {}) == (outlet.failures, other.failures)


def test_an_event_that_logs_itself_comes_to_an_end_and_is_counted(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)

    class Endless:
        def __repr__(self) -> str:
            outlet.ship(an_event("from inside", fields={"object": self}))
            return "endless"

    assert outlet.ship(an_event(fields={"object": Endless()}))

    assert ["from inside", "hello"] == [document["message"] for document in shipper.documents]
    assert {"re-entrant": 1} == outlet.failures


@pytest.mark.parametrize(("option", "told"), [("host", "did you mean hosts?"), ("wrong", "there are hosts, enabled")])
def test_an_option_that_does_not_exist_is_named(option: str, told: str) -> None:
    options: dict[str, Any] = {option: "x"}

    with pytest.raises(OptionError, match=rf"{option}='x': there is no such option; {re.escape(told)}"):
        Outlet(**options)


def test_an_address_in_the_shippers_place_is_explained() -> None:
    with pytest.raises(OptionError, match="a Shipper; receivers are given as hosts="):
        Outlet("localhost:5044")  # type: ignore[arg-type] # that is the fault


def test_failures_have_a_bounded_number_of_reasons(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)
    with complaints():
        for number in range(200):
            shipper.refuses = type(f"Error{number}", (Exception,), {})()
            assert not outlet.ship(an_event())

    assert 200 == sum(outlet.failures.values())
    assert 136 == outlet.failures["other"]


def test_a_complaint_cannot_come_back_as_an_event(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)
    seen: list[bool] = []

    class LosesTheName(logging.Handler):  # as a bridge to loguru may
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(outlet.ship(an_event(record.getMessage())))

    handler = LosesTheName()
    logging.getLogger("beats_integrations").addHandler(handler)
    try:
        with complaints():
            outlet.ship_record(lambda: 1 / 0)  # type: ignore[arg-type,return-value] # that is the fault
    finally:
        logging.getLogger("beats_integrations").removeHandler(handler)

    assert [False] == seen
    assert [] == shipper.documents


def test_a_complaint_waits_for_nothing_the_caller_holds(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)
    lock = threading.Lock()
    done = threading.Event()

    class NeedsTheLock(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            with lock:
                done.set()

    handler = NeedsTheLock()
    logging.getLogger("beats_integrations").addHandler(handler)
    try:
        with lock:
            assert not outlet.ship_record(lambda: 1 / 0)  # type: ignore[arg-type,return-value] # that is the fault
        assert done.wait(10)
    finally:
        logging.getLogger("beats_integrations").removeHandler(handler)


def test_where_no_thread_can_be_started_a_failure_is_only_counted(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)
    size = threading.stack_size(1 << 46)  # more than there is: as at the end of an interpreter, no thread starts
    try:
        assert not outlet.ship_record(lambda: 1 / 0)  # type: ignore[arg-type,return-value] # that is the fault
    finally:
        threading.stack_size(size)

    assert {"ZeroDivisionError": 1} == outlet.failures


def test_each_thread_ships_for_itself(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)

    def ship() -> None:
        for number in range(200):
            outlet.ship(an_event(fields={"number": number}))

    threads = [threading.Thread(target=ship) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert 1_600 == len(shipper.documents)
    assert {} == outlet.failures


# Options


def test_outlets_with_equal_options_share_one_shipper_and_the_last_closes_it() -> None:
    first, second = (Outlet(hosts=["localhost:1"], index="outlet") for _ in range(2))
    other = Outlet(hosts=["localhost:1"], index="another")

    assert first.shipper is second.shipper is not other.shipper
    first.close()
    first.close()
    closed_early = second.shipper.closed
    second.close()
    assert (False, True) == (closed_early, second.shipper.closed)
    other.close()

    again = Outlet(hosts=["localhost:1"], index="outlet")
    assert again.shipper is not first.shipper
    again.close()


def test_what_is_not_given_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEATS_HOSTS", "ls1:5044,ls2:5044")
    monkeypatch.setenv("BEATS_INDEX", "from-environment")

    bare = Outlet(application="shop")
    given = Outlet(index="given", bulk_max_size=7)

    assert Options(hosts=["ls1:5044", "ls2:5044"], index="from-environment") == bare.shipper.options
    assert Options(hosts=["ls1:5044", "ls2:5044"], index="given", bulk_max_size=7) == given.shipper.options
    bare.close()
    given.close()


def test_a_wrong_option_is_the_callers_mistake() -> None:
    with pytest.raises(OptionError, match="pipelining=0"):
        Outlet(pipelining=0)
    slips: list[tuple[str, Any]] = [("schema", "xml"), ("schema", ["ecs"]), ("safety", {"mask": 1}), ("safety", 5)]
    for name, wrong in slips:
        with pytest.raises(ValueError, match=re.escape(f"{name}={wrong!r}: ")):
            Outlet(**{name: wrong})


def test_a_shipper_and_options_for_one_are_the_callers_mistake(shipper: KeepingShipper) -> None:
    with pytest.raises(ValueError, match="hosts, index"):
        Outlet(shipper, index="shop", hosts=["localhost:1"])


def test_an_outlet_is_pickled_as_what_it_was_made_of() -> None:
    outlet = Outlet(schema="ecs", application="shop", hosts=["localhost:1"], index="pickled")

    twin = pickle.loads(pickle.dumps(outlet))  # noqa: S301 - of our own

    assert twin.shipper is outlet.shipper
    assert twin.failures == {}
    outlet.close()
    twin.close()


# The end


def test_a_users_own_shipper_is_flushed_and_stays_open(shipper: KeepingShipper) -> None:
    Outlet(shipper).close()

    assert ["flush(None)"] == shipper.calls
    assert not shipper.closed


def test_after_its_end_an_outlet_refuses_and_counts(shipper: KeepingShipper) -> None:
    outlet = Outlet(shipper)
    outlet.close()

    assert not outlet.ship(an_event())
    assert {"closed": 1} == outlet.failures
    assert [] == shipper.documents


def test_flush_says_whether_all_is_acknowledged(shipper: KeepingShipper) -> None:
    assert Outlet(shipper).flush()
    shipper.acknowledges = False
    assert not Outlet(shipper).flush(timeout=3)

    assert ["flush(None)", "flush(3)"] == shipper.calls


def test_who_waited_in_vain_does_not_wait_again_at_once() -> None:
    """A program that ends flushes and closes each handler, and each of these would wait for `shutdown_timeout`."""
    unreachable = Shipper("localhost:1", shutdown_timeout=3)
    outlets = [Outlet(unreachable), Outlet(unreachable)]
    outlets[0].ship(an_event())

    def end() -> None:
        for outlet in outlets:
            outlet.flush()
            outlet.close()
        unreachable.close()

    ending = threading.Thread(target=end, daemon=True)
    ending.start()
    ending.join(timeout=10)  # five waits would be 15 seconds

    assert not ending.is_alive()
    assert {"shutdown": 1} == unreachable.stats().dropped


def test_a_shipper_that_fails_at_the_end_harms_nobody() -> None:
    class Failing(KeepingShipper):
        def flush(self, timeout: float | None = None, *, durable: bool = False) -> bool:
            raise OSError

    with Failing() as shipper, complaints() as told:
        outlet = Outlet(shipper)
        assert not outlet.flush()
        outlet.close()

    assert {"OSError": 2} == outlet.failures
    assert 1 == len(told)
