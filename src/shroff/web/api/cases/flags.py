"""Flags of an entity, and verdicts on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, NamedTuple, TypedDict

import msgspec
from msgspec.json import encode as to_json

from shroff.cases.case_queries import hidden
from shroff.errors import UsageError, nearest
from shroff.events.definitions import ANALYST
from shroff.events.event import Scalar, time_text
from shroff.events.intake import undated
from shroff.events.mapping import LABEL
from shroff.explain.entities import fields_of
from shroff.explain.links import check_entity
from shroff.features.key_texts import stored_text
from shroff.log.flags import ACCURACY, judged
from shroff.log.flags import verdicts as verdicts_as_of
from shroff.log.history import Said, said_last
from shroff.log.later_labels import now_of
from shroff.operations.pagination import LIMIT_MAX, BadQueryError, cursor_of, limit_of, next_of, parted
from shroff.people.access import Right
from shroff.people.audit import Act
from shroff.runtime.values import replace
from shroff.streams.delivering_rows import Flag
from shroff.streams.log import FlagRow
from shroff.web.api.events import label_shown
from shroff.web.http.messages import PROBLEM, Json, Request, decoded
from shroff.web.http.problems import ProblemError
from shroff.web.http.routes import PAGED, api
from shroff.worker.inbox import LABELS, answers_of, labels_request

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shroff.events.labels import VerdictInForce
    from shroff.log.writer import Writer
    from shroff.services.project import Project
    from shroff.streams.log import Log
    from shroff.web.service import Service

VERDICTS = {accuracy: verdict for verdict, accuracy in ACCURACY.items()}
BODY_BYTES_MAX = 64 * 1024


class FlagJudgement(msgspec.Struct, forbid_unknown_fields=True):
    """The verdict on a flag."""

    accuracy: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(VERDICTS)})]
    reason: str | None = None


class FlagShown(Flag):
    """A flag with the fields of its event (null once the event has left the log after `keep`).

    `also` are the other flags of that event: a label is of the event, so it judges them all.
    """

    fields: dict[str, Scalar] | None
    also: list[str]


class Flags(TypedDict):
    """A page of flags, the newest first."""

    flags: list[FlagShown]
    next: str | None


class Flagged(NamedTuple):
    """A flag, the fields of its event, and the ids of its event's other flags."""

    row: FlagRow
    fields: dict[str, Scalar] | None
    also: list[str]


async def flags(service: Service, request: Request) -> Json[Flags]:
    """Flags of one key of an entity, newest first; with `field` and `value`, those whose event has this value."""
    query = request.query_params
    entity = query.get("entity", "")
    key = query.get("key", "")
    if not entity or not key:
        raise ProblemError(400, "bad-query", "The entity is missing", "write ?entity=card&key=c-1")
    limit = limit_of(query)
    before = cursor_of(query, tuple[int, str])
    if ("field" in query) != ("value" in query):
        raise ProblemError(400, "bad-query", "Half of the filter is missing", "write &field=account&value=a-1")
    wanted = {query["field"]: query["value"]} if "field" in query else {}
    found = await service.in_thread(flagged, service.project, entity, key, wanted, limit + 1, before)
    page, last = parted(found, limit)
    cursor = None if last is None else next_of((last.row.seq, last.row.rule))
    return Json({"flags": await shown(service, page), "next": cursor})


async def shown(service: Service, found: Sequence[Flagged], *, is_whole: bool = False) -> list[FlagShown]:
    """Flags as the API shows them to the caller, who judged them where `is_whole`."""
    of = in_force if is_whole else verdicts
    standings = await of(service, [flagged_row.row.event for flagged_row in found])
    return [
        {
            **document(flagged_row.row, standings.get(flagged_row.row.event)),
            "fields": flagged_row.fields,
            "also": flagged_row.also,
        }
        for flagged_row in found
    ]


