"""Cases over HTTP: the queue, one case, and what is done with it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Final, TypedDict, TypeVar
from urllib.parse import quote

import msgspec
from starlette.responses import Response

from shroff.cases import case_actions, case_queries, dispositions
from shroff.cases.case import CLOSED, Case
from shroff.cases.desk import CaseChangedError, NoCaseError, NoEventError, NoFileError, NoViewError, TooLateError
from shroff.cases.files import SIZE_MAX, TYPES, named_for
from shroff.cases.filters import LARGEST, MEANINGS, order_of, wanted_of
from shroff.events.event import TimeText, time_text
from shroff.language.values import parse_time
from shroff.operations.pagination import cursor_of, limit_of, next_of
from shroff.people.access import Right
from shroff.project.lists import ListChange
from shroff.web.api.cases import case_documents as documents
from shroff.web.api.cases.asked import asked_about, shown
from shroff.web.api.cases.case_answers import CaseListEntry, also_of, listed, unlisted
from shroff.web.api.cases.case_documents import Verdict
from shroff.web.http.messages import ANY, Json, Request, decoded, seen, tagged, tags_of
from shroff.web.http.problems import ProblemError, ProblemMore
from shroff.web.http.routes import PAGED, Handle, Route, api

if TYPE_CHECKING:
    from shroff.web.service import Service

BODY_BYTES_MAX: Final = 64 * 1024
DIGITS_MAX: Final = 18
MISSING: Final = {
    NoEventError: ("no-event", "event"),
    NoFileError: ("no-file", "file"),
    NoViewError: ("no-view", "view"),
}

Body = TypeVar("Body")
One = TypeVar("One")


class NoBody(msgspec.Struct, forbid_unknown_fields=True):
    """A body without required content."""


class CaseText(msgspec.Struct, forbid_unknown_fields=True):
    """A text: a note, or the reason of an action."""

    text: str


class CaseEscalation(CaseText, forbid_unknown_fields=True):
    """Why a case is escalated, and the name of the user who decides it; null for anybody else."""

    to: str | None = None


class CaseAssignment(msgspec.Struct, forbid_unknown_fields=True):
    """The new owner: a user's name, or null for nobody."""

    to: str | None


class CaseVerdict(msgspec.Struct, forbid_unknown_fields=True):
    """The verdict for a case, or for one of its events."""

    verdict: Verdict
    event: Annotated[str, msgspec.Meta(description="Answer only this event of the case, such as payment/p-1.")] = ""
    reason: Annotated[str, msgspec.Meta(description="The reason to record with the labels.")] = ""
    lists: Annotated[list[CaseListEntry], msgspec.Meta(description="Entries of lists to add with the answer.")] = []
    refund: Annotated[str, msgspec.Meta(description="Amount returned to the customer, such as 12.50.")] = ""


class CaseDecided(TypedDict):
    """A case that was decided, the changes of lists with it, and the number that undoes all of it."""

    case: documents.Case
    lists: list[ListChange]
    undo: int
    undo_until: TimeText


class CaseSnooze(msgspec.Struct, forbid_unknown_fields=True):
    """The end of the snooze."""

    until: TimeText


class CaseUndo(msgspec.Struct, forbid_unknown_fields=True):
    """The action to undo."""

    undo: int


class CaseTag(msgspec.Struct, forbid_unknown_fields=True):
    """One of several cases; with a tag, the version that the caller read."""

    id: int
    tag: str = ""


class CasesAction(msgspec.Struct, forbid_unknown_fields=True):
    """An action on several cases."""

    action: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["decide", "claim", "snooze"]})]
    cases: list[CaseTag]
    verdict: Verdict | None = None
    reason: str = ""
    until: TimeText = ""


# ---- reading


async def cases(service: Service, request: Request) -> Json[documents.CaseList]:
    """Cases that a filter finds, a part of them."""
    desk, query = service.cases, request.query_params
    wanted = wanted_of(query, request.who, desk.now_ms(), desk.money_places)
    order, after = order_of(query), cursor_of(query, tuple[int, int])
    if after is not None and any(abs(part) > LARGEST for part in after):
        raise ProblemError(
            400, "bad-query", "The query cannot be read", "cursor: unknown; use 'next' of the previous page"
        )
    found = await service.in_thread(case_queries.listed, desk, request.who, wanted, order, after, limit_of(query))
    totals = await service.in_thread(case_queries.totals, desk, request.who, wanted)
    return Json(
        {
            "cases": [documents.case(desk, one) for one in found.cases],
            "totals": documents.totals(desk, totals),
            "next": next_of(found.after) if found.after else None,
        }
    )


