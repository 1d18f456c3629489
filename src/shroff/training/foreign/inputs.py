"""Inputs of an imported model: for each of its features, in order, an expression of the project."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from shroff import config
from shroff.errors import Problem, UsageError, nearest
from shroff.features.definitions import load_features
from shroff.language.yaml import text as yamltext
from shroff.language.yaml.text import Mapping as YamlMapping
from shroff.language.yaml.text import Node as YamlNode
from shroff.language.yaml.text import Scalar
from shroff.language.yaml.text import Sequence as YamlSequence
from shroff.models.columns import CATEGORY, kind_of
from shroff.models.definitions import ModelInput
from shroff.models.imported import Foreign
from shroff.models.inputs import InputLoader
from shroff.models.loaded import LOGISTIC
from shroff.models.model import InputColumn
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct

OPTION = "--inputs"
CATEGORIES = "--categories"
_SHOWN = 8  # names listed in a message
# `theirs=ours`, but not a comparison.
_MAPPED = re.compile(r"\s*([^=<>!\s][^=<>!]*?)\s*=(?![=])\s*(.+)", re.DOTALL)


class Declared(FrozenStruct):
    """One input as written: the name of its feature in the file, empty if given by position, and its expression."""

    theirs: str
    written: YamlNode
    categories: tuple[str, ...] | None = None


class ForeignInputs(FrozenStruct):
    """Inputs of a model in the order of its features: expressions of the project, and columns of the model."""

    inputs: tuple[ModelInput, ...]
    columns: tuple[InputColumn, ...]


# ---- as it is written


def declared_in(text: str | Path) -> list[Declared]:
    """Parse a list with commas, `payment.amount,card.payments_1h` or `amount=payment.amount,...`, or a YAML file.

    A file is a list of expressions in the order of the features, or a mapping from names of features to expressions. An
    expression may be replaced by `{ input: EXPRESSION, categories: [a, b] }`.

    Raises: UsageError with the place of each mistake.
    """
    if isinstance(text, Path) or text.endswith((".yaml", ".yml")):
        return _in_file(Path(text))
    inputs = []
    start = 0
    for piece in _pieces(text):
        mapped = _MAPPED.fullmatch(piece)
        feature, expression = (mapped[1], mapped[2]) if mapped else ("", piece.strip())
        column = start + piece.index(expression) + 1 if expression else start + 1
        inputs.append(declared(feature, expression, column))
        start += len(piece) + 1
    return inputs


def declared(feature: str, text: str, column: int = 1) -> Declared:
    """Return an input from an expression that begins at a column of the option's text."""
    return Declared(feature, Scalar(text, 1, column, "", OPTION, "plain", None))


def _pieces(text: str) -> Iterator[str]:
    depth = 0
    quote = ""
    start = 0
    for index, character in enumerate(text):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif character == "," and depth == 0:
            yield text[start:index]
            start = index + 1
    yield text[start:]


def _in_file(path: Path) -> list[Declared]:
    if not path.is_file():
        raise UsageError(f"{path} is not there; {OPTION} names a file of inputs, or the inputs themselves.")
    problems: list[Problem] = []
    node = yamltext.read(config.read_text(path), path.name, problems)
    inputs: list[Declared] = []
    if isinstance(node, YamlSequence):
        inputs = [_entry("", item, problems) for item in node.items]
    elif isinstance(node, YamlMapping):
        inputs = [_entry(key.text, item, problems) for key, item in node.entries]
    elif not problems:
        raise UsageError(f"{path.name}: expected a list of inputs, or a mapping from features of the file to inputs.")
    _refuse(problems)
    return inputs


