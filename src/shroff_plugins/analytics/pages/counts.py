"""Pages of counts: events by type, day, week or a field, as a chart, a table and CSV; and the events of each count."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from msgspec import UNSET
from starlette.responses import Response

from shroff.errors import UsageError
from shroff.plugins.events import EventSummary, summary_of
from shroff.plugins.language import day_at, day_starts_ms, days_of, show_decimal
from shroff.plugins.log import DayFigures, EventSources, fields_of, has_amounts, sources_of
from shroff.plugins.operations import cursor_of, next_of
from shroff.plugins.project import OUTCOMES, csv_line
from shroff.plugins.values import FrozenStruct
from shroff.plugins.web import (
    Bars,
    ProblemError,
    Request,
    Right,
    Route,
    Screen,
    bars_of,
    csv_file,
    day_text,
    days_zone,
    decision_path,
    page,
    sentence,
    signed_bars,
    with_open,
)
from shroff_plugins.analytics.count_operations import ShowCountable, figures_of_days
from shroff_plugins.analytics.counts import DAY, SOURCE, WEEK, CountQuestion, CountRow, shown_value

if TYPE_CHECKING:
    from shroff.plugins.log import Record
    from shroff.plugins.project import Project
    from shroff.plugins.web import Service

HERE = "shroff_plugins.analytics"  # plug-in of the templates
PATH = "/analytics"
SHOWN = 500  # rows of the table; the CSV has all
EVENTS = f"{PATH}/events"
EVENTS_SHOWN = 50
LOOKED_AT = 20_000  # places searched for one page, newest first
LOOKS_S = 1.0  # time for searching further places if none was found
_BLOCK = 2_000
_EPOCH = date(1970, 1, 1).toordinal()


class EventSelection(FrozenStruct):
    """The events of a count. `field` is empty if all values count, `source` if all sources do."""

    type: str
    first: date
    last: date
    zone: str = "UTC"
    field: str = ""
    value: str | None = None
    source: str = ""

    @property
    def query(self) -> str:
        parameters = {"type": self.type, "from": self.first, "to": self.last, "zone": self.zone}
        parameters |= {name: text for name, text in (("field", self.field), ("source", self.source)) if text}
        return urlencode(parameters | ({"value": self.value} if self.field and self.value is not None else {}))


class CountedEvent(FrozenStruct):
    """One event; `path` is the page of its decision, empty if its type is not decided."""

    record: Record
    summary: EventSummary
    path: str


async def show(service: Service, request: Request) -> Response:
    rows = list[CountRow]()
    error_text = ""
    question = CountQuestion(zone=days_zone(service, request))
    try:
        question = _question(service, request)
        rows = (await service.run(request, question)).rows
    except UsageError as error:
        error_text = sentence(str(error))
    countable = await service.run(request, ShowCountable())
    is_open = _is_open(service.project, question) if rows else None
    return await page(
        service,
        request,
        f"{HERE}:analytics.html",
        rows=rows[:SHOWN],
        more=max(0, len(rows) - SHOWN),
        total=sum(row.count for row in rows),
        days=await service.in_thread(_figures, service.project, question),
        today=day_at(service.project.context.now_ms(), question.zone),
        decimal=partial(show_decimal, places=service.project.definitions.settings.money_places),
        outcomes=OUTCOMES,
        currency=service.project.definitions.settings.currency if has_amounts(service.project.definitions) else "",
        chart=_chart(rows, question.by, is_open),
        is_open=is_open,
        question=question,
        first=question.start_date or (rows[0].day if rows else ""),
        last=question.end_date or (rows[-1].day if rows else ""),
        types=countable.types,
        sources=countable.sources,
        fields=sorted({name for type_ in countable.types for name in type_.fields}),
        is_split=question.by not in {DAY, WEEK},
        rows_path=lambda outcome: rows_path(outcome, question),
        mistake=error_text,
        csv=f"{PATH}/counts.csv?{urlencode(list(request.query_params.multi_items()))}",
        path=PATH,
    )


def _figures(project: Project, question: CountQuestion) -> list[tuple[date, DayFigures]]:
    """Return figures of the days, newest first; empty if there is no log, or too many events on the days."""
    try:
        figures = figures_of_days(project.context, question.start_date, question.end_date, question.zone)
    except UsageError:
        return []
    return sorted(figures.items(), reverse=True)


async def download(service: Service, request: Request) -> Response:
    """Download the same rows as CSV; no cell is a formula."""
    try:
        question = _question(service, request)
        counted = (await service.run(request, question)).rows
    except UsageError as error:
        raise ProblemError(422, "bad-question", "The counts cannot be computed", str(error)) from None
    is_split = question.by not in {DAY, WEEK}
    head = ["day", "type", *([question.by] if is_split else []), "count"]
    rows = (
        [row.day.isoformat(), row.type, *([row.value or ""] if is_split else []), str(row.count)] for row in counted
    )
    return await csv_file(service, "counts", lambda: map(csv_line, [head, *rows]))


def _question(service: Service, request: Request) -> CountQuestion:
    parameters = request.query_params
    return CountQuestion(
        start_date=day_of(parameters.get("from", "")),
        end_date=day_of(parameters.get("to", "")),
        event_types=tuple(name for name in parameters.getlist("type") if name),
        by=parameters.get("by") or DAY,
        zone=parameters.get("zone", "").strip() or days_zone(service, request),
        source=parameters.get("source") or None,
    )


def day_of(text: str) -> date | None:
    """Parse a day of an address; None if empty. Raises: UsageError if it is not a day."""
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(f"{text!r} is not a day. Write it as 2026-03-01.") from None


def _is_open(project: Project, question: CountQuestion) -> Callable[[date], bool]:
    """Return a function that tells whether a day, or a week given by its first day, has begun and is not over.

    If the counts end before today, it is false for every day: their numbers no longer grow.
    """
    today = day_at(project.context.now_ms(), question.zone)
    days = 7 if question.by == WEEK else 1
    grows = question.end_date is None or question.end_date >= today
    return lambda day: grows and day <= today < day + timedelta(days)


def _chart(rows: Sequence[CountRow], grouping: str, is_open: Callable[[date], bool] | None) -> Bars | None:
    days: Counter[date] = Counter()
    for count_row in rows:
        days[count_row.day] += count_row.count
    if not days or is_open is None:
        return None
    if grouping == WEEK:
        weeks = sorted(days)
        labels = [f"Week of {day_text(week.toordinal() - _EPOCH)}" for week in weeks]
        chart = signed_bars(labels, [Decimal(days[week]) for week in weeks])
        return with_open(chart, next((index for index, week in enumerate(weeks) if is_open(week)), None))
    first = min(days).toordinal()
    last = max(days).toordinal()
    all_days = [date.fromordinal(index) for index in range(first, last + 1)]
    chart = bars_of(first - _EPOCH, [days.get(day, 0) for day in all_days])
    return with_open(chart, next((index for index, day in enumerate(all_days) if is_open(day)), None))


def rows_path(row: CountRow, question: CountQuestion) -> str:
    """Return the address of the events of a count; empty for a count of 0, and for events of an unknown source."""
    if not row.count or (question.by == SOURCE and row.value is None):
        return ""
    last = row.day + timedelta(6) if question.by == WEEK else row.day
    first = max(row.day, question.start_date or row.day)
    last = min(last, question.end_date or last)
    source = (row.value or "") if question.by == SOURCE else question.source or ""
    field = "" if question.by in {DAY, WEEK, SOURCE} else question.by
    value = row.value if field and row.value is not UNSET else None
    return f"{EVENTS}?{EventSelection(row.type, first, last, question.zone, field, value, source).query}"


async def show_events(service: Service, request: Request) -> Response:
    parameters = request.query_params
    try:
        first, last = (date.fromisoformat(parameters.get(name, "")) for name in ("from", "to"))
        zone = parameters.get("zone") or days_zone(service, request)
        chosen = (parameters.get("field", ""), parameters.get("value"), parameters.get("source", ""))
        selection = EventSelection(parameters.get("type", ""), first, last, zone, *chosen)
        cursor = cursor_of(parameters, int)
        events, looked_to = await service.in_thread(_events, service.project, selection, cursor)
    except (UsageError, ValueError, OverflowError) as error:
        reason = sentence(str(error)) if isinstance(error, UsageError) else "from and to: days such as 2026-03-01"
        raise ProblemError(400, "bad-query", "The query cannot be read", reason) from None
    older = f"{EVENTS}?{selection.query}&cursor={next_of(looked_to)}" if looked_to else ""
    newest = f"{EVENTS}?{selection.query}" if cursor is not None else ""
    return await page(
        service, request, f"{HERE}:counted_events.html", events=events, wanted=selection, older=older, newest=newest
    )


def _events(project: Project, selection: EventSelection, upto: int | None) -> tuple[list[CountedEvent], int]:
    """Return a page of events, newest first, and the sequence number down to which the log was searched.

    Raises: UsageError for an unknown time zone or type, and for too many days.
    """
    definitions = project.definitions
    if selection.type not in definitions.events.types:
        raise UsageError(f"there is no event type {selection.type!r}")
    days = days_of(selection.first, selection.last)
    start_ms, *_, end_ms = day_starts_ms(selection.first, days, selection.zone)
    events = list[CountedEvent]()
    ends_s = time.monotonic() + LOOKS_S
    with project.log.reading() as log:
        sources = sources_of(log) if selection.source else None
        end = log.last_seq() if upto is None else min(upto, log.last_seq())
        lowest_seq = end - LOOKED_AT
        while (
            end > 0 and len(events) < EVENTS_SHOWN and (end > lowest_seq or not (events or time.monotonic() > ends_s))
        ):
            start = max(0, end - _BLOCK)
            # events of the type at these places
            for record in reversed(
                [
                    record
                    for part in log.read(start, end)
                    for record in part
                    if record.kind == "event" and record.type == selection.type
                ]
            ):
                if start_ms <= record.time_ms < end_ms and _is_wanted(record, selection, sources):
                    path = decision_path(record.type, record.id) if record.decided else ""
                    type_ = definitions.events.types[selection.type]
                    summary = summary_of(type_, fields_of(record), definitions.settings.currency)
                    events.append(CountedEvent(record, summary, path))
            end = start
    if len(events) > EVENTS_SHOWN:
        return events[:EVENTS_SHOWN], events[EVENTS_SHOWN - 1].record.seq - 1
    return events, end


def _is_wanted(record: Record, selection: EventSelection, sources: EventSources | None) -> bool:
    if sources is not None and sources.of([record.seq]) != [selection.source]:
        return False
    return not selection.field or shown_value(fields_of(record).get(selection.field)) == selection.value


ROUTES = (
    Route("GET", PATH, Right.READ_DECISIONS, show, screen=Screen("Analytics", "Results", 3)),
    Route("GET", EVENTS, Right.READ_DECISIONS, show_events),
    Route("GET", f"{PATH}/counts.csv", Right.READ_DECISIONS, download),
)
