"""Verdicts: turns rule hits and score into outcome, flags and notices, including exploration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf

import numpy as np
from msgspec import Struct

from shroff.arrays import Floats, Ints
from shroff.engine.exploration import APPROVED, LET_THROUGH, SAMPLED, WOULD_BE, LetThrough, instead_of_decline
from shroff.engine.receipts import Verdict, exploration, reason
from shroff.events.definitions import Events
from shroff.events.event import canonical_text
from shroff.events.labels import LogEvent
from shroff.features.frames import Coded, ColumnFrame, Frame, frames_of
from shroff.features.key_texts import Hits
from shroff.language.columns import Column
from shroff.language.row import Reference
from shroff.language.values import in_share
from shroff.project.exploration import Explore, Sample
from shroff.project.policy import OUTCOMES, Policy, outcome
from shroff.rules.definitions import Rule
from shroff.rules.keys import EXPERIMENT
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import DecisionRow, FlagRow, HitRow, OutboxRow, Remark
from shroff.streams.log_columns import DecisionColumns, Interleaved


class EventAt(FrozenStruct, gc=False):
    """Sequence number, type, id and time of an event."""

    seq: int
    type: str
    id: str
    time_ms: int


class SequencedEvent(FrozenStruct, gc=False):
    """An event with its sequence number in the log and its canonical body.

    `past_hits` is None for an event to be decided now. A past event has the keys of its hits by rule; it is empty for
    an event that was only appended (`--no-decide`).
    """

    seq: int
    event: LogEvent
    body: bytes
    past_hits: Hits | None = None

    @property
    def happened(self) -> EventAt:
        return EventAt(self.seq, self.event.type, self.event.id, self.event.time_ms)


@dataclass(frozen=True, eq=False)
class SequencedBatch(Interleaved[SequencedEvent]):
    """Events to be decided now as columns by type, and among them labels and events that are not decided.

    Args:
        columns: The fields of the events of each type.
        event: Creates the event of a row on demand.
    """

    types: Sequence[str]
    seqs: Sequence[int]
    ids: Sequence[str]
    times: Ints
    bodies: Sequence[bytes]
    columns: Mapping[str, Mapping[str, Column | Coded]]
    event: Callable[[int], LogEvent]
    others: Mapping[int, SequencedEvent] = field(default_factory=dict)

    def made(self, row: int) -> SequencedEvent:
        return SequencedEvent(self.seqs[row], self.event(row), self.bodies[row])

    def happened(self, row: int) -> EventAt:
        return EventAt(self.seqs[row], self.types[row], self.ids[row], int(self.times[row]))

    def rows_of(self, type: str) -> Ints:
        return np.flatnonzero(np.array(self.types, object) == type)

    def of_type(self, type: str) -> Sequence[SequencedEvent]:
        if type not in self.columns:
            return [other for other in self.others.values() if other.event.type == type]
        if len(self.columns) == 1:
            return self
        rows = self.rows_of(type)
        of_rows = rows.tolist()
        columns = {type: self.columns[type]}
        seqs = [self.seqs[row] for row in of_rows]
        ids = [self.ids[row] for row in of_rows]
        all_bodies = [*self.bodies]
        bodies = [all_bodies[row] for row in of_rows]
        fields = [type] * len(of_rows), seqs, ids, self.times[rows], bodies, columns
        return SequencedBatch(*fields, lambda row: self.event(of_rows[row]))

    def frames(self, events: Events, reference: Reference) -> dict[str, Frame]:
        frames = dict[str, Frame]()
        all_rows = self.rows
        for name, columns in self.columns.items():
            rows = self.rows_of(name)
            if len(rows):
                fields = events.types[name], columns, self.times[rows], all_rows[rows]
                frames[name] = ColumnFrame(*fields, events, reference)
        others = frames_of([other.event for other in self.others.values()], events, reference)
        for frame in others.values():
            frame.rows = (np.array(list(self.others), np.int64) - self.first)[frame.rows]
        return frames | others


class Effects(Struct):
    """Effects of a batch, in log order.

    `columns` has the decisions of events that came as columns, `scores` all scores by event type.
    """

    decisions: list[DecisionRow] = []
    columns: DecisionColumns | None = None
    scores: dict[str, list[float]] = {}
    hits: list[HitRow] = []
    flags: list[FlagRow] = []
    outbox: list[OutboxRow] = []
    remarks: list[Remark] = []


class Hit(FrozenStruct, gc=False):
    """A rule that was true at an event, with its key and its reason as text."""

    rule: Rule
    key: str | None
    is_effective: bool
    text: str


class Verdicts:
    """The verdicts of one event type; events without hits share one verdict for each outcome."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._plain = {decided: Verdict(decided) for decided in OUTCOMES}
        self._without = self._plain[outcome((), policy)]
        self._cuts = policy.cuts
        self._by_cuts = [self.of(None, score) for score in (-inf, *self._cuts)]  # from each threshold on

    def without_hits(self, scores: Floats | None, count: int) -> tuple[list[Verdict], Ints]:
        """Return the verdicts of `count` events without hits, and the index of each event's verdict."""
        if scores is None:
            return [self._without], np.zeros(count, np.int64)
        return self._by_cuts.copy(), np.searchsorted(self._cuts, scores, "right")

    def of(self, hits: Sequence[Hit] | None, score: float | None) -> Verdict:
        """Return the verdict for hits and score; the score is None if no model scores the type."""
        if not hits:
            return self._without if score is None else self._plain[outcome((), self._policy, score, has_model=True)]
        effective = [hit for hit in hits if hit.is_effective]
        effects = [hit.rule.effect for hit in effective]
        return Verdict(
            outcome(effects, self._policy, score, has_model=score is not None),
            tuple(hit.rule.id for hit in effective),
            tuple(hit.rule.id for hit in hits if not hit.is_effective),
            tuple(reason(hit.rule.id, hit.text, hit.rule.effect) for hit in effective),
        )


