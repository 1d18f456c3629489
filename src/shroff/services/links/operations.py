"""Operations on links: values that link a key to others, and rings of linked keys as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Final

import msgspec

from shroff import config
from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.explain.links import Hub, KeyLink, LinkedKey, Ring, UnknownEntityError, entity_links, linked_key
from shroff.features.key_texts import stored_text
from shroff.json_types import TextDict
from shroff.language.expression import Aggregate, aggregates
from shroff.log.past_look_ups import with_past_look_ups
from shroff.operations.declaration import Argument, OperationAnswer, OperationRequest, ProgressSteps, group, operation
from shroff.project.definitions import Definitions, computed_of
from shroff.runtime.texts import TextTable, many, one_line, shown
from shroff.services.cases.project_cases import RING, RINGS
from shroff.services.lookup_tables.operations import table_row, with_table, write_checked
from shroff.services.project import Project
from shroff.services.project_log import ProjectLog

FILE = f"tables/{RINGS}.csv"
COLUMNS = ("ring", "cards", "frauds", "spent")
WRITTEN = "The rings are written; they become active with the next command that writes."
KEYS_SHOWN = 5
STEPS_MAX = 9

group(
    "rings",
    """Rings: keys that are linked with each other by shared values, over any number of steps.

    They are the table 'rings' of the project, which rules read as tables.rings[this.card].cards.

    Examples:
        shroff rings build
        shroff rings build card --as-of 2026-03-01
    """,
)


# ---- links of one key


class ShowLinks(OperationRequest["EntityLinksAnswer"]):
    """
    Args:
        entity (ENTITY): The entity.
        key (KEY): The key as text; of several parts as a JSON list.
        as_of (T): A time or a day.  [default: the time of the newest event]
        steps (N): How many shared values may lie between.
    """

    entity: str
    key: str
    as_of: str | None = None
    steps: Annotated[int, msgspec.Meta(ge=1, le=STEPS_MAX)] = 1


LINKS: Final = TextTable(
    {
        "via": "via",
        "value": lambda link: shown(link.value),
        "linked to": lambda link: _some(link.keys),
        "frauds": "frauds",
        "spent": "spent",
    }
)


class EntityLinksAnswer(OperationAnswer):
    """The values that a key shares with others at a moment.

    Each link has the other keys, and of the events with the value the number, the frauds, the money, the first and the
    last time. `hubs` are values that too many keys share to link any. `members` are the key and those that it is linked
    to. `ring` counts all that any number of steps reach, the key included, up to 1,000.
    """

    entity: str
    key: str
    as_of: TimeText
    links: list[KeyLink]
    hubs: list[Hub]
    members: list[LinkedKey]
    ring: int
    NEXT: ClassVar = ("shroff rings build",)

    def text(self) -> str:
        ring = f", in a ring of {self.ring:,} keys" if self.ring > 1 else ""
        head = f"{self.entity} {one_line(self.key)} at {self.as_of}: {many(len(self.links), 'link')}{ring}."
        hubs = [
            f"Left out, as too many share it: {hub.via} {one_line(shown(hub.value))}, {many(hub.keys, 'key')}."
            for hub in self.hubs
        ]
        return "\n".join([LINKS.headed(head, self.links), *hubs])


def _some(keys: Sequence[str]) -> str:
    more = f" and {len(keys) - KEYS_SHOWN} more" if len(keys) > KEYS_SHOWN else ""
    return ", ".join(map(one_line, keys[:KEYS_SHOWN])) + more


@operation("links", right="read:decisions", http="GET /entities/{entity}/{key}/links", refusals=[UnknownEntityError])
def show_links(log: ProjectLog, definitions: Definitions, request: ShowLinks) -> EntityLinksAnswer:
    """Show by which values a key is linked to other keys of its entity, and what happened with them.

    The values are those that features read by 'via', each in its longest window; without such features, the keys of
    other entities in 30 days. Labels count as they were known at the moment.

    Examples:
        shroff links card c-17
        shroff links card c-17 --as-of 2026-03-01T12:00:00Z --json
    """
    from shroff.replay.notebook import moment_ms

    text = stored_text(definitions.events, log.hasher, request.entity, request.key)
    key, as_of_ms = linked_key(definitions, request.entity, text), moment_ms(request.as_of, "--as-of")
    with log.reading() as reader:
        definitions = with_past_look_ups(reader, definitions, as_of_ms)
        as_of_ms = (reader.watermark_ms() or 0) if as_of_ms is None else as_of_ms
        links = entity_links(reader, definitions, request.entity, as_of_ms).of(key, as_of_ms, request.steps)
    return EntityLinksAnswer(
        entity=request.entity,
        key=text,
        as_of=time_text(as_of_ms),
        links=links.links,
        hubs=links.hubs,
        members=links.members,
        ring=links.ring,
    )


# ---- rings


class BuildRings(OperationRequest["RingsBuilt"]):
    """The entity whose keys are put into rings, and the moment.

    Args:
        entity (ENTITY): The entity.  [default: that of the first feature with 'via']
        as_of (T): A time or a day.  [default: the time of the newest event]
    """

    entity: Argument = ""
    as_of: str | None = None


class RingsBuilt(OperationAnswer):
    """The rings that are in the table; `seq` is the place of the control event with which it is active.

    `in_force` says whether it is active, else `why_not`. `joined` counts cases that closed since a case of their ring
    has their alerts now.
    """

    entity: str
    as_of: TimeText
    rings: int
    keys: int
    largest: int
    seq: int
    in_force: bool
    why_not: str | None
    joined: int
    NEXT: ClassVar = ("shroff check",)

    def text(self) -> str:
        summary = (
            f"{many(self.rings, 'ring')} of {many(self.keys, 'key')} of {self.entity}, the largest of {self.largest:,}."
        )
        state = f"Active from sequence number {self.seq:,} on." if self.in_force else f"Not active: {self.why_not}"
        joined = f" {many(self.joined, 'open case')} joined." if self.joined else ""
        return f"{summary} {FILE} is written. {state}{joined}"


@operation("rings build", right="edit:lists", is_long=True)
def build_rings(project: Project, progress: ProgressSteps, request: BuildRings) -> RingsBuilt:
    """Find rings of linked keys and make them active as the table 'rings'.

    Links are those of 'shroff links'. Two keys are in one ring where values connect them, over any number of steps. The
    table has for each key of a ring: ring, its first key; cards, its number of keys; frauds and spent, of the events of
    its keys in the window. The declaration is added to events.yaml where it is missing. Made twice of the same log, the
    table is the same, byte by byte.

    Examples:
        shroff rings build
        shroff rings build card --as-of 2026-03-01 --json
    """
    from shroff.replay.notebook import moment_ms

    context, definitions = project.context, project.definitions
    entity, as_of_ms = request.entity or _first_linked(definitions), moment_ms(request.as_of, "--as-of")
    with project.log.reading() as log:
        then = with_past_look_ups(log, definitions, as_of_ms)
        as_of_ms = (log.watermark_ms() or 0) if as_of_ms is None else as_of_ms
        counted = progress.counting("reading links, events", log.last_seq())
        links = entity_links(log, then, entity, as_of_ms, counted)
    if not links.events:
        raise UsageError(
            f"nothing links keys of {entity}: no feature of it has 'via', and no other entity has a key at its events. "
            f"Write such a feature: linked: distinct(payment.{entity} via payment.device) over 30d"
        )
    rings = links.rings(as_of_ms)
    key = _key_type(definitions, entity)
    with config.editing(context.paths):
        context.reload()
        files = config.read_files(context.paths.folder, [])
        changes = {FILE: _csv(entity, rings), "events.yaml": _declared(project.definitions, files, entity, key)}
        changes = {name: text for name, text in changes.items() if text != files.get(name)}
        if changes:
            write_checked(project, changes, "rings.build", RINGS)
    context.reload()
    why_not = project.requests.put_in_force(WRITTEN, [FILE, "events.yaml"], rows_alone=False)
    with project.log.reading() as log:
        seq = max((record.seq for record in log.controls()), default=0)
    joined = (project.cases.join_rings(context.case_service) or 0) if not why_not else 0
    return RingsBuilt(
        entity=entity,
        as_of=time_text(as_of_ms),
        rings=len(rings),
        keys=sum(len(ring.keys) for ring in rings),
        largest=max((len(ring.keys) for ring in rings), default=0),
        seq=seq,
        in_force=not why_not,
        why_not=why_not or None,
        joined=joined,
    )


def ring_of(definitions: Definitions, entity: str, key: str) -> Mapping[str, str | None]:
    """Return the row of table `rings` for a key of its entity, or for a ring; empty if it is in none."""
    declared = linked_entity(definitions, RING)
    if declared == RING or entity not in {declared, RING}:
        return {}
    row = table_row(definitions, RINGS, key, 0)
    return row.values if row else {}


def linked_entity(definitions: Definitions, entity: str) -> str:
    """Return the entity whose keys are linked; for rings, that of their keys."""
    return definitions.events.table_keys.get(RINGS, entity) if entity == RING else entity


def _csv(entity: str, rings: Sequence[Ring]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow((entity, *COLUMNS))
    rows = [(key, ring.keys[0], len(ring.keys), ring.frauds, ring.spent or "") for ring in rings for key in ring.keys]
    writer.writerows(sorted(rows))
    return out.getvalue()


def _declared(definitions: Definitions, files: TextDict, entity: str, key: str) -> str:
    """Return events.yaml with the table declared. Raises: UsageError if another table has its name."""
    text = files.get("events.yaml", "")
    columns = f"{{ {entity}: {key}, ring: text, cards: integer, frauds: integer, spent: money }}"
    table_ = definitions.events.tables.get(RINGS)
    if table_ is not None:
        if definitions.events.table_keys[RINGS] != entity or set(table_.columns) != set(COLUMNS):
            raise UsageError(f"events.yaml declares another table {RINGS}. Write {RINGS}: {columns}")
        return text
    return with_table(text, RINGS, columns)


def _first_linked(definitions: Definitions) -> str:
    nodes = [computed.node for computed in computed_of(definitions)]
    linked: list[Aggregate] = [
        aggregate for node in nodes for aggregate in aggregates(node) if aggregate.via is not None
    ]
    return linked[0].entity if linked else next(iter(definitions.events.entities), "")


def _key_type(definitions: Definitions, entity: str) -> str:
    """Return the column type for an entity's keys. Raises: UsageError for keys of several parts."""
    parts = next((parts for parts in definitions.events.entities[entity].keys.values() if parts), ())
    if len(parts) != 1 or parts[0].type.kind not in {"text", "choice", "integer"}:
        raise UsageError(f"rings are of entities whose key is one text or whole number, which that of {entity} is not.")
    kind = "integer" if parts[0].type.kind == "integer" else "text"
    return f"{kind} hashed" if parts[0].type.hashing else kind
