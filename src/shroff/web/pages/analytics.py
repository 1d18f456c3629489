"""Analytics: how many events there are, by type, day, week or a field, as a chart, a table and CSV."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from starlette.responses import Response

from shroff.analytics.counts import DAY, WEEK, EventCount
from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.runtime.whole_files import csv_line
from shroff.web.api.analytics import CountQuestion, counted
from shroff.web.http.messages import Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.bars import Bars, bars_of, day_text, signed_bars
from shroff.web.pages.rendering import page
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

PATH: Final = "/analytics"
SHOWN: Final = 500  # rows of the table; CSV has all
CSV: Final = "text/csv; charset=utf-8"
_EPOCH: Final = date(1970, 1, 1).toordinal()


async def show(service: Service, request: Request) -> Response:
    """The page."""
    found, mistake = list[EventCount](), ""
    question = CountQuestion()
    try:
        question = _question(request)
        found = await service.in_thread(counted, service.project, question)
    except UsageError as error:
        mistake = sentence(str(error))
    types = await service.in_thread(service.project.analytics.event_types)
    return page(
        service,
        request,
        "analytics.html",
        422 if mistake else 200,
        rows=found[:SHOWN],
        more=max(0, len(found) - SHOWN),
        total=sum(one.count for one in found),
        chart=_chart(found, question.by),
        question=question,
        first=question.start_date or (found[0].day if found else ""),
        last=question.end_date or (found[-1].day if found else ""),
        types=types,
        sources=await service.in_thread(service.project.analytics.event_sources),
        fields=sorted({name for type_ in types for name in type_.fields}),
        is_split=question.by not in {DAY, WEEK},
        # Of a whole day in UTC, the screen Decisions has the rows of decided types.
        listed=service.project.definitions.events.decided if _is_of_days(question) else (),
        mistake=mistake,
        csv=f"{PATH}/counts.csv?{urlencode(list(request.query_params.multi_items()))}",
        path=PATH,
    )


async def download(service: Service, request: Request) -> Response:
    """The same rows as CSV, of which no cell is a formula."""
    try:
        question = _question(request)
        found = await service.in_thread(counted, service.project, question)
    except UsageError as error:
        raise ProblemError(422, "bad-question", "The counts cannot be computed", str(error)) from None
    is_split = question.by not in {DAY, WEEK}
    head = ["day", "type", *([question.by] if is_split else []), "count"]
    rows = ([one.day.isoformat(), one.type, *([one.value or ""] if is_split else []), str(one.count)] for one in found)
    headers = {"content-disposition": 'attachment; filename="counts.csv"'}
    return Response(b"".join(map(csv_line, [head, *rows])), 200, headers, CSV)


def _is_of_days(question: CountQuestion) -> bool:
    """Whether each row counts all events of a type on a day in UTC."""
    return question.by == DAY and question.zone == "UTC" and not question.source


def _question(request: Request) -> CountQuestion:
    """What is asked. Raises: UsageError for a day that is none."""
    given = request.query_params
    return CountQuestion(
        start_date=day_of(given.get("from", "")),
        end_date=day_of(given.get("to", "")),
        event_types=[one for one in given.getlist("type") if one],
        by=given.get("by") or DAY,
        zone=given.get("zone", "").strip() or "UTC",
        source=given.get("source") or None,
    )


def day_of(text: str) -> date | None:
    """A day of a query; None where it is empty. Raises: UsageError where it is none."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{text!r} is not a day. Write it as 2026-03-01.") from None


def _chart(found: Sequence[EventCount], by: str) -> Bars | None:
    """All that was counted, by day or week."""
    days: Counter[date] = Counter()
    for one in found:
        days[one.day] += one.count
    if not days:
        return None
    if by == WEEK:
        weeks = sorted(days)
        labels = [f"Week of {day_text(week.toordinal() - _EPOCH)}" for week in weeks]
        return signed_bars(labels, [Decimal(days[week]) for week in weeks], [False] * len(weeks))
    first, last = min(days), max(days)
    whole = [days[date.fromordinal(at)] for at in range(first.toordinal(), last.toordinal() + 1)]
    return bars_of(first.toordinal() - _EPOCH, whole)


ROUTES: Final = (
    Route("GET", PATH, Right.READ_DECISIONS, show, is_page=True, screen=Screen("Analytics", 95, below=("/marts",))),
    Route("GET", f"{PATH}/counts.csv", Right.READ_DECISIONS, download, is_page=True),
)
