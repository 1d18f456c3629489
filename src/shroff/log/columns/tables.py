"""Features as Arrow tables: one row per event of a type, with id and sequence number first."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.arrays import Array, Ints
from shroff.errors import UsageError, nearest
from shroff.events.event import CALENDAR_MS
from shroff.features.batch.engine import BatchEngine
from shroff.features.batch.rounds import Rounds, Waiting
from shroff.features.cluster.partitioned import Cluster, Partitioned
from shroff.features.computed import Computed, known_engines
from shroff.features.frames import Frame
from shroff.features.naive import Naive
from shroff.features.online.engine import Online
from shroff.language.columns import Column, column_of
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, Type
from shroff.language.values import rescale_half_even
from shroff.log.state.feature_events import FeatureEvents, LookUpsThen, NumberedEvents, taken
from shroff.project.definitions import Definitions, computed_of
from shroff.runtime.process_wide import threads
from shroff.runtime.progress import Progress, batched
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    import pyarrow as pa


# Of integers and times in columns; values beyond are missing there.
COLUMN_BOUNDS = {"integer": (INTEGER_MIN, INTEGER_MAX), "time": CALENDAR_MS}
DIGITS = 38  # of decimal128
NARROW_DIGITS = 18  # of decimal64


class Way(FrozenStruct):
    """How features are computed: engine, cluster and threads.

    Args:
        engine: `batch`, `online` or `naive`.
        reading: Called with the number of events read.
        computing: Called with the number of events computed, in the second pass of the batch engine.
        spill: A folder for data beyond memory; by default the system's.
        cluster: Where the batch engine computes; by default in this process.
        format: Of files; by default by their names.
        is_narrow: Make decimal columns decimal64 in tables whose values have at most 18 digits.
    """

    engine: str = "batch"
    reading: Progress | None = None
    computing: Progress | None = None
    spill: Path | None = None
    cluster: Cluster | None = None
    is_narrow: bool = False
    format: str | None = None


def rounds_of(
    definitions: Definitions, computed: Sequence[Computed], lateness_ms: int, event: str, way: Way
) -> Rounds[Any]:
    """Return the batch engine, here or on the cluster; it takes a history and must be closed."""
    arguments = definitions.events, computed, definitions.reference, lateness_ms
    if way.cluster is None:
        return BatchEngine(*arguments, threads=threads(), also=[event], spill=way.spill)
    return Partitioned(*arguments, cluster=way.cluster, also=[event], spill=way.spill)


def known_way(way: Way) -> None:
    """Raise UsageError if there is no such engine, or it cannot use a cluster."""
    known_engines([way.engine])
    if way.cluster is not None and way.engine != "batch":
        raise UsageError(f"a cluster computes by the batch engine alone; --engine {way.engine} is for --backend local.")


def known_type(definitions: Definitions, event: str) -> None:
    """Raise UsageError if this is no event type."""
    types = definitions.events.types
    if event not in types:
        hint = nearest(event, types) or f"There is {', '.join(types)}."
        raise UsageError(f"{event!r} is not an event type. {hint}")


def feature_schema(definitions: Definitions, event: str, *, is_narrow: bool = False) -> pa.Schema:
    """Return the columns of a feature table: `id`, `seq`, then `entity.name` by name; decimals of 128 or 64 bits.

    Raises: UsageError if there is no such event type.
    """
    import pyarrow as pa

    known_type(definitions, event)
    decimals = definitions.settings.money_places
    fields = [pa.field("id", pa.string()), pa.field("seq", pa.int64())]
    for name in definitions.feature_names(event):
        type_ = arrow_type(definitions.features[name].type, decimals)
        fields.append(pa.field(name, _narrow(type_) if is_narrow else type_))
    return pa.schema(fields)


def _narrow(type_: pa.DataType) -> pa.DataType:
    """Return the 64-bit decimal type instead of the 128-bit one if the decimals fit; other types are unchanged."""
    import pyarrow as pa

    is_wide = pa.types.is_decimal128(type_) and type_.scale <= NARROW_DIGITS
    return pa.decimal64(NARROW_DIGITS, type_.scale) if is_wide else type_


def arrow_type(type_: Type, money_places: int) -> pa.DataType:
    """Return the Arrow type of a language type in Parquet (INTERFACES, `shroff features`)."""
    import pyarrow as pa

    kinds = {
        "integer": pa.int64(),
        "real": pa.float64(),
        "duration": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("ms", tz="UTC"),
        "money": pa.decimal128(DIGITS, money_places),
        "number": pa.decimal128(DIGITS, type_.places),
    }
    return kinds.get(type_.kind, pa.string())


def feature_tables(
    definitions: Definitions,
    event: str,
    history: NumberedEvents,
    lateness_ms: int,
    way: Way,
    stretches: Sequence[LookUpsThen] = (),
) -> Iterator[pa.Table]:
    """Compute the features of one type from a history in log order, as consecutive tables.

    Args:
        history: Sequence numbers and events of every type, including labels.
        lateness_ms: How late the events of the history may be.
        stretches: Lists and tables as of each event, for the engine `naive`; by default those of the project.

    Raises: UsageError if there is no such engine.
    """
    known_way(way)
    if way.engine == "naive":
        yield from _by_definition(definitions, event, batched(history, way.reading), way, stretches)
        return
    yield from tables_of(definitions, event, taken(history, definitions, event), lateness_ms, way)


def tables_of(
    definitions: Definitions, event: str, history: Iterable[FeatureEvents], lateness_ms: int, way: Way
) -> Iterator[pa.Table]:
    """Like `feature_tables`, for a history of frames, by the batch or the online engine."""
    known_way(way)
    history = batched(history, way.reading)
    computed = _computed(definitions, event)
    if way.engine == "batch":
        yield from _by_batch(definitions, event, history, computed, lateness_ms, way)
        return
    online = Online(definitions.events, computed, definitions.reference, lateness_ms)
    for events in history:  # their frames have their own lists and tables
        online.take(events.frames, events.size)
        if len(events.seqs):
            yield _table(definitions, event, events.ids, events.seqs, events.frames.get(event), way)


def _computed(definitions: Definitions, event: str) -> list[Computed]:
    return [feature for feature in computed_of(definitions, also=event) if feature.needs_key]


def _by_batch(
    definitions: Definitions,
    event: str,
    history: Iterable[FeatureEvents],
    computed: Sequence[Computed],
    lateness_ms: int,
    way: Way,
) -> Iterator[pa.Table]:
    import pyarrow as pa

    with closing(rounds_of(definitions, computed, lateness_ms, event, way)) as batch:
        pending: Waiting[tuple[pa.Array, Ints]] = batch.waiting()
        reference = definitions.reference
        for events in history:
            if events.look_ups is not None and events.look_ups.reference is not reference:
                reference = events.look_ups.reference
                batch.refer(reference)
            batch.add(events.frames, events.size)
            if len(events.seqs):
                pending.append((events.ids, events.seqs))
        for frames in batch.answers():
            frame = frames.get(event)
            if frame is None:
                continue
            ids: list[pa.Array] = []
            seqs: list[Ints] = []
            while sum(len(part) for part in ids) < len(frame):  # a piece has whole batches
                for parts, part in zip((ids, seqs), pending.popleft(), strict=True):
                    parts.append(part)
            yield _table(definitions, event, pa.concat_arrays(ids), np.concatenate(seqs), frame, way)
            if way.computing is not None:
                way.computing(len(frame))


def _by_definition(
    definitions: Definitions, event: str, history: NumberedEvents, way: Way, stretches: Sequence[LookUpsThen]
) -> Iterator[pa.Table]:
    naive = Naive(definitions.events, _computed(definitions, event), definitions.reference)
    later = deque(stretches)
    for batch in history:
        values = []
        for seq, item in batch:
            while len(later) > 1 and seq > later[0].end:
                later.popleft()
            if later:
                naive.reference = later[0].reference
            values.append(naive.add(item))
        (events,) = taken(iter([batch]), definitions, event)
        frame = events.frames.get(event)
        if frame is not None:
            for name in definitions.feature_names(event):
                listed = [values[row].get(name) for row in frame.rows.tolist()]
                frame.computed[name] = column_of(listed, definitions.features[name].type)
        yield _table(definitions, event, events.ids, events.seqs, frame, way)


def _table(definitions: Definitions, event: str, ids: pa.Array, seqs: Ints, frame: Frame | None, way: Way) -> pa.Table:
    import pyarrow as pa

    schema = feature_schema(definitions, event, is_narrow=way.is_narrow)
    arrays: list[Any] = [ids, pa.array(seqs)]
    for name in definitions.feature_names(event):
        column = frame.computed.get(name) if frame is not None else None
        arrow_type = schema.field(name).type
        arrays.append(
            pa.nulls(len(seqs), arrow_type)
            if column is None
            else array_of(column, definitions.features[name].type, arrow_type)
        )
    return pa.Table.from_arrays(arrays, names=schema.names)


def array_of(column: Column, type_: Type, target: pa.DataType) -> pa.Array:
    """Convert a column to an Arrow type; values beyond `COLUMN_BOUNDS` are null, decimals beyond 64 bits get 128."""
    import pyarrow as pa

    if type_.kind in COLUMN_BOUNDS:
        low, high = COLUMN_BOUNDS[type_.kind]
        fits = column.valid & (column.values >= low) & (column.values <= high)
        column = Column(np.where(fits, column.values, 0).astype(np.int64), fits)
    missing = None if column.valid.all() else ~column.valid
    if type_.kind in {"money", "number"}:
        return _decimals(column, type_.places, target)
    if type_.kind == "duration":
        return pa.array(column.values.astype(np.float64) / 1_000, target, mask=missing)
    if type_.kind == "time":
        return pa.array(column.values, mask=missing).cast(target)
    return pa.array(column.values, target, mask=missing)


def _decimals(column: Column, places: int, arrow_type: Any) -> pa.Array:
    """Convert scaled integers to decimals, without a Python object each if they have 64 bits."""
    import pyarrow as pa

    values: Array = column.values
    if values.dtype == object or places != arrow_type.scale:
        values = np.array([rescale_half_even(value, places, arrow_type.scale) for value in values.tolist()], object)
    valid = None if column.valid.all() else pa.py_buffer(np.packbits(column.valid, bitorder="little"))
    if pa.types.is_decimal64(arrow_type):
        if not len(values) or -(10**NARROW_DIGITS) < values.min() <= values.max() < 10**NARROW_DIGITS:
            words = np.ascontiguousarray(values, np.int64)
            return pa.Array.from_buffers(arrow_type, len(words), [valid, pa.py_buffer(words)])
        arrow_type = pa.decimal128(DIGITS, arrow_type.scale)
    words = np.empty((len(values), 2), np.int64)
    if values.dtype == object:
        words[:, 0] = np.array([unit & (2**64 - 1) for unit in values], np.uint64).view(np.int64)
        words[:, 1] = [unit >> 64 for unit in values]
    else:
        words[:, 0] = values
        np.right_shift(words[:, 0], 63, out=words[:, 1])
    return pa.Array.from_buffers(arrow_type, len(words), [valid, pa.py_buffer(words)])
