"""A job that counts what is in stock, and logs through loguru."""

from __future__ import annotations

from loguru import logger

from beats_integrations.demo.program import Program
from beats_integrations.loguru import add

SOURCE = "loguru"
ARTICLES = ("green tea", "black tea", "mint", "milk", "Käsekuchen")


def run(program: Program) -> None:
    """Count invented articles."""
    add(logger, program.shipper, application="shop")

    for number in program.rounds(pause=0.2):
        article = ARTICLES[number % len(ARTICLES)]
        left = (7 * number) % 23
        shelf = logger.bind(article=article, event_id=program.new_id())
        if left < 3:
            shelf.warning("only {} left of {}", left, article)
        elif number % 20 == 13:
            shelf.opt(exception=KeyError(article)).error("{} is on no shelf", article)
        else:
            shelf.info("{} of {} in stock", left, article)
