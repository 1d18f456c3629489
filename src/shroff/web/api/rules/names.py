"""Names for completion in a rule: features, fields, functions, lists and tables, each with its meaning."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict

from shroff.config import TEMPLATE_FOLDER
from shroff.language.aggregates import AGGREGATES, AggregateRow
from shroff.language.functions import FUNCTIONS
from shroff.language.types import Type
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
    definitions = service.project.definitions
    keys: list[RuleKey] = [{"name": key.name, "says": key.meaning} for key in RULE.keys]
    return Json({"names": list(_names(definitions)), "keys": keys, "effects": list(EFFECTS)})


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


class PalettePart(NamedTuple):
    """A part of an expression to begin with, and what it means."""

    text: str
    says: str


_RULE: Final = re.compile(r"^- id: ([a-z_]+) +# (.+)$", re.MULTILINE)
_COMPARED: Final = {  # what a value of a kind can be compared with, as a beginning
    "money": "{} > 100",
    "integer": "{} >= 3",
    "number": "{} > 1",
    "real": "{} > 0.5",
    "duration": "{} < 1h",
    "boolean": "{}",
    "time": "hour({}) < 5",
}
_OVER: Final = {"count": "count({event}) over 1d >= 5", "share": "share({event} where {truth}) over 30d > 0.5"}


def palette(definitions: Definitions) -> dict[str, list[PalettePart]]:
    """Parts of conditions by groups, for somebody who does not know the language; each but functions is a condition."""
    types = definitions.events.types
    event = types[next(iter(definitions.events.decided), next(iter(types)))]
    teller = teller_of(definitions)
    values = [field for field in event.fields if field.name != event.id_field]
    amount = next((value.name for value in values if value.type.kind in {"money", "integer", "number"}), "")
    truth = f"{event.name}.{amount} > 100" if amount else f"{event.name}.{values[0].name} is not missing"

    def compared(name: str, type_: Type) -> str:
        sample = type_.choices[0] if type_.choices else "value"
        return _COMPARED.get(type_.kind, "{} == '" + sample + "'").format(name)

    def over(row: AggregateRow) -> str:
        if row.name in _OVER:
            return _OVER[row.name].format(event=event.name, truth=truth)
        fitting = [value for value in values if value.type.kind in (row.takes or ())]
        argument = min(fitting, key=lambda field: field.name != amount, default=None)
        if argument is None or row.has_rank:
            return ""
        return compared(f"{row.name}({event.name}.{argument.name}) over 1d", row.type or argument.type)

    key = next((value.name for value in values if value.type.is_text), values[0].name)
    return {
        f"Fields of this {event.name}": [
            PalettePart(compared(f"this.{value.name}", value.type), f"{value.name.replace('_', ' ')}: {value.type}")
            for value in values
        ],
        "Features": [
            PalettePart(compared(name, feature.type), teller.wording(feature.node).noun)
            for name, feature in definitions.features.items()
        ],
        "Sums and counts of earlier events": [
            PalettePart(text, row.gives) for row in AGGREGATES.values() if (text := over(row))
        ],
        "Lists": [
            PalettePart(f"this.{key} in lists.{name}", "whether the value is on the list")
            for name in definitions.reference.lists
        ],
        "Functions": [PalettePart(function.form, function.meaning) for function in FUNCTIONS.values()],
    }


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


ROUTES: Final = (
    api("GET", "/names", Right.READ_DEFINITIONS, names)(
        "List the names that a rule's expressions can use: features, fields, functions, lists and tables, with types.",
        "Each name with its meaning.",
    ),
)
