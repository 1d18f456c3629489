"""Fields declared `unique`: what stands for their values, by which an event may be named and a second one is found."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any

import msgspec

from shroff.events.definitions import EventType
from shroff.events.event import Event, value_writer
from shroff.language.types import Type

Named = tuple[str, str]  # a unique field and the text of its value


class UniqueFields:
    """The unique fields of event types. Values are compared by their texts: of hashed fields the hashes."""

    def __init__(self, types: Collection[EventType]) -> None:
        fields = {
            type_.name: tuple(
                (field.name, at, unique_text(field.type))
                for at, field in enumerate(type_.fields)
                if field.shape.is_unique
            )
            for type_ in types
        }
        self._fields = {name: unique for name, unique in fields.items() if unique}
        self.forms = {
            (type_.name, field.name): form_of(field.type)
            for type_ in types
            for field in type_.fields
            if field.shape.is_unique
        }

    def __bool__(self) -> bool:
        return bool(self._fields)

    def keys(self, event: Event) -> list[Named]:
        """The unique fields of an event that are there, with the texts of their values."""
        values = event.values
        return [
            (name, text(values[at])) for name, at, text in self._fields.get(event.type, ()) if values[at] is not None
        ]


@cache
def unique_text(type_: Type) -> Callable[[Any], str]:
    """What gives the text of a value: as the log stores it, so that equal values have equal texts."""
    if type_.is_text:
        return str
    write = value_writer(type_)
    return lambda value: msgspec.json.encode(value if write is None else write(value)).decode().strip('"')


def form_of(type_: Type) -> str:
    """What the texts of a type depend on: values of another form are not compared."""
    return f"{type_.kind}({type_.places})" if type_.kind in {"money", "number"} else type_.kind
