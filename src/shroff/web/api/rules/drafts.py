"""Drafts of rules over HTTP: written, checked as one types, and put in shadow and in force step by step."""

from __future__ import annotations

from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypedDict

import msgspec

from shroff.app.rules.agreements import Author
from shroff.app.rules.list_files import WAITS
from shroff.app.rules.rule_drafts import StoredDraft
from shroff.app.rules.rule_files import Before
from shroff.errors import NotAllowedError
from shroff.events.event import TimeText, time_text
from shroff.people.access import Right
from shroff.people.audit import Act, checked_reason
from shroff.rules.texts import tag_of
from shroff.web.api.rules.draft_checks import DraftCheck
from shroff.web.api.rules.rule_looks import OFF, RuleLook, one_rule, subject_of
from shroff.web.http.messages import Json, Request, decoded, seen, tagged, tags_of
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api
from shroff.web.http.schemas import Adopted

if TYPE_CHECKING:
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 512 * 1024  # a draft's text as JSON, with its escapes
LINES_READ: Final = 2_000  # of a draft's text, to tell what changed
LINES_KEPT: Final = 20
LINE_MAX: Final = 200  # characters


class DraftBody(msgspec.Struct, forbid_unknown_fields=True):
    """A draft's text."""

    text: str


class DraftStep(msgspec.Struct, forbid_unknown_fields=True):
    """The version of a draft, the file for a new rule, and why: the reason is kept in the audit log."""

    etag: str
    file: str = ""
    reason: str = ""


class RuleDraft(TypedDict):
    """A draft of a rule."""

    rule: str
    etag: str
    authors: list[str]
    saved_at: TimeText
    approved_by: str | None


class RuleDrafts(TypedDict):
    """All drafts."""

    drafts: list[RuleDraft]


class RuleDraftText(RuleDraft):
    """A draft with its text."""

    text: str


class RuleDraftChecked(RuleDraftText):
    """A draft with its text, errors and warnings."""

    check: DraftCheck


class DroppedDraft(TypedDict):
    """The rule whose draft was deleted."""

    dropped: str


class AdoptedFile(Adopted):
    """The file of a rule, and whether the log uses it yet."""

    file: str


# ---- the API


async def drafts(service: Service, request: Request) -> Json[RuleDrafts]:
    """All drafts."""
    found = await service.in_thread(service.project.drafts.all)
    return Json({"drafts": [shown(one) for one in found]})


async def draft(service: Service, request: Request) -> Json[RuleDraftText]:
    """One draft, with its text; its ETag is asked for by who changes it."""
    found = await service.in_thread(service.project.drafts.one, request.path_params["rule"])
    if found is None:
        raise no_draft(request.path_params["rule"])
    return Json({**shown(found), "text": found.text}, headers=tagged(found.tag))


async def put_draft(service: Service, request: Request) -> Json[RuleDraftChecked]:
    """Keep a text as a draft, mistakes and all; says what they are."""
    is_new = request.headers.get("if-none-match", "").strip() == "*"
    if not tags_of(request) and not is_new:
        words = "send the ETag of what you read as If-Match, or If-None-Match: * for a new draft"
        raise ProblemError(428, "no-precondition", "If-Match is missing", words)
    given = decoded(await request.body(BODY_BYTES_MAX), DraftBody)
    id_ = request.path_params["rule"]
    found = await save(service, request, id_, given.text, "" if is_new else await _seen(service, request))
    said = await service.checked(request.who, service.check_draft, id_, found.text)
    return Json({**shown(found), "text": found.text, "check": said}, headers=tagged(found.tag))


async def delete_draft(service: Service, request: Request) -> Json[DroppedDraft]:
    """Throw a draft away, and its trial."""
    if not tags_of(request):
        raise ProblemError(428, "no-precondition", "If-Match is missing", "send its ETag as If-Match")
    await drop(service, request, request.path_params["rule"], await _seen(service, request))
    return Json({"dropped": request.path_params["rule"]})


