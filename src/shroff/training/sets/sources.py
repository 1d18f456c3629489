"""Sources of a training set: histories of a log or of files that can be read repeatedly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from shroff.arrays import NO_INTS, Ints
from shroff.errors import UsageError
from shroff.events.formats.encodings import read_lines
from shroff.events.intake import Intake
from shroff.events.redaction import keeping_hashed
from shroff.events.validation import LabelInput
from shroff.features.batch.rounds import Rounds
from shroff.features.frames import Coded, ColumnFrame, Frame
from shroff.language.columns import Column
from shroff.language.expression import Node, aggregates
from shroff.log.later_labels import last_moment, latest
from shroff.log.state.feature_events import FeatureEvents, LeftOut, LookUpsThen
from shroff.log.state.fold import lateness_of
from shroff.models.definitions import ModelSettings
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log, LogReader
from shroff.training.sets.labels import in_order
from shroff.training.sets.look_ups_then import look_ups_then
from shroff.training.sets.wanted import wanted_of

Hasher = Callable[[str], str]
Rows = Ints


class HistorySource(FrozenStruct):
    """A history that can be read repeatedly.

    Args:
        taken: Returns all its events and labels, as frames.
        lateness_ms: How late its events may be.
        labels: Returns labels outside the history, in their order; no feature reads them.
        log: Log with its decisions; None for files.
        upto: Last sequence number to read; None for the end of the log.
        files, labels_file, order: Origin of a history of files; order `time`: they were sorted first.
        newest: Returns the time of its last record for a given now; None without events (see `last_moment`).
        stretches: Lists and tables as of each event, by stretches of the log; empty if none is read.
    """

    taken: Callable[[], Iterable[FeatureEvents]]
    lateness_ms: int
    labels: Callable[[], Iterable[LabelInput]] = tuple
    log: Log | None = None
    upto: int | None = None
    files: tuple[Path, ...] = ()
    labels_file: Path | None = None
    order: str = "file"
    newest: Callable[[int], int | None] = lambda _now_ms: None
    stretches: Sequence[LookUpsThen] = ()

    @property
    def folds(self) -> list[LookUpsThen]:
        """Return the first stretch of each fold (see `look_ups_then`)."""
        folds_before = [-1, *(stretch.fold for stretch in self.stretches)]
        return [stretch for stretch, fold in zip(self.stretches, folds_before, strict=False) if stretch.fold > fold]


def log_source(
    log: Log,
    definitions: Definitions,
    event: str,
    upto: int | None = None,
    nodes: Sequence[Node] | None = None,
    after: int = 0,
) -> HistorySource:
    """Return the history of a log from behind `after` up to `upto`, with lists and tables as of each event.

    Args:
        nodes: Expressions to compute at the events; by default all that models of the type read or could read.
    """
    lateness_ms = lateness_of(log, definitions)
    stretches = look_ups_then(log, definitions, _read_by_models(definitions, event) if nodes is None else nodes, after)

    def frames() -> Iterator[FeatureEvents]:
        return _log_frames(log, definitions, event, after, upto, stretches)

    newest = partial(last_moment, log)
    return HistorySource(frames, lateness_ms, log=log, upto=upto, newest=newest, stretches=stretches)


def _read_by_models(definitions: Definitions, event: str) -> list[Node]:
    """Return all features, the inputs of the models of a type, and the cost of a missed fraud."""
    nodes = [feature.node for feature in definitions.features.values()]
    settings = definitions.models.get(event)
    if settings is not None:
        nodes += [input_.node for input_ in (*settings.inputs, *settings.slices)]
    nodes += [node for scorer in definitions.scoring_of(event).all for node in scorer.inputs]
    if event not in definitions.events.types:  # an unknown type is refused where something of it is computed
        return nodes
    missed = definitions.missed_fraud(event)
    return nodes if missed is None else [*nodes, missed]


def _log_frames(
    log: LogReader, definitions: Definitions, event: str, after: int, upto: int | None, stretches: Sequence[LookUpsThen]
) -> Iterator[FeatureEvents]:
    import pyarrow as pa

    from shroff.log.columns.stored import LineReader, ids_of, log_columns

    reader = LineReader(definitions)
    parts = list[LookUpsThen | None](stretches) or [None]
    for then in parts:
        end = upto
        if then is not None and then is not parts[-1]:
            end = then.end if upto is None else min(then.end, upto)
        for piece in log_columns(log, definitions, end, after=after, reader=reader):
            if then is not None:
                for frame in piece.frames.values():
                    frame.reference = then.reference
            of_event = piece.frames.get(event)
            ids = pa.array([], pa.string()) if of_event is None else ids_of(of_event)
            seqs = NO_INTS if of_event is None else piece.after + of_event.rows + 1
            yield FeatureEvents(piece.frames, piece.size, ids, seqs, then)
            after = piece.after + piece.size


def of_fold(source: HistorySource, fold: int) -> Iterator[FeatureEvents]:
    """Read a source up to the end of a fold; events of earlier folds get the lists and tables of this one."""
    for events in source.taken():
        then = events.look_ups
        if then is None or then.fold == fold:
            yield events
        elif then.fold > fold:
            return
        else:
            first = source.folds[fold]
            for frame in events.frames.values():
                frame.reference = first.reference
            yield replace(events, look_ups=replace(first, fold=then.fold))


def feed(engine: Rounds[Any], events: Iterable[FeatureEvents], event: str = "", fold: int = 0) -> int:
    """Add events to an engine; return how many events of a type belong to earlier folds."""
    earlier = 0
    last_look_ups = None
    for chunk in events:
        then = chunk.look_ups
        if then is not None:
            if event in chunk.frames and then.fold < fold:
                earlier += len(chunk.frames[event])
            if last_look_ups is not None and last_look_ups.reference is not then.reference:
                engine.refer(then.reference)
            last_look_ups = then
        engine.add(chunk.frames, chunk.size)
    return earlier


def reads_labels(definitions: Definitions, settings: ModelSettings) -> bool:
    """Return whether a feature reads labels, so that they must be among the events: in a log."""
    wanted = wanted_of(definitions, settings).all()
    return any(aggregate.event == "label" for computed in wanted for aggregate in aggregates(computed.node))


def file_source(
    files: Sequence[Path],
    labels: Path | None,
    definitions: Definitions,
    settings: ModelSettings,
    hasher: Hasher | None = None,
    left: LeftOut | None = None,
) -> HistorySource:
    """Return the history of files read by columns, with labels beside it, which no feature may read.

    Sequence numbers count the events taken.

    Args:
        hasher: Hashes the values of fields that are stored as hashes.
        left: Collects the lines that give no event.

    Raises: UsageError if a file cannot be read or lacks a column, or a label names no event by id; ValueError if
    features read labels (see `reads_labels`).
    """
    if reads_labels(definitions, settings):
        raise ValueError("features that read labels need a log of the files")

    left = left or LeftOut()

    def label_rows() -> list[LabelInput]:
        return [] if labels is None else _label_rows(labels, definitions, hasher, left.tell)

    def columns(left: LeftOut) -> Iterator[FeatureEvents]:
        from shroff.log.columns.files import file_columns

        return file_columns(files, definitions, hasher, settings.event, left=left)

    def newest(until_ms: int) -> int | None:
        times = [
            int(frame.times.max())
            for column in columns(LeftOut(now_ms=left.now_ms))
            for frame in column.frames.values()
            if len(frame)
        ]
        return latest(max(times, default=None), (label.known_at_ms for label in label_rows()), until_ms)

    lateness_ms = definitions.settings.lateness_ms
    paths = tuple(files)
    return HistorySource(lambda: columns(left), lateness_ms, label_rows, files=paths, labels_file=labels, newest=newest)


def _label_rows(
    labels: Path, definitions: Definitions, hasher: Hasher | None, tell: Callable[[str], None]
) -> list[LabelInput]:
    """Return the labels of a file sorted by `known_at`, without duplicates."""
    from shroff.training.sets.label_columns import plain_labels

    plain = plain_labels(labels, definitions.events)
    if plain is not None:
        return in_order(plain)
    intake = Intake(definitions.events, definitions.settings, None if hasher is None else keeping_hashed(hasher))
    inputs: list[LabelInput] = []
    for submission in intake.submissions(read_lines(labels, tell=tell), labels.name, "label"):
        if submission.label is None and submission.refusal is None:
            continue  # `when` leaves this line out
        if submission.label is None or not submission.label.event_id:
            reason = submission.refusal or "it names its event by a unique field, which only a log looks up"
            raise UsageError(
                f"{labels.name}, {submission.place}: {reason}. 'shroff ingest' takes such files into the log."
            )
        inputs.append(submission.label)
    return in_order(inputs)


# ---- parts of a history


def known_at(events: FeatureEvents, as_of_ms: int, definitions: Definitions, event: str) -> FeatureEvents:
    """Return the events without those that happened, and labels that were known, after a moment."""
    masks = {name: frame.times <= as_of_ms for name, frame in events.frames.items()}
    if all(is_kept.all() for is_kept in masks.values()):
        return events
    return _events_from(
        events, {name: np.flatnonzero(is_kept) for name, is_kept in masks.items()}, 0, events.size, definitions, event
    )


def rows_between(events: FeatureEvents, first: int, end: int, definitions: Definitions, event: str) -> FeatureEvents:
    """Return the events in rows [first, end) alone."""
    if (first, end) == (0, events.size):
        return events
    inside = {name: np.flatnonzero((frame.rows >= first) & (frame.rows < end)) for name, frame in events.frames.items()}
    return _events_from(events, inside, first, end - first, definitions, event)


def _events_from(
    events: FeatureEvents, rows_by_type: Mapping[str, Rows], first: int, size: int, definitions: Definitions, event: str
) -> FeatureEvents:
    import pyarrow as pa

    frames = {
        name: _part(frame, rows_by_type[name], first, definitions)
        for name, frame in events.frames.items()
        if len(rows_by_type[name])
    }
    event_rows = rows_by_type.get(event, NO_INTS)
    return FeatureEvents(frames, size, events.ids.take(pa.array(event_rows)), events.seqs[event_rows], events.look_ups)


def _part(frame: Frame, indexes: Rows, first: int, definitions: Definitions) -> Frame:
    rows = frame.rows[indexes] - first
    if not isinstance(frame, ColumnFrame):
        events = [frame.events[index] for index in indexes.tolist()]
        return Frame(frame.type, events, rows, definitions.events, frame.reference)
    columns = _PartColumns(frame.columns, indexes)
    return ColumnFrame(frame.type, columns, frame.times[indexes], rows, definitions.events, frame.reference)


class _PartColumns(Mapping[str, Column | Coded]):
    """Some rows of columns, each taken when it is read."""

    def __init__(self, columns: Mapping[str, Column | Coded], indexes: Rows) -> None:
        self._columns = columns
        self._places = indexes

    def __getitem__(self, name: str) -> Column | Coded:
        return self._columns[name].take(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
