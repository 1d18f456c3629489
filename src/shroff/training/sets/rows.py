"""Training sets: what a model reads of each event of a history, and the labels, as known at a moment.

As of T a set has the records whose own time is not after T: events by their time, labels by `known_at`. Later records
never reach the engine that computes features, so no feature can contain them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from shroff.arrays import NO_INTS, Floats, Ints
from shroff.engine.decision import is_drawn
from shroff.engine.exploration import APPROVED
from shroff.engine.stored import decision_of
from shroff.errors import UsageError
from shroff.events.definitions import ANALYST, SOURCES
from shroff.features.batch.rounds import Rounds
from shroff.features.frames import Coded, Codes, Frame
from shroff.features.online.engine import Online
from shroff.language.columns import Column, values_of
from shroff.language.expression import ThisField
from shroff.language.types import INTEGER_MAX, INTEGER_MIN, TEXT, Type
from shroff.language.values import rescale_half_even, show
from shroff.log.columns.tables import Way, known_type, rounds_of
from shroff.log.history import Control
from shroff.log.state.feature_events import FeatureEvents
from shroff.models.columns import CATEGORY, kind_of, numbers_of
from shroff.models.definitions import ModelSettings
from shroff.models.sets import FRAUD, Labels, TrainingSet, labels_in_force
from shroff.project.definitions import Definitions
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.progress import batched
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import LogReader
from shroff.training.roles import Roles, WantedFold, role_columns, role_types, roles_of, texts_of
from shroff.training.sets.gathered import SLICE, gathered
from shroff.training.sets.labels import VERDICT_CODES, GatheredLabels
from shroff.training.sets.recorded import RecordedRows, first_control, recorded_types
from shroff.training.sets.sources import HistorySource, feed, known_at, of_fold
from shroff.training.sets.wanted import wanted_of

if TYPE_CHECKING:
    import pyarrow as pa

EXACT_MAX = 1 << 52  # up to this every sum of whole numbers is exact in a float
ENGINES = ("batch", "online")
VERDICT_TEXTS = {code: text for text, code in VERDICT_CODES.items()}
_VERDICTS = tuple(VERDICT_CODES)


class SetShape(FrozenStruct):
    """Event type and columns of a set: inputs with their kinds, names of slices, and the fold of the roles."""

    event: str
    as_of_ms: int
    inputs: tuple[tuple[str, str], ...]
    slices: tuple[str, ...]
    fold: WantedFold | None = None

    @property
    def schema(self) -> pa.Schema:
        """Return the columns of a set's table: the event, its decision, inputs by name, slices with prefix `SLICE`.

        `verdict` is the one in force at `as_of`, `known_at` the time at which it was known; a missing value is null.
        With a fold there are `role`, `label` and `weight` too.
        """
        import pyarrow as pa

        head = {"id": pa.string(), "seq": pa.int64(), "time": pa.timestamp("ms", tz="UTC")}
        head |= {"key": pa.int64(), "amount_minor": pa.int64(), "verdict": pa.string(), "known_at": head["time"]}
        head |= {**(role_types() if self.fold is not None else {}), **recorded_types()}
        read = {name: pa.string() if kind == CATEGORY else pa.float64() for name, kind in self.inputs}
        parted = {SLICE + name: pa.string() for name in self.slices}
        return pa.schema([*head.items(), *read.items(), *parted.items()])


class SetInProgress(FrozenStruct):
    """A set in the making: its rows' labels and roles, and its `tables` in log order, which can be read once."""

    shape: SetShape
    times_ms: Ints
    labels: Labels
    roles: Roles | None
    stands_for: Floats | None
    tables: Iterator[pa.Table]


@contextmanager
def making(
    definitions: Definitions,
    settings: ModelSettings,
    source: HistorySource,
    as_of_ms: int,
    way: Way | None = None,
    fold: WantedFold | None = None,
) -> Iterator[SetInProgress]:
    """Read a source and begin a set; with a fold, each row has its role in it.

    Raises: UsageError if there is no such event type or engine.
    Memory: that of the batch engine, some 50 bytes for each event of the type, its id included, and for each label, and
    a piece of the results.
    """
    way = way or Way()
    known_type(definitions, settings.event)
    if way.engine not in ENGINES:
        raise UsageError(f"a training set is made by the engine {' or '.join(ENGINES)}, not {way.engine!r}.")
    with calm_collector(), ExitStack() as resources:
        maker = _Maker(definitions, settings, as_of_ms, source, fold)
        pieces = maker.batch(source, way, resources) if way.engine == "batch" else maker.online(source, way)
        yield maker.made(pieces)


