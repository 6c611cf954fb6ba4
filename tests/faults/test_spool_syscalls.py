"""A short life of a spool under strace, which kills it, or lets it fail, at each call that changes the disk.

With BEATS_TESTS_REQUIRE=all, as in CI, at every third of them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from faults.spool_life import BEGIN
from support.requirements import everything_required, require
from support.spools import adopted, events, make, read_all, settle_all

CALLS = (
    "write",
    "pwrite64",
    "openat",
    "unlink",
    "rename",
    "fdatasync",
    "fsync",
    "fallocate",
    "mkdir",
    "rmdir",
    "flock",
)
REPOSITORY = Path(__file__).parents[2]
LEFT = 4  # events of the part that is there when the life begins; the first of them is settled

Injection = tuple[str, int, str]


def leave_a_part(directory: Path) -> None:
    spool = make(directory, segment_bytes=50)
    spool.append(events(0, 1), read=True)
    spool.append(events(2, 3))
    spool.settle([(1, 2)])
    spool.close()


def live(directory: Path, how: str, *options: str) -> tuple[int, list[list[str]]]:
    """Run a life under strace with these options; return how it ended, and what it told."""
    code = f"import sys; sys.path[:0] = {_paths()}; from faults.spool_life import main; main(*sys.argv[1:])"
    done = subprocess.run(
        [require("strace"), "-f", "-qq", *options, sys.executable, "-ISc", code, str(directory), how],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PYTHONDONTWRITEBYTECODE": "1"},
    )
    if done.returncode and "-e" not in options:
        pytest.fail(done.stderr)
    return done.returncode, [line.split() for line in done.stdout.splitlines()]


def _paths() -> list[str]:
    return [str(REPOSITORY), str(REPOSITORY / "tests"), *(path for path in sys.path if "site-packages" in path)]


@cache
def calls_of_a_life(how: str, scratch: Path) -> dict[str, range]:
    """Return which calls of each kind a life makes, counted from the start of its interpreter."""
    leave_a_part(scratch / "spool")
    trace = scratch / "trace"
    live(scratch / "spool", how)  # so that what is compiled is compiled
    shutil.rmtree(scratch / "spool")
    leave_a_part(scratch / "spool")
    traced = ",".join([*CALLS, "access", "faccessat", "faccessat2"])
    status, told = live(scratch / "spool", how, "-o", str(trace), "-e", f"trace={traced}")
    assert (0, ["kept", "20"]) == (status, told[-1])
    before: Counter[str] = Counter()
    seen: Counter[str] = Counter()
    for line in trace.read_text("utf-8").splitlines():
        found = re.match(r"\d+\s+(\w+)\(", line)
        if BEGIN in line:
            before = seen.copy()
        elif found:
            seen[found[1]] += 1
    assert seen["write"] > 20
    return {name: range(before[name] + 1, seen[name] + 1) for name in CALLS}


def check(directory: Path, told: list[list[str]], *, killed: bool) -> list[str]:
    """Return what is wrong with what is left, given what was told."""
    promised = {str(number) for number in range(1, LEFT)}
    perhaps: set[str] = set()
    over: set[str] = set()
    for what, *numbers in told:
        if what == "kept":
            promised.update(numbers)
        elif what == "settling" or (what == "keeping" and killed):
            perhaps.update(numbers)
        elif what == "settled":
            over.update(numbers)
    for what, *numbers in told[-1:]:
        if what == "settling":
            promised.difference_update(numbers)
    spool = adopted(directory)
    found = [event[5:-1].decode() for event in read_all(spool)]
    wrong = []
    if missing := promised - over - set(found):
        wrong.append(f"lost {sorted(missing)}")
    if invented := set(found) - promised - perhaps:
        wrong.append(f"invented {sorted(invented)}")
    if killed and (again := over & set(found)):
        wrong.append(f"settled, and there again {sorted(again)}")
    if len(found) != len(set(found)):
        wrong.append(f"twice {found}")
    if killed and found != sorted(found, key=int):
        wrong.append(f"out of line {found}")
    if spool.damaged or spool.lost:
        wrong.append(f"damaged {spool.damaged}, lost {spool.lost}")
    settle_all(spool)
    spool.close()
    left = [name for name in os.listdir(directory) if not name.startswith(".new-")]
    return [*wrong, *(f"left behind {name}" for name in left)]


def all_wrong(tmp_path: Path, how: str, injections: list[Injection], *, killed: bool) -> list[str]:
    """Live once for each injection, two at a time, and return what went wrong."""
    if everything_required():
        injections = injections[::3]
    numbers = count()

    def one(injection: Injection) -> list[str]:
        name, at, what = injection
        directory = tmp_path / f"{next(numbers)}" / "spool"
        directory.parent.mkdir()
        leave_a_part(directory)
        status, told = live(directory, how, "-e", f"trace={name}", "-e", f"inject={name}:{what}:when={at}")
        wrong = check(directory, told, killed=killed)
        if bool(status) != killed:
            wrong.append(f"ended with {status}")
        return [f"{name} {at} {what}: {text} {told}" for text in wrong]

    with ThreadPoolExecutor(2) as pool:
        return [text for found in pool.map(one, injections) for text in found]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["once", "journal"])
def test_killed_at_any_call_it_loses_and_invents_nothing(tmp_path: Path, scratch: Path, how: str) -> None:
    calls = calls_of_a_life(how, scratch)
    injections = [(name, at, "signal=SIGKILL") for name in CALLS for at in calls[name]]
    assert len(injections) > 70

    assert [] == all_wrong(tmp_path, how, injections, killed=True)


ERRORS = [
    ("write", "ENOSPC"),
    ("write", "EIO"),
    ("write", "EINTR"),
    ("write", "EDQUOT"),
    ("fdatasync", "EIO"),
    ("openat", "EMFILE"),
    ("unlink", "EIO"),
    ("rename", "EIO"),
    ("fallocate", "ENOSPC"),
    ("fallocate", "EOPNOTSUPP"),
    ("pwrite64", "ENOSPC"),
    ("mkdir", "ENOSPC"),
    ("flock", "ENOLCK"),
]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", ["once", "journal"])
def test_whatever_fails_nothing_is_lost_or_invented_and_nothing_is_raised_but_a_refusal(
    tmp_path: Path, scratch: Path, how: str
) -> None:
    calls = calls_of_a_life(how, scratch)
    injections = [(name, at, f"error={error}") for name, error in ERRORS for at in calls[name]]

    assert [] == all_wrong(tmp_path, how, injections, killed=False)
