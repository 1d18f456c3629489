"""Keys of an entity, the newest; and one of them: what is unusual, its events, flags and lists, and its links."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

from starlette.responses import Response

from shroff.cases.case import FRAUD, about_of
from shroff.events.summary import EventSummary
from shroff.explain.entities import KeyEvent, KeyLinks, KeyTotals, Timeline, keys_of, summary_in
from shroff.explain.links import KeyLink, has_via, linked_key, newest_links
from shroff.json_types import JsonMapping, JsonObject
from shroff.operations.pagination import cursor_of, limit_of, next_of
from shroff.people.access import Right
from shroff.project.dependency_hash import reasons_of
from shroff.runtime.values import FrozenStruct
from shroff.services.entities.operations import FLAGS_MAX, EntityKeys, ListKeys
from shroff.web.api.cases.flags import known_key, verdicts
from shroff.web.http.messages import NOTHING, Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.cases.answers import offer
from shroff.web.pages.cases.casework import Where, line_of
from shroff.web.pages.charts.links import GraphKey, LinkGraph, link_graph
from shroff.web.pages.charts.windows import FeatureTexts, windows_of
from shroff.web.pages.decision import decision_path, entity_path
from shroff.web.pages.renderer import page
from shroff.web.pages.rules import lists

if TYPE_CHECKING:
    from shroff.events.labels import VerdictInForce
    from shroff.explain.past import PastDecision
    from shroff.project.definitions import Definitions
    from shroff.services.project import Project
    from shroff.streams.log import FlagRow, Log, Record
    from shroff.web.service import Service

SHOWN = 12  # events of the first part; the charts show more
IN_TABLE = 20  # decisions whose features stand in a table, too: of more that would be most of the page's weight
LINKS_SHOWN = 10
FLAGS_COUNTED = 200  # the newest, which stand together by rule


class EventLine(FrozenStruct):
    """An event of the key, with what it says to people and the verdict about it.

    `who` is the counterparty: who was paid, or on the page of whom that is, the first other key of the event. `others`
    are its further keys: entity, name and path.
    """

    event: KeyEvent
    summary: EventSummary
    verdict: str
    path: str
    who: str
    path_of_who: str
    others: Sequence[tuple[str, str, str]]

    @property
    def rest(self) -> Sequence[str]:
        rest = self.summary.rest
        return rest if self.summary.payee else [says for says in rest if says != self.who]


class _Found(FrozenStruct):
    """The log's data about a key."""

    timeline: Timeline
    flags: Sequence[FlagRow]
    links: KeyLinks
    totals: KeyTotals
    owner: Sequence[str]
    counted: Sequence[KeyLink] = ()
    earlier: Sequence[PastDecision] = ()  # before the newest decision


async def show(service: Service, request: Request) -> Response:
    name = request.path_params["entity"]
    project = service.project
    key = await service.in_thread(known_key, project, name, request.path_params["key"])
    limit = limit_of(request.query_params)
    before = cursor_of(request.query_params, int)
    found = await service.in_thread(_looked, project, name, key, before, limit, request.who.may(Right.READ_PERSONAL))
    standings = await verdicts(service, _named(found))
    texts = _KeyTexts(project.definitions, standings, found)
    links = texts.links(name)
    events = found.timeline.events if before is not None else found.timeline.events[:SHOWN]
    older = found.timeline.looked_to + 1 if found.timeline.is_cut else None
    if len(events) < len(found.timeline.events):
        older = events[-1].record.seq
    head = await service.in_thread(_head, service, name, key, found, texts)
    case = head["case"]
    line = None if case is None else await service.in_thread(line_of, service.cases, request.who, case)
    is_free = line is not None and request.who.may(Right.WORK_CASES) and not (line.is_held or line.is_own_look)
    return await page(
        service,
        request,
        "entity.html",
        name=name,
        key=key,
        head=head,
        to_answer=line if is_free else None,
        where=Where(""),
        offer=await service.in_thread(offer, service, request, [(name, key)], NOTHING) if is_free else None,
        events=[texts.line(event, name) for event in events],
        looked_to=found.timeline.looked_to,
        flags=[
            _flagged(rows, standings, project.definitions.events.decided)
            for rows in _by_rule(found.flags[:FLAGS_COUNTED])
        ],
        are_more_flags=len(found.flags) > FLAGS_COUNTED,
        reason_words=reasons_of(project.definitions),
        links=links,
        left_out=[(texts.title(*left), entity_path(*left)) for left in found.links.left_out],
        graph=_graph(texts.title(name, key), links),
        links_shown=LINKS_SHOWN,
        counted=found.counted,
        older=None if older is None else next_of(older),
        before=before,
        windows=windows_of(found.timeline.events, [decision.shown for decision in found.earlier]),
        tells=FeatureTexts(project.definitions),
        in_table=IN_TABLE,
        lists=await service.in_thread(lists.standings, project, name, key),
        lasts=lists.LASTS,
        undone=lists.undone_by(request),
    )


