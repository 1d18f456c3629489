"""Computes decisions again from the log, and compares them with the recorded ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from math import ceil
from typing import Generic, TypeVar

import msgspec
from msgspec import Struct

from shroff.engine.step import Effects
from shroff.engine.stored import stored, telling_damage
from shroff.errors import StateError
from shroff.events.event import canonical_value
from shroff.features.naive import Naive
from shroff.json_types import TextDict, TextMapping
from shroff.language.values import Value
from shroff.log.history import Control
from shroff.log.state.fold import Folded, Progress, empty, fold, lateness_of, placed_batches, take
from shroff.log.version_switch import carried, means_the_same
from shroff.models.in_force import FILE
from shroff.project.definitions import Definitions, computed_of, load_definitions
from shroff.project.parse_cache import ReadOnce
from shroff.project.scoring import LoadModel, scored_one
from shroff.runtime.process_wide import calm_collector
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import PENDING, DecisionRow, FlagRow, HitRow, Log, LogReader, Record

Marked = TypeVar("Marked", HitRow, FlagRow, DecisionRow)


class Segment(FrozenStruct):
    """A range of the log, (start, end], that one version decided, with the files of that version.

    `is_empty`: the next version became active before any event.
    """

    files: TextMapping
    start: int
    end: int
    load_model: LoadModel | None = None
    is_empty: bool = False
    read: ReadOnce | None = None  # shared by all versions, as most of them differ in one file

    @property
    def definitions(self) -> Definitions:
        return load_definitions(self.files, load_model=self.load_model, read=self.read).or_raise()


def segments(log: LogReader, load_model: LoadModel | None = None) -> list[Segment]:
    """Return the versions that were active, with the range of the log that each decided."""
    last = log.last_seq()  # read first, so that a version that becomes active meanwhile is excluded
    return segments_of(log.controls(upto=last), last, load_model)


def segments_after(log: LogReader, after: int, load_model: LoadModel | None) -> list[Segment]:
    """Like `segments`, for the log after a sequence number; a range that includes it begins there."""
    all_segments = segments(log, load_model)
    return [
        replace(segment, start=max(segment.start, after))
        for segment in all_segments
        if segment.end > after or after == 0
    ]


def segments_of(controls: Sequence[Record], last: int, load_model: LoadModel | None) -> list[Segment]:
    """Like `segments`, from all control events up to the sequence number `last`."""
    control = Control()
    read = ReadOnce()
    all_segments: list[Segment] = []
    following = [*(record.seq for record in controls[1:]), last + 1]
    for record, next_ in zip(controls, following, strict=False):
        control.take(record)
        end = min(next_, last)
        is_empty = next_ == record.seq + 1
        all_segments.append(Segment(dict(control.files), record.seq, end, load_model, is_empty, read))
    return all_segments


def redecided(
    log: LogReader,
    segment: Segment,
    upto: int | None = None,
    progress: Progress | None = None,
    folded: Folded | None = None,
) -> Iterator[Effects]:
    """Yield the effects of a segment's events, decided again by the online engine.

    Args:
        folded: State that this version would have folded at a sequence number before the segment; it is modified.

    Raises: StateError if a model that decided them cannot be loaded.
    """
    if folded is None:
        definitions = segment.definitions
        folded = empty(definitions, lateness_of(log, definitions))
    for batch in placed_batches(log, folded, segment.end if upto is None else min(upto, segment.end), segment.start):
        effects = folded.engine.step(batch)
        if progress is not None:
            progress(len(batch))
        yield effects


class Mismatch(FrozenStruct):
    """A decision that differs from the recorded one."""

    event: str
    id: str
    seq: int
    engine: str
    recorded: str
    computed: str


class Verification(Struct):
    """Result of `verify`. `events` counts compared events of decided types, `undecided` those appended without a
    decision.

    `unread` describes ranges of the log that were not compared because a model that decided them cannot be loaded, and
    parts of a sample that were not. `sampled` is the number of decisions computed by definition, and their total.
    """

    events: int = 0
    undecided: int = 0
    mismatches: int = 0
    first_mismatch: Mismatch | None = None
    unread: list[str] = []
    sampled: tuple[int, int] = (0, 0)

    def differ(self, mismatch: Mismatch) -> None:
        self.mismatches += 1
        self.first_mismatch = self.first_mismatch or mismatch

    def can_read(self, segment: Segment) -> bool:
        """Return whether the models that decided a range can be loaded; note why not."""
        if FILE not in segment.files:
            return True
        try:
            segment.definitions.require_models()
        except StateError as error:
            self.unread.append(f"places {segment.start + 1:,} to {segment.end:,} were not compared: {error}")
            return False
        return True


@telling_damage()
def verify_online(
    log: Log, progress: Progress | None = None, load_model: LoadModel | None = None, after: int = 0
) -> Verification:
    """Decide the log again and compare documents and receipts, byte by byte.

    Args:
        after: Only later decisions are compared; everything before is folded, with hits as recorded.
    """
    result = Verification()
    with calm_collector():
        _verify_segments(log, result, progress, load_model, after)
    return result


def _verify_segments(
    log: Log, result: Verification, progress: Progress | None, load_model: LoadModel | None, after: int
) -> None:
    folded: Folded | None = None
    for segment in segments_after(log, after, load_model):
        if segment.is_empty or not result.can_read(segment):
            continue
        definitions = segment.definitions
        folded = (folded and carried(folded, definitions)) or fold(log, definitions, segment.start, progress)
        mismatches = result.mismatches
        recorded = (row for rows in log.decisions.after(segment.start, segment.end) for row in rows)
        marks = _Marks(log, segment, result)
        _compare(recorded, marks.decisions(redecided(log, segment, None, progress, folded)), result)
        marks.compare((), (), segment.end)
        if result.mismatches > mismatches:  # its state differs from the log's
            folded = None


class _Marks:
    """Compares recorded hits and flags of a range with computed ones, a batch at a time."""

    def __init__(self, log: Log, segment: Segment, result: Verification) -> None:
        self._hits = RowsAhead(log.hits.after(segment.start, segment.end))
        self._flags = RowsAhead(log.flags.after(segment.start, segment.end))
        self._result = result

    def decisions(self, computed: Iterable[Effects]) -> Iterator[DecisionRow]:
        """Yield the decisions among effects, comparing hits and flags on the way."""
        for effects in computed:
            yield from effects.decisions
            ends = [row.seq for row in effects.decisions[-1:]] + [row.seq for row in effects.hits[-1:]]
            self.compare(effects.hits, effects.flags, max(ends, default=0))  # every flag belongs to a hit

    def compare(self, hits: Iterable[HitRow], flags: Iterable[FlagRow], upto: int) -> None:
        """Compare with recorded hits and flags after the last batch, up to a sequence number."""
        stored = self._hits.taken(upto)
        computed_hits = [(row.seq, row) for row in hits]
        compare_marks("hit", [(row.seq, row) for row in stored], computed_hits, "online", self._result)
        # Accuracy follows from later labels; everything else of a flag is a result of the fold.
        raised = [(row.seq, replace(row, accuracy=PENDING)) for row in self._flags.taken(upto)]
        compare_marks("flag", raised, [(row.seq, row) for row in flags], "online", self._result)


class RowsAhead(Generic[Marked]):
    """Rows ordered by sequence number, consumed up to a sequence number at a time."""

    def __init__(self, batches: Iterable[Sequence[Marked]]) -> None:
        self._rows: Iterator[Marked] = chain.from_iterable(batches)
        self._next: Marked | None = next(self._rows, None)

    def taken(self, end_seq: int) -> list[Marked]:
        rows = list[Marked]()
        while self._next is not None and self._next.seq <= end_seq:
            rows.append(self._next)
            self._next = next(self._rows, None)
        return rows


def compare_marks(
    what: str,
    recorded: Sequence[tuple[int, object]],
    computed: Sequence[tuple[int, object]],
    engine: str,
    result: Verification,
) -> None:
    """Compare hits or flags by sequence number; each that only one side has is a mismatch."""
    if recorded == computed:
        return
    stored = set(recorded)
    computed_rows = set(computed)
    for seq, row in sorted(stored ^ computed_rows, key=lambda pair: pair[0]):
        sides = (f"{what} {row}", f"no {what}") if (seq, row) in stored else (f"no {what}", f"{what} {row}")
        result.differ(Mismatch(what, "", seq, engine, *sides))


def _compare(recorded: Iterator[DecisionRow], computed: Iterator[DecisionRow], result: Verification) -> None:
    """Compare both in log order; a decision that only one side has is a mismatch, too."""

    def differ(row: DecisionRow, stored: str, decided: str) -> None:
        result.differ(Mismatch(row.event, row.id, row.seq, "online", stored, decided))

    recorded_row = next(recorded, None)
    computed_row = next(computed, None)
    while recorded_row is not None or computed_row is not None:
        result.events += 1
        if recorded_row is None or (computed_row is not None and computed_row.seq < recorded_row.seq):
            assert computed_row is not None
            differ(computed_row, "no decision", computed_row.outcome)
            computed_row = next(computed, None)
        elif computed_row is None or recorded_row.seq < computed_row.seq:
            differ(recorded_row, recorded_row.outcome, "no decision")
            recorded_row = next(recorded, None)
        else:
            if recorded_row != computed_row:
                sides = (f"{row.outcome} {row.document.decode()}" for row in (recorded_row, computed_row))
                differ(recorded_row, *sides)
            recorded_row = next(recorded, None)
            computed_row = next(computed, None)


class SampleTime:
    """Selects how many of a sample to compute within a time limit: all, or fewer if the last one took long.

    Args:
        count: Size of the sample, which is computed in order.
        limit_s: None for no limit.
    """

    def __init__(self, count: int, limit_s: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._remaining = count
        self._limit_s = limit_s
        self._clock = clock
        self._spent_s = 0.0
        self._passing = 0

    def takes(self) -> bool:
        self._remaining -= 1
        self._passing -= 1
        return self._passing < 0

    @contextmanager
    def measured(self) -> Iterator[None]:
        began_s = self._clock()
        yield
        last_s = self._clock() - began_s
        self._spent_s += last_s
        if self._limit_s is not None and last_s:
            affordable = max(self._limit_s - self._spent_s, last_s) / last_s
            self._passing = ceil(self._remaining / affordable) - 1 if self._remaining else 0


@telling_damage()
def verify_naive(
    log: LogReader,
    wanted: Callable[[int], bool],
    progress: Progress | None = None,
    load_model: LoadModel | None = None,
    sample: SampleTime | None = None,
) -> Verification:
    """Compute features and score of chosen events by definition, and compare them with the recorded ones.

    Cost: for each aggregate a pass over all earlier events of the key, so choose a sample if a key has many.
    """
    result = Verification()
    sample = sample or SampleTime(0, None)
    past: tuple[Definitions, Naive, Folded] | None = None
    for segment in segments(log, load_model):
        if segment.is_empty or not result.can_read(segment):
            continue
        rows = {
            row.seq: row for rows in log.decisions.after(segment.start, segment.end) for row in rows if wanted(row.seq)
        }
        if not rows:
            continue
        definitions = segment.definitions
        computed = computed_of(definitions)
        if past is not None and means_the_same(past[0], definitions):
            naive = replace(past[1], computed=computed, reference=definitions.reference)
            folded = past[2]
        else:
            naive = Naive(definitions.events, computed, definitions.reference)
            folded = empty(definitions)
        past = definitions, naive, folded
        for batch in placed_batches(log, folded, segment.end):
            for pair in batch:
                if pair.seq not in rows or not sample.takes():
                    naive.take(pair.event, pair.past_hits or {}, is_asked=False)
                else:
                    with sample.measured():
                        values = naive.take(pair.event, pair.past_hits or {}, is_asked=True)
                    _compare_naive(rows[pair.seq], values, definitions, result)
                if progress is not None:
                    progress(1)
    return result


LookBack = Callable[[int], Sequence[Record] | None]
"""Returns the records that a decision depends on, in log order, given its sequence number; None if unknown."""


@telling_damage()
def verify_by_keys(
    log: LogReader,
    places: Sequence[int],
    look_back: LookBack,
    progress: Progress | None = None,
    load_model: LoadModel | None = None,
    sample: SampleTime | None = None,
) -> Verification:
    """Like `verify_naive`, from the events of each decision's own keys; `unread` counts decisions that need more.

    Cost: for each decision its keys' events as far back as the windows reach, whatever the log's length.
    """
    result = Verification()
    unread = list[int]()
    sample = sample or SampleTime(0, None)
    for segment in segments(log, load_model):
        inside = [seq for seq in places if segment.start < seq <= segment.end]
        if not inside or not result.can_read(segment):
            continue
        definitions = segment.definitions
        for seq in inside:
            if not sample.takes():
                continue
            with sample.measured():
                records = look_back(seq)
                if records is None:
                    unread.append(seq)
                    continue
                ((row,),) = log.decisions.after(seq - 1, seq)
                naive = Naive(definitions.events, computed_of(definitions), definitions.reference)
                folded = empty(definitions)
                for record in records:
                    past_event = take(record, folded, {})
                    if past_event is not None:
                        naive.append(past_event.event)
                decided_event = take(log.records_at([seq])[seq], folded, {})
                assert decided_event is not None, "a decided record is an event"
                values = naive.take(decided_event.event, {}, is_asked=True)
            _compare_naive(row, values, definitions, result)
            if progress is not None:
                progress(len(records) + 1)
    if unread:
        result.unread.append(
            f"{len(unread):,} of {len(places):,} sampled decisions were not computed by their definition, the first at "
            f"place {unread[0]:,}: in a log this long that needs features and rules that depend on the events of the "
            "decision's own keys alone, and keys with at most 1,000,000 events in a window"
        )
    return result


def _compare_naive(
    row: DecisionRow, values: Mapping[str, Value], definitions: Definitions, result: Verification
) -> None:
    result.events += 1
    scored_values = scored_one(values, definitions.scoring_of(row.event))
    score_and_model = None if scored_values is None else (scored_values.shown()[0].decode(), scored_values.models[0])
    compare_features(row, _shown(values, row.event, definitions), "naive", result, score_and_model)


def _shown(values: Mapping[str, Value], event: str, definitions: Definitions) -> TextDict:
    decimals = definitions.settings.money_places
    return {
        name: canonical_value(values.get(name), definitions.features[name].type, decimals)
        for name in definitions.feature_names(event)
    }


def compare_features(
    row: DecisionRow, computed: TextMapping, engine: str, result: Verification, score: tuple[str, str] | None = None
) -> None:
    """Compare the features of a decision with those of an engine, as canonical JSON by name.

    Also the score, as JSON, with the id of its model.
    """
    document = stored(row.document, _Compared, f"the decision at sequence number {row.seq}")
    features = document.features
    recorded_by = (bytes(document.score).decode(), document.versions.get("model", ""))
    if recorded_by != (score or ("null", "")):
        scores = (f"score {value} by {model or 'no model'}" for value, model in (recorded_by, score or ("null", "")))
        result.differ(Mismatch(row.event, row.id, row.seq, engine, *scores))
        return
    if features.keys() != computed.keys():
        sides = f"features {', '.join(sorted(features))}", f"features {', '.join(sorted(computed))}"
        result.differ(Mismatch(row.event, row.id, row.seq, engine, *sides))
        return
    for name, raw in features.items():
        recorded = bytes(raw).decode()
        if recorded != computed[name]:
            sides = f"{name} {recorded}", f"{name} {computed[name]}"
            result.differ(Mismatch(row.event, row.id, row.seq, engine, *sides))
            return


class _Compared(msgspec.Struct):
    features: dict[str, msgspec.Raw]
    score: msgspec.Raw
    versions: TextDict
