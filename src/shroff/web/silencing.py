"""A rule silenced for whom a case is about, and speaking again: recorded, written, in force when it is answered.

The case and the record have it in one transaction before the file is written, so no rule is silent that nobody
silenced. Where it is long in coming into force, as the first silence of a rule may be, that is told and goes on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from shroff.cases import reading, working
from shroff.cases.case import Case
from shroff.decisions.inbox import ADOPT
from shroff.errors import UsageError
from shroff.people.audit import Act
from shroff.web import case_documents as documents
from shroff.web.cases import body_of, done, number_of
from shroff.web.http import Request, Response, json_response

if TYPE_CHECKING:
    from shroff.decisions.lists import Edited
    from shroff.decisions.silences import Silence
    from shroff.web.service import Service


class Silenced(msgspec.Struct, forbid_unknown_fields=True):
    """Which rule, until when, and why."""

    rule: str
    until: str
    text: str


class Ended(msgspec.Struct, forbid_unknown_fields=True):
    """Which rule is to speak again."""

    rule: str


async def silence(service: Service, request: Request) -> Response:
    """Let a rule be silent for whom the case is about."""
    given = await body_of(request, Silenced)
    found = await silence_for(service, request, given.rule, given.until, given.text)
    return json_response(documents.case(service.cases, found))


async def silence_for(service: Service, request: Request, rule: str, until: str, why: str) -> Case:
    """The same, for pages too; gives the case. Raises: ProblemError; UsageError for what cannot be silenced."""
    number, who = number_of(request), request.who
    found = await done(service, reading.detail, service.cases, who, number)
    case, project = found.case, service.project
    if not why.strip():
        raise UsageError("say why the rule is to be silent.")
    if not any(one.id == rule and one.by == case.entity for one in project.definitions.rules):
        raise UsageError(f"case {number} is about a {case.entity}, and no rule {rule[:100]!r} has that as its key.")

    told = {"entity": case.entity, "key": case.key, "until": until, "case": number}
    act = Act(who, "rule.silence", f"rule {rule}", None, told)

    def recorded(_: Edited) -> None:
        working.silenced(service.cases, act, number, f"{rule}, {why.strip()}")

    def write() -> None:
        project.write_silence(rule, case.key, until, note=why.strip(), by=who.name, before=recorded)

    await done(service, write)
    await service.asked_of_log(None, ADOPT, [b"null"])
    return case


async def end(service: Service, request: Request) -> Response:
    """Let a rule speak again for whom the case is about."""
    found = await end_for(service, request, (await body_of(request, Ended)).rule)
    return json_response(documents.case(service.cases, found))


async def end_for(service: Service, request: Request, rule: str) -> Case:
    """The same, for pages too; gives the case. Raises: ProblemError; UsageError where the rule is not silent."""
    number, who = number_of(request), request.who
    case = (await done(service, reading.detail, service.cases, who, number)).case
    before = (await service.in_thread(silences_of, service, case)).get(rule)
    if before is None:
        raise UsageError(f"rule {rule[:100]!r} is not silent for this {case.entity}.")
    told = {"entity": case.entity, "key": case.key, "until": before.until, "case": number}
    act = Act(who, "rule.silence_end", f"rule {rule}", told, None)

    def recorded(_: Edited) -> None:
        working.silenced(service.cases, act, number, rule, is_over=True)

    await done(service, service.project.write_silence_end, rule, before.key, recorded)
    await service.asked_of_log(None, ADOPT, [b"null"])
    return case


def silences_of(service: Service, case: Case) -> dict[str, Silence]:
    """The rules that are silent now for whom a case is about, by their ids, with until when."""
    now_ms, whose = service.cases.now_ms(), (case.entity, case.key)
    found = [one for one in service.project.silences() if (one.entity, one.key) == whose]
    return {one.rule: one for one in found if one.holds(now_ms)}