def _looked(project: Project, name: str, key: str, before: int | None, limit: int, may_see: bool) -> _Found:  # noqa: FBT001 - run in a thread
    with project.log.reading() as log:
        look = project.history.entities(log)
        timeline = look.timeline(name, key, before=before, limit=limit)
        if before is not None:
            return _Found(timeline, [], KeyLinks([], []), KeyTotals([], is_whole=False), ())
        newest = next((event.record.seq for event in timeline.events if event.outcome is not None), None)
        owner = dict[str, set[str]]()
        for event in timeline.events[:SHOWN] if may_see else ():
            for field, text in log.personal(event.record.type, [event.record.id]).get(event.record.id, {}).items():
                owner.setdefault(field, set()).add(text)
        return _Found(
            timeline,
            log.flags_of(name, key, limit=FLAGS_COUNTED + 1),  # one more tells whether these are all
            look.links(name, key, timeline),
            look.totals(name, key),
            [text for values in owner.values() if len(values) == 1 for text in values],
            _counted(project.definitions, log, name, key),
            [] if newest is None else look.earlier(name, key, newest),
        )


def _counted(definitions: Definitions, log: Log, name: str, key: str) -> Sequence[KeyLink]:
    if not has_via(definitions, name):
        return ()
    return newest_links(log, definitions, name, linked_key(definitions, name, key)).links


def _by_rule(flags: Sequence[FlagRow]) -> Iterable[Sequence[FlagRow]]:
    """Group flags by rule; keep the order in each group, and sort the groups by their first flag."""
    found: dict[str, list[FlagRow]] = defaultdict(list)
    for row in flags:
        found[row.rule].append(row)
    return found.values()


def _flagged(rows: Sequence[FlagRow], standings: Mapping[str, VerdictInForce], decided: Container[str]) -> JsonObject:
    """All flags of one rule, with the reason of the newest; `verdicts` count what labels say of their events.

    `first` and `last` are times of events, which may differ from the order of arrival, and addresses of decisions.
    """

    def flagging(row: FlagRow) -> tuple[int, str]:
        event, id_ = row.event.split("/", 1)
        return row.time_ms, decision_path(event, id_) if event in decided else ""

    times = sorted(map(flagging, rows))
    said = Counter(standings[row.event].verdict if row.event in standings else "no label" for row in rows)
    return {
        "rule": rows[0].rule,
        "reason": rows[0].reason,
        "count": len(rows),
        "first": times[0],
        "last": times[-1],
        "verdicts": said,
    }


def _head(service: Service, name: str, key: str, found: _Found, texts: _KeyTexts) -> JsonObject:
    """The head of the page.

    `owner` are the personal values that all its newest events share; `amount` is the sum of the counted events, of
    which `frauds` are called so; `case` is the open case about it, and the first of `cases`, which have its events;
    `stake` is what those that want an answer have at stake together.
    """
    with service.cases.store.look() as look:
        case = next(iter(look.open_about([about_of(name, key)]).values()), None)
        alerts = look.alerts_of([(record.type, record.id) for record in found.totals.records])
        alerts += [] if case is None else look.alerts(case.number)
        waiting = {alert.named: alert for alert in alerts if not alert.verdict}
        cases = look.cases({alert.case for alert in waiting.values()}).values()
    amounts = [Decimal(summary.amount) for record in found.totals.records if (summary := texts.summary(record)).amount]
    units = sum(alert.at_stake or 0 for alert in waiting.values())
    opened = (open_case for open_case in cases if open_case.is_open)
    return {
        "title": texts.title(name, key),
        "owner": found.owner,
        "totals": found.totals,
        "amount": str(sum(amounts)) if amounts else "",
        "frauds": sum(texts.verdict(record) == FRAUD for record in found.totals.records),
        "case": case,
        "cases": sorted(opened, key=lambda open_case: (open_case != case, open_case.number)),
        "stake": str(Decimal(units).scaleb(-service.cases.money_places)) if units else "",
    }


