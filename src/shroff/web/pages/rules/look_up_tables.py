"""Pages of look-up tables: the row of a value, the versions of a table, and their differences."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from starlette.responses import Response

from shroff.errors import DefinitionError, RefusalError, UsageError
from shroff.people.access import Right
from shroff.services.lookup_tables.operations import PutTable, ShowTable, ShowTables
from shroff.web.http.messages import NOTHING, Form, Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.renderer import page, see_other
from shroff.web.pages.words import sentence

if TYPE_CHECKING:
    from shroff.web.service import Service

DIFFERENCE_MAX = 500  # rows of a version that a page shows


async def show(service: Service, request: Request, mistake: str = "", form: Form = NOTHING) -> Response:
    listing = await service.run(request, ShowTables())
    return await page(service, request, "tables.html", tables=listing.tables, mistake=mistake, form=form)


async def put(service: Service, request: Request) -> Response:
    form = await request.form()
    name = request.path_params.get("table", "")
    fields = {field: form[field].strip() for field in ("key", "key_type", "columns") if form[field].strip()}
    try:
        operation = msgspec.convert({"name": name or form["name"].strip(), "csv": form["csv"], **fields}, PutTable)
        result = await service.run(request, operation)
    except RefusalError:
        raise
    except DefinitionError as error:
        problem = error.problems[0]
        line = f"Line {problem.line} of {problem.file}: " if problem.line else ""
        mistake = (
            f"{line}{sentence(problem.message)} {sentence(problem.hint) if problem.hint else ''} Nothing was changed."
        )
    except (UsageError, msgspec.ValidationError) as error:
        mistake = sentence(str(error))
    else:
        return see_other(f"/tables/{result.name}?said={'waits' if result.why_not else 'done'}")
    return await (show_one if name else show)(service, request, mistake, form)


async def show_one(service: Service, request: Request, mistake: str = "", form: Form = NOTHING) -> Response:
    query = request.query_params
    name = request.path_params["table"]
    value = query.get("q", "").strip()
    at = query.get("at", "").strip()
    seq = query.get("seq", "")
    seq_number = int(seq) if seq.isascii() and seq.isdecimal() and len(seq) < 19 else 0
    try:
        view = await service.run(request, ShowTable(name=name, value=value, at=at, seq=seq_number))
    except UsageError as error:
        if not at:
            raise
        mistake = sentence(str(error).removeprefix("--at: "))
        view = await service.run(request, ShowTable(name=name, seq=seq_number))
    return await page(
        service,
        request,
        "look_up.html",
        view=view,
        value=value,
        at=at,
        number=seq_number,
        mistake=mistake,
        form=form,
        shown=view.difference[: DIFFERENCE_MAX + 1],
    )


ROUTES = (
    Route("GET", "/tables", Right.READ_DEFINITIONS, show, screen=Screen("Tables", "Policy", 4)),
    Route("POST", "/tables", Right.EDIT_RULES, put),
    Route("GET", "/tables/{table}", Right.READ_DEFINITIONS, show_one),
    Route("POST", "/tables/{table}", Right.EDIT_LISTS, put),
)
