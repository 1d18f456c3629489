"""Back-tests of drafts as jobs. A draft and its report are files, since both may be larger than a job stores.

.shroff/backtests/DRAFT/rules/velocity.yaml
.shroff/backtests/DRAFT/policy.yaml
.shroff/backtests/DRAFT/report.json       the report, or the errors in the draft
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff import config
from shroff.backtest.document import BacktestReport
from shroff.errors import DefinitionError, Problem, UsageError
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.runtime.values import replace
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from shroff.services.jobs.kinds import DraftBacktestParams
    from shroff.services.jobs.work import JobRun
    from shroff.services.project import Project

KEPT = 200  # drafts; older ones are deleted
ROWS = 200  # changed events in a report
RULES, POLICY, REPORT = "rules", "policy.yaml", "report.json"
Result = BacktestReport | list[Problem]


class BacktestFiles(ProjectPart):
    """Drafts that were back-tested, and their reports."""

    def folder(self, draft: str) -> Path:
        return self._paths.state / "backtests" / draft

    def put(self, draft: str, rules: TextMapping, policy: str | None) -> None:
        """Store the texts of a draft, and delete the oldest drafts. Names sort by time."""
        folder = self.folder(draft)
        config.make_folder(folder / RULES)
        for name, text in rules.items():
            config.write_text(folder / RULES / name, text)
        if policy is not None:
            config.write_text(folder / POLICY, policy)
        for old in sorted(folder.parent.iterdir(), reverse=True)[KEPT:]:
            shutil.rmtree(old, ignore_errors=True)

    def rules(self, draft: str) -> TextDict:
        """Return the rule files of a draft by name; empty if they are deleted."""
        return {path.name: config.read_text(path) for path in sorted((self.folder(draft) / RULES).glob("*"))}

    def result(self, draft: str) -> Result:
        """Return the report on a draft, or the errors in it; an empty list if there is neither."""
        path = self.folder(draft) / REPORT
        return from_json(path.read_bytes(), type=Result) if path.exists() else []


def run_draft(project: Project, params: DraftBacktestParams, run: JobRun) -> JsonMapping:
    """Back-test a draft, and store the report; the job's result has its main figure.

    Raises: UsageError if the draft is deleted; DefinitionError for errors in it, which are stored.
    """
    from shroff.backtest.report import outcome

    files = project.part(BacktestFiles)
    folder = files.folder(params.draft)
    if params.draft not in {path.name for path in folder.parent.glob("*")}:
        raise UsageError(f"the draft {params.draft!r} is deleted. Start its backtest on the page Backtest.")
    policy = folder / POLICY
    with project.log.reading() as log:
        total = 2 * log.last_seq()  # records are read, then events computed
    run.step("backtest", 0, total)
    try:
        report = project.backtests.run(
            rules=folder / RULES if files.rules(params.draft) else None,
            policy=policy if policy.exists() else None,
            model=params.model,
            start=params.start,
            end=params.end,
            as_of=params.as_of,
            rows=ROWS,
            reading=run.count,
            computing=run.count,
        )
    except DefinitionError as error:
        problems = [replace(problem, file=problem.file.removeprefix(f"{folder}/")) for problem in error.problems]
        config.write_text(folder / REPORT, to_json(problems).decode())
        raise DefinitionError(problems) from None
    report.draft = []  # paths on this machine
    config.write_text(folder / REPORT, to_json(report).decode())
    run.step("backtest", total, total)
    return {"outcome": outcome(report), "report": str((folder / REPORT).relative_to(project.context.paths.folder))}
