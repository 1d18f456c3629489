"""The engine: takes events in log order, returns decisions, hits and flags.

A deterministic fold: it reads no clock, network, store or random source, so batches of any size and a replay produce
the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import chain, repeat
from operator import attrgetter
from typing import Any

import numpy as np

from shroff.arrays import Array
from shroff.engine.exploration import APPROVED, LET_THROUGH, WOULD_BE, LetThrough, explorable
from shroff.engine.fragments import TextPool
from shroff.engine.receipts import DecidedBatch, DocumentWriter, Verdict
from shroff.engine.row_decider import RowDecider
from shroff.engine.verdicts import (
    Effects,
    EventAt,
    Hit,
    SequencedBatch,
    SequencedEvent,
    Verdicts,
    explored,
    record_hits,
    sampled,
    takes_effect,
)
from shroff.events.conversion import Conversion
from shroff.features.batch.remarks import SUM_OUTSIDE, UNRATED, Remarks
from shroff.features.frames import Frame
from shroff.features.key_texts import Hits
from shroff.features.online.engine import Online
from shroff.language.columns import Column, values_of
from shroff.language.values import key_text, show
from shroff.project.definitions import Definitions, computed_of
from shroff.project.scoring import scored
from shroff.rules.definitions import Rule
from shroff.runtime.values import replace
from shroff.streams.log import Remark
from shroff.streams.log_columns import DecisionColumns

__all__ = ["Effects", "Engine", "SequencedBatch", "SequencedEvent", "TextPool", "takes_effect"]


class Engine:
    """The running state of one version of a project.

    Args:
        lateness_ms: How late its events may be; by default the version's lateness.
        online: Computes features and conditions, if it is not to be the running state of all keys.
    """

    def __init__(self, definitions: Definitions, lateness_ms: int | None = None, online: Online | None = None) -> None:
        self.definitions = definitions
        self.lateness_ms = definitions.settings.lateness_ms if lateness_ms is None else lateness_ms
        self._lists = dict(definitions.reference.lists)  # a copy, which `take_rows` changes
        if online is None:
            reference = replace(definitions.reference, lists=self._lists)
            online = Online(definitions.events, computed_of(definitions), reference, self.lateness_ms)
        self.online = online
        self._writers = {event: DocumentWriter(event, definitions) for event in definitions.events.decided}
        self.let_through = LetThrough()
        self._texts = TextPool()
        self._few: dict[str, RowDecider] = {}
        self._before: dict[str, RowDecider] = {}  # deciders of the previous rules
        self._decide_by(definitions)

    def _decide_by(self, definitions: Definitions) -> None:
        self._verdicts = {event: Verdicts(definitions.policy(event)) for event in definitions.events.decided}
        self._explored = {
            event: (explore, amount)
            for event in definitions.events.decided
            if (explore := definitions.policy(event).explore) and (amount := definitions.missed_fraud(event))
        }
        self._rules_on: dict[str, list[Rule]] = defaultdict(list)
        for rule in sorted(definitions.evaluated, key=lambda rule: rule.id):
            self._rules_on[rule.on].append(rule)
        self._before = self._before | self._few
        self._few = {}
        rules = set(map(id, definitions.evaluated))
        for decider in self._before.values():
            decider.keep(rules)  # an edited rule that is restored is the same object, but has a new plan

    def take_rows(self, definitions: Definitions) -> None:
        """Replace rows of lists that no state depends on; compiled code and everything else stays."""
        self.definitions = definitions
        self._lists.update(definitions.reference.lists)
        for writer in self._writers.values():
            writer.show(definitions.versions)

    def take_rules(self, definitions: Definitions) -> bool:
        """Switch to new rules, policies and list rows. Return False, unchanged, if they need other state or features.

        The caller has checked that no state depends on lists and tables that differ (see `version_switch.carried`).
        """
        was = self.definitions
        if was.features is not definitions.features or was.scoring != definitions.scoring:
            return False
        if was.reference.tables != definitions.reference.tables:
            return False
        old_rules = {id(rule): rule for rule in was.evaluated}
        new_rules = {id(rule): rule for rule in definitions.evaluated}
        edited = old_rules.keys() ^ new_rules.keys()
        decided = definitions.events.decided
        if not all(rule.on in decided for number, rule in (old_rules | new_rules).items() if number in edited):
            return False  # the rules of a type that is not decided may change which features are computed there
        rules = {
            rule.id: [rule.computed, *rule.reason_computed()] if id(rule) in edited else None
            for rule in definitions.evaluated
        }
        if not self.online.take_rules(rules):
            return False
        self.take_rows(definitions)
        self._decide_by(definitions)
        return True

    def step(self, batch: Sequence[SequencedEvent]) -> Effects:
        """Add events in log order, and decide those without recorded hits."""
        effects = Effects()
        if isinstance(batch, SequencedBatch):
            decisions_by_type = [
                self._decide(name, frame, batch.of_type(name), effects)
                for name, frame in self.online.compute_columns(batch.frames, len(batch)).items()
                if name in batch.columns or self._rules_on.get(name)
            ]
            decided = [decisions for decisions in decisions_by_type if decisions is not None]
            effects.columns = self._in_turn(decided) if decided else None
        else:
            self._step_by_event(batch, effects)
        effects.hits.sort(key=lambda row: (row.seq, row.rule))
        effects.flags.sort(key=lambda row: (row.seq, row.rule))
        effects.outbox.sort(key=lambda row: (row.seq, row.number))
        effects.remarks = [*_remarks(self.online.remarks, batch), *_unrated(self.definitions.conversion, batch)]
        return effects

    def foresee(self, placed: SequencedEvent) -> Effects:
        """Return what `step` would return for one new event, without remarks; state stays as it is."""
        event = placed.event
        effects = Effects()
        decider = self._decider(event.type)
        let_through = self.let_through.of_day(event.type, event.time_ms)
        decider.decide(placed, self.online.foresee(event), let_through, effects)
        return effects

    def _step_by_event(self, batch: Sequence[SequencedEvent], effects: Effects) -> None:
        past = [placed.past_hits for placed in batch]
        events = [placed.event for placed in batch]
        is_new = all(hits is None for hits in past)
        if is_new and self.online.takes_rows(events):
            deciders = [self._decider(event.type) for event in events]
            for decider, placed, row in zip(deciders, batch, self.online.few(events), strict=True):
                decider.decide(placed, row, self.let_through, effects)
        else:
            self._step_by_columns(batch, self.online.compute(events, None if is_new else past), effects)

    def pass_over(self, frames: Mapping[str, Frame], size: int, hits: Mapping[int, Hits]) -> None:
        """Add past records by columns to state, with recorded `hits` by row.

        State is then as after `step` with the same hits. Call `passed` after the last records.
        """
        past: list[Hits] = [{}] * size
        for row, hit in hits.items():
            past[row] = hit
        self.online.pass_over(frames, size, past)
        rows = np.array([row for row, effects_of_row in hits.items() if LET_THROUGH in effects_of_row], np.int64)
        for name, frame in frames.items() if len(rows) else ():
            for at in np.flatnonzero(np.isin(frame.rows, rows)).tolist():
                self.let_through.note(name, int(frame.times[at]), past[frame.rows[at]])

    def passed(self) -> None:
        """Release these columns: no more events are passed over with them."""
        self.online.passed()

    def _decider(self, name: str) -> RowDecider:
        if name not in self._few:
            rules = self._rules_on.get(name, ())
            writer = self._writers.get(name)
            reads = self.online.reads(name)
            exploring = self._explored.get(name)
            before = self._before.pop(name, None)
            self._few[name] = RowDecider(name, self.definitions, reads, rules, writer, exploring, before)
        return self._few[name]

    def _step_by_columns(self, batch: Sequence[SequencedEvent], frames: Mapping[str, Frame], effects: Effects) -> None:
        for event in batch:  # past events come before those to be decided
            if event.past_hits:
                self.let_through.note(event.event.type, event.event.time_ms, event.past_hits)
        for name, frame in frames.items():
            if name != "label":
                events = batch if len(frame) == len(batch) else [batch[row] for row in frame.rows.tolist()]
                effects.decisions += self._decide(name, frame, events, effects) or ()
        if len(frames) > 1:
            effects.decisions.sort(key=lambda row: row.seq)

    def _decide(
        self, name: str, frame: Frame, placed: Sequence[SequencedEvent], effects: Effects
    ) -> DecisionColumns | None:
        columns = placed if isinstance(placed, SequencedBatch) else None
        rows: Sequence[int] = range(len(frame))
        if columns is None:
            rows = [row for row, event in enumerate(placed) if event.past_hits is None]
        if not rows:
            return None
        hits = self._hits(name, frame, rows)
        for row, hit in hits.items():
            record_hits(_happened(placed, row), hit, effects)
        if not self.definitions.events.types[name].is_decided:
            return None
        at = slice(None) if len(rows) == len(frame) else np.array(rows)
        scores = scored(frame, self.definitions.scoring_of(name))
        row_scores = None if scores is None else scores.values[at]
        if row_scores is not None:
            effects.scores.setdefault(name, []).extend(row_scores.tolist())
        verdicts, verdict_of = self._verdicts_of(name, row_scores, rows, hits)
        if name in self._explored:
            self._explore(frame, rows, placed, verdicts, verdict_of, hits, effects)
        sample = self.definitions.policy(name).sample
        if sample is not None:
            approved = np.array([verdict.outcome == APPROVED for verdict in verdicts])
            for index in approved[verdict_of].nonzero()[0].tolist():
                score = None if row_scores is None else row_scores[index]
                verdict = verdicts[verdict_of[index]]
                drawn = sampled(sample, _happened(placed, rows[index]), verdict, score, effects)
                if drawn is not verdict:
                    verdict_of[index] = len(verdicts)
                    verdicts.append(drawn)
        seqs: Sequence[int]
        ids: Sequence[str]
        bodies: Sequence[bytes]
        if columns is not None:
            seqs = columns.seqs
            ids = columns.ids
            bodies = columns.bodies
        else:
            events = [placed[row] for row in rows]
            seqs = [event.seq for event in events]
            ids = [event.event.id for event in events]
            bodies = [event.body for event in events]
        models = ([""], np.zeros(len(rows), np.int64)) if scores is None else (scores.ids, scores.model_of[at])
        decided = DecidedBatch(at, np.asarray(seqs, np.int64), ids, bodies, verdicts, verdict_of, row_scores, *models)
        documents, receipts = self._writers[name].write_all(frame, decided)
        outcomes = np.array([verdict.outcome for verdict in verdicts], object).take(verdict_of).tolist()
        return DecisionColumns([name] * len(ids), seqs, ids, outcomes, receipts, documents)

    def _in_turn(self, parts: Sequence[DecisionColumns]) -> DecisionColumns:
        """Merge the decisions of several event types in the order of sequence numbers, as a copy."""
        if len(parts) == 1:
            return replace(parts[0], documents=parts[0].documents.copy())
        order = np.concatenate([part.seqs for part in parts]).argsort()

        def ordered(name: str) -> list[Any]:
            return list(map([*chain.from_iterable(getattr(part, name) for part in parts)].__getitem__, order.tolist()))

        return DecisionColumns(
            ordered("events"),
            ordered("seqs"),
            ordered("ids"),
            ordered("outcomes"),
            np.concatenate([part.receipts for part in parts])[order],
            self._texts.in_turn([part.documents for part in parts], order),
        )

    def _verdicts_of(
        self, name: str, scores: Array | None, rows: Sequence[int], hits: Mapping[int, list[Hit]]
    ) -> tuple[list[Verdict], Array]:
        """Return the verdicts of these rows before exploration, and the index of each row's verdict."""
        of = self._verdicts[name]
        verdicts, verdict_of = of.without_hits(scores, len(rows))
        with_hits = sorted(hits)
        indices = np.array(with_hits, np.int64)
        if not isinstance(rows, range):
            indices = np.searchsorted(rows, indices)
        hit_scores: Iterable[float | None] = repeat(None, len(indices)) if scores is None else scores[indices].tolist()
        verdict_index: dict[tuple[object, ...], int] = {}  # most events with the same hits share one verdict
        for index, row, score, step in zip(
            indices.tolist(), with_hits, hit_scores, verdict_of[indices].tolist(), strict=True
        ):
            combination = step, *[(hit.rule.id, hit.is_effective, hit.text) for hit in hits[row]]
            verdict_number = verdict_index.get(combination)
            if verdict_number is None:
                verdict_number = len(verdicts)
                verdict_index[combination] = verdict_number
                verdicts.append(of.of(hits[row], score))
            verdict_of[index] = verdict_number
        return verdicts, verdict_of

    def _explore(
        self,
        frame: Frame,
        rows: Sequence[int],
        placed: Sequence[SequencedEvent],
        verdicts: list[Verdict],
        verdict_of: Array,
        hits: Mapping[int, list[Hit]],
        effects: Effects,
    ) -> None:
        """Draw for would-be declines, one by one in log order; each drawn event gets its own verdict."""
        (explore, node) = self._explored[frame.type.name]
        small = list[bool]()
        decimals = self.definitions.settings.money_places

        def is_small(row: int) -> bool:
            if not small:  # computed on demand: many batches have no declines
                small.extend(explorable(explore, frame.evaluate(node), node.type, decimals, frame.times).tolist())
            return small[row]

        is_decline = np.array([verdict.outcome == WOULD_BE for verdict in verdicts])
        for at in is_decline[verdict_of].nonzero()[0].tolist():
            row = rows[at]
            verdict = verdicts[verdict_of[at]]
            event = _happened(placed, row)
            is_small_row = partial(is_small, row)
            decided = explored(explore, self.let_through, event, verdict, hits.get(row, ()), is_small_row, effects)
            if decided is not verdict:
                verdict_of[at] = len(verdicts)
                verdicts.append(decided)

    def _hits(self, name: str, frame: Frame, new: Sequence[int]) -> dict[int, list[Hit]]:
        """Return, for each of these rows that a rule hit, the hits by rule id. `new` is in order."""
        hits_by_row: dict[int, list[Hit]] = defaultdict(list)
        is_new = set(new) if len(new) < len(frame) else range(len(frame))
        for rule in self._rules_on.get(name, ()):
            column = frame.computed[rule.computed.name]
            rows = [row for row in column.values.nonzero()[0].tolist() if row in is_new]
            if not rows:
                continue
            keys = frame.key_values(rule.by)
            texts = self._reason_texts(rule, frame, rows)
            for row, text in zip(rows, texts, strict=True):
                key = None if keys[row] is None else key_text(keys[row])
                effective = takes_effect(rule, key)
                hits_by_row[row].append(Hit(rule, key, effective, text))
        return hits_by_row

    def _reason_texts(self, rule: Rule, frame: Frame, rows: list[int]) -> list[str]:
        if not rule.reason:
            return [rule.id.replace("_", " ")] * len(rows)
        aggregated = {feature.name for feature in rule.reason_computed()}
        parts: list[list[str]] = []
        for at, part in enumerate(rule.reason):
            if isinstance(part, str):
                parts.append([part] * len(rows))
                continue
            name = f"rule {rule.id} reason {at}"
            column = frame.computed[name] if name in aggregated else frame.evaluate(part)
            values = values_of(column.take(rows))
            parts.append([show(value, part.type, self.definitions.settings.money_places) for value in values])
        return ["".join(texts) for texts in zip(*parts, strict=True)]


