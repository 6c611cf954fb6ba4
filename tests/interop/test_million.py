"""The long run of million.py, shortened."""

from __future__ import annotations

import pytest

from interop.million import main


def test_none_is_missing_and_without_a_fault_none_comes_twice(capsys: pytest.CaptureFixture[str]) -> None:
    assert 0 == main(["--events", "30000", "--kills", "3"]), capsys.readouterr().out
