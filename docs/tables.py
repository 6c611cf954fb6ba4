"""Write the tables that come from the code into the pages that are committed: `python docs/tables.py`.

A table stands between `<!-- name: from docs/tables.py -->` and `<!-- end of name -->`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from beats_core.filebeat import FILEBEAT_OPTIONS, FilebeatOption
from beats_core.options import OPTIONS

DOCS = Path(__file__).parent


def options_table() -> str:
    """Return every option of ours."""
    rows = (
        (
            f"`{option.name}`",
            f"`{option.default!r}`",
            option.kind.allowed,
            f"`{option.filebeat}`" if option.filebeat else "–",
            option.about,
        )
        for option in OPTIONS.values()
    )
    return table(("Option", "Default", "Can be", "Filebeat", "What it does"), rows)


def filebeat_table() -> str:
    """Return every option of Filebeat's logstash output."""
    rows = (
        (
            f"`{option.name}`",
            f"`{option.default}`" if option.default else "–",
            f"`{ours}`" if (ours := our_name(option)) else "none",
            default_here(option),
            option.note or "–",
        )
        for option in FILEBEAT_OPTIONS
    )
    return table(("Filebeat", "Default there", "Here", "Default here", "What differs, or why there is none"), rows)


def our_name(option: FilebeatOption) -> str:
    """Return the name of our option; nothing if there is none."""
    if option.missing:
        return ""
    if option.name.startswith("ssl."):
        return option.name
    return next(ours.name for ours in OPTIONS.values() if ours.filebeat == option.name)


def default_here(option: FilebeatOption) -> str:
    """Return "same" or our default."""
    name = our_name(option)
    if not name:
        return "–"
    if name not in OPTIONS:
        return "same"
    ours = OPTIONS[name]
    there = ours.kind.from_text(option.default) if option.default else None
    return "same" if there == ours.default else f"`{ours.default!r}`"


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return it in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


TABLES: dict[str, Callable[[], str]] = {"options": options_table, "filebeat": filebeat_table}


def with_tables(page: str) -> str:
    """Return the page with its tables as they are to be."""
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}: from docs/tables.py -->", f"<!-- end of {name} -->"
        filled = f"{begin}\n\n{make()}\n\n{end}".replace("\\", r"\\")
        page = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", filled, page, flags=re.DOTALL)
    return page


def main() -> None:
    """Bring all pages up to date."""
    for path in (DOCS / "reference").glob("*.md"):
        page = path.read_text("utf-8")
        if (current := with_tables(page)) != page:
            path.write_text(current, "utf-8")


if __name__ == "__main__":
    main()
