"""The adapter for structlog: a processor.

    structlog.configure(processors=[..., BeatsProcessor(hosts=["logstash:5044"]), structlog.dev.ConsoleRenderer()])

It belongs behind the processors that add to an event (contextvars, level, time stamp) and before the renderer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from beats_integrations.event_dict import from_event_dict
from beats_integrations.outlet import Outlet

try:
    from structlog import DropEvent
    from structlog.typing import EventDict, WrappedLogger
except ImportError as error:
    raise ImportError("structlog is not installed: pip install 'beats-integrations[structlog]'") from error

if TYPE_CHECKING:
    from beats_core import Shipper


class BeatsProcessor:
    """Ships each event and passes it on untouched. Any thread; never raises, and waits for nothing.

    What later processors do to the event does not matter: it is encoded before they see it.

    Args:
        shipper: The shipper to use; without one it is made of `options`, and of `BEATS_*` for the rest.
        terminal: Let nothing through: the event is shipped and dropped (`DropEvent`). Only in
            `structlog.configure`: inside a ProcessorFormatter, which cannot drop, events are passed on.
        **options: `schema`, `application`, `environment` and `safety` as for `Outlet`, and `beats_core.Options`.

    Raises:
        OptionError: An option has a value it cannot have.
        ValueError: Both a shipper and options for one; or there is no such schema.
    """

    def __init__(self, shipper: Shipper | None = None, *, terminal: bool = False, **options: Any) -> None:
        self.outlet = Outlet(shipper, **options)
        self.terminal = terminal

    def __call__(self, logger: WrappedLogger, method_name: str, event_dict: EventDict) -> EventDict:
        """Ship the event.

        Raises:
            DropEvent: With `terminal`.
        """
        self.outlet.ship_record(from_event_dict, logger, method_name, event_dict)
        if self.terminal and not (isinstance(event_dict, dict) and "_record" in event_dict):
            raise DropEvent
        return event_dict

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until what was logged so far is acknowledged, at most `timeout` seconds (`shutdown_timeout`)."""
        return self.outlet.flush(timeout)

    def close(self) -> None:
        """Deliver what was logged so far, for `shutdown_timeout` at most, and take no more.

        structlog never calls it. The end of the program does the same for every shipper.
        """
        self.outlet.close()
