"""What each test costs: a line per test while the run goes on, a table at its end, and a budget for each folder.

Costs are seconds of a processor, of the test and of the processes that it started and waited for. A process that ran
through many tests, such as a browser, is counted when it ends: what a test cannot have spent by the clock is shared by
all.

No run fails by chance: on a machine that others use, the same work can take half as much again. So how fast the
machine is gets measured in the same run, by a fixed piece of work between tests and by what most folders took, and what
fails is a folder that then takes twice its budget, or all of them together.
"""

from __future__ import annotations

import json
import os
import time
import tomllib
from collections import defaultdict
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final, Self

import pytest

from tests.support import forks
from tools.suite import NOT_QUICK, PATIENT

BUDGETS: Final = Path(__file__).parents[1] / "budgets.toml"
TIMES: Final = "SHROFF_TEST_TIMES"  # names the file for the lines; without it there is none
JUDGED: Final = "SHROFF_TEST_BUDGETS"  # set by `make test` ("all"), which runs all tests of a folder, and `make check`
UNIT_S: Final = 0.0125  # what `_unit_s` gave where the budgets were written
EVERY: Final = 200  # tests between two measurements of the machine
LEEWAY: Final = 2  # times a budget: what takes more fails
SLOWEST: Final = 15
CORES: Final = os.cpu_count() or 1
SHARED: Final = "shared"  # stands for a folder
TOGETHER: Final = "together"  # stands for all folders


