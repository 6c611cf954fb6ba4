"""What a sender's connection tells the ledger when it is lost."""

from __future__ import annotations

import pytest

from beats_core import Client, Options
from beats_core.backlog import REFUSALS
from beats_core.line import Line, Target
from support.ledger import new_backlog, payloads, refuse, take


def new_line() -> Line:
    """One that was never connected: the ledger does not ask."""
    options = Options()
    return Line(Target(options.addresses[0], options), Client(options=options), 0.0, None)


@pytest.mark.parametrize(("accepts", "dead"), [(True, 1), (False, 0)])
def test_only_a_line_that_accepted_something_holds_a_refusal_against_an_event(*, accepts: bool, dead: int) -> None:
    backlog = new_backlog("suspect", *range(10), bulk_max_size=1)
    refuse(backlog, REFUSALS)
    for _ in range(REFUSALS):
        line = new_line()
        other = line.take(backlog, 0.0) if accepts else take(backlog)
        assert other is not None
        if accepts:
            line.settle(backlog, [(other, 1)])
        else:
            backlog.ack(other, 1)  # on another line
        suspect = line.take(backlog, 0.0)
        assert suspect is not None
        assert payloads("suspect") == suspect.payloads
        line.give_back(backlog, refused=True)

    assert dead == backlog.dead


def test_only_the_oldest_window_of_a_line_is_what_the_peer_refused() -> None:
    backlog = new_backlog("oldest", "next", bulk_max_size=1)
    for _ in range(REFUSALS):
        line = new_line()
        while line.take(backlog, 0.0) is not None:
            pass
        line.give_back(backlog, refused=True)

    assert payloads("next") == take(backlog).payloads  # the oldest is set aside, and the next is on no trial
    assert backlog.dead == 0
