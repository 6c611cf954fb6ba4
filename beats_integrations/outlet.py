"""Where the adapters meet the core: the one place that holds a shipper, and the border no exception crosses.

An adapter is three function calls: its own mapping of a native record onto a `LogEvent`, the schema, `Shipper.put`.
`Outlet.ship_record` runs all three inside one guard:

- A log call made while another one of the same thread is being shipped (an event's `__repr__` logs; a finaliser or a
  signal handler does) is shipped as well, but not a third one inside these: it could go on for ever.
- Whatever is raised is counted by its class, and told once to the logger `beats_integrations`, from a thread of its
  own: the caller may hold loguru's lock or a handler's, and a handler of that logger may want it.
- What this project itself logs is no event: shipping it could fail, and be told again.

No lock is on the way of an event.
"""

from __future__ import annotations

import functools
import logging
import socket
import sys
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any, TypeVarTuple

from beats_core import OptionError, Options, Shipper
from beats_integrations.log_event import LogEvent
from beats_integrations.safety import Safety
from beats_integrations.schemas import Ecs, LogstashV1

Schema = Callable[[LogEvent], Mapping[str, object]]
Record = TypeVarTuple("Record")

SCHEMAS: Mapping[str, Callable[..., Schema]] = {"logstash": LogstashV1, "ecs": Ecs}
RE_ENTRANT = "re-entrant"  # reasons of `Outlet.failures` that are no exception's name
CLOSED = "closed"
OTHER = "other"

_MOST_AT_ONCE = 2  # events of one thread, one inside the other
_MOST_REASONS = 64  # an exception's class may be made up anew each time
_OWN_OPTIONS = ("shipper", "schema", "application", "environment", "safety")
_ALIKE = 0.75  # from which ratio on two names are one, misspelt; no option of the core is so close to these
_OWN_LOGGERS = ("beats_core", "beats_integrations")
_OWN_PROGRAM = "beats_integrations.demo"  # is a user of this package that happens to live in it


