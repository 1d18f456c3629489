"""Histories to compute features from: what the log has, or what files would give alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from shroff.decisions.definitions import Definitions
from shroff.decisions.history import Records
from shroff.events.intake import Intake
from shroff.events.kept import keeping_hashed
from shroff.events.labels import LogEvent
from shroff.events.lines import Lines
from shroff.features.frames import Frame, frames_of
from shroff.streams.log import Log

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_SIZE: Final = 4_096
History = Iterator[list[tuple[int, LogEvent]]]


@dataclass(frozen=True, slots=True)
class Taken:
    """The next events of a history by type, and of those whose features are wanted the ids and places.

    `size` is how many events there are; the rows of the frames are below it.
    """

    frames: Mapping[str, Frame]
    size: int
    ids: pa.Array
    seqs: NDArray[np.int64]

    def __len__(self) -> int:
        return self.size


def taken(history: History, definitions: Definitions, event: str) -> Iterator[Taken]:
    """A history as frames; the features of one type are wanted."""
    import pyarrow as pa

    for batch in history:
        frames = frames_of([one for _, one in batch], definitions.events, definitions.reference)
        wanted = [] if event not in frames else frames[event].rows.tolist()
        ids = pa.array([batch[row][1].id for row in wanted], pa.string())
        yield Taken(frames, len(batch), ids, np.array([batch[row][0] for row in wanted], np.int64))


def log_batches(log: Log, definitions: Definitions) -> History:
    """The events and labels of a log with their places."""
    records = Records(definitions.events, definitions.settings.money_places)
    for batch in log.read():
        decoded = [(record.seq, event) for record in batch if (event := records.decode(record)) is not None]
        if decoded:
            yield decoded


def file_batches(
    files: Iterable[tuple[str, Lines]],
    definitions: Definitions,
    hasher: Callable[[str], str] | None,
    as_type: str | None,
) -> History:
    """The events of files in file order, with the places that this order would give; refused lines have none."""
    keeping = None if hasher is None else keeping_hashed(hasher)  # files may be exports, whose values are hashed
    intake = Intake(definitions.events, definitions.settings, keeping)
    batch: list[tuple[int, LogEvent]] = []
    seen: set[tuple[str, str]] = set()
    watermark_ms: int | None = None
    seq = 0
    for name, lines in files:
        for one in intake.submissions(lines, name, as_type):
            event = one.event
            if event is None or (event.type, event.id) in seen:
                continue
            if watermark_ms is not None and watermark_ms - event.time_ms > definitions.settings.lateness_ms:
                continue
            watermark_ms = event.time_ms if watermark_ms is None else max(watermark_ms, event.time_ms)
            seen.add((event.type, event.id))
            seq += 1
            batch.append((seq, event))
            if len(batch) == BATCH_SIZE:
                yield batch
                batch = []
    if batch:
        yield batch
