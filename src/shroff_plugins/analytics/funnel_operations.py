"""Operations of funnels: drop-off and recovery of users, how far they come, and who they are.

The funnels are read from funnels.yaml at each query.
"""

from __future__ import annotations

from bisect import bisect_right
from contextlib import ExitStack
from datetime import date, timedelta
from functools import partial
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.errors import UsageError, nearest
from shroff.plugins.language import day_at, day_named
from shroff.plugins.operations import OperationAnswer, OperationRequest, Param, many, one_line, operation
from shroff.plugins.project import Project, read_files
from shroff_plugins.analytics.counts import history_of, is_served
from shroff_plugins.analytics.funnel_file import FILE, FUNNELS_FILE
from shroff_plugins.analytics.funnels import FunnelAnswer, FunnelDocument, FunnelQuestion, ask_funnel, document_of

if TYPE_CHECKING:
    from shroff.plugins.project import ProjectContext
    from shroff_plugins.analytics.funnel_file import Funnel

EXAMPLE = "onboarding: { user: customer, steps: [signed_up, payment] }"
DAYS = 3  # by default, until yesterday
USERS_MAX = 1_000  # on one page
EVENTS_MAX = 2_000_000  # read by a service for one query: about 4 s, and 150 MB
UNANSWERED = "The funnel cannot be computed"


def _day(help_text: str, flags: str, name: str, *, is_local: bool = False) -> Param:
    return Param(help_text, flags=flags, metavar="DAY", read=partial(day_named, name=name), is_local=is_local)


class FunnelDays(OperationRequest["FunnelDocument | UserNames"], rename="camel"):
    """The funnel, all by default, and the days: `2026-03-01`, the last one included; by default the three days up to
    yesterday. `split` is a field; by default that of the funnel, and none if empty. `zone` is by default the project's.

    Args:
        funnel ([NAME]): The funnel.
        zone (ZONE): Time zone of the days, as Europe/Berlin.  [default: the project's]
        split (FIELD): Split all numbers by a field.  [default: `split` of the funnel]
        users (NUMBER:STEP): List the users behind a number: dropped_off, recovered or still_out of a step on a day;
            reached or lost.
    """

    funnel: Annotated[str | None, Param(is_argument=True)] = None
    start_date: Annotated[
        date | None, _day("The first day.  [default: two days before the last]", "--from", "the first day")
    ] = None
    end_date: Annotated[date | None, _day("The last day, included.  [default: yesterday]", "--to", "the last day")] = (
        None
    )
    zone: str = ""
    split: Annotated[str | None, Param(flags="--by")] = None
    users: Annotated[str, Param(is_local=True)] = ""
    day: Annotated[date | None, _day("The day of --users.  [default: the last]", "", "the day", is_local=True)] = None


class UserNames(OperationAnswer):
    """The users behind a number of a funnel, sorted."""

    funnel: str
    users: list[str]

    def text(self) -> str:
        lines = "\n".join(map(one_line, self.users))
        return f"{lines}\n{many(len(self.users), 'user')}." if self.users else "Nobody."


@operation("funnel", right="read:decisions", http="POST /analytics/funnels", unanswered=UNANSWERED)
def count_funnels(project: Project, request: FunnelDays) -> FunnelDocument | UserNames:
    """Count the users at each step of a funnel, or of all funnels of funnels.yaml.

    Per day, the output counts users who did a step but not the next one by the end of the day (dropped off). Of those
    who dropped off earlier, it counts who did the next step on that day (recovered) and who did not (still out). Over
    all days, it shows the users who reached each step, and the quartiles of the time since the previous step.

    Examples:
        shroff funnel
        shroff funnel onboarding --from 2026-03-01 --to 2026-03-31 --zone Africa/Johannesburg --by channel
        shroff funnel onboarding --users still_out:signed_up --json
    """
    if not request.users:
        questions, answers = _answer_funnels(project.context, request)
        return document_of(questions, answers)
    if request.funnel is None:
        raise UsageError("name the funnel whose users are wanted.")
    return UserNames(funnel=request.funnel, users=_users(project.context, request, request.users, request.day))


class FunnelUsers(OperationRequest["UsersPage"], rename="camel"):
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


