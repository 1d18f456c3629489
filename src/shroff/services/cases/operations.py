"""Operations on cases: the queue, single cases, and actions on them."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Final, Literal, TypeAlias

import msgspec

from shroff.cases import case_actions, case_queries, dispositions, filters
from shroff.cases.case import CaseFilter
from shroff.cases.case_service import CaseChangedError, CaseService, NoCaseError, NoEventError, TooLateError
from shroff.cases.filters import LARGEST
from shroff.cases.pending_changes import check_answer
from shroff.errors import LogBusyError
from shroff.events.event import TimeText, time_text
from shroff.json_types import JsonObject, TextDict
from shroff.language.values import parse_time
from shroff.operations.declaration import InvalidRequestError, OperationRequest, Outcome_co, Param, group, operation
from shroff.operations.pagination import BadQueryError, Cursor, cursor_of, next_of
from shroff.people.access import Right, Who
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import reasons_of
from shroff.runtime.values import replace
from shroff.services.cases import side_effects
from shroff.services.cases.customer_questions import asked_about
from shroff.services.cases.documents import (
    Case,
    CaseActed,
    CaseClaimed,
    CaseDecided,
    CaseFailed,
    CaseList,
    CasesActed,
    CasesUndone,
    CaseTotals,
    CaseWhole,
    case_of,
    cases_of,
    money,
    whole_of,
)
from shroff.services.cases.project_cases import ProjectCases
from shroff.services.cases.side_effects import CaseListEntry
from shroff.services.project import Project

if TYPE_CHECKING:
    from shroff.project.lists import ListChange

PAGE_MAX = 500  # cases per page over HTTP
BODY_BYTES_MAX = 64 * 1024
CHANGES = (NoCaseError, CaseChangedError)
WORK: Final[JsonObject] = {"right": "work:cases", "body_bytes_max": BODY_BYTES_MAX, "refusals": CHANGES}
TAG = Param("The ETag of the version that you read. Default: the current version.", is_etag=True, is_optional=True)
InQuery = Annotated[str, Param(in_query=True)]
Answer: TypeAlias = Literal["fraud", "genuine", "unclear"]
Number: TypeAlias = Annotated[int, msgspec.Meta(ge=1, le=LARGEST)]

group(
    "cases",
    """Show and answer cases: alerts of the log, grouped by entity.

    The log's alerts are raised first, so these commands need no running service. Each answer is in the audit log.

    Examples:
        shroff cases
        shroff cases list
        shroff cases list --filter 'state=open&min_stake=1000' --json
        shroff cases show 12
        shroff cases decide 12 fraud
    """,
)


class CaseQuery(OperationRequest[Outcome_co]):
    """Cases that match a filter.

    Args:
        state: One or more of open, claimed, snoozed, escalated, closed, separated by commas; or all. Default: all that
            are not closed.
        entity: Cases of this entity.
        key: Cases of this key.
        assignee: me, free, or the id of the assigned user.
        rule: Cases with an alert of this rule.
        min_stake: Minimum amount at stake.
        due_within: Due within this time from now, such as 1h.
        text: Part of the key, the top reason or the id of an event.
        customer: The customer's answer: fraud, genuine or unclear.
        tag: Cases with this tag.
        queue: Cases of this queue; default; or mine, all but those of teams that you are not in.
        order: One of due, urgent, stake, score, newest. Default: due, the earliest due time first. urgent: due within
            an hour, then denied by the customer, then by stake times score.
        filter: A filter as in the queue's URL: state=open&min_stake=1000.
    """

    state: InQuery = ""
    entity: InQuery = ""
    key: InQuery = ""
    assignee: InQuery = ""
    rule: InQuery = ""
    min_stake: InQuery = ""
    due_within: InQuery = ""
    text: InQuery = ""
    customer: InQuery = ""
    tag: InQuery = ""
    queue: InQuery = ""
    order: InQuery = ""
    filter: Annotated[str, Param(is_local=True)] = ""

    @property
    def query(self) -> TextDict:
        values = {name: getattr(self, name) for name in filters.KEYS}
        return filters.query_of(filters.query_text(self.filter)) | {key: text for key, text in values.items() if text}

    def wanted(self, desk: CaseService, who: Who) -> CaseFilter:
        return filters.wanted_of(self.query, who, desk)


class OfCase(OperationRequest[Outcome_co], rename={"number": "id"}):
    """A request about one case.

    Args:
        number: The case's number.
    """

    number: Number


class ChangeOfCase(OfCase[Outcome_co]):
    """A change of one case, as the caller has read it."""

    tag: Annotated[str, TAG] = ""


# ---- looking


class ShowCases(CaseQuery["CaseList"]):
    """
    Args:
        limit: Page size, 1 to 500. Default: 50.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 50
    cursor: Cursor = ""


