"""Plan of a backtest: rules that kept their meaning reuse the hits that the log has of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from shroff.engine.stored import telling_damage
from shroff.features.computed import Computed, needed, score_name
from shroff.project.definitions import Definitions, computed_of
from shroff.project.meaning import read_by
from shroff.replay.compare import Segment
from shroff.rules.definitions import Rule


@dataclass(frozen=True, slots=True)
class DraftComputation:
    """Computation of a draft: by columns over all of the log, and row by row in its order.

    Args:
        by_columns: Conditions that no hit changes, scores, and what they read, each after what it reads.
        by_rows: Conditions that look `since flag`, the same way.
        kept: Ids of the rules whose hits are those that the log has.
        keys: For a rule that holds for a share of keys the names of what makes its key.
    """

    by_columns: tuple[Computed, ...]
    by_rows: tuple[Computed, ...]
    kept: frozenset[str]
    keys: Mapping[str, tuple[str, ...]]


def work_of(draft: Definitions, versions: Iterable[Segment]) -> DraftComputation:
    """Computation that a draft needs, given the versions that decided."""
    kept = kept_rules(draft, versions)
    changed = [rule for rule in draft.rules if rule.id not in kept]
    keys = {rule.id: _keys_of(rule, draft) for rule in changed if rule.rollout < 1}
    scores = [score_name(event) for event in draft.events.decided]
    parts = (
        [rule for rule in changed if rule.computed.looks_since_flag],
        [rule for rule in changed if not rule.computed.looks_since_flag],
    )
    by_rows, by_columns = (
        (
            *needed(computed_of(draft), [*(rule.computed.name for rule in rules), *more]),
            *(one for rule in rules for one in keys.get(rule.id, ())),
        )
        for rules, more in zip(parts, ((), scores), strict=True)
    )
    named = {id_: tuple(one.name for one in found) for id_, found in keys.items()}
    return DraftComputation(by_columns, by_rows, kept, named)


def kept_rules(draft: Definitions, versions: Iterable[Segment]) -> frozenset[str]:
    """Ids of the rules that meant the same under every version.

    A hit depends on the log and on what a rule means alone; one that looks `since flag` on its own hits too, which
    then are those of the past from the first event on.
    """
    kept = {rule.id for rule in draft.rules}
    read: dict[object, Definitions] = {}
    for version in versions:
        texts = tuple((name, _telling(name, text)) for name, text in sorted(version.files.items()))
        if texts not in read:
            with telling_damage():
                read[texts] = version.definitions
        theirs = {rule.id: rule for rule in read[texts].rules}
        for rule in draft.rules:
            other = theirs.get(rule.id)
            meant = None if other is None else _meaning(other, read[texts], version.files)
            if meant is None or meant != _meaning(rule, draft, draft.files):
                kept.discard(rule.id)
    return frozenset(kept)


def _telling(name: str, text: str) -> str:
    """What of a file says what a rule means: of a list that it is there, since a rule may be silent for its keys."""
    return "" if name.startswith("lists/") else text


def _meaning(rule: Rule, definitions: Definitions, files: Mapping[str, str]) -> object:
    """Everything that determines a rule's hits; None if a model does, too."""
    reads = read_by([rule.when], definitions.features.__getitem__)
    if reads.reads_score:
        return None
    keyed = {name: definitions.events.entities[name] for name in {rule.by, *reads.entities}}
    data = {*(f"lists/{name}.csv" for name in reads.lists), *(f"tables/{name}.csv" for name in reads.tables)}
    return rule.on, rule.by, rule.when, rule.expires_ms, reads.features, keyed, {name: files.get(name) for name in data}


def _keys_of(rule: Rule, draft: Definitions) -> list[Computed]:
    """The parts of a rule's key as something that is computed, so that they are there where it hits."""
    parts = draft.events.entities[rule.by].keys.get(rule.on, ())
    at = frozenset([rule.on])
    return [
        Computed(f"key {number} of rule {rule.id}", part, rule.by, at, needs_key=False)
        for number, part in enumerate(parts)
    ]
