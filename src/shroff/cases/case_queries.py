"""Queries of cases: the queue, one case with all its parts, views with counts, progress of the day."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.cases.case import (
    CLOSED,
    ESCALATED,
    SAMPLE,
    SECOND,
    STATES,
    Agreement,
    Alert,
    Attached,
    Case,
    CaseActivity,
    CaseFilter,
    Closer,
    Cursor,
    Happened,
    Pending,
    Totals,
    View,
    urgency,
)
from shroff.cases.case_history import ESCALATING, REFUNDED, SECOND_LOOK, fold_history
from shroff.cases.case_service import UNDO_MS, CaseService, NoCaseError, NoViewError
from shroff.cases.filters import BUILT_IN, QUEUE, WAITING, order_of, query_of, query_text, queue_of, wanted_of
from shroff.errors import UsageError
from shroff.events.definitions import ANALYST
from shroff.language.values import DAY_MS
from shroff.people.access import Right, Who
from shroff.people.audit import Act
from shroff.project.settings.casework import DEFAULT, MINE
from shroff.runtime.values import Fresh, FrozenStruct, replace

HOUR_MS = 3_600_000
PACE_MS = 2 * HOUR_MS  # period over which the pace is measured
PENDING_READ = 1_000  # pending actions searched for the user's own
VIEWS_MAX = 50  # per user
COUNTED_S = 5.0
KINDS_OF_QUEUE = 2  # cases to work on now, and snoozed ones
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,80}")
_HIDDEN = ("decided", "undone", REFUNDED)  # history entries hidden during a second look


class QueuePage(FrozenStruct):
    """A page of the queue; `after` is the cursor of the next page, None on the last."""

    cases: Sequence[Case]
    after: Cursor | None


class Detail(FrozenStruct):
    """A case with what belongs to it; during a second look without the first answer.

    Args:
        is_barred: Whether it needs the answer of somebody other than the one who asks.
    """

    case: Case
    alerts: Sequence[Alert]
    history: Sequence[Happened]
    files: Sequence[Attached]
    is_barred: bool


class Counted(FrozenStruct):
    """A view and the number of cases that it finds now. The owner of a built-in view is empty."""

    view: View
    count: int


class ReviewCapacity(FrozenStruct):
    """Review capacity and progress of a day.

    Args:
        reviews_a_day: Reviews that the team can do in a day, from the policy; None if it states none.
        today: Activity since the start of the day.
        pace: Cases closed and cases opened per hour, over the last two hours.
        clear_at_ms: Time at which the queue is empty at this pace; None if it is not shrinking.
    """

    reviews_a_day: int | None
    today: CaseActivity
    open: Totals
    pace: tuple[float, float]
    clear_at_ms: int | None
    second_looks: Agreement


class Backlog(FrozenStruct):
    """Open work: cases that people can work on now, without snoozed ones.

    Args:
        late: Overdue cases, escalated ones included.
        stake: Total at stake; None if no case has an amount.
        left_ms: Time until the next deadline; below 0 if it is overdue, None without a waiting case.
        oldest_ms: Time of the earliest event; None without an open case.
    """

    open: int
    late: int
    escalated: int
    stake: int | None
    left_ms: int | None
    oldest_ms: int | None


def backlog(desk: CaseService) -> Backlog:
    """Return the open work, for notifications. For a user call `listed` and `capacity`, which check rights."""
    now_ms = desk.now_ms()
    with desk.store.look() as look:
        queue_totals = look.totals(CaseFilter(states=QUEUE))
        late = look.count(CaseFilter(states=WAITING, due_before_ms=now_ms))
        escalated = look.count(CaseFilter(states=(ESCALATED,)))
        first = look.queue(CaseFilter(states=WAITING), "due", limit=1)
    left_ms = first[0].due_ms - now_ms if first else None
    return Backlog(queue_totals.count, late, escalated, queue_totals.stake, left_ms, queue_totals.oldest_ms)


def listed(
    desk: CaseService, who: Who, filters: CaseFilter, order: str = "due", after: Cursor | None = None, limit: int = 50
) -> QueuePage:
    """Return a page of matching cases. Raises: NotAllowedError; UsageError for an unknown assignee."""
    with desk.looking(who) as look:
        cases = [shown(case) for case in look.queue(filters, order, after, limit + 1)]
        unknown = set(filters.assignees) - {"", who.id}
        if not cases and unknown:
            seen_before = look.count(CaseFilter(states=STATES, assignees=filters.assignees))
            _require_known(desk, set() if seen_before else unknown)
    return QueuePage(cases[:limit], _cursor(cases[limit - 1], order, filters.soon_ms) if len(cases) > limit else None)


def totals(desk: CaseService, who: Who, filters: CaseFilter) -> Totals:
    """Return number and total stake of the matching cases. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.totals(filters)


