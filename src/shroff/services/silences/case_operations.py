"""Operations on silences from a case: stop a rule for the key of the case until a time, or end that.

Case and audit log record it in one transaction before the file is written, so every silence has a record. If its
activation is delayed, the answer says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shroff.cases import case_actions, case_queries
from shroff.cases.case_service import CaseService
from shroff.errors import UsageError
from shroff.events.event import TimeText
from shroff.json_types import JsonObject
from shroff.operations.declaration import operation
from shroff.people.audit import Act
from shroff.project.lists import file_of
from shroff.rules.silences import list_of
from shroff.services.approvals.agreements import OF_SILENCE, PendingApproval
from shroff.services.cases.documents import CaseSilenced, case_as
from shroff.services.cases.operations import CHANGES, ChangeOfCase
from shroff.services.lists.files import WRITTEN
from shroff.services.project import Project

if TYPE_CHECKING:
    from collections.abc import Callable

    from shroff.cases.case import Case
    from shroff.services.silences.silences import Silence

HAPPENED = {  # action in the case, by the verb in the audit log
    "silence": case_actions.SILENCED,
    "silence_ask": case_actions.SILENCE_ASKED,
    "silence_end": case_actions.SILENCE_ENDED,
    "silence_drop": case_actions.SILENCE_DROPPED,
}
WAITS = "silences need approval by a second person here; this one is waiting"


class RuleOfCase(ChangeOfCase["CaseSilenced"], kw_only=True):
    """A rule, and a case whose key it is silent for."""

    rule: str


class SilenceOfCase(RuleOfCase, kw_only=True):
    until: TimeText
    text: str


@operation(
    "cases silence",
    right="work:cases",
    http="POST /cases/{id}/silence",
    schema="SilenceRequest",
    refusals=CHANGES,
    has_command=False,
)
def silence_of_case(desk: CaseService, project: Project, request: SilenceOfCase) -> CaseSilenced:
    """Silence a rule for the key of the case, for events before a time; the answer says whether it is active."""
    who, rule, why = project.context.who, request.rule, request.text.strip()
    case = case_queries.detail(desk, who, request.number).case
    if not why:
        raise UsageError("give a reason for the silence.")
    if not any(declared.id == rule and declared.by == case.entity for declared in project.definitions.rules):
        words = f"case {case.number} is about a {case.entity}, and no rule {rule[:100]!r} has that as its key."
        raise UsageError(words)
    details = {"until": request.until}
    if project.silences.need_second_person:
        recorded = _record(desk, project, case, request, "silence_ask", details, why)
        authors = project.agreements.authors(of_two=True)
        project.silence_requests.ask(rule, case.key, request.until, why, authors, recorded)
        return _answer(desk, case, WAITS)
    recorded = _record(desk, project, case, request, "silence", details, why)
    project.silences.write(rule, case.key, request.until, note=why, by=who.name, before=recorded)
    return _in_force(desk, project, case, rule)


class SilenceApproval(RuleOfCase, kw_only=True):
    etag: str


@operation(
    "cases approve-silence",
    right="work:cases",
    http="POST /cases/{id}/approve-silence",
    refusals=CHANGES,
    has_command=False,
)
def approve_silence(desk: CaseService, project: Project, request: SilenceApproval) -> CaseSilenced:
    """Approve, as the second person, a silence that somebody else requested; needs a signed-in user."""
    rule, case = request.rule, case_queries.detail(desk, project.context.who, request.number).case
    recorded = _record(desk, project, case, request, "silence", {"approved": request.etag})
    project.silence_requests.approve(rule, case.key, request.etag, recorded)
    return _in_force(desk, project, case, rule)


class SilenceEnd(RuleOfCase):
    pass


@operation(
    "cases end-silence", right="work:cases", http="POST /cases/{id}/end-silence", refusals=CHANGES, has_command=False
)
def end_silence_of_case(desk: CaseService, project: Project, request: SilenceEnd) -> CaseSilenced:
    """End the silence of a rule for the key of the case; the answer says whether that is active."""
    rule, case = request.rule, case_queries.detail(desk, project.context.who, request.number).case
    silence = silences_of(project, case.entity, case.key, desk.now_ms()).get(rule)
    if silence is not None:
        recorded = _record(desk, project, case, request, "silence_end", {"until": silence.until})
        project.silences.write_end(rule, silence.key, recorded)
        return _in_force(desk, project, case, rule)
    pending = pending_silences(project, case.entity, case.key).get(rule)
    if pending is None:
        raise UsageError(f"rule {rule[:100]!r} is not silent for this {case.entity}.")
    recorded = _record(desk, project, case, request, "silence_drop", {"until": pending.change["until"]})
    project.silence_requests.drop(rule, case.key, recorded)
    return _answer(desk, case, "")


def _record(
    desk: CaseService, project: Project, case: Case, request: RuleOfCase, verb: str, more: JsonObject, why: str = ""
) -> Callable[..., None]:
    """Return a function that records the change in case and audit log; call it before the write."""
    details = {"entity": case.entity, "key": case.key, "case": case.number, **more}
    change = (details, None) if verb == "silence_end" else (None, details)
    act = Act(project.context.who, f"rule.{verb}", f"rule {request.rule}", *change)
    note = ", ".join(filter(None, (request.rule, why)))
    return lambda *_: case_actions.silenced(desk, act, case.number, note, HAPPENED[verb], request.tag)


def _in_force(desk: CaseService, project: Project, case: Case, rule: str) -> CaseSilenced:
    why_not = project.requests.put_in_force(WRITTEN, [file_of(list_of(rule))])
    return _answer(desk, case, why_not)


def _answer(desk: CaseService, case: Case, why_not: str) -> CaseSilenced:
    shown = case_queries.shown(case)
    return case_as(CaseSilenced, desk, shown, alerts=shown.alerts, in_force=not why_not, why_not=why_not or None)


def pending_silences(project: Project, entity: str, key: str) -> dict[str, PendingApproval]:
    requests = project.agreements.asked(f"{OF_SILENCE}{entity} {key}")
    return {request.change["rule"]: request for request in requests}


def silences_of(project: Project, entity: str, key: str, now_ms: int) -> dict[str, Silence]:
    silences = [silence for silence in project.silences.all() if (silence.entity, silence.key) == (entity, key)]
    return {silence.rule: silence for silence in silences if silence.holds(now_ms)}