def build_set(
    definitions: Definitions, settings: ModelSettings, source: HistorySource, as_of_ms: int, way: Way | None = None
) -> TrainingSet:
    """Build the training set of a model's settings as of a moment.

    Memory: that of `making`, and of the inputs what `gathered` holds; the others are in a file where `way` spills.
    """
    with making(definitions, settings, source, as_of_ms, way) as made:
        spill = None if way is None else way.spill
        given = gathered(made.shape, made.tables, len(made.times_ms), made.labels, spill)
        return replace(given, recorded=replace(given.recorded, stands_for=made.stands_for))


class _Maker:
    """What is collected of each event until its features are computed."""

    def __init__(
        self,
        definitions: Definitions,
        settings: ModelSettings,
        as_of_ms: int,
        source: HistorySource,
        fold: WantedFold | None,
    ) -> None:
        self._definitions = definitions
        self._settings = settings
        self._as_of_ms = as_of_ms
        self._wanted = wanted_of(definitions, settings)
        self._labels = GatheredLabels(settings.event, settings.friendly_reasons)
        self._recorded = RecordedRows(source.log)
        self._log = source.log
        self._ids: list[pa.Array] = []
        self._seqs: list[Ints] = []
        self._times_ms: list[Ints] = []
        self._keys: list[Coded | Ints] = []
        self._codes = Codes()
        inputs = zip(settings.inputs, self._wanted.inputs, strict=True)
        kinds = tuple((input_.name, kind_of(computed.node.type)) for input_, computed in inputs)
        self._shape = SetShape(settings.event, as_of_ms, kinds, tuple(slice_.name for slice_ in settings.slices), fold)

    def batch(self, source: HistorySource, way: Way, resources: ExitStack) -> Iterator[dict[str, pa.Array]]:
        """Feed the source to the batch engine, then yield its answers; each later fold takes another pass."""
        engine = resources.enter_context(closing(self._rounds(source, 0, way)))
        feed(engine, self._of_first_fold(source, way))
        later = (self._fold(source, fold, way) for fold in range(1, len(source.folds)))
        return chain(self._answers(engine, 0, way), *later)

    def online(self, source: HistorySource, way: Way) -> Iterator[dict[str, pa.Array]]:
        """Yield the same answers from the online engine, which computes each at once."""
        first_fold = deque(self._online(source, 0, self._of_first_fold(source, way), way))
        later = (self._online(source, fold, self._again(source, fold), way) for fold in range(1, len(source.folds)))
        return chain(first_fold, *later)

    def _online(
        self, source: HistorySource, fold: int, events: Iterable[FeatureEvents], way: Way
    ) -> Iterator[dict[str, pa.Array]]:
        definitions = self._as_of(source, fold)
        event = self._settings.event
        engine = Online(definitions.events, self._wanted.all(), definitions.reference, source.lateness_ms)
        for chunk in events:
            engine.take(chunk.frames, chunk.size)
            if event in chunk.frames and (chunk.look_ups is None or chunk.look_ups.fold == fold):
                yield self._columns(chunk.frames[event], way)

    def _as_of(self, source: HistorySource, fold: int) -> Definitions:
        if not source.folds:
            return self._definitions
        return replace(self._definitions, reference=source.folds[fold].reference)

    def _rounds(self, source: HistorySource, fold: int, way: Way) -> Rounds[Any]:
        event = self._settings.event
        return rounds_of(self._as_of(source, fold), self._wanted.all(), source.lateness_ms, event, way)

    def _of_first_fold(self, source: HistorySource, way: Way) -> Iterator[FeatureEvents]:
        """Read the whole source; yield the events of the first fold."""
        for chunk in self._read(source, way):
            if chunk.look_ups is None or chunk.look_ups.fold == 0:
                yield chunk

    def _again(self, source: HistorySource, fold: int) -> Iterator[FeatureEvents]:
        event = self._settings.event
        return (known_at(events, self._as_of_ms, self._definitions, event) for events in of_fold(source, fold))

    def _fold(self, source: HistorySource, fold: int, way: Way) -> Iterator[dict[str, pa.Array]]:
        with closing(self._rounds(source, fold, way)) as engine:
            earlier = feed(engine, self._again(source, fold), self._settings.event, fold)
            yield from self._answers(engine, earlier, way)

    def _answers(self, engine: Rounds[Any], to_skip: int, way: Way) -> Iterator[dict[str, pa.Array]]:
        """Yield columns of the events of the type, without the first `to_skip`, which another fold answers."""
        event = self._settings.event
        for frame in (frames[event] for frames in engine.answers() if event in frames):
            skipped = min(to_skip, len(frame))
            to_skip -= skipped
            if skipped < len(frame):
                yield {name: column[skipped:] for name, column in self._columns(frame, way).items()}

    def _read(self, source: HistorySource, way: Way) -> Iterator[FeatureEvents]:
        event = self._settings.event
        for events in batched(iter(source.taken()), way.reading):
            known_events = known_at(events, self._as_of_ms, self._definitions, event)
            if event in known_events.frames:
                frame = known_events.frames[event]
                self._ids.append(known_events.ids)
                self._seqs.append(known_events.seqs)
                self._times_ms.append(frame.times)
                self._keys.append(self._keys_of(frame))
            if "label" in known_events.frames:
                self._labels.add_events(known_events.frames["label"].events)
            yield known_events
        for label in source.labels():
            if label.known_at_ms <= self._as_of_ms and label.event_type == event:
                self._labels.add(label.event_id, label.verdict, label.source, label.known_at_ms, label.reason)

    def _keys_of(self, frame: Frame) -> Coded | Ints:
        """Return keys of the entity in `capacity`: a coded column if the key is one field, else codes."""
        capacity = self._settings.capacity
        if capacity is None:
            return np.full(len(frame), -1, np.int64)
        parts = self._definitions.events.entities[capacity.entity].keys.get(frame.type.name, ())
        coded = frame.coded(parts[0].name) if len(parts) == 1 and isinstance(parts[0], ThisField) else None
        return frame.key_codes(capacity.entity, self._codes) if coded is None else coded

    def _all_keys(self) -> Ints:
        """Return the codes of all keys in order of appearance; -1 for an event without one."""
        coded = [part for part in self._keys if isinstance(part, Coded)]
        is_one = len(coded) == len(self._keys) and len({part.dictionary for part in coded}) == 1
        codes = [
            part if not isinstance(part, Coded) else part.codes if is_one else self._codes.of_coded(part)
            for part in self._keys
        ]
        return _in_order_of_appearance(np.concatenate([NO_INTS, *codes]))

    def _columns(self, frame: Frame, way: Way) -> dict[str, pa.Array]:
        decimals = self._definitions.settings.money_places
        amount = self._wanted.amount
        costs = None if amount is None else frame.computed[amount.name]
        type_ = TEXT if amount is None else amount.node.type
        columns = {"amount_minor": minor_units(costs, type_, decimals, len(frame))}
        for (name, kind), input_ in zip(self._shape.inputs, self._wanted.inputs, strict=True):
            column = frame.computed[input_.name]
            columns[name] = _texts(column) if kind == CATEGORY else _numbers(column, input_.node.type)
        for name, part in zip(self._shape.slices, self._wanted.slices, strict=True):
            columns[SLICE + name] = _shown(frame.computed[part.name], part.node.type, decimals)
        if way.computing is not None:
            way.computing(len(frame))
        return columns

    def made(self, pieces: Iterator[dict[str, pa.Array]]) -> SetInProgress:
        import pyarrow as pa

        ids = pa.chunked_array(self._ids, pa.string())
        times_ms = np.concatenate([NO_INTS, *self._times_ms])
        labels = self._labels.of_rows(ids, times_ms)
        keys = self._all_keys()
        fold = self._shape.fold
        represented = stands_for(self._log, np.concatenate([NO_INTS, *self._seqs]), labels)
        roles = None
        if fold is not None:
            roles = roles_of(self._settings, self._as_of_ms, fold, times_ms, keys, labels, represented)
        tables = self._tables(pieces, ids, times_ms, keys, labels, roles)
        return SetInProgress(self._shape, times_ms, labels, roles, represented, tables)

    def _tables(
        self,
        pieces: Iterator[dict[str, pa.Array]],
        ids: pa.ChunkedArray,
        times_ms: Ints,
        keys: Ints,
        labels: Labels,
        roles: Roles | None,
    ) -> Iterator[pa.Table]:
        import pyarrow as pa

        schema = self._shape.schema
        first = 0
        seqs = np.concatenate([NO_INTS, *self._seqs])
        in_force = labels_in_force(labels, self._as_of_ms, len(times_ms))
        # index of each label's verdict in `_VERDICTS`
        verdict_indexes = np.zeros(len(labels.verdicts), np.int8)
        for index, text in enumerate(_VERDICTS):
            verdict_indexes[labels.verdicts == VERDICT_CODES[text]] = index
        codes = np.append(verdict_indexes, np.int8(-1))
        known_at = np.append(labels.known_at_ms, 0)
        for piece in pieces:
            rows = slice(first, first + len(piece["amount_minor"]))
            first = rows.stop
            head = {
                "id": ids.slice(rows.start, rows.stop - rows.start),
                "seq": pa.array(seqs[rows]),
                "time": pa.array(times_ms[rows]).cast(schema.field("time").type),
                "key": pa.array(keys[rows], mask=keys[rows] < 0),
                "verdict": texts_of(codes[in_force[rows]], _VERDICTS),
                "known_at": pa.array(known_at[in_force[rows]], mask=in_force[rows] < 0).cast(schema.field("time").type),
                **({} if roles is None else role_columns(roles, rows)),
            }
            recorded = dict(zip(recorded_types(), self._recorded.of(seqs[rows]), strict=True))
            columns = head | recorded | piece
            yield pa.Table.from_arrays([columns[name] for name in schema.names], schema=schema)


