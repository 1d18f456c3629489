"""Operation that lists the names that a rule can use: features, fields, functions, lists and tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import msgspec

from shroff.config import TEMPLATE_FOLDER
from shroff.language.aggregates import AGGREGATES
from shroff.language.functions import FUNCTIONS
from shroff.operations.declaration import OperationAnswer, OperationRequest, operation
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import teller_of
from shroff.rules.keys import EFFECTS, RULE


class ListNames(OperationRequest["Names"]):
    pass


class Name(msgspec.Struct):
    """A name that an expression can use."""

    name: str
    type: str
    says: str


class RuleKey(msgspec.Struct):
    """A key of a rule file."""

    name: str
    says: str


class Names(OperationAnswer):
    """Each name with its meaning."""

    names: list[Name]
    keys: list[RuleKey]
    effects: list[str]


@operation("rules names", right="read:definitions", http="GET /names", has_command=False)
def list_names(definitions: Definitions, request: ListNames) -> Names:
    """List the names that a rule's expressions can use: features, fields, functions, lists and tables, with types."""
    keys = [RuleKey(key.name, key.meaning) for key in RULE.keys]
    return Names(names=list(_names(definitions)), keys=keys, effects=list(EFFECTS))


def _names(definitions: Definitions) -> Iterator[Name]:
    teller = teller_of(definitions)
    for name, feature in definitions.features.items():
        yield Name(name, str(feature.type), teller.wording(feature.node).noun)
    fields = sorted(
        {(field.name, str(field.type)) for type_ in definitions.events.types.values() for field in type_.fields}
    )
    for field, kind in fields:
        yield Name(f"this.{field}", kind, "of the event that is decided")
    for type_ in definitions.events.types.values():
        for declared in type_.fields:
            yield Name(
                f"{type_.name}.{declared.name}", str(declared.type), f"of each {type_.name} in an aggregate's brackets"
            )
    for list_ in definitions.reference.lists:
        yield Name(f"lists.{list_}", "list", "a list of the project")
    for table in definitions.events.tables:
        yield Name(f"tables.{table}", "table", "a table of the project")
    yield Name("score", "real", "the model's probability")
    for row in AGGREGATES.values():
        yield Name(row.name, "aggregate", row.gives)
    for function in FUNCTIONS.values():
        yield Name(function.name, "function", f"{function.form}: {function.meaning}")


_RULE = re.compile(r"^- id: ([a-z_]+) +# (.+)$", re.MULTILINE)


class CookbookRecipe(NamedTuple):
    """A file of the template `cookbook`: the id of its first rule, the fraud it detects, and its text."""

    id: str
    says: str
    text: str


@cache
def cookbook() -> list[CookbookRecipe]:
    folder, found = TEMPLATE_FOLDER / "cookbook", list[CookbookRecipe]()
    for path in sorted((folder / "rules").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        found += [CookbookRecipe(id_, says, text) for id_, says in _RULE.findall(text)[:1]]
    features = (folder / "features.yaml").read_text(encoding="utf-8")
    return [*found, CookbookRecipe("features", "the features that these rules read", features)]