async def case(service: Service, request: Request) -> Json[documents.CaseWhole]:
    """One case with its alerts, notes, history, files and questions; its ETag says what was seen."""
    desk = service.cases
    found = await done(service, case_queries.detail, desk, request.who, number_of(request))
    asked = await service.in_thread(asked_about, service, found.alerts)
    document: documents.CaseWhole = {**documents.detail(desk, found), "questions": [shown(one) for one in asked]}
    return Json(document, headers=tagged(found.case.tag))


async def file(service: Service, request: Request) -> Response:
    """A file of a case, to be saved: no browser shows it as a page."""
    number, wanted = number_of(request), request.path_params["file"]
    if not _is_number(wanted):
        raise ProblemError(404, "no-file", "There is no such file", f"case {number} has no file {wanted[:40]!r}")
    found, content = await done(service, case_actions.file_of, service.cases, request.who, number, int(wanted))
    name = named_for(found.name, found.media_type)  # one that was attached earlier may have any ending
    headers = {
        "content-type": found.media_type,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "default-src 'none'; sandbox",
    }
    return Response(content, headers=headers)


# ---- one case


async def claim(service: Service, request: Request) -> Json[documents.Case]:
    """Take it for oneself."""
    await body_of(request, NoBody, may_be_empty=True)
    return await _changed(service, request, case_actions.claim)


async def release(service: Service, request: Request) -> Json[documents.Case]:
    """Give it back."""
    await body_of(request, NoBody, may_be_empty=True)
    return await _changed(service, request, case_actions.release)


async def assign(service: Service, request: Request) -> Json[documents.Case]:
    """Give it to somebody, or to nobody."""
    given = await body_of(request, CaseAssignment)
    return await _changed(service, request, case_actions.assign, given.to or "")


async def escalate(service: Service, request: Request) -> Json[documents.Case]:
    """Put it before those who decide what is hard."""
    given = await body_of(request, CaseEscalation)
    return await _changed(service, request, partial(case_actions.escalate, to=given.to or ""), given.text)


async def reopen(service: Service, request: Request) -> Json[documents.Case]:
    """Open it again."""
    return await _changed(service, request, case_actions.reopen, (await body_of(request, CaseText)).text)


async def note(service: Service, request: Request) -> Json[documents.Case]:
    """Write something down."""
    given = await body_of(request, CaseText)
    found = await done(service, case_actions.note, service.cases, request.who, number_of(request), given.text)
    return Json(documents.case(service.cases, case_queries.shown(found)), headers=tagged(found.tag))


async def attach(service: Service, request: Request) -> Json[documents.CaseFile]:
    """Add a file: its bytes as they are, its kind in Content-Type, its name in the query."""
    kind = request.headers.get("content-type", "")
    content, name = await request.body(SIZE_MAX + 1), request.query_params.get("name", "")
    found = await done(
        service, case_actions.attach, service.cases, request.who, number_of(request), name, kind, content
    )
    return Json(documents.attached(found))


async def decide(service: Service, request: Request) -> Json[CaseDecided]:
    """Answer it. The labels are written eight seconds later, unless `undo` comes before."""
    given, tag = await body_of(request, CaseVerdict), await _tag(service, request)
    also = await service.in_thread(also_of, service, request.who, given.lists, given.refund, given.reason)

    def run() -> dispositions.CaseAction:
        return dispositions.decide(
            service.cases, request.who, number_of(request), given.verdict, tag=tag, event=given.event, also=also
        )

    acted = await done(service, run)
    changes = await listed(service, request, acted, also)
    return Json({**documents.acted(service.cases, acted), "lists": changes}, headers=tagged(acted.cases[0].tag))


async def snooze(service: Service, request: Request) -> Json[documents.CaseActed]:
    """Put it away until a moment."""
    until_ms = time_of((await body_of(request, CaseSnooze)).until, "until")
    tag = await _tag(service, request)

    def run() -> dispositions.CaseAction:
        return dispositions.snooze(service.cases, request.who, number_of(request), until_ms, tag=tag)

    return _acted(service, await done(service, run))


