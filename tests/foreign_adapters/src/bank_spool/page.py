"""A page about the files of the sink, with a place in the top bar, and the same figure for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypedDict

from starlette.responses import Response

from bank_spool.job import lines_of
from shroff.people.access import Right
from shroff.project.definitions import Definitions
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import Route, Screen, api
from shroff.web.pages.rendering import page
from shroff.web.service import Service


class Spooled(TypedDict):
    lines: int


async def show(service: Service, request: Request) -> Response:
    lines = await service.in_thread(lines_of, service.project)
    return await page(service, request, "bank_spool:spool.html", lines=lines)


async def count(service: Service, request: Request) -> Json[Spooled]:
    return Json({"lines": await service.in_thread(lines_of, service.project)})


def routes(definitions: Definitions | None) -> Iterator[Route]:
    yield Route("GET", "/spool", Right.READ_DECISIONS, show, is_page=True, screen=Screen("Spool", 200))
    yield api("GET", "/spool", Right.READ_DECISIONS, count)("Count the lines of the spool.", "How many there are.")
