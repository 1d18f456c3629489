"""Amounts of events, read from the records of the log."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.json import decode as from_json

from shroff.events.summary import amount_field
from shroff.language.values import parse_decimal, rescale_half_even
from shroff.streams.log import Record

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions


def amount_reader(definitions: Definitions) -> Callable[[Record], int | None]:
    """Reads the amount of an event from its record, in smallest units of today's money; None where it has none."""
    places = definitions.settings.money_places
    fields = {name: amount.name for name, type_ in definitions.events.types.items() if (amount := amount_field(type_))}

    def read(record: Record) -> int | None:
        name = fields.get(record.type)
        found = from_json(record.body).get(name) if name else None
        return rescale_half_even(*parse_decimal(found), places) if isinstance(found, str) else None

    return read