async def undo(service: Service, request: Request) -> Json[documents.CasesUndone]:
    """Take back what was done a moment ago."""
    given = await body_of(request, CaseUndo)
    if not 0 < given.undo <= LARGEST:
        raise ProblemError(409, "too-late", "It can no longer be undone", "no action has this number")
    desk = service.cases
    case = number_of(request) if "id" in request.path_params else 0
    found = await done(service, dispositions.undo, desk, request.who, given.undo, case)
    await unlisted(service, request, found.listed)
    return Json(
        {
            "cases": [documents.case(desk, case_queries.shown(one)) for one in found.restored],
            "changed": [documents.case(desk, case_queries.shown(one)) for one in found.changed],
        }
    )


# ---- many


async def claim_next(service: Service, request: Request) -> Json[documents.CaseClaimed]:
    """The free case with the least time left, of those that a filter finds: claimed. Null where there is none."""
    await body_of(request, NoBody, may_be_empty=True)
    desk = service.cases
    wanted = wanted_of(request.query_params, request.who, desk.now_ms(), desk.money_places)
    found = await done(service, case_actions.claim_next, desk, request.who, wanted)
    shown = None if found is None else documents.case(desk, case_queries.shown(found))
    return Json({"case": shown}, headers=None if found is None else tagged(found.tag))


async def bulk(service: Service, request: Request) -> Json[documents.CasesActed]:
    """Decide, claim or snooze many; all that can be done is, and one `undo` takes it back."""
    given = await body_of(request, CasesAction)
    until_ms = time_of(given.until, "until") if given.until else 0
    numbers = {one.id: one.tag for one in given.cases}

    def run() -> tuple[dispositions.CaseAction | None, list[dispositions.Failed]]:
        return dispositions.bulk(
            service.cases,
            request.who,
            numbers,
            given.action,
            verdict=given.verdict or "",
            reason=given.reason,
            until_ms=until_ms,
        )

    return Json(documents.many(service.cases, *await done(service, run)))


# ---- below: what all of them do


async def _changed(
    service: Service, request: Request, function: Callable[..., Case], *more: object
) -> Json[documents.Case]:
    tag = await _tag(service, request)
    found = await done(service, function, service.cases, request.who, number_of(request), *more, tag)
    return Json(documents.case(service.cases, case_queries.shown(found)), headers=tagged(found.tag))


def _acted(service: Service, found: dispositions.CaseAction) -> Json[documents.CaseActed]:
    return Json(documents.acted(service.cases, found), headers=tagged(found.cases[0].tag))


async def done(service: Service, function: Callable[..., One], *arguments: object) -> One:
    """Result of a function about cases. Raises: ProblemError for what it refuses."""
    try:
        return await tried(service, function, *arguments)
    except CaseChangedError as error:
        raise _was_first(error) from None


async def tried(service: Service, function: Callable[..., One], *arguments: object) -> One:
    """The same, for who shows by themselves what somebody else has changed. Raises: CaseChangedError, ProblemError."""
    try:
        return await service.in_thread(function, *arguments)
    except NoCaseError as error:
        type_, what = MISSING.get(type(error), ("no-case", "case"))
        raise ProblemError(404, type_, f"There is no such {what}", str(error)) from None
    except TooLateError as error:
        raise ProblemError(409, "too-late", "It can no longer be undone", str(error)) from None


def _was_first(error: CaseChangedError) -> ProblemError:
    """The problem of who comes second: who was first, when, and that nothing was saved. Of a case that nobody changed,
    but that was read otherwise, only the last.
    """
    now = case_queries.shown(error.case)
    more: ProblemMore = {
        "by": now.changed_name or None,
        "at": None if now.is_untouched else time_text(now.changed_ms),
        "state": now.state,
        "verdict": now.verdict if now.state == CLOSED else None,
        "tag": now.tag,
        "saved": False,
    }
    title = "The case was changed meanwhile" if now.is_untouched else "Another user was first"
    return ProblemError(409, "case-changed", title, str(error), tagged(now.tag), **more)


def number_of(request: Request) -> int:
    """The number of the case that is asked for. Raises: ProblemError where it is none."""
    text = request.path_params["id"]
    if not _is_number(text):
        raise ProblemError(404, "no-case", "There is no such case", f"there is no case {text[:40]!r}")
    return int(text)


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= DIGITS_MAX


