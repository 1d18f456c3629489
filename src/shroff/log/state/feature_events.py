"""Events to compute features from: those of the log, or of files that are not ingested.

`log.columns.tables` and training sets read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from shroff.arrays import Ints
from shroff.events.formats.lines import Lines
from shroff.events.formats.sorting import in_order_of_arrival, merged_by_arrival
from shroff.events.intake import Intake, Submission
from shroff.events.labels import LogEvent
from shroff.events.redaction import keeping_hashed
from shroff.events.unique import UniqueFields
from shroff.features.frames import Frame, frames_of
from shroff.language.row import Reference
from shroff.language.values import show_duration
from shroff.log.history import Records
from shroff.project.definitions import Definitions
from shroff.runtime.progress import unheard
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import LogReader

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_SIZE = 4_096
FIRST_MAX = 10  # rejected lines that are reported
DOUBLED = "its id came before"
NumberedEvents = Iterator[list[tuple[int, LogEvent]]]  # lists of events and labels with their sequence numbers


class Left(FrozenStruct):
    """A line of a file that yielded no event, and the reason. `place` is its line, and its row if that differs."""

    source: str
    place: str
    reason: str


class LeftOut(Struct):
    """Counts of lines of files that yielded no event, and the first of these lines.

    Args:
        refused: Lines that validation refused, and events with a unique value that another event has.
        too_late: Events that are more than the lateness behind.
        doubled: Events whose id, or value that is unique within a duration, came before.
        untaken: Labels, and lines that no type accepts.
        first: The first of these lines.
        tell: Called with remarks on how a file is read.
        now_ms: The clock; if set, events too far ahead of it, and rows with an implausible time
            (`log.implausible_times`), are refused.
    """

    refused: int = 0
    too_late: int = 0
    doubled: int = 0
    untaken: int = 0
    first: list[Left] = []
    tell: Callable[[str], None] = unheard
    now_ms: int | None = None

    @property
    def count(self) -> int:
        return self.refused + self.too_late + self.doubled + self.untaken

    @property
    def is_quarantined(self) -> bool:
        """Whether `ingest` would have quarantined some of them."""
        return self.refused + self.too_late > 0

    def __str__(self) -> str:
        kinds = (
            (self.refused, "refused"),
            (self.too_late, "too late"),
            (self.doubled, "duplicate"),
            (self.untaken, "not an event of any type"),
        )
        reasons = ", ".join(f"{count:,} {reason}" for count, reason in kinds if count)
        lines = f"{self.count:,} line{'s' if self.count > 1 else ''} of the files gave no event: {reasons}"
        first = "".join(f"; the first is {left.source}:{left.place}: {left.reason}" for left in self.first[:1])
        return f"{lines}{first}".rstrip(".")

    def add(self, kind: str, count: int, lines: Iterable[Left]) -> None:
        """Count lines of a kind, which is a field's name. Reads only as many of `lines` as are kept."""
        setattr(self, kind, getattr(self, kind) + count)
        self.first += islice(lines, FIRST_MAX - len(self.first))


def late_words(lateness_ms: int) -> str:
    return f"too late: more than {show_duration(lateness_ms)} behind the newest event before it"


def left_submission(submission: Submission) -> tuple[str, Left]:
    """Return the field of `LeftOut` that counts a line without an event, and the line."""
    if submission.refusal is not None:
        return "refused", Left(submission.source, submission.place, submission.refusal)
    reason = "a label, and files are looked at for events" if submission.label is not None else "no event type takes it"
    return "untaken", Left(submission.source, submission.place, reason)


class LookUpsThen(FrozenStruct):
    """Lists and tables of a range of a log, which begins after the previous range.

    Args:
        end: The last sequence number of the range.
        fold: Number of the pass that computes the range. Windows use the same lists and tables in a whole pass.
    """

    end: int
    reference: Reference
    fold: int = 0


class FeatureEvents(FrozenStruct):
    """The next events of a history by type, with ids and sequence numbers of the events whose features are requested.

    `size` is the number of all events; rows of the frames are below it. Without `look_ups`, those of the project apply.
    """

    frames: Mapping[str, Frame]
    size: int
    ids: pa.Array
    seqs: Ints
    look_ups: LookUpsThen | None = None

    def __len__(self) -> int:
        return self.size


