"""The project itself: its models, its rules as files, and what a draft of them would have done."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shroff.decisions.inbox import ADOPT
from shroff.decisions.rule_files import TEXT_BYTES_MAX, ChangedMeanwhileError, RuleFile
from shroff.errors import ShroffError
from shroff.people.audit import Act
from shroff.web.http import Headers, Request, Response, json_response
from shroff.web.problems import ProblemError

if TYPE_CHECKING:
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 2 * 1024 * 1024
BACKTEST_S_MAX: Final = 600.0
WAITS_S: Final = 5.0  # for another backtest, of which there is one at a time


# ---- models


async def models(service: Service, request: Request) -> Response:
    """The models of the registry, the newest first, with what each is now."""
    found = await service.in_thread(service.project.models)
    return json_response(
        {"models": [{**asdict(one.summary), "role": one.role, "redefined": one.redefined} for one in found]}
    )


# ---- rules


async def rules(service: Service, request: Request) -> Response:
    """All files of rules, and the rules in each."""
    found = await service.in_thread(service.project.rule_files)
    return json_response({"files": [_shown(one) for one in found]})


async def rule_file(service: Service, request: Request) -> Response:
    """One file of rules, with its text; its ETag is asked for by who changes it."""
    found = await service.in_thread(service.project.rule_file, request.params["file"])
    if found is None:
        words = f"there is no file rules/{request.params['file']}"
        raise ProblemError(404, "no-rules", "There is no such file of rules", words)
    return json_response({**_shown(found), "text": found.text}, headers=_tag(found))


class Text(msgspec.Struct, forbid_unknown_fields=True):
    """A file's new text."""

    text: str


async def put_rules(service: Service, request: Request) -> Response:
    """A new text for a file of rules: checked with its tests, written, and put in force."""
    name, matched = request.params["file"], request.header(b"if-match").decode("latin-1").strip()
    is_new = request.header(b"if-none-match").strip() == b"*"
    if not matched and not is_new:
        words = "send the ETag of what you read as If-Match, or If-None-Match: * for a file that is not there yet"
        raise ProblemError(428, "no-precondition", "It is not said what is changed", words)
    given = _body(await request.body(BODY_BYTES_MAX), Text)
    project = service.project
    before = await service.in_thread(project.rule_file, name)
    tag = "" if is_new else matched.strip('"')
    try:
        await service.in_thread(project.write_rules, name, given.text, tag)
    except ChangedMeanwhileError as error:
        headers = () if before is None else _tag(before)
        raise ProblemError(412, "changed-meanwhile", "It is not what it was", str(error), headers) from None
    act = Act(request.who, "rules.put", f"rules/{name}", None if before is None else before.tag, None)
    now = await service.in_thread(project.rule_file, name)
    assert now is not None
    in_force, why_not = True, ""
    try:
        await service.asked_of_log(Act(act.who, act.action, act.subject, act.before, now.tag), ADOPT, [b"null"])
    except ShroffError as error:  # the file is written; it comes into force later
        in_force, why_not = False, str(error)
    return json_response({**_shown(now), "in_force": in_force, "why_not": why_not or None}, headers=_tag(now))


def _shown(one: RuleFile) -> dict[str, Any]:
    found = [
        {
            "id": rule.id,
            "on": rule.on,
            "by": rule.by,
            "effect": rule.effect,
            "shadow": rule.is_shadow,
            "rollout": rule.rollout,
            "notify": rule.notify,
            "tests": len(rule.tests),
        }
        for rule in one.rules
    ]
    return {"file": one.name, "etag": one.tag, "rules": found}


def _tag(one: RuleFile) -> Headers:
    return ((b"etag", f'"{one.tag}"'.encode()),)


def _body(raw: bytes, type_: type[Any]) -> Any:
    try:
        return msgspec.json.decode(raw, type=type_)
    except (ValueError, RecursionError) as error:
        raise ProblemError(422, "bad-body", "The body cannot be read", str(error)) from None


# ---- backtests


class Draft(msgspec.Struct, forbid_unknown_fields=True, rename={"start": "from", "end": "to"}):
    """What is held against the log. `rules` are files by their names."""

    rules: dict[str, str] = {}
    policy: str | None = None
    model: str | None = None
    start: str | None = None
    end: str | None = None
    as_of: str | None = None


async def backtest(service: Service, request: Request) -> Response:
    """What a draft would have decided, against what was decided: computed by a process of its own."""
    draft = _body(await request.body(BODY_BYTES_MAX), Draft)
    for name, text in draft.rules.items():
        if Path(name).name != name or not name.endswith(".yaml") or len(text) > TEXT_BYTES_MAX:
            raise ProblemError(
                422, "bad-body", "The body cannot be read", f"rules: {name!r} is no name of a file of rules"
            )
    try:
        async with asyncio.timeout(WAITS_S):
            await service.backtests.acquire()
    except TimeoutError:
        headers = ((b"retry-after", b"30"),)
        raise ProblemError(503, "busy", "Another backtest runs", "try again when it is done", headers) from None
    try:
        return await _computed(service, draft)
    finally:
        service.backtests.release()


async def _computed(service: Service, draft: Draft) -> Response:
    with tempfile.TemporaryDirectory(prefix="shroff-backtest-") as folder:
        command = [sys.executable, "-m", "shroff", "-C", str(service.project.places.folder), "backtest", "--json"]
        command += await asyncio.to_thread(_options, draft, Path(folder))
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(BACKTEST_S_MAX):
                said, _ = await process.communicate()
        except TimeoutError:
            words = f"it took longer than {BACKTEST_S_MAX:g} s; judge a shorter time, by 'from'"
            raise ProblemError(503, "too-long", "The backtest takes too long", words) from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
    if process.returncode:
        raise ProblemError(422, "no-backtest", "The draft cannot be judged", _why(said))
    return Response(said.strip())


def _options(draft: Draft, folder: Path) -> list[str]:
    """The draft as files, and as options of the command."""
    found: list[str] = []
    if draft.rules:
        (folder / "rules").mkdir()
        for name, text in draft.rules.items():
            (folder / "rules" / name).write_text(text, encoding="utf-8")
        found += ["--rules", str(folder / "rules")]
    if draft.policy is not None:
        (folder / "policy.yaml").write_text(draft.policy, encoding="utf-8")
        found += ["--policy", str(folder / "policy.yaml")]
    values = {"--model": draft.model, "--from": draft.start, "--to": draft.end, "--as-of": draft.as_of}
    return found + [f"{name}={value}" for name, value in values.items() if value is not None]


def _why(said: bytes) -> str:
    """What the command says is wrong."""
    with suppress(ValueError, RecursionError):
        document = msgspec.json.decode(said)
        if isinstance(document, dict):
            error = document.get("error", document)
            return str(error.get("message", error)) if isinstance(error, dict) else str(error)
    return "the command failed"
