from __future__ import annotations

from datetime import UTC, datetime

import pytest

from beats_integrations.log_event import ErrorInfo, LogEvent, TaskInfo

NOW = datetime(2026, 1, 17, 8, 0, tzinfo=UTC)


def test_time_level_and_message_are_all_an_event_needs() -> None:
    log_event = LogEvent(time=NOW, level="INFO", message="hello")

    assert 20 == log_event.level_number
    assert {} == log_event.fields
    assert () == log_event.tags
    assert (None, None, None, None) == (log_event.error, log_event.task, log_event.trace_id, log_event.id)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (LogEvent(time=NOW, level="INFO", message="hello"), "message"),
        (ErrorInfo("ValueError", "nope"), "message"),
        (TaskInfo(id="1"), "id"),
    ],
)
def test_what_was_logged_cannot_be_changed_afterwards(value: object, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(value, name, "else")
