"""The newest keys of an entity, and the page of one key: unusual values, events, flags, lists and linked keys."""

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
from shroff.web.pages.charts.windows import windows_of
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
IN_TABLE = 20  # decisions in the table of features; more would make the page heavy
LINKS_SHOWN = 10
FLAGS_COUNTED = 200  # newest flags, which are grouped by rule


class EventLine(FrozenStruct):
    """An event of the key, with its summary and verdict.

    `who` is the counterparty: the payee, or on the payee's own page the first other key of the event. `others` are the
    event's further keys: entity, name and path.
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
    found = await service.in_thread(_key_data, project, name, key, before, limit, request.who.may(Right.READ_PERSONAL))
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
        in_table=IN_TABLE,
        lists=await service.in_thread(lists.standings, project, name, key),
        lasts=lists.LASTS,
        undone=lists.undone_by(request),
    )


def _key_data(project: Project, name: str, key: str, before: int | None, limit: int, may_see: bool) -> _Found:  # noqa: FBT001 - run in a thread
    with project.log.reading() as log:
        entities = project.history.entities(log)
        timeline = entities.timeline(name, key, before=before, limit=limit)
        if before is not None:
            return _Found(timeline, [], KeyLinks([], []), KeyTotals([], is_whole=False), ())
        newest = next((event.record.seq for event in timeline.events if event.outcome is not None), None)
        owner = dict[str, set[str]]()
        for event in timeline.events[:SHOWN] if may_see else ():
            for field, text in log.personal.of(event.record.type, [event.record.id]).get(event.record.id, {}).items():
                owner.setdefault(field, set()).add(text)
        return _Found(
            timeline,
            log.flags.of(name, key, limit=FLAGS_COUNTED + 1),  # one more, to tell whether there are further ones
            entities.links(name, key, timeline),
            entities.totals(name, key),
            [text for values in owner.values() if len(values) == 1 for text in values],
            _counted(project.definitions, log, name, key),
            [] if newest is None else entities.earlier(name, key, newest),
        )


def _counted(definitions: Definitions, log: Log, name: str, key: str) -> Sequence[KeyLink]:
    if not has_via(definitions, name):
        return ()
    return newest_links(log, definitions, name, linked_key(definitions, name, key)).links


def _by_rule(flags: Sequence[FlagRow]) -> Iterable[Sequence[FlagRow]]:
    rows_by_rule: dict[str, list[FlagRow]] = defaultdict(list)
    for row in flags:
        rows_by_rule[row.rule].append(row)
    return rows_by_rule.values()


def _flagged(
    rows: Sequence[FlagRow], verdict_by_event: Mapping[str, VerdictInForce], decided: Container[str]
) -> JsonObject:
    """Summarize the flags of one rule. `first` and `last` are event times and addresses of decisions."""

    def flagging(row: FlagRow) -> tuple[int, str]:
        event, id_ = row.event.split("/", 1)
        return row.time_ms, decision_path(event, id_) if event in decided else ""

    times = sorted(map(flagging, rows))
    verdict_counts = Counter(
        verdict_by_event[row.event].verdict if row.event in verdict_by_event else "no label" for row in rows
    )
    return {
        "rule": rows[0].rule,
        "reason": rows[0].reason,
        "count": len(rows),
        "first": times[0],
        "last": times[-1],
        "verdicts": verdict_counts,
    }


def _head(service: Service, name: str, key: str, found: _Found, texts: _KeyTexts) -> JsonObject:
    """Collect the head of the page.

    `owner` are personal values that all newest events share. `amount` is the sum of the counted events, `frauds` the
    number labeled as fraud. `case` is the open case about the key, and the first of `cases`, open cases with its
    events. `stake` is the amount at stake in alerts without a verdict.
    """
    with service.cases.store.look() as reader:
        case = next(iter(reader.open_about([about_of(name, key)]).values()), None)
        alerts = reader.alerts_of([(record.type, record.id) for record in found.totals.records])
        alerts += [] if case is None else reader.alerts(case.number)
        waiting = {alert.named: alert for alert in alerts if not alert.verdict}
        cases = reader.cases({alert.case for alert in waiting.values()}).values()
    amount_texts = [texts.summary(record).amount for record in found.totals.records]
    amounts = [Decimal(text) for text in amount_texts if text]
    units = sum(alert.at_stake or 0 for alert in waiting.values())
    open_cases = (listed_case for listed_case in cases if listed_case.is_open)
    return {
        "title": texts.title(name, key),
        "owner": found.owner,
        "totals": found.totals,
        "amount": str(sum(amounts)) if amounts else "",
        "frauds": sum(texts.verdict(record) == FRAUD for record in found.totals.records),
        "case": case,
        "cases": sorted(open_cases, key=lambda open_case: (open_case != case, open_case.number)),
        "stake": str(Decimal(units).scaleb(-service.cases.money_places)) if units else "",
    }


def _named(found: _Found) -> list[str]:
    records = [*found.totals.records, *(event.record for event in found.timeline.events)]
    records += [neighbour.newest.record for neighbour in found.links.neighbours]
    return sorted({f"{record.type}/{record.id}" for record in records} | {row.event for row in found.flags})


class _KeyTexts:
    """Formats the events and keys of the page for people."""

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
        verdict = self._standings.get(f"{record.type}/{record.id}")
        return "" if verdict is None else verdict.verdict

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
        """Return linked keys, frauds first, with their newest shared event and the shared values."""
        links = [
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
        return sorted(links, key=lambda link: link["newest"].verdict != FRAUD)

    def _note(self, record: Record) -> None:
        names = self.summary(record).names
        for entity, key in keys_of(self._definitions, record).items():
            if entity in names:
                self._names.setdefault((entity, key), names[entity])


def _graph(own: str, links: Sequence[JsonMapping]) -> LinkGraph | None:
    others = list[GraphKey]()
    for link in links:
        newest = link["newest"]
        says = ", ".join(word for word in (newest.verdict or newest.event.outcome, newest.summary.money) if word)
        through_values = [(entity, path, title) for entity, title, path in link["through"]]
        others.append(GraphKey(link["title"], says, through_values, link["path"]))
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
    standings = await verdicts(service, [event for key in keys for event in (key.event, *key.flagged)])
    return await page(
        service,
        request,
        "entities.html",
        name=name,
        entities=entities,
        prefix=prefix,
        found=found,
        shown_keys=sorted(keys, key=lambda key: key.time, reverse=True),  # a late event has a late place in the log
        verdict_counts=lambda key: Counter(
            standings[event].verdict for event in {key.event, *key.flagged} & standings.keys()
        ),
        flags_max=FLAGS_MAX,
        is_first="cursor" not in query,
    )


ROUTES = (
    Route("GET", "/entities", Right.READ_DECISIONS, listed, screen=Screen("Entities", "Explore", 2)),
    Route("GET", "/entities/{entity}/{key}", Right.READ_DECISIONS, show),
)
