"""Queries of cases: the queue, one case with all its parts, views with counts, today's progress."""

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
from shroff.cases.case_history import ESCALATING, REFUNDED, SECOND_LOOK, told_by
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
PACE_MS = 2 * HOUR_MS  # over which the pace is measured
PENDING_READ = 1_000  # among which somebody's own are looked for
VIEWS_MAX = 50  # of one person
COUNTED_S = 5.0
KINDS_OF_QUEUE = 2  # cases to work on now, and snoozed ones
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,80}")
_HIDDEN = ("decided", "undone", REFUNDED)  # of a case's history, while somebody else is to decide it again


class QueuePage(FrozenStruct):
    """A page of the queue; `after` is the start of the next page, None at the end."""

    cases: Sequence[Case]
    after: Cursor | None


class Detail(FrozenStruct):
    """One case with its alerts, its history and its files."""

    case: Case
    alerts: Sequence[Alert]
    history: Sequence[Happened]
    files: Sequence[Attached]


class Counted(FrozenStruct):
    """A view, and how many cases it finds now. `owner` is empty for one that everybody has."""

    view: View
    count: int


class ReviewCapacity(FrozenStruct):
    """Review capacity and progress of a day.

    Args:
        reviews_a_day: What people can look at in a day, by the policy; None where it does not say.
        today: Since the start of the day.
        pace: What was closed and opened in the last two hours, an hour.
        clear_at_ms: When the queue is empty at this pace; None where it is not getting shorter.
    """

    reviews_a_day: int | None
    today: CaseActivity
    open: Totals
    pace: tuple[float, float]
    clear_at_ms: int | None
    second_looks: Agreement


class Backlog(FrozenStruct):
    """Open work: cases that can be worked on now. Snoozed ones are left out.

    Args:
        late: How many are overdue, of these and of the escalated ones.
        stake: What they have at stake together; None where none has an amount.
        left_ms: How long the next one may wait; below 0 where it is late, None where nothing waits.
        escalated: How many wait for those who decide what is hard.
        oldest_ms: The time of the first event of the oldest; None where there is none.
    """

    open: int
    late: int
    escalated: int
    stake: int | None
    left_ms: int | None
    oldest_ms: int | None


def backlog(desk: CaseService) -> Backlog:
    """Open work now, for notifications; for a user call `listed` and `capacity`."""
    now_ms = desk.now_ms()
    with desk.store.look() as look:
        waiting = look.totals(CaseFilter(states=QUEUE))
        late = look.count(CaseFilter(states=WAITING, due_before_ms=now_ms))
        escalated = look.count(CaseFilter(states=(ESCALATED,)))
        first = look.queue(CaseFilter(states=WAITING), "due", limit=1)
    left_ms = first[0].due_ms - now_ms if first else None
    return Backlog(waiting.count, late, escalated, waiting.stake, left_ms, waiting.oldest_ms)


def listed(
    desk: CaseService, who: Who, wanted: CaseFilter, order: str = "due", after: Cursor | None = None, limit: int = 50
) -> QueuePage:
    """Cases that match a filter. Raises: NotAllowedError; UsageError for an unknown assignee."""
    with desk.looking(who) as look:
        found = [shown(case) for case in look.queue(wanted, order, after, limit + 1)]
        if not found and (unknown := set(wanted.assignees) - {"", who.id}):
            had = look.count(CaseFilter(states=STATES, assignees=wanted.assignees))
            _require_known(desk, set() if had else unknown)
    return QueuePage(found[:limit], _cursor(found[limit - 1], order, wanted.soon_ms) if len(found) > limit else None)


def totals(desk: CaseService, who: Who, wanted: CaseFilter) -> Totals:
    """Number and total stake of cases that match a filter. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.totals(wanted)


def count(desk: CaseService, who: Who, wanted: CaseFilter) -> int:
    """Number of cases that match a filter. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.count(wanted)


