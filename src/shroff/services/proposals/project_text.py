"""Proposal of a project from the profile of a file: the texts of its files, with what was guessed in comments.

What stands in each file is in `templates/`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection, Sequence
from itertools import compress
from pathlib import Path
from typing import NamedTuple

from shroff.events.field_roles import KEYS
from shroff.events.keys import SEPARATORS
from shroff.events.mapping import MAPPING_OF
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.types import NUMBER_PLACES, UNITS_MAX, places_of
from shroff.runtime.texts import many
from shroff.services.proposals.fallbacks import OPPOSITES
from shroff.services.proposals.profile import FileColumn, profile_of
from shroff.services.proposals.roles import (
    FRAUD,
    GENUINE,
    TAKEN,
    TYPE,
    Draft,
    ProposedField,
    currency_of,
    has,
    id_of,
    label_of,
    money_of,
    new_name,
    slug,
    time_of,
    types_of,
)

ENTITIES_MAX = 4
CHOICES_MAX = 8
KINDS_MAX = 50  # different values of a column that says what a line is
_VALUES = re.compile(r"""'[^']*'|"[^"]*"|\S*\d\S*""")  # in the words of a refusal
_NO_PAYMENT = re.compile(r"refund|revers|charge.?back|dispute|conversion|\bfee\b|void|payout|adjustment", re.IGNORECASE)
_SELDOM = 0.9  # different values by all, of a column whose values return
TEMPLATES = {  # of the files, in the order in which they are written
    "shroff.yaml": "shroff",
    "events.yaml": "events",
    "features.yaml": "features",
    "rules/first.yaml": "rules",
}


class Proposal(NamedTuple):
    """The files of a project by their names, and what in them was guessed."""

    files: TextDict
    guesses: list[str]


def propose(
    file: Path, name: str, lateness: str = "", *, ahead_off: bool = False, is_descending: bool = False
) -> Proposal:
    """Propose a project by the first 20,000 lines of a file.

    Args:
        name: Text of the project's name, as it stands in shroff.yaml.
        lateness: Where the file is not in the order of time, how far behind its newest event a line may be.
        ahead_off: Whether its events lie in the future.
        is_descending: Whether its newest line stands first.

    Raises: UsageError where the file cannot be read or has no lines.
    """
    draft = Draft(profile_of(file))
    label = label_of(draft)
    time = time_of(draft)
    id_ = id_of(draft)
    amount, currency = money_of(draft)
    kind, others = types_of(draft, amount)
    draft.currencies = currency
    draft.currency, told = currency_of(draft, amount, currency)
    fields = [id_, time, *([amount] if amount else [])]
    names = {field.name for field in fields}
    rest = [_field(draft, column, names) for column in draft.free()]
    fields += [field for field in rest if field is not None]
    code = next((field for field in fields if field.column is currency), None) if currency is not None else None
    if code is not None and currency is not None:
        code.type = "text" if currency.is_full else "text?"
        code.expression = code.expression or (
            "" if currency.codes.issuperset(currency.distinct) else f"upper({currency.row})"
        )
        assert amount is not None
        amount.type = f"{amount.type} in {code.name}"
    types = {} if kind is None else {value: _fields_of(kind, [value], fields) for value in others}
    if kind is not None:
        fields = _fields_of(kind, others.symmetric_difference(kind.distinct), fields)
    entities = _entities(draft, fields, amount)
    separator = draft.profile.layout.separator
    shown: JsonObject = {
        "draft": draft,
        "name": name,
        "money": _money(draft, amount),
        "money_told": told,
        "lateness": lateness,
        "ahead_off": ahead_off,
        "is_descending": is_descending,
        "form": MAPPING_OF[draft.profile.format],
        "separator": next((repr(sign) for sign, text in SEPARATORS.items() if text == separator), ""),
        "fields": fields,
        "id": id_,
        "time": time,
        "amount": amount,
        "code": code,
        "label": label,
        "verdict": "" if label is None else _verdict(label),
        "label_fields": _label_fields(draft, amount),
        "entities": entities,
        "kind": kind,
        "types": types,
        "taken": TAKEN,
    }
    files = {path: _rendered(template, shown) for path, template in TEMPLATES.items()}
    if code is not None:
        files["tables/fx.csv"] = "currency,valid_from,rate\n"
    return Proposal(files, draft.guesses)


