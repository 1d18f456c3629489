"""Keys of entities that are texts, in tables and the log, as keys again (see `language.shares.key_text`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from shroff.events.definitions import Entity

# The rules that hit an event when it was decided, each with the key that it hit, if it had one.
Hits = Mapping[str, str | None]


def read_key(text: str | None, entity: Entity) -> Any:
    """The key of an entity that such a text stands for, of several parts as a tuple; None where it is no key of it."""
    parts = next((parts for parts in entity.keys.values() if parts), ())
    if text is None or (len(parts) == 1 and parts[0].type.is_text):
        return text
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    if len(parts) == 1:
        return None if isinstance(found, list | dict) else found
    is_key = isinstance(found, list) and len(found) == len(parts)
    return tuple(found) if is_key and not any(isinstance(part, list | dict) for part in found) else None
