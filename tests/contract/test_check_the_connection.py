"""The page of `beats test` shows what the command prints now, for set-ups that are made here.

Rewrite its blocks with what is printed:  BEATS_TESTS_REWRITE=1 pytest tests/contract/test_check_the_connection.py
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from support.command_line import CLEAN, beats
from support.setups import SETUPS, Run

PAGE = Path(__file__).parents[2] / "docs/how-to/check-the-connection.md"
BLOCK = re.compile(r"<!-- set-up: (\w+) -->\n```console\n(.*?)```\n", re.DOTALL)
# Of a message that is another where there is no resolver, of times, and of days that pass.
VARYING = (
    (r"name or service not known|temporary failure in name resolution|no address associated with hostname", "unknown"),
    (r"\(\d+(\.\d)? ms\)", "(1 ms)"),
    (r"in (89|90) days", "in 90 days"),
)


def printed(run: Run, folder: Path) -> str:
    """What a reader sees on the terminal, with the port that the page has."""
    code, output, messages = beats("test", *run.arguments.split(), env={**CLEAN, **run.environ}, cwd=folder)
    command = " ".join([*(f"{name}='{value}'" for name, value in run.environ.items()), "beats test", run.arguments])
    shown = f"$ {command}\n{output}{messages}$ echo $?\n{code}\n"
    return re.sub(r" +$", "", shown.replace(str(run.port), "5044") if run.port else shown, flags=re.MULTILINE)


def without_what_varies(text: str) -> str:
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text


@pytest.mark.parametrize("name", SETUPS)
def test_the_page_shows_what_the_command_prints(name: str, tmp_path: Path) -> None:
    with SETUPS[name](tmp_path) as run:
        now = printed(run, tmp_path)
    page = PAGE.read_text("utf-8")
    shown = dict(BLOCK.findall(page)).get(name, "")

    if os.environ.get("BEATS_TESTS_REWRITE") and without_what_varies(shown) != without_what_varies(now):
        block = f"<!-- set-up: {name} -->\n```console\n"
        PAGE.write_text(page.replace(f"{block}{shown}```\n", f"{block}{now}```\n"), "utf-8")
    else:
        assert without_what_varies(now) == without_what_varies(shown)


def test_the_page_shows_every_set_up() -> None:
    assert list(SETUPS) == [name for name, _ in BLOCK.findall(PAGE.read_text("utf-8"))]