def refusal_guess(reasons: Sequence[str], lines: int) -> str:
    """What is guessed of lines that would be refused for these reasons, among so many lines."""
    ((kind, count),) = Counter(_VALUES.sub("", reason) for reason in reasons).most_common(1)
    example = next(reason for reason in reasons if _VALUES.sub("", reason) == kind)
    return (
        f"{many(len(reasons), 'line')} of the first {lines:,} would be refused, {count:,} of them with "
        f"the most frequent reason: {example}"
    )


def _money(draft: Draft, amount: ProposedField | None) -> str:
    """The setting `money` of shroff.yaml."""
    if draft.currencies is not None:
        return f"{{ currency: {draft.currency}, rates: fx }}"
    if amount is None or amount.column is None or amount.column.is_float or amount.expression.startswith("money("):
        return draft.currency
    places = amount.column.places
    return (
        f"{{ currency: {draft.currency}, places: {places} }}" if places > places_of(draft.currency) else draft.currency
    )


def _fields_of(kind: FileColumn, values: Collection[str], fields: Sequence[ProposedField]) -> list[ProposedField]:
    """Id and time, and the fields that have values in the lines where a column has some values."""
    lines = [text in values for text in kind.texts]
    own = (field for field in fields[2:] if field.column is None or any(compress(field.column.texts, lines)))
    return [*fields[:2], *own]


def _rendered(template: str, shown: JsonMapping) -> str:
    """A file of the project, by its template."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(  # noqa: S701 - of YAML: each text is quoted as it needs it
        loader=PackageLoader(__package__),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters |= {"yaml": _yaml, "json": json.dumps, "slug": slug}
    made.filters["single_quoted"] = lambda text: repr(text).replace("\\\\", "\\")
    return made.get_template(f"{template}.yaml.jinja").render(shown)


def _verdict(label: FileColumn) -> str:
    """The expression of a label's verdict."""
    values = {text.strip().upper() for text in label.distinct}
    fraud = values.intersection(map(str.upper, FRAUD))
    genuine = values.intersection(map(str.upper, GENUINE))
    fraud = fraud or {OPPOSITES.get(value, "1") for value in genuine}
    genuine = genuine or {OPPOSITES.get(value, "0") for value in fraud}
    parts = [f"'fraud' when {_is_one_of(label, fraud)}", f"'genuine' when {_is_one_of(label, genuine)}"]
    if not label.is_full:
        parts.append(f"'unclear' when {label.row} is missing")
    return " else ".join(parts)


def _is_one_of(column: FileColumn, values: Collection[str]) -> str:
    return f"upper({column.row}) in [{', '.join(map(repr, sorted(values)))}]"


def _label_fields(draft: Draft, amount: ProposedField | None) -> TextDict:
    """Expressions for fields of a label that would otherwise take a column of the payment with the same name."""
    columns = {column.path for column in draft.profile.columns}
    expressions = {}
    if ("source",) in columns:
        expressions["source"] = "'import'"
    if ("reason",) in columns:
        expressions["reason"] = "missing"
    is_plain_amount = amount is not None and amount.name == "amount" and not amount.expression
    if ("amount",) in columns and not (is_plain_amount and draft.currencies is None):
        expressions["amount"] = "missing"
    return expressions


