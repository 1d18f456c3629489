"""Operation that profiles features: meaning, cost, readers and values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

from shroff.errors import UsageError
from shroff.explain.past import Past, PastDecision, reader_of
from shroff.features.definitions import cost
from shroff.language.checker import check
from shroff.language.expression import FeatureValue, Node
from shroff.language.names import Scope
from shroff.language.printer import as_written
from shroff.language.syntax import ExpressionError
from shroff.language.values import Value
from shroff.log.history import Records
from shroff.operations.declaration import AsEvent, OperationAnswer, OperationRequest, Param, operation
from shroff.project.dependency_hash import read_by, teller_of
from shroff.runtime.texts import headed, many, percent
from shroff.runtime.values import FrozenStruct
from shroff.services.project import Project

if TYPE_CHECKING:
    from shroff.language.expression_text import ValueWording
    from shroff.project.definitions import Definitions

BINS = 12
FREQUENT = 3  # most frequent texts listed
_ORDERED = frozenset("integer number money real time duration".split())


class ProfileFeatures(OperationRequest["FeatureProfiles"]):
    """
    Args:
        expression (EXPRESSION): Also profile this expression over fields and features.
    """

    event: Annotated[str | None, AsEvent("The event type whose features to profile.  [default: the first decided]")] = (
        None
    )
    expression: Annotated[str, Param(flags="--try")] = ""


class FeatureProfile(FrozenStruct):
    """A feature and its values at the newest decided events.

    `missing` is a share in [0, 1], None without events. `low`, `median` and `high` are at 5, 50 and 95 % of the values
    that are there, in words; `bins` count the values in equal steps from `low` to `high`, those beyond at the ends.
    `frequent` has the most frequent values of a text with their shares.
    """

    name: str
    words: str
    expression: str
    type: str
    cost: str
    read_by: list[str]
    missing: float | None
    distinct: int
    low: str
    median: str
    high: str
    bins: list[int]
    frequent: list[tuple[str, float]]


class FeatureProfiles(OperationAnswer):
    """The features that decisions of a type show, by name; `tried` is the expression that was asked for."""

    event: str
    events: int
    features: list[FeatureProfile]
    tried: FeatureProfile | None = None

    def text(self) -> str:
        heads = "feature|type|missing|5 %|median|95 %|read by".split("|")
        profiles = [*([self.tried] if self.tried else []), *self.features]
        rows = [
            (
                each.name,
                each.type,
                "" if each.missing is None else percent(each.missing, ".1"),
                *(
                    (each.low, each.median, each.high)
                    if each.median
                    else (", ".join(f"{value} {percent(share)}" for value, share in each.frequent), "", "")
                ),
                ", ".join(each.read_by),
            )
            for each in profiles
        ]
        newest = f"{many(len(self.features), 'feature')} of {self.event}, at its newest {many(self.events, 'event')}."
        return headed(newest, rows, heads)

    def hints(self) -> Sequence[str]:
        return ["shroff drift", "shroff rules"]


@operation("profile", right="read:decisions", http="GET /features")
def profile_features(project: Project, request: ProfileFeatures) -> FeatureProfiles:
    """Profile features: type, cost, what reads them, and their values at the newest 1,000 decided events.

    A feature that is often missing, or always the same, tells rules and models nothing.

    Examples:
        shroff profile
        shroff profile --try 'this.amount / card.mean_30d'
    """
    definitions = project.definitions
    decided = definitions.events.decided
    event = request.event or next(iter(decided), "")
    if event not in decided:
        known_types = f"{', '.join(decided)} are" if decided else "no type is"
        raise UsageError(f"no event type {event!r} is decided; {known_types}.")
    seen: Sequence[PastDecision] = ()
    if project.log.exists():
        with project.log.reading() as log:
            records = Records(definitions.events, definitions.settings.money_places)
            seen = Past(log, definitions, records).of_all(event, log.last_seq() + 1)
    teller, tried = teller_of(definitions), None
    if request.expression:
        node = _typed(definitions, event, request.expression)
        tried = _profile(definitions, teller, seen, node, request.expression)
    profiles = [
        _profile(definitions, teller, seen, FeatureValue(definitions.features[name].type, name), name)
        for name in definitions.feature_names(event)
    ]
    return FeatureProfiles(event=event, events=len(seen), features=profiles, tried=tried)


def _typed(definitions: Definitions, event: str, text: str) -> Node:
    types = {name: feature.type for name, feature in definitions.features.items()}
    this, names = (event,), definitions.names
    scope = Scope(names, what="an expression", this=this, feature=types.get, feature_names=lambda: list(types))
    try:
        return check(text, scope)
    except ExpressionError as error:
        raise UsageError(f"--try: {error}") from None


def _profile(
    definitions: Definitions, teller: ValueWording, decisions: Sequence[PastDecision], node: Node, name: str
) -> FeatureProfile:
    read, feature = reader_of(node, definitions.reference), definitions.features.get(name)
    meant = node if feature is None else feature.node
    values = [value for value in map(read, decisions) if value is not None]
    wording, counts = teller.wording(meant), Counter(values)
    texts = {value: teller.value(node.type, value, wording) for value, _ in counts.most_common(FREQUENT)}
    low = median = high = ""
    bins: list[int] = []
    if node.type.kind in _ORDERED and values:
        ordered = sorted(values)
        at = [ordered[round(share * (len(ordered) - 1))] for share in (0.05, 0.5, 0.95)]
        low, median, high = (
            f"{teller.value(node.type, value, wording)}{teller.unit(node.type, wording)}" for value in at
        )
        bins = _bins(ordered, at[0], at[2])
    return FeatureProfile(
        name=name,
        words=teller.noun(meant),
        expression=as_written(None if feature is None or feature.place is None else feature.place.text, meant),
        type=str(node.type),
        cost="" if feature is None else cost(feature.node),
        read_by=[] if feature is None else sorted(_readers(definitions, name)),
        missing=1 - len(values) / len(decisions) if decisions else None,
        distinct=len(counts),
        low=low,
        median=median,
        high=high,
        bins=bins,
        frequent=[]
        if median
        else [(texts[value], count / len(values)) for value, count in counts.most_common(FREQUENT)],
    )


def _bins(ordered: Sequence[Value], low: Value, high: Value) -> list[int]:
    """Count values in equal steps from `low` to `high`; for integers, no step without one."""
    values = [float(value) for value in ordered]  # type: ignore[arg-type]  # numbers: see `_ORDERED`
    first, size = float(low), float(high) - float(low)  # type: ignore[arg-type]  # as above
    steps = BINS if size else 1
    if isinstance(low, int):
        size += 1
        steps = min(BINS, int(size))
    width = size / steps or 1.0
    counts = Counter(min(max(int((value - first) / width), 0), steps - 1) for value in values)
    return [counts[at] for at in range(steps)]


def _readers(definitions: Definitions, name: str) -> Iterator[str]:
    def reads(*nodes: Node) -> bool:
        return name in read_by(nodes, definitions.features.get).features

    yield from (
        f"rule {rule.id}"
        for rule in definitions.rules
        if reads(rule.when, *(part for part in rule.reason if not isinstance(part, str)))
    )
    yield from (
        f"model of {event}"
        for event, model in definitions.models.items()
        if reads(*(each.node for each in model.inputs))
    )
    yield from (other.name for other in definitions.features.values() if other.name != name and reads(other.node))
