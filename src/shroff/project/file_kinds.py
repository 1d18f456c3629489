"""Kinds of project files, those that plug-ins read among them."""

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
        node = None if text is None else read(text, self.place, problems)
        return _content(self.load, node, definitions, problems)


class AddedKey(FrozenStruct):
    """A key of shroff.yaml that a plug-in reads. It decides nothing, so no version and no control event has it.

    Args:
        key: The name of the key, its meaning, and the shape of its value.
        load: Gives the content of the value, and adds its mistakes to the problems; without a value there is no key.
    """

    key: Key
    load: Load

    def load_of(self, top: YamlNode | None, context: FileContext, problems: list[Problem]) -> Any:
        """The content of the key in shroff.yaml."""
        return self.load(top.get(self.key.name) if isinstance(top, YamlMapping) else None, context, problems)

    def content(self, text: str, definitions: Definitions) -> Any:
        """The same in the text of shroff.yaml. Raises: DefinitionError with every mistake."""
        problems: list[Problem] = []
        return _content(self.load_of, read(text, PROJECT_FILE, problems), definitions, problems)


def _content(load: Load, node: YamlNode | None, definitions: Definitions, problems: list[Problem]) -> Any:
    types = {name: feature.type for name, feature in definitions.features.items()}
    found = load(node, FileContext(definitions.events, definitions.names, types), problems)
    if problems:
        raise DefinitionError(problems)
    return found


def added_keys(top: YamlNode | None) -> list[AddedKey]:
    """The keys of shroff.yaml that plug-ins read; other packages are searched only for a key that shroff has not."""
    own = [point for point in own_points() if point.group == KEYS]
    known = {*SETTINGS.names, *(point.name for point in own)}
    if isinstance(top, YamlMapping) and not known.issuperset(key.text for key, _ in top.entries):
        return [*installed(KEYS).values()]
    return [point.load() for point in own]


def settings_shape(added: Iterable[AddedKey]) -> MappingShape:
    """The keys of shroff.yaml, those of plug-ins last."""
    return replace(SETTINGS, keys=(*SETTINGS.keys, *(each.key for each in added)))


def added_file(name: str) -> AddedFile | None:
    """The kind of a file that a plug-in reads; None for all others."""
    if "/" in name or not name.endswith(".yaml") or name in YAML_FILES:
        return None
    point = entry_point(name.removesuffix(".yaml"), FILES)
    return None if point is None else point.load()


def added_files(names: Iterable[str]) -> dict[str, AddedFile]:
    """Those of these files that plug-ins read, with their kinds."""
    return {name: kind for name in names if (kind := added_file(name)) is not None}
