"""Engine of a backtest: computes rule hits and scores of one side over a log, by columns wherever possible."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cached_property
from itertools import chain
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pyarrow as pa
from msgspec import Struct, field

from shroff.arrays import NO_INTS, Bools, Floats, Ints, Ints8
from shroff.backtest.plan import Computation, Stretch, computations
from shroff.engine.exploration import LET_THROUGH, Days, explorable
from shroff.engine.step import takes_effect
from shroff.features.batch.engine import BatchEngine
from shroff.features.computed import Computed, score_name
from shroff.features.frames import Frame, joined_key
from shroff.features.key_texts import Hits
from shroff.features.online.engine import Online
from shroff.language.columns import values_of
from shroff.language.expression import Node
from shroff.language.types import TEXT
from shroff.language.values import DAY_MS, key_text
from shroff.log.columns.stored import LineReader, LogPiece, ids_of, log_columns, outcomes_of
from shroff.log.history import hits_by_place
from shroff.log.rule_history import RecordedRuleHits
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions
from shroff.project.exploration import Explore
from shroff.rules.definitions import Rule
from shroff.runtime.process_wide import threads
from shroff.runtime.progress import Progress
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import HitRow, Log
from shroff.training.sets.labels import rows_of
from shroff.training.sets.rows import minor_units

NO_FLAGS: Final[Bools] = np.zeros(0, np.bool_)


class RuleMatches(FrozenStruct):
    """Hits of a rule: ascending rows of its event type, and which of the hits have an effect."""

    rows: Ints
    effective: Bools

    def among(self, rows: Ints) -> RuleMatches:
        """Select the hits at some ascending rows, as indexes into these rows."""
        indexes = rows_of(self.rows, rows)
        return RuleMatches(indexes[indexes >= 0], self.effective[indexes >= 0])


class TypeRows(FrozenStruct):
    """All events of one type, in log order.

    Args:
        amounts_minor: Amount of each event in smallest units; 0 if it is missing.
        scores: Scores of the models; NaN if there is none.
        hits: Hits of each rule within the segments of this side, by rule id.
        may_be_explored: Events that may be explored if the score declines them.
        explored_before: Number of events explored on each day before the segments.
    """

    event: str
    seqs: Ints
    times_ms: Ints
    ids: pa.ChunkedArray
    amounts_minor: Ints
    scores: Floats
    hits: Mapping[str, RuleMatches]
    may_be_explored: Bools
    explored_before: Days


class BacktestEngine:
    """One side of a backtest, computed over the log from its beginning, with hits in (after, upto].

    Cost: for each pass of `computations`, reading the log's columns, the batch engine for computed values, and the
    online engine for rules that use `since flag`.
    Memory: about 60 bytes an event, and that of the batch engine.

    Args:
        stretches: Definitions of this side in (after, upto].
        kept: Rules whose hits come from the log.
        known: Known hits of other rules, by event type and rule.
        has_scores: Whether to compute scores for policies.
    """

    def __init__(
        self,
        log: Log,
        stretches: Sequence[Stretch],
        kept: Collection[str],
        recorded: RecordedHits,
        known: Mapping[str, Mapping[str, RuleMatches]] = MappingProxyType({}),
        *,
        has_scores: bool = True,
    ) -> None:
        self._log = log
        self._side = stretches[-1].definitions
        self._after = stretches[0].start
        self._upto = stretches[-1].end
        self._kept = kept
        self._known = known
        self._recorded = recorded
        known_rules = {*kept, *(rule for rules in known.values() for rule in rules)}
        self._passes = computations(stretches, known_rules, has_scores=has_scores)
        self._late_ms = lateness_of(log, self._side)
        self._rules_on: dict[str, list[Rule]] = defaultdict(list)
        for rule in self._side.evaluated:
            self._rules_on[rule.on].append(rule)
        self._types = frozenset([*self._side.events.decided, *self._rules_on])
        self._gathered = {
            name: _Gathered(self._side.missed_fraud(name), self._side.policy(name).explore)
            for name in sorted(self._types)
        }
        self._found: dict[str, list[RuleMatches]] = defaultdict(list)
        # Hits of rules that use `since flag`, by sequence number
        self._own: dict[int, dict[str, str | None]] = defaultdict(dict)
        self._scores: dict[str, list[tuple[Ints, Floats]]] = defaultdict(list)
        self._next: tuple[int, Hits] = 0, {}
        explores = any(self._side.policy(event).explore for event in self._side.events.decided)
        self._explored_before = RecordedHits(log, 0, self._after if explores else 0).places(LET_THROUGH)

    @property
    def computes(self) -> bool:
        return any(computation.by_columns or computation.by_rows for computation in self._passes)

    def run(self, take: Callable[[LogPiece], None], progress: Progress | None = None) -> dict[str, TypeRows]:
        """Read the whole log and return the results by event type.

        Args:
            take: Called with each piece of the log.
            progress: Called with the number of events computed.
        """
        for computation in self._passes:
            self._pass(computation, take if computation is self._passes[0] else None, progress)
        return {name: self._whole(name, gathered) for name, gathered in self._gathered.items() if gathered.seqs}

    def beside(self, rows: Mapping[str, TypeRows]) -> dict[str, TypeRows]:
        """Return the results if nothing needs computing, with the events and scores of the other side."""
        return {
            name: replace(row, hits={rule.id: self._hits_of(rule, row.seqs) for rule in self._rules_on[name]})
            for name, row in rows.items()
        }

    def _pass(self, work: Computation, take: Callable[[LogPiece], None] | None, progress: Progress | None) -> None:
        side = self._side
        stretches = work.stretches
        reference = stretches[0].definitions.reference
        self._past = chain(hits_by_place(self._log, self._after), sorted(self._own.items()))
        self._next = next(self._past, (0, {}))
        by_rows = Online(side.events, work.by_rows, reference, self._late_ms) if work.by_rows else None
        counts = defaultdict[str, int](int)
        with closing(
            BatchEngine(side.events, work.by_columns, reference, self._late_ms, threads=threads(), also=self._types)
        ) as batch:
            current_stretch = -1
            for stretch_index, piece in self._pieces(stretches, is_whole=take is not None):
                if take is not None:
                    take(piece)
                    for name, frame in piece.frames.items() if piece.after < self._upto else ():
                        if name in self._gathered:
                            self._gathered[name].add(frame, piece.after + 1 + frame.rows, self._side)
                if stretch_index == len(stretches):
                    continue
                for frame in piece.frames.values():
                    frame.reference = stretches[stretch_index].definitions.reference
                if stretch_index > current_stretch:
                    batch.refer(stretches[stretch_index].definitions.reference, work.without[stretch_index])
                    current_stretch = stretch_index
                if work.by_columns:
                    batch.add(piece.frames, piece.size)
                if by_rows is not None:
                    by_rows.take(piece.frames, piece.size, self._past_of(piece, stretches[0].start))
                    self._note(work, work.by_rows, piece.frames, counts)
                for name, frame in piece.frames.items():
                    counts[name] += len(frame)
            emitted: dict[str, int] = defaultdict(int)
            for frames in batch.answers() if work.by_columns else ():
                self._note(work, work.by_columns, frames, emitted)
                for name, frame in frames.items():
                    emitted[name] += len(frame)
                    if progress is not None:
                        progress(len(frame))

    def _pieces(self, stretches: Sequence[Stretch], *, is_whole: bool) -> Iterator[tuple[int, LogPiece]]:
        """Iterate over the log's pieces, each with the index of its stretch. With `is_whole`, pieces after the last
        stretch follow.
        """
        reader = LineReader(self._side)
        after = 0
        segment_ends = [*(stretch.end for stretch in stretches), *([None] if is_whole else [])]
        for index, end in enumerate(segment_ends):
            for piece in log_columns(self._log, self._side, end, after=after, reader=reader):
                yield index, piece
                after = piece.after + piece.size

    # ---- events

    def _past_of(self, piece: LogPiece, after: int) -> list[Hits | None] | None:
        """Return the recorded hits of each record of a piece up to `after`; None for later records, which are decided
        again.
        """
        past_count = min(max(after - piece.after, 0), piece.size)
        if not past_count:
            return None
        hits_by_record: list[Hits | None] = [{}] * past_count + [None] * (piece.size - past_count)
        while 0 < self._next[0] <= piece.after + past_count:
            seq, rules = self._next
            hits_by_record[seq - piece.after - 1] = rules
            self._next = next(self._past, (0, {}))
        return hits_by_record

    # ---- what was computed

    def _note(
        self, work: Computation, computed: Sequence[Computed], frames: Mapping[str, Frame], firsts: Mapping[str, int]
    ) -> None:
        """Store the hits and scores of frames; `firsts` has the row of each type at which its frame begins."""
        names = {feature.name for feature in computed}
        start = work.stretches[0].start
        end = work.stretches[-1].end
        for name, frame in frames.items():
            if name not in self._gathered:
                continue
            is_inside = self._gathered[name].decided_in(firsts[name], len(frame), start, end)
            for rule in self._rules_on.get(name, ()):
                if rule.computed.name in names:
                    self._note_hits(rule, work, frame, is_inside, firsts[name])
            column = frame.computed.get(score_name(name)) if score_name(name) in names else None
            if column is not None and computed is work.by_columns:
                scored = np.flatnonzero(is_inside & column.valid)
                self._scores[name].append((firsts[name] + scored, column.values[scored]))

    def _note_hits(self, rule: Rule, work: Computation, frame: Frame, inside: Bools, first: int) -> None:
        hit = np.flatnonzero(frame.computed[rule.computed.name].values.astype(np.bool_) & inside)
        effective = np.full(len(hit), not rule.is_shadow)
        if rule.id in work.keys:
            parts = [values_of(frame.computed[key].take(hit)) for key in work.keys[rule.id]]
            keys = [None if key is None else key_text(key) for key in joined_key(parts, len(hit))]
            effective = np.array([takes_effect(rule, key) for key in keys], np.bool_)
            if rule.computed.looks_since_flag:
                for seq, key in zip(self._gathered[rule.on].places(first + hit), keys, strict=True):
                    self._own[seq][rule.id] = key
        self._found[rule.id].append(RuleMatches(first + hit, effective))

    def _whole(self, name: str, gathered: _Gathered) -> TypeRows:
        seqs = np.concatenate(gathered.seqs)
        times = np.concatenate(gathered.times_ms)
        scores = np.full(len(seqs), np.nan)
        for rows, values in self._scores[name]:
            scores[rows] = values
        hits = {rule.id: self._hits_of(rule, seqs) for rule in self._rules_on.get(name, ())}
        ids = pa.chunked_array(gathered.ids, pa.string())
        amounts = np.concatenate(gathered.amounts_minor)
        may_be = np.concatenate(gathered.may_be_explored)
        explored_rows = rows_of(self._explored_before, seqs)
        days = Counter((name, day) for day in (times[explored_rows[explored_rows >= 0]] // DAY_MS).tolist())
        return TypeRows(name, seqs, times, ids, amounts, scores, hits, may_be, days)

    def _hits_of(self, rule: Rule, seqs: Ints) -> RuleMatches:
        known_hits = self._known.get(rule.on, {}).get(rule.id)
        if known_hits is not None or rule.id not in self._kept:
            return joined(self._found[rule.id]) if known_hits is None else known_hits
        seqs_of_hits = self._recorded.places(rule.id)
        keys = self._recorded.keys(rule.id)
        effective = [takes_effect(rule, key) for key in keys]
        return RuleMatches(seqs_of_hits, np.array(effective, np.bool_)).among(seqs)


class _Gathered(Struct):
    """Columns of the events of one type, collected piece by piece."""

    amount: Node | None
    explore: Explore | None
    count: int = 0
    seqs: list[Ints] = []
    times_ms: list[Ints] = []
    ids: list[Any] = []
    amounts_minor: list[Ints] = []
    may_be_explored: list[Bools] = []
    _seqs: Ints = field(default_factory=lambda: NO_INTS)

    def add(self, frame: Frame, seqs: Ints, draft: Definitions) -> None:
        self.count += len(frame)
        self.seqs.append(seqs)
        self.times_ms.append(frame.times)
        self.ids.append(ids_of(frame))
        decimals = draft.settings.money_places
        column = None if self.amount is None else frame.evaluate(self.amount)
        type_ = TEXT if self.amount is None else self.amount.type
        self.amounts_minor.append(minor_units(column, type_, decimals, len(frame)).to_numpy())
        explorable_rows = np.zeros(len(frame), np.bool_)
        if self.explore is not None and column is not None:
            explorable_rows = explorable(self.explore, column, type_, decimals, frame.times)
        self.may_be_explored.append(explorable_rows)

    def decided_in(self, first: int, count: int, after: int, upto: int) -> Bools:
        """Return a mask of `count` events from row `first`: those with sequence numbers in (after, upto]."""
        if len(self._seqs) < self.count:
            self._seqs = np.concatenate(self.seqs)
        seqs = self._seqs[first : first + count]
        return (seqs > after) & (seqs <= upto)

    def places(self, rows: Ints) -> list[int]:
        """Return the sequence numbers of rows that `decided_in` has covered."""
        seqs: list[int] = self._seqs[rows].tolist()
        return seqs


class RecordedHits:
    """Recorded hits in (after, upto] by rule, and recorded outcomes."""

    def __init__(self, log: Log, after: int, upto: int) -> None:
        self._log = log
        self._after = after
        self._upto = upto
        self._hits: dict[str, list[HitRow]] = defaultdict(list)
        for rows in log.hits.after(after, upto):
            for row in rows:
                self._hits[row.rule].append(row)

    @property
    def rules(self) -> list[str]:
        return sorted(self._hits.keys() - self.others)

    @cached_property
    def others(self) -> frozenset[str]:
        """Names among these hits that are not rules: draws and experiments."""
        return RecordedRuleHits().others(self._log)

    @cached_property
    def outcomes(self) -> tuple[Ints, Ints8]:
        return outcomes_of(self._log, self._after, self._upto)

    def places(self, rule: str) -> Ints:
        return np.array([row.seq for row in self._hits.get(rule, ())], np.int64)

    def keys(self, rule: str) -> list[str | None]:
        return [row.key for row in self._hits.get(rule, ())]

    def effective(self, rule: str) -> Bools:
        return np.array([not row.shadow for row in self._hits.get(rule, ())], np.bool_)


def joined(parts: Sequence[RuleMatches]) -> RuleMatches:
    rows = np.concatenate([NO_INTS, *(part.rows for part in parts)])
    return RuleMatches(rows, np.concatenate([NO_FLAGS, *(part.effective for part in parts)]))
