"""A plugin of pytest: after some minutes no test begins, and the files that were not run are named at the end.

`python -m tools.suite --changed` uses it. What runs by then comes to its end.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Final

import pytest

MINUTES: Final = "SHROFF_TEST_MINUTES"  # from the start of the run; without it, or with 0, there is no limit
MINUTE_S: Final = 60
NAMED_MAX: Final = 200  # files


class TimeLimit:
    """Leaves tests out after a time; workers are forked from the process that made it, and share its clock."""

    def __init__(self, minutes: float) -> None:
        self._minutes = minutes
        self._end_s = time.monotonic() + minutes * MINUTE_S
        self._reported = set[str]()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
        """Skip a test without a report, and tear down what the one before it left for it."""
        if time.monotonic() < self._end_s:
            return None
        item.session._setupstate.teardown_exact(nextitem)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._reported.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the files with tests that did not run."""
        items = terminalreporter._session.items if terminalreporter._session else []
        left = Counter(item.nodeid.partition("::")[0] for item in items if item.nodeid not in self._reported)
        if not left:
            return
        terminalreporter.section(f"not run: {left.total()} tests of {len(left)} files, after {self._minutes:g} minutes")
        for file, count in list(left.items())[:NAMED_MAX]:
            terminalreporter.line(f"{file} ({count})")
        if len(left) > NAMED_MAX:
            terminalreporter.line(f"and {len(left) - NAMED_MAX} more files, which lie further from the change")


def pytest_configure(config: pytest.Config) -> None:
    if minutes := float(os.environ.get(MINUTES, "0")):
        config.pluginmanager.register(TimeLimit(minutes), "shroff-time-limit")
