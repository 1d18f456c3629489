"""Backtests that a service runs: one at a time, each in a process of its own, its result kept as a file.

So deciding goes on beside it, and what came of one can be looked at after the next start.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict

import msgspec

from shroff import config
from shroff.backtest.document import ReportDocument
from shroff.people.audit import Act
from shroff.web.http.problems import ProblemError

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.web.service import Service

FOLDER: Final = "backtests"
SECONDS_MAX: Final = 600.0
KEPT: Final = 200  # results; the oldest go
WAITING_MAX: Final = 8
WAITING: Final = "waiting"
RUNNING: Final = "running"
DONE: Final = "done"
FAILED: Final = "failed"


class Draft(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """The draft of a backtest. `rules` are files by their names."""

    rules: dict[str, str] = {}
    policy: str | None = None
    model: str | None = None
    start: str | None = None
    end: str | None = None
    as_of: str | None = None


class BacktestRun(TypedDict):
    """One back-test: its progress, and its report once it is done."""

    id: str
    name: str
    by: str
    began_at_ms: int
    state: Annotated[str, msgspec.Meta(extra_json_schema={"enum": [WAITING, RUNNING, DONE, FAILED]})]
    rule: str | None
    etag: str | None
    done: int
    total: int
    why_not: str | None
    report: ReportDocument | None


class BacktestRuns(TypedDict):
    """All back-tests started without waiting, newest first, without their reports."""

    backtests: list[BacktestRun]


class Kept(msgspec.Struct):
    """One backtest as it is kept. `rule` and `tag` say of which rule it was, and which text of it.

    `done` and `total` are records that were read; `result` is there where it is done, else `why_not`. `rules` are the
    draft's files, to run it again; `outcome` is the result in a few words.
    """

    id: str
    name: str
    by: str
    began_at_ms: int
    state: str = WAITING
    rule: str = ""
    tag: str = ""
    start: str | None = None
    end: str | None = None
    as_of: str | None = None
    done: int = 0
    total: int = 0
    why_not: str = ""
    rules: dict[str, str] = {}
    outcome: str = ""
    result: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """Its name as a heading: the id of a rule is written as it is."""
        starts = self.name.startswith(("draft of ", "all drafts", "the project"))
        return f"{self.name[0].upper()}{self.name[1:]}" if starts else self.name


@dataclass(slots=True)
class Backtests:
    """Those that run and wait, in memory; those that are done, in a folder."""

    state_folder: Path
    going: dict[str, Kept] = field(default_factory=dict)
    turn: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(1))
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    @property
    def folder(self) -> Path:
        return self.state_folder / FOLDER

    def listed(self) -> list[Kept]:
        """All of them, the newest first, without their results. May wait."""
        there = sorted(self.folder.glob("*.json"), reverse=True) if self.folder.is_dir() else []
        done = [one for path in there if (one := _read(path)) is not None and one.id not in self.going]
        for one in done:
            one.result = None
        return sorted([*self.going.values(), *done], key=lambda one: one.id, reverse=True)

    def one(self, id_: str) -> Kept:
        """One of them, with its result. Raises: ProblemError with 404."""
        found = self.going.get(id_)
        if found is None and id_.replace("-", "").isalnum() and id_.isascii():
            found = _read(self.folder / f"{id_}.json")
        if found is None:
            raise ProblemError(404, "no-backtest", "There is no such backtest", f"there is no backtest {id_!r}")
        return found

    def last_of(self, rule: str, tag: str) -> Kept | None:
        """The newest that judged this text of a rule and did not fail. May wait."""
        return next((one for one in self.listed() if one.rule == rule and one.tag == tag and one.state != FAILED), None)

    async def begin(self, service: Service, who: Who, draft: Draft, kept: Kept) -> Kept:
        """Begin one, once it stands in the record; it goes on by itself. Raises: ProblemError where too many wait."""
        if len(self.going) >= WAITING_MAX:
            headers = {"retry-after": "30"}
            raise ProblemError(503, "busy", "Too many backtests wait", "try again when one is done", headers)
        kept.rules = draft.rules
        self.going[kept.id] = kept
        try:
            await service.recorded(act_of(who, kept, draft))
        except BaseException:
            del self.going[kept.id]
            raise
        task = asyncio.get_running_loop().create_task(self._run(service, draft, kept))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return kept

    async def _run(self, service: Service, draft: Draft, kept: Kept) -> None:
        try:
            async with self.turn:
                kept.state = RUNNING
                kept.result = await computed(service, draft, kept)
                kept.outcome = kept.result["outcome"]
            kept.state = DONE
        except ProblemError as error:
            kept.state, kept.why_not = FAILED, error.detail
        finally:
            if kept.state in {WAITING, RUNNING}:
                kept.state, kept.why_not = FAILED, "the service stopped meanwhile"
            await asyncio.to_thread(self._keep, kept)
            self.going.pop(kept.id, None)

    def _keep(self, kept: Kept) -> None:
        config.make_folder(self.folder)
        config.write_text(self.folder / f"{kept.id}.json", msgspec.json.encode(kept).decode())
        for path in sorted(self.folder.glob("*.json"), reverse=True)[KEPT:]:
            path.unlink(missing_ok=True)


def act_of(who: Who, kept: Kept, draft: Draft) -> Act:
    """Audit entry of a back-test: the draft, and its period."""
    of = {"rules": sorted(draft.rules), "policy": draft.policy is not None, "model": draft.model}
    over = {"from": draft.start, "to": draft.end, "as_of": draft.as_of}
    told = {name: value for name, value in (of | over).items() if value}
    return Act(who, "backtest.begin", kept.name, None, {"backtest": kept.id, **told})


def new_id(now_ms: int) -> str:
    """An id by which they stand in the order of time."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime(now_ms / 1_000))}-{token_hex(3)}"