def flagged(
    project: Project,
    entity: str,
    key: str,
    wanted: Mapping[str, object],
    limit: int,
    before: tuple[int, str] | None = None,
) -> list[Flagged]:
    """Flags of a key, the newest first; of those whose event has these values of its fields, where some are named.

    A key or value in clear is hashed where the log has it hashed. Raises: UnknownEntityError; BadQueryError where no
    event type has a field.
    """
    types = project.definitions.events.types
    hasher = project.log.hasher
    fields = {field.name: field.shape.is_hashed for type_ in types.values() for field in type_.fields}
    for name in wanted.keys() - fields.keys():
        raise BadQueryError(f"no event type has a field {name!r}. {nearest(name, fields)}".rstrip())

    def is_wanted(values: Mapping[str, object] | None) -> bool:
        return values is not None and all(_text(values.get(name)) in texts for name, texts in given.items())

    texts = {name: _text(value) for name, value in wanted.items()}
    given = {name: {text, hasher(text)} if fields[name] else {text} for name, text in texts.items()}
    found: list[Flagged] = []
    key = known_key(project, entity, key)
    size = max(limit, LIMIT_MAX) if wanted else limit
    while len(found) < limit and (page := _page(project, entity, key, before, size)):
        found += [flagged_row for flagged_row in page if not wanted or is_wanted(flagged_row.fields)]
        before = (page[-1].row.seq, page[-1].row.rule)
        if len(page) < size:
            break
    return found[:limit]


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


async def judge(service: Service, request: Request) -> Json[FlagShown]:
    """Say whether a flag was right: the label `fraud` or `genuine` of its event, by an analyst.

    It judges all flags of that event; the answer names the others.

    The same again, when it is what an analyst said of that event last, changes nothing.
    """
    given = decoded(await request.body(BODY_BYTES_MAX), FlagJudgement)
    if given.accuracy not in VERDICTS:
        words = f"accuracy: it is {' or '.join(VERDICTS)}"
        raise ProblemError(422, "bad-body", "The body cannot be read", words)
    row = await service.in_thread(_flag, service.project, request.path_params["id"])
    before = (await in_force(service, [row.event])).get(row.event)
    said = Said(VERDICTS[given.accuracy], ANALYST, given.reason or None)
    if before is not None and await service.in_thread(_said_last, service.project, row) == said:
        return Json(await _judged(service, row))
    label = {
        "event": row.event,
        "verdict": said.verdict,
        "source": said.source,
        "known_at": time_text(service.project.context.now_ms()),
        "reason": given.reason,
    }
    reader = service.writer.label_reader()
    submission = undated(reader.one(LABEL, to_json(label), request.who.id))
    then = document(row, before)
    act = Act(request.who, "flag.judge", f"flag {then['id']}", then["accuracy"], given.accuracy)
    places = service.project.definitions.settings.money_places
    (result,) = await service.writer.ask(act, LABELS, [labels_request([submission], places)])
    status, body = label_shown(answers_of(result)[0])
    if status != 200:
        return Json(msgspec.Raw(body), status, media_type=PROBLEM)
    return Json(await _judged(service, row))


async def _judged(service: Service, row: FlagRow) -> FlagShown:
    def read() -> list[Flagged]:
        with service.project.log.reading() as log:
            return with_fields(log, [row])

    (flag,) = await shown(service, await service.in_thread(read), is_whole=True)
    return flag


async def verdicts(service: Service, events: Sequence[str]) -> Mapping[str, VerdictInForce]:
    """Return the verdicts in force, without those of analysts that a second review must not see."""
    found = await in_force(service, events)
    unseen = await service.in_thread(hidden, service.cases, [name for name in found if found[name].source == ANALYST])
    return {name: verdict for name, verdict in found.items() if name not in unseen}


