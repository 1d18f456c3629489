"""The page of labels: counts by source and day, label delay, contradictions, and customers' answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.cases.labels import Conflict, Maturity
from shroff.events.definitions import SOURCES
from shroff.json_types import JsonObject
from shroff.language.values import DAY_MS, day_number
from shroff.models.loader import longest_label_delay_ms
from shroff.operations.pagination import BadQueryError
from shroff.people.access import Right
from shroff.services.labels.operations import TABLE_DAYS, ShowLabelStatistics
from shroff.services.labels.reports import SHOWN, LabelLook
from shroff.web.http.messages import FORM_BYTES_MAX, Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.cases.label_file import PATH, ROWS_MAX
from shroff.web.pages.charts.bars import bars_of, day_text, with_open
from shroff.web.pages.charts.plots import Axis, plot_of, ticks
from shroff.web.pages.renderer import page

if TYPE_CHECKING:
    from shroff.web.service import Service

PERIODS: Final[Mapping[str, tuple[str, int]]] = {
    "7d": ("7 days", 7 * DAY_MS),
    "30d": ("30 days", 30 * DAY_MS),
    "all": ("All", 36_500 * DAY_MS),
}
FIRST = "30d"
HEIGHT = 200
DAYS_SHOWN = 60
VERDICTS = ("fraud", "genuine", "unclear")
LINES = dict(zip(SOURCES, ("warn-line", "ref", "ref dash", "now dash"), strict=True))


async def show(service: Service, request: Request) -> Response:
    """Render the page. Raises: BadQueryError for an unknown period."""
    code = request.query_params.get("period", FIRST)
    if code not in PERIODS:
        raise BadQueryError(f"period: one of {', '.join(PERIODS)}")
    query = ShowLabelStatistics(period_ms=PERIODS[code][1])
    found: LabelLook = (await service.run(request, query)).report
    together = found.together
    delay_ms = longest_label_delay_ms(service.project.definitions.models)
    zone = service.project.context.systems.time_zone
    today = day_number(service.project.context.now_ms(), zone)
    return await page(
        service,
        request,
        "labels.html",
        found=found,
        together=together,
        verdicts=VERDICTS,
        period=code,
        periods=[(name, says) for name, (says, _) in PERIODS.items()],
        chart=with_open(
            bars_of(found.first_day, [every for every, _ in found.by_day], [frauds for _, frauds in found.by_day]),
            today - found.first_day,
        ),
        days=_days(found, today),
        zone=zone,
        curve=_curve(together.maturity, delay_ms),
        conflicts=[_row(conflict) for conflict in together.conflicts[:SHOWN]],
        held={held.verdict: held for held in together.held},
        delay_days=-(-delay_ms // DAY_MS),
        rows_max=ROWS_MAX,
        bytes_max=FORM_BYTES_MAX >> 20,
        path=PATH,
    )


def _days(found: LabelLook, today: int) -> list[tuple[str, bool, int, int]]:
    """Return the days with labels, newest first: name, whether it is today, labels, and frauds among them."""
    days = [(found.first_day + offset, *counts) for offset, counts in enumerate(found.by_day) if counts[0]]
    return [(day_text(day), day == today, total, frauds) for day, total, frauds in days[::-1][:DAYS_SHOWN]]


def _curve(found: Maturity, delay_ms: int) -> JsonObject | None:
    """Return the maturity curve with a line for each source, and the rows of its table; None for too few points."""
    points = found.points
    if len(points) < 2:
        return None
    last = points[-1]
    sources_with_labels = [source for source in SOURCES if last.by_source.get(source)]
    x = Axis(0, last.days)
    y = Axis(0, 100)
    lines = {"now": [(float(point.days), 100 * point.share) for point in points]}
    if len(sources_with_labels) > 1:
        for source in sources_with_labels:
            lines[LINES[source]] = [(float(point.days), 100 * point.by_source[source]) for point in points]
    delay = -(-delay_ms // DAY_MS)
    by_delay = points[delay].share if delay < len(points) else None
    delay_text = "" if by_delay is None else f"{100 * by_delay:.0f} % after {delay} days"
    spots = [] if by_delay is None else [((float(delay), 100 * by_delay), "dot-now", delay_text)]
    below = [(float(value), f"{value:g}") for value in ticks(0, last.days)]
    rows = [
        (point.days, point.share, [point.by_source.get(source, 0.0) for source in sources_with_labels])
        for point in points
        if point.days in TABLE_DAYS or point is last
    ]
    plot = plot_of(lines, x=x, y=y, height=HEIGHT, spots=spots, below=below)
    sources = [(source, LINES[source] if len(sources_with_labels) > 1 else "now") for source in sources_with_labels]
    return {"plot": plot, "sources": sources, "rows": rows}


def _row(conflict: Conflict) -> JsonObject:
    """Return a conflict's first label, the newest opposing one, the active one, and why that won."""
    won = next(label for label in conflict.labels if label.in_force)
    first = conflict.labels[0]
    opposing = [label for label in conflict.labels if label.verdict != first.verdict]
    then = opposing[-1] if opposing else conflict.labels[-1]
    lost = first if won.verdict != first.verdict else then
    if won.source == lost.source:
        why = "same source; the later label wins"
    else:
        why = f"{won.source} is stronger than {lost.source}"
    return {"found": conflict, "first": first, "then": then, "won": won, "why": why}


ROUTES = (Route("GET", PATH, Right.READ_DECISIONS, show, screen=Screen("Labels", "Learning", 2)),)
