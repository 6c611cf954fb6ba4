"""What the command line, the environment and a file say about the options, and which of them has the last word."""

from __future__ import annotations

import importlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from beats_core.errors import OptionError
from beats_core.option_sources import Layer, read_environment, read_mapping, read_url
from beats_core.options import OPTIONS, Options
from beats_core.redaction import redacted


class Setting(NamedTuple):
    """One option as it is in force.

    Attributes:
        name: `ssl.key` is a part of `ssl`.
        value: Without secrets.
        origin: Who says so.
    """

    name: str
    value: object
    origin: str


class Misconfigured(Exception):
    """What is wrong with the options.

    Attributes:
        problems: One sentence each.
        usage: It was all said on the command line.
    """

    def __init__(self, problems: Sequence[str], *, usage: bool) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)
        self.usage = usage


@dataclass(frozen=True)
class _Source:
    """One of those that say something.

    Attributes:
        layer: What it says.
        name: Who it is; empty for the environment, where each variable has a name of its own.
        is_command_line: That is where it is mended.
    """

    layer: Layer
    name: str
    is_command_line: bool

    def origin(self, name: str) -> str:
        """Return who says what there is about an option."""
        if self.name:
            return self.name
        # Two variables have another name than the option they are about.
        return self.layer.said.get(name) or ("BEATS_DISABLED" if name == "enabled" else "BEATS_URL")


class Settings:
    """The options of one command.

    Args:
        arguments: What the command line says, by option; `ssl.key` is a part of `ssl`.
        pairs: And what it says as `name=value`.
        url: And as a URL.
        file: JSON, TOML or YAML, in which there may be Filebeat's `output.logstash`.
        environ: None is the process's own.

    Attributes:
        options: What holds.

    Raises:
        Misconfigured: Something is wrong.
    """

    def __init__(
        self,
        arguments: Mapping[str, object],
        *,
        pairs: Sequence[str] = (),
        url: str | None = None,
        file: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> None:
        self._sources: list[_Source] = []  # whose last one has the last word
        if file is not None:
            with _complaining(usage=False):
                self._sources.append(_Source(read_mapping(OPTIONS, _contents(file)), file, is_command_line=False))
        self._sources.append(_Source(_environment(environ), "", is_command_line=False))
        with _complaining(usage=True):
            if url is not None:
                self._sources.append(_Source(read_url(OPTIONS, url), "--url", is_command_line=True))
            if pairs:
                self._sources.append(_Source(read_mapping(OPTIONS, _split(pairs)), "-E", is_command_line=True))
            if arguments:
                layer = read_mapping(OPTIONS, arguments)
                self._sources.append(_Source(layer, "command line", is_command_line=True))
        self.options = self._options()

    def __iter__(self) -> Iterator[Setting]:
        """Iterate over all options, those of `ssl` one by one."""
        for name in OPTIONS:
            value = getattr(self.options, name)
            if name == "ssl" and isinstance(value, Mapping) and value:
                yield from (self._setting(f"ssl.{part}", value[part]) for part in value)
            else:
                yield self._setting(name, value)

    def _setting(self, name: str, value: object) -> Setting:
        option, _, part = name.partition(".")
        for source in reversed(self._sources):
            values = source.layer.values
            if option in values and (not part or part in _parts(values[option])):
                return Setting(name, redacted(name, value), source.origin(name))
        return Setting(name, value, "default")

    def _options(self) -> Options:
        values: dict[str, Any] = {}
        for source in self._sources:
            said = source.layer.values
            if source.is_command_line and said.get("ssl"):
                said = {**said, "ssl": _added(values.get("ssl"), said["ssl"])}
            values |= said
        try:
            return Options(**values)
        except OptionError as error:
            option = error.option.partition(".")[0]
            for source in reversed(self._sources):
                if error.option in source.layer.said or option in source.layer.values:
                    problem = str(source.layer.in_its_words(error))
                    raise Misconfigured([problem], usage=source.is_command_line) from error
            raise


def _added(below: object, given: object) -> object:
    """Return the `ssl` of the command line together with what the environment or a file says about certificates."""
    parts = {**_parts(below), **_parts(given)}
    if "enabled" not in _parts(given):
        parts.pop("enabled", None)
    return parts or True


def _parts(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


@contextmanager
def _complaining(*, usage: bool) -> Iterator[None]:
    try:
        yield
    except OptionError as error:
        raise Misconfigured([str(error)], usage=usage) from error


def _environment(environ: Mapping[str, str] | None) -> Layer:
    """Read the environment; where a library makes do with what is right of it, here it is to be mended."""
    layer = read_environment(OPTIONS, environ)
    if layer.problems:
        raise Misconfigured([str(problem) for problem, _ in layer.problems], usage=False)
    return layer


def _split(pairs: Sequence[str]) -> dict[str, str]:
    split = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise OptionError("-E", pair, "is not name=value")
        split[name.removeprefix("output.logstash.")] = text
    return split


def _contents(file: str) -> Mapping[str, Any]:
    """Return what a file of options holds.

    Raises:
        OptionError: It cannot be read.
    """
    try:
        text = Path(file).read_text("utf-8")
        kind = Path(file).suffix.lower()
        if kind == ".json":
            found = json.loads(text)
        elif kind == ".toml":
            found = tomllib.loads(text)
        elif kind in (".yml", ".yaml"):
            found = _yaml().safe_load(text)
        else:
            raise OptionError("--config", file, "the name of a file ends in .json, .toml, .yml or .yaml")
    except OptionError:
        raise
    except Exception as error:  # each of the three has its own
        raise OptionError("--config", file, f"cannot be read: {_fault(error)}") from error
    if not isinstance(found, Mapping):
        raise OptionError("--config", file, "holds no options by name")
    return found


def _fault(error: Exception) -> object:
    """Return what an error says; PyYAML's quotes the line, in which there may be a passphrase."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return error
    return f"{getattr(error, 'problem', None)} (line {mark.line + 1}, column {mark.column + 1})"


def _yaml() -> Any:
    try:
        return importlib.import_module("yaml")
    except ModuleNotFoundError as error:
        raise OptionError("--config", "YAML", "needs PyYAML: pip install pyyaml; JSON and TOML need nothing") from error
