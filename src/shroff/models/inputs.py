"""Inputs of a model from model.yaml: expressions typed, patterns resolved, unusable inputs refused.

The name of an input is its expression in canonical spelling, with the event by its type's name, so equal inputs are
recognized however they were written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from shroff.errors import Problem, nearest
from shroff.events.definitions import Events, EventType, Field
from shroff.features.definitions import Feature, FeatureTypes
from shroff.language import loader
from shroff.language.expression import (
    Aggregate,
    Call,
    Convert,
    Else,
    FeatureValue,
    ItemField,
    Node,
    ThisField,
    When,
    children,
    rewritten,
    walk,
)
from shroff.language.names import DeclaredNames, Scope
from shroff.language.printer import text_of
from shroff.language.types import NOTHING, Type
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import Scalar
from shroff.models.definitions import ModelInput
from shroff.models.keys import ALL
from shroff.runtime.values import FrozenStruct, replace

# No expression has this form: a star directly after the dot, or at the end.
_PATTERN = re.compile(r"([a-z][a-z0-9_]*)\.(\*[a-z0-9_]*|[a-z0-9_]+\*)")
_ONE_NAME = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+")
_BY_DEFAULT = frozenset({"integer", "number", "money", "real", "duration", "boolean", "choice"})
_SLICED = frozenset(["text", "choice", "boolean", "integer"])


class InputSource(FrozenStruct):
    """Position of a model input in the file, and whether a pattern selected it."""

    place: Scalar
    is_pattern: bool


class InputLoader(FrozenStruct):
    """Reads the expressions of one event type's model."""

    event: EventType
    events: Events
    features: FeatureTypes
    names: DeclaredNames
    problems: list[Problem]
    warnings: list[Problem]

    @property
    def entities(self) -> list[str]:
        return [name for name, entity in self.events.entities.items() if self.event.name in entity.keys]

    def inputs(self, node: YamlNode | None, place: Scalar) -> tuple[ModelInput, ...]:
        """Return the inputs of `inputs`; with `all` or without it, everything that patterns find in the event and its
        entities.

        Args:
            node: Value of `inputs`.
            place: Position of the event type, for problems without `inputs`.
        """
        if node is None or (isinstance(node, Scalar) and node.text == ALL):
            declared_inputs = [
                declared for name in (self.event.name, *self.entities) for declared in self._matching(name, "*")
            ]
            if not declared_inputs:
                hint = f"Give {self.event.name} features, or name its fields under inputs."
                place.report(self.problems, f"there is nothing that a model of {self.event.name} could read.", hint)
            return tuple(declared_inputs)
        if isinstance(node, Scalar):
            hint = f"Write [{node.text}], or 'all' for all that a model can read."
            node.report(self.problems, "inputs must be a list.", hint)
            return ()
        listed = loader.sequence(node, self.problems, "inputs")
        by_name: dict[str, ModelInput] = {}
        sources: dict[str, InputSource] = {}
        for item in listed.items if listed else ():
            for entry, source in self._item(item):
                if self._is_new(entry.name, source, sources):
                    by_name[entry.name] = entry
                    sources[entry.name] = source
        if listed is not None and not listed.items:
            listed.report(self.problems, "inputs is empty", "Write `inputs: all` for all that a model can read.")
        return tuple(by_name.values())

    def _item(self, item: YamlNode) -> Iterator[tuple[ModelInput, InputSource]]:
        pattern = _pattern(item)
        if pattern is not None:
            assert isinstance(item, Scalar)
            matches = self._matches(item, *pattern)
            yield from ((model_input, InputSource(item, is_pattern=True)) for model_input in matches)
            return
        input_ = self.expression(item, f"an input of {self.event.name}")
        if input_ is not None and isinstance(item, Scalar):
            yield input_, InputSource(item, is_pattern=False)

    def _is_new(self, name: str, source: InputSource, sources: dict[str, InputSource]) -> bool:
        """Whether an input is not listed yet. Patterns may overlap; any other repetition is a problem."""
        first = sources.get(name)
        if first is not None and not (first.is_pattern and source.is_pattern):
            again = source.place
            other = first.place
            problem = f"{again.text!r} has {name}, which stands" if source.is_pattern else f"{name} stands"
            message = f"{problem} in line {other.line} already, as {other.text!r}."
            again.report(self.problems, message, "Each input stands once.")
        return first is None

    # ---- patterns

    def _matches(self, item: Scalar, owner: str, rest: str) -> list[ModelInput]:
        event = self.event.name
        owners = [event, *self.entities]
        if owner not in (*owners, "this"):
            is_entity = owner in self.events.entities
            message = f"{owner!r} has no key in {event}." if is_entity else f"{owner!r} is not an entity of {event}."
            hint = "" if is_entity else nearest(owner, owners)
            item.report(self.problems, message, hint or f"Patterns begin with {', '.join(owners)}.")
            return []
        matches = self._matching(event if owner == "this" else owner, rest, item)
        if not matches:
            names = [declared.name for name in owners for declared in self._matching(name, "*")]
            hint = nearest(item.text, names) or f"A model can read {', '.join(names[:5]) or 'nothing of it yet'}."
            item.report(self.problems, f"no input of a model fits the pattern {item.text!r}.", hint)
        return matches

    def _matching(self, owner: str, rest: str, item: Scalar | None = None) -> list[ModelInput]:
        """Return the matching inputs that a model can read; warn about features left out."""
        if owner == self.event.name:
            readable = (
                field for field in self.event.fields if self._is_by_default(field) and fnmatchcase(field.name, rest)
            )
            return [self._named(ThisField(declared.read_type, declared.name)) for declared in readable]
        inputs: list[ModelInput] = []
        for feature in self._features_of(owner):
            if not fnmatchcase(feature.name.partition(".")[2], rest):
                continue
            node = FeatureValue(feature.type, feature.name)
            refusal = self._refusal(node)
            if refusal is None:
                inputs.append(self._named(node))
            elif item is not None:
                item.report(self.warnings, f"{item.text!r} leaves out {feature.name}: {refusal[0]}", refusal[1])
        return inputs

    def _is_by_default(self, field: Field) -> bool:
        return (
            field.type.kind in _BY_DEFAULT
            and not field.shape.is_unique
            and field.name not in {self.event.id_field, self.event.time_field}
        )

    def _features_of(self, entity: str) -> Iterator[Feature]:
        for name in self.features.names():
            feature = self.features.feature(name) if name.startswith(f"{entity}.") else None
            if feature is not None and self.event.name in feature.events:
                yield feature

    # ---- expressions

    def expression(self, item: YamlNode, what: str) -> ModelInput | None:
        """Return an expression that a model can read; None after adding a problem."""
        node = self._typed(item, what)
        return None if node is None else self._readable(item, node)

    def _readable(self, item: YamlNode, node: Node) -> ModelInput | None:
        refusal = self._refusal(node)
        if refusal is not None:
            item.report(self.problems, *refusal)
            return None
        return self._named(node)

    def _typed(self, item: YamlNode, what: str) -> Node | None:
        lists: dict[str, None] = {}

        def type_of(name: str) -> Type | None:
            lists[name] = None
            return self.features.type_of(name)

        scope = Scope(
            self.names, what=what, this=(self.event.name,), feature=type_of, feature_names=self.features.names
        )
        node = loader.expression(item, scope, self.problems)
        for name in lists if node is not None else ():
            feature = self.features.feature(name)
            if feature is None:  # its own problem is reported at its definition
                return None
            if self.event.name not in feature.events:
                message = f"{name} is missing for every {self.event.name}: "
                lacks_key = feature.entity not in self.entities
                message += (
                    f"{feature.entity} has no key in it." if lacks_key else "it reads fields that this type lacks."
                )
                item.report(self.problems, message)
                return None
        return node

    def _named(self, node: Node) -> ModelInput:
        node = _by_type(node, self.event.name)
        return ModelInput(text_of(node), node)

    def _refusal(self, node: Node) -> tuple[str, str] | None:
        """Return why a model cannot read an expression, with the remedy; None if it can."""
        name = text_of(_by_type(node, self.event.name))
        if node.type == NOTHING:
            return f"{name} is always missing.", ""
        if not any(isinstance(part, ThisField | FeatureValue) for part in walk(node)):
            return f"{name} is the same for every {self.event.name}.", ""
        if node.type.kind == "time":
            return f"{name} is a time, which no model can read.", f"Write hour({name}) or weekday({name})."
        for source in self._sources(node):
            if source.shape.is_hashed:
                message = f"{name} gives back {source.name}, which is hashed: a hash says nothing about what it hides."
                return message, "Use a feature that counts or compares what matters about it."
            if isinstance(node, ThisField) and (source.shape.is_unique or source.name == self.event.id_field):
                return f"{name} is different in every event, so a model cannot learn from it.", ""
        return None

    def _sources(self, node: Node) -> Iterator[Field]:
        """Yield the fields whose text a value is or is made from; for a single field of any type."""
        match node:
            case ThisField():
                yield from _fields(self.event, node.name)
            case FeatureValue():
                feature = self.features.feature(node.name)
                yield from self._sources(feature.node) if feature is not None else ()
            case Aggregate():
                if node.argument is not None and node.type.is_text:
                    yield from self._item_sources(node.argument, node.event)
            case Convert() | Else() | When() | Call() if node.type.is_text:
                for part in children(node):  # a condition is no text
                    yield from self._sources(part) if part.type.is_text else ()

    def _item_sources(self, argument: Node, event: str) -> Iterator[Field]:
        types = [self.events.types[event]] if event in self.events.types else [*self.events.types.values()]
        for part in walk(argument):
            if isinstance(part, ItemField):
                for type_ in types:
                    yield from _fields(type_, part.name.removeprefix("of."))

    # ---- slices, and inputs that reveal the answer

    def slices(self, node: YamlNode | None) -> tuple[ModelInput, ...]:
        """Return the expressions by which metrics are split; by default the choices and booleans of the event."""
        if node is None:
            kinds = ("choice", "boolean")
            return tuple(
                self._named(ThisField(field.read_type, field.name))
                for field in self.event.fields
                if field.type.kind in kinds
            )
        listed = loader.sequence(node, self.problems, "slices")
        by_name: dict[str, ModelInput] = {}
        for item in listed.items if listed else ():
            part = self._slice(item)
            if part is not None and part.name in by_name:
                item.report(self.problems, f"{part.name} is used twice among the slices.")
            elif part is not None:
                by_name[part.name] = part
        return tuple(by_name.values())

    def _slice(self, item: YamlNode) -> ModelInput | None:
        what = f"a slice of {self.event.name}"
        if isinstance(item, Scalar) and loader.NAME.fullmatch(item.text):
            fields = {field.name: field for field in self.event.fields}
            if item.text not in fields:
                message = f"{self.event.name} has no field {item.text!r}."
                item.report(self.problems, message, nearest(item.text, fields))
                return None
            part = self._readable(item, ThisField(fields[item.text].read_type, item.text))
        else:
            part = self.expression(item, what)
        if part is not None and part.node.type.kind not in _SLICED:
            message = f"{what} is a text, a truth or an integer; {part.name} is {part.node.type}."
            item.report(self.problems, message, f"Cut it into bands, as {part.name} > …")
            return None
        return part

    def give_away(self, node: YamlNode | None, inputs: Iterable[ModelInput]) -> tuple[str, ...]:
        """Return the names of the inputs listed under `give_away`, in the order of the inputs."""
        listed = loader.sequence(node, self.problems, "give_away")
        input_names = [input_.name for input_ in inputs]
        names: set[str] = set()
        for item in listed.items if listed and input_names else ():
            names.update(self._given_away(item, input_names))
        if input_names and names.issuperset(input_names) and listed is not None:
            listed.report(self.problems, "give_away lists every input, so none is left.")
        return tuple(name for name in input_names if name in names)

    def _given_away(self, item: YamlNode, input_names: list[str]) -> list[str]:
        pattern = _pattern(item)
        if pattern is not None:
            owner = self.event.name if pattern[0] == "this" else pattern[0]
            rest = pattern[1]
            text = f"{owner}.{rest}"
            matches = [name for name in input_names if _ONE_NAME.fullmatch(name) and fnmatchcase(name, text)]
        else:
            node = self._typed(item, "give_away")
            if node is None:
                return []
            text = self._named(node).name
            matches = [text] if text in input_names else []
        if not matches:
            hint = nearest(text, input_names) or "List it under inputs, or leave it out here."
            item.report(self.problems, f"{text} is not an input of this model.", hint)
        return matches


def _pattern(item: YamlNode) -> tuple[str, str] | None:
    """Split a pattern at its dot; None if the item is not a pattern."""
    match = _PATTERN.fullmatch(item.text) if isinstance(item, Scalar) else None
    return (match[1], match[2]) if match else None


def _fields(event: EventType, name: str) -> list[Field]:
    return [field for field in event.fields if field.name == name]


def _by_type(node: Node, event: str) -> Node:
    """Name `this` by its type, so that equal expressions compare equal."""
    return rewritten(node, {part: replace(part, event=event) for part in walk(node) if isinstance(part, ThisField)})
