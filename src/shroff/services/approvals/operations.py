"""Operations on changes that wait for a second person: list, approve and withdraw."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from shroff.errors import RefusalError
from shroff.operations.declaration import OPERATIONS, Operation, OperationAnswer, OperationRequest, group, operation
from shroff.people.access import Right, Who
from shroff.runtime.texts import TextTable
from shroff.services.approvals.agreements import Author, ChangeAsked, PendingApproval
from shroff.services.project import Project

RIGHT = "read:definitions"
NOBODY = Author("", "unknown")

group(
    "approvals",
    """Show the changes that wait for a second person, where 'second_person' in shroff.yaml asks for two.

    Approve and withdraw them in the service: names on this machine may belong to one person.

    Examples:
        shroff approvals
    """,
)


class NotWaitingError(RefusalError):
    """No such change waits here: it was approved, withdrawn or has expired, or is approved where it was requested."""

    status, code, title = 404, "not-waiting", "This change does not wait here"


class ShowApprovals(OperationRequest["Approvals"]):
    pass


class Approvals(OperationAnswer):
    """Changes that wait for a second person."""

    approvals: list[ChangeAsked]

    TABLE: ClassVar = TextTable(
        {"subject": "subject", "change": "says", "requested by": "by", "at": "at", "ended": "ended"},
        "approvals",
        "change",
    )


@operation("approvals list", right=RIGHT, http="GET /approvals")
def list_approvals(project: Project, who: Who, request: ShowApprovals) -> Approvals:
    """List the changes that wait for a second person: of rules, lists, silences, models, thresholds, users and keys.

    Changes that the caller may not make are left out. Those of rules, lists and silences are approved on their page.
    Where what a change was for has changed since, it cannot be approved any more, and 'ended' says why.

    Examples:
        shroff approvals list
    """
    waits = []
    for change in project.agreements.all():
        act = _act_of(change)
        if act is None or who.may(Right(act.right)):
            waits.append(change)
    if project.drafts.need_second_person:
        for draft in project.drafts.all():
            if not draft.is_approved:
                note = draft.note
                subject, authors = f"rule {draft.id}", note.authors or [NOBODY]
                waits.append(PendingApproval(subject, {}, "activate the draft", authors, note.saved_at_ms))
    return Approvals(approvals=[change.document for change in waits])


def _act_of(change: PendingApproval) -> Operation[..., Any] | None:
    return OPERATIONS.get(change.change.get("act", ""))


class AnswerApproval(OperationRequest["ApprovalAnswer"]):
    """
    Args:
        etag: The etag of the change: of 'approvals list'.
        approve: Whether to approve it; false withdraws the request.
        note: The reason, where the change takes one; a code of your own, where a second factor is to go.
    """

    etag: str
    approve: bool
    note: str = ""


class ApprovalAnswer(OperationAnswer):
    """The result in words. A link or a key that was made is shown this one time."""

    says: str


@operation(
    "approvals answer",
    right=RIGHT,
    http="PUT /approvals/{etag}",
    has_command=False,
    body_bytes_max=64 * 1024,
    refusals=[NotWaitingError],
)
def answer(project: Project, who: Who, request: AnswerApproval) -> ApprovalAnswer:
    """Approve a change that another person requested, or withdraw it; both take the right that the change takes.

    Of changes of lists, those that have ended are withdrawn here.
    """
    for change in project.agreements.all():
        act = _act_of(change)
        is_answered_here = not request.approve if change.ended else act is not None
        if change.tag == request.etag and is_answered_here:
            who.require(Right.EDIT_LISTS if act is None else Right(act.right))
            if act is not None and request.approve:
                named = {field.wire for field in act.fields}
                values = {**change.change, "reason": request.note, "code": request.note}
                asked = msgspec.convert({name: values[name] for name in values if name in named}, act.request)
                return ApprovalAnswer(says=project.run(asked).text())
            project.people.record("change.withdraw", change.subject, None, {"says": change.says})
            project.agreements.forget(change.subject, change.change)
            return ApprovalAnswer(says="The request is withdrawn.")
    raise NotWaitingError("reload the list of approvals")
