"""Operation that lists keys of an entity: the newest, or those with a prefix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shroff.events.event import TimeText, time_text
from shroff.explain.links import UnknownEntityError, check_entity
from shroff.features.key_texts import stored_text
from shroff.operations.declaration import Argument, OperationAnswer, OperationRequest, operation
from shroff.operations.pagination import LIMIT, Cursor, Limit, cursor_of, next_of
from shroff.runtime.texts import TextTable, argument, many
from shroff.runtime.values import FrozenStruct
from shroff.services.project import Project

FLAGS_MAX = 20  # counted per key


class ListKeys(OperationRequest["EntityKeys"]):
    """
    Args:
        entity (ENTITY): The entity.
        prefix (TEXT): Only keys that begin so.
    """

    entity: str
    prefix: Argument = ""
    limit: Limit = LIMIT
    cursor: Cursor = ""


class ListedKey(FrozenStruct):
    """A key with its newest event. `flagged` has the newest events at which rules flagged it, at most 20."""

    key: str
    name: str
    event: str
    time: TimeText
    about: str
    outcome: str | None
    score: float | None
    rules: list[str]
    flagged: list[str]


KEYS: Final = TextTable(
    {
        "key": "key",
        "newest event": "time",
        "": "about",
        "outcome": ("outcome", "-"),
        "flags": lambda key: len(key.flagged),
    }
)


class EntityKeys(OperationAnswer):
    """Keys of an entity, those with the newest events first.

    All events behind `looked_to` were searched; 0 is all of the log. Continue there with `next`.
    """

    entity: str
    keys: list[ListedKey]
    looked_to: int
    next: str | None

    def text(self) -> str:
        more = f", searched back to sequence number {self.looked_to + 1:,}" if self.looked_to else ""
        head = f"{many(len(self.keys), 'key')} of {self.entity}{more}."
        return KEYS.headed(head, self.keys)

    def hints(self) -> Sequence[str]:
        return [f"shroff links {self.entity} {argument(self.keys[0].key)}"] if self.keys else []


@operation("entities", right="read:decisions", http="GET /entities/{entity}", refusals=[UnknownEntityError])
def list_keys(project: Project, request: ListKeys) -> EntityKeys:
    """List keys of an entity with their newest events and flags: the newest keys, or those that begin with a text.

    A whole key is found in the whole log. Beginnings are searched from the newest event back, for a fifth of a second
    at once.

    Examples:
        shroff entities card
        shroff entities card c-12 --limit 10 --json
    """
    from shroff.explain.entities import summary_in

    definitions, name = project.definitions, request.entity
    check_entity(definitions, name)
    prefix = stored_text(definitions.events, project.log.hasher, name, request.prefix)
    with project.log.reading() as log:
        look, before = project.history.entities(log), cursor_of({"cursor": request.cursor}, int)
        page, looked_to = look.newest_keys(name, prefix, before, request.limit)
        keys = []
        for key, event in page.items():
            summary = summary_in(definitions, event.record)
            keys.append(
                ListedKey(
                    key=key,
                    name=summary.name_of(name, key),
                    event=f"{event.record.type}/{event.record.id}",
                    time=time_text(event.record.time_ms),
                    about=summary.title,
                    outcome=event.outcome or None,
                    score=event.score,
                    rules=list(event.rules),
                    flagged=[flag.event for flag in log.flags.of(name, key, limit=FLAGS_MAX)],
                )
            )
    is_all = looked_to <= 0
    return EntityKeys(entity=name, keys=keys, looked_to=looked_to, next=None if is_all else next_of(looked_to + 1))
