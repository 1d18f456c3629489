"""What an engine computes: features, and the conditions that rules add."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from shroff.errors import UsageError, nearest
from shroff.language.expression import FeatureValue, ItemFeature, Node, Score, aggregates, walk
from shroff.runtime.values import FrozenStruct

ENGINES = ("online", "batch", "naive")


def score_name(event: str) -> str:
    return f"score of {event}"


class Computed(FrozenStruct):
    """A named expression with the event types at which it is computed.

    Args:
        needs_key: Whether the value is missing without a key of `entity`: true for features, not for parts of rules.
        rule: Id of its rule, whose hits `since flag` means; None for a feature.
        expires_ms: Time from which the condition of a rule is no hit.
        is_reason: Whether a rule shows the value in its reason, rather than uses it as its condition.
        is_score: Whether it is part of the score, and computed only for decided events.
    """

    name: str
    node: Node
    entity: str
    events: frozenset[str]
    needs_key: bool = True
    rule: str | None = None
    expires_ms: int | None = None
    is_reason: bool = False
    is_score: bool = False

    @property
    def asker(self) -> str:
        """Return the name of the feature or rule for people: `card.spent_24h`, `rule many_small`."""
        return self.name if self.rule is None else f"rule {self.rule}"

    @property
    def is_condition(self) -> bool:
        return self.rule is not None and not self.is_reason

    @property
    def looks_since_flag(self) -> bool:
        """Whether a hit changes the value at later events."""
        return any(aggregate.since_flag for aggregate in aggregates(self.node))


def needed(computed: Sequence[Computed], names: Collection[str]) -> list[Computed]:
    """Return the features with these names and those that they read, in the order of `computed`."""
    wanted = set(names)
    found = list[Computed]()
    for feature in reversed(computed):
        if feature.name not in wanted:
            continue
        found.append(feature)
        for part in walk(feature.node):
            if isinstance(part, FeatureValue | ItemFeature):
                wanted.add(part.name)
            elif isinstance(part, Score):
                wanted |= {score_name(event) for event in feature.events}
    return found[::-1]


def known_engines(engines: str | Sequence[str]) -> tuple[str, ...]:
    """Return the named engines, from a list or a text with commas.

    Raises: UsageError for an unknown engine, and if none is named.
    """
    names = engines.split(",") if isinstance(engines, str) else engines
    found = tuple(name for name in map(str.strip, names) if name)
    for engine in found:
        if engine not in ENGINES:
            near = nearest(engine, ENGINES) or "There are online, batch and naive."
            raise UsageError(f"there is no engine {engine!r}. {near}")
    if not found:
        raise UsageError("name an engine: online, batch, naive, or several.")
    return found
