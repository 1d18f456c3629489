"""Plan of a backtest: the draft and the project without it as of each event, and which recorded hits can be used
again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from shroff.engine.stored import telling_damage
from shroff.features.computed import Computed, needed, score_name
from shroff.language.expression import FeatureValue, Node, walk
from shroff.log.version_switch import changed_look_ups
from shroff.project.definitions import Definitions, computed_of
from shroff.project.dependency_hash import read_by
from shroff.project.look_ups import look_ups, reference_as_of
from shroff.project.scoring import LoadModel, Scoring
from shroff.replay.compare import segments
from shroff.rules.definitions import Rule
from shroff.rules.silences import without_silence
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import LogReader


class DraftComparison(FrozenStruct):
    """What a draft is compared with, and how.

    Args:
        base: Project without the draft; None for the one active at the end of the log.
        load_model: Loads the models that decided.
        own_models: Event types whose model the draft names, so that it scores all of their events.
        judges_models: Whether the draft changes models or the use of their scores. Events in the models' training data
            are then reported separately.
    """

    base: Definitions | None = None
    load_model: LoadModel | None = None
    own_models: Collection[str] = ()
    judges_models: bool = True


class DecidingVersion(FrozenStruct):
    """A segment (start, end] of the log: the version that decided it, and both sides of the backtest as of it."""

    start: int
    end: int
    then: Definitions
    draft: Definitions
    base: Definitions


class Stretch(FrozenStruct):
    """A segment (start, end] of the log that one side decides with the same lists, tables and models."""

    start: int
    end: int
    definitions: Definitions


class Computation(FrozenStruct):
    """What one pass over the log computes: by columns, and row by row in log order.

    Args:
        stretches: Consecutive segments of the log.
        by_columns: Conditions that no hit changes, scores, and their inputs, each after its inputs.
        by_rows: Conditions that use `since flag`, with their inputs, in the same order.
        without: For each segment, scores in `by_columns` that belong to other segments.
        keys: Names of the parts of a rule's key, for rules whose hits need their keys.
    """

    stretches: Sequence[Stretch]
    by_columns: Sequence[Computed]
    by_rows: Sequence[Computed]
    without: Sequence[Collection[Computed]]
    keys: dict[str, tuple[str, ...]]


def versions_of(
    log: LogReader, draft: Definitions, how: DraftComparison, after: int, upto: int
) -> list[DecidingVersion]:
    """Return the versions that decided the sequence numbers in (after, upto], with both sides as of each."""
    deciding_segments = [segment for segment in segments(log, how.load_model) if not segment.is_empty]
    with telling_damage():
        base = how.base or (deciding_segments[-1].definitions if deciding_segments else draft)
        own_model_events = {
            event for event in draft.events.decided if models_of(draft, event) != models_of(base, event)
        }
        own_model_events |= set(how.own_models)
        versions = []
        for version in deciding_segments:
            if version.end > after and version.start < upto:
                then = version.definitions
                bounds = (max(version.start, after), min(version.end, upto))
                versions.append(DecidingVersion(*bounds, then, as_of(draft, then, own_model_events), as_of(base, then)))
    return versions or [DecidingVersion(after, upto, base, draft, base)]


def is_recorded(versions: Iterable[DecidingVersion]) -> bool:
    """Whether the project without the draft made the recorded decisions, apart from lists, tables and models."""
    return not changed_parts(versions)


def changed_parts(versions: Iterable[DecidingVersion]) -> list[str]:
    """Name the parts of the project without the draft that differ from the versions that decided."""
    parts = {"definitions": "features or events", "rules": "rules", "policy": "thresholds"}
    return [
        description
        for name, description in parts.items()
        if any(getattr(version.then.versions, name) != getattr(version.base.versions, name) for version in versions)
    ]


def models_of(definitions: Definitions, event: str) -> object:
    """Return a value that identifies the models of an event type, for comparison."""
    scoring = definitions.scoring_of(event)
    return [(scorer.id, scorer.digest) for scorer in scoring.deciding], scoring.share, scoring.by


def as_of(definitions: Definitions, then: Definitions, own_names: Collection[str] = ()) -> Definitions:
    """Return a project with the lists, tables (see `reference_as_of`) and models of another version.

    A model that cannot be loaded, or reads other features, is not replaced.

    Args:
        own_names: Event types that keep the project's models.
    """
    scoring = {
        event: then.scoring_of(event)
        if event not in own_names
        and models_of(then, event) != models_of(definitions, event)
        and _fits(then.scoring_of(event), definitions)
        else definitions.scoring_of(event)
        for event in definitions.events.decided
    }
    return replace(definitions, reference=reference_as_of(definitions, then), scoring=scoring)


def _fits(scoring: Scoring, definitions: Definitions) -> bool:
    """Whether these models can score events of a project: it has all of their inputs, with the same types."""
    return not any(scorer.failure for scorer in scoring.deciding) and all(
        part.name in definitions.features and definitions.features[part.name].type == part.type
        for node in scoring.inputs
        for part in walk(node)
        if isinstance(part, FeatureValue)
    )


def computations(stretches: Sequence[Stretch], known: Collection[str], *, has_scores: bool) -> list[Computation]:
    """Plan the passes that compute one side, in order: one, unless state depends on lists, tables or models that
    changed.

    Args:
        known: Rules whose hits are known.
        has_scores: Whether to compute the scores that policies read.
    """
    first = stretches[0].definitions
    rules = [rule for rule in first.evaluated if rule.id not in known]
    events = {rule.on for rule in rules if read_by([rule.when], first.features.get).reads_score}
    events |= {event for event in first.events.decided if has_scores and first.policy(event).has_score}
    inputs = [
        node
        for stretch in stretches
        for event in sorted(events)
        for node in stretch.definitions.scoring_of(event).inputs
    ]
    reads = read_by([*(rule.when for rule in rules), *inputs], first.features.get)
    nodes = [*(rule.when for rule in rules), *inputs, *(feature.node for feature in reads.features.values())]
    stateful = look_ups(nodes, first.events, first.features).kept
    read_tables = stateful | {("list", name) for name in reads.lists} | {("table", name) for name in reads.tables}
    by_score = {
        rule.on
        for rule in rules
        if rule.computed.looks_since_flag and read_by([rule.when], first.features.get).reads_score
    }
    passes: list[list[Stretch]] = []
    for stretch in stretches:
        last_stretch = passes[-1][-1] if passes else None
        if last_stretch is not None:
            changed = changed_look_ups(last_stretch.definitions, stretch.definitions)
            rescored = {
                e for e in events if models_of(last_stretch.definitions, e) != models_of(stretch.definitions, e)
            }
            if not changed & read_tables and not rescored:
                passes[-1][-1] = replace(last_stretch, end=stretch.end)
                continue
            if not changed & stateful and not rescored & by_score:
                passes[-1].append(stretch)
                continue
        passes.append([stretch])
    return [_computation(computed, rules, sorted(events)) for computed in passes]


def _computation(stretches: Sequence[Stretch], rules: Sequence[Rule], events: Sequence[str]) -> Computation:
    first = stretches[0].definitions
    since_flag_rules = [rule for rule in rules if rule.computed.looks_since_flag]
    stateless_rules = [rule for rule in rules if not rule.computed.looks_since_flag]
    keys = {rule.id: _keys_of(rule, first) for rule in rules if rule.rollout < 1 or rule.computed.looks_since_flag}
    scores = [score_name(event) for event in events]
    needed_by_stretch = [
        needed(computed_of(stretch.definitions), [*_names(stateless_rules), *scores]) for stretch in stretches
    ]
    computed: list[Computed] = []
    for needed_here in needed_by_stretch:
        computed += [item for item in needed_here if item not in computed]
    computed.sort(
        key=lambda feature: (feature.rule is not None, feature.is_score)
    )  # keeps needed_here after its inputs
    return Computation(
        stretches,
        [*computed, *(key for rule in stateless_rules for key in keys.get(rule.id, ()))],
        [
            *needed(computed_of(first), _names(since_flag_rules)),
            *(key for rule in since_flag_rules for key in keys[rule.id]),
        ],
        [
            [feature for feature in computed if feature.is_score and feature not in needed_here]
            for needed_here in needed_by_stretch
        ],
        {id_: tuple(part.name for part in parts) for id_, parts in keys.items()},
    )


def _names(rules: Iterable[Rule]) -> list[str]:
    return [rule.computed.name for rule in rules]


def kept_rules(side: Definitions, versions: Iterable[Definitions]) -> frozenset[str]:
    """Return the ids of the rules that had the same meaning in every version that decided.

    A hit depends on the log, on the lists and tables as of its event, and on the rule's meaning. A rule with `since
    flag` also depends on its earlier hits; these are the recorded ones from the first event on.
    """
    unchanged = {rule.id for rule in side.evaluated}
    for then in {(version.versions.definitions, version.versions.rules): version for version in versions}.values():
        their_rules = {rule.id: rule for rule in then.evaluated}
        unchanged = {
            rule.id
            for rule in side.evaluated
            if rule.id in unchanged and _is_same(rule, side, their_rules.get(rule.id), then)
        }
    return frozenset(unchanged)


def shared_rules(base: Definitions, draft: Definitions, *, has_same_scores: bool) -> frozenset[str]:
    """Return the ids of the rules that the draft leaves unchanged: both sides have the same hits of them."""
    draft_rules = {rule.id: rule for rule in draft.evaluated}
    return frozenset(
        rule.id
        for rule in base.evaluated
        if rule == draft_rules.get(rule.id) and _is_same(rule, base, rule, draft, has_same_scores=has_same_scores)
    )


def have_same_scores(versions: Iterable[DecidingVersion]) -> bool:
    for version in versions:
        for event in version.base.events.decided:
            if models_of(version.base, event) != models_of(version.draft, event):
                return False
            inputs = version.base.scoring_of(event).inputs
            if _read_by(inputs, version.base) != _read_by(inputs, version.draft):
                return False
    return True


def _is_same(
    rule: Rule, of: Definitions, other: Rule | None, of_other: Definitions, *, has_same_scores: bool = False
) -> bool:
    """Whether two rules hit at the same events, given equal lists, tables and earlier hits.

    `other` may lack the list that silences `rule`, which is empty there.
    """
    if other is None or (rule.on, rule.by, rule.expires_ms) != (other.on, other.by, other.expires_ms):
        return False
    if other.when not in (rule.when, without_silence(rule.when)):
        return False
    reads_score = read_by([rule.when], of.features.get).reads_score
    if reads_score and not has_same_scores:
        return False
    return _read_by([rule.when], of, rule.by) == _read_by([rule.when], of_other, rule.by)


def _read_by(nodes: Iterable[Node], definitions: Definitions, *entities: str) -> object:
    reads = read_by(nodes, definitions.features.get)
    return reads.features, {name: definitions.events.entities.get(name) for name in {*entities, *reads.entities}}


def _keys_of(rule: Rule, definitions: Definitions) -> list[Computed]:
    """Return the parts of a rule's key as computed values, so that they exist where the rule hits."""
    parts = definitions.events.entities[rule.by].keys.get(rule.on, ())
    events = frozenset([rule.on])
    return [
        Computed(f"key {number} of rule {rule.id}", part, rule.by, events, needs_key=False)
        for number, part in enumerate(parts)
    ]