@operation("cases list", right="read:cases", http="GET /cases")
def show_cases(desk: CaseService, definitions: Definitions, who: Who, request: ShowCases) -> CaseList:
    """List the cases that match a filter (the queue), those due first at the top.

    Examples:
        shroff cases list
        shroff cases list --filter 'assignee=free&due_within=1h'
    """
    if request.limit > PAGE_MAX and who.kind != "command":
        raise BadQueryError(f"limit: it is 1 to {PAGE_MAX}")
    wanted, after = request.wanted(desk, who), cursor_of({"cursor": request.cursor}, tuple[int, int])
    if after is not None and any(abs(part) > LARGEST for part in after):
        raise BadQueryError("cursor: unknown; use 'next' of the previous page")
    page = case_queries.listed(desk, who, wanted, filters.order_of(request.query), after, request.limit)
    if not page.cases:
        filters.require_known(request.query, who, desk, definitions)
    totals = case_queries.totals(desk, who, wanted)
    answer = CaseList(
        cases=cases_of(desk, page.cases),
        totals=CaseTotals(totals.count, money(desk, totals.stake)),
        next=next_of(page.after) if page.after else None,
    )
    if who.kind == "command":
        answer.format_reason = reasons_of(definitions)
        if page.cases and not request.query.get("state"):
            apart = {state: replace(wanted, states=states) for state, states in filters.APART.items()}
            counts = {state: case_queries.count(desk, who, narrowed) for state, narrowed in apart.items()}
            answer.apart = ", ".join(f"{count:,} {state}" for state, count in counts.items())
    return answer


class ShowCase(OfCase["CaseWhole"]):
    pass


@operation("cases show", right="read:cases", http="GET /cases/{id}", refusals=[NoCaseError])
def show_case(
    desk: CaseService, cases: ProjectCases, definitions: Definitions, who: Who, request: ShowCase
) -> CaseWhole:
    """Show one case with its alerts, notes, history and files.

    Examples:
        shroff cases show 12
        shroff cases show 12 --json
    """
    details = case_queries.detail(desk, who, request.number)
    questions = asked_about(cases.notices(desk), details.alerts, desk.now_ms())
    answer = whole_of(desk, details, [question.document for question in questions])
    if who.kind == "command":
        answer.format_reason = reasons_of(definitions)
    return answer


# ---- one case


class ClaimCase(ChangeOfCase["Case"], kw_only=True):
    pass


@operation("cases claim", http="POST /cases/{id}/claim", **WORK)
def claim_case(desk: CaseService, who: Who, request: ClaimCase) -> Case:
    """Claim a case; it is locked for you until the lock expires."""
    return case_of(desk, case_actions.claim(desk, who, request.number, request.tag))


class ReleaseCase(ChangeOfCase["Case"], kw_only=True):
    pass


@operation("cases release", http="POST /cases/{id}/release", **WORK)
def release_case(desk: CaseService, who: Who, request: ReleaseCase) -> Case:
    """Release a case."""
    return case_of(desk, case_actions.release(desk, who, request.number, request.tag))


class AssignCase(ChangeOfCase["Case"], kw_only=True):
    """
    Args:
        to: The user's name. Empty: nobody.
    """

    to: Annotated[str | None, Param(is_argument=True)]


@operation("cases assign", http="POST /cases/{id}/assign", schema="CaseAssignment", **WORK)
def assign_case(desk: CaseService, who: Who, request: AssignCase) -> Case:
    """Assign a case to a user by name, or to nobody."""
    return case_of(desk, case_actions.assign(desk, who, request.number, request.to or "", request.tag))


class NoteCase(OfCase["Case"]):
    """A text: a note, or the reason of an action.

    Args:
        text: The note.
    """

    text: str


@operation("cases note", http="POST /cases/{id}/note", schema="CaseText", **WORK)
def note_case(desk: CaseService, who: Who, request: NoteCase) -> Case:
    """Add a note to a case."""
    return case_of(desk, case_actions.note(desk, who, request.number, request.text))


class EscalateCase(ChangeOfCase["Case"], kw_only=True):
    """Why a case is escalated, and the name of the user who decides it; null for anybody else.

    Args:
        text: Why it is escalated.
        to (NAME): The user who decides it.  [default: anybody else]
    """

    text: str
    to: str | None = None