async def in_force(service: Service, events: Sequence[str]) -> Mapping[str, VerdictInForce]:
    """The verdicts in force of these events: as the state of the writer has them, else as the log has.

    Where one of them becomes known only later, a pass over all labels finds what it hides until then.
    """
    wanted = frozenset(events)
    now_ms = service.project.context.now_ms()

    def only(known: Mapping[str, VerdictInForce]) -> dict[str, VerdictInForce]:
        return {name: known[name] for name in wanted if name in known}

    def standing(writer: Writer, log: Log) -> dict[str, VerdictInForce]:
        return only(writer.state.standings)

    def read() -> dict[str, VerdictInForce]:
        with service.project.log.reading() as log:
            return service.verdicts.of(log, wanted)

    def known() -> Mapping[str, VerdictInForce]:
        with service.project.log.reading() as log:
            as_of_ms = now_of(log, now_ms)
            return found if as_of_ms >= newest_ms else only(verdicts_as_of(log, as_of_ms))

    if not wanted:
        return {}
    found = await (service.writer.run(standing) if service.is_ready else service.in_thread(read))
    newest_ms = max((verdict.known_at_ms for verdict in found.values()), default=now_ms)
    return found if newest_ms <= now_ms else await service.in_thread(known)


def known_key(project: Project, entity: str, key: str) -> str:
    """The key of an entity as the log has it: a key in clear is hashed where the entity's keys are.

    Raises: UnknownEntityError.
    """
    check_entity(project.definitions, entity)
    return stored_text(project.definitions.events, project.log.hasher, entity, key)


def document(row: FlagRow, standing: VerdictInForce | None) -> Flag:
    """A flag as its caller may see it. Its id is its sequence number and rule."""
    return judged(row, standing).document


def _page(project: Project, entity: str, key: str, before: tuple[int, str] | None, limit: int) -> list[Flagged]:
    try:
        with project.log.reading() as log:
            return with_fields(log, log.flags_of(entity, key, before, limit))
    except UsageError:  # no log yet
        return []


def with_fields(log: Log, rows: Sequence[FlagRow]) -> list[Flagged]:
    records = log.records_at({row.seq for row in rows})
    every = {
        seq: [row.rule for rows in log.flags_after(seq - 1, seq) for row in rows] for seq in {row.seq for row in rows}
    }
    return [
        Flagged(
            row,
            fields_of(records[row.seq]) if row.seq in records else None,
            [f"{row.seq}-{rule}" for rule in every[row.seq] if rule != row.rule],
        )
        for row in rows
    ]


def _flag(project: Project, id_: str) -> FlagRow:
    """Raises: ProblemError with 404 where there is none."""
    place, sign, rule = id_.partition("-")
    if sign and place.isdecimal() and place.isascii() and 0 < len(place) < 19:
        seq = int(place)
        with project.log.reading() as log:
            for rows in log.flags_after(seq - 1, seq):
                for row in rows:
                    if row.rule == rule:
                        return row
    raise ProblemError(404, "no-flag", "There is no such flag", f"there is no flag {id_!r}")


def _said_last(project: Project, row: FlagRow) -> Said | None:
    with project.log.reading() as log:
        last = said_last(log, row.event, row.seq, ANALYST)
    return None if last is None else replace(last, amount=None)


ROUTES = (
    api("GET", "/flags", Right.READ_DECISIONS, flags)(
        "List the flags of one key of an entity, newest first.",
        "A page of flags.",
        problems={400: "", 404: ""},
        query={
            "entity": "The entity, such as card.",
            "key": "The key, such as c-1.",
            "field": "A field of the flagged event, such as account: only flags whose event has this `value` there.",
            "value": "The value of `field`.",
            **PAGED,
        },
        required=("entity", "key"),
    ),
    api("PATCH", "/flags/{id}", Right.WRITE_LABELS, judge)(
        "Record whether a flag was right. The answer becomes an analyst's label, fraud or genuine, of its event: it "
        "judges all flags of that event.",
        "The flag, and the other flags that the label judged.",
        FlagJudgement,
        {404: ""},
    ),
)
