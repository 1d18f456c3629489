"""Blast radius of a changed rule: what it would have touched in the last 30 days."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from shroff.cases.case_queries import hidden
from shroff.cases.case_service import CaseService
from shroff.errors import UsageError
from shroff.events.event import TimeText, time_text
from shroff.language.values import show_decimal
from shroff.operations.declaration import OperationAnswer, OperationRequest, Param, operation
from shroff.project.definitions import Definitions
from shroff.runtime.texts import table
from shroff.services.backtest.operations import AMOUNT, COUNTED_MS, CountedDays, LogBacktests
from shroff.services.drafts.draft_files import RuleDraftFiles
from shroff.streams.log import Log

if TYPE_CHECKING:
    from shroff.arrays import Array, Ints
    from shroff.rules.definitions import Rule

EXAMPLES = 10  # on each side
LABELS = ("fraud", "genuine", "unclear", "none")


class TouchedEvent(msgspec.Struct):
    """An event that a changed rule touches. A second look hides its label."""

    id: str
    seq: int
    time: TimeText
    money: str
    before: str
    after: str
    label: str


class TouchedEvents(msgspec.Struct):
    """Events touched in one way, with the number of different keys and of each label; `examples` are the newest."""

    way: str
    events: int
    money: str
    entities: int
    labels: dict[str, int]
    examples: list[TouchedEvent]


class BlastRadius(OperationAnswer):
    """What a changed rule would have touched among all `events` of its type: hits, decisions, and these by outcome."""

    rule: str
    as_of: TimeText
    since: TimeText
    events: int
    touched: list[TouchedEvents]

    def text(self) -> str:
        heads = (f"of {self.events:,} since {self.since[:10]}", "events", "money", "keys", *LABELS)
        rows = [[of.way, of.events, of.money, of.entities, *of.labels.values()] for of in self.touched]
        examples = [f"{of.way}: {' '.join(event.id for event in of.examples)}" for of in self.touched if of.examples]
        return "\n".join([table(rows, heads), "", *examples])


class ShowBlastRadius(OperationRequest[BlastRadius], rename={"source": "text"}):
    """The changed rule.

    Args:
        rule: The rule.
        source (FILE): Its changed text.  [default: its draft]
    """

    rule: str
    source: Annotated[str | None, Param(flags="--text", is_file=True)] = None


class _Row(msgspec.Struct):
    """A touched event. `old` and `new` are the rules' effects: "" for a hit without effect, None without a hit."""

    id: str
    seq: int
    time_ms: int
    amount: int
    key: str | None
    old: str | None
    new: str | None
    before: str = ""
    after: str = ""
    label: str = "none"


@operation("drafts blast-radius", right="read:decisions", http="POST /rules/{rule}/blast-radius", is_shared=True)
def show_blast_radius(
    drafts: RuleDraftFiles,
    backtests: LogBacktests,
    cases: CaseService,
    log: Log,
    definitions: Definitions,
    request: ShowBlastRadius,
) -> BlastRadius:
    """Show what a changed rule would have touched in the last 30 days: decisions, money, keys, and examples.

    Other hits and the score stay as recorded, and the policy is today's.

    Examples:
        shroff drafts blast-radius many_payments
        shroff drafts blast-radius many_payments --text new.yaml
    """
    draft = drafts.one(request.rule)
    text = request.source or (draft and draft.text)
    if not text:
        raise UsageError(f"nobody has a draft of {request.rule!r}; give its changed text.")
    checked = drafts.check(request.rule, text)
    if not checked.rules or checked.definitions is None:
        raise UsageError(f"fix the errors of {request.rule} first: {[*checked.mistakes, *checked.elsewhere][0]}")
    active = [rule for rule in definitions.rules if rule.is_of(request.rule)]
    rules, on = [*active, *checked.rules], checked.rules[0].on
    if len({(rule.on, rule.by) for rule in rules}) > 1:
        raise UsageError(f"the changed text of {request.rule} has another 'on' or 'by'; run a backtest.")
    days = backtests.counted_days(rules, checked.definitions, has_keys=True)
    rows = list(_rows(days, active, checked.rules))
    _judge(log, checked.definitions, rules, days, rows)
    ways = {
        "newly hit": [row for row in rows if row.old is None and row.new is not None],
        "no longer hit": [row for row in rows if row.old is not None and row.new is None],
        "other outcome": [row for row in rows if row.before != row.after],
    }
    for row in ways["other outcome"]:
        ways.setdefault(f"{row.before} to {row.after}", []).append(row)
    return BlastRadius(
        rule=request.rule,
        as_of=time_text(days.as_of_ms),
        since=time_text(days.as_of_ms - COUNTED_MS),
        events=sum(len(stretch.seqs) for stretch, _ in days.stretches),
        touched=[_touched(cases, way, on, ways[way], definitions.settings.money_places) for way in ways],
    )


