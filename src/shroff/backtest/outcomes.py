"""Outcomes of a draft for each event, next to those of the project without it and the labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from shroff.arrays import NO_INTS, Bools, Floats, Ints
from shroff.backtest.engine import BacktestEngine, RecordedHits, RuleMatches, TypeRows
from shroff.backtest.plan import (
    DecidingVersion,
    DraftComparison,
    Stretch,
    have_same_scores,
    is_recorded,
    kept_rules,
    shared_rules,
    versions_of,
)
from shroff.engine.exploration import LET_THROUGH, LetThrough, would_be_declines
from shroff.log.columns.stored import LogPiece
from shroff.models.loader import LABEL_DELAY_MS
from shroff.project.definitions import Definitions
from shroff.project.exploration import Explore
from shroff.project.policy import OUTCOMES, Policy, outcome_codes
from shroff.rules.definitions import Rule
from shroff.runtime.progress import Progress, unheard
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log
from shroff.training.sets.labels import Codes, GatheredLabels, label_codes, rows_of


class JudgedRange(FrozenStruct):
    """Range of a backtest: events with sequence numbers in (after, upto], and labels known at `as_of_ms`."""

    after: int
    upto: int
    as_of_ms: int


class JudgedEvents(FrozenStruct):
    """The events of one decided type, in log order.

    Args:
        amounts_minor: Amount of each event in smallest units.
        recorded: Recorded outcomes as indexes of `OUTCOMES`; -1 for events without a decision.
        old: Outcomes of the project without the draft.
        new: Outcomes of the draft.
        labels: Labels as indexes of `LABELS`.
        is_immature: Whether the event is younger than the label delay, so that labels may still arrive.
        hits: Hits of the draft's rules by id, active and in shadow, without arms of experiments.
        old_hits: Hits of the project without the draft.
        explored: Rows that the draft approves for exploration although the score declines them.
        was_explored: Rows that were explored when they were decided.
    """

    event: str
    ids: pa.ChunkedArray
    seqs: Ints
    times_ms: Ints
    amounts_minor: Ints
    recorded: Codes
    old: Codes
    new: Codes
    labels: Codes
    is_immature: Bools
    hits: Mapping[str, RuleMatches]
    old_hits: Mapping[str, RuleMatches]
    explored: Ints
    was_explored: Ints

    def __len__(self) -> int:
        return len(self.seqs)


class DraftVerdicts(FrozenStruct):
    """Outcomes of a draft, by event type.

    Args:
        others: Events of types that have rules but get no decision.
        kept: Rules whose meaning is unchanged; their hits come from the log.
        versions: Versions that decided the events, with both sides as of each.
    """

    types: Mapping[str, JudgedEvents]
    others: Mapping[str, TypeRows]
    kept: frozenset[str]
    versions: Sequence[DecidingVersion]


def judge(
    log: Log,
    draft: Definitions,
    span: JudgedRange,
    reading: Progress | None = None,
    computing: Progress | None = None,
    *,
    how: DraftComparison = DraftComparison(),  # noqa: B008 - it never changes
) -> DraftVerdicts:
    """Decide a range of the log again, by a draft and by the project without it.

    Lists, tables and models are those active at each event, except for models that the draft names. If the project
    without the draft made the recorded decisions, these are its outcomes. If any event was taken without a decision,
    recorded hits are not used. In each version, `then` is the one that decided, `base` the project without the draft,
    `draft` the draft, both as of `then`.

    Args:
        reading: Called with the number of records read.
        computing: Called with the number of events computed.
    """
    labels = {name: GatheredLabels(name, draft.friendly_reasons(name)) for name in draft.events.decided}

    def take(piece: LogPiece) -> None:
        for gathered in labels.values():
            gathered.add_events(label for _, label in piece.labels)
        if reading is not None:
            reading(len(piece))

    versions = versions_of(log, draft, how, span.after, span.upto)
    past = RecordedHits(log, span.after, span.upto)
    decided = [version.then for version in versions]
    kept = kept_rules(draft, decided)
    stretches = [Stretch(version.start, version.end, version.draft) for version in versions]
    types = BacktestEngine(log, stretches, kept, past).run(take, computing)
    recorded = {name: _recorded(rows.seqs, span, past) for name, rows in types.items() if name in labels}
    has_decided_all = not any((outcomes < 0).any() for _, outcomes in recorded.values())
    if not has_decided_all:
        kept = frozenset()
        types = BacktestEngine(log, stretches, kept, past).run(unheard, computing)
    without_draft = None
    if not has_decided_all or not is_recorded(versions):
        without_draft = _without_draft(log, versions, types, past, computing, uses_recorded_hits=has_decided_all)
    judged = {
        name: _judged(
            types[name],
            without_draft.get(name) if without_draft else None,
            versions[-1],
            span,
            labels[name],
            past,
            recorded_events,
        )
        for name, recorded_events in recorded.items()
    }
    others = {name: rows for name, rows in types.items() if name not in judged}
    return DraftVerdicts(judged, others, kept, versions)


def _recorded(seqs: Ints, span: JudgedRange, past: RecordedHits) -> tuple[Ints, Codes]:
    """Return the rows in the span and their recorded outcomes; -1 for an event taken without a decision."""
    rows = np.flatnonzero((seqs > span.after) & (seqs <= span.upto))
    seqs_decided, outcomes = past.outcomes
    return rows, np.append(outcomes, np.int8(-1))[rows_of(seqs[rows], seqs_decided)]


def _without_draft(
    log: Log,
    versions: Sequence[DecidingVersion],
    types: Mapping[str, TypeRows],
    past: RecordedHits,
    computing: Progress | None,
    *,
    uses_recorded_hits: bool,
) -> Mapping[str, TypeRows]:
    """Decide the log without the draft; hits and scores that the draft leaves unchanged come from `types`."""
    base = versions[-1].base
    draft = versions[-1].draft
    has_same_scores = have_same_scores(versions)
    shared = shared_rules(base, draft, has_same_scores=has_same_scores)
    shared_hits = {
        name: {rule: hit for rule, hit in rows.hits.items() if rule in shared} for name, rows in types.items()
    }
    kept = kept_rules(base, [version.then for version in versions]) if uses_recorded_hits else ()
    stretches = [Stretch(version.start, version.end, version.base) for version in versions]
    engine = BacktestEngine(log, stretches, kept, past, shared_hits, has_scores=not has_same_scores)
    explores_alike = all(base.policy(name).explore == draft.policy(name).explore for name in types)
    if not engine.computes and explores_alike:
        return engine.beside(types)
    decided = engine.run(unheard, computing)
    if not has_same_scores:
        return decided
    return {name: replace(rows, scores=types[name].scores) for name, rows in decided.items() if name in types}


def _judged(
    rows: TypeRows,
    without_draft: TypeRows | None,
    last: DecidingVersion,
    span: JudgedRange,
    labels: GatheredLabels,
    past: RecordedHits,
    recorded: tuple[Ints, Codes],
) -> JudgedEvents:
    event_rows, recorded_outcomes = recorded
    hits, new, explored = _decided(rows, event_rows, last.draft)
    seqs = rows.seqs[event_rows]
    times = rows.times_ms[event_rows]
    event_labels = label_codes(labels.of_rows(rows.ids, rows.times_ms), span.as_of_ms, len(rows.times_ms))[event_rows]
    models = last.draft.models
    delay_ms = models[rows.event].label_delay_ms if rows.event in models else LABEL_DELAY_MS
    if without_draft is None:
        recorded_hits = {rule: _old_hits(past, rule, seqs) for rule in past.rules}
        old_hits = {rule: hit for rule, hit in recorded_hits.items() if len(hit.rows)}
        old = recorded_outcomes
    else:
        old_hits, old, _ = _decided(without_draft, event_rows, last.base)
    arm_ids = past.others | {experiment.id for experiment in (*last.base.experiments, *last.draft.experiments)}
    return JudgedEvents(
        rows.event,
        rows.ids if len(event_rows) == len(rows.seqs) else rows.ids.take(pa.array(event_rows)),
        seqs,
        times,
        rows.amounts_minor[event_rows],
        recorded_outcomes,
        old,
        new,
        event_labels,
        times > span.as_of_ms - delay_ms,
        {id_: hit for id_, hit in hits.items() if id_ not in arm_ids},
        {id_: hit for id_, hit in old_hits.items() if id_ not in arm_ids},
        explored,
        _old_hits(past, LET_THROUGH, seqs).rows,
    )


def _decided(rows: TypeRows, type_rows: Ints, side: Definitions) -> tuple[dict[str, RuleMatches], Codes, Ints]:
    """Return hits, outcomes and explored rows of some events by one side.

    `type_rows` are the rows of these events in their type; results index `type_rows`.
    """
    hits = {id_: hit.among(type_rows) for id_, hit in rows.hits.items()}
    rules = [rule for rule in side.evaluated if rule.on == rows.event]
    policy = side.policy(rows.event)
    new = outcomes_by_columns(hits, rules, rows.scores[type_rows], policy)
    explored = NO_INTS
    if policy.explore is not None:
        by_rules = outcomes_by_columns(hits, rules, rows.scores[type_rows], Policy())
        explored = _explored(
            rows, type_rows, would_be_declines(new, by_rules, rows.may_be_explored[type_rows]), policy.explore
        )
        instead = np.int8(OUTCOMES.index(policy.explore.instead))
        new[explored] = np.maximum(by_rules[explored], instead)
    return hits, new, explored


def _explored(rows: TypeRows, type_rows: Ints, would_be: Ints, explore: Explore) -> Ints:
    days = LetThrough(rows.explored_before.items())
    ids = rows.ids.take(pa.array(type_rows[would_be])).to_pylist()
    times = rows.times_ms[type_rows[would_be]].tolist()
    is_explored = [
        days.draw(explore, rows.event, id_, time_ms).is_explored for id_, time_ms in zip(ids, times, strict=True)
    ]
    return would_be[np.array(is_explored, np.bool_)]


def _old_hits(past: RecordedHits, rule: str, seqs: Ints) -> RuleMatches:
    return RuleMatches(past.places(rule), past.effective(rule)).among(seqs)


def outcomes_by_columns(hits: Mapping[str, RuleMatches], rules: list[Rule], scores: Floats, policy: Policy) -> Codes:
    """Compute `policy.outcome` of each event as an index of `OUTCOMES`; a score is NaN if no model computes one."""
    by_effect = {rule.effect: np.zeros(len(scores), np.bool_) for rule in rules}
    for rule in rules:
        matches = hits[rule.id]
        by_effect[rule.effect][matches.rows[matches.effective]] = True
    return outcome_codes(by_effect, scores, policy)