def _entry(feature: str, item: YamlNode, problems: list[Problem]) -> Declared:
    if not isinstance(item, YamlMapping):
        return Declared(feature, item)
    if wrong := [key for key, _ in item.entries if key.text not in {"name", "input", "categories"}]:
        hint = nearest(wrong[0].text, ["name", "input", "categories"]) or "There are name, input and categories."
        wrong[0].report(problems, f"an input has no key {wrong[0].text!r}.", hint)
    name = item.get("name")
    written = item.get("input")
    listed = item.get("categories")
    if written is None:
        item.report(problems, "an input lacks its expression.", "Write { input: payment.channel, ... }")
        return Declared(feature, item)
    texts = None
    if isinstance(listed, YamlSequence) and all(isinstance(value, Scalar) for value in listed.items):
        texts = tuple(value.text for value in listed.items if isinstance(value, Scalar))
    elif listed is not None:
        listed.report(problems, "categories are a list of texts, in the order of their codes.")
    return Declared(name.text if isinstance(name, Scalar) else feature, written, texts)


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise UsageError("\n".join(map(str, problems)))


def categories_in(texts: Sequence[str]) -> Mapping[str, tuple[str, ...]]:
    """Parse categories written as `payment.channel=app,web`.

    Raises: UsageError
    """
    categories = {}
    for text in texts:
        name, sign, listed = text.rpartition("=")
        if not sign or not name or not listed:
            raise UsageError(f"{CATEGORIES} is written INPUT=a,b,c, in the order of their codes; found {text!r}.")
        categories[name.strip()] = tuple(word.strip() for word in listed.split(","))
    return categories


# ---- inputs and the model's features


def read_by(
    foreign: Foreign,
    file: str,
    definitions: Definitions,
    event: str,
    listed: Sequence[Declared] | None,
    categories: Mapping[str, Sequence[str]],
) -> ForeignInputs:
    """Return the inputs of a model in the order of its features.

    Args:
        file: Name of its file, for messages.
        listed: The inputs as written; None for those of model.yaml, in their order. If all names of features in the
            file are names of inputs, the features choose the inputs by name.
        categories: For each input its texts in the order of their codes.

    Raises: UsageError if number, names, kinds or categories do not fit, with what to write.
    """
    if listed is None:
        model = definitions.models.get(event)
        if model is None:
            raise UsageError(f"model.yaml has no model of {event}, so name what {file} reads with {OPTION} a,b,c.")
        inputs = list(model.inputs)
        written_categories: list[tuple[str, ...] | None] = [None] * len(inputs)
        order = _placed(foreign, file, [input_.name for input_ in inputs], [""] * len(inputs), "model.yaml has")
    else:
        inputs = _typed(definitions, event, listed)
        written_categories = [column.categories for column in listed]
        names = [input_.name for input_ in inputs]
        order = _placed(foreign, file, names, [column.theirs for column in listed], f"{OPTION} names")
    inputs = [inputs[index] for index in order]
    written_categories = [written_categories[index] for index in order]
    if doubled := next((input_.name for index, input_ in enumerate(inputs) if input_ in inputs[:index]), None):
        raise UsageError(f"{doubled} stands for two features of {file}; use another input for one of them.")
    input_names = {input_.name for input_ in inputs}
    for name in categories:
        if name not in input_names:
            raise UsageError(
                f"{CATEGORIES} names {name}, which is not an input of {file}. {nearest(name, input_names)}".rstrip()
            )
    columns = (
        _column(foreign, file, index, input_, categories.get(input_.name, texts))
        for index, (input_, texts) in enumerate(zip(inputs, written_categories, strict=True))
    )
    return ForeignInputs(tuple(inputs), tuple(columns))


def _typed(definitions: Definitions, event: str, listed: Sequence[Declared]) -> list[ModelInput]:
    """Raises: UsageError if a model cannot read an expression."""
    problems: list[Problem] = []
    events = definitions.events
    names = definitions.names
    tree = yamltext.read(definitions.files.get("features.yaml", ""), "features.yaml", [])
    _, features = load_features(tree, events, names, [])
    loader = InputLoader(events.types[event], events, features, names, problems, [])
    inputs = [loader.expression(column.written, "an input of the model") for column in listed]
    _refuse(problems)
    return [input_ for input_ in inputs if input_ is not None]


