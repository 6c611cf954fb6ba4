"""`beats test config`: which options are in force and who says so; and what ends with which code."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from beats_core import Options
from beats_core.cli.settings import Settings
from beats_core.options import OPTIONS
from support.authority import Authority
from support.command_line import CLEAN, LIMIT, beats


def settings(*arguments: object, **variables: str) -> dict[str, tuple[object, str]]:
    """Value and origin by name, of those that are not defaults."""
    code, output, messages = beats("test", "config", "--format", "json", *arguments, env={**CLEAN, **variables})
    assert 0 == code, messages
    found = json.loads(output)
    assert (1, 0) == (found["version"], found["code"])
    return {
        name: (said["value"], said["origin"]) for name, said in found["options"].items() if said["origin"] != "default"
    }


def complaint(*arguments: object, **variables: str) -> tuple[int, str]:
    code, output, messages = beats("test", "config", *arguments, env={**CLEAN, **variables})
    assert "" == output
    assert "Traceback" not in messages
    return code, messages


def test_without_anything_everything_is_a_default_and_right() -> None:
    code, output, messages = beats("test", "config", env=CLEAN)

    assert (0, "") == (code, messages)
    *rows, last = output.splitlines()
    assert "Config OK" == last
    assert list(OPTIONS) == [row.split()[0] for row in rows]
    assert {"default"} == {row.split()[-1] for row in rows}
    assert "timeout                   30              default" in rows


def test_each_option_has_the_name_of_who_says_it(tmp_path: Path) -> None:
    file = tmp_path / "options.json"
    file.write_text('{"pipelining": 3, "index": "file", "ttl": "5m"}')

    assert {
        "hosts": (["ls1:5044", "ls2:5044"], "--url"),
        "ssl": (True, "--url"),
        "timeout": (7.0, "command line"),
        "index": ("environment", "BEATS_INDEX"),
        "pipelining": (3, str(file)),
        "ttl": (300.0, str(file)),
        "workers": (2, "BEATS_URL (workers)"),
        "resolve_all": (True, "-E"),
        "enabled": (False, "BEATS_DISABLED"),
    } == settings(
        *("--config", file, "--url", "beats+tls://ls1,ls2", "--timeout", 7, "-E", "resolve_all=true"),
        BEATS_INDEX="environment",
        BEATS_URL="beats://other?workers=2",
        BEATS_DISABLED="true",
    )


def test_the_command_line_comes_first_then_a_url_then_the_environment_then_a_file(tmp_path: Path) -> None:
    file = tmp_path / "options.toml"
    file.write_text("timeout = 4")
    url = "beats://localhost?timeout=2"
    sources = [(("--timeout", "1"), {}), (("--url", url), {}), ((), {"BEATS_TIMEOUT": "3s"}), (("--config", file), {})]

    for value in (1, 2, 3, 4):
        arguments = [argument for given, _ in sources for argument in given]
        variables: dict[str, str] = {}
        for _, said in sources:
            variables |= said
        assert value == settings(*arguments, **variables)["timeout"][0]
        del sources[0]


def test_what_the_command_line_says_about_tls_adds_to_what_the_environment_says(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    client = authority.client()

    found = settings(
        *("--certificate", client["certificate"], "--key", client["key"]),
        BEATS_SSL_CERTIFICATE_AUTHORITIES=authority.path,
    )

    assert {
        "ssl.certificate_authorities": ([authority.path], "BEATS_SSL_CERTIFICATE_AUTHORITIES"),
        "ssl.certificate": (client["certificate"], "command line"),
        "ssl.key": (client["key"], "command line"),
    } == found
    only_ssl = settings("--ssl", BEATS_SSL_CERTIFICATE_AUTHORITIES=authority.path)
    assert {"ssl.certificate_authorities"} == only_ssl.keys()
    assert {"ssl": (False, "command line")} == settings("--no-ssl", BEATS_SSL_CERTIFICATE_AUTHORITIES=authority.path)


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    client = Authority(tmp_path).client(passphrase="correct horse")
    variables = {
        "BEATS_SSL_CERTIFICATE": str(client["certificate"]),
        "BEATS_SSL_KEY": Path(str(client["key"])).read_text(),
        "BEATS_SSL_KEY_PASSPHRASE": "correct horse",
        "BEATS_PROXY_URL": "socks5://me:battery@proxy:1080",
    }

    for output in ("text", "json"):
        code, shown, messages = beats("test", "config", "--format", output, env={**CLEAN, **variables})
        assert (0, "") == (code, messages)
        assert "socks5://me:[REDACTED]@proxy:1080" in shown
        assert str(client["certificate"]) in shown
        assert not {"horse", "battery", "PRIVATE"} & set(shown.replace("@", " ").split())
    code, messages = complaint(**{**variables, "BEATS_SSL_KEY_PASSPHRASE": "staple"})
    assert 78 == code
    assert "staple" not in messages


FILEBEAT: Mapping[str, object] = {
    "filebeat.inputs": [{"type": "filestream"}],
    "output.logstash": {"hosts": ["ls1:5044"], "worker": 2, "backoff": {"init": "2s"}, "ssl": {"enabled": False}},
}


@pytest.mark.parametrize("suffix", ["json", "yml", "yaml", "toml"])
def test_a_file_may_be_json_yaml_or_toml_and_a_configuration_of_filebeats(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"filebeat.{suffix}"
    if suffix == "toml":
        file.write_text(
            '[output.logstash]\nhosts = ["ls1:5044"]\nworker = 2\nbackoff.init = "2s"\nssl.enabled = false\n'
        )
    else:
        file.write_text(json.dumps(FILEBEAT))  # is YAML as well

    found = settings("-c", file)

    assert {"hosts": ["ls1:5044"], "workers": 2, "backoff_init": 2.0, "ssl.enabled": False} == {
        name: value for name, (value, _) in found.items()
    }


def test_a_slip_in_yaml_is_named_by_its_place_and_shows_nothing_of_the_line(tmp_path: Path) -> None:
    path = tmp_path / "options.yml"
    path.write_text('ssl:\n  key_passphrase: "hunter2\n')

    code, _, messages = beats("test", "config", "--config", path, env=CLEAN)

    assert 78 == code
    assert "found unexpected end of stream (line 3, column 1)" in messages
    assert "hunter2" not in messages


def test_yaml_without_its_library_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "options.yml").write_text("timeout: 3")
    program = "import sys; sys.modules['yaml'] = None; from beats_core.cli import main; main()"

    ended = subprocess.run(
        [sys.executable, "-c", program, "test", "config", "--config", str(tmp_path / "options.yml")],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )

    assert 78 == ended.returncode
    assert "needs PyYAML: pip install pyyaml" in ended.stderr


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "{", "cannot be read"),
        ("a.json", "[1]", "holds no options"),
        ("a.toml", "timeout = soon", "cannot be read"),
        ("a.yml", "a: b: c", "cannot be read"),
        ("a.ini", "", "ends in .json, .toml, .yml or .yaml"),
        ("a.json", '{"timeout": "soon"}', "timeout='soon': "),
        ("a.json", '{"tiemout": 3}', "did you mean timeout?"),
        ("a.json", '{"ssl": {"certificate_authorities": "/none.pem"}}', "/none.pem"),
    ],
)
def test_what_is_wrong_with_a_file_ends_with_78(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)

    code, messages = complaint("--config", tmp_path / name)

    assert 78 == code
    assert said in messages


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"BEATS_TIMEOUT": "soon", "BEATS_INDEX": "right"}, ["BEATS_TIMEOUT='soon': "]),
        ({"BEATS_TIMEOUT": "soon", "BEATS_WORKERS": "0"}, ["BEATS_TIMEOUT='soon': ", "BEATS_WORKERS='0': "]),
        ({"BEATS_URL": "http://ls1"}, ["BEATS_URL='http://ls1': "]),
        ({"BEATS_URL": "beats://ls1?tiemout=3"}, ["BEATS_URL", "tiemout", "timeout?"]),
        ({"BEATS_HOSTS": "ls1:port"}, ["BEATS_HOSTS='ls1:port': "]),
        ({"BEATS_SSL_CERTIFICATE_AUTHORITIES": "/none.pem"}, ["BEATS_SSL_CERTIFICATE_AUTHORITIES='/none.pem'"]),
    ],
)
def test_what_is_wrong_in_the_environment_ends_with_78_in_every_command(
    variables: dict[str, str], said: list[str]
) -> None:
    code, messages = complaint(**variables)

    assert 78 == code
    assert [] == [text for text in said if text not in messages]
    assert "ignored" not in messages  # as it is in a program
    assert (78, "", messages) == beats("test", "output", env={**CLEAN, **variables})
    assert (78, "", messages) == beats("send", env={**CLEAN, **variables})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--timeout", "-1"), "timeout=-1.0: "),
        (("-H", "ls1:port"), "hosts='ls1:port': "),
        (("--url", "http://ls1"), "url='http://ls1': "),
        (("-E", "tiemout=3"), "did you mean timeout?"),
        (("-E", "timeout"), "is not name=value"),
        (("--key", __file__), "ssl.key"),
        (("--config", "/none.json"), "does not exist"),
    ],
)
def test_what_is_wrong_on_the_command_line_ends_with_2(arguments: tuple[str, ...], said: str) -> None:
    code, messages = complaint(*arguments, BEATS_INDEX="right")

    assert 2 == code
    assert said in messages


def test_for_programs_what_is_wrong_is_an_object_with_the_code() -> None:
    code, output, _ = beats("test", "config", "--format", "json", env={**CLEAN, "BEATS_TIMEOUT": "soon"})

    found = json.loads(output)
    assert (78, 78, 1) == (code, found["code"], found["version"])
    assert ["BEATS_TIMEOUT='soon'"] == [problem[:20] for problem in found["problems"]]


def test_options_by_filebeats_names_and_units() -> None:
    assert {"bulk_max_bytes": (1_000_000, "-E"), "backoff_init": (0.5, "-E"), "workers": (3, "-E")} == settings(
        *("-E", "bulk_max_bytes=1MB", "-E", "backoff.init=500ms", "-E", "output.logstash.worker=3")
    )


def test_that_verification_is_off_is_said() -> None:
    _, _, messages = beats("test", "config", "--verification-mode", "none", env=CLEAN)

    assert messages.startswith("beats: ssl.verification_mode=none: ")


@pytest.mark.parametrize(
    "variables",
    [
        {"BEATS_URL": "beats+tls://ls1?timeout=3", "BEATS_SSL_VERIFICATION_MODE": "certificate", "BEATS_TTL": "1m"},
        {"BEATS_SSL": "false", "BEATS_SSL_VERIFICATION_MODE": "none"},
        {"BEATS_DISABLED": "true", "BEATS_HOSTS": "ls1,ls2"},
    ],
)
def test_the_options_are_those_a_program_finds_in_this_environment(variables: dict[str, str]) -> None:
    assert Options.load(environ=variables) == Settings({}, environ=variables).options
