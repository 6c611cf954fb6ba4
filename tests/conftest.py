"""What holds for every test: no thread left behind, nothing skipped in CI, a count of tests by kind; and fixtures."""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

import hypothesis
import pytest

from support.authority import Authority
from support.clients import DRIVERS, MakeDriver
from support.requirements import everything_required

# What the developer's own shell says of receivers is not for the clients of the tests, nor for the programs they start.
OF_THE_TESTS = ("BEATS_TESTS_", "BEATS_FAULTS")
for variable in [name for name in os.environ if name.startswith("BEATS_") and not name.startswith(OF_THE_TESTS)]:
    del os.environ[variable]

# `dev` looks somewhere else in every run; `ci` always looks in the same places, so that a red run is the change's.
# Neither has a deadline: how long an example takes on a busy machine is nobody's promise.
hypothesis.settings.register_profile("dev", max_examples=100, deadline=None)
hypothesis.settings.register_profile("ci", max_examples=300, deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if everything_required() else "dev"))

GRACE = 5.0  # seconds for threads that were told to end and are about to


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> MakeDriver:
    """Both clients, one after the other."""
    return DRIVERS[request.param]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The authority that the other side trusts."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that nobody trusts."""
    return Authority(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(autouse=True)
def no_thread_left_behind() -> Iterator[None]:
    """Fail a test that leaves a thread which would keep the interpreter from ending.

    What a thread or a finaliser raises is made a warning by pytest, and an error of the test by `filterwarnings`;
    waiting here first puts it on the account of the test that started the thread.
    """
    before = set(threading.enumerate())
    yield
    started = [thread for thread in threading.enumerate() if thread not in before and not thread.daemon]
    for thread in started:
        thread.join(GRACE)
    left = [thread.name for thread in started if thread.is_alive()]
    assert [] == left, f"threads still running after the test: {left}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many tests of each kind ran."""
    stats = terminalreporter.stats
    ran = [report for outcome in ("passed", "failed", "xfailed", "xpassed") for report in stats.get(outcome, [])]
    kinds = Counter(_kind(report.nodeid) for report in ran)
    counts = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
    skipped = len(stats.get("skipped", []))
    terminalreporter.write_line(f"Tests by kind: {counts or 'none'}; skipped {skipped}")
    if skipped and everything_required():
        terminalreporter.write_line("Failed: BEATS_TESTS_REQUIRE=all lets no test be skipped.", red=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turn a skipped test into a failed run where everything is required."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if everything_required() and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _kind(nodeid: str) -> str:
    """The folder below tests/ that a test stands in."""
    parts = PurePosixPath(nodeid.partition("::")[0]).parts
    return parts[1] if len(parts) > 2 else "other"
