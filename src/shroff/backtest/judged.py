"""Outcomes of a draft, event by event, beside the recorded outcomes and the labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shroff.backtest.fold import NO_WORDS, BacktestFold, Flags, RecordedHits, RuleMatches, TypeRows, Words, rows_of
from shroff.engine.let_through import LET_THROUGH, LetThrough, would_be_declines
from shroff.log.columns.stored import LogPiece, log_columns, outcomes_of
from shroff.models import sets
from shroff.models.loading import LABEL_DELAY_MS
from shroff.models.sets import labels_in_force
from shroff.project.definitions import Definitions
from shroff.project.exploring import Explore
from shroff.project.policy import OUTCOMES, Policy
from shroff.rules.definitions import Rule
from shroff.runtime.progress import Progress
from shroff.streams.log import Log
from shroff.training.sets.labels import GatheredLabels

LABELS: Final = ("fraud", "genuine", "unclear", "none")
FRAUD, GENUINE, UNCLEAR, NONE = range(len(LABELS))
Codes = NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class JudgedRange:
    """Range of a backtest: events with sequence numbers (after, upto], and labels known up to a moment."""

    after: int
    upto: int
    as_of_ms: int


@dataclass(frozen=True, slots=True)
class JudgedEvents:
    """The events of one type that were decided, in log order.

    Args:
        amounts_minor: What each is about in money, in smallest units.
        old: Numbers of the outcomes in `OUTCOMES` that were recorded.
        new: Those of the draft.
        labels: Numbers of what is known, in `LABELS`.
        is_immature: Whether the event is younger than the label delay: what is known of it is not all that will be.
        hits: Where the rules of the draft hit, by id.
        old_hits: Where rules hit then, by id.
        explored: Rows that the draft lets through, though the score declines them.
        was_explored: Rows that were let through then.
    """

    event: str
    ids: pa.ChunkedArray
    seqs: Words
    times_ms: Words
    amounts_minor: Words
    old: Codes
    new: Codes
    labels: Codes
    is_immature: Flags
    hits: Mapping[str, RuleMatches]
    old_hits: Mapping[str, RuleMatches]
    explored: Words
    was_explored: Words

    def __len__(self) -> int:
        return len(self.seqs)


@dataclass(frozen=True, slots=True)
class DraftVerdicts:
    """Outcomes of a draft, by event type.

    Args:
        others: Events of types that get no decision and have rules.
        kept: Rules that mean what they meant; their hits are those of the log.
        undecided: Events of decided types at these places that were not decided, and so are not judged.
    """

    types: Mapping[str, JudgedEvents]
    others: Mapping[str, TypeRows]
    kept: frozenset[str]
    undecided: int


def judge(
    log: Log, draft: Definitions, span: JudgedRange, reading: Progress | None = None, computing: Progress | None = None
) -> DraftVerdicts:
    """Fold a log with a draft active from a sequence number on, and compare its outcomes with the recorded ones.

    Args:
        reading: Is told how many records were read.
        computing: Is told of how many events what the draft changed was computed.
    """
    labels = {
        name: GatheredLabels(name, draft.models[name].friendly_reasons if name in draft.models else ())
        for name in draft.events.decided
    }

    def pieces() -> Iterator[LogPiece]:
        for piece in log_columns(log, draft):
            for gathered in labels.values():
                gathered.add_events(label for _, label in piece.labels)
            yield piece
            if reading is not None:
                reading(len(piece))

    fold = BacktestFold(log, draft, span.after, span.upto)
    types = fold.run(pieces(), computing)
    recorded = outcomes_of(log, span.after, span.upto)
    judged = {
        name: _judged(rows, draft, span, labels[name], recorded, fold.recorded)
        for name, rows in types.items()
        if name in labels
    }
    placed = (
        rows.seqs[(rows.seqs > span.after) & (rows.seqs <= span.upto)] for name, rows in types.items() if name in judged
    )
    others = {name: rows for name, rows in types.items() if name not in judged}
    return DraftVerdicts(judged, others, fold.kept, sum(map(len, placed)) - sum(map(len, judged.values())))


def _judged(
    rows: TypeRows,
    draft: Definitions,
    span: JudgedRange,
    labels: GatheredLabels,
    recorded: tuple[Words, Codes],
    past: RecordedHits,
) -> JudgedEvents:
    places, outcomes = recorded
    at = np.searchsorted(places, rows.seqs)
    at[at == len(places)] = 0
    was_decided = rows.decided & (places[at] == rows.seqs) if len(places) else np.zeros(len(rows.seqs), np.bool_)
    mine = np.flatnonzero(was_decided)
    hits = {id_: found.among(mine) for id_, found in rows.hits.items()}
    rules = [rule for rule in draft.rules if rule.on == rows.event]
    policy = draft.policy(rows.event)
    new, explored = outcomes_by_columns(hits, rules, rows.scores[mine], policy), NO_WORDS
    if policy.explore is not None:
        by_rules = outcomes_by_columns(hits, rules, rows.scores[mine], Policy())
        explored = _explored(rows, mine, would_be_declines(new, by_rules, rows.may_be_explored[mine]), policy.explore)
        instead = np.int8(OUTCOMES.index(policy.explore.instead))
        new[explored] = np.maximum(by_rules[explored], instead)
    seqs, times = rows.seqs[mine], rows.times_ms[mine]
    known = _labels_of(labels, rows, span.as_of_ms)[mine]
    delay_ms = draft.models[rows.event].label_delay_ms if rows.event in draft.models else LABEL_DELAY_MS
    old_hits = {rule: _old_hits(past, rule, seqs) for rule in past.rules}
    return JudgedEvents(
        rows.event,
        rows.ids if len(mine) == len(rows.seqs) else rows.ids.take(pa.array(mine)),
        seqs,
        times,
        rows.amounts_minor[mine],
        outcomes[at[mine]],
        new,
        known,
        times > span.as_of_ms - delay_ms,
        hits,
        {rule: found for rule, found in old_hits.items() if len(found.rows)},
        explored,
        _old_hits(past, LET_THROUGH, seqs).rows,
    )


def _explored(rows: TypeRows, mine: Words, drawn: Words, explore: Explore) -> Words:
    """The explored rows among the candidates, in log order."""
    days = LetThrough(rows.explored_before.items())
    ids = rows.ids.take(pa.array(mine[drawn])).to_pylist()
    times = rows.times_ms[mine[drawn]].tolist()
    found = [days.draw(explore, rows.event, id_, time_ms).is_explored for id_, time_ms in zip(ids, times, strict=True)]
    return drawn[np.array(found, np.bool_)]


def _old_hits(past: RecordedHits, rule: str, seqs: Words) -> RuleMatches:
    rows = rows_of(past.places(rule), seqs)
    there = rows >= 0
    return RuleMatches(rows[there], past.effective(rule)[there])


def _labels_of(gathered: GatheredLabels, rows: TypeRows, as_of_ms: int) -> Codes:
    """What is known of each event at a moment, as a number of `LABELS`."""
    labels = gathered.of_rows(rows.ids, rows.times_ms)
    place = labels_in_force(labels, as_of_ms, len(rows.seqs))
    codes = np.full(len(place), NONE, np.int8)
    there = np.flatnonzero(place >= 0)
    found = np.full(len(labels.verdicts), UNCLEAR, np.int8)
    found[labels.verdicts == sets.FRAUD] = FRAUD
    found[labels.verdicts == sets.GENUINE] = GENUINE
    codes[there] = found[place[there]]
    return codes


def outcomes_by_columns(hits: Mapping[str, RuleMatches], rules: list[Rule], scores: Any, policy: Policy) -> Codes:
    """`policy.outcome` for whole columns, as numbers of `OUTCOMES`; a score is NaN where no model gives one."""
    count = len(scores)
    by_effect = {rule.effect: np.zeros(count, np.bool_) for rule in rules}
    for rule in rules:
        found = hits[rule.id]
        by_effect[rule.effect][found.rows[found.effective]] = True
    nowhere = np.zeros(count, np.bool_)
    decline, allow = by_effect.get("decline", nowhere), by_effect.get("allow", nowhere)
    review, challenge = by_effect.get("review", nowhere), by_effect.get("challenge", nowhere)
    high = nowhere
    if policy.has_score:
        there = ~np.isnan(scores)
        if policy.without_model == "review":
            review = review | ~there
        if policy.review_at is not None:
            review = review | (scores >= policy.review_at)
        if policy.decline_at is not None:
            high = scores >= policy.decline_at
    approved, challenged, reviewed, declined = (np.int8(number) for number in range(len(OUTCOMES)))
    found_by = [decline, allow, high, review, challenge]
    return np.select(found_by, [declined, approved, declined, reviewed, challenged], approved).astype(np.int8)
