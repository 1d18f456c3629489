"""Convert amounts into the project's currency by the rates that are valid at the time of each event.

An amount is converted once, when its event is appended to the log. The stored event has the original amount and the
rate, too, so that readers of the log convert nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate

import numpy as np

from shroff.arrays import Ints
from shroff.errors import Problem, nearest
from shroff.events.definitions import RATE, Events, EventType, Settings
from shroff.events.event import Event
from shroff.json_types import TextMapping
from shroff.language.columns import Column
from shroff.language.expression import ORIGINAL_AMOUNT
from shroff.language.lookups.table import NO_ROWS
from shroff.language.names import TableShape
from shroff.language.row import Tables
from shroff.language.types import CODES, INTEGER_MAX, ORIGINAL_PLACES, TEXT, UNITS_MAX, places_of
from shroff.language.values import parse_decimal, rescale_half_even, show_number
from shroff.runtime.values import FrozenStruct


class ConvertedField(FrozenStruct):
    """Indexes, among an event's values, of a converted amount, the original amount, its rate and its currency."""

    amount: int
    original: int
    rate: int
    currency: int


NO_TABLE = TableShape(TEXT, {})
_POWER_MAX = 18  # of ten, twice which fits 64 bits


def converted_fields(type_: EventType) -> tuple[ConvertedField, ...]:
    names = type_.field_names
    return tuple(
        ConvertedField(
            names.index(field.name),
            names.index(f"{field.name}.{ORIGINAL_AMOUNT}"),
            names.index(f"{field.name}.{RATE}"),
            names.index(field.shape.currency),
        )
        for field in type_.converted
    )


def original_places(currency: str, settings: Settings) -> int | None:
    """Return the decimals that an amount of a currency may have; None for an unknown code."""
    if currency == settings.currency:
        return min(max(places_of(currency), settings.money_places), ORIGINAL_PLACES)
    return places_of(currency) if currency in CODES else None


