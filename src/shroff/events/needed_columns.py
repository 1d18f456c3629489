"""Find the columns that the expressions of a mapping need: without them a field is missing in every line of a file."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from shroff.events.definitions import LABEL_NAMES, EventType, FileMapping
from shroff.language.expression import ITEM, Else, IsMissing, Literal, Logic, Node, Path, RowValue, When, children, walk

VERDICT = "verdict"
ITEM_COLUMN = "item."  # prefix of the names of columns of items
_OF_LINE = frozenset([("number",), ("file",)])  # values of `row` that are no columns


class ColumnNeeds:
    """Columns that the fields of an event type need in a file, by one mapping.

    A nested path counts by its first part.
    """

    def __init__(self, event_type: EventType, mapping: FileMapping, *, is_label: bool) -> None:
        self._event_type = event_type
        self._mapping = mapping
        self._is_label = is_label

    def missing(self, columns: Collection[str]) -> list[str]:
        """Return the columns that a file lacks and without which a required field is missing in every line.

        For labels, one field that finds the event is enough. Columns of items count only if `columns` has some, as
        `column_name` writes them.
        """
        each = self._mapping.each
        lacking = [str(each[0])] if each is not None and each[0] not in columns else []
        for field in self._event_type.declared:
            if not field.shape.is_optional and not self._has_default(field.name):
                lacking += self._lacking(field.name, columns)
        namers = ["event", *(name for name in self._event_type.field_names if name not in LABEL_NAMES)]
        if self._is_label and all(self._lacking(name, columns) for name in namers):
            lacking.append("event" if each is None else f"{ITEM_COLUMN}event")
        has_items = each is None or any(map(_is_of_item, columns))
        return [name for name in dict.fromkeys(lacking) if has_items or not _is_of_item(name)]

    @property
    def has_mapped_verdict(self) -> bool:
        return self._is_label and VERDICT in self._mapping.fields

    def missing_in_condition(self, columns: Collection[str]) -> list[str]:
        """Return the columns that a file lacks and without which the mapping's `when` is true for no line."""
        when = self._mapping.when
        return [] if when is None else lacking_columns(when, columns)

    def missing_fields(self, columns: Collection[str]) -> dict[str, list[str]]:
        """Return the optional fields that are missing in every line of a file, with the columns that each lacks.

        Fields that need a column of an item are left out; for labels, also fields without a mapping.
        """
        found = {}
        for field in self._event_type.declared:
            is_optional = field.shape.is_optional or self._has_default(field.name)
            is_usual = not self._is_label or field.name in self._mapping.fields
            lacking = self._lacking(field.name, columns) if is_optional and is_usual else []
            if lacking and not any(map(_is_of_item, lacking)):
                found[field.name] = lacking
        return found

    def _lacking(self, name: str, columns: Collection[str]) -> list[str]:
        node = self._mapping.fields.get(name)
        if node is not None:
            return lacking_columns(node, columns, is_verdict=self._is_label and name == VERDICT)
        own = name if self._mapping.each is None else f"{ITEM_COLUMN}{name}"
        return [] if name in columns or own in columns else [own]

    def _has_default(self, name: str) -> bool:
        return self._is_label and name == "source"


def lacking_columns(node: Node, columns: Collection[str], *, is_verdict: bool = False) -> list[str]:
    """Return the columns that an expression lacks in a file with these columns; empty if it can have a value.

    One of the values that are joined by `else` or `or` is enough, but not a constant beside others, since it would be
    the value of every line.

    Args:
        is_verdict: Either all values with a condition are needed, so that both verdicts can occur, or one without.
    """
    lacking = dict.fromkeys(_lacking(node, frozenset(columns), is_verdict=is_verdict))
    return list(lacking)


def columns_of(node: Node) -> Iterator[str]:
    """Yield the columns that an expression reads; a nested path by its first part."""
    for part in walk(node):
        if isinstance(part, RowValue) and part.path not in _OF_LINE:
            yield column_name(part.path)


def column_name(path: Path) -> str:
    """Return the name of the column that a path begins with; for a value of an item it begins with `ITEM_COLUMN`.

    >>> column_name(("data", "status")), column_name(("data", "items", ITEM, "x", "y")), column_name(("items", ITEM))
    ('data', 'item.x', 'items')
    """
    inner = path[path.index(ITEM) + 1 :] if ITEM in path else ()
    return f"{ITEM_COLUMN}{inner[0]}" if inner else str(path[0])


def _is_of_item(column: str) -> bool:
    return column.startswith(ITEM_COLUMN)


def _lacking(node: Node, columns: frozenset[str], *, is_verdict: bool = False) -> list[str]:
    match node:
        case RowValue():
            return [name for name in columns_of(node) if name not in columns]
        case Else():
            return _lacking_in_choice(list(_alternatives(node)), columns, is_verdict=is_verdict)
        case Logic(operator="or"):
            return _lacking_in_choice([node.left, node.right], columns)
        case IsMissing():
            return []
        case _:
            return [name for part in children(node) for name in _lacking(part, columns)]


def _lacking_in_choice(choices: list[Node], columns: frozenset[str], *, is_verdict: bool = False) -> list[str]:
    counted = [choice for choice in choices if not isinstance(choice, Literal)] or choices
    lacking = [_lacking(choice, columns) for choice in counted]
    everything = [name for names in lacking for name in names]
    if not is_verdict:
        return [] if any(not names for names in lacking) else everything
    conditional = [names for choice, names in zip(counted, lacking, strict=True) if isinstance(choice, When)]
    plain = [names for choice, names in zip(counted, lacking, strict=True) if not isinstance(choice, When)]
    is_complete = bool(conditional) and not any(conditional)
    if is_complete or any(not names for names in plain):
        return []
    return everything


def _alternatives(node: Node) -> Iterator[Node]:
    if isinstance(node, Else):
        yield from _alternatives(node.left)
        yield from _alternatives(node.right)
    else:
        yield node