def _touched(cases: CaseService, way: str, on: str, rows: Sequence[_Row], places: int) -> TouchedEvents:
    newest = rows[: -EXAMPLES - 1 : -1]
    unseen = hidden(cases, [f"{on}/{row.id}" for row in newest])
    return TouchedEvents(
        way,
        len(rows),
        show_decimal(sum(row.amount for row in rows), places),
        len({row.key for row in rows} - {None}),
        dict.fromkeys(LABELS, 0) | Counter(row.label for row in rows),
        [
            TouchedEvent(
                row.id,
                row.seq,
                time_text(row.time_ms),
                show_decimal(row.amount, places),
                row.before,
                row.after,
                "" if f"{on}/{row.id}" in unseen else row.label,
            )
            for row in newest
        ],
    )


def _rows(days: CountedDays, active: Sequence[Rule], changed: Sequence[Rule]) -> Iterator[_Row]:
    """Yield the events at which the rules differ, in log order."""
    import numpy as np

    from shroff.features.frames import joined_key
    from shroff.language.columns import values_of
    from shroff.language.values import key_text

    for stretch, hits in reversed(days.stretches):
        parts = [values_of(column) for name, column in stretch.of.items() if name.startswith("key ")]
        keys = np.empty(len(stretch.seqs), object)
        keys[:] = [None if key is None else key_text(key) for key in joined_key(parts, len(keys))]
        old = _effects(active, hits, keys)
        new = _effects(changed, hits[len(active) :], keys)
        rows = np.flatnonzero(old != new)
        amounts = stretch.of[AMOUNT].values if AMOUNT in stretch.of else np.zeros(len(keys), np.int64)
        columns = (stretch.seqs, stretch.times_ms, amounts, keys, old, new)
        yield from map(_Row, stretch.ids.take(rows).to_pylist(), *(column[rows].tolist() for column in columns))


def _effects(rules: Sequence[Rule], hits: Sequence[Ints], keys: Array) -> Array:
    import numpy as np

    from shroff.engine.verdicts import takes_effect

    effects = np.full(len(keys), None, object)
    for rule, rows in zip(rules, hits, strict=False):
        effects[rows] = [rule.effect if takes_effect(rule, key) else "" for key in keys[rows]]
    return effects


def _judge(log: Log, draft: Definitions, rules: Sequence[Rule], days: CountedDays, rows: Sequence[_Row]) -> None:
    """Add labels, recorded outcomes and those with the changed rule.

    If the policy reads the score and the active rule had an effect, the score is read from the decision: 0.1 ms each.
    """
    from shroff.cases.labels import LabelsInMemory
    from shroff.engine.stored import decision_of
    from shroff.events.labels import counted_verdict
    from shroff.log.columns.stored import outcomes_of
    from shroff.project.policy import OUTCOMES, Policy, outcome

    on, after = rules[0].on, days.stretches[-1][0].after
    labels = LabelsInMemory(after, days.as_of_ms)
    labels.follow(log, draft)
    for row in rows:
        history = labels.histories.get((on, row.id))
        if history is not None:
            said = history.said[history.force]
            row.label = counted_verdict(said.verdict, said.reason, draft.friendly_reasons(on))
    seqs, codes = outcomes_of(log, after)
    outcomes = dict(zip(seqs.tolist(), codes.tolist(), strict=True))
    decided = {row.seq: row for row in rows if row.seq in outcomes}
    effects = {rule.id: rule.effect for rule in draft.evaluated if rule not in rules}
    others = defaultdict[int, set[str]](set)
    for hits in log.hits.after(after):
        for hit in hits:
            if hit.seq in decided and hit.rule in effects and not hit.shadow:
                others[hit.seq].add(effects[hit.rule])
    policy = draft.policy(on)
    read = [row.id for row in decided.values() if row.old and policy.has_score]
    scores = {id_: decision_of(row).score for id_, row in log.decisions.of(on, read).items()}
    for seq, row in decided.items():
        row.before = OUTCOMES[outcomes[seq]]
        row_effects = others[seq] | {row.new or ""}
        score = scores.get(row.id)
        if row.old:
            row.after = outcome(row_effects, policy, score, has_model=score is not None)
        else:  # what else was decisive is in the recorded outcome
            row.after = outcome(row_effects | {"" if row.new == "allow" else row.before}, Policy())