def count(desk: CaseService, who: Who, filters: CaseFilter) -> int:
    """Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.count(filters)


class QueueCount:
    """Number of cases in the queue, cached for all users.

    It is counted again after each change by this process, and otherwise after COUNTED_S, since others may change cases.
    """

    def __init__(self, desk: CaseService, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._counts = Fresh[int](KINDS_OF_QUEUE, clock_s)

    def of(self, who: Who, state: str = "") -> int | None:
        """Return the number of cases in a state, by default the queue; None without the right to read cases. From any
        thread.
        """
        if not who.may(Right.READ_CASES):
            return None
        filters = queue_of({"state": state}, who, self._desk)
        key = filters.states, self._desk.store.changes
        return self._counts.get(key, lambda: count(self._desk, who, filters), COUNTED_S)


def newest(desk: CaseService, who: Who) -> int:
    """Return the number of the newest case, whatever its state; 0 before the first. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.place()[1]


def _require_known(desk: CaseService, ids: Collection[str]) -> None:
    """Raises: UsageError if an id belongs to no user and no key."""
    with desk.people.look() as look:
        users = look.users()
        keys = look.keys()
    known_ids = {*(user.id for user in users), *(key.id for key in keys)}
    for id_ in ids:
        if id_ not in known_ids:
            raise UsageError(f"assignee: {id_[:40]!r} is not a user; write me, free, or the id of a user.")


def _cursor(case: Case, order: str, soon_ms: int) -> Cursor:
    if order == "newest":
        return case.number, case.number
    if order == "urgent":
        return urgency(case, soon_ms), case.number
    value = case.due_ms if order == "due" else getattr(case, order)
    return (-1 if value is None else value), case.number


def detail(desk: CaseService, who: Who, number: int) -> Detail:
    """Return a case with its newest thousand alerts and history entries. Raises: NotAllowedError, NoCaseError."""
    with desk.looking(who) as look:
        case = look.case(number)
        if case is None:
            raise NoCaseError(f"there is no case {number}.")
        is_barred = case.is_barred(who.id)
        case_detail = Detail(case, look.alerts(number), look.history(number), look.attached(number), is_barred)
    return _blind(case_detail) if case.look == SECOND else case_detail


def histories(desk: CaseService, who: Who, numbers: Iterable[int]) -> dict[int, Sequence[Happened]]:
    """Return the history of each case, oldest entry first. Cost: a query each. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return {number: look.history(number) for number in numbers}


def escalation(history: Sequence[Happened]) -> Happened | None:
    """Return the entry that escalated a case, from its history (oldest first); None if it is not escalated."""
    second_look_start = max((index for index, row in enumerate(history) if row.what == SECOND_LOOK), default=0)
    if not fold_history(history[second_look_start:]).is_escalated:  # answers before a second look are hidden during it
        return None
    return next((row for row in reversed(history) if row.what in ESCALATING), None)


def shown(case: Case) -> Case:
    """Hide the first answer of a case that needs a second look."""
    return replace(case, first_by="", first_verdict="") if case.look == SECOND else case


def blind(alert: Alert) -> Alert:
    hidden_label = {"label": "", "label_source": "", "label_ms": None} if alert.label_source == ANALYST else {}
    return replace(alert, decided_ms=None, decided_by="", **hidden_label)


def hidden(desk: CaseService, events: Collection[str]) -> set[str]:
    """Return those of these events (`TYPE/ID`) that are in a case whose first answer is hidden by a second look."""
    with desk.store.look() as look:
        alerts = look.alerts_of([(type_, id_) for type_, _, id_ in (name.partition("/") for name in events)])
        cases = look.cases({alert.case for alert in alerts})
    second = {number for number, case in cases.items() if case.look == SECOND}
    return {alert.named for alert in alerts if alert.case in second}


def _blind(detail: Detail) -> Detail:
    kinds = [row.what for row in detail.history]
    second_look_start = max((index for index, kind in enumerate(kinds) if kind == SECOND_LOOK), default=0)
    macros = [index for index, kind in enumerate(kinds[:second_look_start]) if kind == "macro"]
    unseen = {*macros, *(index + 1 for index in macros if kinds[index + 1] == "note")}
    unseen |= {index for index, kind in enumerate(kinds[:second_look_start]) if kind == "tagged"}
    history = [
        _untagged(row) if index <= second_look_start else row
        for index, row in enumerate(detail.history)
        if row.what not in _HIDDEN and index not in unseen
    ]
    alerts = [blind(alert) for alert in detail.alerts]
    return Detail(shown(detail.case), alerts, history, detail.files, detail.is_barred)


def _untagged(row: Happened) -> Happened:
    details = {name: value for name, value in from_json(row.more).items() if name != "tags"}
    return replace(row, more=to_json(details).decode())


def refunded_by(history: Iterable[Happened]) -> int:
    """Return the total refunded to the customer, in smallest units."""
    return sum(from_json(row.more)["refund"] for row in history if row.what == REFUNDED)


def undoable(desk: CaseService, who: Who) -> Pending | None:
    """Return the user's last action that can still be undone. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        own_actions = [pending for pending in look.due(desk.now_ms() + UNDO_MS, PENDING_READ) if pending.who == who.id]
    return own_actions[-1] if own_actions else None


