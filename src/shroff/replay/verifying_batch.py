"""Verifies the whole log with the batch engine."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing

import msgspec
import numpy as np

from shroff.arrays import Ints
from shroff.engine.receipts import DocumentWriter
from shroff.engine.step import SequencedEvent
from shroff.engine.stored import telling_damage
from shroff.features.batch.engine import BatchEngine
from shroff.features.computed import Computed
from shroff.features.frames import Frame, frames_of
from shroff.log.state.fold import Progress, empty, lateness_of, placed_batches
from shroff.log.version_switch import means_the_same
from shroff.project.definitions import Definitions, computed_of
from shroff.project.scoring import LoadModel, Scored, scored
from shroff.replay.compare import Mismatch, RowsAhead, Segment, Verification, compare_features, compare_marks, segments
from shroff.runtime.process_wide import calm_collector, threads
from shroff.streams.log import DecisionRow, Log

PIECE_ROWS = 1 << 16  # rows whose features are text in memory at a time
AT_ONCE = 32  # versions of one pass: each holds all lists
Places = Ints
_Shown = msgspec.json.Decoder(dict[str, msgspec.Raw])


@telling_damage()
def verify_batch(log: Log, progress: Progress | None = None, load_model: LoadModel | None = None) -> Verification:
    """Compute features, scores and hits (except of rules with `since flag`) of all events, and compare."""
    result = Verification()
    with calm_collector():
        for versions in _together(segments(log, load_model), result):
            _Proof(log, versions, result).run(progress)
    return result


class _VersionStretch:
    """A version, and the range that it decided."""

    def __init__(self, segment: Segment) -> None:
        self.start = segment.start
        self.end = segment.end
        self.definitions = segment.definitions
        self.writers = {event: DocumentWriter(event, self.definitions) for event in self.definitions.events.decided}

    @property
    def computed(self) -> list[Computed]:
        """Everything that is compared: all values except those shown in reasons."""
        reasons = {feature.name for rule in self.definitions.rules for feature in rule.reason_computed()}
        return [feature for feature in computed_of(self.definitions) if feature.name not in reasons]

    def is_like(self, other: _VersionStretch) -> bool:
        """Return whether one pass can compute both: they differ only in models, policies, and queries of lists."""
        return means_the_same(self.definitions, other.definitions) and self.computed == other.computed


def _together(segments: Iterable[Segment], result: Verification) -> Iterator[list[_VersionStretch]]:
    group: list[_VersionStretch] = []
    for segment in segments:
        if segment.is_empty:
            continue
        version = _VersionStretch(segment) if result.can_read(segment) else None
        if group and (version is None or len(group) == AT_ONCE or not group[-1].is_like(version)):
            yield group
            group = []
        group += [] if version is None else [version]
    if group:
        yield group


class _Proof:
    """Verifies a range that some versions decided, in two passes: all events up to its end, then the answers."""

    def __init__(self, log: Log, versions: Sequence[_VersionStretch], result: Verification) -> None:
        self._log = log
        self._versions = versions
        self._result = result
        self._start = versions[0].start
        self._end = versions[-1].end
        self._rules = [rule for rule in versions[0].definitions.rules if not rule.computed.looks_since_flag]
        self._places: dict[str, list[Places]] = defaultdict(list)  # seqs by type; negative: not decided in this range
        self._hits: list[tuple[int, str]] = []

    def run(self, progress: Progress | None) -> None:
        definitions = self._versions[0].definitions
        late_ms = lateness_of(self._log, definitions)
        recorded = RowsAhead[DecisionRow](self._log.decisions.after(self._start, self._end))
        with closing(
            BatchEngine(
                definitions.events,
                self._versions[0].computed,
                definitions.reference,
                late_ms,
                threads=threads(),
                also=definitions.events.decided,
            )
        ) as batch:
            folded = empty(definitions)
            for version in self._versions:
                batch.refer(version.definitions.reference)
                for placed in placed_batches(self._log, folded, version.end, self._start):
                    self._add(batch, placed, version.definitions)
                    if progress is not None:
                        progress(len(placed))
            for frames in batch.answers(PIECE_ROWS):
                self._compare(frames, recorded)
        for row in recorded.taken(self._end):
            self._result.events += 1
            self._differ(row.event, row.id, row.seq, row.outcome, "no decision")
        self._compare_hits()

    def _add(self, batch: BatchEngine, placed: Sequence[SequencedEvent], definitions: Definitions) -> None:
        frames = frames_of([event.event for event in placed], definitions.events, definitions.reference)
        batch.add(frames, len(placed))
        for name, frame in frames.items():
            rows = [placed[row] for row in frame.rows.tolist()]
            seqs = [row.seq if row.past_hits is None else -row.seq for row in rows]
            self._places[name].append(np.array(seqs, np.int64))

    def _compare(self, frames: Mapping[str, Frame], recorded: RowsAhead[DecisionRow]) -> None:
        features_by_seq: dict[int, tuple[str, bytes | memoryview]] = {}
        scores: dict[int, tuple[str, str]] = {}
        of_types = {name: self._next_places(name, len(frame)) for name, frame in frames.items()}
        last = max((int(np.abs(places).max()) for places in of_types.values()), default=0)
        version = self._versions[max(0, bisect_left(self._versions, last, key=lambda version: version.start) - 1)]
        for name, frame in frames.items():
            places = of_types[name]
            self._note_hits(name, frame, places)
            if name in version.writers:
                texts = version.writers[name].features(frame)
                features_by_seq |= {
                    place: (name, text) for place, text in zip(places.tolist(), texts, strict=True) if place > 0
                }
                scores |= _by_place(places, scored(frame, version.definitions.scoring_of(name)))
        for row in recorded.taken(last):
            self._result.events += 1
            name, text = features_by_seq.pop(row.seq, ("", b""))
            if name != row.event:
                self._differ(row.event, row.id, row.seq, row.outcome, "no decision")
            elif row.seq in scores or b"".join((b'"features":', text, b',"versions":')) not in row.document:
                computed = {feature: bytes(value).decode() for feature, value in _Shown.decode(text).items()}
                compare_features(row, computed, "batch", self._result, scores.get(row.seq))
        for place, (name, _) in features_by_seq.items():
            self._differ(name, "", place, "no decision", "features")

    def _next_places(self, name: str, count: int) -> Places:
        """Return the sequence numbers of a type's next events; a piece consists of whole batches."""
        pieces = self._places[name]
        count_so_far = 0
        for number, places in enumerate(pieces, start=1):
            count_so_far += len(places)
            if count_so_far >= count:
                joined = np.concatenate(pieces[:number])
                del pieces[:number]
                return joined
        raise AssertionError(f"the batch engine gives {count} events of {name}, and {count_so_far} are left")

    def _note_hits(self, name: str, frame: Frame, places: Places) -> None:
        for rule in self._rules:
            if rule.on == name:
                hit = places[frame.computed[rule.computed.name].values.astype(np.bool_)]
                self._hits += [(seq, rule.id) for seq in hit.tolist() if seq > 0]

    def _compare_hits(self) -> None:
        rules = {rule.id for rule in self._rules}
        all_hits = self._log.hits.after(self._start, self._end)
        recorded = sorted((row.seq, row.rule) for rows in all_hits for row in rows if row.rule in rules)
        compare_marks("hit", recorded, sorted(self._hits), "batch", self._result)

    def _differ(self, event: str, id_: str, seq: int, recorded: str, computed: str) -> None:
        self._result.differ(Mismatch(event, id_, seq, "batch", recorded, computed))


def _by_place(places: Places, scored: Scored | None) -> dict[int, tuple[str, str]]:
    if scored is None:
        return {}
    score_texts = (score.decode() for score in scored.shown())
    return dict(zip(places.tolist(), zip(score_texts, scored.models, strict=True), strict=True))
