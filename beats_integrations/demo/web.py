"""A small web application, without the web, that logs through structlog."""

from __future__ import annotations

import structlog

from beats_integrations.demo.program import Program
from beats_integrations.structlog import BeatsProcessor

SOURCE = "structlog"
PAGES = ("/", "/tea", "/tea/green", "/cart", "/checkout")


def run(program: Program) -> None:
    """Serve invented requests."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            BeatsProcessor(program.shipper, application="shop"),
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ]
    )
    log = structlog.get_logger().bind(logger="shop.web")

    for number in program.rounds(pause=0.25):
        with structlog.contextvars.bound_contextvars(request_id=f"r-{number:04}", client=f"10.0.0.{number % 7}"):
            page = PAGES[number % len(PAGES)]
            log.info("request", page=page, event_id=program.new_id())
            try:
                status = serve(number)
            except ValueError:
                log.exception("request failed", page=page, event_id=program.new_id())
                continue
            report = log.info if status == 200 else log.warning
            report("response", status=status, milliseconds=3 + number % 20, event_id=program.new_id())


def serve(number: int) -> int:
    """Return a status, or raise."""
    if number % 25 == 9:
        raise ValueError(f"cart {number} has no owner")
    return 404 if number % 10 == 6 else 200
