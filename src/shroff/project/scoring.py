"""Active models as expressions, so that engines compute scores like features.

A model reads columns of expressions over `this`. The score of each model is a computed value, and so is whether an
event's key belongs to the challenger; `score` combines them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from math import isfinite
from typing import Any, cast

import numpy as np

from shroff.arrays import Array, Floats
from shroff.errors import Problem, StateError, nearest
from shroff.events.definitions import Events
from shroff.events.event import canonical_real
from shroff.features.computed import Computed, score_name
from shroff.features.definitions import FeatureTypes
from shroff.features.frames import Frame
from shroff.language.checker import check
from shroff.language.columns import Column, column_of
from shroff.language.expression import Else, FeatureValue, InShare, ModelScore, Node, When
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import Evaluate
from shroff.language.syntax import ExpressionError, SpoiledError
from shroff.language.types import BOOLEAN, REAL
from shroff.language.values import Value, parse_time
from shroff.models.columns import kind_of, model_numbers, model_rows
from shroff.models.in_force import FILE, Challenger, InForce, Named, Promotion
from shroff.models.model import InputColumn, Model
from shroff.project.dependency_hash import redefined
from shroff.runtime.values import FrozenStruct, frozen

LoadModel = Callable[[str, str], Model]  # called with id and digest; raises StateError
NO_REGISTRY = "the model registry is not available here"
_AS_IT_WAS = "Restore its earlier definition, or train a new model and promote it."


@frozen
class Scorer:
    """An active model with its inputs. If it cannot be loaded, `failure` has the reason.

    `redefined` names the inputs whose definition has changed since training.
    """

    id: str
    digest: str
    inputs: tuple[Node, ...] = ()
    model: Model | None = field(default=None, compare=False, repr=False)
    failure: str = ""
    redefined: tuple[str, ...] = field(default=(), compare=False)

    @property
    def learnt_until_ms(self) -> int | None:
        """End of the training data in ms; None if the manifest lacks it."""
        until = self._manifest_value("data", "to")
        return parse_time(str(until)) if until else None

    @property
    def learnt_rows(self) -> int:
        return int(str(self._manifest_value("train", "rows") or 0))

    def _manifest_value(self, part: str, name: str) -> object:
        values = None if self.model is None else self.model.manifest.get(part)
        return values.get(name) if isinstance(values, Mapping) else None

    def node(self) -> ModelScore:
        """Return the score as an expression. Evaluating it raises StateError if the model cannot be loaded."""
        return ModelScore(REAL, self.id, self.digest, self.inputs, self.score, self.score_of_one())

    def score(self, columns: Sequence[Column]) -> Column:
        """Return the scores for columns of inputs. Raises: StateError if the model cannot be loaded."""
        if self.model is None:
            raise unavailable(self)
        types = [node.type for node in self.inputs]
        categories = [shape.categories for shape in self.model.inputs]
        scores = self.model.scores(cast("Sequence[Floats]", model_rows(columns, types, categories)))
        valid = np.isfinite(scores)
        return Column(scores if valid.all() else np.where(valid, scores, 0.0), valid)

    def score_of_one(self) -> Callable[[Sequence[Value]], Value]:
        """Return a function from the input values of one event to its score; it raises as `score` does."""
        model = self.model
        if model is None:
            return self._unavailable
        numbers = model_numbers([node.type for node in self.inputs], [input_.categories for input_ in model.inputs])

        def score(values: Sequence[Value]) -> float | None:
            columns = np.array(numbers(values), np.float64).reshape(-1, 1)
            value = float(model.scores(cast("Sequence[Floats]", columns))[0])
            return value if isfinite(value) else None

        return score

    def _unavailable(self, values: Sequence[Value]) -> Value:
        raise unavailable(self)


class Scoring(FrozenStruct):
    """The active models of one event type."""

    event: str
    champion: Scorer | None = None
    challenger: Scorer | None = None
    share: float = 0.0
    by: str = ""
    shadow: tuple[Scorer, ...] = ()

    @property
    def deciding(self) -> tuple[Scorer, ...]:
        """Models whose scores affect decisions: champion and challenger."""
        return tuple(scorer for scorer in (self.champion, self.challenger) if scorer is not None)

    @property
    def inputs(self) -> list[Node]:
        return [node for scorer in self.deciding for node in scorer.inputs]

    @property
    def all(self) -> tuple[Scorer, ...]:
        return (*self.deciding, *self.shadow)


def unavailable(scorer: Scorer) -> StateError:
    return StateError(f"the active model {scorer.id} cannot be loaded, so nothing is decided: {scorer.failure}")


def problems_of(unloaded: Sequence[Scorer]) -> list[Problem]:
    """Problems of active models that cannot be loaded, for `check`."""
    return [
        Problem(FILE, 0, 0, "", f"the active model {scorer.id} cannot be loaded: {scorer.failure.rstrip('.')}.")
        for scorer in unloaded
    ]


def redefined_words(scorer: Scorer) -> str:
    """Return the message that inputs of an active model were redefined."""
    names = ", ".join(scorer.redefined)
    is_single = len(scorer.redefined) == 1
    means = "means something else" if is_single else "mean something else"
    return f"the active model {scorer.id} reads {names}, which {means} now than when it was trained"


# ---- from the project's files


def load_scoring(
    in_force: Mapping[str, InForce],
    load: LoadModel | None,
    events: Events,
    names: DeclaredNames,
    types: FeatureTypes,
    problems: list[Problem],
    warnings: list[Problem],
) -> dict[str, Scoring]:
    """Return the type-checked active models by event type. A model that cannot be loaded is not an error here.

    A redefined input is only a warning, as the model may still be good.
    """
    loader = _ScoringLoader(load, events, names, types, problems, warnings)
    return {event: loader.scoring(event, force) for event, force in in_force.items() if not force.is_empty}


class _ScoringLoader(FrozenStruct):
    load: LoadModel | None
    events: Events
    names: DeclaredNames
    types: FeatureTypes
    problems: list[Problem]
    warnings: list[Problem]

    def scoring(self, event: str, active: InForce) -> Scoring:
        if event not in self.events.decided:
            hint = nearest(event, self.events.decided) or "Only events with `decide: true` get a score."
            self.problems.append(Problem(FILE, 0, 0, event, f"{event!r} is not an event type that is decided.", hint))
            return Scoring(event)
        champion = None if active.champion is None else self.scorer(event, "champion", active.champion)
        shadow = tuple(self.scorer(event, f"shadow[{at}]", scorer) for at, scorer in enumerate(active.shadow))
        if active.challenger is None:
            return Scoring(event, champion, shadow=shadow)
        by = active.challenger.by
        if event not in self.names.entities.get(by, frozenset()):
            hint = nearest(by, [name for name, keyed in self.names.entities.items() if event in keyed])
            message = f"{by!r} is not an entity that a {event} has a key of."
            self.problems.append(Problem(FILE, 0, 0, f"{event}.challenger.by", message, hint))
        challenger = self.scorer(event, "challenger", active.challenger)
        return Scoring(event, champion, challenger, active.challenger.share, by, shadow)

    def scorer(self, event: str, place: str, named: Promotion | Challenger | Named) -> Scorer:
        id_ = named.id
        digest = named.digest
        if self.load is None:
            return Scorer(id_, digest, failure=NO_REGISTRY)
        try:
            model = self.load(id_, digest)
        except StateError as error:
            return Scorer(id_, digest, failure=str(error))
        problem_count = len(self.problems)
        if model.event != event:
            message = f"the model {id_} scores {model.event!r}, not {event!r}."
            self.problems.append(Problem(FILE, 0, 0, f"{event}.{place}", message))
            return Scorer(id_, digest)
        typed_inputs = [(column.name, self.input(event, place, id_, column)) for column in model.inputs]
        if len(self.problems) > problem_count:
            return Scorer(id_, digest)
        inputs = [(name, node) for name, node in typed_inputs if node is not None]
        changed = redefined(model.manifest, dict(inputs), event, self.events, self.types.feature)
        scorer = Scorer(id_, digest, tuple(node for _, node in inputs), model, redefined=changed)
        if changed:
            self.warnings.append(Problem(FILE, 0, 0, f"{event}.{place}", f"{redefined_words(scorer)}.", _AS_IT_WAS))
        return scorer

    def input(self, event: str, place: str, id_: str, column: InputColumn) -> Node | None:
        """Type-check an input against the current project; None after reporting an error."""
        scope = Scope(
            self.names,
            what=f"the model {id_}",
            this=(event,),
            feature=self.types.type_of,
            feature_names=self.types.names,
        )
        words = hint = ""
        try:
            node = check(column.name, scope)
            if kind_of(node.type) == column.kind:
                return node
            words = f"it is {node.type} now, and was a {column.kind}"
        except SpoiledError:
            return None
        except ExpressionError as error:
            words = error.message
            hint = error.hint
        words = f"the model {id_} reads {column.name!r}, which no longer fits the project: {words.rstrip('.')}."
        self.problems.append(Problem(FILE, 0, 0, f"{event}.{place}", words, hint or _AS_IT_WAS))
        return None


# ---- computed values


def computed_scores(scoring: Scoring, events: Events) -> list[Computed]:
    """Return the computations of an event type's score, by dependency. Shadow models are left out: see 0015."""
    if scoring.champion is None:
        return []
    event = scoring.event
    computations = [_computed(_name_of(scorer, event), scorer.node(), event) for scorer in scoring.deciding]
    node: Node = FeatureValue(REAL, _name_of(scoring.champion, event))
    if scoring.challenger is not None:
        key = tuple(events.entities[scoring.by].keys[event])
        share = InShare(BOOLEAN, scoring.challenger.id, scoring.share, key)
        computations.append(_computed(_share_name(event), share, event))
        challenger_score = FeatureValue(REAL, _name_of(scoring.challenger, event))
        node = Else(REAL, When(REAL, challenger_score, FeatureValue(BOOLEAN, _share_name(event))), node)
    return [*computations, _computed(score_name(event), node, event)]


