"""What a run did not run, in one list at its end: skips with their reasons, and tests of other tiers and parts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.support.timing import WHOLE


class LeftOut:
    """The plugin: it counts where the terminal is."""

    def __init__(self) -> None:
        self._long = Counter[str]()
        self._skipped = Counter[str]()
        self._owner = os.getpid()

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._long.update(folder_of(item.nodeid) for item in items)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.skipped and os.getpid() == self._owner:
            self._skipped[reason_of(report)] += 1

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if WHOLE not in os.environ:
            return
        terminalreporter.section("what did not run")
        for line in self.lines(terminalreporter.config.invocation_params.args):
            terminalreporter.line(line)

    def lines(self, arguments: Sequence[str]) -> list[str]:
        """One line for each reason of a skip, then one for the folders that were left out."""
        found = [f"{count} {reason}" for reason, count in sorted(self._skipped.items())]
        if self._long:
            folders = ", ".join(f"{name} {count}" for name, count in sorted(self._long.items()))
            found.append(f"{self._long.total()} of other tiers (make test-long PART=...): {folders}")
        asked = {Path(given).parts[1] for given in arguments if given.startswith("tests/")}
        there = {path.name for path in Path("tests").iterdir() if any(path.glob("test_*.py"))}
        if asked and (others := there - asked):
            found.append(f"folders of other parts: {', '.join(sorted(others))}")
        return found or ["nothing was left out"]


def folder_of(test: str) -> str:
    """The folder of `tests/` that a test is in."""
    return test.split("/")[1]


def reason_of(report: pytest.TestReport) -> str:
    """Why a test was skipped, or fails as is known, in the words of who said so."""
    if hasattr(report, "wasxfail"):
        return f"known to fail: {report.wasxfail.removeprefix('reason: ')}"
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return f"skipped: {text.removeprefix('Skipped: ')}"
