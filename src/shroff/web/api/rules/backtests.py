"""Backtests that a service runs, one at a time, each in its own process so that deciding is not delayed.

Results are files in the state folder, and survive a restart of the service.
"""

from __future__ import annotations

import asyncio
import re
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from msgspec import Struct, field
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff import config
from shroff.backtest.document import BacktestReport
from shroff.errors import ShroffError, UsageError
from shroff.json_types import TextDict
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.runtime.logs import failure
from shroff.services.backtest.operations import RunBacktest
from shroff.services.rules.files import TEXT_BYTES_MAX
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import API, api
from shroff.web.work.operation_processes import OperationProcess, ProcessEndedError, Told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from shroff.people.access import Who
    from shroff.web.service import Service

FOLDER = "backtests"
SECONDS_MAX = 600.0
BODY_BYTES_MAX = 2 * 1024 * 1024
KEPT = 200  # results; older ones are deleted
ROWS = 200  # changed events stored with a result
WAITING_MAX = 8  # backtests that run or wait
WAITS_S = 5.0  # for which a request waits for the running backtest
FAILED = "failed"
DONE = "done"
_FILE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}\.yaml")  # names of a draft's files
BUSY = {"retry-after": "30"}


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
    state: Literal["waiting", "running", "done", "failed"] = "waiting"
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
    """All back-tests started without waiting, newest first, without their reports."""

    backtests: list[BacktestRun]


class KeptBacktest(msgspec.Struct):
    """A stored back-test, with the draft's files to run it again."""

    run: BacktestRun
    rules: TextDict


class Backtests(Struct):
    """A service's back-tests: running and waiting ones in memory, finished ones as files."""

    state_folder: Path
    going: dict[str, KeptBacktest] = {}
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _tasks: set[asyncio.Task[None]] = set()

    @property
    def folder(self) -> Path:
        return self.state_folder / FOLDER

    def listed(self) -> list[BacktestRun]:
        """Return all back-tests, newest first, without their reports. Reads their files."""
        paths = sorted(self.folder.glob("*.json"), reverse=True) if self.folder.is_dir() else []
        going = dict(self.going)  # one that ends meanwhile is listed once
        runs = [kept.run for kept in going.values()]
        for path in paths:
            kept = _read(path)
            if kept is not None and kept.run.id not in going:
                kept.run.report = None
                runs.append(kept.run)
        return sorted(runs, key=lambda run: run.id, reverse=True)

    def kept(self, id_: str) -> KeptBacktest:
        """Return a back-test with its report. Raises: ProblemError with 404 if there is none."""
        backtest = self.going.get(id_)
        if backtest is None and id_.replace("-", "").isalnum() and id_.isascii():
            backtest = _read(self.folder / f"{id_}.json")
        if backtest is None:
            raise ProblemError(404, "no-backtest", "There is no such backtest", f"there is no backtest {id_!r}")
        return backtest

    def last_of(self, rule: str, tag: str) -> BacktestRun | None:
        """Return the newest back-test of this version of a rule that has not failed. Reads files."""
        runs = (run for run in self.listed() if (run.rule, run.etag) == (rule, tag))
        return next((run for run in runs if run.state != FAILED), None)

    async def begin(self, service: Service, who: Who, draft: BacktestRequest, run: BacktestRun) -> None:
        """Record a back-test in the audit log and start it in the background.

        Raises: ProblemError with 503 if too many wait.
        """
        if len(self.going) >= WAITING_MAX:
            raise ProblemError(503, "busy", "Too many backtests wait", "try again when one is done", BUSY)
        run.start = draft.start
        run.end = draft.end
        run.as_of = draft.as_of
        self.going[run.id] = KeptBacktest(run, draft.rules)
        try:
            await service.changes.record(act_of(who, run, draft))
        except BaseException:
            del self.going[run.id]
            raise
        task = asyncio.get_running_loop().create_task(self._run(service, draft, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, service: Service, draft: BacktestRequest, run: BacktestRun) -> None:
        from shroff.backtest.report import outcome

        try:
            async with self.turn:
                run.state = "running"
                run.report = await computed(service, draft, run)
                run.outcome = outcome(run.report)
            run.state = "done"
        except ProblemError as error:
            run.state = "failed"
            run.why_not = error.detail
        except (ShroffError, OSError) as error:
            run.state = "failed"
            run.why_not = str(error)
        finally:
            if run.state in {"waiting", "running"}:
                run.state = "failed"
                run.why_not = "the service stopped meanwhile"
            try:
                await asyncio.to_thread(self._keep, self.going[run.id])
            except (ShroffError, OSError) as error:
                service.tell(failure("a backtest is not kept", error))
            finally:
                self.going.pop(run.id, None)

    def _keep(self, kept: KeptBacktest) -> None:
        config.make_folder(self.folder)
        config.write_text(self.folder / f"{kept.run.id}.json", to_json(kept).decode())
        for path in sorted(self.folder.glob("*.json"), reverse=True)[KEPT:]:
            path.unlink(missing_ok=True)

    @asynccontextmanager
    async def at_once(self) -> AsyncIterator[None]:
        """Hold the turn of a back-test whose caller waits. Raises: ProblemError if it is not free within `WAITS_S`."""
        try:
            async with asyncio.timeout(WAITS_S):
                await self.turn.acquire()
        except TimeoutError:
            raise ProblemError(503, "busy", "Another backtest runs", "try again when it is done", BUSY) from None
        try:
            yield
        finally:
            self.turn.release()


def new_run(service: Service, who: Who) -> BacktestRun:
    """Return a new back-test, whose id sorts by time."""
    now_ms = service.project.context.now_ms()
    id_ = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now_ms / 1_000))}-{token_hex(3)}"
    return BacktestRun(id_, "", who.name, now_ms)


