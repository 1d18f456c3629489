"""Keys of entities as texts in tables and the log: parsing, and the form in the log with hashed parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.json import decode as from_json

from shroff.errors import UsageError, nearest
from shroff.events.definitions import Entity
from shroff.events.redaction import HASHED
from shroff.language.expression import ThisField
from shroff.language.values import key_text

if TYPE_CHECKING:
    from shroff.events.definitions import Events
    from shroff.features.naive import Key

# The rules that hit an event when it was decided, each with the key that it hit, if any.
Hits = Mapping[str, str | None]


def read_key(text: str | None, entity: Entity) -> Any:
    """Parse a key (a tuple if it has several parts); None if the text is not a key of the entity."""
    parts = next((parts for parts in entity.keys.values() if parts), ())
    if text is None or (len(parts) == 1 and parts[0].type.is_text):
        return text
    try:
        found = from_json(text)
    except msgspec.DecodeError:
        return None
    if len(parts) == 1:
        return None if isinstance(found, list | dict) else found
    is_key = isinstance(found, list) and len(found) == len(parts)
    return tuple(found) if is_key and not any(isinstance(part, list | dict) for part in found) else None


def key_of(events: Events, entity: str, text: str) -> Key:
    """Parse a key as a tuple. Raises: UsageError for an unknown entity or an invalid key."""
    if entity not in events.entities:
        hint = nearest(entity, events.entities) or f"There is {', '.join(events.entities) or 'none'}."
        raise UsageError(f"there is no entity {entity!r}. {hint}")
    key = read_key(text, events.entities[entity])
    if key is None:
        cure = "One of several parts is a list as JSON, such as '[\"a\", 1]'."
        raise UsageError(f"{text!r} is not a key of {entity}. {cure}")
    return key if isinstance(key, tuple) else (key,)


def stored_key(events: Events, hasher: Callable[[str], str], entity: str, key: Key) -> Key:
    """Return a key as stored in the log; a text that looks like a hash is not hashed again."""
    name, nodes = next((name, nodes) for name, nodes in events.entities[entity].keys.items() if nodes)
    hashed = {field.name for field in events.types[name].fields if field.shape.is_hashed}

    def as_stored(part: Any, node: Any) -> Any:
        is_hashed = isinstance(node, ThisField) and node.name in hashed
        return hasher(part) if is_hashed and isinstance(part, str) and not HASHED.fullmatch(part) else part

    return tuple(as_stored(part, node) for part, node in zip(key, nodes, strict=True))


def stored_text(events: Events, hasher: Callable[[str], str], entity: str, text: str) -> str:
    """Return the text of a key as stored in the log; unchanged if it is not a key of a known entity."""
    key = read_key(text, events.entities[entity]) if entity in events.entities else None
    if key is None:
        return text
    if isinstance(key, tuple):
        return key_text(stored_key(events, hasher, entity, key))
    return key_text(stored_key(events, hasher, entity, (key,))[0])
