"""Who may import whom, held by a walk over the syntax trees: no module is executed for it.

The rooms of beats_core stand on floors; a room imports from its own floor or below, and never in a circle.
Some rooms are pure. beats_integrations leans on the public names of beats_core and on nothing behind them.
Each rule is a function from sources to complaints, and is itself shown a house that breaks it.
"""

from __future__ import annotations

import ast
import graphlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

REPOSITORY = Path(__file__).parents[2]
CORE, INTEGRATIONS = "beats_core", "beats_integrations"

FLOORS = (
    ("errors", "redaction", "version", "forks", "native"),
    (
        "encoding",
        "truncation",
        "envelope",
        "compression",
        "frames",
        "hosts",
        "tls",
        "tls_settings",
        "certificates",
        "options",
        "option_kinds",
        "option_sources",
        "filebeat",
        "diagnosis",
        "stats",
        "lifecycle",
        "surroundings",
        "last_words",
        "backoff",
        "bell",
        "slow_start",
        "tunnel",
    ),
    ("protocol", "backlog", "spool", "letters", "inbox", "dial", "async_dial"),
    ("driver", "client", "async_client", "receiver"),
    ("line", "sender", "here", "crew", "admission", "spooler", "intake", "delivery", "shipper"),
    ("cli", "ui", "monitor", "testing", "__init__", "__main__"),
)
FLOOR_OF = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

PURE = (
    *(f"{CORE}.{room}" for room in ("frames", "protocol", "backlog", "slow_start", "certificates")),
    *(f"{INTEGRATIONS}.{room}" for room in ("log_event", "schemas", "safety")),
)
# Input, output, clocks, chance and concurrency.
IMPURE = frozenset(
    {"asyncio", "concurrent", "logging", "multiprocessing", "os", "queue", "random", "secrets", "select", "selectors"}
    | {"signal", "socket", "sqlite3", "ssl", "subprocess", "threading", "time"}
)

# Third-party libraries, by room: what the package itself requires, and what a room is for. An adapter has its own
# library and no second one; msgspec is no second one, LogEvent is made of it.
REQUIRED = frozenset({"msgspec", "isal"})
LIBRARIES = {
    f"{CORE}.cli": REQUIRED | {"click", "rich"},
    f"{CORE}.dial": REQUIRED | {"python_socks"},
    f"{CORE}.async_dial": REQUIRED | {"python_socks"},
    f"{CORE}.testing": REQUIRED | {"pytest"},
    f"{INTEGRATIONS}.structlog": frozenset({"msgspec", "structlog"}),
    f"{INTEGRATIONS}.loguru": frozenset({"msgspec", "loguru"}),
    f"{INTEGRATIONS}.celery": frozenset({"msgspec", "celery"}),
    f"{INTEGRATIONS}.demo": frozenset({"structlog", "loguru", "celery", "kombu", "rich"}),
}
# The rooms of beats_integrations that hand events to the core. All others know nothing of it.
SHIPPING = ("outlet", "logging", "structlog", "loguru", "celery", "demo")

NAMES_THAT_SAY_NOTHING = frozenset({"utils", "types", "base", "common", "helpers"})
MOST_LINES = 400

Sources = Mapping[str, str]  # "beats_core.frames" → text; a package's own module is "beats_core.__init__"


class Import(NamedTuple):
    """One imported name, absolute: `from beats_core import Client` is "beats_core.Client"."""

    name: str
    bound_as: str  # what the importing module calls it
    for_types: bool  # under `if TYPE_CHECKING:`

    @property
    def package(self) -> str:
        return self.name.partition(".")[0]

    @property
    def room(self) -> str:
        """The module of ours it comes from, as "package.room"; what is no room is a name of __init__."""
        package, _, rest = self.name.partition(".")
        room = rest.partition(".")[0]
        known = room in FLOOR_OF or room in _rooms_on_disk(package)
        return f"{package}.{room if known else '__init__'}"


def _rooms_on_disk(package: str) -> frozenset[str]:
    return frozenset(path.stem for path in (REPOSITORY / package).glob("*") if path.suffix in ("", ".py"))


def sources_below(*folders: str) -> dict[str, str]:
    return {
        ".".join(path.relative_to(REPOSITORY).with_suffix("").parts): path.read_text("utf-8")
        for folder in folders
        for path in sorted((REPOSITORY / folder).rglob("*.py"))
    }


