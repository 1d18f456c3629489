"""One case: why it is looked at, all of its events, notes, files and history; and everything that is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.responses import Response

from shroff.app.cases.case_operations import (
    Answer,
    AssignCase,
    ClaimCase,
    DecideCase,
    EscalateCase,
    NoteCase,
    ReleaseCase,
    ReopenCase,
    SnoozeCase,
)
from shroff.app.cases.case_silences import (
    WAITS,
    SilenceApproval,
    SilenceEnd,
    SilenceOfCase,
    pending_silences,
    silences_of,
)
from shroff.cases.case import CLOSED
from shroff.cases.case_queries import refunded_by
from shroff.cases.desk import CaseChangedError
from shroff.cases.files import TYPES
from shroff.errors import UsageError
from shroff.events.event import YEAR_10000_MS, time_text
from shroff.language.values import named_duration
from shroff.people.access import RIGHTS, Right
from shroff.project.dependency_hash import teller_of
from shroff.rules.rule_text import condition, in_words
from shroff.rules.silences import key_of
from shroff.web.api.cases.case_files import number_of
from shroff.web.http.messages import Request
from shroff.web.http.routes import API, Route
from shroff.web.pages.cases.answers import also_from, offer
from shroff.web.pages.cases.casework import Opened, Where, amount, opened, toast, where_from, where_of
from shroff.web.pages.cases.others import others_of
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.rules.lists import NOTHING

if TYPE_CHECKING:
    from shroff.app.rules.silence_requests import PendingSilence
    from shroff.app.rules.silences import Silence
    from shroff.cases.case import Case
    from shroff.operations.declaration import OperationRequest
    from shroff.web.service import Service

SILENCES: Final = {"1d": "1 day", "7d": "7 days", "30d": "30 days", "90d": "90 days"}
SNOOZES: Final = {"1h": "1 hour", "4h": "4 hours", "1d": "1 day", "3d": "3 days", "7d": "7 days"}
REASONS_SHOWN: Final = 6
SHADOW: Final = "hit in shadow"


async def show(service: Service, request: Request) -> Response:
    """The page of a case."""
    return await _page(service, request, where_of(request.query_params))


async def _page(
    service: Service,
    request: Request,
    where: Where,
    changed: Case | None = None,
    why_not: str = "",
    mistake: str = "",
) -> Response:
    number = number_of(request)
    found = await service.in_thread(opened, service, request.who, number)
    others = await service.in_thread(others_of, service, found)
    form = await request.form() if mistake else NOTHING
    return await page(
        service,
        request,
        "case.html",
        422 if mistake else 409 if changed is not None else 200,
        found=found,
        others=others.events,
        amounts=others.amounts,
        where=where,
        changed=changed,
        why_not=why_not,
        mistake=mistake,
        offer=await service.in_thread(offer, service, request, found.about, form),
        toast=await service.in_thread(toast, service.cases, request.who),
        people=await service.in_thread(_people, service),
        refunded=amount(service.cases, refunded_by(found.detail.history) or None),
        may_work=request.who.may(Right.WORK_CASES),
        snoozes=SNOOZES,
        silences=SILENCES,
        rules=await service.in_thread(_rules, service, found),
        kinds=",".join(TYPES),
        api=f"{API}/cases/{number}",
        reasons=REASONS_SHOWN,
    )


@dataclass(frozen=True, slots=True)
class CaseRuleLine:
    """A rule that hit one of its events.

    Args:
        raised: It raised an alert of the case; others hit its most important event beside, and asked for less.
        silence: Where it is silent for whom the case is about.
        pending: Where somebody asked for that and a second person has to approve it.
    """

    id: str
    text: str
    condition: str
    raised: bool
    can_be_silent: bool
    silence: Silence | None
    pending: PendingSilence | None = None


def _rules(service: Service, found: Opened) -> list[CaseRuleLine]:
    """The rules that raised it, those that did most often first, then the others that hit its most important event."""
    case, definitions = found.line.case, service.project.definitions
    raised = Counter(name for event in found.events for name in event.alert.rules)
    hits = [] if found.looked is None else [hit.id for hit in found.looked.hits if hit.result != SHADOW]
    silent = silences_of(service.project, case, service.cases.now_ms())
    pending = pending_silences(service.project, case)
    known, teller = {rule.id: rule for rule in definitions.rules}, teller_of(definitions)
    return [
        CaseRuleLine(
            name,
            in_words(rule, teller),
            condition(rule),
            name in raised,
            rule.by == case.entity and key_of(definitions.events.entities, rule.by, rule.on) is not None,
            silent.get(name),
            pending.get(name),
        )
        for name in dict.fromkeys([*(name for name, _ in raised.most_common()), *hits])
        if (rule := known.get(name)) is not None
    ]


def _people(service: Service) -> list[tuple[str, str]]:
    """Name and shown name of those who may work on cases."""
    with service.desk.store.look() as look:
        users = look.users()
    return [
        (user.name, user.display_name)
        for user in users
        if not user.is_disabled and Right.WORK_CASES in RIGHTS[user.role]
    ]


async def decide(service: Service, request: Request) -> Response:
    """Answer it, or one of its events, with what goes with that. Where that closes it, the queue is next."""
    form = await request.form()
    where = where_from(form)
    try:
        lists = await service.in_thread(also_from, service, request, form)
    except UsageError as error:
        return await _page(service, request, where, mistake=str(error))
    asked = DecideCase(
        number=number_of(request),
        tag=form.get("tag", ""),
        verdict=cast("Answer", form.get("verdict", "")),
        event=form.get("event", ""),
        reason=form.get("reason", ""),
        lists=lists,
        refund=form.get("refund", ""),
    )
    try:
        case = (await service.operations.run(request.who, asked)).case
    except CaseChangedError as error:
        return await _page(service, request, where, error.case)
    return see_other(where.queue if case.state == CLOSED else where.case(case.id))


Act = Callable[["Service", Mapping[str, str], int, str], "OperationRequest[Any]"]
ACTS: Final[Mapping[str, Act]] = {  # by the end of their addresses; with the form and what of the case was seen
    "claim": lambda _, form, number, tag: ClaimCase(number=number, tag=tag),
    "release": lambda _, form, number, tag: ReleaseCase(number=number, tag=tag),
    "assign": lambda _, form, number, tag: AssignCase(number=number, tag=tag, to=form.get("to", "")),
    "escalate": lambda _, form, number, tag: EscalateCase(
        number=number, tag=tag, text=form.get("text", ""), to=form.get("to", "")
    ),
    "reopen": lambda _, form, number, tag: ReopenCase(number=number, tag=tag, text=form.get("text", "")),
    "note": lambda _, form, number, tag: NoteCase(number=number, text=form.get("text", "")),
    "snooze": lambda service, form, number, tag: SnoozeCase(number=number, tag=tag, until=_until(service, form)),
}


def _until(service: Service, form: Mapping[str, str]) -> str:
    until_ms = service.cases.now_ms() + named_duration("for", form.get("for", ""))
    return time_text(min(until_ms, YEAR_10000_MS - 1))


async def change(service: Service, request: Request) -> Response:
    """Do something with the case and show it again, or the queue once it is snoozed.

    Where another user was first, the page says so.
    """
    form, verb = await request.form(), request.path.rpartition("/")[2]
    where, number = where_from(form), number_of(request)
    try:
        await service.operations.run(request.who, ACTS[verb](service, form, number, form.get("tag", "")))
    except CaseChangedError as error:
        return await _page(service, request, where, error.case)
    return see_other(where.queue if verb == "snooze" else where.case(number))


SILENCING: Final[Mapping[str, Act]] = {  # a rule for whom the case is about: silent for a while, or again not
    "silence": lambda service, form, number, _: SilenceOfCase(
        number=number, rule=form.get("rule", ""), until=_until(service, form), text=form.get("text", "")
    ),
    "end-silence": lambda _, form, number, __: SilenceEnd(number=number, rule=form.get("rule", "")),
    "approve-silence": lambda _, form, number, __: SilenceApproval(
        number=number, rule=form.get("rule", ""), etag=form.get("etag", "")
    ),
}


async def silence(service: Service, request: Request) -> Response:
    """The case again; with the words for it where what was written is not in force yet."""
    form, verb = await request.form(), request.path.rpartition("/")[2]
    where, number = where_from(form), number_of(request)
    why_not = (await service.operations.run(request.who, SILENCING[verb](service, form, number, ""))).why_not
    is_shown = not why_not or why_not == WAITS  # what waits for a second person stands beside its rule
    return see_other(where.case(number)) if is_shown else await _page(service, request, where, why_not=why_not)


ROUTES: Final = (
    Route("GET", "/cases/{id}", Right.READ_CASES, show, is_page=True),
    *(
        Route("POST", f"/cases/{{id}}/{verb}", Right.WORK_CASES, handle, is_page=True)
        for verb, handle in (
            ("decide", decide),
            *((verb, change) for verb in ACTS),
            *((verb, silence) for verb in SILENCING),
        )
    ),
)
