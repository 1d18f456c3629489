"""The engine: events in log order in, decisions, hits and flags out.

A deterministic fold. It reads no clock, no network, no store and no random source, so
batches of any size and a replay give the same bytes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import msgspec

from shroff.decisions.definitions import Definitions, computed_of
from shroff.decisions.documents import NO_SCORE, DocumentWriter, Verdict, exploration, reason
from shroff.decisions.let_through import LET_THROUGH, WOULD_BE, LetThrough, explorable, instead_of_decline
from shroff.decisions.policy import OUTCOMES, outcome
from shroff.decisions.scoring import Scored, scored
from shroff.decisions.training_wanted import missed_fraud
from shroff.events.event import canonical_text
from shroff.events.labels import LogEvent
from shroff.features.frames import Frame
from shroff.features.key_texts import Hits
from shroff.features.online import Online
from shroff.features.remarks import SUM_OUTSIDE, Remarks
from shroff.language.columns import Column, values_of
from shroff.language.shares import in_share, key_text
from shroff.language.values import show
from shroff.rules.definitions import Rule
from shroff.streams.log import DecisionRow, FlagRow, HitRow, OutboxRow, Remark


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An event at its place in the log, with its canonical body.

    `past_hits` is None for an event that is decided now; for one of the past it says which
    rules hit it, with which key; for one that was only taken (`--no-decide`) it is empty.
    """

    seq: int
    event: LogEvent
    body: bytes
    past_hits: Hits | None = None


@dataclass(slots=True)
class Effects:
    """What came of a batch, in log order."""

    decisions: list[DecisionRow] = field(default_factory=list)
    hits: list[HitRow] = field(default_factory=list)
    flags: list[FlagRow] = field(default_factory=list)
    outbox: list[OutboxRow] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Hit:
    rule: Rule
    key: str | None
    is_effective: bool
    text: str