def is_first(desk: CaseService, who: Who, made_ms: int) -> bool:
    """Whether a user created less than a day ago may work on cases and has decided none."""
    if not who.may(Right.WORK_CASES) or desk.now_ms() - made_ms >= DAY_MS:
        return False
    with desk.store.look() as look:
        return not look.done_since(made_ms, who.id).answered


# ---- views


def views(desk: CaseService, who: Who) -> list[Counted]:
    """Return built-in views, views of queues, the user's own and shared ones, each with its count.

    The view of sampled approvals appears only while it finds any.
    """
    queues = [*desk.settings.queues, DEFAULT] if desk.settings.queues else []
    queries = {**BUILT_IN, **({"My queues": f"queue={MINE}"} if desk.foreign(who) else {})}
    queries |= {name.replace("_", " ").capitalize(): f"queue={name}" for name in queues}
    built_in = [View("", "", name, is_shared=True, query=query, changed_ms=0) for name, query in queries.items()]
    with desk.looking(who) as look:
        counted_views = [
            Counted(view, look.count(queue_of(query_of(view.query), who, desk)))
            for view in (*built_in, *look.views(who.id))
        ]
    return [view for view in counted_views if view.count or view.view.name != SAMPLE]


def put_view(desk: CaseService, who: Who, name: str, query: str, *, is_shared: bool = False) -> View:
    """Store a filter under a name of the user. Raises: NotAllowedError; UsageError for an invalid name or filter."""
    who.require(Right.READ_CASES)
    view_name = name.strip()
    filter_text = query_text(query)
    if not _NAME.fullmatch(view_name) or view_name in BUILT_IN:
        raise UsageError("a view's name has 1 to 80 characters on one line, and is none of those that everybody has.")
    now_ms = desk.now_ms()
    wanted_of(query_of(filter_text), who, desk)
    order_of(query_of(filter_text))
    view = View(who.id, who.shown_name, view_name, is_shared, filter_text, now_ms)
    with desk.store.change() as change:
        own_views = {view.name: view for view in change.views(who.id) if view.owner == who.id}
        if view_name not in own_views and len(own_views) >= VIEWS_MAX:
            raise UsageError(f"one person has at most {VIEWS_MAX} views.")
        change.put_view(view)
        previous = own_views.get(view_name)
        change.people.audit(
            Act(who, "view.put", f"view {view_name}", previous and _view_detail(previous), _view_detail(view)), now_ms
        )
    return view


def remove_view(desk: CaseService, who: Who, name: str) -> None:
    """Remove one of the user's views. Raises: NotAllowedError; NoViewError if there is none of this name."""
    who.require(Right.READ_CASES)
    with desk.store.change() as change:
        if not change.remove_view(who.id, name):
            raise NoViewError(f"you have no view {name[:100]!r}.")
        change.people.audit(Act(who, "view.remove", f"view {name}"), desk.now_ms())


def _view_detail(view: View) -> dict[str, str | bool]:
    return {"query": view.query, "shared": view.is_shared}


# ---- progress of the day


def capacity(desk: CaseService, who: Who, day_start_ms: int | None = None) -> ReviewCapacity:
    """Return the progress since `day_start_ms`, by default midnight in the project's time zone. Raises:
    NotAllowedError.
    """
    now_ms = desk.now_ms()
    start_ms = desk.today_ms() if day_start_ms is None else day_start_ms
    with desk.looking(who) as look:
        today = look.done_since(start_ms)
        lately = look.done_since(now_ms - PACE_MS)
        queue_totals = look.totals(CaseFilter(states=QUEUE))
        agreement = look.agreement()
    hours = PACE_MS / HOUR_MS
    pace = lately.closed / hours, lately.opened / hours
    return ReviewCapacity(
        desk.reviews_a_day,
        today,
        queue_totals,
        pace,
        _clear_at_ms(now_ms, queue_totals.count, pace[0] - pace[1]),
        agreement,
    )


def closed_by_labels(desk: CaseService, who: Who) -> int:
    """Return how many cases were closed by labels or rules instead of people. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.totals(CaseFilter(states=(CLOSED,))).count - look.done_since(0).closed


def team(desk: CaseService, who: Who, start_ms: int) -> Sequence[Closer]:
    """Return the closed cases of each analyst since a moment, most first. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.closers(start_ms)


def _clear_at_ms(now_ms: int, count: int, fewer_an_hour: float) -> int | None:
    if count == 0:
        return now_ms
    return now_ms + round(count / fewer_an_hour * HOUR_MS) if fewer_an_hour > 0 else None
