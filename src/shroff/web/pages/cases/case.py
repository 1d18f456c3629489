"""The page of a case: reasons, events, notes, files and history; and the handlers of all its actions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from starlette.responses import Response

from shroff.cases.case import CLOSED, SNOOZED
from shroff.cases.case_service import CaseChangedError
from shroff.cases.files import TYPES
from shroff.errors import UsageError
from shroff.events.event import YEAR_10000_MS, time_text
from shroff.explain.links import has_via
from shroff.json_types import JsonObject
from shroff.language.values import named_duration
from shroff.people.access import RIGHTS, Right
from shroff.project.dependency_hash import teller_of
from shroff.project.settings.casework import DEFAULT
from shroff.rules.rule_text import condition, in_words
from shroff.rules.silences import key_of
from shroff.services.cases.documents import Case as ShownCase
from shroff.services.cases.operations import (
    AssignCase,
    ClaimCase,
    DecideCase,
    EscalateCase,
    NoteCase,
    ReleaseCase,
    ReopenCase,
    SnoozeCase,
)
from shroff.services.cases.work_operations import CheckCase, MoveCase, RunMacro, TagCase
from shroff.services.links.operations import linked_entity
from shroff.services.silences.case_operations import (
    WAITS,
    SilenceApproval,
    SilenceEnd,
    SilenceOfCase,
    pending_silences,
    silences_of,
)
from shroff.web.api.cases.case_files import number_of
from shroff.web.http.messages import NOTHING, Request
from shroff.web.http.routes import API, Route
from shroff.web.pages.cases.answers import also_from, offer
from shroff.web.pages.cases.casework import CaseWithEvents, Where, opened, toast, where_from, where_of
from shroff.web.pages.cases.others import others_of
from shroff.web.pages.links import ring_path
from shroff.web.pages.renderer import page, see_other

if TYPE_CHECKING:
    from shroff.cases.case import Case
    from shroff.operations.declaration import OperationRequest, Outcome
    from shroff.web.service import Service

REASONS_SHOWN = 6
SHADOW = "hit in shadow"


async def show(service: Service, request: Request) -> Response:
    return await _page(service, request, where_of(request.query_params))


async def _page(
    service: Service, request: Request, where: Where, changed: Case | None = None, why_not: str = "", mistake: str = ""
) -> Response:
    number = number_of(request)
    definitions = service.project.definitions
    found = await service.in_thread(opened, service, request.who, number)
    others, seen_with, amounts = await service.in_thread(others_of, service, found)
    form = await request.form() if mistake else NOTHING
    entity = linked_entity(definitions, found.case.entity)
    status = 200 if changed is None else 409
    return await page(
        service,
        request,
        "case.html",
        422 if mistake else status,
        found=found,
        others=others,
        has_customer_reasons=found.top is not None
        and await service.in_thread(service.project.notice_files.tells_customers, found.top.alert.event),
        seen_with=seen_with,
        amounts=amounts,
        where=where,
        changed=changed,
        why_not=why_not,
        mistake=mistake,
        offer=await service.in_thread(offer, service, request, found.about, form),
        toast=await service.in_thread(toast, service.cases, request.who),
        people=await service.in_thread(_people, service),
        macros=service.cases.settings.macros,
        queues=[*service.cases.settings.queues, DEFAULT] if service.cases.settings.queues else [],
        rules=await service.in_thread(_rules, service, found),
        kinds=",".join(TYPES),
        api=f"{API}/cases/{number}",
        reasons=REASONS_SHOWN,
        ring=ring_path("/links/ring", entity, found.case.key) if has_via(definitions, entity) else "",
    )


def _rules(service: Service, found: CaseWithEvents) -> list[JsonObject]:
    case = found.case
    definitions = service.project.definitions
    raised = Counter(name for event in found.events for name in event.alert.rules)
    hits = [] if found.looked is None else [hit.id for hit in found.looked.hits if hit.result != SHADOW]
    silent = silences_of(service.project, case.entity, case.key, service.cases.now_ms())
    pending = pending_silences(service.project, case.entity, case.key)
    rule_by_id = {rule.id: rule for rule in definitions.rules}
    teller = teller_of(definitions)
    names = dict.fromkeys([*(name for name, _ in raised.most_common()), *hits])
    rules = [rule_by_id[name] for name in names if name in rule_by_id]
    return [
        {
            "id": rule.id,
            "text": in_words(rule, teller),
            "condition": condition(rule),
            "raised": rule.id in raised,
            "can_be_silent": rule.by == case.entity
            and key_of(definitions.events.entities, rule.by, rule.on) is not None,
            "silence": silent.get(rule.id),
            "pending": pending.get(rule.id),
        }
        for rule in rules
    ]


def _people(service: Service) -> list[tuple[str, str]]:
    with service.desk.store.look() as reader:
        users = reader.users()
    return [
        (user.name, user.display_name)
        for user in users
        if not user.is_disabled and Right.WORK_CASES in RIGHTS[user.role]
    ]


Acts = Mapping[str, type["OperationRequest[Any]"]]
ACTS: Final[Acts] = {  # operation by the last segment of its path
    "decide": DecideCase,
    "claim": ClaimCase,
    "release": ReleaseCase,
    "assign": AssignCase,
    "escalate": EscalateCase,
    "reopen": ReopenCase,
    "note": NoteCase,
    "snooze": SnoozeCase,
    "tags": TagCase,
    "check": CheckCase,
    "macro": RunMacro,
    "move": MoveCase,
}
SILENCING: Final[Acts] = {  # operations that silence a rule for the case's key
    "silence": SilenceOfCase,
    "end-silence": SilenceEnd,
    "approve-silence": SilenceApproval,
}


async def _run(service: Service, request: Request, acts: Mapping[str, type[OperationRequest[Outcome]]]) -> Outcome:
    form = await request.form()
    act = acts[request.path.rpartition("/")[2]]
    arguments: JsonObject = {name: form[name] for name in act.__struct_fields__} | {"number": number_of(request)}
    if "until" in arguments:
        until_ms = service.cases.now_ms() + named_duration("for", form["for"])
        arguments["until"] = time_text(min(until_ms, YEAR_10000_MS - 1))
    if act is DecideCase:
        arguments |= {"block": (), "lists": await service.in_thread(also_from, service, request, form)}
    return await service.run(request, act(**arguments))


async def change(service: Service, request: Request) -> Response:
    """Run an action and show the case again, or the queue once the case is closed or snoozed.

    If another user changed the case first, its page says so.
    """
    form = await request.form()
    where = where_from(form)
    try:
        result = await _run(service, request, ACTS)
    except CaseChangedError as error:
        return await _page(service, request, where, error.case)
    except UsageError as error:
        return await _page(service, request, where, mistake=str(error))
    is_done = not isinstance(result, ShownCase) and result.case.state in {CLOSED, "" if form["verdict"] else SNOOZED}
    return see_other(where.queue if is_done else where.case(number_of(request)))


async def silence(service: Service, request: Request) -> Response:
    where = where_from(await request.form())
    why_not = (await _run(service, request, SILENCING)).why_not
    if not why_not or why_not == WAITS:  # the rule's row shows that it waits for a second person
        return see_other(where.case(number_of(request)))
    return await _page(service, request, where, why_not=why_not)


ROUTES = (
    Route("GET", "/cases/{id}", Right.READ_CASES, show),
    *(
        Route("POST", f"/cases/{{id}}/{verb}", Right.WORK_CASES, handle)
        for verb, handle in (*((verb, change) for verb in ACTS), *((verb, silence) for verb in SILENCING))
    ),
)
