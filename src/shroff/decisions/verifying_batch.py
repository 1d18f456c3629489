"""The whole log through the batch engine, compared with what was recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from shroff import config
from shroff.decisions.collector import calm_collector
from shroff.decisions.definitions import computed_of
from shroff.decisions.documents import DocumentWriter
from shroff.decisions.engine import Placed
from shroff.decisions.fold import Progress, empty, lateness_of, placed_batches
from shroff.decisions.replay import Mismatch, Segment, Verification, compare_features, compare_marks, segments
from shroff.decisions.scoring import LoadModel, Scored, scored
from shroff.decisions.stored import telling_damage
from shroff.features.batch import Batch
from shroff.features.frames import Frame, frames_of
from shroff.streams.log import DecisionRow, Log

PIECE_ROWS: Final = 1 << 16  # whose features stand as text at the same time
Places = NDArray[np.int64]
_Shown: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@telling_damage()
def verify_batch(log: Log, progress: Progress | None = None, load_model: LoadModel | None = None) -> Verification:
    """Compute features, scores, and the hits of rules that do not look `since flag`, of all events, and compare."""
    result = Verification()
    with calm_collector():
        for segment in segments(log, load_model):
            if result.can_read(segment):
                _Proof(log, segment, result).run(progress)
    return result


class _Proof:
    """One stretch of the log that a version decided, in two passes: all events up to its end, then the answers."""

    def __init__(self, log: Log, segment: Segment, result: Verification) -> None:
        self._log, self._segment, self._result = log, segment, result
        self._definitions = segment.definitions
        self._writers = {event: DocumentWriter(event, self._definitions) for event in self._definitions.events.decided}
        self._rules = [one for one in self._definitions.rules if not one.computed.looks_since_flag]
        self._places: dict[str, list[Places]] = defaultdict(list)  # of each type's events; below 0: not decided now
        self._hits: list[tuple[int, str]] = []

    def run(self, progress: Progress | None) -> None:
        definitions, segment = self._definitions, self._segment
        reasons = {one.name for rule in definitions.rules for one in rule.reason_computed()}
        computed = [one for one in computed_of(definitions) if one.name not in reasons]
        late_ms = lateness_of(self._log, definitions)
        rows = (row for rows in self._log.decisions_after(segment.start, segment.end) for row in rows)
        recorded = _Recorded(rows)
        with closing(
            Batch(
                definitions.events,
                computed,
                definitions.reference,
                late_ms,
                threads=config.threads(),
                also=definitions.events.decided,
            )
        ) as batch:
            for placed in placed_batches(self._log, empty(definitions), segment.end, segment.start):
                self._add(batch, placed)
                if progress is not None:
                    progress(len(placed))
            for frames in batch.answers(PIECE_ROWS):
                self._compare(frames, recorded)
        for row in recorded.upto(segment.end):
            self._result.events += 1
            self._differ(row.event, row.id, row.seq, row.outcome, "no decision")
        self._compare_hits()

    def _add(self, batch: Batch, placed: Sequence[Placed]) -> None:
        frames = frames_of([one.event for one in placed], self._definitions.events, self._definitions.reference)
        batch.add(frames, len(placed))
        for name, frame in frames.items():
            rows = [placed[row] for row in frame.rows.tolist()]
            places = [one.seq if one.past_hits is None else -one.seq for one in rows]
            self._places[name].append(np.array(places, np.int64))

    def _compare(self, frames: Mapping[str, Frame], recorded: _Recorded) -> None:
        found: dict[int, tuple[str, bytes | memoryview]] = {}
        scores: dict[int, tuple[str, str]] = {}
        last = 0
        for name, frame in frames.items():
            places = self._next_places(name, len(frame))
            last = max(last, int(np.abs(places).max()))
            self._note_hits(name, frame, places)
            if name in self._writers:
                shown = self._writers[name].features(frame)
                found |= {place: (name, text) for place, text in zip(places.tolist(), shown, strict=True) if place > 0}
                scores |= _by_place(places, scored(frame, self._definitions.scoring_of(name)))
        for row in recorded.upto(last):
            self._result.events += 1
            name, text = found.pop(row.seq, ("", b""))
            if name != row.event:
                self._differ(row.event, row.id, row.seq, row.outcome, "no decision")
            elif row.seq in scores or b"".join((b'"features":', text, b',"versions":')) not in row.document:
                computed = {one: bytes(value).decode() for one, value in _Shown.decode(text).items()}
                compare_features(row, computed, "batch", self._result, scores.get(row.seq))
        for place, (name, _) in found.items():
            self._differ(name, "", place, "no decision", "features")

    def _next_places(self, name: str, count: int) -> Places:
        """The places of the next events of a type; a piece has whole batches."""
        given = self._places[name]
        taken = 0
        for number, places in enumerate(given, start=1):
            taken += len(places)
            if taken >= count:
                found = np.concatenate(given[:number])
                del given[:number]
                return found
        raise AssertionError(f"the batch engine gives {count} events of {name}, and {taken} are left")

    def _note_hits(self, name: str, frame: Frame, places: Places) -> None:
        for rule in self._rules:
            if rule.on == name:
                hit = places[frame.computed[rule.computed.name].values.astype(np.bool_)]
                self._hits += [(place, rule.id) for place in hit.tolist() if place > 0]

    def _compare_hits(self) -> None:
        rules = {rule.id for rule in self._rules}
        given = self._log.hits_after(self._segment.start, self._segment.end)
        recorded = sorted((row.seq, row.rule) for rows in given for row in rows if row.rule in rules)
        compare_marks("hit", recorded, sorted(self._hits), "batch", self._result)

    def _differ(self, event: str, id_: str, seq: int, recorded: str, computed: str) -> None:
        self._result.differ(Mismatch(event, id_, seq, "batch", recorded, computed))


def _by_place(places: Places, given: Scored | None) -> dict[int, tuple[str, str]]:
    """The scores as JSON, each with its model, by place."""
    if given is None:
        return {}
    shown = (score.decode() for score in given.shown())
    return dict(zip(places.tolist(), zip(shown, given.models, strict=True), strict=True))


class _Recorded:
    """Recorded decisions in log order, given out up to a place at a time."""

    def __init__(self, rows: Iterator[DecisionRow]) -> None:
        self._rows = rows
        self._next = next(rows, None)

    def upto(self, place: int) -> Iterator[DecisionRow]:
        while self._next is not None and self._next.seq <= place:
            yield self._next
            self._next = next(self._rows, None)
