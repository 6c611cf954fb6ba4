"""Celery: the worker's and the tasks' log records, and what happens to each task, by signals.

    app = Celery("shop", broker="redis://localhost")
    install(app, hosts=["logstash:5044"])

Import-time is the right time: nothing connects and no thread starts before the first event, in each process.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

try:
    from celery import signals
except ImportError as error:
    raise ImportError("celery is not installed: pip install 'beats-integrations[celery]'") from error

from beats_integrations.celery.task_events import TaskEvents
from beats_integrations.celery.worker_logs import WorkerLogHandler
from beats_integrations.logging import BeatsHandler

if TYPE_CHECKING:
    from beats_core import Shipper

__all__ = ["Installation", "install"]

_installations: list[Installation] = []


def install(app: Any, shipper: Shipper | None = None, **options: Any) -> Installation:
    """Ship the log records and task events of a Celery app, in its workers, its beat and wherever it sends tasks.

    Log records of a task carry its id, name, root, parent, retries, queue and worker. Each task is told from being
    sent to its end. Arguments, keyword arguments and results of tasks never leave the process.

    The handler is added to the loggers which Celery sets up. Where the program configures logging itself (a
    receiver of `setup_logging`), or sends tasks without being a worker, add an adapter there as in any program.

    Args:
        app: The Celery app. Install next to where it is made, so that every process of it does.
        shipper: Ships the events; without it one is made of the options, and of `BEATS_*` for the rest.
        **options: What `BeatsHandler` takes as well.

    Returns:
        What undoes it. The same again when the app has one already; the arguments are then ignored.
    """
    for installation in _installations:
        if installation.app == app:
            return installation
    installation = Installation(app, shipper, **options)
    _installations.append(installation)
    return installation


class Installation:
    """What `install()` has connected for one app."""

    def __init__(self, app: Any, shipper: Shipper | None = None, **options: Any) -> None:
        self.app = app
        self._handler = WorkerLogHandler(shipper, **options)
        self._outlet = self._handler.outlet  # one for both: the end of a process is waited for once
        self._loggers: list[logging.Logger] = []
        self._connected: list[tuple[Any, Callable[..., None]]] = []
        for signal, to_log_event in TaskEvents(app, self._sends).receivers():
            self._connect(signal, functools.partial(self._ship, to_log_event))
        self._connect(signals.after_setup_logger, self._add_handler)
        # "celery.task" does not propagate: without this, what tasks log would not be seen at the root.
        self._connect(signals.after_setup_task_logger, self._add_handler)
        # Children of the prefork pool end with os._exit(): neither atexit nor logging.shutdown() runs there.
        self._connect(signals.worker_process_shutdown, self._close)
        self._connect(signals.worker_shutdown, self._flush)

    def uninstall(self) -> None:
        """Disconnect from every signal, take the handler away, and deliver what is left."""
        if self in _installations:
            _installations.remove(self)
        for signal, receiver in self._connected:
            signal.disconnect(receiver, dispatch_uid=self)
        self._connected.clear()
        for logger in self._loggers:
            logger.removeHandler(self._handler)
        self._loggers.clear()
        self._handler.close()

    def _connect(self, signal: Any, receiver: Callable[..., None]) -> None:
        # By default a signal holds its receivers weakly: bound methods and partials would be gone at once.
        signal.connect(receiver, weak=False, dispatch_uid=self)
        self._connected.append((signal, receiver))

    def _ship(self, to_log_event: Callable[..., Any], **sent: Any) -> None:
        self._outlet.ship_record(functools.partial(to_log_event, **sent))

    def _add_handler(self, logger: logging.Logger, **_: object) -> None:
        if any(isinstance(handler, BeatsHandler) for handler in logger.handlers):
            return  # the user's own, or this one, as children that do not fork set up logging again
        logger.addHandler(self._handler)
        self._loggers.append(logger)

    def _flush(self, **_: object) -> None:
        """Wait for the acks of what was shipped, for `shutdown_timeout` at most. A program may run another worker."""
        self._outlet.flush()

    def _close(self, **_: object) -> None:
        """Deliver what was shipped, for `shutdown_timeout` at most, and end: nothing follows in this process."""
        self._outlet.close()

    def _sends(self, task_name: str) -> bool:
        """Tell whether to take a published task for this app's: the first one that has it, else the first one."""
        for installation in _installations:
            if installation.app.finalized and task_name in installation.app.tasks:
                return installation is self
        return not _installations or _installations[0] is self
