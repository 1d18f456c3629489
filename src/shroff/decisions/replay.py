"""Computing decisions again from the log, and comparing them with what was recorded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from shroff.decisions.collector import calm_collector
from shroff.decisions.definitions import Definitions, computed_of, load_definitions
from shroff.decisions.engine import Effects, Engine, Placed
from shroff.decisions.fold import Folded, Progress, placed_batches
from shroff.decisions.history import Control, Records
from shroff.errors import ReplayError
from shroff.events.event import canonical_value
from shroff.features.naive import Naive
from shroff.language.values import Value
from shroff.streams.log import DecisionRow, Log

Load = Callable[[dict[str, str]], Definitions]


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of the log, (start, end], that one version decided."""

    definitions: Definitions
    start: int
    end: int


def segments(log: Log) -> list[Segment]:
    """The versions that were in force, with the stretch of the log that each decided."""
    found: list[tuple[dict[str, str], int]] = []
    control = Control()
    for records in log.read():
        for record in records:
            if record.kind == "control":
                control.take(record)
                found.append((dict(control.files), record.seq))
    last = log.last_seq()
    ends = [start for _, start in found[1:]] + [last]
    return [
        Segment(load_definitions(files).or_raise(), start, end) for (files, start), end in zip(found, ends, strict=True)
    ]


def redecided(
    log: Log, segment: Segment, upto: int | None = None, progress: Progress | None = None
) -> Iterator[Effects]:
    """The effects of a segment's events, decided again by the online engine from the log alone."""
    folded = _empty(segment.definitions)
    taken_only = _taken_only(log)
    for batch in placed_batches(log, folded, segment.end if upto is None else min(upto, segment.end)):
        now = [_as_new(one, taken_only) if one.seq > segment.start else one for one in batch]
        effects = folded.engine.step(now)
        if progress is not None:
            progress(len(now))
        if effects.decisions:
            yield effects


def _empty(definitions: Definitions) -> Folded:
    return Folded(Engine(definitions), Records(definitions.events, definitions.settings.money_places), Control())


def _taken_only(log: Log) -> frozenset[int]:
    """Places of events that were taken without deciding (`--no-decide`)."""
    return frozenset(one.seq for records in log.read() for one in records if one.kind == "event" and not one.decided)


def _as_new(one: Placed, taken_only: frozenset[int]) -> Placed:
    return one if one.seq in taken_only else msgspec.structs.replace(one, past_hits=None)


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A decision that does not come out as it was recorded."""

    event: str
    id: str
    seq: int
    engine: str
    recorded: str
    computed: str


@dataclass(slots=True)
class Verification:
    """What `verify` found. `events` are those of decided types that were compared."""

    events: int = 0
    mismatches: int = 0
    first_mismatch: Mismatch | None = None

    def differ(self, mismatch: Mismatch) -> None:
        self.mismatches += 1
        self.first_mismatch = self.first_mismatch or mismatch


def verify_online(log: Log, progress: Progress | None = None) -> Verification:
    """Decide the whole log again and compare documents and receipts, byte by byte."""
    result = Verification()
    with calm_collector():
        _verify_segments(log, result, progress)
    return result


def _verify_segments(log: Log, result: Verification, progress: Progress | None) -> None:
    for segment in segments(log):
        recorded = (row for rows in log.decisions_after(segment.start, segment.end) for row in rows)
        computed = (row for effects in redecided(log, segment, progress=progress) for row in effects.decisions)
        _compare(recorded, computed, result)


def _compare(recorded: Iterator[DecisionRow], computed: Iterator[DecisionRow], result: Verification) -> None:
    """Walk both in log order; a decision that stands on one side only is a mismatch too."""
    ours, theirs = next(recorded, None), next(computed, None)
    while ours is not None or theirs is not None:
        result.events += 1
        if ours is None or (theirs is not None and theirs.seq < ours.seq):
            assert theirs is not None
            result.differ(Mismatch(theirs.event, theirs.id, theirs.seq, "online", "no decision", theirs.outcome))
            theirs = next(computed, None)
        elif theirs is None or ours.seq < theirs.seq:
            result.differ(Mismatch(ours.event, ours.id, ours.seq, "online", ours.outcome, "no decision"))
            ours = next(recorded, None)
        else:
            if (ours.document, ours.receipt) != (theirs.document, theirs.receipt):
                sides = ours.document.decode(), theirs.document.decode()
                result.differ(Mismatch(ours.event, ours.id, ours.seq, "online", *sides))
            ours, theirs = next(recorded, None), next(computed, None)


def verify_naive(log: Log, wanted: Callable[[int], bool], progress: Progress | None = None) -> Verification:
    """Compute the features of the chosen places by the definition and compare them with the recorded ones.

    Cost: a look at every earlier event for each aggregate, so choose a sample of a long log.
    """
    result = Verification()
    for segment in segments(log):
        definitions = segment.definitions
        naive = Naive(definitions.events, computed_of(definitions), definitions.reference)
        folded = _empty(definitions)
        rows = {
            row.seq: row for rows in log.decisions_after(segment.start, segment.end) for row in rows if wanted(row.seq)
        }
        for batch in placed_batches(log, folded, segment.end):
            for one in batch:
                values = naive.take(one.event, one.past_hits or frozenset(), is_asked=one.seq in rows)
                if one.seq in rows:
                    _compare_features(rows[one.seq], values, definitions, result)
            if progress is not None:
                progress(len(batch))
    return result


def _compare_features(
    row: DecisionRow, values: Mapping[str, Value], definitions: Definitions, result: Verification
) -> None:
    result.events += 1
    shown = msgspec.json.decode(row.document, type=_Features).features
    for name, recorded in shown.items():
        type_ = definitions.features[name].type
        computed = canonical_value(values.get(name), type_, definitions.settings.money_places)
        if bytes(recorded).decode() != computed:
            result.differ(
                Mismatch(
                    row.event, row.id, row.seq, "naive", f"{name} {bytes(recorded).decode()}", f"{name} {computed}"
                )
            )
            return


class _Features(msgspec.Struct):
    features: dict[str, msgspec.Raw]


def replay(log: Log, seq: int) -> DecisionRow:
    """Compute one decision again from the log.

    Raises: ReplayError where the log gives none at this place.
    """
    for segment in segments(log):
        if not segment.start < seq <= segment.end:
            continue
        for effects in redecided(log, segment, upto=seq):
            for row in effects.decisions:
                if row.seq == seq:
                    return row
    raise ReplayError(f"the log gives no decision at place {seq}")


def chosen(places: Sequence[int]) -> Callable[[int], bool]:
    return frozenset(places).__contains__