class Engine:
    """The running state of one version of a project.

    Args:
        lateness_ms: How late the events may be that it is given; by default as the version says.
        online: What computes features and conditions, where it is not the running state of all keys.
    """

    def __init__(self, definitions: Definitions, lateness_ms: int | None = None, online: Online | None = None) -> None:
        self.definitions = definitions
        lateness_ms = definitions.settings.lateness_ms if lateness_ms is None else lateness_ms
        if online is None:
            online = Online(definitions.events, computed_of(definitions), definitions.reference, lateness_ms)
        self.online = online
        self._writers = {event: DocumentWriter(event, definitions) for event in definitions.events.decided}
        self.let_through = LetThrough()
        self._explored = {
            event: (explore, amount)
            for event in definitions.events.decided
            if (explore := definitions.policy(event).explore) and (amount := missed_fraud(definitions, event))
        }
        self._rules_on: dict[str, list[Rule]] = defaultdict(list)
        for rule in sorted(definitions.rules, key=lambda rule: rule.id):
            self._rules_on[rule.on].append(rule)

    def step(self, batch: Sequence[Placed]) -> Effects:
        """Take events in log order and decide those that are decided now."""
        past = [placed.past_hits for placed in batch]
        frames = self.online.compute([placed.event for placed in batch], None if _all_new(past) else past)
        effects = Effects()
        for one in batch if any(past) else ():  # those of the past stand before those that are decided now
            self.let_through.note(one.event.type, one.event.time_ms, one.past_hits)
        for name, frame in frames.items():
            if name != "label":
                mine = batch if len(frame) == len(batch) else [batch[row] for row in frame.rows.tolist()]
                self._decide(name, frame, mine, effects)
        if len(frames) > 1:
            effects.decisions.sort(key=lambda row: row.seq)
        effects.hits.sort(key=lambda row: (row.seq, row.rule))
        effects.flags.sort(key=lambda row: (row.seq, row.rule))
        effects.outbox.sort(key=lambda row: (row.seq, row.number))
        effects.remarks = _remarks(self.online.remarks, batch)
        return effects

    def _decide(self, name: str, frame: Frame, placed: Sequence[Placed], effects: Effects) -> None:
        if all(one.past_hits is not None for one in placed):
            return
        hits = self._hits(name, frame, placed)
        for row, found in hits.items():
            self._record(placed[row], found, effects)
        if not self.definitions.events.types[name].is_decided:
            return
        writer, scores = self._writers[name], scored(frame, self.definitions.scoring_of(name))
        shown_scores = [NO_SCORE] * len(placed) if scores is None else scores.shown()
        verdict_of = self._verdicts(name, hits, scores)
        explored = self._explorations(name, frame, hits, effects)
        for row, (one, shown) in enumerate(zip(placed, writer.features(frame), strict=True)):
            if one.past_hits is not None:
                continue
            verdict, id_ = explored(row, one, verdict_of(row)), one.event.id
            by = shown_scores[row], "" if scores is None else scores.models[row]
            document, receipt = writer.write(id_, one.seq, one.body, shown, verdict, *by)
            effects.decisions.append(DecisionRow(one.seq, name, id_, verdict.outcome, receipt, document))

    def _verdicts(self, name: str, hits: Mapping[int, list[_Hit]], scores: Scored | None) -> Callable[[int], Verdict]:
        """What gives the verdict of each event of a type; those without a hit share one for each outcome."""
        policy = self.definitions.policy(name)
        plain = {decided: Verdict(decided) for decided in OUTCOMES}
        without = plain[outcome((), policy)]

        def verdict(row: int) -> Verdict:
            score = None if scores is None else scores.values[row]
            found = hits.get(row)
            if found is None:
                return without if score is None else plain[outcome((), policy, score, has_model=True)]
            effects = [hit.rule.effect for hit in found if hit.is_effective]
            return _verdict(found, outcome(effects, policy, score, has_model=score is not None))

        return verdict

    def _explorations(
        self, name: str, frame: Frame, hits: Mapping[int, list[_Hit]], effects: Effects
    ) -> Callable[[int, Placed, Verdict], Verdict]:
        """What draws among would-be declines, event by event in log order; who is let through is noted as a hit."""
        if name not in self._explored:
            return lambda row, one, verdict: verdict
        (explore, node), small = self._explored[name], list[bool]()
        places = self.definitions.settings.money_places

        def explored(row: int, one: Placed, verdict: Verdict) -> Verdict:
            ruled = [hit.rule.effect for hit in hits.get(row, ()) if hit.is_effective]
            if verdict.outcome != WOULD_BE or WOULD_BE in ruled:
                return verdict
            if not small:  # of many batches nothing is declined
                small.extend(explorable(explore, frame.evaluate(node), node.type, places, frame.times).tolist())
            if not small[row]:
                return verdict
            draw = self.let_through.draw(explore, name, one.event.id, one.event.time_ms)
            if draw.is_explored:
                effects.hits.append(HitRow(one.seq, LET_THROUGH, None, shadow=False))
            decided = instead_of_decline(ruled, explore) if draw.is_explored else verdict.outcome
            shown = exploration(draw.propensity, verdict.outcome, is_explored=draw.is_explored)
            return replace(verdict, outcome=decided, exploration=shown)

        return explored

    def _hits(self, name: str, frame: Frame, placed: Sequence[Placed]) -> dict[int, list[_Hit]]:
        """For each event that a rule hit: the hits, by rule id."""
        found: dict[int, list[_Hit]] = defaultdict(list)
        for rule in self._rules_on.get(name, ()):
            column = frame.computed[rule.computed.name]
            rows = [row for row in column.values.nonzero()[0].tolist() if placed[row].past_hits is None]
            if not rows:
                continue
            keys = frame.key_values(rule.by)
            texts = self._reason_texts(rule, frame, rows)
            for row, text in zip(rows, texts, strict=True):
                key = None if keys[row] is None else key_text(keys[row])
                effective = not rule.is_shadow and is_rolled_out(rule, key)
                found[row].append(_Hit(rule, key, effective, text))
        return found

    def _reason_texts(self, rule: Rule, frame: Frame, rows: list[int]) -> list[str]:
        """The reason of a rule at some events, its expressions shown with their values."""
        if not rule.reason:
            return [rule.id.replace("_", " ")] * len(rows)
        aggregated = {one.name for one in rule.reason_computed()}
        parts: list[list[str]] = []
        for at, part in enumerate(rule.reason):
            if isinstance(part, str):
                parts.append([part] * len(rows))
                continue
            name = f"rule {rule.id} reason {at}"
            column = frame.computed[name] if name in aggregated else frame.evaluate(part)
            values = values_of(_at(column, rows))
            parts.append([show(value, part.type, self.definitions.settings.money_places) for value in values])
        return ["".join(texts) for texts in zip(*parts, strict=True)]

    def _record(self, placed: Placed, hits: Sequence[_Hit], effects: Effects) -> None:
        """Hits, flags and notices of one event."""
        event = placed.event
        for number, hit in enumerate(hits):
            rule = hit.rule
            effects.hits.append(HitRow(placed.seq, rule.id, hit.key, not hit.is_effective))
            if not hit.is_effective:
                continue
            if hit.key is not None and rule.effect != "allow":
                named = f"{event.type}/{event.id}"
                effects.flags.append(FlagRow(placed.seq, rule.id, rule.by, hit.key, named, hit.text, event.time_ms))
            if rule.notify is not None:
                effects.outbox.append(OutboxRow(placed.seq, number, f"notice:{rule.notify}", _notice(event, rule, hit)))


def _all_new(past: Sequence[Hits | None]) -> bool:
    return all(hits is None for hits in past)


def _remarks(noted: Remarks, batch: Sequence[Placed]) -> list[Remark]:
    """What was noted of a batch; nobody asks for a sum at an event that is not decided."""
    found: list[Remark] = []
    for (what, asker), rows in noted.found().items():
        events = [batch[row] for row in rows if what != SUM_OUTSIDE or batch[row].past_hits is None]
        if events:
            first, last = events[0], events[-1]
            times = first.event.time_ms, last.event.time_ms
            found.append(Remark(what, asker, len(events), first.seq, times[0], last.seq, times[1]))
    return found


def _at(column: Column, rows: list[int]) -> Column:
    return Column(column.values[rows], column.valid[rows])


def _verdict(hits: Sequence[_Hit], decided: str) -> Verdict:
    effective = [hit for hit in hits if hit.is_effective]
    return Verdict(
        decided,
        tuple(hit.rule.id for hit in effective),
        tuple(hit.rule.id for hit in hits if not hit.is_effective),
        tuple(reason(hit.rule.id, hit.text, hit.rule.effect) for hit in effective),
    )


def is_rolled_out(rule: Rule, key: str | None) -> bool:
    """Whether a rule has effect for a key: a fixed share of keys, by a hash of rule and key."""
    if rule.rollout >= 1.0:
        return True
    return in_share(rule.id, rule.rollout, key)


def _notice(event: LogEvent, rule: Rule, hit: _Hit) -> bytes:
    """What a notice is made of; no field of the event but its id."""
    texts = {"event": f"{event.type}/{event.id}", "rule": rule.id, "reason": hit.text}
    return ("{" + ",".join(f'"{name}":{canonical_text(text)}' for name, text in texts.items()) + "}").encode()
