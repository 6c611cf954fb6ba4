"""A batch program that writes invoices, and logs through the standard library's logging."""

from __future__ import annotations

import logging

from beats_integrations.demo.program import Program
from beats_integrations.logging import BeatsHandler

SOURCE = "logging"


def run(program: Program) -> None:
    """Write invented invoices."""
    logging.getLogger().addHandler(BeatsHandler(program.shipper, application="shop"))
    logging.getLogger().setLevel("INFO")
    log = logging.getLogger("shop.invoices")

    for number in program.rounds(pause=0.2):
        fields = {"customer": f"c-{number % 9}", "event_id": program.new_id()}
        try:
            log.info("invoice %d: %.2f EUR", 4700 + number, 990 / ((number + 1) % 30), extra=fields)
        except ZeroDivisionError:
            log.exception("invoice %d has no positions", 4700 + number, extra=fields)