def taken(history: NumberedEvents, definitions: Definitions, event: str) -> Iterator[FeatureEvents]:
    """Convert a history to frames, with the ids of the events of one type."""
    import pyarrow as pa

    for batch in history:
        frames = frames_of([event for _, event in batch], definitions.events, definitions.reference)
        rows = [] if event not in frames else frames[event].rows.tolist()
        ids = pa.array([batch[row][1].id for row in rows], pa.string())
        yield FeatureEvents(frames, len(batch), ids, np.array([batch[row][0] for row in rows], np.int64))


def log_batches(log: LogReader, definitions: Definitions) -> NumberedEvents:
    """Yield the events and labels of a log with their sequence numbers."""
    records = Records(definitions.events, definitions.settings.money_places)
    for batch in log.read():
        decoded = [(record.seq, records.decode(record)) for record in batch]
        numbered = [(seq, event) for seq, event in decoded if event is not None]
        if numbered:
            yield numbered


def file_batches(
    files: Iterable[tuple[str, Lines]],
    definitions: Definitions,
    hasher: Callable[[str], str] | None,
    as_type: str | None,
    left: LeftOut | None = None,
) -> NumberedEvents:
    """Yield the events of files in file order, with the sequence numbers that a log would assign.

    A line that names its type is of that type, all others are of `as_type`. Rejected lines are counted in `left`.
    """
    from shroff.log.implausible_times import dated

    left = LeftOut() if left is None else left
    lateness_ms = definitions.settings.lateness_ms
    keeping = None if hasher is None else keeping_hashed(hasher)  # files may be exports, whose values are hashed
    intake = Intake(definitions.events, definitions.settings, keeping, conversion=definitions.conversion)
    batch: list[tuple[int, LogEvent]] = []
    seen: set[tuple[str, ...]] = set()
    unique = UniqueFields(definitions.events.types.values())
    times: dict[tuple[str, ...], int] = {}  # of events by their unique values
    watermark_ms: int | None = None
    seq = 0
    inputs: Iterable[Iterator[Submission]]
    inputs = (
        in_order_of_arrival(
            intake.submissions(lines, name, as_type, is_default=True), definitions.events, lines.format, as_type
        )
        for name, lines in files
    )
    if definitions.events.has_arrivals:
        inputs = [merged_by_arrival(inputs)]
    for submissions in inputs:
        for submission in submissions if left.now_ms is None else dated(submissions, definitions, left.now_ms):
            event = submission.event
            if event is None:
                kind, line = left_submission(submission)
                left.add(kind, 1, [line])
                continue
            if (event.type, event.id) in seen:
                left.add("doubled", 1, [Left(submission.source, submission.place, DOUBLED)])
                continue
            if watermark_ms is not None and watermark_ms - event.time_ms > lateness_ms:
                left.add("too_late", 1, [Left(submission.source, submission.place, late_words(lateness_ms))])
                continue
            if unique and unique.repeated(event, times.get, int) is not None:
                left.add("doubled", 1, [Left(submission.source, submission.place, DOUBLED)])
                continue
            names = [(event.type, name, value) for name, value in unique.keys(event)] if unique else []
            if not seen.isdisjoint(names):
                shared = next(key[1] for key in names if key in seen)
                left.add(
                    "refused", 1, [Left(submission.source, submission.place, f"{shared}: another event has this value")]
                )
                continue
            watermark_ms = event.time_ms if watermark_ms is None else max(watermark_ms, event.time_ms)
            seen.update([(event.type, event.id), *names])
            times.update(dict.fromkeys(names, event.time_ms))
            seq += 1
            batch.append((seq, event))
            if len(batch) == BATCH_SIZE:
                yield batch
                batch = []
    if batch:
        yield batch


def known_by(batches: NumberedEvents, as_of_ms: int | None) -> NumberedEvents:
    """Remove from a history everything that happened, or became known, after a time.

    No feature of an earlier event depends on it: an aggregate reads nothing later than its own event.
    """
    for batch in batches:
        yield batch if as_of_ms is None else [pair for pair in batch if pair[1].time_ms <= as_of_ms]