def _happened(placed: Sequence[SequencedEvent], row: int) -> EventAt:
    return placed.happened(row) if isinstance(placed, SequencedBatch) else placed[row].happened


def _remarks(noted: Remarks, batch: Sequence[SequencedEvent]) -> list[Remark]:
    remarks: list[Remark] = []
    for (kind, asker), rows in noted.found().items():
        events = [batch[row] for row in rows if kind != SUM_OUTSIDE or batch[row].past_hits is None]
        if events:
            first = events[0]
            last = events[-1]
            times = first.event.time_ms, last.event.time_ms
            remarks.append(Remark(kind, asker, len(events), first.seq, times[0], last.seq, times[1]))
    return remarks


def _unrated(conversion: Conversion, batch: Sequence[SequencedEvent]) -> list[Remark]:
    events_by_asker: dict[str, list[SequencedEvent]] = {}
    if isinstance(batch, SequencedBatch):
        unrated = [batch[row] for row in batch.rows[_unrated_rows(conversion, batch)].tolist()]
        batch = sorted([*unrated, *batch.others.values()], key=attrgetter("seq"))
    for event in batch if conversion else ():
        values = event.event.values
        for field in conversion.fields(event.event.type) if event.past_hits is None else ():
            if values[field.original] is not None and values[field.amount] is None and values[field.rate] is None:
                events_by_asker.setdefault(f"{event.event.type}: an amount in {values[field.currency]}", []).append(
                    event
                )
    return [
        Remark(UNRATED, asker, len(of), of[0].seq, of[0].event.time_ms, of[-1].seq, of[-1].event.time_ms)
        for asker, of in events_by_asker.items()
    ]


def _unrated_rows(conversion: Conversion, batch: SequencedBatch) -> list[int]:
    is_unrated = np.zeros(len(batch.ids), np.bool_)
    for name, columns in batch.columns.items():
        names = list(columns)
        rows = batch.rows_of(name)
        for field in conversion.fields(name):
            amount = columns[names[field.amount]]
            original = columns[names[field.original]]
            assert isinstance(amount, Column)
            assert isinstance(original, Column)
            is_unrated[rows] |= original.valid & ~amount.valid
    return is_unrated.nonzero()[0].tolist()
