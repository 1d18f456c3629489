"""Fields declared `unique`: texts of their values, by which labels name an event and repeated events are found."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import cache
from typing import Any, TypeVar

from msgspec.json import encode as to_json

from shroff.events.definitions import EventType
from shroff.events.event import Event, value_writer
from shroff.language.types import Type

Named = tuple[str, str]  # a unique field and the text of its value
Known = TypeVar("Known")


class UniqueFields:
    """The unique fields of event types. Values are compared by their texts, those of hashed fields by their hashes.

    With `unique within 7d`, the text begins with the number of the event's 7-day period since 1970. Two events with the
    same text are then at most 7 days apart, so only one is accepted. An earlier event within 7 days has the number of
    the same, the previous or the next period, so a look-up of three texts finds it.
    """

    def __init__(self, types: Collection[EventType]) -> None:
        fields = {
            type_.name: tuple(
                (field.name, at, unique_text(field.type), field.shape.within_ms)
                for at, field in enumerate(type_.fields)
                if field.shape.is_unique
            )
            for type_ in types
        }
        self._fields = {name: unique for name, unique in fields.items() if unique}
        self.forms = {
            (type_.name, field.name): form_of(field.type, field.shape.within_ms)
            for type_ in types
            for field in type_.fields
            if field.shape.is_unique
        }

    def __bool__(self) -> bool:
        return bool(self._fields)

    def keys(self, event: Event) -> list[Named]:
        """Return the unique fields of an event that have a value, with the texts of their values."""
        values = event.values
        return [
            (name, f"{event.time_ms // within_ms}:{text(values[at])}" if within_ms else text(values[at]))
            for name, at, text, within_ms in self._fields.get(event.type, ())
            if values[at] is not None
        ]

    def near(self, event: Event) -> list[tuple[Named, int]]:
        """Return the texts of events that this one may repeat, each with the allowed distance in ms."""
        values = event.values
        return [
            ((name, f"{event.time_ms // within_ms + step}:{text(values[at])}"), within_ms)
            for name, at, text, within_ms in self._fields.get(event.type, ())
            if within_ms and values[at] is not None
            for step in (0, -1, 1)
        ]

    def repeated(
        self, event: Event, find: Callable[[tuple[str, str, str]], Known | None], time_ms: Callable[[Known], int]
    ) -> Known | None:
        """Return an event that this one repeats, by a field that is unique within a duration; None if there is none.

        Args:
            find: Looks up an event by type, field and text.
            time_ms: Returns the time of an event from `find`.
        """
        for (name, text), within_ms in self.near(event):
            found = find((event.type, name, text))
            if found is not None and abs(time_ms(found) - event.time_ms) <= within_ms:
                return found
        return None


@cache
def unique_text(type_: Type) -> Callable[[Any], str]:
    """Return the function that writes a value as the log stores it, so that equal values have equal texts."""
    if type_.is_text:
        return str
    write = value_writer(type_)
    return lambda value: to_json(value if write is None else write(value)).decode().strip('"')


def form_of(type_: Type, within_ms: int = 0) -> str:
    """Return the form of a type's texts; the log compares only texts of the same form."""
    form = f"{type_.kind}({type_.places})" if type_.kind in {"money", "number"} else type_.kind
    return f"{form} within {within_ms}" if within_ms else form
