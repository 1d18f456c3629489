"""`/api/v1/analytics/...`: event counts by type and day, and the features of a key at a moment."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Final, TypedDict

import msgspec

from shroff.analytics.counts import CountRows, EventCount, rows_of
from shroff.analytics.facts import FactsDocument, document_of
from shroff.errors import UsageError
from shroff.people.access import Right
from shroff.web.api.cases.cases import body_of
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.app.project import Project
    from shroff.web.service import Service

PLACES_MAX: Final = 500_000  # that are read for one question: some 3 s
KEY_EVENTS_MAX: Final = 20_000  # of one key: some 2 s


class CountQuestion(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    """The counts to compute; days as `2026-03-01`, the last one included. All event types by default.

    `by` is `day`, `week`, `source` or a field. With `source` only events of that source count. Days are in `zone`, by
    default the project's.
    """

    start_date: date | None = None
    end_date: date | None = None
    event_types: list[str] = []
    source: str | None = None
    by: str = "day"
    zone: str = ""
    zeros: bool = False


class KeyAtMoment(msgspec.Struct, forbid_unknown_fields=True):
    """The key and the time; by default all features of the entity at the time of the newest event.

    Times are as `2026-03-01T12:00:00Z`, or a day. `since` is a time for all features, or one for each by its name.
    """

    entity: str
    key: str
    as_of: str | None = None
    features: list[str] = []
    since: str | dict[str, str] | None = None


class CountableType(TypedDict):
    """An event type, whether it is decided, and the fields that `by` accepts."""

    type: str
    decided: bool
    fields: list[str]


class CountableTypes(TypedDict):
    """The event types of the project, and the sources by which events came."""

    types: list[CountableType]
    sources: list[str]


async def event_counts(service: Service, request: Request) -> Json[CountRows]:
    """How many events of each type happened on each day."""
    question = await body_of(request, CountQuestion)
    try:
        found = await service.in_thread(counted, service.project, question)
    except UsageError as error:
        raise ProblemError(422, "bad-question", "The counts cannot be computed", str(error)) from None
    return Json(rows_of(found, question.by))


def counted(project: Project, question: CountQuestion) -> list[EventCount]:
    """The counts of a question. Raises: UsageError."""
    return project.analytics.event_counts(
        question.start_date,
        question.end_date,
        types=question.event_types,
        by=question.by,
        zone=question.zone,
        zeros=question.zeros,
        source=question.source,
        most=PLACES_MAX,
    )


async def event_types(service: Service, request: Request) -> Json[CountableTypes]:
    """The event types, and by what they can be counted."""
    found = await service.in_thread(service.project.analytics.event_types)
    types: list[CountableType] = [{"type": one.type, "decided": one.is_decided, "fields": one.fields} for one in found]
    return Json({"types": types, "sources": await service.in_thread(service.project.analytics.event_sources)})


async def facts(service: Service, request: Request) -> Json[FactsDocument]:
    """The features of one key of an entity at a moment."""
    question = await body_of(request, KeyAtMoment)

    def found() -> FactsDocument:
        return document_of(
            service.project.analytics.facts(
                question.entity,
                question.key,
                as_of=question.as_of,
                features=question.features,
                since=question.since,
                most=KEY_EVENTS_MAX,
            )
        )

    try:
        return Json(await service.in_thread(found))
    except UsageError as error:
        raise ProblemError(422, "bad-question", "No answer is possible", str(error)) from None


ROUTES: Final = (
    api("POST", "/analytics/facts", Right.READ_DECISIONS, facts)(
        "Compute the features of one key of an entity at a point in time, from the key's events in the log.",
        "The features by name. `events` is the number of events read, `left_out` names features without a value "
        "between events, with the reason.",
        KeyAtMoment,
    ),
    api("POST", "/analytics/event-counts", Right.READ_DECISIONS, event_counts)(
        "Count the events of each type by day, each event once; by default for the last seven days.",
        "The counts by day, type and value.",
        CountQuestion,
    ),
    api("GET", "/analytics/event-types", Right.READ_DECISIONS, event_types)(
        "List the event types, their fields for counts, and the sources of events.",
        "The event types of events.yaml, and the sources by name.",
    ),
)
