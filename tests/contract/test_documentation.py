"""The documentation's examples run, and its tables agree with the code.

All ```python blocks of a page are one program, run as a reader would run it: a process of its own, with a Receiver
where the page says `localhost:5044`, and in `BEATS_HOSTS`. Two comments that no reader sees steer it:

    <!-- arrives: order placed -->   the Receiver must have got an event with this text before the program ended
    <!-- not run: needs Django -->   the next block is only compiled; says why
"""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from beats_core import Options, Receiver
from beats_core.cli import commands

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?(?P<fence>`{3,})python\n(?P<code>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
ARRIVES = re.compile(r"<!-- arrives: (.+?) -->")
ADDRESS = re.compile(r"[a-z][a-z0-9.-]*:5044")


def program_of(page: str) -> str:
    """The page's blocks on the lines they stand on, so that a traceback names the page's own line."""
    lines = [""] * (page.count("\n") + 1)
    for block in BLOCK.finditer(page):
        first = page.count("\n", 0, block.start("code"))
        code = block["code"].splitlines()
        compile("\n" * first + block["code"], "the page", "exec")
        if not block["reason"]:
            lines[first : first + len(code)] = code
    return "\n".join(lines).rstrip()


def pages() -> list[Path]:
    files = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").rglob("*.md"))]
    return [path for path in files if program_of(path.read_text("utf-8"))]


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_the_examples_of_the_page_run_and_their_events_arrive(page: Path, tmp_path: Path) -> None:
    text = page.read_text("utf-8")
    with Receiver() as receiver:
        program = tmp_path / f"page_{page.stem}.py"  # not loguru.py, which would stand before loguru
        program.write_text(ADDRESS.sub(receiver.host, program_of(text)), "utf-8")
        ended = subprocess.run(
            [sys.executable, str(program)],
            check=False,
            capture_output=True,
            cwd=tmp_path,
            env={**os.environ, "BEATS_HOSTS": receiver.host},
            text=True,
            timeout=60,
        )
        arrived = [json.dumps(event, ensure_ascii=False) for event in receiver.events]

    assert 0 == ended.returncode, ended.stderr
    assert [] == [text for text in ARRIVES.findall(text) if not any(text in event for event in arrived)], ended.stderr


def test_blocks_stay_on_their_lines_and_are_skipped_only_with_a_reason() -> None:
    skipped = "<!-- not run: why -->\n```python\ntwo = 2\n```"
    page = f"# Title\n\n```python\none = 1\n```\n\n{skipped}\n````python\nthree = 3\n````\n"

    assert "\n\n\none = 1\n\n\n\n\n\n\n\nthree = 3" == program_of(page)


def test_a_block_that_is_not_run_must_still_be_python() -> None:
    with pytest.raises(SyntaxError):
        program_of("<!-- not run: why -->\n```python\nimport\n```\n")


def test_the_table_of_options_has_every_option_and_its_default() -> None:
    table = (REPOSITORY / "docs/reference/options.md").read_text("utf-8")
    documented = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", table, re.MULTILINE))

    assert {field.name: field.default for field in dataclasses.fields(Options)} == {
        name: ast.literal_eval(default) for name, default in documented.items()
    }


@pytest.mark.parametrize("command", ["send", "listen"])
def test_the_page_of_commands_shows_what_they_say_of_themselves(command: str) -> None:
    said = CliRunner().invoke(commands.beats, [command, "--help"], prog_name="beats", terminal_width=78).output

    assert f"```text\n{said.rstrip()}\n```" in (REPOSITORY / "docs/reference/commands.md").read_text("utf-8")