class Outlet:
    """Ships `LogEvent`s through a shipper, and never harms the program that logs. Any thread.

    Args:
        shipper: The shipper to use; it is flushed by `close()`, closing it stays its owner's business. Without one,
            `options` make one that is shared by all outlets of this process with equal options.
        schema: "logstash", "ecs", or a callable from `LogEvent` to a mapping.
        application: The application's name in every document.
        environment: Where it runs, in every document.
        safety: What may leave the process: a callable from `LogEvent` to `LogEvent`, or the options of `Safety`.
        options: The options of `beats_core.Options`; those that are not given are left to `BEATS_*` of the environment.

    Raises:
        OptionError: An option has a value it cannot have, or there is no such option.
        ValueError: Both a shipper and options for one; or there is no such schema.
    """

    def __init__(
        self,
        shipper: Shipper | None = None,
        *,
        schema: str | Schema = "logstash",
        application: str | None = None,
        environment: str | None = None,
        safety: Callable[[LogEvent], LogEvent] | Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if shipper is not None and not isinstance(shipper, Shipper):
            raise OptionError("shipper", shipper, 'a Shipper; receivers are given as hosts=["name:port"]')
        if shipper is not None and options:
            raise ValueError(f"a shipper has its options already: {', '.join(sorted(options))}")
        self._arguments = {
            "shipper": shipper,
            "schema": schema,
            "application": application,
            "environment": environment,
            "safety": safety,
            **options,
        }
        for name, value in options.items():
            if close := get_close_matches(name, _OWN_OPTIONS, 1, _ALIKE):
                raise OptionError(name, value, f"there is no such option; did you mean {close[0]}?")
        self._safety = safety if callable(safety) else _safety(safety)
        self._schema = _schema(schema, application, environment)
        self._shared = shipper is None
        self.shipper = shipper or Shipper.shared(Options.load(**options))
        self._put = self.shipper.put
        self._failures: defaultdict[str, int] = defaultdict(int)
        self._closed = False

    def __reduce__(self) -> tuple[Callable[[], Outlet], tuple[()]]:
        """Pickle what it was made of: a spawned process makes its own."""
        return functools.partial(Outlet, **self._arguments), ()

    @property
    def failures(self) -> dict[str, int]:
        """How many events never reached the shipper, by reason: an exception's class, "re-entrant", "closed"."""
        return dict(self._failures)

    def ship(self, log_event: LogEvent) -> bool:
        """Ship one event: capped, redacted, dressed, encoded, handed over. Never raises.

        Returns:
            Whether the shipper accepted it.
        """
        return self.ship_record(_itself, log_event)

    def ship_record(self, to_log_event: Callable[[*Record], LogEvent | None], *record: *Record) -> bool:
        """Ship what `to_log_event` makes of a native record; None is not shipped. Never raises.

        Returns:
            Whether the shipper accepted it.
        """
        if _thread.ships >= _MOST_AT_ONCE:
            self._failures[RE_ENTRANT] += 1
            return False
        _thread.ships += 1
        try:
            log_event = to_log_event(*record)
            if log_event is None or is_own(log_event.logger):
                return False
            if self._closed:
                self._failures[CLOSED] += 1
                return False
            return self._put(self._schema(self._safety(log_event)), log_event.level_number)
        except Exception as error:  # noqa: BLE001 - the border: no log call may fail because of us
            self._failed(error)
            return False
        finally:
            _thread.ships -= 1

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until everything accepted so far is acknowledged, at most `timeout` seconds (`shutdown_timeout`).

        Returns:
            Whether it is.
        """
        return bool(self._deliver(self.shipper.flush, timeout))

    def close(self, timeout: float | None = None) -> None:
        """Take no more events and deliver those accepted, in at most `timeout` seconds (`shutdown_timeout`).

        The last outlet to leave closes a shared shipper, unless something is left to deliver: see `Shipper.release`. A
        second call does nothing.
        """
        if self._closed:
            return
        self._closed = True
        self._deliver(self.shipper.release if self._shared else self.shipper.flush, timeout)

    def _deliver(self, deliver: Callable[[float | None], bool | None], timeout: float | None) -> bool | None:
        try:
            return deliver(timeout)
        except Exception as error:  # noqa: BLE001 - logging.shutdown and loguru's remove() call it
            self._failed(error)
            return False

    def _failed(self, error: Exception) -> None:
        """Count it, and tell the first of each class."""
        reason = type(error).__name__ if len(self._failures) < _MOST_REASONS else OTHER
        self._failures[reason] += 1  # one bytecode on a dict of ints: no lock, which a finaliser might want as well
        if self._failures[reason] == 1:
            _complain("an event could not be shipped; more of this kind are only counted", error)


def is_own(name: str | None) -> bool:
    """Tell whether a logger, or a module, of this name is this project's."""
    return name is not None and name.startswith(_OWN_LOGGERS) and not name.startswith(_OWN_PROGRAM)


class _Thread(threading.local):
    ships = 0  # events of this thread that are being shipped, one inside the other


_thread = _Thread()


def _itself(log_event: LogEvent) -> LogEvent:
    return log_event


def _complain(text: str, error: Exception) -> None:
    def tell() -> None:
        _thread.ships = _MOST_AT_ONCE  # a logger that leads to loguru may lose its name on the way
        # Asked for only now: a logger that is there already, `dictConfig` by default switches off.
        logging.getLogger("beats_integrations").warning("%s: %s", text, error, exc_info=error)

    try:
        threading.Thread(target=tell, name="beats-complaint", daemon=True).start()
    except RuntimeError:  # the interpreter is about to end and starts no threads; the count is all that is left
        return


@functools.cache
def _host() -> str:
    return socket.gethostname()


def _safety(options: Mapping[str, Any] | None) -> Safety:
    try:
        return Safety(**(options or {}))
    except TypeError as error:
        raise OptionError("safety", options, f"a callable, or the options of Safety: {error}") from error


def _schema(schema: str | Schema, application: str | None, environment: str | None) -> Schema:
    if callable(schema):
        return schema
    if schema not in tuple(SCHEMAS):  # which asks for no hash, and a slip may have none
        raise ValueError(f"schema={schema!r}: one of {', '.join(SCHEMAS)}, or a callable")
    program = sys.argv[0] if sys.argv else ""
    return SCHEMAS[schema](host=_host(), program=program, application=application, environment=environment)
