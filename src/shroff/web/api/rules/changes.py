"""The project's files as the active version: what is only in files, and the step that makes it active."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final, TypedDict

import msgspec

from shroff.errors import DefinitionError, NotAllowedError, ShroffError
from shroff.log.active_files import NOTICES, SETTING, FileDifference
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.web.http.messages import Json, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api
from shroff.worker.inbox import ADOPT

if TYPE_CHECKING:
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 4_096
WATCH_S: Final = 1.0  # between two looks at the files; what is the same at two of them is complete
RULES: Final = "rules/"
RIGHTS: Final = (  # which right a change needs, by the beginning of its name; else that to edit rules
    ("policy.yaml", Right.SET_THRESHOLDS),
    ("lists/", Right.EDIT_LISTS),
    ("tables/", Right.EDIT_LISTS),
    ("models/", Right.PROMOTE_MODELS),
    (NOTICES, Right.SEND_NOTICES),
    *((f"{SETTING}{name}", Right.MANAGE_USERS) for name in ("http", "sessions", "sign_in", "sources", "web")),
    *((f"{SETTING}{name}", Right.MEND_INPUT) for name in ("online", "sinks")),
    (SETTING, Right.SEND_NOTICES),
)


class ChangesStep(msgspec.Struct, forbid_unknown_fields=True):
    """The changes to apply, by the etag that you read."""

    etag: str


def tag_of(found: Sequence[FileDifference]) -> str:
    """Tag of changes: it differs with them."""
    return sha256(msgspec.json.encode(found)).hexdigest()[:32]


def needed(found: Sequence[FileDifference]) -> frozenset[Right]:
    """The rights that it takes to make these active."""
    return frozenset(
        next((right for start, right in RIGHTS if one.file.startswith(start)), Right.EDIT_RULES) for one in found
    )


def why_refused(service: Service, who: Who | None, found: Sequence[FileDifference]) -> str:
    """Why somebody, or the service by itself, does not make these active; empty where it may."""
    if service.project.drafts.need_second_person and any(one.file.startswith(RULES) for one in found):
        return "rules need approval by a second person here, so changed rule files take effect at a restart"
    missing = sorted(one.value for one in needed(found) if who is not None and not who.may(one))
    return f"this also needs the permission {' and '.join(missing)}" if missing else ""


async def applied(service: Service, who: Who | None, found: Sequence[FileDifference]) -> str:
    """Have the log take these up, recorded as an act of who asks; why it does not yet, empty where it does.

    Raises: NotAllowedError.
    """
    if words := why_refused(service, who, found):
        raise NotAllowedError(words)
    if not found:
        return ""
    who = service.project.opened.who if who is None else who
    act = Act(who, "project.applying.apply", "project", None, {"files": [one.file for one in found]})
    try:
        await service.asked_of_log(act, ADOPT, [b"null"])
    except ShroffError as error:
        return str(error)
    return ""


class FileChange(TypedDict):
    """A file or setting whose current content is not active."""

    file: str
    change: str
    takes: str


class FileChanges(TypedDict):
    """Changes that are only in files; `etag` identifies them."""

    changes: list[FileChange]
    etag: str


class AppliedChanges(TypedDict):
    """The changes that were applied, and the sequence number from which the log uses them."""

    changed: list[FileChange]
    seq: int
    applied: bool
    why_not: str | None


# ---- the API


async def changes(service: Service, request: Request) -> Json[FileChanges]:
    """The inactive changes of the files."""
    found = await service.in_thread(service.project.versions.unapplied)
    return Json({"changes": [document(one) for one in found], "etag": tag_of(found)})


async def apply(service: Service, request: Request) -> Json[AppliedChanges]:
    """Make active what was read."""
    given = decoded(await request.body(BODY_BYTES_MAX), ChangesStep)
    found = await meant(service, given.etag)
    why_not = await applied(service, request.who, found)
    seq = await service.in_thread(service.project.versions.active_seq)
    changed = [document(one) for one in found]
    return Json({"changed": changed, "seq": seq, "applied": not why_not, "why_not": why_not or None})


async def meant(service: Service, tag: str) -> list[FileDifference]:
    """The changes that somebody saw. Raises: ProblemError where they are others by now."""
    found = await service.in_thread(service.project.versions.unapplied)
    if tag_of(found) != tag:
        words = "the files were changed meanwhile; reload the changes and apply them"
        raise ProblemError(412, "changed-meanwhile", "It was changed meanwhile", words)
    return found


def document(one: FileDifference) -> FileChange:
    return {"file": one.file, "change": one.change, "takes": one.takes}


ROUTES: Final = (
    api("GET", "/changes", Right.READ_DEFINITIONS, changes)(
        "List inactive changes in the project's files: files, and settings of shroff.yaml.",
        "`takes` is `now` for changes that can be applied to a running service, else `restart`.",
        problems={422: "The files are invalid; each error has file, line and column."},
    ),
    api("POST", "/changes/apply", Right.EDIT_RULES, apply)(
        "Make the project's files the active version, from the next event on. Changes of policy, lists, models "
        "and notices also need their own right; sinks need `mend:input`, and settings of sign-in and web need "
        "`manage:users`.",
        "The result, as of `shroff apply --json`.",
        ChangesStep,
        {
            403: "Further rights or a second person are needed.",
            412: "The files have been changed since.",
            413: "The body is too long, or has too many items.",
            422: "The files are invalid, or the body cannot be read.",
        },
    ),
)


# ---- by itself


async def keep_applied(service: Service, every_s: float = WATCH_S) -> None:
    """Apply changes of files by itself, once they are complete, until it is canceled. A failure is reported once."""
    stamp = done = service.project.versions.file_stamps()
    told = ""
    while True:
        await asyncio.sleep(every_s)
        before, stamp = stamp, await service.in_thread(service.project.versions.file_stamps)
        if stamp != before or stamp == done or not service.is_ready:
            continue
        done = stamp
        words, is_active = await _apply_now(service)
        if words and words != told:
            service.tell(words)
        told = "" if is_active else words


async def _apply_now(service: Service) -> tuple[str, bool]:
    """What somebody should know of changed files, empty where nothing of them matters; whether they are active."""
    try:
        found = await service.in_thread(service.project.versions.unapplied)
        if not any(one.takes == "now" for one in found):
            return (f"changed files wait for a restart: {_named(found)}" if found else ""), False
        why_not = await applied(service, None, found)
    except DefinitionError as error:
        return f"changed files have {len(error.problems)} mistakes and are not active: {error.problems[0]}", False
    except ShroffError as error:
        return f"changed files are not active: {error}", False
    if why_not:
        return f"changed files are not active: {why_not}", False
    seq = await service.in_thread(service.project.versions.active_seq)  # else a second edit would say the same
    return f"active now: {_named(found)}{f', from sequence number {seq:,} on' if seq else ''}", True


def _named(found: Sequence[FileDifference]) -> str:
    return ", ".join(one.file for one in found)
