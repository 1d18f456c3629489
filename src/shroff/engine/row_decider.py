"""Row decider: decides events one by one from rows of the online engine: hits, score and document.

Results equal those of `step.Engine` for the same events as columns; a law test compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence

import numpy as np

from shroff.engine.exploration import LetThrough, explorable
from shroff.engine.receipts import NO_SCORE, DocumentWriter
from shroff.engine.row_features import RowFeatures
from shroff.engine.verdicts import Effects, Hit, SequencedEvent, Verdicts, explored, record_hits, sampled, takes_effect
from shroff.events.event import canonical_real
from shroff.features.online.row_reads import Row, RowReads
from shroff.language.columns import column_of
from shroff.language.expression import Node
from shroff.language.row import Evaluate
from shroff.language.values import key_text, show
from shroff.project.definitions import Definitions
from shroff.project.exploration import Explore
from shroff.project.scoring import RowScoring
from shroff.rules.definitions import Rule
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import DecisionRow


class _RuleReaders(FrozenStruct):
    """A rule with readers of its hit, its key and its reason."""

    rule: Rule
    hit: Evaluate
    key: Evaluate
    words: Callable[[Row], str]


class RowDecider:
    """Decides events of one type.

    Args:
        writer: Writes its decisions; None for a type that is not decided.
        exploring: The exploration settings, and the amount at risk.
        before: The decider of the previous rules; readers of unchanged rules are reused if the row layout is equal.
    """

    def __init__(
        self,
        name: str,
        definitions: Definitions,
        reads: RowReads,
        rules: Sequence[Rule],
        writer: DocumentWriter | None,
        exploring: tuple[Explore, Node] | None,
        before: RowDecider | None = None,
    ) -> None:
        self._name = name
        self._places = definitions.settings.money_places
        self._reads = reads
        reusable: dict[int, _RuleReaders] = {}
        if before is not None and before._reads is reads:  # noqa: SLF001 - of the same class
            reusable = {id(column.rule): column for column in before._asked}  # noqa: SLF001 - as above
        self._asked: list[_RuleReaders] = [reusable.get(id(rule)) or self._made(rule, reads) for rule in rules]
        self._writer = writer
        self._exploring = exploring
        if writer is not None:
            policy = definitions.policy(name)
            self._verdicts = Verdicts(policy)
            self._scoring = definitions.scoring_of(name)
            self._sample = policy.sample
            self._score = RowScoring(self._scoring, reads.read)
            names = definitions.feature_names(name)
            self._features = reads.read_all(names)
            self._shown = RowFeatures(
                [(feature, definitions.features[feature].type) for feature in names], self._places
            ).write
        self._amount = None if exploring is None else reads.evaluate(exploring[1])

    def decide(self, placed: SequencedEvent, row: Row, let_through: LetThrough, effects: Effects) -> None:
        hits = [self._hit(feature, row) for feature in self._asked if feature.hit(row) is True]
        if hits:
            record_hits(placed.happened, hits, effects)
        writer = self._writer
        if writer is None:
            return
        score, model = self._score.of(row)
        if score is not None:
            effects.scores.setdefault(self._name, []).append(score)
        verdict = self._verdicts.of(hits, score)
        if self._exploring is not None:
            explore = self._exploring[0]
            verdict = explored(
                explore, let_through, placed.happened, verdict, hits, lambda: self._is_small(placed, row), effects
            )
        if self._sample is not None:
            verdict = sampled(self._sample, placed.happened, verdict, score, effects)
        feature_json = self._shown(self._features(row))
        shown_score = NO_SCORE if score is None else canonical_real(score).encode()
        id_ = placed.event.id
        document, receipt = writer.write(
            id_, placed.seq, placed.body, feature_json, verdict, (shown_score, model), placed.event.values
        )
        effects.decisions.append(DecisionRow(placed.seq, self._name, id_, verdict.outcome, receipt, document))

    def keep(self, rules: Container[int]) -> None:
        """Drop the readers of all rules but these (by identity), since their slots now hold other values."""
        self._asked = [asked for asked in self._asked if id(asked.rule) in rules]

    def _made(self, rule: Rule, reads: RowReads) -> _RuleReaders:
        return _RuleReaders(rule, reads.read(rule.computed.name), reads.key(rule.by), self._words(rule, reads))

    def _hit(self, asked: _RuleReaders, row: Row) -> Hit:
        key_value = asked.key(row)
        rule = asked.rule
        key = None if key_value is None else key_text(key_value)
        return Hit(rule, key, takes_effect(rule, key), asked.words(row))

    def _words(self, rule: Rule, reads: RowReads) -> Callable[[Row], str]:
        if not rule.reason:
            plain = rule.id.replace("_", " ")
            return lambda row: plain
        aggregated = {feature.name for feature in rule.reason_computed()}
        parts: list[Callable[[Row], str]] = []
        for at, part in enumerate(rule.reason):
            if isinstance(part, str):
                parts.append(lambda row, text=part: text)  # type: ignore[misc]  # bound as it is now
                continue
            name = f"rule {rule.id} reason {at}"
            value = reads.read(name) if name in aggregated else reads.evaluate(part)
            parts.append(_shown(value, part, self._places))
        return lambda row: "".join([part(row) for part in parts])

    def _is_small(self, placed: SequencedEvent, row: Row) -> bool:
        assert self._exploring is not None
        assert self._amount is not None
        explore, node = self._exploring
        amounts = column_of([self._amount(row)], node.type)
        times = np.array([placed.event.time_ms])
        return bool(explorable(explore, amounts, node.type, self._places, times)[0])


def _shown(value: Evaluate, part: Node, money_places: int) -> Callable[[Row], str]:
    return lambda row: show(value(row), part.type, money_places)
