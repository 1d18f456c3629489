"""Features and inputs to compute for a training set, and for a model with the same inputs."""

from __future__ import annotations

from collections.abc import Iterable

from shroff.errors import UsageError, nearest
from shroff.features.computed import Computed
from shroff.features.definitions import wanted_features
from shroff.language.expression import Node
from shroff.models.definitions import ModelInput, ModelSettings
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import read_by
from shroff.runtime.values import FrozenStruct

_INPUT = "model input"
_SLICE = "model slice"
_AMOUNT = "cost of a missed fraud"


class SetContents(FrozenStruct):
    """Computed columns of a set: features that its expressions read, inputs, slices, the cost of a missed fraud."""

    features: tuple[Computed, ...]
    inputs: tuple[Computed, ...]
    slices: tuple[Computed, ...]
    amount: Computed | None

    def all(self) -> list[Computed]:
        """Return all columns, each after those that it reads."""
        last = () if self.amount is None else (self.amount,)
        return [*self.features, *self.inputs, *self.slices, *last]


def settings_of(definitions: Definitions, event: str | None) -> ModelSettings:
    """Return the settings for an event type, or the only ones of model.yaml if the type is None.

    Raises: UsageError if model.yaml has no such model, or several and no type is given.
    """
    models = definitions.models
    if event is not None:
        if event not in models:
            hint = nearest(event, models) or "model.yaml names the event types that have a model."
            raise UsageError(f"model.yaml has no model of {event!r}. {hint}")
        return models[event]
    if len(models) != 1:
        problem = "no model: write model.yaml" if not models else f"models of {', '.join(models)}: name one with --as"
        raise UsageError(f"the project declares {problem}.")
    return next(iter(models.values()))


def wanted_of(definitions: Definitions, settings: ModelSettings) -> SetContents:
    event = settings.event
    events = frozenset([event])
    inputs = _named(_INPUT, settings.inputs, events)
    slices = _named(_SLICE, settings.slices, events)
    missed = definitions.missed_fraud(event)
    amount = None if missed is None else Computed(_AMOUNT, missed, "", events, needs_key=False)
    nodes = [input_.node for input_ in (*inputs, *slices)] + ([] if missed is None else [missed])
    return SetContents(features_read(definitions, event, nodes), inputs, slices, amount)


def _named(prefix: str, inputs: Iterable[ModelInput], events: frozenset[str]) -> tuple[Computed, ...]:
    return tuple(
        Computed(f"{prefix} {number}", model_input.node, "", events, needs_key=False)
        for number, model_input in enumerate(inputs)
    )


def features_read(definitions: Definitions, event: str, nodes: list[Node]) -> tuple[Computed, ...]:
    """Return the features that expressions read at an event, directly or through other features, in declared order."""
    features = definitions.features
    read_names = read_by(nodes, features.get).features
    by_name = {name: feature for name, feature in features.items() if name in read_names}
    requests = wanted_features(by_name, nodes)
    return tuple(
        Computed(name, feature.node, feature.entity, events)
        for name, feature in by_name.items()
        if (events := feature.events & ({event} | {at for read, at in requests if read == name}))
    )