@operation("cases escalate", http="POST /cases/{id}/escalate", schema="CaseEscalation", **WORK)
def escalate_case(desk: CaseService, who: Who, request: EscalateCase) -> Case:
    """Escalate a case, to a user or to anybody else."""
    return case_of(desk, case_actions.escalate(desk, who, request.number, request.text, request.tag, request.to or ""))


class ReopenCase(ChangeOfCase["Case"], kw_only=True):
    """A text: a note, or the reason of an action.

    Args:
        text: Why it is reopened.
    """

    text: str


@operation("cases reopen", http="POST /cases/{id}/reopen", schema="CaseText", **WORK)
def reopen_case(desk: CaseService, who: Who, request: ReopenCase) -> Case:
    """Reopen a closed case."""
    return case_of(desk, case_actions.reopen(desk, who, request.number, request.text, request.tag))


class SnoozeCase(ChangeOfCase["CaseActed"], kw_only=True):
    """
    Args:
        until (TIME): The end of the snooze.
    """

    until: Annotated[TimeText, Param(flags="--until")]


@operation("cases snooze", http="POST /cases/{id}/snooze", schema="CaseSnooze", **WORK)
def snooze_case(desk: CaseService, who: Who, request: SnoozeCase) -> CaseActed:
    """Snooze a case until a time."""
    until_ms = time_of(request.until, "until")
    acted = dispositions.snooze(desk, who, request.number, until_ms, tag=request.tag)
    return CaseActed(case=case_of(desk, acted.cases[0]), undo=acted.undo, undo_until=time_text(acted.until_ms))


class DecideCase(ChangeOfCase["CaseDecided"], kw_only=True):
    """
    Args:
        verdict: fraud, genuine or unclear.
        event: Answer only this event of the case, such as payment/p-1.
        reason: The reason to record with the labels, and with --block.
        lists: Entries of lists to add with the answer.
        block (LIST=VALUE): Add a value to a list. May be repeated.
        refund (AMOUNT): Record an amount returned to the customer, such as 12.50.
    """

    verdict: Answer
    event: str = ""
    reason: str = ""
    lists: Annotated[tuple[CaseListEntry, ...], Param(is_remote=True)] = ()
    block: Annotated[tuple[str, ...], Param(is_local=True)] = ()
    refund: str = ""


@operation(
    "cases decide",
    http="POST /cases/{id}/decide",
    schema="CaseVerdict",
    **WORK | {"refusals": (*CHANGES, NoEventError)},
)
def decide_case(desk: CaseService, project: Project, who: Who, request: DecideCase) -> CaseDecided:
    """Decide a case: it closes at once; labels of its events are written 8 s later unless you undo it.

    A command writes them at once. They cannot be undone then, but the case can be reopened. Where an entry of a list
    cannot be written, the case stays as it is.

    Examples:
        shroff cases decide 12 genuine
        shroff cases decide 12 fraud --event payment/p-1
        shroff cases decide 12 fraud --block blocked_cards=c-7 --refund 40.00 --reason 'stolen card'
    """
    entries = [*request.lists, *side_effects.blocked(project, desk, request.block, request.reason)]
    also = side_effects.checked(project, desk, entries, request.refund, request.reason)
    if also.listed:
        dispositions.check_decision(desk, who, request.number, request.verdict, request.tag, request.event, also)
    with side_effects.writing(project, also) as changes:
        acted = dispositions.decide(
            desk, who, request.number, request.verdict, tag=request.tag, event=request.event, also=also
        )
    answer = decided(desk, project, acted, changes)
    if also.refund and not project.cases.are_carried_out:
        answer.refund = f"{money(desk, also.refund)}"
    return answer


def decided(
    desk: CaseService, project: Project, acted: dispositions.CaseAction, changes: list[ListChange]
) -> CaseDecided:
    """Return the answer for a decided case; its labels are written now unless a service writes them."""
    answer = CaseDecided(case=case_of(desk, acted.cases[0]), lists=changes)
    if project.cases.are_carried_out:
        answer.undo, answer.undo_until = acted.undo, time_text(acted.until_ms)
        return answer
    project.cases.carry_out_now(desk, acted)
    with suppress(LogBusyError), project.log.writing() as (writer, log):  # another writer does it
        project.inboxes.brief(writer, log).serve()
    return answer


