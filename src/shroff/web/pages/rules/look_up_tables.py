"""Look-up tables: the row that a value gives, the versions of a table, and who changed what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.app.rules.table_operations import ShowTable, ShowTables
from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

DIFFERENCE_MAX = 500  # rows of a version that a page shows


async def show(service: Service, request: Request) -> Response:
    """All tables."""
    found = await service.run(request, ShowTables())
    return await page(service, request, "tables.html", tables=found.tables)


async def show_one(service: Service, request: Request) -> Response:
    """A table, with the row that a value gives and the rows that a version changed."""
    query, name, mistake = request.query_params, request.path_params["table"], ""
    value, at, seq = query.get("q", "").strip(), query.get("at", "").strip(), query.get("seq", "")
    number = int(seq) if seq.isascii() and seq.isdecimal() and len(seq) < 19 else 0
    try:
        view = await service.run(request, ShowTable(name=name, value=value, at=at, seq=number))
    except UsageError as error:
        if not at:
            raise
        mistake = sentence(str(error).removeprefix("--at: "))
        view = await service.run(request, ShowTable(name=name, seq=number))
    return await page(
        service,
        request,
        "look_up.html",
        view=view,
        value=value,
        at=at,
        number=number,
        mistake=mistake,
        shown=view.difference[: DIFFERENCE_MAX + 1],
    )


ROUTES = (
    Route("GET", "/tables", Right.READ_DEFINITIONS, show, screen=Screen("Tables", "Policy", 4)),
    Route("GET", "/tables/{table}", Right.READ_DEFINITIONS, show_one),
)
