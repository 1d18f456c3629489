"""Search for events, keys of entities, cases, rules and lists, by ids, names and amounts.

A complete id opens its page at once. Other hits are listed, each with the field that contains the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.errors import UsageError
from shroff.explain.entities import EntityLook, summary_in
from shroff.operations.pagination import cursor_of, next_of
from shroff.people.access import Right
from shroff.runtime.values import FrozenStruct, replace
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.decision import decision_path, entity_path, experiment_path
from shroff.web.pages.renderer import page, see_other

if TYPE_CHECKING:
    from shroff.cases.case import Case
    from shroff.people.access import Who
    from shroff.streams.log import Log, Record
    from shroff.web.service import Service

NAMES_MAX = 10  # rules, experiments and lists among the hits
TEXT_MAX = 200
_CASE = re.compile(r"(?:case\s*#?|#)\s*([0-9]{1,12})", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]{1,12}")


class SearchHit(FrozenStruct):
    """A hit: kind, name and path; of an event also its summary, time and outcome.

    `matched` is the field that contains the text; empty if the name does.
    """

    kind: str
    name: str
    path: str
    says: str = ""
    at_ms: int | None = None
    outcome: str = ""
    matched: str = ""


class SearchResults(FrozenStruct):
    """Search results. With `is_whole` the text is the complete id or name of each hit.

    Texts of at least `text_min` characters are searched in `places` sequence numbers, backwards from the end of the log
    or from where an earlier search ended. `looked_to` is the last one that was not searched: 0 at the start of the log,
    None if the log was not searched.
    """

    hits: Sequence[SearchHit]
    looked_to: int | None = None
    places: int = 0
    text_min: int = 0
    is_whole: bool = False


async def find(service: Service, request: Request) -> Response:
    text = request.query_params.get("q", "").strip()[:TEXT_MAX]
    before = cursor_of(request.query_params, int)
    found = await service.in_thread(_found, service, request.who, text, before) if text else SearchResults([])
    if len(found.hits) == 1 and found.is_whole:
        return see_other(found.hits[0].path)
    earlier = next_of(found.looked_to) if found.looked_to else None
    sees_people = request.who.may(Right.READ_PERSONAL) and service.project.definitions.events.has_personal
    return await page(service, request, "find.html", text=text, found=found, earlier=earlier, sees_people=sees_people)


def _found(service: Service, who: Who, text: str, before: int | None) -> SearchResults:
    case_match = _CASE.fullmatch(text)
    if case_match is not None:
        return SearchResults(list(_cases(service, who, int(case_match[1]))), is_whole=True)
    hits = list(_named(service, who, text, is_whole=True))
    try:
        with service.project.log.reading() as log:
            hits += [] if before is not None else _whole(service, log, text, is_key=not hits)
            if hits and before is None:
                return SearchResults([*hits, *_case_too(service, who, text)], is_whole=True)
            part = service.project.history.entities(log).search(text, before, may_see=who.may(Right.READ_PERSONAL))
            hits = [*_case_too(service, who, text), *_named(service, who, text, is_whole=False)]
            hits = hits if before is None else []
            hits += [replace(_key(entity, key, name), matched=by) for entity, key, name, by in part.keys]
            event_hits = ((_event(service, log, record), by) for record, by in part.events)
            hits += [replace(hit, matched=by) for hit, by in event_hits if hit is not None]
            return SearchResults(hits, part.looked_to, part.places, part.text_min)
    except UsageError:  # there is no log yet
        others = [] if hits else [*_case_too(service, who, text), *_named(service, who, text, is_whole=False)]
        return SearchResults([*hits, *others], is_whole=bool(hits))


def _whole(service: Service, log: Log, text: str, *, is_key: bool) -> list[SearchHit]:
    definitions = service.project.definitions
    type_, _, id_ = text.partition("/")
    names = [(event, text) for event in definitions.events.decided]
    if type_ in definitions.events.decided and id_:
        names.append((type_, id_))
    records = [record for event, id_ in names for record in log.find(event, [id_]).values()]
    event_hits = [_event(service, log, record) for record in records]
    hits = [hit for hit in event_hits if hit is not None]
    if hits or not is_key:
        return hits
    history = service.project.history.entities(log)
    entity, _, key = text.partition("/")
    if entity in definitions.events.entities and entity in history.entities_with(key)[0]:
        return [_key(entity, key, key)]
    return [_key(name, text, name_of(service, history, name, text)) for name in history.entities_with(text)[0]]


def _key(entity: str, key: str, name: str) -> SearchHit:
    is_named = name != key
    return SearchHit(entity, name, entity_path(entity, key), f"id {key}" if is_named else "")


def name_of(service: Service, look: EntityLook, entity: str, key: str) -> str:
    """Return the display name of a key in its newest event, such as `•••• 4821`; else the key itself."""
    events = look.timeline(entity, key, limit=1).events
    return summary_in(service.project.definitions, events[0].record).name_of(entity, key) if events else key


def _event(service: Service, log: Log, record: Record) -> SearchHit | None:
    row = log.decisions.of(record.type, [record.id]).get(record.id) if record.decided else None
    if row is None:
        return None
    summary = summary_in(service.project.definitions, record)
    named = [f"{entity} {name}" for entity, name in summary.names.items() if name not in summary.line]
    says = ", ".join(text for text in (summary.line, *named) if text)
    return SearchHit(record.type, record.id, decision_path(record.type, record.id), says, record.time_ms, row.outcome)


def _case_too(service: Service, who: Who, text: str) -> list[SearchHit]:
    return list(_cases(service, who, int(text))) if _NUMBER.fullmatch(text) else []


def _cases(service: Service, who: Who, number: int) -> Iterator[SearchHit]:
    if who.may(Right.READ_CASES):
        with service.cases.store.look() as reader:
            case = reader.case(number)
        if case is not None:
            yield SearchHit("case", str(number), f"/cases/{number}", f"{_about(service, case)}, {case.state}")


def _about(service: Service, case: Case) -> str:
    try:
        with service.project.log.reading() as log:
            return f"{case.entity} {name_of(service, service.project.history.entities(log), case.entity, case.key)}"
    except UsageError:  # the entity is no longer declared, or there is no log
        return f"{case.entity} {case.key}"


def _named(service: Service, who: Who, text: str, *, is_whole: bool) -> Iterator[SearchHit]:
    if not who.may(Right.READ_DEFINITIONS):
        return
    definitions = service.project.definitions
    text = text.casefold()
    named = [("rule", rule.id, f"/rules/{rule.id}") for rule in definitions.rules]
    named += [("experiment", test.id, experiment_path(test.id)) for test in definitions.experiments]
    named += [("list", name, f"/lists/{name}") for name in sorted(definitions.reference.lists)]
    hits = [entry for entry in named if entry[1].casefold() == text or (not is_whole and text in entry[1].casefold())]
    for kind, name, path in hits[:NAMES_MAX]:
        yield SearchHit(kind, name, path)


ROUTES = (Route("GET", "/find", Right.READ_DECISIONS, find, screen=Screen("Search", "Explore", 3)),)