class AnswerEvent(OperationRequest["CasesActed"]):
    event: str
    id: str
    verdict: Answer
    reason: str = ""
    lists: tuple[CaseListEntry, ...] = ()
    refund: str = ""


@operation("cases answer-event", right="work:cases", has_command=False)
def answer_event(desk: CaseService, project: Project, who: Who, request: AnswerEvent) -> CasesActed:
    """Answer an event that is in no case; its label is written as those of a case."""
    also = side_effects.checked(project, desk, request.lists, request.refund, request.reason)
    who.require(Right.WRITE_LABELS)
    check_answer(request.verdict, also)
    with side_effects.writing(project, also):
        acted = dispositions.answer_event(desk, who, request.event, request.id, request.verdict, also=also)
    return CasesActed(cases=[], failed=[], undo=acted.undo, undo_until=time_text(acted.until_ms))


# ---- many


class ClaimNext(CaseQuery["CaseClaimed"]):
    pass


@operation("cases claim-next", right="work:cases", http="POST /cases/claim-next")
def claim_next_case(desk: CaseService, who: Who, request: ClaimNext) -> CaseClaimed:
    """Claim the case that is due first, of those that match a filter and are free or already yours.

    Cases of other teams' queues come last, those that only their teams answer never.
    Of the states, open, snoozed and escalated cases can be claimed. Default: open. Concurrent calls never get the same
    case.
    """
    case = case_actions.claim_next(desk, who, request.wanted(desk, who), filters.order_of(request.query))
    return CaseClaimed(case=None if case is None else case_of(desk, case))


class CaseTag(msgspec.Struct, forbid_unknown_fields=True):
    """One of several cases; with a tag, the version that the caller read."""

    id: int
    tag: str = ""


class CasesAction(OperationRequest["CasesActed"]):
    action: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["decide", "claim", "snooze"]})]
    cases: list[CaseTag]
    verdict: Answer | None = None
    reason: str = ""
    until: TimeText = ""


@operation("cases bulk", right="work:cases", http="POST /cases/bulk", body_bytes_max=BODY_BYTES_MAX, has_command=False)
def change_cases(desk: CaseService, who: Who, request: CasesAction) -> CasesActed:
    """Decide, claim or snooze several cases. Cases that cannot be changed are reported; the others are changed."""
    results, failed = dispositions.bulk(
        desk,
        who,
        {case.id: case.tag for case in request.cases},
        request.action,
        verdict=request.verdict or "",
        reason=request.reason,
        until_ms=time_of(request.until, "until") if request.until else 0,
    )
    return CasesActed(
        cases=cases_of(desk, results.cases if results else ()),
        failed=[
            CaseFailed(failure.case, str(failure.error), isinstance(failure.error, CaseChangedError))
            for failure in failed
        ],
        undo=results.undo if results else None,
        undo_until=time_text(results.until_ms) if results else None,
    )


class UndoAction(OperationRequest["CasesUndone"]):
    """The action to undo."""

    undo: int


class UndoOfCase(OfCase["CasesUndone"]):
    """The action to undo."""

    undo: int


UNDO = WORK | {"schema": "CaseUndo", "refusals": (NoCaseError, TooLateError), "has_command": False}


@operation("cases undo", http="POST /cases/undo", **UNDO)
def undo_action(desk: CaseService, project: Project, who: Who, request: UndoAction) -> CasesUndone:
    """Undo a recent action on one or several cases; those that another user has changed since stay unchanged."""
    return _undone(desk, project, who, request.undo)


@operation("cases undo-case", http="POST /cases/{id}/undo", **UNDO)
def undo_of_case(desk: CaseService, project: Project, who: Who, request: UndoOfCase) -> CasesUndone:
    """Undo a recent action, by its number."""
    return _undone(desk, project, who, request.undo, request.number)


def _undone(desk: CaseService, project: Project, who: Who, undo: int, case: int = 0) -> CasesUndone:
    if not 0 < undo <= LARGEST:
        raise TooLateError("no action has this number")
    result = dispositions.undo(desk, who, undo, case)
    side_effects.take_out(project, result.listed)
    return CasesUndone(cases=cases_of(desk, result.restored), changed=cases_of(desk, result.changed))


def time_of(text: str, what: str) -> int:
    try:
        time_ms = parse_time(text)
    except ValueError as error:
        raise InvalidRequestError(f"{what}: {error}") from None
    if abs(time_ms) > LARGEST:
        raise InvalidRequestError(f"{what}: the time is too far away")
    return time_ms