def imports(module: str, source: str) -> Iterator[Import]:
    tree = ast.parse(source)
    for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for statement in block.body
        for node in ast.walk(statement)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(alias.name, alias.asname or alias.name.partition(".")[0], node in for_types)
        elif isinstance(node, ast.ImportFrom):
            package = module.split(".")[: -node.level] if node.level else []
            origin = ".".join([*package, *([node.module] if node.module else [])])
            for alias in node.names:
                yield Import(f"{origin}.{alias.name}", alias.asname or alias.name, node in for_types)


def room_of(module: str) -> str:
    return ".".join(module.split(".")[:2])


def edges(sources: Sources) -> Iterator[tuple[str, Import]]:
    """Yield (room, import) for each import of one of our own modules by another room.

    `errors` stands below everything and yet names, in an annotation, the batch that was not acknowledged:
    for that floor alone a name only the type checker sees is no import.
    """
    for module, source in sources.items():
        for found in imports(module, source):
            own = found.package in (CORE, INTEGRATIONS) and found.room != room_of(module)
            lowest = room_of(module).partition(".")[2] in FLOORS[0]
            if own and not (lowest and found.for_types):
                yield room_of(module), found


def unknown_rooms(sources: Sources) -> list[str]:
    rooms = {room_of(module).partition(".")[2] for module in sources if module.startswith(f"{CORE}.")}
    return [f"{CORE}.{room} stands on no floor" for room in sorted(rooms - FLOOR_OF.keys())]


def imports_from_above(sources: Sources) -> list[str]:
    def floor(room: str) -> int:
        return FLOOR_OF.get(room.partition(".")[2], -1)

    return [
        f"{room} imports {found.name} from a floor above"
        for room, found in edges(sources)
        if room.startswith(f"{CORE}.") and found.package == CORE and floor(found.room) > floor(room)
    ]


def circles(sources: Sources) -> list[str]:
    graph: dict[str, set[str]] = {}
    for room, found in edges(sources):
        graph.setdefault(room, set()).add(found.room)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as circle:
        return [" → ".join(reversed(circle.args[1]))]
    return []


def core_on_integrations(sources: Sources) -> list[str]:
    return [
        f"{room} imports {found.name}"
        for room, found in edges(sources)
        if room.startswith(f"{CORE}.") and found.package == INTEGRATIONS
    ]


def impurities(sources: Sources) -> list[str]:
    """A pure room leans on nothing impure, nor on a room that does."""
    complaints = []
    for pure in PURE:
        seen, queue = {pure}, [pure]
        while queue:
            room = queue.pop()
            for found in imports(room, sources.get(room, "")):
                if found.package in IMPURE:
                    complaints.append(f"{pure} is pure, and {room} imports {found.package}")
                elif found.package in (CORE, INTEGRATIONS) and not found.for_types and found.room not in seen:
                    seen.add(found.room)
                    queue.append(found.room)
    return complaints


def past_the_front_door(sources: Sources) -> list[str]:
    """What beats_integrations takes from the core by another way than its public names."""
    public = _public_names(sources.get(f"{CORE}.__init__", ""))
    complaints = []
    for room, found in edges(sources):
        if not room.startswith(f"{INTEGRATIONS}.") or found.package != CORE:
            continue
        if room.startswith(f"{INTEGRATIONS}.demo"):  # no adapter, but a program: it prints as `beats listen` does
            continue
        if room.partition(".")[2] not in SHIPPING:
            complaints.append(f"{room} knows nothing of the core, and imports {found.name}")
        elif found.room != f"{CORE}.__init__" or (public and found.name.partition(".")[2] not in {"", *public}):
            complaints.append(f"{room} imports {found.name}, which is no public name")
    return complaints


def _public_names(source: str) -> frozenset[str]:
    for node in ast.parse(source).body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]:
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def foreign_libraries(sources: Sources) -> list[str]:
    ours = {CORE, INTEGRATIONS, "__future__", *sys.stdlib_module_names}
    return [
        f"{module} imports {found.package}"
        for module, source in sources.items()
        for found in imports(module, source)
        if found.package not in ours and found.package not in LIBRARIES.get(room_of(module), REQUIRED)
    ]


def private_names(sources: Sources) -> list[str]:
    """Names with one leading underscore that leave their module, by import or as `module._name`."""
    packages = {CORE, INTEGRATIONS, "support", "interop", "benchmarks"}
    complaints = []
    for module, source in sources.items():
        own = [found for found in imports(module, source) if found.package in packages]
        taken = {found.name for found in own}
        modules = {found.bound_as for found in own if found.name in sources or found.name in packages}
        taken |= {
            f"{node.value.id}.{node.attr}"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
        }
        complaints += [f"{module} takes {name}" for name in sorted(taken) if any(map(_private, name.split(".")))]
    return complaints


def _private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


