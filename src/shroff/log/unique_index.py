"""Unique fields of a new version: finds duplicates in the log, and indexes their values."""

from __future__ import annotations

from array import array
from collections.abc import Iterator

import numpy as np

from shroff.errors import DefinitionError, Problem
from shroff.events.event import Event
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.streams.log import Batch, Indexed, Log, LogReader, UniqueValue

FieldOf = tuple[str, str]  # a type and a field of it
SHOWN = 3  # pairs of events that a message names


def check_unique(log: Log, definitions: Definitions) -> None:
    """Find events of the log with equal values of a field that became unique.

    Raises: DefinitionError that names the first of them.
    Cost: none if the log has indexed all unique fields; else a pass over it, and eight bytes a value.
    """
    missing = _unindexed_fields(log, definitions)
    if not missing or log.last_seq() == 0:
        return
    suspects = _suspects(log, definitions, missing)
    if not suspects:
        return
    pairs: dict[FieldOf, list[tuple[UniqueValue, UniqueValue]]] = {}
    first: dict[tuple[str, str, str], UniqueValue] = {}
    for rows in _values(log, definitions, missing):
        for row in rows:
            if hash((row.type, row.field, row.value)) in suspects:
                original = first.setdefault((row.type, row.field, row.value), row)
                if original is not row:
                    pairs.setdefault((row.type, row.field), []).append((original, row))
    if pairs:
        raise DefinitionError([_shared_values(log, of, pair) for of, pair in sorted(pairs.items())])


def index(log: Log, definitions: Definitions) -> None:
    """Index the values of all unique fields in the log, and drop the indexes of others; for the writer.

    An indexing that a killed process left unfinished starts again.

    Raises: StateError if two events have the same value, which `check_unique` reports before.
    """
    declared = definitions.events
    missing = _unindexed_fields(log, definitions)
    forms = Records(declared, definitions.settings.money_places).unique.forms
    gone = sorted({(indexed.type, indexed.field) for indexed in log.indexed()} - forms.keys())
    if gone or missing:
        log.append(Batch(unindexed=[*gone, *sorted(missing)]))
    if missing:
        for rows in _values(log, definitions, missing):
            log.append(Batch(unique=rows))
        log.append(Batch(indexed=[Indexed(*of, forms[of]) for of in sorted(missing)]))


def _unindexed_fields(log: Log, definitions: Definitions) -> frozenset[FieldOf]:
    forms = Records(definitions.events, definitions.settings.money_places).unique.forms
    indexed_forms = {(indexed.type, indexed.field): indexed.form for indexed in log.indexed()} if forms else {}
    return frozenset(of for of, form in forms.items() if indexed_forms.get(of) != form)


def _suspects(log: LogReader, definitions: Definitions, fields: frozenset[FieldOf]) -> frozenset[int]:
    """Return the hashes that occur more than once; nearly always they are of equal values."""
    hashes = array("q")
    for rows in _values(log, definitions, fields):
        hashes.extend(hash((row.type, row.field, row.value)) for row in rows)
    ordered = np.sort(np.frombuffer(hashes, np.int64)) if hashes else np.zeros(0, np.int64)
    return frozenset(ordered[1:][ordered[1:] == ordered[:-1]].tolist())


def _values(log: LogReader, definitions: Definitions, fields: frozenset[FieldOf]) -> Iterator[list[UniqueValue]]:
    records = Records(definitions.events, definitions.settings.money_places)
    types = {type_ for type_, _ in fields}
    for batch in log.read():
        rows: list[UniqueValue] = []
        for record in batch:
            if record.kind != "event" or record.type not in types:
                continue
            event = records.decode(record)
            assert isinstance(event, Event)
            rows += [
                UniqueValue(event.type, name, value, record.seq)
                for name, value in records.unique.keys(event)
                if (event.type, name) in fields
            ]
        if rows:
            yield rows


def _shared_values(log: LogReader, of: FieldOf, pairs: list[tuple[UniqueValue, UniqueValue]]) -> Problem:
    type_, name = of

    def id_at(seq: int) -> str:
        return repr(next(log.read(seq - 1, seq))[0].id)

    examples = ", ".join(f"{id_at(value.seq)} and {id_at(other.seq)}" for value, other in pairs[:SHOWN])
    more = f", and {len(pairs) - SHOWN:,} more" if len(pairs) > SHOWN else ""
    message = f"it is unique now, and the log has {type_} events that share a value of it: {examples}{more}."
    return Problem("events.yaml", 0, 0, f"{type_}.fields.{name}", message, "Leave 'unique' out, or mark another field.")
