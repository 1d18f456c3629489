"""One key of an entity: what happened to it, its features, its flags, and whom it shares something with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from starlette.responses import Response

from shroff.people.access import Right
from shroff.web.api.cases.flags import document, known_key, verdicts
from shroff.web.api.entities import known_entity, looked
from shroff.web.http.messages import Request
from shroff.web.http.paging import cursor_of, limit_of, next_of
from shroff.web.http.routes import Route
from shroff.web.pages.charts.windows import windows_of
from shroff.web.pages.decision import decision_path, entity_path
from shroff.web.pages.rendering import page
from shroff.web.pages.rules import lists

if TYPE_CHECKING:
    from shroff.web.service import Service

IN_TABLE: Final = 20  # decisions whose features stand in a table, too: of more that would be most of the page's weight


async def show(service: Service, request: Request) -> Response:
    """The page of a key."""
    name = known_entity(service, request)
    key = await service.in_thread(known_key, service.project, name, request.path_params["key"])
    limit, before = limit_of(request.query_params), cursor_of(request.query_params, int)
    timeline, flags, neighbours = await service.in_thread(looked, service.project, name, key, before, limit)
    standings = await verdicts(service, [row.event for row in flags])
    in_lists = await service.in_thread(lists.standings, service.project, name, key)
    return page(
        service,
        request,
        "entity.html",
        name=name,
        key=key,
        timeline=timeline,
        flags=[document(row, standings.get(row.event)) for row in flags],
        neighbours=neighbours,
        older=next_of(timeline.looked_to + 1) if timeline.is_cut else None,
        before=before,
        decision_path=decision_path,
        entity_path=entity_path,
        windows=windows_of(timeline.events),
        in_table=IN_TABLE,
        in_lists=in_lists,
        said=lists.said_of(request),
        may_edit=request.who.may(Right.EDIT_LISTS),
    )


ROUTES: Final = (Route("GET", "/entities/{entity}/{key}", Right.READ_DECISIONS, show, is_page=True),)
