"""A draft folded over a log: where its rules hit, and its scores, by columns wherever that can be."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shroff.backtest.plan import work_of
from shroff.engine.let_through import LET_THROUGH, Days, explorable
from shroff.engine.step import is_rolled_out
from shroff.features.batch.engine import BatchEngine
from shroff.features.computed import Computed, score_name
from shroff.features.frames import Frame, joined_key
from shroff.features.key_texts import Hits
from shroff.features.online.engine import Online
from shroff.language.columns import values_of
from shroff.language.expression import Node
from shroff.language.types import TEXT
from shroff.language.values import DAY_MS, key_text
from shroff.log.columns.stored import LogPiece, ids_of
from shroff.log.history import hits_by_place
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions
from shroff.project.exploring import Explore
from shroff.replay.compare import segments
from shroff.rules.definitions import Rule
from shroff.runtime.process_wide import threads
from shroff.runtime.progress import Progress
from shroff.streams.log import HitRow, Log
from shroff.training.sets.rows import minor_units

Words = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
NO_WORDS: Final[Words] = np.zeros(0, np.int64)
NO_FLAGS: Final[Flags] = np.zeros(0, np.bool_)


@dataclass(frozen=True, slots=True)
class RuleMatches:
    """The hits of a rule: rows of its event type, ascending, and which of them have an effect."""

    rows: Words
    effective: Flags

    def among(self, rows: Words) -> RuleMatches:
        """The hits at some rows, which ascend, as places among them."""
        places = rows_of(self.rows, rows)
        return RuleMatches(places[places >= 0], self.effective[places >= 0])


@dataclass(frozen=True, slots=True)
class TypeRows:
    """All events of one type, in log order.

    Args:
        amounts_minor: What each is about in money, in smallest units; 0 where that is missing.
        decided: Which of them were decided where the draft is in force.
        scores: What the draft's model gives, NaN where there is none.
        hits: Where the rules of the draft hit events that were decided, by id.
        may_be_explored: Which the draft may let through if the score declines them.
        explored_before: How many were let through on each day before the draft is in force.
    """

    event: str
    seqs: Words
    times_ms: Words
    ids: pa.ChunkedArray
    amounts_minor: Words
    decided: Flags
    scores: Floats
    hits: Mapping[str, RuleMatches]
    may_be_explored: Flags
    explored_before: Days


class BacktestFold:
    """One pass over a log for a draft that is in force from behind the place `after` up to `upto`.

    Cost: reading the log's columns, the batch engine for what the draft changed, and the online engine for changed
    rules that look `since flag`.
    Memory: some 60 bytes an event, and what the batch engine takes.
    """

    def __init__(self, log: Log, draft: Definitions, after: int, upto: int) -> None:
        self._draft, self._after, self._upto = draft, after, upto
        self._work = work_of(
            draft, [segment for segment in segments(log) if segment.end > after and segment.start < upto]
        )
        self._late_ms = lateness_of(log, draft)
        self._rules_on: dict[str, list[Rule]] = defaultdict(list)
        for rule in draft.rules:
            self._rules_on[rule.on].append(rule)
        self._types = frozenset([*draft.events.decided, *self._rules_on])
        self._gathered = {
            name: _Gathered(draft.missed_fraud(name), draft.policy(name).explore) for name in sorted(self._types)
        }
        self._found: dict[str, list[RuleMatches]] = defaultdict(list)
        self._scores: dict[str, list[Floats]] = defaultdict(list)
        self._past = hits_by_place(log, after)
        self._next: tuple[int, Hits] = next(self._past, (0, {}))
        self.recorded = RecordedHits(log, after, upto)
        explores = any(draft.policy(event).explore for event in draft.events.decided)
        self._explored_before = RecordedHits(log, 0, after if explores else 0).places(LET_THROUGH)

    @property
    def kept(self) -> frozenset[str]:
        """Rules whose meaning has not changed."""
        return self._work.kept

    def run(self, pieces: Iterable[LogPiece], progress: Progress | None = None) -> dict[str, TypeRows]:
        """Take the whole log, and give what came of it by event type; `progress` is told of what was computed."""
        draft, work = self._draft, self._work
        by_rows = Online(draft.events, work.by_rows, draft.reference, self._late_ms) if work.by_rows else None
        with closing(
            BatchEngine(
                draft.events, work.by_columns, draft.reference, self._late_ms, threads=threads(), also=self._types
            )
        ) as batch:
            for piece in pieces:
                if piece.after >= self._upto:
                    continue  # read for its labels alone
                firsts = {name: self._gather(name, frame, piece) for name, frame in piece.frames.items()}
                if work.by_columns:
                    batch.add(piece.frames, piece.size)
                if by_rows is not None:
                    by_rows.take(piece.frames, piece.size, self._past_of(piece))
                    self._note(work.by_rows, piece.frames, firsts)
            given: dict[str, int] = defaultdict(int)
            for frames in batch.answers() if work.by_columns else ():
                self._note(work.by_columns, frames, given)
                for name, frame in frames.items():
                    given[name] += len(frame)
                    if progress is not None:
                        progress(len(frame))
        return {name: self._whole(name, one) for name, one in self._gathered.items() if one.seqs}

    # ---- events

    def _gather(self, name: str, frame: Frame, piece: LogPiece) -> int:
        """Keep the required columns of a type's events; gives the number of events before."""
        if name not in self._gathered:
            return 0
        gathered = self._gathered[name]
        first = gathered.count
        seqs = piece.after + 1 + frame.rows
        decided = piece.decided[frame.rows] & (seqs > self._after) & (seqs <= self._upto)
        gathered.add(frame, seqs, decided, self._draft)
        return first

    def _past_of(self, piece: LogPiece) -> list[Hits | None] | None:
        """Recorded hits for each record of a piece; None for one that the draft decides."""
        if piece.after >= self._after and piece.decided.all():
            return None
        found: list[Hits | None] = [None if decided else {} for decided in piece.decided.tolist()]
        before = min(max(self._after - piece.after, 0), piece.size)
        found[:before] = [{}] * before
        while 0 < self._next[0] <= piece.after + before:
            place, rules = self._next
            found[place - piece.after - 1] = rules
            self._next = next(self._past, (0, {}))
        return found

    # ---- what was computed

    def _note(self, computed: Sequence[Computed], frames: Mapping[str, Frame], firsts: Mapping[str, int]) -> None:
        """Keep the hits and scores of some frames, which begin at these rows of their types."""
        names = {one.name for one in computed}
        for name, frame in frames.items():
            for rule in self._rules_on.get(name, ()):
                if rule.computed.name in names:
                    self._note_hits(rule, frame, firsts[name])
            column = frame.computed.get(score_name(name)) if score_name(name) in names else None
            if column is not None and computed is self._work.by_columns:
                self._scores[name].append(np.where(column.valid, column.values, np.nan))

    def _note_hits(self, rule: Rule, frame: Frame, first: int) -> None:
        gathered = self._gathered[rule.on]
        hit = np.flatnonzero(frame.computed[rule.computed.name].values.astype(np.bool_))
        hit = hit[gathered.is_decided(first + hit)]
        if rule.rollout < 1:
            named = self._work.keys[rule.id]
            parts = [values_of(frame.computed[one].take(hit)) for one in named]
            keys = joined_key(parts, len(hit))
            effective = [is_rolled_out(rule, None if key is None else key_text(key)) for key in keys]
        else:
            effective = [True] * len(hit)
        self._found[rule.id].append(RuleMatches(first + hit, np.array(effective, np.bool_) & (not rule.is_shadow)))

    def _whole(self, name: str, gathered: _Gathered) -> TypeRows:
        seqs = np.concatenate(gathered.seqs)
        times = np.concatenate(gathered.times_ms)
        decided = np.concatenate(gathered.decided)
        scores = np.concatenate(self._scores[name]) if self._scores[name] else np.full(len(seqs), np.nan)
        hits = {rule.id: self._hits_of(rule, seqs, decided) for rule in self._rules_on.get(name, ())}
        ids = pa.chunked_array(gathered.ids, pa.string())
        amounts, may_be = np.concatenate(gathered.amounts_minor), np.concatenate(gathered.may_be_explored)
        before = rows_of(self._explored_before, seqs)
        days = Counter((name, day) for day in (times[before[before >= 0]] // DAY_MS).tolist())
        return TypeRows(name, seqs, times, ids, amounts, decided, scores, hits, may_be, days)

    def _hits_of(self, rule: Rule, seqs: Words, decided: Flags) -> RuleMatches:
        if rule.id not in self._work.kept:
            return joined(self._found[rule.id])
        places, keys = self.recorded.places(rule.id), self.recorded.keys(rule.id)
        rows = rows_of(places, seqs)
        effective = [not rule.is_shadow and is_rolled_out(rule, key) for key in keys]
        there = (rows >= 0) & decided[rows]
        return RuleMatches(rows[there], np.array(effective, np.bool_)[there])


@dataclass(slots=True)
class _Gathered:
    """Columns kept of the events of one type, piece by piece."""

    amount: Node | None
    explore: Explore | None
    count: int = 0
    seqs: list[Words] = field(default_factory=list)
    times_ms: list[Words] = field(default_factory=list)
    ids: list[Any] = field(default_factory=list)
    amounts_minor: list[Words] = field(default_factory=list)
    decided: list[Flags] = field(default_factory=list)
    may_be_explored: list[Flags] = field(default_factory=list)
    _decided: Flags = field(default_factory=lambda: NO_FLAGS)

    def add(self, frame: Frame, seqs: Words, decided: Flags, draft: Definitions) -> None:
        self.count += len(frame)
        self.seqs.append(seqs)
        self.times_ms.append(frame.times)
        self.ids.append(ids_of(frame))
        self.decided.append(decided)
        places = draft.settings.money_places
        column = None if self.amount is None else frame.evaluate(self.amount)
        type_ = TEXT if self.amount is None else self.amount.type
        self.amounts_minor.append(minor_units(column, type_, places, len(frame)).to_numpy())
        explorable_rows = np.zeros(len(frame), np.bool_)
        if self.explore is not None and column is not None:
            explorable_rows = explorable(self.explore, column, type_, places, frame.times)
        self.may_be_explored.append(explorable_rows)

    def is_decided(self, rows: Words) -> Flags:
        """Whether the events of these rows were decided."""
        if len(self._decided) < self.count:
            self._decided = np.concatenate([*self.decided])
        return self._decided[rows]


class RecordedHits:
    """The hits that the log has of a stretch, (after, upto], by rule."""

    def __init__(self, log: Log, after: int, upto: int) -> None:
        self._hits: dict[str, list[HitRow]] = defaultdict(list)
        for rows in log.hits_after(after, upto):
            for row in rows:
                self._hits[row.rule].append(row)

    @property
    def rules(self) -> list[str]:
        return sorted(self._hits.keys() - {LET_THROUGH})

    def places(self, rule: str) -> Words:
        return np.array([row.seq for row in self._hits.get(rule, ())], np.int64)

    def keys(self, rule: str) -> list[str | None]:
        return [row.key for row in self._hits.get(rule, ())]

    def effective(self, rule: str) -> Flags:
        """Hits that had an effect."""
        return np.array([not row.shadow for row in self._hits.get(rule, ())], np.bool_)


def rows_of(places: Words, seqs: Words) -> Words:
    """Rows of sequence numbers among the ascending `seqs`; -1 if absent."""
    rows = np.searchsorted(seqs, places)
    rows[rows == len(seqs)] = 0
    return np.where(seqs[rows] == places, rows, -1) if len(seqs) else np.full(len(places), -1)


def joined(parts: Sequence[RuleMatches]) -> RuleMatches:
    """Hits that follow each other."""
    rows = np.concatenate([NO_WORDS, *(part.rows for part in parts)])
    return RuleMatches(rows, np.concatenate([NO_FLAGS, *(part.effective for part in parts)]))
