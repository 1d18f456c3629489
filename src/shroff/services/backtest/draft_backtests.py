"""Back-tests of drafts as jobs. A draft and its report are a document, since both may be larger than a job stores."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from msgspec import Struct

from shroff import config
from shroff.backtest.document import BacktestReport
from shroff.errors import DefinitionError, Problem, UsageError
from shroff.json_types import JsonMapping, TextDict, TextMapping
from shroff.runtime import state_folder
from shroff.runtime.values import replace
from shroff.services.documents import Documents
from shroff.services.jobs.kinds import DRAFT_BACKTEST
from shroff.services.parts import ProjectPart

if TYPE_CHECKING:
    from shroff.services.jobs.kinds import DraftBacktestParams
    from shroff.services.jobs.work import JobRun
    from shroff.services.project import Project

KEPT = 250  # drafts, more than jobs of this kind
ROWS = 200  # changed events in a report
RULES = "rules"


class DraftBacktest(Struct):
    """The texts of a draft, with its report or the errors in it after its back-test."""

    rules: TextDict
    policy: str | None = None
    report: BacktestReport | None = None
    problems: list[Problem] = []


class DraftBacktests(ProjectPart):
    """Drafts and reports of back-tests, for all machines that share the log."""

    _documents: Documents

    @contextmanager
    def stored(self, rules: TextMapping, policy: str | None, needed: Collection[str]) -> Iterator[str]:
        """Store the texts of a draft, and yield its name.

        If the block fails, the draft is deleted; otherwise the oldest that are not `needed`.
        """
        draft = f"{time.time_ns()}-{token_hex(3)}"  # sorted by time
        self.put(draft, DraftBacktest({**rules}, policy))
        try:
            yield draft
        except BaseException:
            self._delete(draft)
            raise
        with self._documents.open() as table:
            names = table.names(DRAFT_BACKTEST)
        for name in names[:-KEPT]:
            if name not in needed:
                self._delete(name)

    def get(self, draft: str) -> DraftBacktest | None:
        return self._documents.read(DRAFT_BACKTEST, DraftBacktest, draft).get(draft)

    def put(self, draft: str, document: DraftBacktest) -> None:
        with self._documents.edit(DRAFT_BACKTEST, DraftBacktest, draft) as stored:
            stored[draft] = document

    def _delete(self, draft: str) -> None:
        with self._documents.edit(DRAFT_BACKTEST, DraftBacktest, draft) as stored:
            stored.clear()


def run_draft(project: Project, params: DraftBacktestParams, run: JobRun) -> JsonMapping:
    """Back-test a draft, and store the report, or the errors in the draft. Raises: DefinitionError; UsageError."""
    from shroff.backtest.report import outcome

    drafts = project.part(DraftBacktests)
    draft = drafts.get(params.draft)
    if draft is None:
        raise UsageError(f"the draft {params.draft!r} is deleted. Start its backtest on the page Backtest.")
    with project.log.reading() as log:
        total = 2 * log.last_seq()  # records are read, then events computed
    run.step("backtest", 0, total)
    with TemporaryDirectory(prefix="shroff-") as name:
        folder = Path(name)
        state_folder.make_folder(folder / RULES)
        for file, text in draft.rules.items():
            config.write_text(folder / RULES / file, text)
        policy = folder / "policy.yaml"
        if draft.policy is not None:
            config.write_text(policy, draft.policy)
        try:
            draft.report = project.backtests.run(
                rules=folder / RULES if draft.rules else None,
                policy=None if draft.policy is None else policy,
                model=params.model,
                start=params.start,
                end=params.end,
                as_of=params.as_of,
                rows=ROWS,
                reading=run.count,
                computing=run.count,
            )
            draft.report.draft = []  # paths on this machine
        except DefinitionError as error:
            draft.problems = [
                replace(problem, file=problem.file.removeprefix(f"{name}/")) for problem in error.problems
            ]
            raise DefinitionError(draft.problems) from None
        finally:
            drafts.put(params.draft, draft)
    run.step("backtest", total, total)
    return {"outcome": outcome(draft.report)}
