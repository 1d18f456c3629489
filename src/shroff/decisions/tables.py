"""Features as Arrow tables: one row per event of a type, id and place first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.decisions.definitions import Definitions, computed_of
from shroff.events.labels import LogEvent
from shroff.features.frames import Frame
from shroff.features.naive import Naive
from shroff.features.online import Online
from shroff.language.columns import Column, column_of
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, Type
from shroff.language.values import rescale_half_even

if TYPE_CHECKING:
    import pyarrow as pa


def feature_schema(definitions: Definitions, event: str) -> pa.Schema:
    """The columns of a feature table: `id`, `seq`, then `entity.name` by name."""
    import pyarrow as pa

    places = definitions.settings.money_places
    fields = [pa.field("id", pa.string()), pa.field("seq", pa.int64())]
    fields += [
        pa.field(name, arrow_type(definitions.features[name].type, places)) for name in definitions.feature_names(event)
    ]
    return pa.schema(fields)


def arrow_type(type_: Type, money_places: int) -> pa.DataType:
    """How a type stands in Parquet (INTERFACES, `shroff features`)."""
    import pyarrow as pa

    kinds = {
        "integer": pa.int64(),
        "real": pa.float64(),
        "duration": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("ms", tz="UTC"),
        "money": pa.decimal128(38, money_places),
        "number": pa.decimal128(38, type_.places),
    }
    return kinds.get(type_.kind, pa.string())


def feature_tables(
    definitions: Definitions,
    event: str,
    batches: Iterable[Sequence[tuple[int, LogEvent]]],
    engine: str,
    lateness_ms: int,
) -> Iterator[pa.Table]:
    """Compute the features of one type from a history in log order, as one table a batch.

    Args:
        batches: Places and events of every type; labels too.
        engine: `online` or `naive`.
        lateness_ms: How late the events of the history may be.
    """
    computed = [one for one in computed_of(definitions, also=event) if one.needs_key]
    names = definitions.feature_names(event)
    if engine == "naive":
        naive = Naive(definitions.events, computed, definitions.reference)
        for batch in batches:
            values = [naive.add(one) for _, one in batch]
            rows = [at for at, (_, one) in enumerate(batch) if one.type == event]
            columns = {
                name: column_of([values[at].get(name) for at in rows], definitions.features[name].type)
                for name in names
            }
            yield _table(definitions, event, [batch[at] for at in rows], columns)
        return
    online = Online(definitions.events, computed, definitions.reference, lateness_ms)
    for batch in batches:
        frame = online.compute([one for _, one in batch]).get(event)
        if frame is not None:
            yield _table(
                definitions, event, [batch[row] for row in frame.rows.tolist()], _columns(frame, names, definitions)
            )


def _columns(frame: Frame, names: Sequence[str], definitions: Definitions) -> dict[str, Column]:
    nothing = [None] * len(frame)
    return {
        name: frame.computed[name] if name in frame.computed else column_of(nothing, definitions.features[name].type)
        for name in names
    }


def _table(
    definitions: Definitions, event: str, rows: Sequence[tuple[int, LogEvent]], columns: dict[str, Column]
) -> pa.Table:
    import pyarrow as pa

    schema = feature_schema(definitions, event)
    arrays: list[Any] = [
        pa.array([one.id for _, one in rows], pa.string()),
        pa.array([seq for seq, _ in rows], pa.int64()),
    ]
    for name, column in columns.items():
        arrays.append(_array(column, definitions.features[name].type, schema.field(name).type))
    return pa.Table.from_arrays(arrays, schema=schema)


def _array(column: Column, type_: Type, wanted: pa.DataType) -> pa.Array:
    """One column in Arrow; an integer beyond 64 bits is missing there."""
    import pyarrow as pa

    missing = ~column.valid
    if type_.kind in {"money", "number"}:
        return _decimals(column, type_.places, wanted)
    if type_.kind == "duration":
        return pa.array(column.values.astype(np.float64) / 1_000, wanted, mask=missing)
    if type_.kind == "integer" and column.values.dtype == object:
        fits = [INTEGER_MIN <= value <= INTEGER_MAX for value in column.values.tolist()]
        values = [
            value if fit and valid else None
            for value, fit, valid in zip(column.values.tolist(), fits, column.valid, strict=True)
        ]
        return pa.array(values, wanted)
    return (
        pa.array(column.values, mask=missing).cast(wanted)
        if type_.kind == "time"
        else pa.array(column.values, wanted, mask=missing)
    )


def _decimals(column: Column, places: int, wanted: Any) -> pa.Array:
    """Scaled integers as decimal128, without a Python object each where they have 64 bits."""
    import pyarrow as pa

    if column.values.dtype == object or places != wanted.scale:
        units = [rescale_half_even(value, places, wanted.scale) for value in column.values.tolist()]
        low = np.array([unit & (2**64 - 1) for unit in units], np.uint64)
        high = np.array([(unit >> 64) & (2**64 - 1) for unit in units], np.uint64)
    else:
        low = column.values.astype(np.int64).view(np.uint64)
        high = (column.values.astype(np.int64) >> 63).view(np.uint64)
    words = np.empty((len(low), 2), np.uint64)
    words[:, 0], words[:, 1] = low, high
    valid = pa.py_buffer(np.packbits(column.valid, bitorder="little").tobytes())
    return pa.Array.from_buffers(wanted, len(low), [valid, pa.py_buffer(words.tobytes())])
