"""The page Team: backlog by due time, closed cases of each analyst, and agreement of second reviews.

Everybody who may read cases sees the figures of all analysts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.cases import case_queries
from shroff.cases.case import ESCALATED, SNOOZED, VERDICTS, CaseFilter, Totals
from shroff.cases.filters import QUEUE
from shroff.language.values import DAY_MS
from shroff.people.access import Right
from shroff.services.cases.close_operations import DAYS, ApproveCloseRule, ShowCloseRules, StopCloseRule
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.cases.casework import amount
from shroff.web.pages.renderer import page, see_other

if TYPE_CHECKING:
    from shroff.people.access import Who
    from shroff.web.service import Service

PERIODS = {"today": 1, "7d": 7, "30d": 30}
DUE = (("late for more than a day", -DAY_MS), ("late for up to a day", 0), ("due within 24 hours", DAY_MS))


async def show(service: Service, request: Request) -> Response:
    chosen = request.query_params.get("period", "7d")
    days = PERIODS.get(chosen, PERIODS["7d"])
    past_days = DAYS if "past" in request.query_params else 0
    has_rules = bool(service.cases.settings.auto_close)
    return await page(
        service,
        request,
        "team.html",
        **await service.in_thread(_found, service, request.who, days),
        chosen=chosen if chosen in PERIODS else "7d",
        periods=PERIODS,
        close_rules=(await service.run(request, ShowCloseRules(days=past_days))).rules if has_rules else (),
        past_days=past_days,
    )


async def change_rule(service: Service, request: Request) -> Response:
    form = await request.form()
    rule = request.path_params["rule"]
    await service.run(request, StopCloseRule(rule=rule) if form["do"] == "stop" else ApproveCloseRule(rule=rule))
    return see_other("/team")


def _found(service: Service, who: Who, days: int) -> dict[str, object]:
    desk = service.cases
    now_ms = desk.now_ms()
    start_ms = desk.today_ms() if days == 1 else now_ms - days * DAY_MS
    waiting = list[tuple[str, int, str | None]]()
    previous = Totals(0, 0)
    for says, until_ms in (*((says, now_ms + offset_ms) for says, offset_ms in DUE), ("all open cases", None)):
        totals = case_queries.totals(desk, who, CaseFilter(states=QUEUE, due_before_ms=until_ms))
        step = totals
        if until_ms is not None:
            step = Totals(totals.count - previous.count, (totals.stake or 0) - (previous.stake or 0))
        waiting.append((says, step.count, amount(desk, step.stake)))
        previous = totals
    first = case_queries.listed(desk, who, CaseFilter(states=QUEUE), limit=1).cases
    with desk.store.look() as reader:
        tagged = reader.tagged(start_ms)
    return {
        "tags": [(tag, [tagged[tag, verdict] for verdict in VERDICTS]) for tag in sorted({tag for tag, _ in tagged})],
        "closers": case_queries.team(desk, who, start_ms),
        "day": case_queries.capacity(desk, who),
        "zone": desk.zone,
        "waiting": waiting,
        "oldest": first[0] if first else None,
        "escalated": case_queries.count(desk, who, CaseFilter(states=(ESCALATED,))),
        "snoozed": case_queries.count(desk, who, CaseFilter(states=(SNOOZED,))),
    }


ROUTES = (
    Route("GET", "/team", Right.READ_CASES, show, screen=Screen("Team", "Queue", 2)),
    Route("POST", "/team/auto-close/{rule}", Right.APPROVE_RULES, change_rule),
)