def _in_order_of_appearance(codes: Ints) -> Ints:
    """Number small codes in order of first appearance; -1 stays.

    >>> _in_order_of_appearance(np.array([7, -1, 2, 7]))
    array([ 0, -1,  1,  0])
    """
    first = np.full(int(codes.max(initial=-1)) + 1, len(codes), np.int64)
    present = np.flatnonzero(codes >= 0)[::-1]
    first[codes[present]] = present  # the last write wins, and that is the first appearance
    numbers = np.empty(len(first) + 1, np.int64)
    numbers[np.argsort(first, kind="stable")] = np.arange(len(first))
    numbers[-1] = -1
    return numbers[codes]


def _numbers(column: Column, type_: Type) -> pa.Array:
    import pyarrow as pa

    numbers = np.ascontiguousarray(numbers_of(column, type_))
    valid = None if column.valid.all() else pa.py_buffer(np.packbits(column.valid, bitorder="little"))
    return pa.Array.from_buffers(pa.float64(), len(numbers), [valid, pa.py_buffer(numbers)])


def _texts(column: Column) -> pa.Array:
    import pyarrow as pa

    return pa.array(column.values, pa.string(), mask=~column.valid)


def _shown(column: Column, type_: Type, money_places: int) -> pa.Array:
    import pyarrow as pa

    values = (None if value is None else show(value, type_, money_places) for value in values_of(column))
    return pa.array(values, pa.string())


