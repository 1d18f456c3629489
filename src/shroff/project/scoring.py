"""Active models as expressions: the inputs computed for each event to score it.

A model reads columns of expressions over `this`. Each model is one thing that is computed,
and so is whether an event's key is the challenger's; `score` is made of them. Engines,
plans and proofs treat them like everything else.
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

LoadModel = Callable[[str, str], Model]  # by id and digest; raises StateError
NO_REGISTRY = "the model registry is not available here"
_AS_IT_WAS = "Restore its earlier definition, or train a new model and promote it."


@frozen
class Scorer:
    """An active model with its inputs. If it cannot be loaded, `failure` has the reason.

    `redefined` names the inputs that mean something else now than when it was trained.
    """

    id: str
    digest: str
    inputs: tuple[Node, ...] = ()
    model: Model | None = field(default=None, compare=False, repr=False)
    failure: str = ""
    redefined: tuple[str, ...] = field(default=(), compare=False)

    @property
    def learnt_until_ms(self) -> int | None:
        """The end of the events that it has learned from; None where its manifest does not say it."""
        until = self._said("data", "to")
        return parse_time(str(until)) if until else None

    @property
    def learnt_rows(self) -> int:
        """How many events it has learned from; 0 where its manifest does not say it."""
        return int(str(self._said("train", "rows") or 0))

    def _said(self, part: str, name: str) -> object:
        found = None if self.model is None else self.model.manifest.get(part)
        return found.get(name) if isinstance(found, Mapping) else None

    def node(self) -> ModelScore:
        """Its score as an expression. Evaluating it raises StateError where the model cannot be loaded."""
        return ModelScore(REAL, self.id, self.digest, self.inputs, self.score, self.score_of_one())

    def score(self, columns: Sequence[Column]) -> Column:
        """The scores for the columns of its inputs. Raises: StateError where it cannot be loaded."""
        if self.model is None:
            raise unavailable(self)
        types = [node.type for node in self.inputs]
        categories = [shape.categories for shape in self.model.inputs]
        scores = self.model.scores(cast("Sequence[Floats]", model_rows(columns, types, categories)))
        there = np.isfinite(scores)
        return Column(scores if there.all() else np.where(there, scores, 0.0), there)

    def score_of_one(self) -> Callable[[Sequence[Value]], Value]:
        """The function from the values of a model's inputs at one event to the score; it raises as `score` does."""
        model = self.model
        if model is None:
            return self._unavailable
        numbers = model_numbers([node.type for node in self.inputs], [input_.categories for input_ in model.inputs])

        def score(values: Sequence[Value]) -> float | None:
            columns = np.array(numbers(values), np.float64).reshape(-1, 1)
            found = float(model.scores(cast("Sequence[Floats]", columns))[0])  # its rows are the columns
            return found if isfinite(found) else None

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
        """The models whose scores count."""
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
    """Message that inputs of an active model have changed definitions."""
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
    """The active models by event type, type-checked. A model that cannot be loaded is no error yet.

    What it reads may mean something else by now: that is a warning, since nobody can say that it is worse.
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
            words = f"{by!r} is not an entity that a {event} has a key of."
            self.problems.append(Problem(FILE, 0, 0, f"{event}.challenger.by", words, hint))
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
        before = len(self.problems)
        if model.event != event:
            words = f"the model {id_} scores {model.event!r}, not {event!r}."
            self.problems.append(Problem(FILE, 0, 0, f"{event}.{place}", words))
            return Scorer(id_, digest)
        found = [(column.name, self.input(event, place, id_, column)) for column in model.inputs]
        if len(self.problems) > before:
            return Scorer(id_, digest)
        inputs = [(name, node) for name, node in found if node is not None]
        changed = redefined(model.manifest, dict(inputs), event, self.events, self.types.feature)
        scorer = Scorer(id_, digest, tuple(node for _, node in inputs), model, redefined=changed)
        if changed:
            self.warnings.append(Problem(FILE, 0, 0, f"{event}.{place}", f"{redefined_words(scorer)}.", _AS_IT_WAS))
        return scorer

    def input(self, event: str, place: str, id_: str, column: InputColumn) -> Node | None:
        """Type an input of a model against the current project."""
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


# ---- to what is computed


def computed_scores(scoring: Scoring, events: Events) -> list[Computed]:
    """The computation of an event type's score, in order of dependency. Models in shadow are not: see 0015."""
    if scoring.champion is None:
        return []
    event = scoring.event
    found = [_computed(_name_of(scorer, event), scorer.node(), event) for scorer in scoring.deciding]
    node: Node = FeatureValue(REAL, _name_of(scoring.champion, event))
    if scoring.challenger is not None:
        key = tuple(events.entities[scoring.by].keys[event])
        share = InShare(BOOLEAN, scoring.challenger.id, scoring.share, key)
        found.append(_computed(_share_name(event), share, event))
        theirs = FeatureValue(REAL, _name_of(scoring.challenger, event))
        node = Else(REAL, When(REAL, theirs, FeatureValue(BOOLEAN, _share_name(event))), node)
    return [*found, _computed(score_name(event), node, event)]


def _computed(name: str, node: Node, event: str) -> Computed:
    return Computed(name, node, "", frozenset([event]), needs_key=False, is_score=True)


def _name_of(scorer: Scorer, event: str) -> str:
    return f"{score_name(event)} by {scorer.id}"


def _share_name(event: str) -> str:
    return f"challenger of {event}"


# ---- to what a decision shows


class Scored(FrozenStruct):
    """The scores of some events; `model_of` says for each which of `ids` names the model that gave it."""

    values: Floats
    ids: Sequence[str]
    model_of: Array

    @property
    def models(self) -> list[str]:
        return [self.ids[scorer_number] for scorer_number in self.model_of.tolist()]

    def shown(self) -> list[bytes]:
        return [canonical_real(value).encode() for value in self.values.tolist()]


def scored(frame: Frame, scoring: Scoring) -> Scored | None:
    """The scores that were computed of the events of a frame; None where no model scores them.

    Raises: StateError for a score that is no number.
    """
    if scoring.champion is None:
        return None
    share = frame.computed.get(_share_name(scoring.event))
    is_other = np.zeros(len(frame), np.bool_) if share is None else share.values & share.valid
    return _scored(frame.computed[score_name(scoring.event)], is_other, scoring)


class RowScoring:
    """The scores of events of one type, one by one.

    Args:
        read: Gives what reads the value that is computed by a name.
    """

    def __init__(self, scoring: Scoring, read: Callable[[str], Evaluate]) -> None:
        self._champion = scoring.champion
        self._other = scoring.challenger or scoring.champion
        self._score = read(score_name(scoring.event))
        self._is_other = read(_share_name(scoring.event))

    def of(self, row: Any) -> tuple[float | None, str]:
        """The score of an event and the id of the model that gave it; without a model None and nothing.

        Raises: StateError for a score that is no number.
        """
        if self._champion is None or self._other is None:
            return None, ""
        model = self._other.id if self._is_other(row) is True else self._champion.id
        score = self._score(row)
        if score is None:
            raise _no_number(model)
        return float(score), model


def scored_one(values: Mapping[str, Value], scoring: Scoring) -> Scored | None:
    """The same of one event, whose computed values these are."""
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