class Conversion:
    """Converts the amounts of events by one version of the table of rates."""

    def __init__(self, events: Events, settings: Settings, tables: Tables) -> None:
        self._fields = {name: found for name, type_ in events.types.items() if (found := converted_fields(type_))}
        shape = events.tables.get(settings.rates, NO_TABLE)
        column = rate_column(shape)
        rate_places = shape.columns[column].places if column else 0
        self._more_places = ORIGINAL_PLACES + rate_places - settings.money_places  # of a product than of the result
        self.codes = [settings.currency]
        times = [[-(2**63)]]
        units = [10**rate_places]
        self.texts: list[str | None] = [None]
        rates = tables.get(settings.rates, NO_ROWS)
        for code, times_ms, rows in rates.histories() if column else ():
            self.codes.append(str(code))
            times.append(times_ms)
            units += [cell if isinstance(cell, int) else 0 for cell in rates.cells(column, rows)]
            self.texts += [show_number(unit, rate_places) for unit in units[len(self.texts) :]]
        self.units = np.array(units, np.int64)
        self._times, ranks = np.unique(np.concatenate(times), return_inverse=True)
        self._places = np.repeat(np.arange(len(times)), list(map(len, times))) * (len(self._times) + 1) + ranks
        places = zip(accumulate(map(len, times), initial=0), times, strict=False)
        self._times_of = dict(zip(self.codes, places, strict=True))

    def __bool__(self) -> bool:
        return bool(self._fields)

    def fields(self, type_name: str) -> tuple[ConvertedField, ...]:
        return self._fields.get(type_name, ())

    def rated(self, currencies: Ints, times_ms: Ints) -> Ints:
        """Return for each currency (an index of `codes`) and time the index of the valid rate in `units` and `texts`.

        The index is -1 if no rate is valid, and 0 for the project's own currency.
        """
        width = len(self._times) + 1
        ranks = self._times.searchsorted(times_ms, "right") - 1
        at = self._places.searchsorted(currencies * width + ranks, "right") - 1
        return np.where((at >= 0) & (self._places[at] // width == currencies), at, -1)

    def amount(self, original: int, rate: int) -> int | None:
        """Return an original amount times a rate, rounded half-even; None beyond the largest amount."""
        found = rescale_half_even(original * rate, self._more_places, 0)
        return found if -UNITS_MAX <= found <= UNITS_MAX else None

    def amounts(self, originals: Ints, least: Ints, rates: Ints) -> Column:
        """Convert many amounts as `amount` does, each a multiple of the smallest amount of its currency (`least`)."""
        from shroff.events.formats.column_readers import (
            divided,
        )  # imports pyarrow, which opening a project does not need

        power = 10**self._more_places if ORIGINAL_PLACES <= self._more_places <= _POWER_MAX else 0
        short = originals // least
        most = INTEGER_MAX // np.maximum(rates, 1) if power else -1
        found, _ = divided(short * rates, np.maximum(power // least, 1))
        for row in np.flatnonzero(np.abs(short) > most).tolist():  # products of more than 64 bits
            exact = self.amount(int(originals[row]), int(rates[row]))
            found[row] = UNITS_MAX + 1 if exact is None else exact
        return Column(found, np.abs(found) <= UNITS_MAX)

    def event(self, event: Event) -> Event:
        """Return the event with converted amounts; an amount without a valid rate at its time is missing."""
        fields = self._fields.get(event.type)
        if fields is None:
            return event
        values = list(event.values)
        for field in fields:
            original = values[field.original]
            first, times = self._times_of.get(str(values[field.currency]), (0, []))
            place, values[field.amount], values[field.rate] = first + bisect_right(times, event.time_ms) - 1, None, None
            if isinstance(original, int) and place >= first:
                values[field.amount] = self.amount(original, int(self.units[place]))
                values[field.rate] = self.texts[place]
        return Event(event.type, event.id, event.time_ms, tuple(values))

    def sent(self, event: Event) -> Event:
        """Return the event without converted amounts and rates, by which repeated events are compared."""
        fields = self._fields.get(event.type)
        if fields is None:
            return event
        values = list(event.values)
        for field in fields:
            values[field.amount] = values[field.rate] = None
        return Event(event.type, event.id, event.time_ms, tuple(values))


def rate_column(shape: TableShape) -> str:
    """Return the rate column of a table: its first number, if its rows are by currency and time; else ""."""
    is_by_currency = shape.since and shape.key.is_text and not shape.kind
    return next((name for name, type_ in shape.columns.items() if type_.kind == "number" and is_by_currency), "")


def rate_problems(settings: Settings, events: Events, read: Iterable[tuple[int, TextMapping]]) -> list[Problem]:
    """Return the problems of the table of rates: a missing table, its columns, and its rows, each with its line."""
    name, types = settings.rates, [type_.name for type_ in events.types.values() if type_.converted]
    if not name:
        words = f"{types[0] if types else ''} has money in other currencies, and money in shroff.yaml names no rates."
        hint = f"Write money: {{ currency: {settings.currency}, rates: fx }}, and declare the table fx in events.yaml."
        return [Problem("shroff.yaml", 0, 0, "money", words, hint)] if types else []
    shape = events.tables.get(name)
    if shape is None:
        hint = nearest(name, events.tables) or f"Declare it: tables: {{ {name}: {_SHAPE} }}."
        return [Problem("shroff.yaml", 0, 0, "money.rates", f"events.yaml declares no table {name!r}.", hint)]
    column = rate_column(shape)
    if not column:
        words = f"table {name} has no rates: they are numbers by currency and time."
        return [Problem("events.yaml", 0, 0, f"tables.{name}", words, f"Write {name}: {_SHAPE}.")]
    if settings.money_places > ORIGINAL_PLACES:
        words = f"with rates, money has at most {ORIGINAL_PLACES} decimal places."
        return [Problem("shroff.yaml", 0, 0, "money.places", words)]
    return [
        Problem(f"tables/{name}.csv", number, 1, "", words)
        for number, row in read
        if (words := _row_words(row.get(events.table_keys[name], ""), row.get(column, ""), settings.currency))
    ]


_SHAPE = "{ currency: text, from: valid_from, rate: number(12) }"


def _is_above_zero(rate: str) -> bool:
    """Whether a rate is above 0. A text that is no decimal counts, as reading the table reports it."""
    if not rate:
        return False
    try:
        digits, _ = parse_decimal(rate)
    except ValueError:
        return True
    return digits > 0


def _row_words(code: str, rate: str, own: str) -> str:
    if code not in CODES:
        return f"{code!r} is not a currency of ISO 4217. {nearest(code, CODES)}".rstrip()
    if code == own:
        return f"{code} is the project's own currency, which needs no rate; leave this line out."
    if not _is_above_zero(rate):
        return f"the rate of {code} is {rate or 'empty'}; it is above 0: what 1 {code} is in {own}."
    return ""
