"""The route of one key of an entity: its events, features, flags, and related keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypedDict

from shroff.events.event import Scalar, TimeText, time_text
from shroff.explain.entities import KeyEvent, KeyLinks, Timeline, fields_of
from shroff.operations.pagination import cursor_of, limit_of, next_of
from shroff.people.access import Right
from shroff.web.api.cases.flags import Flagged, FlagShown, known_key, shown, with_fields
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import PAGED, api

if TYPE_CHECKING:
    from shroff.services.project import Project
    from shroff.web.service import Service

FLAGS_SHOWN = 20


class EntityEvent(TypedDict):
    """An event of a key. `features` are the features of its entity in that decision."""

    event: str
    id: str
    seq: int
    time: TimeText
    fields: dict[str, Scalar]
    outcome: str | None
    score: float | None
    rules: list[str]
    features: dict[str, Scalar]


class EntityKey(TypedDict):
    """A key of an entity."""

    entity: str
    key: str


class EntityNeighbour(TypedDict):
    """A related key: another key of the same entity, the keys that both share, and the number of events."""

    key: str
    through: list[EntityKey]
    events: int


class EntityView(EntityKey):
    """One key of an entity: events, features, flags and neighbors.

    `left_out` are keys of other entities that link nobody, since more than 20 keys share them.
    """

    timeline: list[EntityEvent]
    looked_to: int
    features: dict[str, Scalar]
    features_of: str | None
    flags: list[FlagShown]
    neighbours: list[EntityNeighbour]
    left_out: list[EntityKey]
    next: str | None


async def entity(service: Service, request: Request) -> Json[EntityView]:
    name = request.path_params["entity"]
    key = await service.in_thread(known_key, service.project, name, request.path_params["key"])
    limit = limit_of(request.query_params)
    before = cursor_of(request.query_params, int)
    timeline, flags, links = await service.in_thread(looked, service.project, name, key, before, limit)
    return Json(
        {
            "entity": name,
            "key": key,
            "timeline": [event_shown(event) for event in timeline.events],
            "looked_to": timeline.looked_to,
            "features": dict(timeline.features),
            "features_of": timeline.features_of or None,
            "flags": await shown(service, flags),
            "neighbours": [
                {
                    "key": neighbour.key,
                    "through": [{"entity": of, "key": text} for of, text in neighbour.through],
                    "events": neighbour.events,
                }
                for neighbour in links.neighbours
            ],
            "left_out": [{"entity": of, "key": text} for of, text in links.left_out],
            "next": next_of(timeline.looked_to + 1) if timeline.is_cut else None,
        }
    )


def event_shown(event: KeyEvent) -> EntityEvent:
    """Return the JSON of an event of a key."""
    return {
        "event": event.record.type,
        "id": event.record.id,
        "seq": event.record.seq,
        "time": time_text(event.record.time_ms),
        "fields": fields_of(event.record),
        "outcome": event.outcome,
        "score": event.score,
        "rules": list(event.rules),
        "features": dict(event.features),
    }


def looked(
    project: Project, name: str, key: str, before: int | None, limit: int
) -> tuple[Timeline, list[Flagged], KeyLinks]:
    """Read the events of a key before sequence number `before`; flags and neighbors only if `before` is None."""
    with project.log.reading() as log:
        entities = project.history.entities(log)
        timeline = entities.timeline(name, key, before=before, limit=limit)
        if before is not None:
            return timeline, [], KeyLinks([], [])
        flags = with_fields(log, log.flags.of(name, key, limit=FLAGS_SHOWN))
        return timeline, flags, entities.links(name, key, timeline)


ROUTES = (
    api("GET", "/entities/{entity}/{key}", Right.READ_DECISIONS, entity)(
        "Get one key of an entity: its events, features as of the last decision, flags, and related keys.",
        "The view of the last million sequence numbers of the log; use `next` to read further back.",
        problems={400: "", 404: ""},
        query=PAGED,
    ),
)