@dataclass(slots=True)
class Cost:
    """Seconds: by the clock, of the test's own processor time, and of its children's."""

    wall_s: float = 0.0
    own_s: float = 0.0
    children_s: float = 0.0
    tests: int = 0
    is_quick: bool = False  # one of `make check`

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
    """The plugin: it measures where tests run, and gathers and judges where the terminal is."""

    def __init__(self, times: Path | None) -> None:
        self._costs: dict[str, Cost] = defaultdict(lambda: Cost(tests=1))
        self._units_s: list[float] = []
        self._file = times.open("w", encoding="utf-8") if times else None
        self._shared = Cost()
        self._began = (0.0, 0.0)
        self._number = 0
        self._exceeded: list[str] = []
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
            self._number += 1
            if self._number % EVERY == 1:
                report.unit_s = _unit_s()
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
            cost.is_quick = report.nodeid.split("/")[1] not in NOT_QUICK and report.keywords.keys().isdisjoint(PATIENT)
            self._units_s += [report.unit_s] if hasattr(report, "unit_s") else []
            if self._file:
                row = [report.nodeid, *(round(value, 3) for value in (cost.wall_s, cost.own_s, cost.children_s))]
                print(json.dumps(row), file=self._file, flush=True)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if not self._costs or JUDGED not in os.environ:
            return
        folders = self.folders()
        slowness = slowness_of(self._units_s, folders, read_budgets())
        terminalreporter.section(f"seconds of a processor by folder; this machine takes {slowness:.2f} of the usual")
        for name, cost in sorted(folders.items(), key=lambda item: -item[1].cpu_s):
            terminalreporter.line(
                f"{name:<13} {cost.tests:>6} tests {cost.cpu_s:>7.0f} s ({cost.children_s:.0f} in children), "
                f"{cost.wall_s:.0f} s by the clock"
            )
        terminalreporter.line("")
        for name, cost in sorted(self._costs.items(), key=lambda item: -item[1].wall_s)[:SLOWEST]:
            terminalreporter.line(f"{cost.wall_s:>6.1f} s by the clock, {cost.cpu_s:>6.1f} of a processor: {name}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED) and JUDGED in os.environ:
            folders, budgets = self.folders(), read_budgets()
            slowness = slowness_of(self._units_s, folders, budgets)
            lines = exceeded(folders, budgets, slowness)
            together = Cost(own_s=sum(cost.cpu_s for cost in folders.values()))
            by_work = slowness_of(self._units_s, {}, {})
            lines += exceeded({TOGETHER: together}, {TOGETHER: sum(budgets.values())}, by_work)
            if os.environ[JUDGED] == "quick":  # elsewhere other workers compile the same kernels on a first run
                lines += too_slow(self._costs, read_quick_budget(), slowness)
            if lines:
                session.exitstatus = pytest.ExitCode.TESTS_FAILED
            self._exceeded = lines

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        """Say at the very end what took too long: of a run that fails, the last lines are what people see first."""
        for line in self._exceeded:
            print(f"\n{line}", end="")

    def folders(self) -> dict[str, Cost]:
        """The costs so far, by folder."""
        return by_folder(self._costs) | {SHARED: self._shared}


def by_folder(costs: Mapping[str, Cost]) -> dict[str, Cost]:
    """The costs of tests by the folder of `tests/` they are in."""
    found: dict[str, Cost] = defaultdict(Cost)
    for test, cost in costs.items():
        found[test.split("/")[1]] += cost
    return found


def slowness_of(units_s: Sequence[float], folders: Mapping[str, Cost], budgets: Mapping[str, float]) -> float:
    """How much longer this machine takes than the one of the budgets, now, by its work or by most folders."""
    shares = [cost.cpu_s / budgets[name] for name, cost in folders.items() if name in budgets]
    return max(1.0, median(units_s) / UNIT_S, median(shares or [1.0]))


def exceeded(folders: Mapping[str, Cost], budgets: Mapping[str, float], slowness: float) -> list[str]:
    """A line for each folder at more than twice its budget, or without one; `slowness` is of the machine."""
    lines = []
    for name, cost in sorted(folders.items()):
        took_s, budget_s = cost.cpu_s / slowness, budgets.get(name, 0.0)
        if took_s > budget_s * LEEWAY:
            what = {SHARED: "what tests share", TOGETHER: "all tests"}.get(name, f"tests/{name}")
            lines.append(
                f"{what} took {took_s:.0f} s of a processor, and its budget is {budget_s:.0f} s "
                f"({BUDGETS.name}): make its tests faster, or move campaigns to `make test-long`"
            )
    return lines


def too_slow(costs: Mapping[str, Cost], budget_s: float, slowness: float) -> list[str]:
    """Where the tests of `make check` take twice their budget together: a line, and the costliest of them."""
    quick = sorted((cost.cpu_s / slowness, test) for test, cost in costs.items() if cost.is_quick)
    took_s = sum(cpu_s for cpu_s, _ in quick)
    if took_s <= budget_s * LEEWAY:
        return []
    named = [f"  {cpu_s:.2f} s: {test}" for cpu_s, test in quick[: -SLOWEST - 1 : -1]]
    said = f"the tests of `make check` took {took_s:.0f} s of a processor, and their budget is {budget_s:.0f} s"
    return [f"{said} ({BUDGETS.name}): make them faster, or mark them `slow`, the costliest first:", *named]


def read_quick_budget() -> float:
    """Seconds of a processor for the tests of `make check` together."""
    return float(tomllib.loads(BUDGETS.read_text("utf-8"))["check_cpu_s"])


def read_budgets() -> dict[str, float]:
    """Seconds of a processor by folder."""
    return {name: float(value) for name, value in tomllib.loads(BUDGETS.read_text("utf-8"))["cpu_s"].items()}


def plugin() -> Timing:
    """The plugin of a run; only the process at the terminal writes lines."""
    path = os.environ.get(TIMES)
    return Timing(Path(path) if path else None)


def _spent_s() -> tuple[float, float]:
    times = os.times()
    return times.user + times.system, times.children_user + times.children_system + forks.spent_s()


def _unit_s() -> float:
    """What a fixed piece of work takes of the processor now."""
    began = time.process_time()
    total = 0
    for number in range(200_000):
        total += number * number % 7
    return time.process_time() - began
