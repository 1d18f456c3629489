"""Routes of flags of an entity and the verdicts on them, and readers of flags that pages share."""

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
    query = request.query_params
    entity = query.get("entity", "")
    key = query.get("key", "")
    if not entity or not key:
        raise ProblemError(400, "bad-query", "The entity is missing", "write ?entity=card&key=c-1")
    limit = limit_of(query)
    before = cursor_of(query, tuple[int, str])
    if ("field" in query) != ("value" in query):
        raise ProblemError(400, "bad-query", "Half of the filter is missing", "write &field=account&value=a-1")
    filters = {query["field"]: query["value"]} if "field" in query else {}
    rows = await service.in_thread(flagged, service.project, entity, key, filters, limit + 1, before)
    page, last = parted(rows, limit)
    cursor = None if last is None else next_of((last.row.seq, last.row.rule))
    return Json({"flags": await shown(service, page), "next": cursor})


async def shown(service: Service, rows: Sequence[Flagged], *, is_whole: bool = False) -> list[FlagShown]:
    """Return the JSON of flags with their verdicts; those hidden from a second review only with `is_whole`."""
    read_verdicts = in_force if is_whole else verdicts
    verdict_by_event = await read_verdicts(service, [flag.row.event for flag in rows])
    return [
        {**document(flag.row, verdict_by_event.get(flag.row.event)), "fields": flag.fields, "also": flag.also}
        for flag in rows
    ]


def flagged(
    project: Project,
    entity: str,
    key: str,
    wanted: Mapping[str, object],
    limit: int,
    before: tuple[int, str] | None = None,
) -> list[Flagged]:
    """Return flags of a key before `before`, newest first; only of events with the field values in `wanted`.

    A key or value in clear is hashed if the log stores it hashed.

    Raises: UnknownEntityError; BadQueryError for a field that no event type has.
    """
    types = project.definitions.events.types
    hasher = project.log.hasher
    fields = {field.name: field.shape.is_hashed for type_ in types.values() for field in type_.fields}
    for name in wanted.keys() - fields.keys():
        raise BadQueryError(f"no event type has a field {name!r}. {nearest(name, fields)}".rstrip())

    def matches(values: Mapping[str, object] | None) -> bool:
        return values is not None and all(_text(values.get(name)) in texts for name, texts in accepted.items())

    texts = {name: _text(value) for name, value in wanted.items()}
    accepted = {name: {text, hasher(text)} if fields[name] else {text} for name, text in texts.items()}
    rows: list[Flagged] = []
    key = known_key(project, entity, key)
    size = max(limit, LIMIT_MAX) if wanted else limit
    while len(rows) < limit:
        page = _page(project, entity, key, before, size)
        rows += [flag for flag in page if not wanted or matches(flag.fields)]
        if len(page) < size:
            break
        before = (page[-1].row.seq, page[-1].row.rule)
    return rows[:limit]


def _text(value: object) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


async def judge(service: Service, request: Request) -> Json[FlagShown]:
    """Record whether a flag was right, as an analyst's label of its event. It judges all flags of that event.

    Repeating the last label of an analyst changes nothing.
    """
    judgement = decoded(await request.body(BODY_BYTES_MAX), FlagJudgement)
    if judgement.accuracy not in VERDICTS:
        detail = f"accuracy: it is {' or '.join(VERDICTS)}"
        raise ProblemError(422, "bad-body", "The body cannot be read", detail)
    row = await service.in_thread(_flag, service.project, request.path_params["id"])
    earlier = (await in_force(service, [row.event])).get(row.event)
    label_content = Said(VERDICTS[judgement.accuracy], ANALYST, judgement.reason or None)
    if earlier is not None and await service.in_thread(_said_last, service.project, row) == label_content:
        return Json(await _judged(service, row))
    label = {
        "event": row.event,
        "verdict": label_content.verdict,
        "source": label_content.source,
        "known_at": time_text(service.project.context.now_ms()),
        "reason": judgement.reason,
    }
    reader = service.writer.label_reader()
    submission = undated(reader.one(LABEL, to_json(label), request.who.id))
    earlier_flag = document(row, earlier)
    act = Act(request.who, "flag.judge", f"flag {earlier_flag['id']}", earlier_flag["accuracy"], judgement.accuracy)
    decimals = service.project.definitions.settings.money_places
    (result,) = await service.writer.ask(act, LABELS, [labels_request([submission], decimals)])
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
    """Return the active verdicts of these events, without those of analysts that a second review must not see."""
    active = await in_force(service, events)
    by_analysts = [name for name, verdict in active.items() if verdict.source == ANALYST]
    unseen = await service.in_thread(hidden, service.cases, by_analysts)
    return {name: verdict for name, verdict in active.items() if name not in unseen}


