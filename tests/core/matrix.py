"""The matrix: what both clients promise, against every receiver of the field, plain and over TLS.

`python -m core.matrix [pytest's arguments]` runs the rows and prints them; it ends with pytest's exit code.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from support.columns import COLUMNS

MARKS = [("Client", "plain"), ("Client", "TLS"), ("AsyncClient", "plain"), ("AsyncClient", "TLS")]
WIDTH = 150  # of a terminal that shows it without folding


class Matrix:
    """Collects what became of each row with each receiver, driver and kind of line."""

    def __init__(self) -> None:
        self._places: dict[str, tuple[str, str, tuple[str, str]]] = {}
        self._passed: defaultdict[tuple[str, str, tuple[str, str]], list[bool]] = defaultdict(list)

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            callspec = getattr(item, "callspec", None)
            if callspec is None or not {"column", "driver", "link"} <= callspec.params.keys():
                continue
            row = item.nodeid.partition("[")[0].rpartition("::test_")[2].replace("_", " ")
            mark = next(mark for mark in MARKS if set(mark) <= set(callspec.id.split("-")))
            self._places[item.nodeid] = row, callspec.params["column"].title, mark

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid in self._places and (report.when == "call" or not report.passed):
            self._passed[self._places[report.nodeid]].append(report.passed)

    def table(self) -> Table:
        """Draw a mark for each driver and kind of line in each cell; a dot where nothing ran."""
        table = Table(title="Each cell: Client plain, Client TLS, AsyncClient plain, AsyncClient TLS", title_style="")
        table.add_column("Both clients promise", ratio=1)
        for column in COLUMNS:
            table.add_column(column.title, justify="center", max_width=9)
        for row in dict.fromkeys(row for row, _, _ in self._places.values()):
            table.add_row(row, *(self._cell(row, column.title) for column in COLUMNS))
        return table

    def _cell(self, row: str, column: str) -> str:
        marks = []
        for mark in MARKS:
            passed = self._passed[row, column, mark]
            marks.append("·" if not passed else "[green]✓[/]" if all(passed) else "[red]✗[/]")
        return "".join(marks)


def main(arguments: list[str]) -> int:
    matrix = Matrix()
    rows = sorted(map(str, Path(__file__).parent.glob("test_client_*.py")))
    code = pytest.main([*rows, "--quiet", *arguments], plugins=[matrix])
    Console(width=WIDTH).print(matrix.table())
    return int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