def _placed(
    foreign: Foreign, file: str, input_names: Sequence[str], feature_names: Sequence[str], has: str
) -> list[int]:
    names = foreign.names if len(set(foreign.names)) == foreign.count else ()
    if names and set(names) <= set(input_names) and not any(feature_names):
        return [list(input_names).index(name) for name in names]
    if len(input_names) != foreign.count:
        raise UsageError(
            f"{file} reads {foreign.count} features{_listed(names)}, and {has} {len(input_names)} inputs"
            f"{_listed(input_names)}: name one for each, in its order, with {OPTION}."
        )
    if any(feature_names):
        return _mapped(names, file, feature_names)
    if not names:
        return list(range(len(input_names)))
    wrong = next(index for index, name in enumerate(names) if name not in input_names)
    mapping = ",".join(f"{name}={input_name}" for name, input_name in zip(names, input_names, strict=True))
    raise UsageError(
        f"{file} calls its feature {wrong + 1} {names[wrong]!r}, and {has} nothing of this name. Say which input each"
        f" of its features is: {OPTION} '{mapping}' if they stand in the same order."
    )


def _mapped(names: Sequence[str], file: str, feature_names: Sequence[str]) -> list[int]:
    if not names:
        raise UsageError(f"{file} has no names for its features; list the inputs in its order, without names.")
    for name in feature_names:
        if not name:
            raise UsageError(f"{OPTION} names the feature of {file} for some inputs; name it for each, or for none.")
        if name not in names:
            hint = nearest(name, names) or f"It has{_listed(names).removesuffix(')').replace(' (', ' ')}."
            raise UsageError(f"{file} has no feature {name!r}. {hint}")
    if len(set(feature_names)) != len(feature_names):
        raise UsageError(f"{OPTION} names a feature of {file} twice: {', '.join(sorted(feature_names))}.")
    return [list(feature_names).index(name) for name in names]


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _SHOWN else ""
    return f" ({', '.join(names[:_SHOWN])}{more})" if names else ""


def _column(foreign: Foreign, file: str, index: int, read: ModelInput, declared: Sequence[str] | None) -> InputColumn:
    """Return an input as the model reads it, its categories in the order of the file's codes."""
    kind = kind_of(read.node.type)
    is_split = index in foreign.categories
    feature_name = foreign.names[index] if foreign.names else ""
    feature = feature_name if feature_name != read.name else ""
    example = f"{CATEGORIES} '{read.name}=a,b,c'"
    if kind != CATEGORY:
        if declared is not None:
            raise UsageError(f"{read.name} is {read.node.type}, which has no categories; leave them out.")
        if is_split:
            raise UsageError(
                f"{file} splits its feature {index + 1} by categories, and {read.name} is {read.node.type}. Name an"
                " input that is a text or a choice."
            )
        return InputColumn(read.name, kind, feature=feature)
    if foreign.format == LOGISTIC:
        raise UsageError(
            f"{file} multiplies its feature {index + 1}, and {read.name} is a text. Name a number, such as"
            f' {read.name} == "web" for a column of one-hot encoding.'
        )
    texts = foreign.categories.get(index)
    if declared is not None and texts is not None and tuple(declared) != texts:
        raise UsageError(
            f"{file} has the categories {', '.join(texts[:_SHOWN])} of {read.name}, and {', '.join(declared[:_SHOWN])}"
            " are declared; leave the declared ones out."
        )
    categories = tuple(declared) if declared is not None else texts
    if categories is None:
        raise UsageError(
            f"{read.name} is a text, and {file} does not say which code each of its categories has: name them in the"
            f" order of their codes, from 0, with {example}."
        )
    if len(set(categories)) != len(categories) or not categories:
        raise UsageError(f"the categories of {read.name} are each named once: {example}.")
    return InputColumn(read.name, kind, categories, feature)
