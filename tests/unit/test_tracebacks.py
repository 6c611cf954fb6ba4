from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from billiard.einfo import ExceptionInfo
from structlog.tracebacks import ExceptionDictTransformer

from beats_integrations.log_event import ErrorInfo
from beats_integrations.tracebacks import error_from_stacks, error_from_text, error_info


class RefusedError(Exception):
    """An error of an application's own."""


REFUSED = f"{__name__}.RefusedError"


def raised(make: Callable[[], object]) -> BaseException:
    try:
        make()
    except BaseException as error:  # noqa: BLE001 - to be looked at
        return error
    raise AssertionError("nothing was raised")


def refuse() -> None:
    password = "hunter2"
    if password:
        raise RefusedError("no funds")


def refuse_because() -> None:
    try:
        "customer 7".index("x")
    except ValueError as error:
        raise RefusedError("no funds") from error


def refuse_while() -> None:
    try:
        "customer 7".index("x")
    except ValueError:
        raise RefusedError("no funds")  # noqa: B904 - the implicit context is what is wanted


def refuse_together() -> None:
    raise BaseExceptionGroup("both", [raised(refuse), ValueError("nope")])


def refuse_with_note() -> None:
    error = RefusedError("no funds\nfor two lines")
    error.add_note("customer 7")
    raise error


def refuse_syntax() -> None:
    compile("a b", "shop.py", "exec")


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error)).rstrip("\n")


# Raw exceptions


def test_an_exception_is_told_with_its_whole_traceback() -> None:
    error = raised(refuse_because)

    assert ErrorInfo(REFUSED, "no funds", told(error)) == error_info(error)
    assert "direct cause" in told(error)


@pytest.mark.parametrize("exc_info", [True, 1, "yes"])
def test_something_true_means_the_exception_being_handled(exc_info: object) -> None:
    found = None
    try:
        refuse()
    except RefusedError as error:
        found, expected = error_info(exc_info), error_info(error)

    assert found is not None
    assert expected == found


@pytest.mark.parametrize("exc_info", [None, False, 0, (), "", (None, None, None), True, (1, 2), (None, "text", None)])
def test_where_no_exception_is_there_is_no_error(exc_info: object) -> None:
    assert error_info(exc_info) is None


def test_a_tuple_names_its_own_traceback() -> None:
    error = raised(refuse)

    assert error_info(error) == error_info((type(error), error, error.__traceback__))
    assert ErrorInfo(REFUSED, "no funds", f"{REFUSED}: no funds") == error_info((type(error), error, None))


def test_a_type_whose_value_was_lost_is_still_told() -> None:
    assert ErrorInfo("ValueError", "", "") == error_info((ValueError, None, None))
    assert ErrorInfo("ValueError", "nope", "") == error_info((ValueError, "nope", None))


def test_billiards_exception_info_has_its_text_already() -> None:
    try:
        refuse()
    except RefusedError:
        info = ExceptionInfo()

    assert ErrorInfo(REFUSED, "no funds", info.traceback.rstrip("\n")) == error_info(info)


def test_no_value_of_a_local_variable_is_told() -> None:
    error = error_info(raised(refuse))

    assert error is not None
    assert 'password = "hunter2"' not in error.stack_trace


def test_an_exception_that_cannot_be_written_is_still_named() -> None:
    class HostileError(Exception):
        def __str__(self) -> str:
            raise ValueError

    error = error_info(HostileError())

    assert error is not None
    assert "<HostileError whose str raised ValueError>" == error.message
    assert error.type.endswith("HostileError")


def test_an_exception_whose_traceback_cannot_be_written_is_still_named() -> None:
    class HostileError(Exception):
        @property
        def __cause__(self) -> BaseException:  # type: ignore[override] # that is the point
            raise ValueError

    assert ErrorInfo(f"{__name__}.{HostileError.__qualname__}", "no", "") == error_info(HostileError("no"))


def test_an_error_of_the_stack_itself_is_told() -> None:
    def endless() -> None:
        endless()

    error = error_info(raised(endless))

    assert error is not None
    assert "RecursionError" == error.type
    assert error.stack_trace.endswith("RecursionError: maximum recursion depth exceeded")


# Text


@pytest.mark.parametrize("make", [refuse, refuse_because, refuse_while, refuse_with_note, refuse_syntax])
def test_a_traceback_in_text_says_the_same_as_the_exception(make: Callable[[], object]) -> None:
    error = raised(make)
    expected = error_info(error)
    assert expected is not None

    found = error_from_text("\n" + told(error) + "\n")

    assert (expected.type, expected.stack_trace) == (found.type, found.stack_trace)
    assert found.message.startswith(str(error).partition(" (")[0])


def test_a_group_in_text_is_told_by_its_own_line() -> None:
    error = error_from_text(told(raised(refuse_together)))

    assert ("ExceptionGroup", "both (2 sub-exceptions)") == (error.type, error.message)


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("KeyboardInterrupt", "KeyboardInterrupt", ""),
        ("ValueError: nope", "ValueError", "nope"),
        ("it did not work: no idea", "", ""),
        ("", "", ""),
    ],
)
def test_text_that_is_no_traceback_is_kept(text: str, kind: str, message: str) -> None:
    assert ErrorInfo(kind, message, text) == error_from_text(text)


# structlog's dictionaries

transform = ExceptionDictTransformer(show_locals=True)


def stacks_of(error: BaseException) -> list[Any]:
    return transform((type(error), error, error.__traceback__))


@pytest.mark.parametrize("make", [refuse, refuse_because, refuse_while, refuse_with_note])
def test_structlogs_dictionaries_are_written_as_a_traceback_without_source(make: Callable[[], object]) -> None:
    error = raised(make)
    without_source = [
        line for line in told(error).splitlines() if not line.startswith("    ") and not line.endswith("^")
    ]

    found = error_from_stacks(stacks_of(error))

    assert found is not None
    assert ("RefusedError", str(error)) == (found.type, found.message)
    assert "\n".join(without_source).replace(f"{__name__}.", "") == found.stack_trace
    assert "hunter2" not in found.stack_trace


def test_the_exceptions_of_a_group_are_told_below_it() -> None:
    found = error_from_stacks(stacks_of(raised(refuse_together)))

    assert found is not None
    assert "ExceptionGroup" == found.type
    assert "  | RefusedError: no funds" in found.stack_trace
    assert "  | ValueError: nope" in found.stack_trace


def test_an_exception_that_says_nothing_is_told_by_its_type() -> None:
    found = error_from_stacks(stacks_of(KeyboardInterrupt()))

    assert ErrorInfo("KeyboardInterrupt", "", "KeyboardInterrupt") == found


@pytest.mark.parametrize("stacks", [[], ["text"], [{"exc_type": "ValueError"}], [1, 2]])
def test_another_list_is_no_exception(stacks: list[Any]) -> None:
    assert error_from_stacks(stacks) is None


def test_no_exception_is_being_handled_in_these_tests() -> None:
    assert (None, None, None) == sys.exc_info()
