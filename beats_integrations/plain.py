"""What one object of a program is as a plain value: the knowledge of types behind `safety`.

Nothing here looks inside containers, caps or redacts. An object's own methods may raise through here.
"""

from __future__ import annotations

import dataclasses
import enum
import numbers
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

_BITS_AS_DIGITS = 10_000  # Python refuses to write more than 4,300 digits


def simpler(value: Any) -> Any:
    """Return what a single value says, one step nearer to text or a number; the same object when it is unknown."""
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, str):
        return readable(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, int):
        return int.__int__(value) if type(value) is not int else _digits(value)
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    # The module `uuid` draws random numbers, so this room does not import it.
    if isinstance(value, Decimal) or type(value).__module__ == "uuid":
        return str(value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, numbers.Real):  # numpy's, fractions
        return int(value) if isinstance(value, numbers.Integral) else float(value)
    if hasattr(type(value), "__structlog__"):  # structlog's convention for an object that knows how to be logged
        return value.__structlog__()
    if hasattr(type(value), "__fspath__"):
        return value.__fspath__()
    return value


def attributes(value: Any) -> dict[str, object] | None:
    """Return what an object shows of itself by name, None when it does not say.

    Dataclasses, attrs, msgspec and pydantic. Their repr would tell a password as well, but not under a key.
    """
    kind = type(value)
    if isinstance(value, type):
        return None  # a class shows nothing; its metaclass may look as if
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind) if field.repr]
    elif hasattr(kind, "__attrs_attrs__"):
        names = [field.name for field in kind.__attrs_attrs__ if field.repr]
    elif hasattr(kind, "__struct_fields__"):
        names = list(kind.__struct_fields__)
    elif hasattr(kind, "__repr_args__"):
        return {str(name): shown for name, shown in value.__repr_args__()}
    else:
        return None
    return {name: getattr(value, name, None) for name in names}


def readable(text: str) -> str:
    """Return exactly a `str` that UTF-8 can carry: a lone surrogate becomes U+FFFD."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return str.__str__(text)


def type_name(value: object) -> str:
    """Return the name of the object's type, whatever its metaclass does."""
    return str(type.__dict__["__name__"].__get__(type(value)))


def _digits(value: int) -> str:
    return str(value) if value.bit_length() <= _BITS_AS_DIGITS else f"<integer of {value.bit_length()} bits>"
