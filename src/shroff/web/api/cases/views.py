"""Views of the queue, and how the day goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from shroff.cases import case_queries
from shroff.people.access import Right
from shroff.web.api.cases import case_documents as documents
from shroff.web.api.cases.cases import body_of, done, time_of
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.web.service import Service


class ViewQuery(msgspec.Struct, forbid_unknown_fields=True):
    """A filter to save."""

    query: str
    shared: bool = False


async def views(service: Service, request: Request) -> Json[documents.CaseViews]:
    """Views with their counts."""
    found = await service.in_thread(case_queries.views, service.cases, request.who)
    return Json({"views": [documents.view(one) for one in found]})


async def put_view(service: Service, request: Request) -> Json[documents.CaseView]:
    """Keep a filter under a name of one's own."""
    given = await body_of(request, ViewQuery)

    def run() -> case_queries.Counted:
        desk = service.cases
        kept = case_queries.put_view(
            desk, request.who, request.path_params["name"], given.query, is_shared=given.shared
        )
        return next(view for view in case_queries.views(desk, request.who) if view.view == kept)

    return Json(documents.view(await done(service, run)))


async def remove_view(service: Service, request: Request) -> Json[documents.RemovedView]:
    """Let go of a view of one's own."""
    await done(service, case_queries.remove_view, service.cases, request.who, request.path_params["name"])
    return Json({"removed": request.path_params["name"]})


async def capacity(service: Service, request: Request) -> Json[documents.Capacity]:
    """How the day goes, since midnight in the project's time zone or the time in `since`."""
    text = request.query_params.get("since", "")
    since_ms = time_of(text, "since") if text else None
    found = await service.in_thread(case_queries.capacity, service.cases, request.who, since_ms)
    return Json(documents.capacity(service.cases, found))


ROUTES: Final = (
    api("GET", "/views", Right.READ_CASES, views)(
        "List saved filters: built-in ones, your own, and those that others share.",
        "The filters, each with its current number of cases.",
    ),
    api("PUT", "/views/{name}", Right.READ_CASES, put_view)(
        "Save a filter under a name of your own; an existing one is replaced.",
        "The filter, with its number of cases.",
        ViewQuery,
    ),
    api("DELETE", "/views/{name}", Right.READ_CASES, remove_view)(
        "Delete one of your saved filters.", "The name of the filter.", problems={400: "", 404: ""}
    ),
    api("GET", "/capacity", Right.READ_CASES, capacity)(
        "Get today's review capacity: cases done, expected end of the queue, and second reviews.",
        "The figures, by the clock of the service.",
        problems={400: "", 422: "The query is invalid.", 500: "", 503: ""},
        query={"since": "The start of the day. Default: midnight UTC."},
    ),
)
