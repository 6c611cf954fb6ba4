"""Options from the environment, from a URL and from mappings, Filebeat's among them.

One source is one `Layer`. Reading never fails: what cannot be is a problem of the layer, and leaves the option to the
layers below. Who asks for a mapping or a URL gets the first problem as an error; the environment, which nobody can
mend at the moment a program starts, warns once for each variable.

No fallback turns TLS off, or makes it trust more: a bad switch means on, a bad verification mode means "full". Files
and other parts of `ssl` are looked at by `tls` when the options are made, and what is wrong with them is an error.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any
from urllib.parse import unquote

from beats_core.errors import OptionError
from beats_core.filebeat import why_missing
from beats_core.option_kinds import Option, read_boolean
from beats_core.tls_settings import SSL_PARTS, VERIFICATION_MODES

Table = Mapping[str, Option]

URL = "BEATS_URL"
DISABLED = "BEATS_DISABLED"

_SECTION = "output.logstash."
_SCHEMES = ("beats", "beats+tls", "beats+unix")
_URL_ALLOWED = "beats://name:port,…?option=value&…, or beats+tls:// for TLS, or beats+unix:///path"
_SSL_LISTS = ("certificate_authorities", "supported_protocols", "cipher_suites", "ca_sha256")

_ALIKE = 0.85  # from which ratio on two names are one, misspelt

_IGNORED = "it is ignored"
_TLS_ON = "TLS is on"
_FULL = "the mode is full"

warned: set[str] = set()


@dataclass
class Layer:
    """What one source says.

    Attributes:
        values: By our names, as `Options` takes them.
        said: What the source calls an option; `ssl.key` is a part of `ssl`.
        problems: What could not be read, and what holds instead.
        spelling: What it would call an option that it does not mention.
    """

    values: dict[str, Any] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)
    problems: list[tuple[OptionError, str]] = field(default_factory=list)
    spelling: Callable[[str], str] = str

    def add(self, table: Table, name: str, said: str, value: object) -> None:
        """Read one value; a later one of the same name replaces it."""
        self.said[name] = said
        option, _, part = name.partition(".")
        kind = table[option].kind
        try:
            if part:
                self._add_ssl(part, _read_ssl(part, value) if isinstance(value, str) else value)
                return
            kept = kind.from_text(value) if isinstance(value, str) else kind.keep(value)
        except ValueError as error:
            allowed = error.allowed if isinstance(error, OptionError) else kind.allowed
            problem = OptionError(said, value, allowed)
            if part == "verification_mode":
                self._add_ssl(part, "full")
                self.problems.append((problem, _FULL))
            elif option == "ssl":
                self._switch_ssl(True)
                self.problems.append((problem, _TLS_ON))
            else:
                self.problems.append((problem, _IGNORED))
        else:
            if option == "ssl":
                self._switch_ssl(kept)
            else:
                self.values[option] = kept

    def _add_ssl(self, part: str, value: object) -> None:
        parts = self.values.get("ssl")
        self.values["ssl"] = {**(parts if isinstance(parts, Mapping) else {}), part: value}

    def _switch_ssl(self, value: object) -> None:
        parts = self.values.get("ssl")
        if value is True and isinstance(parts, Mapping):  # on, with these parts
            value = {part: parts[part] for part in parts if part != "enabled"}
        self.values["ssl"] = value

    @property
    def says_plain(self) -> bool:
        """True if TLS is turned off, also with parts that are meant for another day."""
        value = self.values.get("ssl")
        return value is False or (isinstance(value, Mapping) and value.get("enabled") is False)

    def raise_problem(self) -> None:
        """Raise the first problem, if there is one.

        Raises:
            OptionError: That is it.
        """
        for problem, _ in self.problems:
            raise problem

    def in_its_words(self, error: OptionError) -> OptionError:
        """Return an error about one of the values, with the name the option has in this source."""
        return OptionError(self.said.get(error.option) or self.spelling(error.option), error.value, error.allowed)


def _read_ssl(part: str, text: str) -> object:
    """Return what a text says, as far as this room has to know: `tls` has the last word."""
    if part == "enabled":
        try:
            return read_boolean(text)
        except ValueError as error:
            raise OptionError(part, text, "true or false") from error
    if part == "verification_mode" and text.lower() not in VERIFICATION_MODES:
        raise OptionError(part, text, f"one of {', '.join(VERIFICATION_MODES)}")
    if part not in _SSL_LISTS or "-----BEGIN" in text:
        return text
    return [item.strip() for item in text.split(",")]


def check_names(table: Table, arguments: Mapping[str, object]) -> None:
    """Check that there are such options.

    Raises:
        OptionError: There is no such option; says which one may be meant.
    """
    for name, value in arguments.items():
        if name not in table:
            raise _unknown(name, name, value, list(table))


def _unknown(said: str, name: str, value: object, names: list[str]) -> OptionError:
    close = get_close_matches(name, names, 1)
    hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(names)}"
    return OptionError(said, value, f"there is no such option; {hint}")


def read_environment(table: Table, environ: Mapping[str, str] | None = None) -> Layer:
    """Read `BEATS_URL`, over it `BEATS_<OPTION>` and `BEATS_SSL_<PART>`, and `BEATS_DISABLED`.

    An empty variable is as one that is not set.
    """
    environ = os.environ if environ is None else environ
    variables = {name: text.strip() for name, text in environ.items() if name.startswith("BEATS_") and text.strip()}
    layer = Layer(spelling=variable_of)
    if URL in variables:
        _read_url(table, variables[URL], layer, URL)
    section = variable_of("ssl.")
    _tell_of_misspelt(table, variables, layer)
    for variable, text in variables.items():
        if variable.startswith(section) and variable != section:
            layer.add(table, f"ssl.{variable.removeprefix(section).lower()}", variable, text)
    for name in table:  # BEATS_SSL after its parts: it may switch them off
        if (variable := variable_of(name)) in variables:
            layer.add(table, name, variable, variables[variable])
    if DISABLED in variables:
        try:
            if read_boolean(variables[DISABLED]):
                layer.values["enabled"] = False
        except ValueError:
            layer.problems.append((OptionError(DISABLED, variables[DISABLED], "true or false"), _IGNORED))
    return layer


def _tell_of_misspelt(table: Table, variables: Mapping[str, str], layer: Layer) -> None:
    """Note variables that look like ours and are not; others may have names that begin so, too."""
    parts = [variable_of(f"ssl.{part}") for part in SSL_PARTS]
    ours = [URL, DISABLED, *map(variable_of, table), *parts]
    for variable, text in variables.items():
        if variable in ours or variable.startswith(variable_of("ssl.")):
            continue
        as_ssl = variable.replace("BEATS_TLS", "BEATS_SSL")
        close = [as_ssl] if as_ssl in ours else get_close_matches(variable, ours, 1, _ALIKE)
        if close:
            if as_ssl in ours:
                layer.values["ssl"] = True
            problem = OptionError(variable, text, f"there is no such variable; did you mean {close[0]}?")
            layer.problems.append((problem, _TLS_ON if as_ssl in ours else _IGNORED))


def warn_of_problems(layer: Layer) -> None:
    """Tell once of each variable that is bad, and what holds instead."""
    for problem, instead in layer.problems:
        _warn_once(problem.option, f"{problem}; {instead}")


def variable_of(name: str) -> str:
    """Return the environment variable of an option, or of a part of `ssl`."""
    return f"BEATS_{name.replace('.', '_').upper()}"


def read_url(table: Table, url: str) -> Layer:
    """Read `beats://ls1:5044,ls2:5044?loadbalance=true`, or the same with `beats+tls://`; or `beats+unix:///path`.

    Raises:
        OptionError: It is no such URL, there is no such option, or it cannot have that value.
    """
    if not isinstance(url, str):
        raise OptionError("url", url, _URL_ALLOWED)
    layer = Layer()
    _read_url(table, url, layer)
    layer.raise_problem()
    return layer


def _read_url(table: Table, url: str, layer: Layer, variable: str = "") -> None:
    def said(name: str) -> str:
        return f"{variable} ({name})" if variable else name

    scheme, _, rest = url.partition("://")
    if scheme not in _SCHEMES:
        layer.problems.append((OptionError(variable or "url", url, _URL_ALLOWED), f"{_IGNORED}, but {_TLS_ON}"))
        layer.values["ssl"] = True
        return
    address, _, query = rest.partition("?")
    address = unquote(address)
    hosts = f"unix://{address}" if scheme == "beats+unix" else address.removesuffix("/")
    layer.add(table, "hosts", said("hosts"), hosts)
    if scheme == "beats+tls" or (scheme == "beats+unix" and "hosts" not in layer.values):
        layer.values["ssl"] = True
    for parameter in filter(None, query.split("&")):
        name, _, text = parameter.partition("=")
        text = unquote(text)  # not unquote_plus: a pin in base64 has pluses of its own
        ours = _our_name(table, name)
        if ours is None:
            layer.problems.append((_unknown(said(name), name, text, _names(table)), _IGNORED))
        elif ours in layer.said:
            layer.problems.append((OptionError(said(name), text, "it is given twice"), _IGNORED))
        else:
            layer.add(table, ours, said(name), text)
    if scheme == "beats+tls" and layer.says_plain:
        problem = OptionError(variable or "url", url, "beats+tls:// is for TLS, and a parameter turns it off")
        layer.problems.append((problem, _TLS_ON))
        layer.values["ssl"] = True


def read_mapping(table: Table, mapping: Mapping[str, Any]) -> Layer:
    """Read our names, Filebeat's `output.logstash` section, or a whole configuration of Filebeat's that has one.

    Raises:
        OptionError: There is no such option, or it cannot have that value.
    """
    if not isinstance(mapping, Mapping):
        raise OptionError("mapping", mapping, "a mapping of options")
    try:
        flat = dict(_flat(mapping))
    except RecursionError as error:  # an alias of YAML can do it
        raise OptionError("mapping", type(mapping), "must not hold itself") from error
    if any(name.startswith(_SECTION) for name in flat):  # what else such a configuration says is not for us
        for name, value in flat.items():
            if name == "ssl" or name.startswith("ssl."):  # but this, passed over, would be plain TCP
                raise OptionError(name, value, f"belongs into {_SECTION[:-1]}")
        flat = {
            name.removeprefix(_SECTION): value for name, value in flat.items() if name.startswith((_SECTION, "queue."))
        }
    layer = Layer()
    for name, value in flat.items():
        if why := why_missing(name):
            _warn_once(name, f"Filebeat's option {name} is ignored: {why}")
            if name.startswith("ssl."):  # a section with it alone is a section, and means TLS
                layer.values.setdefault("ssl", {})
            continue
        ours = _our_name(table, name)
        if ours is None:
            raise _unknown(name, name, value, _names(table))
        # Filebeat's client without pipelining waits for each window's ack, which is 1 here.
        layer.add(table, ours, name, 1 if ours == "pipelining" and value in (0, "0") else value)
    layer.raise_problem()
    return layer


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    """Yield dotted names; an empty mapping is a value, for `ssl: {}` means something."""
    for name in mapping:
        value = mapping[name]  # by name: a mapping of logging.config makes of a value what it stands for only then
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _our_name(table: Table, name: str) -> str | None:
    if name in table or (name.startswith("ssl.") and name != "ssl."):
        return name
    return next((option.name for option in table.values() if option.filebeat == name), None)


def _names(table: Table) -> list[str]:
    return [*table, *(option.filebeat for option in table.values() if "." in option.filebeat)]


def _warn_once(name: str, text: str) -> None:
    if name not in warned:
        warned.add(name)
        # Asked for only now: a logger that is there already, `dictConfig` by default switches off.
        logging.getLogger("beats_core.options").warning("%s", text)