async def check(service: Service, request: Request) -> Json[DraftCheck]:
    """Findings about a text that is not saved yet: mistakes with their places, tests, and the rule in words."""
    given = decoded(await request.body(BODY_BYTES_MAX), DraftBody)
    return Json(await service.checked(request.who, service.check_draft, request.path_params["rule"], given.text))


async def post_shadow(service: Service, request: Request) -> Json[AdoptedFile]:
    """Put a draft in shadow."""
    given = decoded(await request.body(BODY_BYTES_MAX), DraftStep)
    return _put(*await shadow(service, request, request.path_params["rule"], given.etag, given.file))


async def post_approve(service: Service, request: Request) -> Json[RuleDraft]:
    """Approve a draft as a second person."""
    given = decoded(await request.body(BODY_BYTES_MAX), DraftStep)
    return Json(shown(await approve(service, request, request.path_params["rule"], given.etag)))


async def post_activate(service: Service, request: Request) -> Json[AdoptedFile]:
    """Put a draft in force."""
    given = decoded(await request.body(BODY_BYTES_MAX), DraftStep)
    return _put(*await activate(service, request, request.path_params["rule"], given.etag, given.file, given.reason))


async def _seen(service: Service, request: Request) -> str:
    async def there() -> str:
        found = await service.in_thread(service.project.drafts.one, request.path_params["rule"])
        return "" if found is None else found.tag

    return await seen(request, there)


def _put(file: str, why_not: str) -> Json[AdoptedFile]:
    return Json({"file": file, "in_force": not why_not, "why_not": why_not or None})


# ---- what pages do as well


async def save(service: Service, request: Request, id_: str, text: str, tag: str) -> StoredDraft:
    """Keep a draft. Raises: ChangedMeanwhileError, UsageError."""
    authors = await authors_of(service, request, of_two=service.project.drafts.need_second_person)
    gone, new_lines = _changed_lines(await service.in_thread(_text_of, service, id_), text)

    def recorded(_: str, new: str) -> None:
        old = {"draft": tag or None, "lines": gone}
        service.record_now(Act(request.who, "draft.write", subject_of(id_), old, {"draft": new, "lines": new_lines}))

    return await service.in_thread(service.project.drafts.write, id_, text, tag, authors, recorded)


def _text_of(service: Service, id_: str) -> str:
    """The text that a draft goes on from: its own, or that of the rule; empty for a new rule."""
    project = service.project
    found = project.drafts.one(id_) or project.rules.standing(id_)
    return "" if found is None else found.text


def _lines_of(service: Service, id_: str) -> tuple[list[str], list[str]]:
    """The lines that a draft adds to the rule of the files, and those that it takes away."""
    draft, rule = service.project.drafts.one(id_), service.project.rules.standing(id_)
    gone, new = _changed_lines("" if rule is None else rule.text, "" if draft is None else draft.text)
    return new, gone


def _changed_lines(before: str, after: str) -> tuple[list[str], list[str]]:
    """The lines of two texts that the other one lacks, as the audit log keeps them: not all of long texts."""
    old, new = before.splitlines()[:LINES_READ], after.splitlines()[:LINES_READ]
    return _lacking(old, new), _lacking(new, old)


def _lacking(lines: list[str], others: list[str]) -> list[str]:
    left = Counter(others)
    found = []
    for line in lines:
        left[line] -= 1
        if left[line] < 0 and line.strip():
            found.append(line.strip()[:LINE_MAX])
    return found[:LINES_KEPT]


async def drop(service: Service, request: Request, id_: str, tag: str) -> None:
    """Throw a draft away."""
    gone, _ = await service.in_thread(_lines_of, service, id_)
    act = Act(request.who, "draft.drop", subject_of(id_), {"draft": tag, "lines": gone})
    await service.in_thread(service.project.drafts.drop, id_, tag, lambda file, tag: service.record_now(act))
    await service.adopted()