def record_hits(event: EventAt, hits: Iterable[Hit], effects: Effects) -> None:
    """Add hits, flags and notices of one event to the effects."""
    for number, hit in enumerate(hits):
        rule = hit.rule
        effects.hits.append(HitRow(event.seq, rule.id, hit.key, not hit.is_effective))
        if not hit.is_effective:
            continue
        if hit.key is not None and rule.effect not in ("allow", EXPERIMENT):
            event_name = f"{event.type}/{event.id}"
            effects.flags.append(FlagRow(event.seq, rule.id, rule.by, hit.key, event_name, hit.text, event.time_ms))
        if rule.notify is not None:
            effects.outbox.append(OutboxRow(event.seq, number, f"notice:{rule.notify}", _notice(event, rule, hit)))


def explored(
    explore: Explore,
    let_through: LetThrough,
    event: EventAt,
    verdict: Verdict,
    hits: Iterable[Hit],
    is_small: Callable[[], bool],
    effects: Effects,
) -> Verdict:
    """Return the verdict after the exploration draw; record an approval as a hit.

    Args:
        is_small: Returns whether the event may be explored; called for would-be declines only.
    """
    ruled = [hit.rule.effect for hit in hits if hit.is_effective]
    if verdict.outcome != WOULD_BE or WOULD_BE in ruled or not is_small():
        return verdict
    draw = let_through.draw(explore, event.type, event.id, event.time_ms)
    if draw.is_explored:
        effects.hits.append(HitRow(event.seq, LET_THROUGH, None, shadow=False))
    decided = instead_of_decline(ruled, explore) if draw.is_explored else verdict.outcome
    document = exploration(draw.propensity, verdict.outcome, is_explored=draw.is_explored)
    return replace(verdict, outcome=decided, exploration=document)


def sampled(sample: Sample, event: EventAt, verdict: Verdict, score: float | None, effects: Effects) -> Verdict:
    """Return the verdict of an approval after the draw of the sample; record a drawn event as a hit."""
    propensity = sample.propensity(score)
    is_plain = verdict.outcome != APPROVED or bool(verdict.exploration)
    if is_plain or not in_share(f"{sample.seed}\x00{event.type}", propensity, event.id):
        return verdict
    effects.hits.append(HitRow(event.seq, SAMPLED, None, shadow=False))
    return replace(verdict, exploration=exploration(propensity, APPROVED, is_explored=True))


def takes_effect(rule: Rule, key: str | None) -> bool:
    """Return whether a hit counts: not in shadow, and for a fixed share of keys, by a hash of name and key."""
    if rule.is_shadow:
        return False
    if rule.rollout >= 1.0:
        return True
    return in_share(rule.drawn_as or rule.id, rule.rollout, key) is not rule.is_drawn_out


def _notice(event: EventAt, rule: Rule, hit: Hit) -> bytes:
    texts = {"event": f"{event.type}/{event.id}", "rule": rule.id, "reason": hit.text}
    return ("{" + ",".join(f'"{name}":{canonical_text(text)}' for name, text in texts.items()) + "}").encode()
