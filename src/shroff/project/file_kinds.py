"""Kinds of project files, those that plug-ins read among them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shroff.errors import DefinitionError, Problem
from shroff.events.definitions import Events
from shroff.language.expression import Node
from shroff.language.keys import Shape
from shroff.language.names import DeclaredNames
from shroff.language.types import Type
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import read
from shroff.runtime.entry_points import FILES, entry_point
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions

DECIDING = tuple(map("{}.yaml".format, "shroff events features policy".split()))  # carried by control events
YAML_FILES = (*DECIDING, "model.yaml", "schedules.yaml")


class FileContext(FrozenStruct):
    """What a project file of a plug-in may name.

    Args:
        events: The event types and entities of events.yaml.
        names: What expressions may read.
        features: The type of each feature, by its name `ENTITY.NAME`.
    """

    events: Events
    names: DeclaredNames
    features: Mapping[str, Type]


Load = Callable[[YamlNode | None, FileContext, list[Problem]], Any]


class ProjectFile(FrozenStruct):
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
        is_kept: The log keeps what a service began with, so that `shroff apply --dry-run` names a change, which takes
            a restart. Else the file is read when it is asked.
    """

    load: Load
    nodes: Callable[[Any, str], Iterable[Node]] = lambda _content, _event: ()
    is_kept: bool = False

    def content(self, text: str | None, definitions: Definitions) -> Any:
        """The content of the file as it is now; None: there is no file. Raises: DefinitionError with every mistake."""
        problems: list[Problem] = []
        types = {name: feature.type for name, feature in definitions.features.items()}
        node = None if text is None else read(text, self.place, problems)
        found = self.load(node, FileContext(definitions.events, definitions.names, types), problems)
        if problems:
            raise DefinitionError(problems)
        return found


def added_file(name: str) -> AddedFile | None:
    """The kind of a file that a plug-in reads; None for all others."""
    if "/" in name or not name.endswith(".yaml") or name in YAML_FILES:
        return None
    point = entry_point(name.removesuffix(".yaml"), FILES)
    return None if point is None else point.load()


def added_files(names: Iterable[str]) -> dict[str, AddedFile]:
    """Those of these files that plug-ins read, with their kinds."""
    return {name: kind for name in names if (kind := added_file(name)) is not None}