async def computed(service: Service, draft: Draft, kept: Kept) -> dict[str, Any]:
    """Result of a process of its own. Raises: ProblemError."""
    with tempfile.TemporaryDirectory(prefix="shroff-backtest-") as folder:
        job = await asyncio.to_thread(_job, draft, Path(folder), service.project.opened.places.folder)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "shroff.web.work.backtest_work", msgspec.json.encode(job).decode()),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=64 * 1024 * 1024,
            start_new_session=True,  # see `giving_way`
        )
        try:
            async with asyncio.timeout(SECONDS_MAX):
                return await _heard(process, kept)
        except TimeoutError:
            words = f"it took longer than {SECONDS_MAX:g} s; choose a shorter period with 'from'"
            raise ProblemError(503, "too-long", "The backtest takes too long", words) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


async def _heard(process: asyncio.subprocess.Process, kept: Kept) -> dict[str, Any]:
    assert process.stdout is not None
    async for line in process.stdout:
        said = msgspec.json.decode(line, type=dict[str, Any])
        if "result" in said:
            found: dict[str, Any] = said["result"]
            return found
        if "error" in said:
            more = {"errors": said["errors"]} if "errors" in said else {}
            raise ProblemError(422, "no-backtest", "The draft cannot be tested", str(said["error"]), **more)
        kept.done, kept.total = said["done"], said["total"]
    raise ProblemError(422, "no-backtest", "The draft cannot be tested", "its process ended without a message")


def _job(draft: Draft, folder: Path, project: Path) -> dict[str, str | None]:
    """The draft as files, and the options of the process."""
    job: dict[str, str | None] = {"project": str(project), "draft": str(folder), "model": draft.model}
    if draft.rules:
        (folder / "rules").mkdir()
        for name, text in draft.rules.items():
            (folder / "rules" / name).write_text(text, encoding="utf-8")
        job["rules"] = str(folder / "rules")
    if draft.policy is not None:
        (folder / "policy.yaml").write_text(draft.policy, encoding="utf-8")
        job["policy"] = str(folder / "policy.yaml")
    return job | {"start": draft.start, "end": draft.end, "as_of": draft.as_of}


def document(one: Kept) -> BacktestRun:
    """A backtest for who asks; the report stands in it as `shroff backtest --json` gives it."""
    return {
        "id": one.id,
        "name": one.name,
        "by": one.by,
        "began_at_ms": one.began_at_ms,
        "state": one.state,
        "rule": one.rule or None,
        "etag": one.tag or None,
        "done": one.done,
        "total": one.total,
        "why_not": one.why_not or None,
        "report": None if one.result is None else one.result["report"],
    }


def _read(path: Path) -> Kept | None:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Kept)
    except (OSError, msgspec.MsgspecError):  # another program's file, or one that has just gone
        return None
