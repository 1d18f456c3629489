"""What each test costs: a line per test while the run goes on, and a table at its end.

Costs are seconds of a processor, of the test and of the processes that it started and waited for. A process that ran
through many tests, such as a browser, is counted when it ends: what a test cannot have spent by the clock is shared by
all. No cost fails a run: what a test takes depends on the machine and on what else runs there.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import pytest

from tests.support import forks

TIMES: Final = "SHROFF_TEST_TIMES"  # names the file for the lines; without it there is none
WHOLE: Final = "SHROFF_TEST_WHOLE"  # set by `make test` and `make check`, which run all tests of a folder
SLOWEST: Final = 15
CORES: Final = os.cpu_count() or 1
SHARED: Final = "shared"  # stands for a folder


@dataclass(slots=True)
class Cost:
    """Seconds: by the clock, of the test's own processor time, and of its children's."""

    wall_s: float = 0.0
    own_s: float = 0.0
    children_s: float = 0.0
    tests: int = 0

    @property
    def cpu_s(self) -> float:
        return self.own_s + self.children_s

    def __iadd__(self, other: Cost) -> Self:
        self.wall_s += other.wall_s
        self.own_s += other.own_s
        self.children_s += other.children_s
        self.tests += other.tests
        return self


class Timing:
    """The plugin: it measures where tests run, and gathers where the terminal is."""

    def __init__(self, times: Path | None) -> None:
        self._costs: dict[str, Cost] = defaultdict(lambda: Cost(tests=1))
        self._file = times.open("w", encoding="utf-8") if times else None
        self._shared = Cost()
        self._began = (0.0, 0.0)
        self._owner = os.getpid()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._began = _spent_s()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":
            report.spent_s = [now - before for now, before in zip(_spent_s(), self._began, strict=True)]
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if os.getpid() != self._owner:
            return  # a worker, whose reports come again where the terminal is
        cost = self._costs[report.nodeid]
        cost.wall_s += report.duration
        if report.when == "teardown":
            cost.own_s, ended_s = report.spent_s
            cost.children_s = min(ended_s, CORES * cost.wall_s)
            self._shared.children_s += ended_s - cost.children_s
            if self._file:
                row = [report.nodeid, *(round(value, 3) for value in (cost.wall_s, cost.own_s, cost.children_s))]
                print(json.dumps(row), file=self._file, flush=True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._costs or WHOLE not in os.environ:
            return
        terminalreporter.section("seconds of a processor by folder")
        for name, cost in sorted(self.folders().items(), key=lambda item: -item[1].cpu_s):
            terminalreporter.line(
                f"{name:<13} {cost.tests:>6} tests {cost.cpu_s:>7.0f} s ({cost.children_s:.0f} in children), "
                f"{cost.wall_s:.0f} s by the clock"
            )
        terminalreporter.line("")
        for name, cost in sorted(self._costs.items(), key=lambda item: -item[1].wall_s)[:SLOWEST]:
            terminalreporter.line(f"{cost.wall_s:>6.1f} s by the clock, {cost.cpu_s:>6.1f} of a processor: {name}")

    def folders(self) -> dict[str, Cost]:
        """The costs so far, by folder."""
        return by_folder(self._costs) | {SHARED: self._shared}


def by_folder(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """The costs of tests by the folder of `tests/` they are in."""
    found: dict[str, Cost] = defaultdict(Cost)
    for test, cost in costs.items():
        found[test.split("/")[1]] += cost
    return found


def plugin() -> Timing:
    """The plugin of a run; only the process at the terminal writes lines."""
    path = os.environ.get(TIMES)
    return Timing(Path(path) if path else None)


def _spent_s() -> tuple[float, float]:
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system + forks.spent_s()
