"""A program that sends tasks to the worker, and says what each of them is to cause."""

from __future__ import annotations

from itertools import cycle

from beats_integrations.demo import shop_tasks
from beats_integrations.demo.program import Program
from beats_integrations.demo.tally import task_life

SOURCE = shop_tasks.SOURCE


def run(program: Program) -> None:
    """Send the tasks, spread over the time."""
    program.shipper = shop_tasks.shipper
    kinds = cycle(["succeeds", "retries", "succeeds", "fails"])
    for number in program.rounds(pause=program.seconds / program.tasks):
        kind = next(kinds)
        task = shop_tasks.KINDS[kind].delay(4700 + number)
        program.logged += task_life(task.id, kind)
