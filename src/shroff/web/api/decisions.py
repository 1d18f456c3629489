"""Routes of a decision, its explanation and its replay, and readers of events that pages share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, TypeVar

import msgspec

from shroff.errors import UsageError
from shroff.events.summary import EventSummary
from shroff.explain.entities import keys_of, summary_in
from shroff.json_types import TextDict
from shroff.people.access import Right
from shroff.replay.decision_replay import Replay
from shroff.web.api import override
from shroff.web.api.events import is_explanation_asked
from shroff.web.http.messages import Json, Request
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import api
from shroff.web.http.schemas import Decision

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.services.project import Project
    from shroff.streams.log import DecisionRow, Record
    from shroff.web.service import Service

Found = TypeVar("Found")


async def decision(service: Service, request: Request) -> Json[Decision]:
    """Respond with the bytes of the original decision, and with its experiments and override if there are any."""
    if is_explanation_asked(request):
        return await explain(service, request)
    row = await row_asked(service, request)
    return Json(msgspec.Raw(await service.in_thread(override.told, service, row.event, row.id, row.document)))


async def explain(service: Service, request: Request) -> Json[Decision]:
    row = await row_asked(service, request)
    explanation = await service.in_thread(service.project.explain, f"{row.event}/{row.id}")
    return Json(msgspec.Raw(await service.in_thread(override.told, service, row.event, row.id, explanation.json())))


async def replay(service: Service, request: Request) -> Json[Replay]:
    row = await row_asked(service, request)
    return Json((await service.in_thread(service.project.replay, f"{row.event}/{row.id}")).document())


async def row_asked(service: Service, request: Request) -> DecisionRow:
    """Return the row of the decision that the path names. Raises: as `row_of`."""
    return await service.in_thread(row_of, service.project, request.path_params["event"], request.path_params["id"])


def row_of(project: Project, event: str, id_: str) -> DecisionRow:
    """Return the row of a decision. Raises: ProblemError with 404, which tells whether the log has the event."""
    try:
        with project.log.reading() as log:
            row = log.decisions.of(event, [id_]).get(id_)
            if row is not None:
                return row
            is_in_log = bool(log.find(event, [id_]))
    except UsageError:  # there is no log yet
        is_in_log = False
    detail = f"{event} {id_!r} is in the log and was not decided" if is_in_log else f"there is no {event} {id_!r}"
    raise ProblemError(404, "no-decision", "There is no such decision", detail)


def summaries_of(project: Project, events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], EventSummary]:
    """Return summaries of events for people, by type and id; events that the log does not have are left out."""
    return _of_records(project, events, summary_in)


def event_keys(project: Project, events: Iterable[tuple[str, str]]) -> dict[tuple[str, str], TextDict]:
    """Return the keys of events by entity, by type and id; events that the log does not have are left out."""
    return _of_records(project, events, keys_of)


def _of_records(
    project: Project, events: Iterable[tuple[str, str]], read: Callable[[Definitions, Record], Found]
) -> dict[tuple[str, str], Found]:
    ids: dict[str, list[str]] = {}
    for event, id_ in dict.fromkeys(events):
        ids.setdefault(event, []).append(id_)
    try:
        with project.log.reading() as log:
            records = [record for event, event_ids in ids.items() for record in log.find(event, event_ids).values()]
    except UsageError:  # there is no log yet
        return {}
    return {(record.type, record.id): read(project.definitions, record) for record in records}


ROUTES = (
    api("GET", "/decisions/{event}/{id}", Right.READ_DECISIONS, decision)(
        "A decision.",
        "The original answer, and `answered` for an override.",
        problems={400: "", 404: ""},
        query={"explain": "1: with the explanation of `/explain`."},
    ),
    api("GET", "/decisions/{event}/{id}/explain", Right.READ_DECISIONS, explain)(
        "Explain a decision: the model's reasons, its features beside earlier values, and its rules in words.",
        "The decision with its `explanation`.",
        problems={400: "", 404: ""},
    ),
    api("GET", "/decisions/{event}/{id}/replay", Right.READ_DECISIONS, replay)(
        "Replay a decision: compute it again from the log and compare.",
        "Whether every byte is equal.",
        problems={400: "", 404: ""},
    ),
)
