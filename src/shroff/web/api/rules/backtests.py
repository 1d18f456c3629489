"""Backtests of drafts over HTTP. Each is a job, in its own process, so that deciding is not delayed."""

from __future__ import annotations

import asyncio
import re
import time
from contextlib import suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from msgspec import to_builtins
from msgspec.json import decode as from_json

from shroff.backtest.document import BacktestReport
from shroff.errors import DefinitionError, UsageError
from shroff.jobs import job as jobs
from shroff.jobs.job import CANCELLED, Job, JobBusyError, JobError, NoJobError
from shroff.json_types import TextDict, TextMapping
from shroff.people.access import Right
from shroff.runtime.values import replace
from shroff.services.backtest.draft_backtests import DraftBacktests
from shroff.services.jobs.desk import JobDesk, who_of
from shroff.services.jobs.kinds import DRAFT_BACKTEST, OPEN_MAX, DraftBacktestParams
from shroff.services.rules.files import TEXT_BYTES_MAX
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.problems import ProblemError, ProblemMore, of_error
from shroff.web.http.routes import API, api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shroff.people.access import Who
    from shroff.web.service import Service

SECONDS_MAX = 600
BODY_BYTES_MAX = 2 * 1024 * 1024
POLL_S = 0.2
AHEAD_MAX = 2  # other back-tests before one whose request waits for the report
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}\.yaml")  # names of a draft's files
BUSY = {"retry-after": "30"}
BacktestState = Literal["waiting", "running", "done", "failed"]
_STATES: Final[Mapping[str, BacktestState]] = MappingProxyType(
    {jobs.QUEUED: "waiting", jobs.RUNNING: "running", jobs.DONE: "done"}
)


