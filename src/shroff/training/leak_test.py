"""The leak test: whether a training set contains anything that was not known at its moment.

It has three parts. `cut_at_moment`: the set as of a moment is the same from the log cut there and from the whole log,
and no fold is trained on rows of its test or later. `cut_at_row`: what a model reads of a row is the same from the log
that ends with that row. `later_labels`: changing the verdicts of all labels that became known later changes neither the
set as of a moment nor the training rows of a fold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np

from shroff.arrays import NO_INTS, Ints, count_true
from shroff.events.definitions import VERDICTS
from shroff.events.event import time_text
from shroff.events.labels import LabelEvent, LogEvent
from shroff.events.validation import LabelInput
from shroff.features.frames import Frame
from shroff.features.online.engine import Online
from shroff.log.state.feature_events import FeatureEvents
from shroff.models.columns import CATEGORY, model_column
from shroff.models.definitions import ModelSettings
from shroff.models.evaluation.windows import Fold, FoldRows, rows_of, windows_of
from shroff.models.sets import FRAUD, GENUINE, NOT_KNOWN, Labels, TrainingSet
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, replace
from shroff.training.sets.rows import build_set
from shroff.training.sets.sources import HistorySource, known_at, of_fold, rows_between
from shroff.training.sets.wanted import wanted_of

CUT_AT_MOMENT = "cut_at_moment"
CUT_AT_ROW = "cut_at_row"
LATER_LABELS = "later_labels"
SAMPLE = 1_000
_VERDICT_CODES = (NOT_KNOWN, GENUINE, FRAUD)

Build = Callable[[Definitions, ModelSettings, HistorySource, int], TrainingSet]
RowsOf = Callable[[TrainingSet, Fold, int], FoldRows]


class LeakPart(FrozenStruct):
    """One part: the number of things compared, and the first difference in words, None if there is none."""

    name: str
    compared: int
    difference: str | None

    @property
    def passed(self) -> bool:
        return self.difference is None


class LeakReport(FrozenStruct):
    """Result of the leak test, part by part."""

    parts: tuple[LeakPart, ...]

    @property
    def passed(self) -> bool:
        return all(part.passed for part in self.parts)

    @property
    def failed(self) -> tuple[str, ...]:
        return tuple(part.name for part in self.parts if not part.passed)


def leak_test(
    definitions: Definitions,
    settings: ModelSettings,
    source: HistorySource,
    as_of_ms: int,
    *,
    sample: int = SAMPLE,
    build: Build = build_set,
    rows_of: RowsOf = rows_of,
) -> LeakReport:
    """Compare a training set as of a moment with what could be known at it.

    The log is cut at the start of the newest test; if no row is older, or none younger, at the median of the rows'
    times.

    Args:
        settings: Their seed chooses the rows and the changed verdicts.
        sample: Number of rows computed again from the log that ends with them.
        build: Makes a set; under test.
        rows_of: Divides a set into folds; under test.

    Cost: four sets and one pass of the online engine, with a batch that ends at each row of the sample.
    Memory: two sets.
    """
    whole = build(definitions, settings, source, as_of_ms)
    folds = windows_of(settings.split, settings.label_delay_ms, as_of_ms)
    at_ms = _moment(whole, folds)
    rng = np.random.default_rng(settings.seed)
    as_of = build(definitions, settings, source, at_ms)
    cut = build(definitions, settings, _cut(definitions, settings, source, at_ms), at_ms)
    first = difference_of(cut, as_of)
    leak = None if first is None else f"as of {time_text(at_ms)} the log cut there and the whole log differ: {first}"
    parts = [LeakPart(CUT_AT_MOMENT, len(as_of), leak or _train_after_test(whole, folds, settings, rows_of))]
    del cut
    parts.append(_cut_at_rows(definitions, settings, source, whole, rng, sample))
    turned = _Turned(int(rng.integers(1 << 62)), at_ms)
    first = difference_of(build(definitions, settings, turned.source(definitions, source), at_ms), as_of)
    leak = None if first is None else f"labels known after {time_text(at_ms)} change the set as of then: {first}"
    changed = count_true(whole.labels.known_at_ms > at_ms)
    parts.append(LeakPart(LATER_LABELS, changed, leak or _later_in_folds(whole, folds, settings, rows_of, rng)))
    return LeakReport(tuple(parts))


def difference_of(rows: TrainingSet, other: TrainingSet) -> str | None:
    """Return the first difference between two sets, bit for bit, in words; None if their files would be equal."""
    if rows.ids.tolist() != other.ids.tolist():
        return f"one has {len(rows)} rows and the other {len(other)}, or other ones: {_first_alone(rows, other)}"
    for (name, column), (other_name, other_column) in zip_longest(
        _columns(rows), _columns(other), fillvalue=("", NO_INTS)
    ):
        if name != other_name:
            return f"their columns differ: {name or 'none'} and {other_name or 'none'}"
        if len(column) != len(other_column):
            return f"{name}: {len(column)} and {len(other_column)} of them"
        differing = np.flatnonzero(~_equal(column, other_column))
        if len(differing):
            index = int(differing[0])
            return f"{name}{_at(rows, name, index)}: {column[index]} and {other_column[index]}"
    return None if _texts(rows) == _texts(other) else "the texts that occur differ"


def _first_alone(rows: TrainingSet, other: TrainingSet) -> str:
    alone = sorted(set(rows.ids.tolist()) ^ set(other.ids.tolist()))
    return f"{rows.event} {alone[0]} is in only one of them" if alone else "in another order"


def _columns(training_set: TrainingSet) -> Iterator[tuple[str, Any]]:
    labels = training_set.labels
    recorded = training_set.recorded
    yield from (
        ("place", training_set.seqs),
        ("time", training_set.times_ms),
        ("key", training_set.keys),
        ("amount", training_set.amounts_minor),
    )
    yield from (("outcome", recorded.outcomes), ("score", recorded.scores))
    yield from (("label row", labels.rows), ("label verdict", labels.verdicts), ("label source", labels.strengths))
    yield from (("label known_at", labels.known_at_ms), ("label reason", labels.reasons))
    yield from ((input_.name, input_.values[:]) for input_ in training_set.inputs)
    yield from ((f"hits of {rule}", hits) for rule, hits in recorded.hits.items())
    yield from ((f"slice {name}", texts) for name, texts in training_set.slices.items())


def _texts(training_set: TrainingSet) -> object:
    return (
        training_set.event,
        training_set.as_of_ms,
        [(input_.kind, input_.categories) for input_ in training_set.inputs],
        training_set.labels.reason_texts,
    )


def _equal(column: Any, other: Any) -> Any:
    """Compare two columns bit for bit; all NaNs are equal."""
    if column.dtype == np.float64:
        return (column.view(np.int64) == other.view(np.int64)) | (np.isnan(column) & np.isnan(other))
    return column == other


def _at(training_set: TrainingSet, column: str, index: int) -> str:
    if column.startswith("label "):
        return f" of label {index}"
    return f" of {training_set.event} {training_set.ids[index]} at sequence number {training_set.seqs[index]}"


# ---- the log cut at a moment


def _cut(definitions: Definitions, settings: ModelSettings, source: HistorySource, at_ms: int) -> HistorySource:
    def history() -> Iterator[FeatureEvents]:
        return (known_at(batch, at_ms, definitions, settings.event) for batch in source.taken())

    return replace(
        source, taken=history, labels=lambda: [label for label in source.labels() if label.known_at_ms <= at_ms]
    )


def _moment(whole: TrainingSet, folds: Sequence[Fold]) -> int:
    """Return the moment to cut at: the start of the newest test, if it has rows before and after it."""
    times_ms = whole.times_ms
    if folds and len(whole) and times_ms.min() <= folds[-1].test_start_ms < times_ms.max():
        return folds[-1].test_start_ms
    return int(np.median(times_ms)) if len(whole) else whole.as_of_ms


def _train_after_test(
    whole: TrainingSet, folds: Sequence[Fold], settings: ModelSettings, rows_of: RowsOf
) -> str | None:
    """Describe the first training row of a fold that is in its test or later; None if there is none."""
    for fold in folds:
        rows = rows_of(whole, fold, settings.label_delay_ms).train.rows
        late = rows[whole.times_ms[rows] >= fold.test_start_ms]
        if len(late):
            row = int(late[0])
            return (
                f"{whole.event} {whole.ids[row]} of {time_text(int(whole.times_ms[row]))} trains the fold whose test "
                f"starts at {time_text(fold.test_start_ms)}"
            )
    return None


# ---- the log cut at a row


def _cut_at_rows(
    definitions: Definitions,
    settings: ModelSettings,
    source: HistorySource,
    whole: TrainingSet,
    rng: np.random.Generator,
    sample: int,
) -> LeakPart:
    rows = np.sort(rng.choice(len(whole), min(sample, len(whole)), replace=False))
    compared = 0
    for row, values in _read_at(definitions, settings, source, whole, rows):
        compared += 1
        for input_, value in zip(whole.inputs, values, strict=True):
            if not _equal(input_.values[row : row + 1], value)[0]:
                difference = (
                    f"{input_.name} of {whole.event} {whole.ids[row]} at sequence number {whole.seqs[row]} is "
                    f"{input_.values[row]} in "
                    f"the set, and {value[0]} from the log that ends there"
                )
                return LeakPart(CUT_AT_ROW, compared, difference)
    if compared < len(rows):
        row = int(rows[compared])
        return LeakPart(
            CUT_AT_ROW, compared, f"{whole.event} {whole.ids[row]} is not at sequence number {whole.seqs[row]}"
        )
    return LeakPart(CUT_AT_ROW, compared, None)


def _read_at(
    definitions: Definitions, settings: ModelSettings, source: HistorySource, whole: TrainingSet, rows: Ints
) -> Iterator[tuple[int, list[Any]]]:
    """Yield what a model reads of each row, computed before the engine got a later event."""
    for fold in range(max(1, len(source.folds))):
        yield from _read_in_fold(definitions, settings, source, whole, rows, fold)


def _read_in_fold(
    definitions: Definitions, settings: ModelSettings, source: HistorySource, whole: TrainingSet, rows: Ints, fold: int
) -> Iterator[tuple[int, list[Any]]]:
    contents = wanted_of(definitions, settings)
    reference = source.folds[fold].reference if source.folds else definitions.reference
    online = Online(definitions.events, contents.all(), reference, source.lateness_ms)
    row_at_end = dict(zip(whole.seqs[rows].tolist(), rows.tolist(), strict=True))
    for part, row in _ending_at(of_fold(source, fold), definitions, settings.event, row_at_end):
        online.take(part.frames, part.size)
        if row is not None and (part.look_ups is None or part.look_ups.fold == fold):
            frame = part.frames[settings.event]
            last = np.array([len(frame) - 1])
            yield (
                row,
                [
                    model_column(
                        frame.computed[computed.name].take(last),
                        computed.node.type,
                        input_.categories if input_.kind == CATEGORY else None,
                    )
                    for computed, input_ in zip(contents.inputs, whole.inputs, strict=True)
                ],
            )


def _ending_at(
    history: Iterable[FeatureEvents], definitions: Definitions, event: str, ends: dict[int, int]
) -> Iterator[tuple[FeatureEvents, int | None]]:
    """Split a history at each event of `ends` (sequence number to row), up to the last of them; yield each part with
    the row at its end.
    """
    remaining = len(ends)
    for events in history:
        first = 0
        event_rows = [] if event not in events.frames else events.frames[event].rows.tolist()
        for row, seq in zip(event_rows, events.seqs.tolist(), strict=True):
            if seq in ends:
                yield rows_between(events, first, row + 1, definitions, event), ends[seq]
                first = row + 1
                remaining = remaining - 1
        if not remaining:
            return
        if first < events.size:
            yield rows_between(events, first, events.size, definitions, event), None


# ---- labels known later


class _Turned(FrozenStruct):
    """Gives every label known after a moment another verdict, always the same for one seed."""

    seed: int
    at_ms: int

    def source(self, definitions: Definitions, source: HistorySource) -> HistorySource:
        return replace(
            source, taken=lambda: self._taken(definitions, source), labels=lambda: self._inputs(source.labels())
        )

    def _taken(self, definitions: Definitions, source: HistorySource) -> Iterator[FeatureEvents]:
        rng = np.random.default_rng(self.seed)
        for batch in source.taken():
            if "label" not in batch.frames:
                yield batch
                continue
            frame = batch.frames["label"]
            events = [self._label(label, rng) for label in frame.events]
            turned = Frame(frame.type, events, frame.rows, definitions.events, definitions.reference)
            yield replace(batch, frames={**batch.frames, "label": turned})

    def _label(self, label: LogEvent, rng: np.random.Generator) -> LogEvent:
        if not isinstance(label, LabelEvent) or label.time_ms <= self.at_ms:
            return label
        event_name, verdict, *other_values = label.values
        return replace(label, values=(event_name, _other(str(verdict), rng), *other_values))

    def _inputs(self, labels: Iterable[LabelInput]) -> Iterator[LabelInput]:
        rng = np.random.default_rng(self.seed)
        for label in labels:
            is_later = label.known_at_ms > self.at_ms
            yield replace(label, verdict=_other(label.verdict, rng)) if is_later else label


def _other(verdict: str, rng: np.random.Generator) -> str:
    return VERDICTS[(VERDICTS.index(verdict) + int(rng.integers(1, len(VERDICTS)))) % len(VERDICTS)]


def _later_in_folds(
    whole: TrainingSet, folds: Sequence[Fold], settings: ModelSettings, rows_of: RowsOf, rng: np.random.Generator
) -> str | None:
    """Describe the first fold whose training rows change with labels known after its test began, if any."""
    for fold in folds:
        expected = rows_of(whole, fold, settings.label_delay_ms).train
        turned = replace(whole, labels=_turned(whole.labels, fold.test_start_ms, rng))
        actual = rows_of(turned, fold, settings.label_delay_ms).train
        if not (np.array_equal(expected.rows, actual.rows) and np.array_equal(expected.verdicts, actual.verdicts)):
            start = time_text(fold.test_start_ms)
            return f"labels known after {start} change what trains the fold whose test starts then"
    return None


def _turned(labels: Labels, at_ms: int, rng: np.random.Generator) -> Labels:
    codes = np.array(_VERDICT_CODES, np.int8)
    turned = codes[(np.searchsorted(codes, labels.verdicts) + rng.integers(1, 3, len(labels.rows))) % 3]
    return replace(labels, verdicts=np.where(labels.known_at_ms > at_ms, turned, labels.verdicts))