async def _tag(service: Service, request: Request) -> str:
    """What was seen, by If-Match; nothing where the newest is meant, whatever it is."""

    async def there() -> str:
        return (await done(service, case_queries.detail, service.cases, request.who, number_of(request))).case.tag

    return "" if tags_of(request) == [ANY] else await seen(request, there)


def time_of(text: str, what: str) -> int:
    try:
        found = parse_time(text)
    except ValueError as error:
        raise ProblemError(422, "bad-body", "The request cannot be read", f"{what}: {error}") from None
    if abs(found) > LARGEST:
        raise ProblemError(422, "bad-body", "The request cannot be read", f"{what}: the time is too far away")
    return found


async def body_of(request: Request, type_: type[Body], *, may_be_empty: bool = False) -> Body:
    """Body of the request, as this type. Raises: ProblemError."""
    raw = await request.body(BODY_BYTES_MAX)
    if may_be_empty and not raw.strip():
        raw = b"{}"
    return decoded(raw, type_)


_ONE: Final = "/cases/{id}"
_CHANGE: Final = {
    404: "",
    409: "Another user changed the case first; nothing was saved. The problem names the user and the time.",
}
_SEEN: Final = {"If-Match": "The ETag of the version that you read. Default: the current version."}


def act(verb: str, handle: Handle, summary: str, body: type[Any]) -> Route:
    """Something that is done with one case."""
    return api("POST", f"{_ONE}/{verb}", Right.WORK_CASES, handle)(
        summary, "The updated case.", body, _CHANGE, headers=_SEEN, may_lack_body=body is NoBody
    )


ROUTES: Final = (
    api("GET", "/cases", Right.READ_CASES, cases)(
        "List the cases that match a filter (the queue), those due first at the top.",
        "A page of cases, and the totals.",
        problems={400: ""},
        query={**MEANINGS, **PAGED},
    ),
    api("GET", _ONE, Right.READ_CASES, case)(
        "Get one case with its alerts, notes, history and files.",
        "The case; the header ETag has its tag.",
        problems={400: "", 404: ""},
    ),
    api("GET", f"{_ONE}/files/{{file}}", Right.READ_CASES, file)(
        "Download a file of a case.",
        "The file's bytes.",
        problems={400: "", 404: ""},
        media_type="application/octet-stream",
    ),
    act("claim", claim, "Claim a case; it is locked for you until the lock expires.", NoBody),
    act("release", release, "Release a case.", NoBody),
    act("assign", assign, "Assign a case to a user by name, or to nobody.", CaseAssignment),
    act("note", note, "Add a note to a case.", CaseText),
    api("POST", f"{_ONE}/attach", Right.WORK_CASES, attach)(
        "Attach a file to a case. The body is the file; only allowed file types are accepted.",
        "The file's metadata.",
        {"type": "string", "format": "binary"},
        _CHANGE,
        query={"name": "The file's name."},
        required=("name",),
        body_types=tuple(TYPES),
    ),
    act(
        "decide",
        decide,
        "Decide a case: it closes at once; labels of its events are written 8 s later unless you undo it.",
        CaseVerdict,
    ),
    act("escalate", escalate, "Escalate a case, to a user or to anybody else.", CaseEscalation),
    act("snooze", snooze, "Snooze a case until a time.", CaseSnooze),
    act("reopen", reopen, "Reopen a closed case.", CaseText),
    act("undo", undo, "Undo a recent action, by its number.", CaseUndo),
    api("POST", "/cases/claim-next", Right.WORK_CASES, claim_next)(
        "Claim the case that is due first, of those that match a filter and are free or already yours. Concurrent "
        "calls never get the same case.",
        "The case, or null if none matches.",
        NoBody,
        query={
            **MEANINGS,
            "state": f"{MEANINGS['state'].partition(' Default:')[0]} Of these, open, snoozed and escalated cases "
            "can be claimed. Default: open.",
        },
        may_lack_body=True,
    ),
    api("POST", "/cases/bulk", Right.WORK_CASES, bulk)(
        "Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others are changed.",
        "The result for each case, and the number that undoes all changes.",
        CasesAction,
    ),
    api("POST", "/cases/undo", Right.WORK_CASES, undo)(
        "Undo a recent action on one or several cases.",
        "The updated cases; cases that another user has changed since stay unchanged.",
        CaseUndo,
        _CHANGE,
    ),
)