class BacktestRequest(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """A back-test to run: `rules` are files by their names, and `rule` takes the saved draft of that rule.

    Without `wait` it runs in the background.
    """

    rules: TextDict = {}
    policy: str | None = None
    model: str | None = None
    start: str | None = None
    end: str | None = None
    as_of: str | None = None
    rule: Annotated[str | None, msgspec.Meta(description="The saved draft of this rule.")] = None
    wait: Annotated[bool, msgspec.Meta(description="false: respond at once with 202 and the URL of the result.")] = True


class BacktestRun(msgspec.Struct, rename={"start": "from", "end": "to"}):
    """One back-test: its progress, and its report once it is done.

    `rule` and `etag` say of which rule it is, and of which text of it; `done` and `total` count records that are read.
    """

    id: str
    name: str
    by: str
    began_at_ms: int
    state: BacktestState = "waiting"
    rule: str | None = None
    etag: str | None = None
    start: str | None = None
    end: str | None = None
    as_of: str | None = None
    done: int = 0
    total: int = 0
    why_not: str | None = None
    outcome: str = ""
    report: BacktestReport | None = None

    @property
    def title(self) -> str:
        """The name as a heading, capitalized unless it is the id of a rule."""
        starts = self.name.startswith(("draft of ", "all drafts", "the project"))
        return f"{self.name[0].upper()}{self.name[1:]}" if starts else self.name


class BacktestRuns(msgspec.Struct):
    """All back-tests of drafts, newest first, without their reports."""

    backtests: list[BacktestRun]


def run_of(job: Job) -> BacktestRun:
    """Return the back-test of a job, without its report."""
    params = msgspec.convert(job.arguments, DraftBacktestParams)
    who = who_of(job)
    return BacktestRun(
        id=job.id,
        name=params.name,
        by=who.name if who else job.schedule,
        began_at_ms=job.made_ms,
        state=_STATES.get(job.state, "failed"),
        rule=params.rule,
        etag=params.etag,
        start=params.start,
        end=params.end,
        as_of=params.as_of,
        done=job.done,
        total=job.total,
        why_not=job.why or ("it was cancelled" if job.state == CANCELLED else None),
        outcome=from_json(job.result)["outcome"] if job.result else "",
    )


def draft_of(job: Job) -> str:
    return str(job.arguments.get("draft"))


class Backtests(msgspec.Struct):
    """Back-tests of a service: each is a job, and its draft and report are a document."""

    jobs: JobDesk
    drafts: DraftBacktests

    def listed(self) -> list[BacktestRun]:
        """Return all back-tests, newest first, without their reports."""
        return [run_of(job) for job in self.jobs.jobs_of(DRAFT_BACKTEST, has_results=True)]

    def get(self, id_: str) -> BacktestRun:
        """Return a back-test with its report. Raises: ProblemError with 404 if there is none."""
        job = self._job(id_)
        run = run_of(job)
        if run.state == "done":
            draft = self.drafts.get(draft_of(job))
            if draft is None:
                run.state = "failed"
                run.why_not = "its report is deleted"
            else:
                run.report = draft.report
        return run

    def rules(self, id_: str) -> TextDict:
        """Return the rule files of a back-test's draft; empty if they are deleted. Raises: as `get`."""
        draft = self.drafts.get(draft_of(self._job(id_)))
        return draft.rules if draft else {}

    def last_of(self, rule: str, tag: str) -> BacktestRun | None:
        """Return the newest back-test of this version of a rule that has not failed."""
        runs = (run for run in self.listed() if (run.rule, run.etag) == (rule, tag))
        return next((run for run in runs if run.state != "failed"), None)

    def begin(
        self,
        who: Who,
        params: DraftBacktestParams,
        rules: TextMapping,
        policy: str | None = None,
        ahead_max: int = OPEN_MAX,
    ) -> Job:
        """Store a draft, and queue its job. Raises: ProblemError with 503 if too many wait."""
        ahead = [draft_of(job) for job in self.jobs.jobs_of(DRAFT_BACKTEST) if job.is_open]
        busy = ProblemError(503, "busy", "Too many backtests wait", "try again when one is done", BUSY)
        if len(ahead) > ahead_max:
            raise busy
        try:
            with self.drafts.stored(rules, policy, ahead) as draft:
                given = to_builtins(replace(params, draft=draft))
                return self.jobs.begin(who, DRAFT_BACKTEST, given, timeout_ms=SECONDS_MAX * 1_000)
        except JobBusyError:
            raise busy from None

    def _job(self, id_: str) -> Job:
        with suppress(NoJobError):
            job = self.jobs.job(id_)
            if job.kind == DRAFT_BACKTEST:
                return job
        raise ProblemError(404, "no-backtest", "There is no such backtest", f"there is no backtest {id_!r}")


async def _report(service: Service, who: Who, job: Job) -> BacktestReport:
    """Wait for the report of a back-test. Raises: ProblemError if it fails or takes too long."""
    backtests = service.backtests
    until_s = time.monotonic() + SECONDS_MAX
    while job.is_open:
        if time.monotonic() > until_s:
            with suppress(JobError):  # it has just ended
                await service.in_thread(backtests.jobs.cancel, who, job.id)
                detail = f"it took longer than {SECONDS_MAX:,} s; choose a shorter period with 'from'"
                raise ProblemError(503, "too-long", "The backtest takes too long", detail, BUSY)
        await asyncio.sleep(POLL_S)
        job = await service.in_thread(backtests.jobs.job, job.id)
    draft = await service.in_thread(backtests.drafts.get, draft_of(job))
    if draft and draft.report:
        return draft.report
    detail = job.why or "it was cancelled"
    more: ProblemMore = {}
    if draft and draft.problems:
        problem = of_error(DefinitionError(draft.problems))
        detail = problem.detail
        more = problem.more
    raise ProblemError(422, "no-backtest", "The draft cannot be tested", detail, **more)


# ---- the API


async def backtest(service: Service, request: Request) -> Json[BacktestReport] | Json[BacktestRun]:
    draft = await service.in_thread(decoded, await request.body(BODY_BYTES_MAX), BacktestRequest)
    etag = None
    if draft.rule is not None:
        saved = await service.in_thread(service.project.drafts.one, draft.rule)
        if saved is None:
            raise ProblemError(404, "no-draft", "There is no such draft", f"nobody has a draft of {draft.rule!r}")
        draft.rules = {**draft.rules, f"{draft.rule}.yaml": saved.text}
        etag = saved.tag
    _check(draft)
    params = DraftBacktestParams(
        name=_name_of(draft),
        rule=draft.rule,
        etag=etag,
        model=draft.model,
        start=draft.start,
        end=draft.end,
        as_of=draft.as_of,
    )
    ahead_max = AHEAD_MAX if draft.wait else OPEN_MAX
    job = await service.in_thread(service.backtests.begin, request.who, params, draft.rules, draft.policy, ahead_max)
    if draft.wait:
        return Json(await _report(service, request.who, job))
    return Json(run_of(job), 202, {"location": f"{API}/backtests/{job.id}"})


def _name_of(draft: BacktestRequest) -> str:
    if not draft.rules:
        return draft.model or "the project as it is"
    first, *more = draft.rules
    return f"{first} and {len(more)} more" if more else first


def _check(draft: BacktestRequest) -> None:
    """Raises: ProblemError with 422 for invalid file names, long texts and invalid times."""
    from shroff.replay.notebook import moment_ms

    error_text = ""
    for name, text in draft.rules.items():
        if not _FILE.fullmatch(name):
            error_text = f"rules: {name[:100]!r} is not a name of a file of rules, such as velocity.yaml"
        elif len(text.encode("utf-8", "replace")) > TEXT_BYTES_MAX:
            error_text = f"rules: {name} is too long; a file of rules has at most {TEXT_BYTES_MAX:,} bytes"
    try:
        for name, moment in (("from", draft.start), ("to", draft.end), ("as_of", draft.as_of)):
            moment_ms(moment, name)
    except UsageError as error:
        error_text = error_text or str(error)
    if error_text:
        raise ProblemError(422, "bad-body", "The body cannot be read", error_text)


async def backtests(service: Service, request: Request) -> Json[BacktestRuns]:
    return Json(BacktestRuns(await service.in_thread(service.backtests.listed)))


async def one_backtest(service: Service, request: Request) -> Json[BacktestRun]:
    return Json(await service.in_thread(service.backtests.get, request.path_params["id"]))


ROUTES = (
    api("POST", "/backtests", Right.RUN_BACKTESTS, backtest)(
        "Compare a draft of rules, a policy or a model with the project without it, over the log.",
        "The report, as of `shroff backtest --json`.",
        BacktestRequest,
        {
            404: "That rule has no draft.",
            422: "The draft cannot be evaluated.",
            503: "Too many back-tests wait (2 if this request waits), or this one takes too long.",
        },
        answer=BacktestReport,
        others={
            202: (
                "The back-test has started: its progress. The header `Location` has the URL of its report.",
                BacktestRun,
            )
        },
    ),
    api("GET", "/backtests", Right.READ_DEFINITIONS, backtests)(
        "List the back-tests of drafts.", "Newest first, without their reports."
    ),
    api("GET", "/backtests/{id}", Right.READ_DEFINITIONS, one_backtest)(
        "Get the progress of a back-test, and its final report.", "The back-test.", problems={404: ""}
    ),
)
