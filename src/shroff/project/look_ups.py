"""Find the lists and look-up tables that expressions read, and those on which running state depends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TYPE_CHECKING

from msgspec.structs import asdict

from shroff.errors import Problem
from shroff.events.definitions import Events
from shroff.features.definitions import Feature
from shroff.json_types import TextDict, TextMapping
from shroff.language.expression import Call, InList, ItemFeature, ItemField, Lookup, Node, ThisField, aggregates, walk
from shroff.language.lookups.table import NO_ROWS
from shroff.language.names import TableShape
from shroff.language.printer import text_of
from shroff.language.row import Reference
from shroff.rules.definitions import Rule
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.project.checked_files import ListRows
    from shroff.project.definitions import Definitions


_MAIL = re.compile(r"(^|_)e_?mail(_address)?$|(^|_)mail(_address)?$")  # names of fields with mail addresses
_SAME_VALUE = frozenset(["lower", "upper", "trim"])


class LookUps(FrozenStruct):
    """Lists and tables that expressions use, and how.

    Args:
        hashed: Names of lists that are compared with a hashed field, or a feature that returns one.
        kept: Kind and name of lists and tables whose answers at past events are part of state: those inside an
            aggregate, a key, or a feature of items. If one changes, the log must be folded again.
        clear: Names of lists that are compared with a text in clear.
    """

    hashed: frozenset[str] = frozenset()
    kept: frozenset[tuple[str, str]] = frozenset()
    clear: frozenset[str] = frozenset()

    def problems(self) -> list[Problem]:
        """Return a problem for each list that is compared with hashed and clear values; only the former match."""
        message = (
            "a hashed text and one in clear are looked for here; the values are hashed, so the other is never found."
        )
        hint = "Make a list for each."
        return [Problem(f"lists/{name}.csv", 0, 0, "", message, hint) for name in sorted(self.hashed & self.clear)]

    def __or__(self, other: LookUps) -> LookUps:
        return LookUps(self.hashed | other.hashed, self.kept | other.kept, self.clear | other.clear)


def reference_as_of(definitions: Definitions, then: Definitions) -> Reference:
    """Return the lists and tables of a project with the rows of another version of it.

    A list or table that the version did not have is empty. A table with other columns then, and a list whose values are
    hashed only now, keep their current rows.
    """
    new = definitions.look_ups.hashed - then.look_ups.hashed
    lists = {
        name: now if name in new else then.reference.lists.get(name, {})
        for name, now in definitions.reference.lists.items()
    }
    tables = {
        name: then.reference.tables.get(name, NO_ROWS)
        if then.events.tables.get(name, shape) == shape
        else definitions.reference.tables.get(name, NO_ROWS)
        for name, shape in definitions.events.tables.items()
    }
    return Reference(lists, tables)


def look_ups(nodes: Sequence[Node], events: Events, features: Mapping[str, Feature]) -> LookUps:
    """Find the lists and tables that expressions use. Cost: 3 us per node."""
    checks = [part for node in nodes for part in walk(node) if isinstance(part, InList)]
    hashed = frozenset(part.list for part in checks if part.operand.type.hashing)
    clear = frozenset(part.list for part in checks if not part.operand.type.hashing)
    return LookUps(hashed, _kept(nodes, events, features), clear)


def _kept(nodes: Sequence[Node], events: Events, features: Mapping[str, Feature]) -> frozenset[tuple[str, str]]:
    inside = [part for node in nodes for of in aggregates(node) for part in walk(of)]
    keys = [part for entity in events.entities.values() for parts in entity.keys.values() for part in parts]
    kept = [*inside, *(part for key in keys for part in walk(key))]
    if any(isinstance(part, ItemFeature) for part in inside):
        kept += [part for feature in features.values() for part in walk(feature.node)]
    return frozenset(_asked(part) for part in kept if isinstance(part, InList | Lookup))


def _asked(node: InList | Lookup) -> tuple[str, str]:
    return ("list", node.list) if isinstance(node, InList) else ("table", node.table)


def lookup_warnings(
    tables: Mapping[str, TableShape], features: Iterable[Feature], rules: Iterable[Rule]
) -> list[Problem]:
    """Return warnings for look-ups whose key can match no row, such as a mail address in a table of suffixes."""
    warnings: list[Problem] = []
    if not any(table.kind for table in tables.values()):
        return warnings
    expressions = [
        *((f"feature {feature.name}", feature.node, feature.place) for feature in features),
        *((f"rule {rule.id}", rule.when, rule.place) for rule in rules),
    ]
    for name, node, place in expressions:
        for part in walk(node):
            if place is None or not isinstance(part, Lookup):
                continue
            kind = tables[part.table].kind
            reason, hint = _mismatch(part.key, kind)
            if reason:
                place.report(warnings, f"{name} looks up table {part.table} by {reason}.", hint)
    return warnings


def _mismatch(key: Node, kind: str) -> tuple[str, str]:
    written = text_of(key)
    while isinstance(key, Call) and key.function in _SAME_VALUE:
        key = key.arguments[0]
    function = key.function if isinstance(key, Call) else ""
    name = key.name if isinstance(key, ThisField | ItemField) else ""
    if kind == "suffix" and _MAIL.search(name):
        reason = f"{written}, a mail address: its rows end a text at a dot, so no row matches"
        return reason, f"Write domain({written})."
    if kind == "network" and function == "subnet":
        reason = f"{written}, a network and not an address, so no row matches"
        return reason, f"Write {text_of(key.arguments[0]) if isinstance(key, Call) else written}."
    if kind == "network" and (function == "domain" or _MAIL.search(name)):
        return f"{written}, which is no address of a network, so no row matches", "Write the field with the address."
    if kind == "prefix" and function == "domain":
        reason = f"{written}, the end of a mail address, and its rows are beginnings"
        return reason, "Declare the key of the table as suffix."
    return "", ""


def differs_in_rows(versions: TextMapping, files: TextMapping, now: Definitions | ListRows) -> bool:
    """Return whether a version differs from `now` only in rows of lists on which no state depends."""
    if {**versions, "lists": now.versions.lists} != asdict(now.versions):
        return False
    both = (_lists(files), _lists(now.files))
    changed = {("list", name) for name in both[1] if both[0].get(name) != both[1][name]}
    return both[0].keys() == both[1].keys() and not changed & now.look_ups.kept


def _lists(files: TextMapping) -> TextDict:
    return {PurePath(name).stem: text for name, text in files.items() if name.startswith("lists/")}
