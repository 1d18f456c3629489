"""`/api/v1/analytics/funnels`: drop-off and recovery of users, how far they come, and who they are."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from datetime import date
from typing import TYPE_CHECKING, Annotated, Final, TypedDict, TypeVar

import msgspec

from shroff.analytics.funnels import FunnelDocument
from shroff.errors import DefinitionError, UsageError
from shroff.people.access import Right
from shroff.web.api.cases.cases import body_of
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.web.service import Service

USERS_MAX: Final = 1_000  # of one answer
EVENTS_MAX: Final = 2_000_000  # that are read for one question: some 4 s, and 150 MB
Found = TypeVar("Found")


class FunnelDays(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The funnel, all by default, and the days: `2026-03-01`, the last one included; by default the three days up to
    yesterday. `split` is a field; by default that of the funnel, and none if empty. `zone` is by default the project's.
    """

    funnel: str | None = None
    start_date: date | None = None
    end_date: date | None = None
    zone: str = ""
    split: str | None = None


class FunnelUsers(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The users to list: `number` is such as `still_out:signed_up`, `day` the last one by default. `after` is `next` of
    the previous page.
    """

    funnel: str
    number: str
    day: date | None = None
    start_date: date | None = None
    end_date: date | None = None
    zone: str = ""
    limit: Annotated[int, msgspec.Meta(ge=1, le=USERS_MAX)] = 100
    after: str = ""


class UsersPage(TypedDict):
    """A page of the users behind a number, in order, and their total; `next` if there are more."""

    users: list[str]
    total: int
    next: str | None


class DeclaredFunnel(TypedDict):
    """A funnel of funnels.yaml: its user, its steps, and the field that splits it."""

    funnel: str
    user: str
    steps: list[str]
    split: str | None


class DeclaredFunnels(TypedDict):
    """The funnels of funnels.yaml."""

    funnels: list[DeclaredFunnel]


async def funnels(service: Service, request: Request) -> Json[FunnelDocument]:
    """Drop-off and recovery by day, and how far users came."""
    asked = await body_of(request, FunnelDays)
    return Json(await _answered(service, lambda: counted(service.project, asked)))


def counted(project: Project, asked: FunnelDays) -> FunnelDocument:
    """The numbers of a question. Raises: UsageError, DefinitionError."""
    return project.analytics.funnel(
        asked.funnel, asked.start_date, asked.end_date, zone=asked.zone, split=asked.split, most=EVENTS_MAX
    )


async def users(service: Service, request: Request) -> Json[UsersPage]:
    """The users behind a number."""
    asked = await body_of(request, FunnelUsers)
    found = await _answered(service, lambda: users_of(service.project, asked))
    start = bisect_right(found, asked.after) if asked.after else 0
    part = found[start : start + asked.limit]
    return Json({"users": part, "total": len(found), "next": part[-1] if start + len(part) < len(found) else None})


def users_of(project: Project, asked: FunnelUsers) -> list[str]:
    """All of them, sorted. Raises: UsageError, DefinitionError."""
    return project.analytics.funnel_users(
        asked.funnel,
        asked.number,
        asked.day,
        first=asked.start_date,
        last=asked.end_date,
        zone=asked.zone,
        most=EVENTS_MAX,
    )


async def declared(service: Service, request: Request) -> Json[DeclaredFunnels]:
    """The funnels that there are."""
    found = await _answered(service, service.project.analytics.funnels)
    return Json(
        {
            "funnels": [
                {
                    "funnel": one.name,
                    "user": one.user,
                    "steps": [step.name for step in one.steps],
                    "split": one.split or None,
                }
                for one in found.values()
            ]
        }
    )


async def _answered(service: Service, ask: Callable[[], Found]) -> Found:
    try:
        return await service.in_thread(ask)
    except (UsageError, DefinitionError) as error:
        raise ProblemError(422, "bad-question", "The funnel cannot be computed", str(error)) from None


ROUTES: Final = (
    api("POST", "/analytics/funnels", Right.READ_DECISIONS, funnels)(
        "Compute funnels: drop-off and recovery by day, users per step, and the time they took.",
        "`rows` by day and step, `steps` over all days, and `trend` by the day of the first step.",
        FunnelDays,
    ),
    api("POST", "/analytics/funnels/users", Right.READ_DECISIONS, users)(
        "List the users behind a number of a funnel.", "Up to 1,000 users, in order.", FunnelUsers
    ),
    api("GET", "/analytics/funnels", Right.READ_DECISIONS, declared)(
        "List the funnels of funnels.yaml.", "The funnels, with steps and fields."
    ),
)
