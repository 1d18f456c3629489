"""Keys of entities as people write them, and as the log has them: parts that are hashed fields, hashed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shroff.events.kept import HASHED
from shroff.features.key_texts import read_key
from shroff.language.expression import ThisField
from shroff.language.shares import key_text

if TYPE_CHECKING:
    from shroff.events.definitions import Events
    from shroff.features.naive import Key


def stored_key(events: Events, hasher: Callable[[str], str], entity: str, key: Key) -> Key:
    """A key as the log has it; what looks like a hash is one."""
    name, nodes = next((name, nodes) for name, nodes in events.entities[entity].keys.items() if nodes)
    hashed = {one.name for one in events.types[name].fields if one.shape.is_hashed}

    def as_stored(part: Any, node: Any) -> Any:
        is_hashed = isinstance(node, ThisField) and node.name in hashed
        return hasher(part) if is_hashed and isinstance(part, str) and not HASHED.fullmatch(part) else part

    return tuple(as_stored(part, node) for part, node in zip(key, nodes, strict=True))


def stored_text(events: Events, hasher: Callable[[str], str], entity: str, text: str) -> str:
    """The same for the text of a key; one that is no key of an entity there is, as it is."""
    key = read_key(text, events.entities[entity]) if entity in events.entities else None
    if key is None:
        return text
    if isinstance(key, tuple):
        return key_text(stored_key(events, hasher, entity, key))
    return key_text(stored_key(events, hasher, entity, (key,))[0])
