"""The page about spools shows what the commands print now, but for names, times and sizes."""

from __future__ import annotations

import re
from pathlib import Path

from beats_core import Receiver
from support.command_line import beats
from support.spool_owners import add_letters, damage, left_by_a_killed, living

PAGE = Path(__file__).parents[2] / "docs/how-to/spool.md"
BLOCK = re.compile(r"<!-- shows: ([\w-]+) -->\n```console\n(.*?)```\n", re.DOTALL)
DIRECTORY = "/var/lib/shop/beats"
VARYING = (
    (r"\S+-\d+-\d{13}-[0-9a-f]{8}", "PART"),
    (r"\b[0-9a-f]{8}\b(?!\.)", "KEY"),
    (r"\S+ \d+ (?=\(\d+ events\))", "OWNER "),
    (r"(?m)^\S+ \d+ +20", "OWNER 20"),
    (r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d", "TIME"),
    (r"\b\d\d:\d\d:\d\d\.\d{3} ", "TIME "),
    (r"\d+\.\d s, [\d,]+ events/s", "SO FAST"),
    (r"[\d.]+ (k?B|s|bytes)\b", "SO MUCH"),
    (r"offset \d+", "SOMEWHERE"),
    (r" +", " "),
)


def without_what_varies(text: str) -> str:
    for pattern, instead in VARYING:
        text = re.sub(pattern, instead, text)
    return text


def test_the_page_shows_what_the_commands_print(tmp_path: Path) -> None:
    blocks = dict(BLOCK.findall(PAGE.read_text("utf-8")))
    spool = tmp_path / "beats"

    def check(name: str, host: str = "", part: Path | None = None) -> None:
        shown = blocks.pop(name)
        command = shown.splitlines()[0].removeprefix("$ beats ")
        arguments = command.replace(DIRECTORY, str(spool)).replace("ls1:5044", host)
        code, output, messages = beats(
            *(arguments if part is None else arguments.replace("44ff08d0", part.name[-8:])).split()
        )
        now = f"$ beats {command}\n{messages}{output}".replace(str(spool), DIRECTORY)
        if "$ echo" in shown:
            now += f"$ echo $?\n{code}\n"
        assert without_what_varies(shown) == without_what_varies(now)

    with living(spool, *range(3), durability="journal"):
        part = left_by_a_killed(spool, *range(3, 8), durability="journal")
        check("ls")
        check("show", part=part)
        with Receiver() as receiver:
            check("replay", receiver.host)
            add_letters(spool, '{"message":"too much"}')
            check("dead")
            check("replay-dead", receiver.host)
    for path in sorted(spool.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    part = left_by_a_killed(spool, *range(5), durability="journal")
    damage(part)
    check("verify")
    check("purge", part=part)

    assert {} == blocks
