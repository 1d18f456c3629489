"""Operations on saved views of the queue, and the capacity of the day. Imports all other operations on cases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.cases import case_queries
from shroff.cases.case_service import CaseService, NoViewError
from shroff.events.event import TimeText, time_text_or_none
from shroff.operations.declaration import InvalidRequestError, OperationAnswer, OperationRequest, operation
from shroff.people.access import Who
from shroff.services.cases import close_operations as close_operations  # noqa: PLC0414 - the manifest has one module of a word
from shroff.services.cases import work_operations as work_operations  # noqa: PLC0414 - the same
from shroff.services.cases.documents import CaseTotals, Person, money
from shroff.services.cases.operations import time_of
from shroff.services.silences import case_operations as case_operations  # noqa: PLC0414 - the same

if TYPE_CHECKING:
    from shroff.cases.case_queries import Counted

_Query = Annotated[str, msgspec.Meta(description="A filter as in the URL, such as state=open&min_stake=1000.")]


class CaseView(OperationAnswer):
    """A saved filter."""

    name: str
    query: _Query
    shared: bool
    owner: Person | None
    count: int


class CaseViews(OperationAnswer):
    """Saved filters."""

    views: list[CaseView]


class RemovedView(OperationAnswer):
    """The name of the removed filter."""

    removed: str


class SecondLooks(msgspec.Struct):
    """Second reviews: how many are waiting, done, and equal to the first; disagreements wait for a third person."""

    waiting: int
    disagreements: int
    decided: int
    agreed: int
    agreement: float | None


class Capacity(OperationAnswer):
    """Progress of the day. `reviews_a_day` is the review capacity of the policy."""

    reviews_a_day: int | None
    answered_today: int
    closed_today: int
    opened_today: int
    open: CaseTotals
    closed_an_hour: float
    opened_an_hour: float
    clear_at: TimeText | None
    second_looks: SecondLooks


def _view(counted: Counted) -> CaseView:
    view = counted.view
    owner = Person(view.owner, view.owner_name) if view.owner else None
    return CaseView(name=view.name, query=view.query, shared=view.is_shared, owner=owner, count=counted.count)


class ShowViews(OperationRequest["CaseViews"]):
    pass


@operation("cases views", right="read:cases", http="GET /views", has_command=False)
def show_views(desk: CaseService, who: Who, request: ShowViews) -> CaseViews:
    """List saved filters: built-in ones, your own, and those that others share."""
    return CaseViews(views=[_view(counted) for counted in case_queries.views(desk, who)])


class SaveView(OperationRequest["CaseView"]):
    name: str
    query: str
    shared: bool = False


@operation("cases save-view", right="read:cases", http="PUT /views/{name}", schema="ViewQuery", has_command=False)
def save_view(desk: CaseService, who: Who, request: SaveView) -> CaseView:
    """Save a filter under a name of your own; an existing one is replaced."""
    view = case_queries.put_view(desk, who, request.name, request.query, is_shared=request.shared)
    return next(_view(counted) for counted in case_queries.views(desk, who) if counted.view == view)


class RemoveView(OperationRequest["RemovedView"]):
    name: str


@operation(
    "cases remove-view", right="read:cases", http="DELETE /views/{name}", refusals=[NoViewError], has_command=False
)
def remove_view(desk: CaseService, who: Who, request: RemoveView) -> RemovedView:
    """Delete one of your saved filters."""
    case_queries.remove_view(desk, who, request.name)
    return RemovedView(removed=request.name)


class ShowCapacity(OperationRequest["Capacity"]):
    """
    Args:
        since: The start of the day. Default: midnight in the project's time zone.
    """

    since: str = ""


@operation(
    "cases capacity", right="read:cases", http="GET /capacity", has_command=False, refusals=[InvalidRequestError]
)
def show_capacity(desk: CaseService, who: Who, request: ShowCapacity) -> Capacity:
    """Get today's review capacity: cases done, expected end of the queue, and second reviews."""
    capacity = case_queries.capacity(desk, who, time_of(request.since, "since") if request.since else None)
    closed, opened = capacity.pace
    looks = capacity.second_looks
    return Capacity(
        reviews_a_day=capacity.reviews_a_day,
        answered_today=capacity.today.answered,
        closed_today=capacity.today.closed,
        opened_today=capacity.today.opened,
        open=CaseTotals(capacity.open.count, money(desk, capacity.open.stake)),
        closed_an_hour=closed,
        opened_an_hour=opened,
        clear_at=time_text_or_none(capacity.clear_at_ms),
        second_looks=SecondLooks(looks.waiting, looks.disputed, looks.decided, looks.agreed, looks.rate),
    )
