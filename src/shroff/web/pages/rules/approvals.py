"""The page Approvals: changes that wait for a second person, with their differences and possible approvers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.json_types import TextDict
from shroff.operations.declaration import OPERATIONS
from shroff.people.access import RIGHTS, Right
from shroff.people.users import all_users
from shroff.runtime.values import FrozenStruct
from shroff.services.approvals.operations import AnswerApproval, ShowApprovals
from shroff.services.drafts.draft_files import StoredDraft
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page
from shroff.web.pages.rules.backtests import worth
from shroff.web.pages.rules.diffs import DiffLine, diff
from shroff.web.pages.rules.table import may_approve
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.people.store import User
    from shroff.web.service import Service

PATH = "/approvals"
DRAFT = "activate the draft"


class DraftReview(FrozenStruct):
    """A draft as a second person reviews it.

    Args:
        changes: Differences from the active rule; for a new rule, its lines.
        worth: Advice of the newest backtest of this version; None if there is none or it still runs.
        backtest: Path of that backtest; empty if there is none.
        may_approve: Whether the viewer can approve the draft.
    """

    draft: StoredDraft
    changes: Sequence[DiffLine]
    worth: TextDict | None
    backtest: str
    may_approve: bool


def approvers(users: Iterable[User], right: Right, authors: Iterable[str]) -> list[str]:
    """Return the display names of the users who can approve what these authors, by user name, requested."""
    excluded = set(authors)
    return [
        user.display_name
        for user in users
        if not user.is_disabled and user.name not in excluded and right in RIGHTS[user.role]
    ]


def right_of(change: Mapping[str, object]) -> Right:
    says = str(change["says"])
    operation = OPERATIONS.get(says.partition(", ")[0].removeprefix("act "))
    if operation is not None:
        return Right(operation.right)
    if says == DRAFT:
        return Right.APPROVE_RULES
    return Right.EDIT_RULES if str(change["subject"]).startswith("rule ") else Right.EDIT_LISTS


async def show(service: Service, request: Request, mistake: str = "", done: str = "") -> Response:
    shown = await service.run(request, ShowApprovals())
    users = await service.in_thread(all_users, service.desk)
    drafts = await service.in_thread(service.project.drafts.all)
    approvals = await service.in_thread(service.project.agreements.all)
    authors = {approval.tag: [author.name for author in approval.authors] for approval in approvals}
    waiting = {change["subject"]: change["etag"] for change in shown.approvals if change["says"] == DRAFT}
    reviews = {}
    for draft in drafts:
        subject = f"rule {draft.id}"
        if subject in waiting:
            reviews[subject] = await service.in_thread(_review, service, request, draft)
            authors[waiting[subject]] = [author.name for author in draft.note.authors]
    return await page(
        service,
        request,
        "approvals.html",
        shown=shown,
        users={user.name: user for user in users},
        approvers=lambda change: approvers(users, right_of(change), authors[change["etag"]]),
        reviews=reviews,
        rows={approval.tag: approval.change["csv"].splitlines() for approval in approvals if "csv" in approval.change},
        me=request.who.name,
        mistake=mistake,
        done=done,
        policy=service.project.definitions.policy,
    )


def _review(service: Service, request: Request, draft: StoredDraft) -> DraftReview:
    look = service.project.rule_looks.look_up(draft.id)
    active = "" if look.standing is None else look.standing.text
    run = service.backtests.last_of(draft.id, draft.tag)
    report = None if run is None else service.backtests.get(run.id).report
    return DraftReview(
        draft,
        diff(active, draft.text),
        worth(report),
        "" if run is None else f"/backtests/{run.id}",
        may_approve=may_approve(request.who, draft),
    )


async def answer(service: Service, request: Request) -> Response:
    form = await request.form()
    etag = request.path_params["etag"]
    try:
        answer = await service.run(request, AnswerApproval(etag=etag, approve=bool(form["do"]), note=form["note"]))
    except UsageError as error:
        return await show(service, request, sentence(str(error)))
    return await show(service, request, done=answer.says)


ROUTES = (
    Route("GET", PATH, Right.READ_DEFINITIONS, show, screen=Screen("Approvals", "Policy", 9)),
    Route("POST", f"{PATH}/{{etag}}", Right.READ_DEFINITIONS, answer),
)
