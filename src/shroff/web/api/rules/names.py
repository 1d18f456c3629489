"""Names for completion in a rule: features, fields, functions, lists and tables, each with its meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypedDict

from shroff.config import TEMPLATE_FOLDER
from shroff.language.aggregates import AGGREGATES
from shroff.language.functions import FUNCTIONS
from shroff.people.access import Right
from shroff.project.dependency_hash import teller_of
from shroff.rules.keys import EFFECTS, RULE
from shroff.web.http.messages import Json, Request
from shroff.web.http.routes import api

if TYPE_CHECKING:
    from shroff.project.definitions import Definitions
    from shroff.web.service import Service


class Name(TypedDict):
    """A name that an expression can use."""

    name: str
    type: str
    says: str


class RuleKey(TypedDict):
    """A key of a rule file."""

    name: str
    says: str


class Names(TypedDict):
    """The names that a rule can use."""

    names: list[Name]
    keys: list[RuleKey]
    effects: list[str]


async def names(service: Service, request: Request) -> Json[Names]:
    """All of them, by kind."""
    found = await service.in_thread(lambda: list(_names(service.project.definitions)))
    keys: list[RuleKey] = [{"name": key.name, "says": key.meaning} for key in RULE.keys]
    return Json({"names": found, "keys": keys, "effects": list(EFFECTS)})


def _names(definitions: Definitions) -> Iterator[Name]:
    teller = teller_of(definitions)
    for name, feature in definitions.features.items():
        yield _one(name, str(feature.type), teller.wording(feature.node).noun)
    fields = sorted(
        {(field.name, str(field.type)) for type_ in definitions.events.types.values() for field in type_.fields}
    )
    for field, kind in fields:
        yield _one(f"this.{field}", kind, "of the event that is decided")
    for type_ in definitions.events.types.values():
        for declared in type_.fields:
            yield _one(
                f"{type_.name}.{declared.name}", str(declared.type), f"of each {type_.name} in an aggregate's brackets"
            )
    for list_ in definitions.reference.lists:
        yield _one(f"lists.{list_}", "list", "a list of the project")
    for table in definitions.events.tables:
        yield _one(f"tables.{table}", "table", "a table of the project")
    yield _one("score", "real", "the model's probability")
    for row in AGGREGATES.values():
        yield _one(row.name, "aggregate", row.gives)
    for function in FUNCTIONS.values():
        yield _one(function.name, "function", f"{function.form}: {function.meaning}")


_RULE = re.compile(r"^- id: ([a-z_]+) +# (.+)$", re.MULTILINE)


class CookbookRecipe(NamedTuple):
    """A file of the template `cookbook`: the id of its first rule, what that is against, and its text."""

    id: str
    says: str
    text: str


@cache
def cookbook() -> list[CookbookRecipe]:
    """The rules of the template `cookbook`, and at the end its features."""
    folder, found = TEMPLATE_FOLDER / "cookbook", list[CookbookRecipe]()
    for path in sorted((folder / "rules").glob("*.yaml")):
        text = path.read_text(encoding="utf-8")
        found += [CookbookRecipe(id_, says, text) for id_, says in _RULE.findall(text)[:1]]
    features = (folder / "features.yaml").read_text(encoding="utf-8")
    return [*found, CookbookRecipe("features", "the features that these rules read", features)]


def _one(name: str, kind: str, says: str) -> Name:
    return {"name": name, "type": kind, "says": says}


ROUTES = (
    api("GET", "/names", Right.READ_DEFINITIONS, names)(
        "List the names that a rule's expressions can use: features, fields, functions, lists and tables, with types.",
        "Each name with its meaning.",
    ),
)
