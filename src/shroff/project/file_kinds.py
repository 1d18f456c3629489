"""Kinds of project files, including files and keys of shroff.yaml that plug-ins declare.

`project.definitions` loads the declared content with a project, and `project.schema` makes JSON Schemas.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shroff.config import PROJECT_FILE
from shroff.errors import DefinitionError, Problem
from shroff.events.definitions import Events
from shroff.language.expression import Node
from shroff.language.keys import Key, MappingShape, Shape
from shroff.language.names import DeclaredNames
from shroff.language.types import Type
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import read
from shroff.project.settings.project_keys import SETTINGS
from shroff.runtime.entry_points import FILES, KEYS, entry_point, installed, own_points
from shroff.runtime.values import FrozenStruct, replace

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions

DECIDING = tuple(map("{}.yaml".format, "shroff events features policy".split()))  # files that control events contain
YAML_FILES = (*DECIDING, "model.yaml", "schedules.yaml")


class FileContext(FrozenStruct):
    """Names that a plug-in's project file may refer to.

    Args:
        events: The event types and entities of events.yaml.
        names: The names that expressions may read.
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
    """A project file that a plug-in reads. It affects no decision, so no version or control event contains it.

    Args:
        load: Returns the content of the file, and adds its mistakes to the problems.
        nodes: Returns the expressions of the content about an event type; a score that they read counts as used.
        is_kept: Whether a change takes effect at a restart. The log then stores the file with which a service started,
            and `shroff apply --dry-run` reports a change. Otherwise the file is read at each use.
    """

    load: Load
    nodes: Callable[[Any, str], Iterable[Node]] = lambda _content, _event: ()
    is_kept: bool = False

    def content(self, text: str | None, definitions: Definitions) -> Any:
        """Load the file from its text, None if there is no file. Raises: DefinitionError with every mistake."""
        problems: list[Problem] = []
        node = None if text is None else read(text, self.place, problems)
        return _content(self.load, node, definitions, problems)


class AddedKey(FrozenStruct):
    """A key of shroff.yaml that a plug-in reads. It affects no decision, so no version or control event contains it.

    Args:
        key: The name of the key, its meaning, and the shape of its value.
        load: Returns the content of the value, None if the key is missing, and adds its mistakes to the problems.
    """

    key: Key
    load: Load

    def load_of(self, top: YamlNode | None, context: FileContext, problems: list[Problem]) -> Any:
        return self.load(top.get(self.key.name) if isinstance(top, YamlMapping) else None, context, problems)

    def content(self, text: str, definitions: Definitions) -> Any:
        """Load the key from the text of shroff.yaml. Raises: DefinitionError with every mistake."""
        problems: list[Problem] = []
        return _content(self.load_of, read(text, PROJECT_FILE, problems), definitions, problems)


def _content(load: Load, node: YamlNode | None, definitions: Definitions, problems: list[Problem]) -> Any:
    types = {name: feature.type for name, feature in definitions.features.items()}
    content = load(node, FileContext(definitions.events, definitions.names, types), problems)
    if problems:
        raise DefinitionError(problems)
    return content


def added_keys(top: YamlNode | None) -> list[AddedKey]:
    """Return the keys of shroff.yaml that plug-ins declare.

    Searching other packages is slow, so it is done only if the file has a key that shroff's own packages do not
    declare.
    """
    own = [point for point in own_points() if point.group == KEYS]
    own_names = {*SETTINGS.names, *(point.name for point in own)}
    if isinstance(top, YamlMapping) and not own_names.issuperset(key.text for key, _ in top.entries):
        return [*installed(KEYS).values()]
    return [point.load() for point in own]


def settings_shape(added: Iterable[AddedKey]) -> MappingShape:
    """Return all keys of shroff.yaml; those of plug-ins are last."""
    return replace(SETTINGS, keys=(*SETTINGS.keys, *(each.key for each in added)))


def added_file(name: str) -> AddedFile | None:
    """Return the kind of a plug-in's file; None for any other file."""
    if "/" in name or not name.endswith(".yaml") or name in YAML_FILES:
        return None
    point = entry_point(name.removesuffix(".yaml"), FILES)
    return None if point is None else point.load()


def added_files(names: Iterable[str]) -> dict[str, AddedFile]:
    """Return the files among `names` that plug-ins read, with their kinds."""
    kinds = {name: added_file(name) for name in names}
    return {name: kind for name, kind in kinds.items() if kind is not None}
