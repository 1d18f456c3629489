"""A rule silenced for whom a case is about, and speaking again: recorded, written, in force when it is answered.

The case and the record have it in one transaction before the file is written, so no rule is silent that nobody
silenced. Where it is long in coming into force, that is told and goes on.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shroff.app.rules.agreements import Author
from shroff.cases import case_actions, case_queries
from shroff.cases.case import Case
from shroff.errors import NotAllowedError, UsageError
from shroff.events.event import TimeText
from shroff.people.audit import Act
from shroff.web.api.cases import case_documents as documents
from shroff.web.api.cases.cases import act, body_of, done, number_of
from shroff.web.http.messages import Json, Request

if TYPE_CHECKING:
    from shroff.app.rules.silence_requests import PendingSilence
    from shroff.app.rules.silences import Silence
    from shroff.project.lists import Edited
    from shroff.web.service import Service

WAITS: Final = "silences need approval by a second person here; this one is waiting"


class SilenceRequest(msgspec.Struct, forbid_unknown_fields=True):
    """The rule to silence, the end, and the reason."""

    rule: str
    until: TimeText
    text: str


class SilenceApproval(msgspec.Struct, forbid_unknown_fields=True):
    """The rule to silence, and the etag of the requested silence."""

    rule: str
    etag: str


class SilenceEnd(msgspec.Struct, forbid_unknown_fields=True):
    """The rule whose silence to end."""

    rule: str


async def silence(service: Service, request: Request) -> Json[documents.CaseSilenced]:
    """Let a rule be silent for whom the case is about."""
    given = await body_of(request, SilenceRequest)
    return _answer(service, *await silence_for(service, request, given.rule, given.until, given.text))


def _answer(service: Service, found: Case, why_not: str) -> Json[documents.CaseSilenced]:
    case = documents.case(service.cases, found)
    return Json({**case, "in_force": not why_not, "why_not": why_not or None})


async def silence_for(service: Service, request: Request, rule: str, until: str, why: str) -> tuple[Case, str]:
    """The same, for pages too; gives the case, and why it is not in force yet, where it is not.

    Raises: ProblemError; UsageError for what cannot be silenced.
    """
    number, who = number_of(request), request.who
    found = await done(service, case_queries.detail, service.cases, who, number)
    case, project = found.case, service.project
    if not why.strip():
        raise UsageError("give a reason for the silence.")
    if not any(one.id == rule and one.by == case.entity for one in project.definitions.rules):
        raise UsageError(f"case {number} is about a {case.entity}, and no rule {rule[:100]!r} has that as its key.")

    told = {"entity": case.entity, "key": case.key, "until": until, "case": number}
    if project.silences.need_second_person:
        return case, await _asked_for(service, request, case, rule, until, why.strip(), told)
    act = Act(who, "rule.silence", f"rule {rule}", None, told)

    def recorded(_: Edited) -> None:
        case_actions.silenced(service.cases, act, number, f"{rule}, {why.strip()}")

    def write() -> None:
        project.silences.write(rule, case.key, until, note=why.strip(), by=who.name, before=recorded)

    await done(service, write)
    return case, await service.adopted()


async def _asked_for(
    service: Service, request: Request, case: Case, rule: str, until: str, why: str, told: dict[str, Any]
) -> str:
    """Keep it for a second person; gives what it waits for."""
    act = Act(request.who, "rule.silence_ask", f"rule {rule}", None, told)
    agreements = service.operations.acting(request.who).agreements
    authors = await service.in_thread(partial(agreements.authors, of_two=True))

    def recorded() -> None:
        case_actions.silenced(service.cases, act, case.number, f"{rule}, {why}", case_actions.SILENCE_ASKED)

    await done(service, service.project.silence_requests.ask, rule, case.key, until, why, authors[::-1], recorded)
    return WAITS


async def approve(service: Service, request: Request) -> Json[documents.CaseSilenced]:
    """Let a rule be silent as somebody else asked for."""
    given = await body_of(request, SilenceApproval)
    return _answer(service, *await approve_for(service, request, given.rule, given.etag))


async def approve_for(service: Service, request: Request, rule: str, tag: str) -> tuple[Case, str]:
    """The same, for pages too, as `silence_for`. Raises: ProblemError; UsageError; NotAllowedError for who asked."""
    number, who = number_of(request), request.who
    if who.kind != "user":
        raise NotAllowedError("approving a silence needs a signed-in user, not an API key")
    case = (await done(service, case_queries.detail, service.cases, who, number)).case
    told = {"entity": case.entity, "key": case.key, "case": number, "approved": tag}
    act = Act(who, "rule.silence", f"rule {rule}", None, told)

    def recorded() -> None:
        case_actions.silenced(service.cases, act, number, rule)

    await done(
        service, service.project.silence_requests.approve, rule, case.key, tag, Author(who.id, who.name), recorded
    )
    return case, await service.adopted()


async def end(service: Service, request: Request) -> Json[documents.CaseSilenced]:
    """Let a rule speak again for whom the case is about."""
    return _answer(service, *await end_for(service, request, (await body_of(request, SilenceEnd)).rule))


async def end_for(service: Service, request: Request, rule: str) -> tuple[Case, str]:
    """The same, for pages too, as `silence_for`. Raises: ProblemError; UsageError where the rule is not silent."""
    number, who = number_of(request), request.who
    case = (await done(service, case_queries.detail, service.cases, who, number)).case
    before = (await service.in_thread(silences_of, service, case)).get(rule)
    if before is None:
        pending = await service.in_thread(pending_silences, service, case)
        if rule not in pending:
            raise UsageError(f"rule {rule[:100]!r} is not silent for this {case.entity}.")
        return await _dropped(service, request, case, rule, pending[rule])
    told = {"entity": case.entity, "key": case.key, "until": before.until, "case": number}
    act = Act(who, "rule.silence_end", f"rule {rule}", told, None)

    def recorded(_: Edited) -> None:
        case_actions.silenced(service.cases, act, number, rule, case_actions.SILENCE_ENDED)

    await done(service, service.project.silences.write_end, rule, before.key, recorded)
    return case, await service.adopted()


async def _dropped(
    service: Service, request: Request, case: Case, rule: str, pending: PendingSilence
) -> tuple[Case, str]:
    told = {"entity": case.entity, "key": case.key, "until": pending.until, "case": case.number}
    act = Act(request.who, "rule.silence_drop", f"rule {rule}", told, None)

    def recorded() -> None:
        case_actions.silenced(service.cases, act, case.number, rule, case_actions.SILENCE_DROPPED)

    await done(service, service.project.silence_requests.drop, rule, case.key, recorded)
    return case, ""


def pending_silences(service: Service, case: Case) -> dict[str, PendingSilence]:
    """Silences of a case's entity that wait for a second person: by the ids of the rules."""
    whose = (case.entity, case.key)
    return {one.rule: one for one in service.project.silence_requests.all() if (one.entity, one.key) == whose}


def silences_of(service: Service, case: Case) -> dict[str, Silence]:
    """The rules that are silent now for whom a case is about, by their ids, with until when."""
    now_ms, whose = service.cases.now_ms(), (case.entity, case.key)
    found = [one for one in service.project.silences.all() if (one.entity, one.key) == whose]
    return {one.rule: one for one in found if one.holds(now_ms)}


ROUTES: Final = (
    act(
        "silence",
        silence,
        "Silence a rule for the key of the case, for events before a time; the answer says whether it is active.",
        SilenceRequest,
    ),
    act(
        "end-silence",
        end,
        "End the silence of a rule for the key of the case; the answer says whether that is active.",
        SilenceEnd,
    ),
    act(
        "approve-silence",
        approve,
        "Approve, as the second person, a silence that somebody else requested; needs a signed-in user.",
        SilenceApproval,
    ),
)
