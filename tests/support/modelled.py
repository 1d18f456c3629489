"""Inputs of models for tests, from the text that a person would write in model.yaml."""

from __future__ import annotations

from collections.abc import Iterable

from shroff.language.checker import check
from shroff.language.names import Scope
from shroff.models.definitions import ModelInput
from shroff.project.definitions import Definitions


def inputs_of(definitions: Definitions, event: str, texts: Iterable[str]) -> tuple[ModelInput, ...]:
    """Typed expressions over `this`, named as they are written."""
    names = definitions.events.names(frozenset(definitions.reference.lists), definitions.settings.money_places)
    types = {name: feature.type for name, feature in definitions.features.items()}
    scope = Scope(names, what="an input", this=(event,), feature=types.get)
    return tuple(ModelInput(text, check(text, scope)) for text in texts)
