"""The go-lumber of the matrix answers as go-lumber does."""

from __future__ import annotations

import pytest

from support.columns import GoLumber
from support.go_lumber import GoReceiver
from support.probes import PROBES, Probe, answer
from support.wire import Sender


@pytest.mark.parametrize("probe", PROBES, ids=str)
def test_go_lumber_answers_as_its_column_says(probe: Probe) -> None:
    expected = probe.answer_of(GoLumber)
    assert expected is not None
    with GoReceiver() as receiver, Sender(receiver.host) as sender:
        sender.send(probe.data)
        answered = answer(sender, expected)

    # Once in two hundred times the ack to the good window is faster than the refusal of the bad one.
    assert answered == expected or (probe.title == "a good window and a bad one" and answered == "more")
