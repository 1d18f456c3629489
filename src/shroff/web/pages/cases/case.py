"""One case: why it is looked at, all of its events, notes, files and history; and everything that is done with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.cases import case_actions, dispositions
from shroff.cases.case_queries import refunded_by
from shroff.cases.desk import CaseChangedError
from shroff.cases.files import TYPES
from shroff.errors import UsageError
from shroff.events.event import time_text
from shroff.language.values import named_duration
from shroff.people.access import RIGHTS, Right
from shroff.project.dependency_hash import teller_of
from shroff.rules.rule_text import condition, in_words
from shroff.rules.silences import key_of
from shroff.web.api.cases.case_answers import listed
from shroff.web.api.cases.case_silences import WAITS, approve_for, end_for, pending_silences, silence_for, silences_of
from shroff.web.api.cases.cases import number_of, tried
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
    from shroff.cases.desk import CaseService
    from shroff.people.access import Who
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
    found = await tried(service, opened, service, request.who, number)
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
class RuleLine:
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


def _rules(service: Service, found: Opened) -> list[RuleLine]:
    """The rules that raised it, those that did most often first, then the others that hit its most important event."""
    case, definitions = found.line.case, service.project.definitions
    raised = Counter(name for event in found.events for name in event.alert.rules)
    hits = [] if found.looked is None else [one.id for one in found.looked.hits if one.result != SHADOW]
    silent, pending = silences_of(service, case), pending_silences(service, case)
    known, teller = {rule.id: rule for rule in definitions.rules}, teller_of(definitions)
    return [
        RuleLine(
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
    where, event = where_from(form), form.get("event", "")
    try:
        also = await service.in_thread(also_from, service, request, form)
    except UsageError as error:
        return await _page(service, request, where, mistake=str(error))

    def run() -> dispositions.CaseAction:
        return dispositions.decide(
            service.cases,
            request.who,
            number_of(request),
            form.get("verdict", ""),
            tag=form.get("tag", ""),
            event=event,
            also=also,
        )

    try:
        acted = await tried(service, run)
    except CaseChangedError as error:
        return await _page(service, request, where, error.case)
    await listed(service, request, acted, also)
    case = acted.cases[0]
    return see_other(where.case(case.number) if case.is_open else where.queue)


Act = Callable[["CaseService", "Who", int, Mapping[str, str], str], "Case"]
ACTS: Final[Mapping[str, Act]] = {  # by the end of their addresses; with the form and what of the case was seen
    "claim": lambda desk, who, number, form, tag: case_actions.claim(desk, who, number, tag),
    "release": lambda desk, who, number, form, tag: case_actions.release(desk, who, number, tag),
    "assign": lambda desk, who, number, form, tag: case_actions.assign(desk, who, number, form.get("to", ""), tag),
    "escalate": lambda desk, who, number, form, tag: case_actions.escalate(
        desk, who, number, form.get("text", ""), tag, form.get("to", "")
    ),
    "reopen": lambda desk, who, number, form, tag: case_actions.reopen(desk, who, number, form.get("text", ""), tag),
    "note": lambda desk, who, number, form, tag: case_actions.note(desk, who, number, form.get("text", "")),
    "snooze": lambda desk, who, number, form, tag: dispositions.snooze(
        desk, who, number, desk.now_ms() + named_duration("for", form.get("for", "")), tag=tag
    ).cases[0],
}


async def change(service: Service, request: Request) -> Response:
    """Do something with the case and show it again, or the queue once it is snoozed.

    Where another user was first, the page says so.
    """
    form, verb = await request.form(), request.path.rpartition("/")[2]
    where, tag = where_from(form), form.get("tag", "")
    try:
        case = await tried(service, lambda: ACTS[verb](service.cases, request.who, number_of(request), form, tag))
    except CaseChangedError as error:
        return await _page(service, request, where, error.case)
    return see_other(where.queue if verb == "snooze" else where.case(case.number))


async def silence(service: Service, request: Request) -> Response:
    """Let one of its rules be silent for whom it is about, for a while."""
    form = await request.form()
    until = time_text(service.cases.now_ms() + named_duration("for", form.get("for", "")))
    case, why_not = await silence_for(service, request, form.get("rule", ""), until, form.get("text", ""))
    return await _silenced(service, request, case, why_not)


async def end_silence(service: Service, request: Request) -> Response:
    """Let one of its rules speak again for whom it is about."""
    form = await request.form()
    case, why_not = await end_for(service, request, form.get("rule", ""))
    return await _silenced(service, request, case, why_not)


async def approve_silence(service: Service, request: Request) -> Response:
    """Let a rule be silent as somebody else asked for."""
    form = await request.form()
    case, why_not = await approve_for(service, request, form.get("rule", ""), form.get("etag", ""))
    return await _silenced(service, request, case, why_not)


async def _silenced(service: Service, request: Request, case: Case, why_not: str) -> Response:
    """The case again; with the words for it where what was written is not in force yet."""
    where = where_from(await request.form())
    is_shown = not why_not or why_not == WAITS  # what waits for a second person stands beside its rule
    return see_other(where.case(case.number)) if is_shown else await _page(service, request, where, why_not=why_not)


ROUTES: Final = (
    Route("GET", "/cases/{id}", Right.READ_CASES, show, is_page=True),
    *(
        Route("POST", f"/cases/{{id}}/{verb}", Right.WORK_CASES, handle, is_page=True)
        for verb, handle in (
            ("decide", decide),
            *((verb, change) for verb in ACTS),
            ("silence", silence),
            ("end-silence", end_silence),
            ("approve-silence", approve_silence),
        )
    ),
)
