"""Kinds of project files, those that plug-ins read among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import msgspec

from shroff.errors import Problem, StateError
from shroff.events.definitions import Events
from shroff.features.definitions import FeatureTypes
from shroff.language.expression import Node
from shroff.language.keys import Shape
from shroff.language.names import DeclaredNames
from shroff.language.yaml.text import Node as YamlNode
from shroff.project.settings.installed import FILES, STALE, adapter_point

YAML_FILES: Final = tuple(map("{}.yaml".format, "shroff events features policy model calls funnels schedules".split()))
ADDED: Final = ("calls",)  # whose content a plug-in reads
NOT_CARRIED: Final = ("model.yaml", "calls.yaml", "funnels.yaml", "schedules.yaml")  # decide nothing

Load = Callable[[YamlNode | None, Events, FeatureTypes, DeclaredNames, list[Problem]], Any]


class ProjectFile(msgspec.Struct, frozen=True):
    """A kind of project file: the name of its schema, its location and its contents."""

    kind: str
    place: str
    meaning: str
    shape: Shape

    @property
    def schema_file(self) -> str:
        return f"{self.kind}.schema.json"


class AddedFile(ProjectFile, frozen=True):
    """A project file that a plug-in reads. It decides nothing, so no version and no control event has it.

    Args:
        load: Gives the content of the file, and adds its mistakes to the problems.
        nodes: The expressions of the content that are about an event type: a score that they read is used.
    """

    load: Load
    nodes: Callable[[Any, str], Iterable[Node]]


def added_file(kind: str) -> AddedFile:
    """The kind of file that a plug-in reads. Raises: StateError where none is installed."""
    point = adapter_point(kind, FILES)
    if point is None:
        raise StateError(STALE)
    found: AddedFile = point.load()
    return found


def load_added(
    trees: Mapping[str, YamlNode | None],
    events: Events,
    types: FeatureTypes,
    names: DeclaredNames,
    problems: list[Problem],
) -> dict[str, Any]:
    """The content of each file that a plug-in reads, by its kind."""
    there = [kind for kind in ADDED if f"{kind}.yaml" in trees]
    return {kind: added_file(kind).load(trees[f"{kind}.yaml"], events, types, names, problems) for kind in there}
