"""Where a training set comes from: a history that can be read again and again, of a log or of files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shroff.decisions.definitions import Definitions
from shroff.decisions.fold import lateness_of
from shroff.decisions.histories import History, Taken, file_batches, taken
from shroff.decisions.training_labels import in_order, with_labels
from shroff.decisions.training_wanted import wanted_of
from shroff.errors import UsageError
from shroff.events.door import LabelInput
from shroff.events.encodings import read_lines
from shroff.events.intake import Intake
from shroff.events.kept import keeping_hashed
from shroff.features.frames import Coded, ColumnFrame, Frame
from shroff.language.columns import Column
from shroff.language.expression import aggregates
from shroff.models.definitions import ModelSettings
from shroff.streams.log import Log

Hasher = Callable[[str], str]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Source:
    """A history that can be read again and again.

    Args:
        taken: The events and labels of it, all of them, as frames.
        lateness_ms: How late its events may be.
        labels: Labels that do not stand in the history, in their order; no feature reads them.
        log: Where it has been decided; None for files.
    """

    taken: Callable[[], Iterable[Taken]]
    lateness_ms: int
    labels: Callable[[], Iterable[LabelInput]] = tuple
    log: Log | None = None


def log_source(log: Log, definitions: Definitions, event: str) -> Source:
    """What a log has."""
    return Source(lambda: _log_frames(log, definitions, event), lateness_of(log, definitions), log=log)


def _log_frames(log: Log, definitions: Definitions, event: str) -> Iterator[Taken]:
    import pyarrow as pa

    from shroff.decisions.log_columns import ids_of, log_columns

    for piece in log_columns(log, definitions):
        frame = piece.frames.get(event)
        ids = pa.array([], pa.string()) if frame is None else ids_of(frame).cast(pa.string())
        seqs = np.zeros(0, np.int64) if frame is None else piece.after + frame.rows + 1
        yield Taken(piece.frames, piece.size, ids, seqs)


def file_source(
    files: Sequence[Path],
    labels: Path | None,
    definitions: Definitions,
    settings: ModelSettings,
    hasher: Hasher | None = None,
) -> Source:
    """What files would give: events in file order, and labels merged in by when they were known.

    Places count the events that are taken. Where no feature looks at labels, events come by columns.

    Raises: UsageError where a file cannot be read or lacks a column, and where a label cannot be matched here.
    """
    event = settings.event

    def label_rows() -> list[LabelInput]:
        if labels is None:
            return []
        intake = Intake(definitions.events, definitions.settings, None if hasher is None else keeping_hashed(hasher))
        found: list[LabelInput] = []
        for one in intake.submissions(read_lines(labels), labels.name, "label"):
            if one.label is None or not one.label.event_id:
                why = one.refusal or "it names its event by a unique field, which only a log looks up"
                raise UsageError(f"{labels.name}, {one.place}: {why}. 'shroff ingest' takes such files into the log.")
            found.append(one.label)
        return in_order(found, definitions.settings.money_places)

    def history() -> History:
        lines = ((path.name, read_lines(path)) for path in files)
        batches = file_batches(lines, definitions, hasher, event)
        return with_labels(batches, label_rows(), definitions.settings.money_places)

    def columns() -> Iterator[Taken]:
        from shroff.decisions.columnar import file_columns

        return file_columns(files, definitions, hasher, event)

    lateness_ms = definitions.settings.lateness_ms
    wanted = wanted_of(definitions, settings).all()
    if any(one.event == "label" for computed in wanted for one in aggregates(computed.node)):
        return Source(lambda: taken(history(), definitions, event), lateness_ms)
    return Source(columns, lateness_ms, label_rows)


def last_moment(log: Log) -> int | None:
    """The newest time of the log: of when a set is that nobody names a moment for; None without events.

    It is the time of the newest event, or of the last record if that is a label which came to be known later. A label
    that is brought in behind with an older time does not set the moment back.
    """
    newest, end = log.watermark_ms(), log.last_seq()
    while end > 0:
        start = max(0, end - 256)
        for records in reversed(list(log.read(start, end))):
            for record in reversed(records):
                if record.kind != "control":
                    return max(record.time_ms, record.time_ms if newest is None else newest)
        end = start
    return None


# ---- parts of what was taken


def known_at(one: Taken, as_of_ms: int, definitions: Definitions, event: str) -> Taken:
    """The same without what happened, or was known, after a moment."""
    kept = {name: frame.times <= as_of_ms for name, frame in one.frames.items()}
    if all(is_kept.all() for is_kept in kept.values()):
        return one
    return _some(
        one, {name: np.flatnonzero(is_kept) for name, is_kept in kept.items()}, 0, one.size, definitions, event
    )


def rows_between(one: Taken, first: int, end: int, definitions: Definitions, event: str) -> Taken:
    """The events of [first, end) alone."""
    if (first, end) == (0, one.size):
        return one
    inside = {name: np.flatnonzero((frame.rows >= first) & (frame.rows < end)) for name, frame in one.frames.items()}
    return _some(one, inside, first, end - first, definitions, event)


def _some(one: Taken, places: Mapping[str, Rows], first: int, size: int, definitions: Definitions, event: str) -> Taken:
    """Some events of each type, their rows counted from the row `first`."""
    import pyarrow as pa

    frames = {
        name: _part(frame, places[name], first, definitions) for name, frame in one.frames.items() if len(places[name])
    }
    mine = places.get(event, np.zeros(0, np.int64))
    return Taken(frames, size, one.ids.take(pa.array(mine)), one.seqs[mine])


def _part(frame: Frame, places: Rows, first: int, definitions: Definitions) -> Frame:
    rows = frame.rows[places] - first
    if not isinstance(frame, ColumnFrame):
        events = [frame.events[place] for place in places.tolist()]
        return Frame(frame.type, events, rows, definitions.events, definitions.reference)
    columns = _PartColumns(frame.columns, places)
    return ColumnFrame(frame.type, columns, frame.times[places], rows, definitions.events, definitions.reference)


class _PartColumns(Mapping[str, Column | Coded]):
    """Some rows of columns, each taken when it is asked for."""

    def __init__(self, columns: Mapping[str, Column | Coded], places: Rows) -> None:
        self._columns, self._places = columns, places

    def __getitem__(self, name: str) -> Column | Coded:
        return self._columns[name].take(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)
