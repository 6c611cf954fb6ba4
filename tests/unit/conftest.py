from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from beats_core import option_sources


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the room of the options' sources warns of, as if nothing had been told before."""
    texts: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            texts.append(record.getMessage())

    monkeypatch.setattr(option_sources, "warned", set())
    listener = Listener()
    logger = logging.getLogger("beats_core.options")
    logger.addHandler(listener)
    yield texts
    logger.removeHandler(listener)