class UsersPage(OperationAnswer):
    """A page of the users behind a number, in order, and their total; `next` if there are more."""

    users: list[str]
    total: int
    next: str | None


@operation(
    "funnel users",
    right="read:decisions",
    http="POST /analytics/funnels/users",
    unanswered=UNANSWERED,
    has_command=False,
)
def funnel_users(project: Project, request: FunnelUsers) -> UsersPage:
    """List the users behind a number of a funnel, up to 1,000 at once."""
    days = FunnelDays(
        funnel=request.funnel, start_date=request.start_date, end_date=request.end_date, zone=request.zone
    )
    users = _users(project.context, days, request.number, request.day)
    start = bisect_right(users, request.after) if request.after else 0
    part = users[start : start + request.limit]
    return UsersPage(users=part, total=len(users), next=part[-1] if start + len(part) < len(users) else None)


class ShowFunnels(OperationRequest["DeclaredFunnels"]):
    pass


class DeclaredFunnel(msgspec.Struct):
    """A funnel of funnels.yaml: its user, its steps, and the field that splits it."""

    funnel: str
    user: str
    steps: list[str]
    split: str | None


class DeclaredFunnels(OperationAnswer):
    """The funnels of funnels.yaml."""

    funnels: list[DeclaredFunnel]


@operation(
    "funnel list", right="read:decisions", http="GET /analytics/funnels", unanswered=UNANSWERED, has_command=False
)
def show_funnels(project: Project, request: ShowFunnels) -> DeclaredFunnels:
    """List the funnels of funnels.yaml."""
    funnels = funnels_of(project.context).values()
    return DeclaredFunnels(
        funnels=[
            DeclaredFunnel(funnel.name, funnel.user, [step.name for step in funnel.steps], funnel.split or None)
            for funnel in funnels
        ]
    )


# ---- the project's file


def funnels_of(context: ProjectContext) -> dict[str, Funnel]:
    """Read the funnels of the project's file; none without a file.

    Raises: DefinitionError with every mistake of the file.
    """
    text = read_files(context.paths.folder, [], (FILE,)).get(FILE)
    funnels: dict[str, Funnel] = FUNNELS_FILE.content(text, context.definitions)
    return funnels


def funnel_named(context: ProjectContext, name: str) -> Funnel:
    """Return a funnel by its name. Raises: UsageError if there is none; others as `funnels_of`."""
    funnels = funnels_of(context)
    if not funnels:
        raise UsageError(f"this project has no funnels. Declare one in {FILE}: {EXAMPLE}")
    if name not in funnels:
        raise UsageError(f"there is no funnel {name!r}. {nearest(name, funnels) or 'There is ' + ', '.join(funnels)}.")
    return funnels[name]


def _answer_funnels(
    context: ProjectContext, request: FunnelDays, split: str | None = None
) -> tuple[list[FunnelQuestion], list[FunnelAnswer]]:
    """Return the queries, one for each requested funnel, and their answers.

    Raises: UsageError for what cannot be counted, or if there is no log; DefinitionError for a mistake in funnels.yaml;
    StateError if the lake belongs to another log.
    """
    first = day_named(request.start_date, "the first day")
    last = day_named(request.end_date, "the last day")
    funnels = funnels_of(context)
    if request.funnel is not None or not funnels:
        funnels = {"": funnel_named(context, request.funnel or "")}
    zone = request.zone or context.systems.time_zone
    end = day_at(context.now_ms(), zone) - timedelta(1) if last is None else last
    begin = end - timedelta(DAYS - 1) if first is None else first
    split = request.split if split is None else split
    questions = [FunnelQuestion(funnel, begin, end, zone, split) for funnel in funnels.values()]
    limit = EVENTS_MAX if is_served(context) else None
    with ExitStack() as exit_stack:
        history = history_of(context, exit_stack)
        return questions, [ask_funnel(question, context.definitions, history, limit) for question in questions]


def _users(context: ProjectContext, request: FunnelDays, number: str, day: date | None) -> list[str]:
    _, (answer,) = _answer_funnels(context, request, split="")
    return answer.users(number, day_named(day, "the day"))