def act_of(who: Who, run: BacktestRun, draft: BacktestRequest) -> Act:
    """Audit entry of a back-test: the draft, and its period."""
    parts = {"rules": sorted(draft.rules), "policy": draft.policy is not None, "model": draft.model}
    period = {"from": draft.start, "to": draft.end, "as_of": draft.as_of}
    details = {name: value for name, value in (parts | period).items() if value}
    return Act(who, "backtest.begin", run.name, None, {"backtest": run.id, **details})


async def computed(service: Service, draft: BacktestRequest, run: BacktestRun) -> BacktestReport:
    """Run a back-test in a new process and return its report. Raises: ProblemError if it fails or takes too long."""

    def report_progress(done: int, total: int) -> None:
        run.done = done
        run.total = total

    process = await asyncio.to_thread(OperationProcess, service.project.context.paths.folder)
    try:
        report = await asyncio.to_thread(_report, process, draft, report_progress)
    except ProcessEndedError as error:
        if error.is_late:
            detail = f"it took longer than {SECONDS_MAX:g} s; choose a shorter period with 'from'"
            raise ProblemError(503, "too-long", "The backtest takes too long", detail) from None
        detail = "its process ended without a message"
        raise ProblemError(422, "no-backtest", "The draft cannot be tested", detail) from None
    except ProblemError as error:
        raise ProblemError(422, "no-backtest", "The draft cannot be tested", error.detail, **error.more) from None
    finally:
        process.kill()
    report.draft = []  # paths of the deleted temporary files
    return report


def _report(process: OperationProcess, draft: BacktestRequest, progress: Told) -> BacktestReport:
    with tempfile.TemporaryDirectory(prefix="shroff-backtest-") as folder:
        rules = Path(folder) / "rules"
        policy = Path(folder) / "policy.yaml"
        rules.mkdir()
        for name, text in draft.rules.items():
            (rules / name).write_text(text, encoding="utf-8")
        policy.write_text(draft.policy or "", encoding="utf-8")
        request = RunBacktest(
            rules=str(rules) if draft.rules else None,
            policy=None if draft.policy is None else str(policy),
            model=draft.model,
            start=draft.start,
            end=draft.end,
            as_of=draft.as_of,
            rows=ROWS,
        )
        try:
            return process.run(request, SECONDS_MAX, progress, f"{folder}/")
        finally:
            process.end()


def _read(path: Path) -> KeptBacktest | None:
    try:
        return from_json(path.read_bytes(), type=KeptBacktest)
    except (OSError, msgspec.MsgspecError):  # not a result, or just deleted
        return None


# ---- the API


async def backtest(service: Service, request: Request) -> Json[BacktestReport] | Json[BacktestRun]:
    draft = await service.in_thread(decoded, await request.body(BODY_BYTES_MAX), BacktestRequest)
    run = new_run(service, request.who)
    if draft.rule is not None:
        saved = await service.in_thread(service.project.drafts.one, draft.rule)
        if saved is None:
            raise ProblemError(404, "no-draft", "There is no such draft", f"nobody has a draft of {draft.rule!r}")
        draft.rules = {**draft.rules, f"{draft.rule}.yaml": saved.text}
        run.rule = draft.rule
        run.etag = saved.tag
    _check(draft)
    run.name = " ".join(draft.rules) or draft.model or "the project as it is"
    if not draft.wait:
        await service.backtests.begin(service, request.who, draft, run)
        return Json(run, 202, {"location": f"{API}/backtests/{run.id}"})
    async with service.backtests.at_once():
        await service.changes.record(act_of(request.who, run, draft))
        return Json(await computed(service, draft, run))


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
    return Json((await service.in_thread(service.backtests.kept, request.path_params["id"])).run)


ROUTES = (
    api("POST", "/backtests", Right.RUN_BACKTESTS, backtest)(
        "Compare a draft of rules, a policy or a model with the project without it, over the log.",
        "The report, as of `shroff backtest --json`.",
        BacktestRequest,
        {
            404: "That rule has no draft.",
            422: "The draft cannot be evaluated.",
            503: "Another back-test is running, or this one takes too long.",
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
        "List the back-tests that were started without waiting.", "Newest first, without their reports."
    ),
    api("GET", "/backtests/{id}", Right.READ_DEFINITIONS, one_backtest)(
        "Get the progress of a back-test, and its final report.", "The back-test.", problems={404: ""}
    ),
)
