"""structlog as tests want it: one event through our processor alone, or a logger with a chain."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from typing import Any

import structlog

from beats_integrations.structlog import BeatsProcessor
from support.shipping import Document, Line


def shipped(
    line: Line, processor: BeatsProcessor, *, _method: str = "info", _logger: object = None, **event: Any
) -> Document:
    """Run one event through the processor alone; the dictionary must come back untouched."""
    before = copy.copy(event)
    assert processor(_logger, _method, event) is event
    assert before == event
    return line.documents()[-1]


def logger_of(*processors: Any, output: list[Any] | None = None, wrapper: Any = None) -> Any:
    """Return a logger with these processors, behind which the last result is kept."""

    def keep(_logger: Any, _name: str, event: Any) -> str:
        if output is not None:
            output.append(event)
        return str(event)

    return structlog.wrap_logger(
        structlog.PrintLogger(io.StringIO()),
        processors=[*processors, keep],
        wrapper_class=wrapper or structlog.make_filtering_bound_logger(0),
    )


def a_processor(line: Line) -> Iterator[BeatsProcessor]:
    """A fixture: `processor = pytest.fixture(a_processor)`."""
    processor = BeatsProcessor(line.shipper)
    yield processor
    processor.close()
