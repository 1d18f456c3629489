"""Pages of marts: the last build, and for each mart a chart, its first rows, its columns and its tests."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from math import isfinite
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.plugins.web import COLUMNS_MAX, Bars, ProblemError, Request, Right, Route, Screen, page, signed_bars
from shroff_plugins.analytics.marts.project_marts import Marts

if TYPE_CHECKING:
    from shroff.plugins.web import Service
    from shroff_plugins.analytics.marts.build import BuiltMart, BuiltMarts

SHOWN = 100  # rows
LONG = 1e15  # larger reals are shown with a power of ten


async def show(service: Service, request: Request) -> Response:
    built: BuiltMarts | None = None
    with suppress(UsageError):  # nothing is built yet
        built = await service.in_thread(Marts(service.project.context).built)
    may_build = request.who.may(Right.RUN_JOBS)
    return await page(service, request, "shroff_plugins.analytics:marts.html", built=built, may_build=may_build)


async def show_one(service: Service, request: Request) -> Response:
    marts = Marts(service.project.context)
    name = request.path_params["name"]
    try:
        built = await service.in_thread(marts.built)
        mart = built.named(name)
        table = None if mart.kind == "view" else await service.in_thread(marts.rows, name, SHOWN)
    except UsageError as error:
        raise ProblemError(404, "no-such-mart", "There is no such mart", str(error)) from None
    return await page(
        service,
        request,
        "shroff_plugins.analytics:mart.html",
        mart=mart,
        built=built,
        columns=[] if table is None else table.columns,
        numbers=[
            column.name for column in mart.columns if column.type.startswith(("DECIMAL", "BIGINT", "INTEGER", "DOUBLE"))
        ],
        rows=[] if table is None else [[_display_text(value) for value in row] for row in table.rows],
        chart=None if table is None else _chart(mart, table.columns, table.rows),
    )


def _chart(mart: BuiltMart, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Bars | None:
    """Return the chart declared in the mart's YAML, of its first rows; None if a value is not a finite number."""
    if mart.chart is None:
        return None
    label, value = (columns.index(column) for column in mart.chart)
    some = rows[:COLUMNS_MAX]
    if not all(isinstance(row[value], int | float | Decimal) and isfinite(row[value]) for row in some):
        return None
    values = [Decimal(_display_text(row[value]).replace(",", "")) for row in some]
    return signed_bars([_display_text(row[label]) for row in some], values)


def _display_text(value: Any) -> str:
    """Format a value: numbers with commas, reals short, but never a fraction as a whole number.

    >>> [_display_text(value) for value in (1234.5, 0.33333333, 0.99996, 1.0, -0.0, 1e300)]
    ['1,234.50', '0.3333', '0.99996', '1.00', '0', '1e+300']
    """
    if value is None or isinstance(value, bool):
        return "" if value is None else str(value).lower()
    if isinstance(value, int | Decimal):
        return f"{value:,}"
    if isinstance(value, float):
        if abs(value) >= LONG or not value:
            return f"{value or 0:.4g}"
        short = f"{value:,.2f}" if abs(value) >= 1 else f"{value:.4g}"
        return f"{value:.10g}" if short in {"1", "-1"} else short
    return value.isoformat() if isinstance(value, date) else str(value)


ROUTES = (
    Route("GET", "/marts", Right.READ_DECISIONS, show, screen=Screen("Marts", "Results", 5)),
    Route("GET", "/marts/{name}", Right.READ_DECISIONS, show_one),
)
