"""Count values that a look-up cannot use: a text without an address, a BIN without digits, no domain.

Such a look-up finds nothing, as if the table had no row, so these counts become warnings.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from shroff.language.expression import Call, ItemField, Lookup, Node, ThisField, walk
from shroff.language.lookups.intervals import address_bytes
from shroff.language.values import quoted
from shroff.project.definitions import Definitions

_SAME_VALUE = frozenset(["lower", "upper", "trim"])
_DIGITS = 4  # at least, of a BIN
_KEYS_SEEN = 100  # keys of a table of prefixes that are checked for digits
# Name of each kind of key, and a function that tells whether a text is one
_KINDS: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "network": ("an address", lambda text: address_bytes(text) is not None),
    "prefix": ("a number that begins with 4 digits", lambda text: text[:_DIGITS].isdecimal()),
    "suffix": ("a domain", lambda text: not any(sign in text for sign in "@/ ")),
    "mail": ("a mail address", lambda text: "@" in text),
}
KeyReader = Callable[[Iterable[tuple[str, Mapping[str, object]]]], list[str]]


def key_reader(definitions: Definitions) -> KeyReader | None:
    """Return a function that checks events, given as type and fields; None if the project has no look-ups.

    The function returns a sentence for each field with unusable texts. Cost: a microsecond for each text.
    """
    fields_by_type = _looked_up_fields(definitions)
    if not fields_by_type:
        return None

    def sentences(events: Iterable[tuple[str, Mapping[str, object]]]) -> list[str]:
        seen = Counter[tuple[str, str, str]]()
        unread = Counter[tuple[str, str, str]]()
        examples: dict[tuple[str, str, str], str] = {}
        for type_name, fields in events:
            for name, kind in fields_by_type.get(type_name, ()):
                text = fields.get(name)
                if isinstance(text, str):
                    key = (type_name, name, kind)
                    seen[key] += 1
                    if not _KINDS[kind][1](text):
                        unread[key] += 1
                        examples.setdefault(key, quoted(text))
        return [
            f"{count:,} of {seen[key]:,} values of {key[0]}.{key[1]} are not {_KINDS[key[2]][0]}, such as "
            f"{examples[key]}, so what looks them up finds nothing"
            for key, count in unread.items()
        ]

    return sentences


def _looked_up_fields(definitions: Definitions) -> dict[str, set[tuple[str, str]]]:
    fields_by_type: dict[str, set[tuple[str, str]]] = {}
    nodes = (*(feature.node for feature in definitions.features.values()), *(rule.when for rule in definitions.rules))
    types = definitions.events.types
    for field, kind in (key for node in nodes for key in _keys(node, definitions)):
        of_event = field.event if isinstance(field, ThisField) else None
        for name in types if of_event is None else [of_event]:
            shapes = {declared.name: declared.shape for declared in types[name].fields} if name in types else {}
            if field.name in shapes and shapes[field.name].type.is_text and not shapes[field.name].is_hashed:
                fields_by_type.setdefault(name, set()).add((field.name, kind))
    return fields_by_type


def _keys(node: Node, definitions: Definitions) -> Iterator[tuple[ThisField | ItemField, str]]:
    for part in walk(node):
        kind = ""
        key = part
        if isinstance(part, Lookup):
            kind = _kind(part.table, definitions)
            key = part.key
        elif isinstance(part, Call) and part.function in {"subnet", "domain"}:
            kind = "network" if part.function == "subnet" else "mail"
            key = part.arguments[0]
        while isinstance(key, Call) and key.function in _SAME_VALUE:
            key = key.arguments[0]
        if kind and isinstance(key, ThisField | ItemField):
            yield key, kind


def _kind(table: str, definitions: Definitions) -> str:
    """Return the kind of a table's keys; empty if any text may be a key."""
    kind = definitions.events.tables[table].kind
    rows = definitions.reference.tables.get(table)
    if kind != "prefix" or rows is None:
        return kind if kind != "prefix" else ""
    keys = rows.keys.texts[:_KEYS_SEEN]
    return kind if keys and all(str(key)[:_DIGITS].isdecimal() for key in keys) else ""