async def approve(service: Service, request: Request, id_: str, tag: str) -> StoredDraft:
    """Approve a draft. Raises: NotAllowedError for its own author, and for a key, which is nobody's second person."""
    if request.who.kind != "user":
        raise NotAllowedError("approving a draft needs a signed-in user, not an API key")

    def recorded(_: str, approved: str) -> None:
        service.record_now(Act(request.who, "draft.approve", subject_of(id_), None, {"draft": approved}))

    return await service.checked(request.who, service.project.drafts.approve, id_, tag, author_of(request), recorded)


async def shadow(service: Service, request: Request, id_: str, tag: str, file: str) -> tuple[str, str]:
    """Put a draft in shadow; gives its file, and why it is not in force yet, where it is not."""
    look = await service.in_thread(one_rule, service, id_)
    used = list(service.rule_looks.histories.of)
    file = file or file_for(look)
    new_lines, gone = await service.in_thread(_lines_of, service, id_)
    before = _before(service, request, "rule.shadow", id_, {"draft": tag, "lines": new_lines}, {"lines": gone})
    put = await service.checked(request.who, service.project.drafts.shadow, id_, tag, file, used, before)
    return put, await service.adopted()


async def activate(
    service: Service, request: Request, id_: str, tag: str, file: str, reason: str = ""
) -> tuple[str, str]:
    """Put a draft in force, with the reason in the audit log where one is given; gives the same."""
    look = await service.in_thread(one_rule, service, id_)
    new_lines, gone = await service.in_thread(_lines_of, service, id_)
    told = {"draft": tag, "lines": new_lines, **({"reason": checked_reason(reason)} if reason.strip() else {})}
    before = _before(service, request, "rule.activate", id_, told, {"lines": gone})
    put = await service.checked(request.who, service.project.drafts.activate, id_, tag, file or file_for(look), before)
    return put, await service.adopted()


async def put_back(service: Service, request: Request, id_: str, seq: int, reason: str) -> tuple[str, str]:
    """Put a rule back to what it said from a place of the log on, or take it out for place 0; gives the same."""
    require_reason(reason)
    look = await service.in_thread(one_rule, service, id_)
    text = "" if seq == 0 else next((version.text for version in look.versions if version.seq == seq), None)
    if text is None:
        raise ProblemError(
            404, "no-version", "There is no such version", f"{id_} did not change at sequence number {seq}"
        )
    if seq == 0 and look.state == OFF:
        raise ProblemError(409, "is-off", "The rule is already removed", f"no file has {id_}")
    act, file = "rule.back" if text else "rule.off", file_for(look)
    subject, change = subject_of(id_), {"seq": seq, "text": tag_of(text), "now": tag_of(look.text)}
    if service.project.drafts.need_second_person:
        says = (
            f"{'roll back to the version of sequence number ' + str(seq) if text else 'take it out'}: {reason.strip()}"
        )
        agrees = partial(
            service.operations.acting(request.who).agreements.agrees, may_approve=request.who.may(Right.APPROVE_RULES)
        )
        if not await service.in_thread(agrees, subject, change, says):
            return file, WAITS
    before = _before(service, request, act, id_, {"reason": reason, "version": seq})
    put = await service.checked(request.who, service.project.rules.put_back, id_, text, file, before)
    await service.in_thread(service.project.agreements.forget, subject)
    return put, await service.adopted()


def _before(
    service: Service, request: Request, action: str, id_: str, after: dict[str, Any], old: object = None
) -> Before:
    """What records an action on a rule before it is done.

    With it stands what stands for the text that its file will have: by that its version is found again.
    """

    def record(file: str, tag: str) -> None:
        told = {**after, "file": file, "file_tag": tag}
        service.record_now(Act(request.who, action, subject_of(id_), old, told))

    return record


def file_for(look: RuleLook) -> str:
    """Where a rule goes that no file is named for: where it is, or was, or a file of its own name."""
    if look.standing is not None:
        return look.standing.file.name
    return look.versions[0].file if look.versions else f"{look.id}.yaml"


