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
import runpy
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner

from beats_core import Options, Receiver
from beats_core.cli import commands
from beats_core.filebeat import FILEBEAT_OPTIONS, FilebeatOption
from beats_core.options import OPTIONS
from beats_core.tls_settings import read_settings

REPOSITORY = Path(__file__).parents[2]
BLOCK = re.compile(
    r"^(?:<!-- not run: (?P<reason>.+) -->\n)?(?P<fence>`{3,})python\n(?P<code>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
ARRIVES = re.compile(r"<!-- arrives: (.+?) -->")
ADDRESS = re.compile(r"[a-z][a-z0-9.-]*:5044")
NAME_AND_PORT = re.compile(r'"localhost", 5044')  # as PyLogBeat takes them


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
        name, _, port = receiver.host.rpartition(":")
        code = ADDRESS.sub(receiver.host, NAME_AND_PORT.sub(f'"{name}", {port}', program_of(text)))
        program.write_text(code, "utf-8")
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


TABLES = runpy.run_path(str(REPOSITORY / "docs/tables.py"))


@pytest.mark.parametrize("page", ["options", "filebeat"])
def test_the_tables_of_the_page_are_those_of_the_code(page: str) -> None:
    text = (REPOSITORY / f"docs/reference/{page}.md").read_text("utf-8")

    assert TABLES["with_tables"](text) == text, "run `make docs`"
    assert TABLES["TABLES"][page]() in text


def test_the_table_of_options_has_every_option_and_its_default() -> None:
    documented = dict(re.findall(r"^\| `(\w+)` \| `(.+?)` \|", TABLES["options_table"](), re.MULTILINE))

    assert {field.name: field.default for field in dataclasses.fields(Options)} == {
        name: ast.literal_eval(default) for name, default in documented.items()
    }


# As Filebeat's documentation and its code have them.
FILEBEAT = {
    "enabled",
    "hosts",
    "worker",
    "loadbalance",
    "ttl",
    "pipelining",
    "compression_level",
    "bulk_max_size",
    "slow_start",
    "timeout",
    "backoff.init",
    "backoff.max",
    "max_retries",
    "proxy_url",
    "proxy_use_local_resolver",
    "escape_html",
    "index",
    "queue.mem.events",
    "queue.mem.flush.min_events",
    "queue.mem.flush.timeout",
    "queue.mem.immediate_shutdown",
    "queue.disk.path",
    "queue.disk.max_size",
    "queue.disk.segment_size",
    "queue.disk.read_ahead",
    "queue.disk.write_ahead",
    "queue.disk.retry_interval",
    "queue.disk.max_retry_interval",
    "ssl.enabled",
    "ssl.verification_mode",
    "ssl.certificate_authorities",
    "ssl.certificate",
    "ssl.key",
    "ssl.key_passphrase",
    "ssl.key_passphrase_path",
    "ssl.supported_protocols",
    "ssl.cipher_suites",
    "ssl.curve_types",
    "ssl.renegotiation",
    "ssl.ca_sha256",
    "ssl.ca_trusted_fingerprint",
    "ssl.certificate_reload.enabled",
    "ssl.certificate_reload.reload_interval",
    "ssl.restart_on_cert_change",
}


def test_the_table_of_filebeat_has_every_option_of_its_logstash_output() -> None:
    assert FILEBEAT == {option.name for option in FILEBEAT_OPTIONS}
    assert len(FILEBEAT) == len(FILEBEAT_OPTIONS)


def test_every_option_that_is_said_to_be_filebeats_is_in_its_table() -> None:
    said = {option.filebeat for option in OPTIONS.values() if option.filebeat and option.filebeat != "ssl"}

    assert set() == said - {option.name for option in FILEBEAT_OPTIONS if not option.missing}


@pytest.mark.parametrize("option", FILEBEAT_OPTIONS, ids=lambda option: option.name)
def test_a_default_is_filebeats_where_the_table_says_so_and_else_it_says_why(option: FilebeatOption) -> None:
    said = TABLES["default_here"](option)

    if said != "same":
        assert option.note
    elif option.default:
        assert effects({}) == effects({option.name: option.default})


def effects(section: dict[str, object]) -> tuple[object, ...]:
    """What a section means, with a section `ssl` that says nothing else."""
    options = Options.from_mapping({"ssl.enabled": True, **section})
    assert isinstance(options.ssl, Mapping)
    settings, tls = read_settings(options.ssl), options.tls
    assert settings
    assert tls
    context = tls.context()
    newest = context.maximum_version in (ssl.TLSVersion.MAXIMUM_SUPPORTED, ssl.TLSVersion.TLSv1_3)
    verifies = (settings.verification_mode, context.verify_mode, context.check_hostname)
    return dataclasses.replace(options, ssl=None), verifies, settings.reload, context.minimum_version, newest


SPOOL_COMMANDS = [f"spool {name}" for name in ("ls", "show", "verify", "replay", "purge")]
COMMANDS = ["send", "listen", "test config", "test output", *SPOOL_COMMANDS]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_page_of_commands_shows_what_they_say_of_themselves(command: str) -> None:
    said = CliRunner().invoke(commands.beats, [*command.split(), "--help"], prog_name="beats", terminal_width=78).output

    assert f"```text\n{said.rstrip()}\n```" in (REPOSITORY / "docs/reference/commands.md").read_text("utf-8")