def names_that_say_nothing(sources: Sources) -> list[str]:
    return [module for module in sources if NAMES_THAT_SAY_NOTHING & set(module.split("."))]


def long_files(sources: Sources) -> list[str]:
    lengths = {module: source.count("\n") for module, source in sources.items()}
    return [f"{module}: {lines} lines want to be two files" for module, lines in lengths.items() if lines > MOST_LINES]


Rule = Callable[[Sources], list[str]]
PACKAGE_RULES: tuple[Rule, ...] = (
    unknown_rooms,
    imports_from_above,
    circles,
    core_on_integrations,
    impurities,
    past_the_front_door,
    foreign_libraries,
)
EVERYWHERE: tuple[Rule, ...] = (private_names, names_that_say_nothing, long_files)


@pytest.mark.parametrize("rule", PACKAGE_RULES)
def test_the_packages_keep_the_rule(rule: Rule) -> None:
    assert [] == rule(sources_below(CORE, INTEGRATIONS))


@pytest.mark.parametrize("rule", EVERYWHERE)
def test_packages_and_tests_keep_the_rule(rule: Rule) -> None:
    assert [] == rule(sources_below(CORE, INTEGRATIONS, "tests"))


BROKEN_HOUSES: tuple[tuple[Rule, dict[str, str]], ...] = (
    (unknown_rooms, {"beats_core.manager": ""}),
    (imports_from_above, {"beats_core.frames": "from beats_core.protocol import ClientProtocol"}),
    (imports_from_above, {"beats_core.client": "def late():\n    from beats_core import Shipper"}),
    (imports_from_above, {"beats_core.protocol": "from .client import Client"}),
    (imports_from_above, {"beats_core.frames": "if TYPE_CHECKING:\n    import beats_core.client"}),
    (circles, {"beats_core.hosts": "import beats_core.tls", "beats_core.tls": "from . import hosts"}),
    (core_on_integrations, {"beats_core.cli.send": "from beats_integrations.schemas import Ecs"}),
    (impurities, {"beats_core.protocol": "import time"}),
    (impurities, {"beats_core.backlog": "from os import path"}),
    (impurities, {"beats_core.frames": "import beats_core.tls", "beats_core.tls": "import ssl"}),
    (past_the_front_door, {"beats_integrations.schemas": "from beats_core import Batch"}),
    (past_the_front_door, {"beats_integrations.correlation": "import beats_core"}),
    (past_the_front_door, {"beats_integrations.loguru": "from beats_core.shipper import Shipper"}),
    (past_the_front_door, {"beats_integrations.outlet": "from beats_core import shipper"}),
    (
        past_the_front_door,
        {
            "beats_core.__init__": "__all__ = ['Client']",
            "beats_integrations.celery.logs": "from beats_core import Inbox",
        },
    ),
    (foreign_libraries, {"beats_integrations.structlog": "import structlog, celery"}),
    (foreign_libraries, {"beats_core.client": "import requests"}),
    (foreign_libraries, {"beats_integrations.logging": "import structlog"}),
    (private_names, {"tests.unit.test_frames": "from beats_core.frames import _NUMBER"}),
    (private_names, {"beats_core.client": "from beats_core import frames\nframes._NUMBER", "beats_core.frames": ""}),
    (names_that_say_nothing, {"beats_core.utils": ""}),
    (names_that_say_nothing, {"tests.support.helpers": ""}),
    (long_files, {"beats_core.client": "\n" * 401}),
)


@pytest.mark.parametrize(("rule", "sources"), BROKEN_HOUSES)
def test_the_rule_notices_who_breaks_it(rule: Rule, sources: Sources) -> None:
    assert [] != rule(sources)


def test_every_rule_is_shown_a_broken_house() -> None:
    assert {*PACKAGE_RULES, *EVERYWHERE} == {rule for rule, _ in BROKEN_HOUSES}


SOUND_HOUSE = {
    "beats_core.__init__": "from beats_core.client import Client\n__all__ = ['Client']",
    "beats_core.client": "import socket\nfrom beats_core.protocol import ClientProtocol",
    "beats_core.protocol": "from datetime import datetime\nfrom .errors import BeatsError",
    "beats_core.errors": "if TYPE_CHECKING:\n    from beats_core.protocol import ClientProtocol",
    "beats_core.cli.__init__": "from beats_core.cli.send import send",
    "beats_core.cli.send": "import click\nfrom beats_core import Client",
    "beats_integrations.loguru": "import loguru\nfrom beats_core import Client",
}


def test_a_sound_house_draws_no_complaint() -> None:
    assert [] == [complaint for rule in (*PACKAGE_RULES, *EVERYWHERE) for complaint in rule(SOUND_HOUSE)]
