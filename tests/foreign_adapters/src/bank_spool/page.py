"""A page about the files of the sink, in a group of the top bar: it renders the answer of an operation."""

from __future__ import annotations

from collections.abc import Iterator

from starlette.responses import Response

from bank_spool.operations import CountSpool
from shroff.plugins.project import Definitions
from shroff.plugins.web import Request, Right, Route, Screen, Service, page


async def show(service: Service, request: Request) -> Response:
    spooled = await service.operations.run(request.who, CountSpool())
    return await page(service, request, "bank_spool:spool.html", lines=spooled.lines)


def routes(definitions: Definitions | None) -> Iterator[Route]:
    yield Route("GET", "/spool", Right.READ_DECISIONS, show, screen=Screen("Spool", "System", 20))
