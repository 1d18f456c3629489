"""Proposal of a project from the profile of a file: the texts of its files, with what was guessed in comments.

What stands in each file is in `templates/`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from datetime import date
from itertools import compress
from typing import NamedTuple

from shroff.errors import UsageError, nearest
from shroff.events.field_roles import KEYS
from shroff.events.keys import SEPARATORS
from shroff.events.mapping import MAPPING_OF
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.types import CODES, NUMBER_PLACES, UNITS_MAX, places_of
from shroff.language.values import is_zone
from shroff.runtime.values import FrozenStruct
from shroff.services.proposals.amounts import choose_currency, money_of, types_of
from shroff.services.proposals.entities import entities_of
from shroff.services.proposals.fallbacks import OPPOSITES
from shroff.services.proposals.later_columns import leave_out_label_copies, leave_out_later
from shroff.services.proposals.profile import FileColumn, FileProfile
from shroff.services.proposals.roles import (
    FIRST_DAY,
    FRAUD,
    GENUINE,
    TAKEN,
    Draft,
    ProposedField,
    has,
    id_of,
    joined,
    label_of,
    label_time_of,
    new_name,
    slug,
    time_of,
)
from shroff.services.proposals.times import TimeReading, time_reading

CHOICES_MAX = 8
_ASKED_MAX = 3  # columns of one question
_NAMES_SHOWN = 20
KINDS_MAX = 50  # different values of a column that says what a line is
_NO_PAYMENT = re.compile(r"refund|revers|charge.?back|dispute|conversion|\bfee\b|void|payout|adjustment", re.IGNORECASE)
_SECOND = {"%d": "day", "%m": "month"}  # what a date's other form begins with
_MOSTLY = 0.9  # of the different values
TEMPLATES = {  # of the files, in the order in which they are written
    "shroff.yaml": "shroff",
    "events.yaml": "events",
    "features.yaml": "features",
    "rules/first.yaml": "rules",
}


class ColumnPlan(NamedTuple):
    column: str
    field: str
    role: str
    type: str
    also: Sequence[str]
    reason: str


class Proposal(NamedTuple):
    files: TextDict
    guesses: list[str]
    columns: list[ColumnPlan]
    questions: list[JsonObject]


class Wishes(FrozenStruct):
    """What the user, or a trial of an earlier proposal, has said of columns.

    Args:
        roles: By role the column's name; for `zone`, `first` and `since` a value; for `currency` a column or a code.
        as_text: Columns whose values no other type takes.
        no_ids: Columns that do not name each event.
        has_label_time: Whether a column may be the time at which verdicts were known.
        lateness: How far behind its newest event a line may be, if the file is not in the order of time.
    """

    roles: Mapping[str, str] = {}
    ignored: frozenset[str] = frozenset()
    as_text: frozenset[str] = frozenset()
    no_ids: frozenset[str] = frozenset()
    may_lack_money: bool = False
    has_label_time: bool = True
    lateness: str = ""
    ahead_off: bool = False
    is_descending: bool = False


def propose(profile: FileProfile, name: str, wishes: Wishes) -> Proposal:
    """Propose a project for a file.

    Args:
        name: Text of the project's name, as it stands in shroff.yaml.

    Raises: UsageError if a wish names no column, zone or day, does not fit the file, or contradicts another wish.
    """
    by_role = _settled(profile, wishes.roles)
    draft = Draft(profile, by_role, no_ids=wishes.no_ids, first_day=_first_day(wishes.roles))
    for column in [column_named(profile, wished) for wished in sorted(wishes.ignored)]:
        draft.leave_out(column, "ignored")
    label = label_of(draft)
    leave_out_label_copies(draft)
    time = time_of(draft)
    if draft.first_day and not draft.is_counted:
        raise UsageError(f"--role since={draft.first_day}: the times of {time.name} name their days themselves.")
    label_time = label_time_of(draft) if wishes.has_label_time else None
    id_ = id_of(draft)
    amount, currency = money_of(draft)
    type_column, other_types = types_of(draft, amount)
    if amount is not None and wishes.may_lack_money and "?" not in amount.type:
        amount.type += "?"
    currency_note = choose_currency(draft, amount, currency, wishes.roles.get("currency", ""))
    fields = [id_, time, *([amount] if amount else [])]
    names = {field.name for field in fields}
    leave_out_later(draft)
    rest = [_field(draft, column, names, wishes.as_text) for column in draft.free()]
    fields += [field for field in rest if field is not None]
    code_field = next((field for field in fields if field.column is currency), None) if currency is not None else None
    if code_field is not None and currency is not None and amount is not None:
        _read_codes(code_field, currency, amount)
    types = {} if type_column is None else {value: _fields_of(type_column, [value], fields) for value in other_types}
    if type_column is not None:  # the fields of lines with an amount
        fields = _fields_of(type_column, other_types.symmetric_difference(type_column.distinct), fields)
    entities = entities_of(draft, fields, amount)
    values: JsonObject = {
        "draft": draft,
        "zone": wishes.roles.get("zone"),
        "name": name,
        "money": _money(draft, amount),
        "money_told": currency_note,
        "lateness": wishes.lateness,
        "ahead_off": wishes.ahead_off,
        "is_descending": wishes.is_descending,
        "form": MAPPING_OF[draft.profile.format],
        "separator": next((repr(sign) for sign, text in SEPARATORS.items() if text == profile.layout.separator), ""),
        "fields": fields,
        "id": id_,
        "time": time,
        "amount": amount,
        "code": code_field,
        "label": label,
        "verdict": "" if label is None else _verdict(label),
        "known_at": _known_at(time, label_time),
        "known_guess": _known_guess(label_time),
        "label_fields": _label_fields(draft, amount),
        "entities": entities,
        "kind": type_column,
        "types": types,
        "taken": TAKEN,
    }
    files = {path: _rendered(template, values) for path, template in TEMPLATES.items()}
    if code_field is not None:
        files["tables/fx.csv"] = "currency,valid_from,rate\n"
    code_column = draft.settled.get("currency") or currency
    plans = _plans(draft, fields, code_column, entities)
    return Proposal(files, draft.guesses, plans, _questions(draft, plans, amount, label_time, wishes.roles.get("zone")))


def _settled(profile: FileProfile, roles: Mapping[str, str]) -> dict[str, FileColumn]:
    zone = roles.get("zone", "")
    if zone and not is_zone(zone):
        raise UsageError(f"--role zone={zone}: no time zone has this name. Write one such as Europe/Berlin.")
    no_columns = {"zone", "first", "since", *(["currency"] if roles.get("currency") in CODES else [])}
    named = [role for role in roles if role not in no_columns]
    by_role = {role: column_named(profile, roles[role]) for role in named}
    if {"cents", "units"} <= by_role.keys():
        raise UsageError("--role cents and --role units are two readings of one amount. Name one of them.")
    for role in ("cents", "units"):
        column = by_role.get(role)
        if column is not None and by_role.setdefault("money", column) is not column:
            raise UsageError(f"--role {role}={column.name}: {by_role['money'].name} is the amount. Name one column.")
    return by_role


def _first_day(roles: Mapping[str, str]) -> str:
    text = roles.get("since", "")
    with suppress(ValueError):
        return f"{date.fromisoformat(text)}" if text else ""
    raise UsageError(f"--role since={text}: write a day such as 2026-03-01.")


def _read_codes(code: ProposedField, currency: FileColumn, amount: ProposedField) -> None:
    code.type = "text" if currency.is_full else "text?"
    is_upper = currency.codes.issuperset(currency.distinct)
    if not code.expression and not is_upper:
        code.expression = f"upper({currency.row})"
    amount.type = f"{amount.type} in {code.name}"


def column_named(profile: FileProfile, wished: str) -> FileColumn:
    """The column of a name, as the file writes it or as its field is called.

    Raises: UsageError if the file has none or several.
    """
    for name_of in (_own_name, _field_name, _last_name):
        found = [column for column in profile.columns if name_of(column) == wished]
        if len(found) == 1:
            return found[0]
    names = [column.name for column in profile.columns]
    hint = nearest(wished, names) or f"Its columns are {', '.join(names[:_NAMES_SHOWN])}."
    raise UsageError(f"The file has no column {wished!r}. {hint}")


def _own_name(column: FileColumn) -> str:
    return column.number or column.name


def _field_name(column: FileColumn) -> str:
    return slug(column.path)


def _last_name(column: FileColumn) -> str:
    return slug(column.path[-1:])


def _known_at(time: ProposedField, label_time: TimeReading | None) -> str:
    happened = time.expression or f"row.{time.name}"
    happened = happened if "(" in happened else f"time({happened})"
    if label_time is None:
        return f"{happened} + 7d"
    known = label_time.expression or f"time({label_time.column.row})"
    known = f"{known} + 1d" if label_time.fineness == 1 else known  # a day begins before the events of it
    return known if label_time.column.is_full else f"({known}) else {happened} + 7d"


def _known_guess(label_time: TimeReading | None) -> str:
    if label_time is None:
        return "verdicts are known a week after the event"
    return joined(f"verdicts are known at {label_time.column.name}", label_time.guess)


def _questions(
    draft: Draft,
    plans: Sequence[ColumnPlan],
    amount: ProposedField | None,
    label_time: TimeReading | None,
    zone: str | None,
) -> list[JsonObject]:
    questions: list[JsonObject] = []
    for plan in plans:
        if plan.role in draft.close and plan.also:
            choices = [plan.column, *plan.also]
            reason = f"{' or '.join(choices[:2])}? --role {plan.role}={choices[1]} takes the other"
            questions.append({"role": plan.role, "choices": choices, "why": reason})
    for column in draft.later_by_name:
        reason = f"is {column.name} known only after the event? Its name says so, its values do not; "
        reason += f"--ignore {column.name}"
        choices = [column.name, f"ignored={column.name}"]
        questions.append({"role": "feature", "choices": choices, "why": f"{reason} leaves it out"})
    whole = [plan.column for plan in plans if plan.type == "integer?" and not plan.role]
    if amount is None and whole:
        reason = f"is {whole[0]} an amount? Nothing in the file says so; --role money={whole[0]} takes it as one"
        choices = ["no amount", *(f"money={name}" for name in whole[:_ASKED_MAX])]
        questions.append({"role": "money", "choices": choices, "why": reason})
    if draft.words is not None:
        reason = (
            f"{draft.words.name} has no numbers, such as {draft.words.example}; no mapping reads words: write digits"
        )
        questions.append({"role": "money", "choices": [draft.words.name], "why": reason})
    readings = [reading for reading in (draft.time, label_time, *draft.dates) if reading is not None]
    date = next((reading for reading in readings if reading.other_form[:2] in _SECOND), None)
    if date is not None:
        second = _SECOND[date.other_form[:2]]
        first = "month" if second == "day" else "day"
        reason = (
            f"day or month first? {date.column.name} such as {date.column.example} is read with the {first} first; "
            f"--role first={second} reads the {second} first"
        )
        questions.append({"role": "time", "choices": [f"first={first}", f"first={second}"], "why": reason})
    if draft.is_counted and not draft.first_day:
        reason = f"on which day does the file begin? --role since={FIRST_DAY} names it"
        questions.append({"role": "time", "choices": [f"since={FIRST_DAY}"], "why": reason})
    if draft.zone_guessed and not zone:
        reason = "in which time zone are the times written? --role zone=Europe/Berlin names it"
        questions.append({"role": "zone", "choices": ["zone=UTC"], "why": reason})
    if draft.is_currency_guessed:
        reason = "in which currency are the amounts? --role currency=USD names it"
        questions.append({"role": "currency", "choices": [f"currency={draft.currency}"], "why": reason})
    if amount is not None and amount.column is not None and amount.other_units:
        name = amount.column.name
        units = "units" if amount.other_units == "cents" else "cents"
        choices = [name if amount.is_composed else f"{units}={name}", f"{amount.other_units}={name}"]
        questions.append({"role": "money", "choices": choices, "why": amount.guess})
    return questions


def _plans(
    draft: Draft,
    fields: Sequence[ProposedField],
    currency: FileColumn | None,
    entities: Mapping[str, tuple[str, ProposedField | None]],
) -> list[ColumnPlan]:
    keys = [field.column for _, field in entities.values() if field is not None]
    roles = {id(column): "entity" for column in keys if column is not None}
    if currency is not None:
        roles[id(currency)] = "currency"
    roles |= draft.roles
    by_column = {id(field.column): field for field in fields if field.column is not None}
    reasons = {id(column): reason for column, reason in draft.left_out}
    plans: list[ColumnPlan] = []
    for column in draft.profile.columns:
        role = roles.get(id(column), "")
        field = by_column.get(id(column))
        reason = reasons.get(id(column), "" if column.values else "no line has it")
        if field is None:
            if role in {"time", "money"}:
                reason = "read together with another column"
            plans.append(ColumnPlan(column.name, "", role, "", (), reason))
        else:
            also = () if role == "entity" and column is not draft.leading else draft.also.get(role, ())
            told = joined(
                field.guess, "counts and sums are kept for each of its values" if role == "entity" and also else ""
            )
            plans.append(ColumnPlan(column.name, field.name, role, field.type, also, told))
    return plans


def _money(draft: Draft, amount: ProposedField | None) -> str:
    if draft.currencies is not None:
        return f"{{ currency: {draft.currency}, rates: fx }}"
    if amount is None or amount.column is None or amount.column.is_float or amount.expression.startswith("money("):
        return draft.currency
    places = amount.column.places
    return (
        f"{{ currency: {draft.currency}, places: {places} }}" if places > places_of(draft.currency) else draft.currency
    )


def _fields_of(kind: FileColumn, values: Collection[str], fields: Sequence[ProposedField]) -> list[ProposedField]:
    lines = [text in values for text in kind.texts]
    own = (field for field in fields[2:] if field.column is None or any(compress(field.column.texts, lines)))
    return [*fields[:2], *own]


def _rendered(template: str, shown: JsonMapping) -> str:
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
    is_padded = any(text != text.strip() for text in column.distinct)
    text = f"trim({column.row})" if is_padded else column.row
    return f"upper({text}) in [{', '.join(map(repr, sorted(values)))}]"


def _label_fields(draft: Draft, amount: ProposedField | None) -> TextDict:
    columns = {next(filter(None, column.path)) for column in draft.profile.columns}  # also objects
    expressions = {}
    if "source" in columns:
        expressions["source"] = "'import'"
    if "reason" in columns:
        expressions["reason"] = "missing"
    is_plain_amount = amount is not None and amount.name == "amount" and not amount.expression
    if "amount" in columns and not (is_plain_amount and draft.currencies is None):
        expressions["amount"] = "missing"
    return expressions


def _yaml(text: str) -> str:
    is_plain = re.fullmatch(r"[A-Za-z][^\n\"\\#]*", text) and ": " not in text and not text.endswith(":")
    return text if is_plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _field(draft: Draft, column: FileColumn, names: set[str], as_text: Collection[str]) -> ProposedField | None:
    if not column.values:
        return None
    name = new_name(column.path, names)
    names.add(name)
    found = ProposedField(
        name, "text?", "" if column.path == (name,) and not column.has_other else column.row, "", column
    )
    if column.name in as_text:
        found.guess = "text, since some lines have values of no other kind"
        return found
    is_small = len(column.distinct) <= CHOICES_MAX < len(column.values)
    is_key = any(has(column, key) for key in KEYS) and not has(column, "no_key") and not column.places
    is_code = re.search("(^|_)(id|uuid|guid|ref|reference|no|nr|number)$", name) is not None and not column.places
    is_money = (has(column, "money") or has(column, "amount")) and not has(column, "no_money")
    is_long = all(re.fullmatch(r"\d{12,19}|(\d{4}[ -]){3}\d{4}", text) for text in column.distinct)
    if (is_long and has(column, "card")) or "iban" in name:
        found.type, found.guess = "text? hashed", "a card or account number, kept so that only its end can be read"
    elif column.is_phone or (has(column, "phone") and not column.is_boolean):
        found.type, found.guess = "text? personal", "a phone number, kept beside the log, where it can be erased"
    elif _is_personal(column, name, is_key=is_key):
        found.type, found.guess = "text? personal", "kept beside the log, where it can be erased"
    elif column.is_duration:
        found.type = "duration?"
    elif column.is_boolean:
        found.type = "boolean?"
        if not {"true", "false"}.issuperset(column.distinct):
            found.expression = f"lower({column.row})"
    elif reading := time_reading(column, slug(column.path[-1:])):
        found.type, found.expression = "time?", reading.expression or found.expression
        if reading.other_form:
            found.guess = reading.guess
            draft.dates.append(reading)
    elif column.is_percent and column.is_number:
        found.type, found.expression = "number?", f"number(replace({column.row}, '%', ''))"
    elif column.is_number and not (is_key or is_code or (has(column, "digits") and not has(column, "no_money"))):
        places = 2 if column.is_float and is_money else column.places
        if column.most * 10 ** max(places, 2) > UNITS_MAX or places > NUMBER_PLACES:
            found.type = "text?" if column.is_whole else "real?"  # so long a whole number is a code
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


def _is_personal(column: FileColumn, name: str, *, is_key: bool) -> bool:
    if column.is_number:
        return False
    if re.search("birth|dob", name) or (has(column, "personal") and not (is_key or column.is_time or column.forms)):
        return True
    is_name = re.search("name$|holder$", name) is not None and not has(column, "merchant")
    full_names = sum(re.fullmatch(r"[^\d@/][^@/]* [^@/]+", text) is not None for text in column.distinct)
    return is_name and len(column.distinct) > CHOICES_MAX and full_names > _MOSTLY * len(column.distinct)