def minor_units(column: Column | None, type_: Type, money_places: int, count: int) -> pa.Array:
    """Return amounts in minor units, rounded half-even: 0 if missing, and limited to 64 bits."""
    import pyarrow as pa

    if column is None:
        return pa.array(np.zeros(count, np.int64))
    if column.values.dtype == np.int64 and type_.places == money_places:
        return pa.array(np.where(column.valid, column.values, 0))
    if type_.kind == "real":
        units = [round(value * 10**money_places) for value in column.values.tolist()]
    else:
        units = [rescale_half_even(value, type_.places, money_places) for value in column.values.tolist()]
    within = [max(INTEGER_MIN, min(INTEGER_MAX, unit)) for unit in units]
    return pa.array([unit if valid else 0 for unit, valid in zip(within, column.valid, strict=True)], pa.int64())


def stands_for(log: LogReader | None, seqs: Ints, labels: Labels) -> Floats | None:
    """Return how many events each row stands for that was drawn at random; NaN for all others.

    A would-be decline that was let through stands for 1 / propensity events; one that was declined for none, because
    its truth is not known. Of approvals in the sample, a fraud that only analysts know stands for 1 / propensity
    events: those that nobody reports. A reported one counts once, as all reported frauds do. Return None if no version
    ever drew anything.

    Args:
        seqs: Sequence numbers of the rows, ascending.

    Raises: StorageError if a decision is damaged.
    Cost: a pass over the decisions from the place at which the policy first drew something.
    """
    first = None if log is None else first_control(log, _may_draw)
    if log is None or first is None:
        return None
    counts = np.full(len(seqs), np.nan)
    is_fraud = labels.verdicts == FRAUD
    in_force = labels_in_force(labels, int(labels.known_at_ms.max(initial=0)), len(seqs))
    in_force = in_force[in_force >= 0]
    is_reported = is_fraud & (labels.strengths != SOURCES.index(ANALYST))
    unreported = {*labels.rows[in_force[is_fraud[in_force]]].tolist()} - {*labels.rows[is_reported].tolist()}
    for rows in log.decisions.after(first):
        drawn_rows = [row for row in rows if is_drawn(row.document)]
        indexes = np.searchsorted(seqs, [row.seq for row in drawn_rows])
        for row, index in zip(drawn_rows, indexes.tolist(), strict=True):
            exploration = decision_of(row).exploration
            if exploration is None or index == len(seqs) or seqs[index] != row.seq:
                continue
            if exploration.would_be != APPROVED or index in unreported:
                counts[index] = 1 / exploration.propensity if exploration.explored else 0.0
    return counts


def _may_draw(control: Control) -> bool:
    return re.search(r"\b(explore|sample)\b", control.files.get("policy.yaml", "")) is not None


def exact_sums(codes: Ints, amounts: Ints, size: int) -> list[int]:
    """Return the exact sum of the amounts of each code, however large."""
    if np.abs(floats := amounts.astype(np.float64)).sum() < EXACT_MAX:
        return [int(sum_) for sum_ in np.bincount(codes, floats, size).tolist()]
    return [sum(amounts[codes == code].tolist()) for code in range(size)]
