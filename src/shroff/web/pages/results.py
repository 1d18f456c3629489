"""The page Results: cost of fraud and effect of decisions by period or field, as a chart, a table and CSV."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from msgspec import UNSET
from starlette.responses import Response

from shroff.errors import UsageError
from shroff.language.values import day_named
from shroff.people.access import Right
from shroff.project.policy import OUTCOMES
from shroff.runtime.values import replace
from shroff.services.results.operations import (
    OUTCOME_COUNTS,
    PERIODS,
    PROGRAMMES_SHOWN,
    RULE,
    ResultRow,
    ShowResults,
    csv_lines,
    result_fields,
)
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.bars import Bars, signed_bars
from shroff.web.pages.renderer import csv_file, days_zone, page
from shroff.web.pages.words import day, sentence

if TYPE_CHECKING:
    from shroff.web.service import Service


async def show(service: Service, request: Request) -> Response:
    results = None
    mistake = ""
    try:
        question = _question(service, request)
        if service.project.log.exists():
            results = await service.run(request, question)
    except UsageError as error:
        mistake = sentence(str(error))
    query = request.query_params
    return await page(
        service,
        request,
        "results.html",
        found=results,
        mistake=mistake,
        given=query,
        chart=None if results is None else _chart(results.rows, is_money=query.get("in") != "count"),
        periods=PERIODS,
        shown=PROGRAMMES_SHOWN,
        fields=[RULE, *result_fields(service.project.definitions)],
        outcomes=list(zip(OUTCOMES, OUTCOME_COUNTS, strict=True)),
        csv=f"/results/results.csv?{urlencode(list(query.multi_items()))}",
    )


async def download(service: Service, request: Request) -> Response:
    results = await service.run(request, _question(service, request))
    return await csv_file(service, "results", lambda: csv_lines(results))


def _question(service: Service, request: Request) -> ShowResults:
    query = request.query_params
    return ShowResults(
        start=day_named(query.get("from") or None, "the first day"),
        end=day_named(query.get("to") or None, "the last day"),
        by=query.get("by") or "week",
        as_of=query.get("as_of") or None,
        zone=query.get("zone", "").strip() or days_zone(service, request),
    )


def _chart(rows: Sequence[ResultRow], *, is_money: bool) -> Bars | None:
    if not rows or rows[0].value is not UNSET or not any(row.fraud.count for row in rows):
        return None
    values = [Decimal(row.fraud.money) if is_money else Decimal(row.fraud.count) for row in rows]
    chart = signed_bars([day(row.start) for row in rows], values)
    assert chart is not None
    bars = [replace(bar, is_open=not row.mature) for bar, row in zip(chart.bars, rows, strict=True)]
    return replace(chart, bars=bars, each="time in which 99 % of frauds become known")


ROUTES = (
    Route("GET", "/results", Right.READ_DECISIONS, show, screen=Screen("Results", "Results", 1)),
    Route("GET", "/results/results.csv", Right.READ_DECISIONS, download),
)