def author_of(request: Request) -> Author:
    """The caller's name in drafts."""
    return Author(request.who.id, request.who.name)


async def authors_of(service: Service, request: Request, *, of_two: bool = False) -> list[Author]:
    """The authors of what the caller writes (see `Agreements.authors`)."""
    authors = partial(service.operations.acting(request.who).agreements.authors, of_two=of_two)
    return await service.in_thread(authors)


def require_reason(reason: str) -> None:
    """Raises: ProblemError where none is given."""
    if not reason.strip():
        raise ProblemError(422, "no-reason", "A reason is missing", "give a reason; it is recorded in the audit log")


def may_edit(request: Request) -> bool:
    """Whether who asks may write drafts and put them in force."""
    return request.who.may(Right.EDIT_RULES)


# ---- documents


def shown(one: StoredDraft) -> RuleDraft:
    """A draft for who asks, without its text."""
    approved = one.note.approved_by if one.is_approved else None
    return {
        "rule": one.id,
        "etag": one.tag,
        "authors": [author.name for author in one.note.authors],
        "saved_at": time_text(one.note.saved_at_ms),
        "approved_by": None if approved is None else approved.name,
    }


def no_draft(id_: str) -> ProblemError:
    """The problem of a draft that is not there."""
    return ProblemError(404, "no-draft", "There is no such draft", f"nobody has a draft of {id_!r}")


_DRAFT: Final = "/rules/{rule}/draft"
_MATCH: Final = {"If-Match": "The ETag of the version that you read.", "If-None-Match": "*: the draft is new."}


_STEP: Final = {
    404: "",
    403: "A second person must approve the draft, and that person must not be one of its authors.",
    412: "The draft has been changed since.",
    422: "The draft has errors, each with line and column.",
}

ROUTES: Final = (
    api("GET", "/drafts", Right.READ_DEFINITIONS, drafts)(
        "List all rule drafts.", "The drafts, without their texts.", problems={404: ""}
    ),
    api("GET", _DRAFT, Right.READ_DEFINITIONS, draft)(
        "Get one draft with its text.", "The draft; the header ETag has its tag.", problems={404: ""}
    ),
    api("PUT", _DRAFT, Right.EDIT_RULES, put_draft)(
        "Save the draft of a rule, even if it has errors. Nothing becomes active.",
        "The draft, its ETag, and its errors and warnings.",
        DraftBody,
        {412: "The draft has been changed since.", 428: "If-Match is missing."},
        headers=_MATCH,
    ),
    api("DELETE", _DRAFT, Right.EDIT_RULES, delete_draft)(
        "Delete a draft and its trial.",
        "The deleted draft's rule.",
        problems={400: "", 404: "", 412: "The draft has been changed since.", 422: "", 428: "If-Match is missing."},
        headers={"If-Match": "The ETag of the version that you read."},
    ),
    api("POST", f"{_DRAFT}/check", Right.READ_DEFINITIONS, check)(
        "Check an unsaved text: errors with line and column, test results, and the rule in words.",
        "`ok` says whether it could become active.",
        DraftBody,
    ),
    api("POST", f"{_DRAFT}/shadow", Right.EDIT_RULES, post_shadow)(
        "Put a draft in shadow: a new rule under its own id, a changed rule as a trial under another id.",
        "Its file, and whether it is active in the log yet.",
        DraftStep,
        _STEP,
    ),
    api("POST", f"{_DRAFT}/approve", Right.APPROVE_RULES, post_approve)(
        "Approve a draft that others wrote.", "The draft.", DraftStep, _STEP
    ),
    api("POST", f"{_DRAFT}/activate", Right.EDIT_RULES, post_activate)(
        "Make a draft active; it replaces the rule and its trial.",
        "Its file, and whether it is active in the log yet.",
        DraftStep,
        _STEP,
    ),
)