def _named(found: _Found) -> list[str]:
    records = [*found.totals.records, *(event.record for event in found.timeline.events)]
    records += [neighbour.newest.record for neighbour in found.links.neighbours]
    return sorted({f"{record.type}/{record.id}" for record in records} | {row.event for row in found.flags})


class _KeyTexts:
    """Events and keys as people read them."""

    def __init__(self, definitions: Definitions, standings: Mapping[str, VerdictInForce], found: _Found) -> None:
        self._definitions = definitions
        self._standings = standings
        self._found = found
        self._names: dict[tuple[str, str], str] = {}
        for event in (*found.timeline.events, *(neighbour.newest for neighbour in found.links.neighbours)):
            self._note(event.record)

    def title(self, entity: str, key: str) -> str:
        return self._names.get((entity, key), key)

    def summary(self, record: Record) -> EventSummary:
        return summary_in(self._definitions, record)

    def verdict(self, record: Record) -> str:
        found = self._standings.get(f"{record.type}/{record.id}")
        return "" if found is None else found.verdict

    def line(self, event: KeyEvent, name: str) -> EventLine:
        summary = self.summary(event.record)
        keys = keys_of(self._definitions, event.record)
        own = keys.pop(name, "")
        payee = summary.payee if summary.payee not in {own, self.title(name, own)} else ""
        others = {entity: key for entity, key in keys.items() if not payee or payee in {key, self.title(entity, key)}}
        entity, key = next(iter(others.items()), ("", ""))
        who = payee or (self.title(entity, key) if key else next(iter(summary.rest), ""))
        path = decision_path(event.record.type, event.record.id) if event.outcome else ""
        path_of_who = entity_path(entity, key) if key else ""
        further = [(name, self.title(name, of), entity_path(name, of)) for name, of in keys.items() if name != entity]
        return EventLine(event, summary, self.verdict(event.record), path, who, path_of_who, further)

    def links(self, name: str) -> list[JsonObject]:
        """Linked keys, frauds first, with their newest event that shares something, and what: entity, name and path."""
        found = [
            {
                "title": self.title(name, neighbour.key),
                "path": entity_path(name, neighbour.key),
                "through": [
                    (entity, self.title(entity, text), entity_path(entity, text)) for entity, text in neighbour.through
                ],
                "newest": self.line(neighbour.newest, name),
            }
            for neighbour in self._found.links.neighbours
        ]
        return sorted(found, key=lambda link: link["newest"].verdict != FRAUD)

    def _note(self, record: Record) -> None:
        names = self.summary(record).names
        for entity, key in keys_of(self._definitions, record).items():
            if entity in names:
                self._names.setdefault((entity, key), names[entity])


def _graph(own: str, links: Sequence[JsonMapping]) -> LinkGraph | None:
    others = [
        GraphKey(
            link["title"],
            ", ".join(word for word in (newest.verdict or newest.event.outcome, newest.summary.money) if word),
            [(entity, path, title) for entity, title, path in link["through"]],
            link["path"],
        )
        for link in links
        if (newest := link["newest"])
    ]
    through = {value for other in others for value in other.through}
    return link_graph(GraphKey(own, "this one", through), others) if others else None


async def listed(service: Service, request: Request) -> Response:
    query = request.query_params
    entities = service.project.definitions.events.entities
    name = query.get("entity") or next(iter(entities), "")
    prefix = query.get("prefix", "").strip()
    found: EntityKeys | None = None
    if name and service.project.log.exists():
        found = await service.run(request, ListKeys(entity=name, prefix=prefix, cursor=query.get("cursor", "")))
    keys = [] if found is None else found.keys
    return await page(
        service,
        request,
        "entities.html",
        name=name,
        entities=entities,
        prefix=prefix,
        found=found,
        standings=await verdicts(service, [event for key in keys for event in (key.event, *key.flagged)]),
        flags_max=FLAGS_MAX,
        is_first="cursor" not in query,
    )


ROUTES = (
    Route("GET", "/entities", Right.READ_DECISIONS, listed, screen=Screen("Entities", "Explore", 2)),
    Route("GET", "/entities/{entity}/{key}", Right.READ_DECISIONS, show),
)