class QueueCount:
    """How many cases each person finds in the queue, counted once for all who may see the same ones.

    It is counted again after each change of this process, and where others may have changed cases after COUNTED_S.
    """

    def __init__(self, desk: CaseService, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._desk = desk
        self._counts = Fresh[int](KINDS_OF_QUEUE, clock_s)

    def of(self, who: Who, state: str = "") -> int | None:
        """The number for somebody, from any thread, or of cases in a state; None for who may not see cases."""
        if not who.may(Right.READ_CASES):
            return None
        wanted = queue_of({"state": state}, who, self._desk)
        key = wanted.states, self._desk.store.changes
        return self._counts.get(key, lambda: count(self._desk, who, wanted), COUNTED_S)


def newest(desk: CaseService, who: Who) -> int:
    """The number of the newest case, whatever became of it; 0 before the first. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.place()[1]


def _require_known(desk: CaseService, ids: Collection[str]) -> None:
    """Raises: UsageError where one is the id of no user and no key."""
    with desk.people.look() as look:
        users = look.users()
        keys = look.keys()
    known = {*(user.id for user in users), *(key.id for key in keys)}
    for id_ in ids:
        if id_ not in known:
            raise UsageError(f"assignee: {id_[:40]!r} is not a user; write me, free, or the id of a user.")


def _cursor(case: Case, order: str, soon_ms: int) -> Cursor:
    if order == "newest":
        return case.number, case.number
    if order == "urgent":
        return urgency(case, soon_ms), case.number
    value = case.due_ms if order == "due" else getattr(case, order)
    return (-1 if value is None else value), case.number


def detail(desk: CaseService, who: Who, number: int) -> Detail:
    """One case, with its newest thousand alerts and history entries. Raises: NotAllowedError, NoCaseError."""
    with desk.looking(who) as look:
        case = look.case(number)
        if case is None:
            raise NoCaseError(f"there is no case {number}.")
        found = Detail(case, look.alerts(number), look.history(number), look.attached(number))
    return _blind(found) if case.look == SECOND else found


def histories(desk: CaseService, who: Who, numbers: Iterable[int]) -> dict[int, Sequence[Happened]]:
    """What happened to some cases, oldest first. Cost: a question each. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return {number: look.history(number) for number in numbers}


def escalation(history: Sequence[Happened]) -> Happened | None:
    """By whom a case was escalated, when and why; None where it is not, by the lines of its history, oldest first."""
    begun = max((at for at, row in enumerate(history) if row.what == SECOND_LOOK), default=0)
    if not told_by(history[begun:]).is_escalated:  # what was answered before a second look is not shown during it
        return None
    return next((row for row in reversed(history) if row.what in ESCALATING), None)


def shown(case: Case) -> Case:
    """A case as anybody may see it: without the first answer while another one is wanted."""
    return replace(case, first_by="", first_verdict="") if case.look == SECOND else case


def blind(alert: Alert) -> Alert:
    """An alert without an analyst's answer."""
    own = {"label": "", "label_source": "", "label_ms": None} if alert.label_source == ANALYST else {}
    return replace(alert, decided_ms=None, decided_by="", **own)


def hidden(desk: CaseService, events: Collection[str]) -> set[str]:
    """Which of these events, `TYPE/ID`, are in a case whose first answer is hidden: another one is wanted."""
    with desk.store.look() as look:
        alerts = look.alerts_of([(type_, id_) for type_, _, id_ in (name.partition("/") for name in events)])
        cases = look.cases({alert.case for alert in alerts})
    return {alert.named for alert in alerts if (case := cases.get(alert.case)) and case.look == SECOND}


def _blind(found: Detail) -> Detail:
    """The case without the first answer, and without what may tell it: earlier macros, their notes, and tags."""
    words = [row.what for row in found.history]
    begun = max((at for at, what in enumerate(words) if what == SECOND_LOOK), default=0)
    macros = [at for at, what in enumerate(words[:begun]) if what == "macro"]
    unseen = {*macros, *(at + 1 for at in macros if words[at + 1] == "note")}
    unseen |= {at for at, what in enumerate(words[:begun]) if what == "tagged"}
    history = [
        _untagged(row) if at <= begun else row
        for at, row in enumerate(found.history)
        if row.what not in _HIDDEN and at not in unseen
    ]
    return Detail(shown(found.case), [blind(alert) for alert in found.alerts], history, found.files)


def _untagged(row: Happened) -> Happened:
    """A line of a case's history that does not tell which tags the case had then."""
    told = {name: value for name, value in from_json(row.more).items() if name != "tags"}
    return replace(row, more=to_json(told).decode())


def refunded_by(history: Iterable[Happened]) -> int:
    """Amount returned to the customer by the lines of a case's history, in smallest units."""
    return sum(from_json(row.more)["refund"] for row in history if row.what == REFUNDED)


def undoable(desk: CaseService, who: Who) -> Pending | None:
    """The user's last action that can still be undone. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        own = [pending for pending in look.due(desk.now_ms() + UNDO_MS, PENDING_READ) if pending.who == who.id]
    return own[-1] if own else None


def is_first(desk: CaseService, who: Who, made_ms: int) -> bool:
    """Whether somebody is here for the first time: a user since this day, who may answer cases and answered none."""
    if not who.may(Right.WORK_CASES) or desk.now_ms() - made_ms >= DAY_MS:
        return False
    with desk.store.look() as look:
        return not look.done_since(made_ms, who.id).answered


# ---- views


def views(desk: CaseService, who: Who) -> list[Counted]:
    """The views that everybody has, those of queues, one's own, and those that others share, each with its count.

    That of the sample of approvals is there while it finds any.
    """
    queues = [*desk.settings.queues, DEFAULT] if desk.settings.queues else []
    named = {**BUILT_IN, **({"My queues": f"queue={MINE}"} if desk.foreign(who) else {})}
    named |= {name.replace("_", " ").capitalize(): f"queue={name}" for name in queues}
    built_in = [View("", "", name, is_shared=True, query=query, changed_ms=0) for name, query in named.items()]
    with desk.looking(who) as look:
        found = [
            Counted(view, look.count(queue_of(query_of(view.query), who, desk)))
            for view in (*built_in, *look.views(who.id))
        ]
    return [view for view in found if view.count or view.view.name != SAMPLE]


def put_view(desk: CaseService, who: Who, name: str, query: str, *, is_shared: bool = False) -> View:
    """Keep a filter under a name of one's own. Raises: NotAllowedError; UsageError for a filter that is none."""
    who.require(Right.READ_CASES)
    kept = name.strip()
    known = query_text(query)
    if not _NAME.fullmatch(kept) or kept in BUILT_IN:
        raise UsageError("a view's name has 1 to 80 characters on one line, and is none of those that everybody has.")
    now_ms = desk.now_ms()
    wanted_of(query_of(known), who, desk)
    order_of(query_of(known))
    view = View(who.id, who.shown_name, kept, is_shared, known, now_ms)
    with desk.store.change() as change:
        own = {view.name: view for view in change.views(who.id) if view.owner == who.id}
        if kept not in own and len(own) >= VIEWS_MAX:
            raise UsageError(f"one person has at most {VIEWS_MAX} views.")
        change.put_view(view)
        before = own.get(kept)
        change.people.audit(
            Act(who, "view.put", f"view {kept}", before and _view_detail(before), _view_detail(view)), now_ms
        )
    return view


def remove_view(desk: CaseService, who: Who, name: str) -> None:
    """Let go of a view of one's own. Raises: NotAllowedError; NoViewError where there is none of this name."""
    who.require(Right.READ_CASES)
    with desk.store.change() as change:
        if not change.remove_view(who.id, name):
            raise NoViewError(f"you have no view {name[:100]!r}.")
        change.people.audit(Act(who, "view.remove", f"view {name}"), desk.now_ms())


def _view_detail(view: View) -> dict[str, str | bool]:
    return {"query": view.query, "shared": view.is_shared}


# ---- how the day goes


def capacity(desk: CaseService, who: Who, day_start_ms: int | None = None) -> ReviewCapacity:
    """Progress of the day, since its start or midnight in the project's time zone. Raises: NotAllowedError."""
    now_ms = desk.now_ms()
    start_ms = desk.today_ms() if day_start_ms is None else day_start_ms
    with desk.looking(who) as look:
        today = look.done_since(start_ms)
        lately = look.done_since(now_ms - PACE_MS)
        waiting = look.totals(CaseFilter(states=QUEUE))
        agreement = look.agreement()
    hours = PACE_MS / HOUR_MS
    pace = lately.closed / hours, lately.opened / hours
    return ReviewCapacity(
        desk.reviews_a_day, today, waiting, pace, _clear_at_ms(now_ms, waiting.count, pace[0] - pace[1]), agreement
    )


def closed_by_labels(desk: CaseService, who: Who) -> int:
    """Return how many cases labels closed, and no person. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.totals(CaseFilter(states=(CLOSED,))).count - look.done_since(0).closed


def team(desk: CaseService, who: Who, start_ms: int) -> Sequence[Closer]:
    """Closed cases by person since a moment, most first. Raises: NotAllowedError."""
    with desk.looking(who) as look:
        return look.closers(start_ms)


def _clear_at_ms(now_ms: int, count: int, fewer_an_hour: float) -> int | None:
    if count == 0:
        return now_ms
    return now_ms + round(count / fewer_an_hour * HOUR_MS) if fewer_an_hour > 0 else None
