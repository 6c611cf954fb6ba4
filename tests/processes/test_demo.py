"""The demo ends with 0 only if every single event arrived and was acknowledged, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from beats_integrations.demo.tally import LIVES, Report, event_id, tally, task_life

DEMO = (sys.executable, "-m", "beats_integrations.demo")
SHORT = ("--seconds", "3", "--tasks", "4")
LIMIT = 90.0  # seconds; it takes twelve on an idle machine


@contextmanager
def demo(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "TMPDIR": str(folder), "NO_COLOR": "1", "COLUMNS": "120"}
    with subprocess.Popen(
        [*DEMO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def processes_with(text: str) -> list[str]:
    """The processes in whose environment a text stands: those of one demo name its folder."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if text in (folder / "environ").read_text(errors="replace"):
                found.append((folder / "cmdline").read_text(errors="replace").replace("\0", " "))
        except OSError:  # it has ended, or is none of ours
            continue
    return found


def test_the_demo_shows_what_arrives_and_ends_with_a_table_of_what_was_lost(tmp_path: Path) -> None:
    with demo(tmp_path, *SHORT) as process:
        output, messages = process.communicate(timeout=LIMIT)

    assert 0 == process.returncode, output[-3000:] + messages
    assert "" == messages
    table = re.findall(
        r"^│ (\w+) +│ +(\d+) │ +(\d+) │ +(\d+) │ +(\d+) │ +([\d.,]+ ms) │ +([\d.,]+ ms) │$", output, re.MULTILINE
    )
    assert ["structlog", "loguru", "logging", "celery"] == [row[0] for row in table]
    # Two tasks that succeed, one that is tried twice, one that fails: five events each, ten for the second kind.
    assert ("25", "25") == table[3][1:3]
    assert all(row[1] == row[2] and row[4] == "0" for row in table)
    for words in ("shop.web request", "in stock", "shop.invoices invoice", "celery.task Task shop.refund["):
        assert words in output
    assert "ValueError: order 4703 was never paid" in output
    total = sum(int(row[1]) for row in table)
    assert f"All {total} events arrived and were acknowledged." in output
    assert [] == list(tmp_path.iterdir())
    assert [] == processes_with(f"TMPDIR={tmp_path}")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demo_leaves_neither_processes_nor_files(tmp_path: Path, number: int, code: int) -> None:
    with demo(tmp_path, *SHORT) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "ready." in line:  # the worker is: now there is most to clean up
                break
        process.send_signal(number)
        _, messages = process.communicate(timeout=LIMIT)

    assert (code, "") == (process.returncode, messages)
    assert [] == list(tmp_path.iterdir())
    assert [] == processes_with(f"TMPDIR={tmp_path}")


def test_a_missing_library_is_named_with_what_to_install() -> None:
    program = (
        "import runpy, sys, importlib.util as util\n"
        "found = util.find_spec\n"
        "util.find_spec = lambda name, *rest: None if name in ('celery', 'rich') else found(name, *rest)\n"
        "runpy.run_module('beats_integrations.demo', run_name='__main__')\n"
    )

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=LIMIT, check=False)

    assert 1 == ended.returncode
    assert "The demo needs more: pip install 'beats-integrations[celery,cli]'\n" == ended.stderr


SAID = Report(source="loguru", logged=["a", "b"], acknowledged=["a", "b"], latencies=[0.1, 0.3], resent=1)


def test_a_source_is_complete_when_every_event_arrived_and_was_acknowledged() -> None:
    (row,) = tally(["loguru"], [SAID], {"a", "b", "another"})

    assert row.complete
    assert (2, 2, 1, ()) == (row.logged, row.acknowledged, row.resent, row.missing)
    assert (0.1, 0.3) == (row.p50, row.p99)


@pytest.mark.parametrize(
    ("reports", "arrived", "missing"),
    [
        ([SAID], {"a"}, ("b",)),  # acknowledged, but it never arrived
        ([Report("loguru", ["a", "b"], ["a"])], {"a", "b"}, ("b",)),  # arrived, but nobody knows
        ([Report("loguru", ["a", "b"])], set(), ("a", "b")),
        ([Report("loguru")], {"a"}, ()),  # logged nothing
        ([Report("structlog", ["a"], ["a"])], {"a"}, ()),  # somebody else's
        ([], {"a", "b"}, ()),  # no report: its process is gone
    ],
)
def test_a_source_is_incomplete_when_a_single_event_is_missing(
    reports: list[Report], arrived: set[str], missing: tuple[str, ...]
) -> None:
    (row,) = tally(["loguru"], reports, arrived)

    assert not row.complete
    assert missing == row.missing


def test_what_one_process_causes_another_may_ship() -> None:
    life = task_life("7", "retries")
    shipped = Report("celery", [], life[1:], [0.2])

    (row,) = tally(["celery"], [Report("celery", life, life[:1], [0.1]), shipped], life)

    assert row.complete
    assert (10, 10) == (row.logged, row.acknowledged)


def test_events_are_recognised_by_their_own_id_or_by_what_happens_to_a_task() -> None:
    assert "web-1" == event_id({"extra": {"event_id": "web-1"}})
    assert "7 task-retried 1" == event_id({"extra": {"task_id": "7", "event_action": "task-retried", "retries": 1}})
    assert "7 log 0" == event_id({"extra": {"task_id": "7", "retries": 0}})
    assert event_id({"message": "worker ready"}) is None
    assert event_id({"extra": {"user": 1}}) is None
    assert {"succeeds", "retries", "fails"} == set(LIVES)