async def in_force(service: Service, events: Sequence[str]) -> Mapping[str, VerdictInForce]:
    """Return the active verdicts of these events, from the writer's state if this service leads the log.

    If a verdict becomes known only in the future, all labels are read to find the verdicts of now.
    """
    names = frozenset(events)
    now_ms = service.project.context.now_ms()

    def select(verdict_by_event: Mapping[str, VerdictInForce]) -> dict[str, VerdictInForce]:
        return {name: verdict_by_event[name] for name in names if name in verdict_by_event}

    def of_writer(writer: Writer, log: Log) -> dict[str, VerdictInForce]:
        return select(writer.state.standings)

    def of_log() -> dict[str, VerdictInForce]:
        with service.project.log.reading() as log:
            return service.verdicts.of(log, names)

    def as_of_now() -> Mapping[str, VerdictInForce]:
        with service.project.log.reading() as log:
            as_of_ms = now_of(log, now_ms)
            return newest if as_of_ms >= newest_ms else select(verdicts_as_of(log, as_of_ms))

    if not names:
        return {}
    newest = await (service.writer.run(of_writer) if service.is_ready else service.in_thread(of_log))
    newest_ms = max((verdict.known_at_ms for verdict in newest.values()), default=now_ms)
    return newest if newest_ms <= now_ms else await service.in_thread(as_of_now)


def known_key(project: Project, entity: str, key: str) -> str:
    """Return a key as the log stores it: hashed if the entity's keys are. Raises: UnknownEntityError."""
    check_entity(project.definitions, entity)
    return stored_text(project.definitions.events, project.log.hasher, entity, key)


def document(row: FlagRow, verdict: VerdictInForce | None) -> Flag:
    """Return the JSON of a flag. Its id consists of sequence number and rule."""
    return judged(row, verdict).document


def _page(project: Project, entity: str, key: str, before: tuple[int, str] | None, limit: int) -> list[Flagged]:
    try:
        with project.log.reading() as log:
            return with_fields(log, log.flags.of(entity, key, before, limit))
    except UsageError:  # no log yet
        return []


def with_fields(log: Log, rows: Sequence[FlagRow]) -> list[Flagged]:
    records = log.records_at({row.seq for row in rows})
    rules_by_seq = {
        seq: [flag.rule for flags in log.flags.after(seq - 1, seq) for flag in flags]
        for seq in {row.seq for row in rows}
    }
    return [
        Flagged(
            row,
            fields_of(records[row.seq]) if row.seq in records else None,
            [f"{row.seq}-{rule}" for rule in rules_by_seq[row.seq] if rule != row.rule],
        )
        for row in rows
    ]


def _flag(project: Project, id_: str) -> FlagRow:
    """Return the flag with an id such as `12-velocity`. Raises: ProblemError with 404 if there is none."""
    number, sign, rule = id_.partition("-")
    if sign and number.isdecimal() and number.isascii() and 0 < len(number) < 19:
        seq = int(number)
        with project.log.reading() as log:
            for rows in log.flags.after(seq - 1, seq):
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