def _computed(name: str, node: Node, event: str) -> Computed:
    return Computed(name, node, "", frozenset([event]), needs_key=False, is_score=True)


def _name_of(scorer: Scorer, event: str) -> str:
    return f"{score_name(event)} by {scorer.id}"


def _share_name(event: str) -> str:
    return f"challenger of {event}"


# ---- scores of decisions


class Scored(FrozenStruct):
    """Scores of events; `model_of` has the index in `ids` of the model that gave each."""

    values: Floats
    ids: Sequence[str]
    model_of: Array

    @property
    def models(self) -> list[str]:
        return [self.ids[scorer_number] for scorer_number in self.model_of.tolist()]

    def shown(self) -> list[bytes]:
        return [canonical_real(value).encode() for value in self.values.tolist()]


def scored(frame: Frame, scoring: Scoring) -> Scored | None:
    """Return the scores in a frame of events; None if no model scores them. Raises: StateError for a missing score."""
    if scoring.champion is None:
        return None
    share = frame.computed.get(_share_name(scoring.event))
    is_other = np.zeros(len(frame), np.bool_) if share is None else share.values & share.valid
    return _scored(frame.computed[score_name(scoring.event)], is_other, scoring)


class RowScoring:
    """Reads the scores of events of one type, one by one.

    Args:
        read: Returns a reader of the computed value of a name.
    """

    def __init__(self, scoring: Scoring, read: Callable[[str], Evaluate]) -> None:
        self._champion = scoring.champion
        self._other = scoring.challenger or scoring.champion
        self._score = read(score_name(scoring.event))
        self._is_other = read(_share_name(scoring.event))

    def of(self, row: Any) -> tuple[float | None, str]:
        """Return an event's score and the id of its model; None and an empty text without a model.

        Raises: StateError for a missing score.
        """
        if self._champion is None or self._other is None:
            return None, ""
        model = self._other.id if self._is_other(row) is True else self._champion.id
        score = self._score(row)
        if score is None:
            raise _no_number(model)
        return float(score), model