def _yaml(text: str) -> str:
    """A text as it may stand in a mapping: in quotation marks where it could be read otherwise."""
    is_plain = re.fullmatch(r"[A-Za-z][^\n\"\\#]*", text) and ": " not in text and not text.endswith(":")
    return text if is_plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _field(draft: Draft, column: FileColumn, names: set[str]) -> ProposedField | None:
    """The field of any other column; None where nothing can be said of it."""
    if not column.values:
        return None
    name = new_name(column.path, names)
    names.add(name)
    found = ProposedField(
        name, "text?", "" if column.path == (name,) and not column.has_other else column.row, "", column
    )
    is_small = len(column.distinct) <= CHOICES_MAX < len(column.values)
    is_key = any(has(column, key) for key in KEYS) and not has(column, "no_key")
    is_money = (has(column, "money") or has(column, "amount")) and not has(column, "no_money")
    is_long = all(re.fullmatch(r"\d{12,19}|(\d{4}[ -]){3}\d{4}", text) for text in column.distinct)
    if (is_long and has(column, "card")) or "iban" in name:
        found.type, found.guess = "text? hashed", "card or account numbers are kept as keyed hashes"
    elif has(column, "personal") and not column.is_number and not is_key:
        found.type, found.guess = "text? personal", "kept beside the log, where it can be erased"
    elif column.is_duration:
        found.type = "duration?"
    elif column.is_boolean:
        found.type = "boolean?"
        if not {"true", "false"}.issuperset(column.distinct):
            found.expression = f"lower({column.row})"
    elif column.is_time:
        found.type = "time?"
    elif column.is_number and not is_key and not has(column, "digits"):
        places = 2 if column.is_float and is_money else column.places
        if column.most * 10 ** max(places, 2) > UNITS_MAX or places > NUMBER_PLACES:
            found.type = "real?"
        elif is_money and places <= 2 and draft.currencies is None:
            found.type = "money?"
            if draft.smallest and column.is_whole:
                found.expression, found.guess = (
                    draft.smallest.replace("{}", column.row),
                    "smallest units, as the amount",
                )
        else:
            found.type = "integer?" if column.is_whole else "number?"
    elif is_small and all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) for text in column.distinct):
        found.type = f"choice({', '.join(column.distinct)}, ...)?"
    others = [text for text in column.distinct if has(column, "type") and _NO_PAYMENT.search(text)]
    if others and len(others) < len(column.distinct) <= KINDS_MAX:
        found.guess = f"lines of {', '.join(map(repr, others))} are payments as the others; a `when` sets them apart"
    return found


def _entities(
    draft: Draft, fields: Sequence[ProposedField], amount: ProposedField | None
) -> dict[str, tuple[str, ProposedField | None]]:
    """Entities by name: the expression of the key, and its field; the first is the field that features are about."""
    found: dict[str, tuple[str, ProposedField | None]] = {}
    candidates = [
        (field, field.column)
        for field in fields[1:]
        if field.column is not None and field.type.startswith(("text", "choice")) and "personal" not in field.type
    ]
    for word in KEYS:
        for field, column in candidates:
            is_new = all(field is not other for _, other in found.values())
            if has(column, word) and not has(column, "no_key") and is_new and len(found) < ENTITIES_MAX:
                name = re.sub(r"_(id|no|num|number|key|hash|ref)$", "", field.name)
                name = name if name not in {*found, *TAKEN} else f"{field.name}_key"
                found[name] = field.name, field
    if found:
        return found
    repeated = [item for item in candidates if 1 < len(item[1].distinct) < _SELDOM * len(item[1].values)]
    if candidates:
        field, _ = max(repeated, key=lambda item: len(item[1].distinct), default=candidates[0])
        draft.entity_guess = "no column is called card, account or customer; this field may do"
        return {field.name if field.name not in TAKEN else f"{field.name}_key": (field.name, field)}
    draft.entity_guess = "no column names a card, an account or a customer"
    name, key = (
        ("same_amount", f"text({TYPE}.{amount.name})") if amount else ("day", f"text(day({TYPE}.{fields[1].name}))")
    )
    return {name: (key, None)}
