"""The page Links: keys that share values with a key within some steps, as a graph and tables, and rings of keys."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.responses import Response

from shroff.explain.links import (
    RING_MAX,
    VALUES_MAX,
    EntityLinks,
    LinkedKey,
    LinkScope,
    Neighbourhood,
    Ring,
    SharedValue,
    entity_links,
    has_via,
    linked_key,
    newest_events,
)
from shroff.language.values import DAY_MS
from shroff.log.past_look_ups import with_past_look_ups
from shroff.people.access import Right
from shroff.replay.notebook import moment_ms
from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct, replace
from shroff.services.links.operations import STEPS_MAX
from shroff.web.api.cases.flags import known_key
from shroff.web.http.messages import Request
from shroff.web.http.routes import Route, Screen
from shroff.web.pages.charts.links import GraphKey, LinkGraph, link_graph
from shroff.web.pages.decision import entity_path
from shroff.web.pages.renderer import page, part
from shroff.web.pages.search import name_of
from shroff.web.pages.words import money

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.web.service import Service

PATH = "/links"
DRAWN_MAX = 30  # keys in the graph, which fit on one screen
ROW = 28  # pixels
TITLE_MAX = 24  # characters beside the text at the right of a box
ROWS_MAX = 200
HUBS_MAX = 4
RINGS_SHOWN = 25
DAYS = (7, 30, 90, 365)  # windows to choose from


class Overview(FrozenStruct):
    """The rings of an entity, those with most frauds first, and its most shared values."""

    rings: Sequence[Ring]
    ring_count: int
    shared: Sequence[SharedValue]


class LinkChoice(FrozenStruct):
    """What the viewer chose.

    Args:
        days: Window; 0 for the longest of the features.
        names: Each `via`, the value by which features link keys.
        used: The names that are followed.
        as_of_ms: Moment; None for the newest events.
    """

    days: int
    default_ms: int  # longest window of the features
    names: Sequence[str]
    used: frozenset[str]
    as_of_ms: int | None = None

    @property
    def links(self) -> LinkScope:
        return LinkScope(self.days * DAY_MS, frozenset(self.names) - self.used)


KEYS_NAMED = 3  # keys of a ring with display names, in the list of rings
Result = TypeVar("Result")
Title = Callable[[str, str], str]  # display name of a key, by entity or `via` and key


async def show(service: Service, request: Request) -> Response:
    query = request.query_params
    definitions = service.project.definitions
    entities = definitions.events.entities
    name = query.get("entity") or next(iter(entities), "")
    key = query.get("key", "").strip()
    steps = _steps(query.get("steps", ""))
    pinned = query.getlist("pin")
    scope = await service.in_thread(_scope, service, name, query)
    found = overview = title = graph = None
    if key:
        found = await service.in_thread(_found, service, name, key, steps, query.getlist("hide"), scope)
        if not found.links and not query.getlist("by"):  # widely shared values are better than none
            scope = replace(scope, used=frozenset(scope.names))
            found = await service.in_thread(_found, service, name, key, steps, query.getlist("hide"), scope)
    elif scope.names:
        overview = await service.in_thread(_overview, service, name, scope)
        title = await service.in_thread(_overview_titles, service, name, overview)
    if found:
        found.links.sort(key=lambda link: (f"{link.via}={link.value}" not in pinned, not link.frauds))
        found.members[1:] = sorted(found.members[1:], key=lambda member: not member.frauds)
        title = await service.in_thread(_titles, service, name, found)
        if found.links:
            graph = await service.in_thread(_graph, name, found, title, pinned, definitions.settings.currency)
    return await page(
        service,
        request,
        "links.html",
        entities=list(entities),
        name=name,
        key=key,
        steps=steps,
        steps_max=STEPS_MAX,
        found=found,
        title=title,
        ring=_ring(definitions, name, found) if found else "",
        overview=overview,
        scope=scope,
        field_of=_field,
        days=DAYS,
        graph=graph,
        drawn=DRAWN_MAX,
        hubs=HUBS_MAX,
        rows=ROWS_MAX,
        hidden=query.getlist("hide"),
        pinned=pinned,
        path=lambda **changed: _path(request, name, key, changed),
    )


def _steps(text: str) -> int:
    """Return the number of steps, from 1 to the maximum; 1 if the text is not a number."""
    if not (text.isascii() and text.isdecimal()):
        return 1
    digits = text.lstrip("0")[:9] or "1"  # `int` fails for thousands of digits
    return min(int(digits), STEPS_MAX)


async def ring(service: Service, request: Request) -> Response:
    name, key = (request.query_params.get(field, "") for field in ("entity", "key"))
    found = await service.in_thread(_found, service, name, key, STEPS_MAX, [])
    shown = _ring(service.project.definitions, name, found)
    return await part(service, request, "ring.html", ring=shown, path=ring_path(PATH, name, key))


def ring_path(path: str, name: str, key: str) -> str:
    return f"{path}?{urlencode({'entity': name, 'key': key})}"


def _scope(service: Service, name: str, query: QueryParams) -> LinkChoice:
    """Read the choice from a query. If it names no `via`, those with widely shared values are left out."""
    days = query.get("days", "")
    chosen = frozenset(query.getlist("by"))
    as_of_ms = moment_ms(query.get("as_of", "").strip() or None)

    def read(links: EntityLinks, now_ms: int) -> LinkChoice:
        names = [linked.name for linked in links.events]
        used = chosen & set(names) or frozenset(names) - set(links.wide(now_ms))
        default_ms = max((linked.over_ms for linked in links.events), default=0)
        return LinkChoice(int(days) if days in map(str, DAYS) else 0, default_ms, names, frozenset(used), as_of_ms)

    return _read(service, name, as_of_ms, read)


def _read(service: Service, name: str, as_of_ms: int | None, read: Callable[[EntityLinks, int], Result]) -> Result:
    """Call `read` with the links and their time. Cost of an earlier moment: 3 µs for each event of its windows."""
    definitions = service.project.definitions
    with service.project.log.reading() as log:
        if as_of_ms is None:
            return read(newest_events(log, definitions, name), log.watermark_ms() or 0)
        then = with_past_look_ups(log, definitions, as_of_ms)
        return read(entity_links(log, then, name, as_of_ms), as_of_ms)


def _overview(service: Service, name: str, scope: LinkChoice) -> Overview:
    def read(links: EntityLinks, now_ms: int) -> Overview:
        rings = sorted(links.rings(now_ms, scope.links), key=lambda ring: (-ring.frauds, -len(ring.keys)))
        shared = links.shared(now_ms, scope.links)
        return Overview(rings[:RINGS_SHOWN], len(rings), shared[:RINGS_SHOWN])

    return _read(service, name, scope.as_of_ms, read)


def _overview_titles(service: Service, name: str, overview: Overview) -> Title:
    keys = [(name, key) for ring in overview.rings for key in ring.keys[:KEYS_NAMED]]
    keys += [(name, shared.key) for shared in overview.shared]
    keys += [(_entity(shared.via), str(shared.value)) for shared in overview.shared]
    return _names(service, keys)


def _found(
    service: Service, name: str, key: str, steps: int, hidden: Sequence[str], scope: LinkChoice | None = None
) -> Neighbourhood:
    project = service.project
    code = linked_key(project.definitions, name, known_key(project, name, key))
    scope = _scope(service, name, QueryParams()) if scope is None else scope

    def read(links: EntityLinks, now_ms: int) -> Neighbourhood:
        return links.of(code, now_ms, steps, hidden, VALUES_MAX, scope.links)

    return _read(service, name, scope.as_of_ms, read)


def _path(request: Request, name: str, key: str, changed: Mapping[str, str | int]) -> str:
    names = {"hide", "pin", "by", "days", "as_of"}
    pairs = dict.fromkeys(pair for pair in request.query_params.multi_items() if pair[0] in names)
    for toggle in {"hide", "pin"} & changed.keys():
        pair = toggle, str(changed[toggle])
        if pair in pairs:
            del pairs[pair]
        else:
            pairs[pair] = None
    steps = changed.get("steps", _steps(request.query_params.get("steps", "")))
    return f"{PATH}?{urlencode([('entity', name), ('key', key), ('steps', steps), *pairs])}"


def _ring(definitions: Definitions, name: str, found: Neighbourhood) -> str:
    values = Counter[str]()
    for via, count in found.over.items():
        values[_field(via)] += count
    over = [many(count, noun, f"{noun}es" if noun.endswith("s") else "") for noun, count in values.items()]
    beginning = "In a ring of" if has_via(definitions, name) else "Shared values link"
    keys = many(min(found.ring, RING_MAX), name.replace("_", " "))
    return f"{beginning} {'more than ' * (found.ring > RING_MAX)}{keys} over {', '.join(over)}" if over else ""


def _entity(via: str) -> str:
    return via.rpartition(".")[2].strip(")")


def _field(via: str) -> str:
    return _entity(via).replace("_", " ")


def _titles(service: Service, name: str, found: Neighbourhood) -> Title:
    """Return the display names of the first keys and values; others keep their keys. Cost: some ms each."""
    keys = [(name, member.key) for member in found.members[: DRAWN_MAX + 1]]
    keys += [(_entity(link.via), str(link.value)) for link in found.links[:DRAWN_MAX]]
    keys += [(_entity(hub.via), str(hub.value)) for hub in found.hubs[:HUBS_MAX]]
    return _names(service, keys)


def _names(service: Service, keys: Sequence[tuple[str, str]]) -> Title:
    entities = service.project.definitions.events.entities
    with service.project.log.reading() as log:
        history = service.project.history.entities(log)
        names = {key: name_of(service, history, *key) for key in keys if key[0] in entities}
    return lambda via, key: names.get((_entity(via), key), key)


def _graph(name: str, found: Neighbourhood, title: Title, pinned: Sequence[str], currency: str) -> LinkGraph:
    links = found.links
    pinned_count = sum(f"{link.via}={link.value}" in pinned for link in links)

    def drawn(member: LinkedKey, through: list[int]) -> GraphKey:
        says = ", ".join(filter(None, ("fraud" if member.frauds else member.outcome, money(member.spent, currency))))
        values = [(links[at].via, str(links[at].value)) for at in through]
        titled = [(_field(via), value, title(via, value)) for via, value in values]
        return GraphKey(title(name, member.key), says, titled, entity_path(name, member.key))

    own, *others = found.members
    values_of = defaultdict[str, list[int]](list)
    for at, link in enumerate(links):
        for key in link.keys:
            values_of[key].append(at)
    linked = [(other, values_of[other.key]) for other in others]
    linked.sort(key=lambda pair: pinned_count > 0 and pair[1][0] >= pinned_count)
    linked[:DRAWN_MAX] = sorted(linked[:DRAWN_MAX], key=lambda pair: (not pair[0].frauds, pair[1]))
    through = [at for at, link in enumerate(links) if link.step == 1]
    return link_graph(drawn(own, through), [drawn(*pair) for pair in linked], DRAWN_MAX, ROW, TITLE_MAX)


ROUTES = (
    Route("GET", PATH, Right.READ_DECISIONS, show, screen=Screen("Links", "Explore", 4)),
    Route("GET", f"{PATH}/ring", Right.READ_DECISIONS, ring),
)
