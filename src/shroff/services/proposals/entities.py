"""Entities of a proposed project: the keys that a file's events share, by the values and names of its columns."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from math import inf

from shroff.events.field_roles import is_named
from shroff.services.proposals.profile import FileColumn
from shroff.services.proposals.roles import TAKEN, TYPE, Draft, ProposedField, has, slug

ENTITIES_MAX = 4
_ORDER = "card account customer mail device network merchant".split()
_PROVING_LINES = 50  # which show whether the values of a key return
_FEW_KEYS = 3
_SELDOM = 0.9  # different values by all, of a column whose values return
_REFERENCE = re.compile(r"(ref|reference|referenz)(_?(id|no|nr|num|number))?\d*(_|$)")


def entities_of(
    draft: Draft, fields: Sequence[ProposedField], amount: ProposedField | None
) -> dict[str, tuple[str, ProposedField | None]]:
    """Entities by name: the expression of the key, and its field; the first is the field that features are about."""
    settled = draft.settled.get("entity")
    columns = [(field, field.column) for field in fields[1:] if field.column is not None]
    if id(settled) in draft.roles or settled not in [column for _, column in columns]:
        draft.choose("entity", [])
    ranked: list[tuple[float, ProposedField]] = []
    doubted: list[tuple[float, ProposedField]] = []
    for field, column in columns:
        if column is settled:
            if not _can_be_key(field):
                field.type = "text?" if field.type.endswith("?") else "text"
                field.expression = column.row
            ranked.append((inf, field))
        elif _can_be_key(field) and (score := _key_score(column)) > 0:
            (doubted if _is_doubtful(column) else ranked).append((score, field))
    ranked.sort(key=lambda item: -item[0])
    doubted.sort(key=lambda item: -item[0])
    found: dict[str, tuple[str, ProposedField | None]] = {}
    known = [fields[0].column.texts] if fields[0].column is not None else []
    for _, field in ranked or doubted[:1]:
        assert field.column is not None
        if field.column is settled or (len(found) < ENTITIES_MAX and field.column.texts not in known):
            known.append(field.column.texts)
            found[_entity_name(field, found)] = field.name, field
    if found:
        first, *others = [field.column for _, field in found.values() if field is not None and field.column is not None]
        draft.also["entity"] = [column.name for column in others]
        draft.leading = first
        return found
    candidates = [(field, column) for field, column in columns if _can_be_key(field) and _may_be_key(column)]
    if candidates:
        candidates.sort(key=lambda item: (_returns(item[1]), len(item[1].distinct)), reverse=True)
        field, draft.leading = candidates[0]
        draft.also["entity"] = [column.name for _, column in candidates[1:ENTITIES_MAX]]
        draft.close.add("entity")
        draft.entity_guess = "no column is called card, account or customer; this field may do"
        return {field.name if field.name not in TAKEN else f"{field.name}_key": (field.name, field)}
    draft.entity_guess = "no column names a card, an account or a customer"
    name, key = (
        ("same_amount", f"text({TYPE}.{amount.name})") if amount else ("day", f"text(day({TYPE}.{fields[1].name}))")
    )
    return {name: (key, None)}


def _key_score(column: FileColumn) -> float:
    """Rate a column as the key of an entity by its name and values; 0 if it is none."""
    rank = _rank(column)
    if rank is None or has(column, "no_key") or _is_reference(column):
        return 0
    is_code = column.is_whole or all(re.search(r"\d|@", text) for text in column.distinct[:100])
    is_seldom = len(column.values) >= _PROVING_LINES and len(column.distinct) > _SELDOM * len(column.values)
    return 200 + is_code - rank - 20 * is_seldom  # values that never return outweigh each name


def _rank(column: FileColumn) -> int | None:
    names = (slug(column.path[-parts:]) for parts in (1, 2))
    return next((rank for name in names for rank, word in enumerate(_ORDER) if is_named(name, word)), None)


def _is_doubtful(column: FileColumn) -> bool:
    has_words = sum(" " in text.strip() or "/" in text for text in column.distinct) > len(column.distinct) / 2
    is_part = _rank(column) == 0 and all(re.fullmatch(r"\d{1,4}|\d{6}", text) for text in column.distinct)
    return has_words or is_part or _are_few(column)


def _may_be_key(column: FileColumn) -> bool:
    if has(column, "no_key") or has(column, "digits") or _are_few(column):
        return False
    return _returns(column) or len(column.values) < _PROVING_LINES


def _returns(column: FileColumn) -> bool:
    return 1 < len(column.distinct) <= _SELDOM * len(column.values)


def _are_few(column: FileColumn) -> bool:
    return len(column.values) >= _PROVING_LINES and len(column.distinct) <= _FEW_KEYS


def _is_reference(column: FileColumn) -> bool:
    """Whether nearly each value names one event, apart from placeholders such as NOTPROVIDED."""
    once = sum(count == 1 for count in Counter(column.values).values())
    return _REFERENCE.search(slug(column.path[-1:])) is not None and once > _SELDOM * len(column.distinct)


def _can_be_key(field: ProposedField) -> bool:
    return field.type.startswith(("text", "choice")) and "personal" not in field.type


def _entity_name(field: ProposedField, taken: Collection[str]) -> str:
    name = re.sub(r"_(id|no|num|number|key|hash|ref)$", "", field.name)
    return name if name not in {*taken, *TAKEN} else f"{field.name}_key"