def scored_one(values: Mapping[str, Value], scoring: Scoring) -> Scored | None:
    """Like `scored`, for the computed values of one event."""
    if scoring.champion is None:
        return None
    is_other = np.array([values.get(_share_name(scoring.event)) is True])
    return _scored(column_of([values.get(score_name(scoring.event))], REAL), is_other, scoring)


def _scored(scores: Column, is_other: Array, scoring: Scoring) -> Scored:
    ids = [scorer.id for scorer in scoring.deciding]
    model_of = is_other.astype(np.int64) if len(ids) > 1 else np.zeros(len(scores), np.int64)
    if not scores.valid.all():
        raise _no_number(ids[model_of[scores.valid.argmin()]])
    return Scored(scores.values, ids, model_of)


def _no_number(model: str) -> StateError:
    return StateError(f"the model {model} gives a score that is not a number, so nothing is decided. Report it")


def unused_score(model: str, event: str) -> Problem:
    words = f"{model} is the champion of {event}, but no policy or rule uses its score."
    cure = (
        f"Add a line under {event}: in policy.yaml, score: {{ review_at: 0.60, decline_at: 0.92 }}, with thresholds "
        "that 'shroff thresholds' finds for your costs; or let a rule read score."
    )
    return Problem("policy.yaml", 0, 0, f"{event}.score", words, cure)
