"""Proposal of a project from the profile of a file: the texts of its files, with what was guessed in comments."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from shroff.app.proposals.profile import FileColumn, profile_of
from shroff.app.proposals.roles import (
    FRAUD,
    KEYS,
    TAKEN,
    TYPE,
    Draft,
    ProposedField,
    currency_of,
    has,
    id_of,
    label_of,
    money_of,
    slug,
    time_of,
)
from shroff.events.keys import SEPARATORS
from shroff.events.mapping import MAPPING_OF
from shroff.language.types import NUMBER_PLACES, UNITS_MAX, places_of

ENTITIES_MAX: Final = 4
CHOICES_MAX: Final = 8
_SELDOM: Final = 0.9  # different values by all, of a column whose values return
_LATE: Final = "lines are not in the order of time; 'shroff ingest --order time' sorts them, and 1d is enough"


class Proposal(NamedTuple):
    """The files of a project by their names, and what in them was guessed."""

    files: dict[str, str]
    guesses: list[str]


def propose(file: Path, name: str, lateness: str = "", *, ahead_off: bool = False) -> Proposal:
    """Propose a project by the first 20,000 lines of a file.

    Args:
        name: Text of the project's name, as it stands in shroff.yaml.
        lateness: Where the file is not in the order of time, how far behind its newest event a line may be.
        ahead_off: Whether its events lie in the future.

    Raises: UsageError where the file cannot be read or has no lines.
    """
    draft = Draft(profile_of(file))
    label = label_of(draft)
    time = time_of(draft)
    id_ = id_of(draft)
    amount, currency = money_of(draft)
    draft.currencies = currency
    draft.currency, told = currency_of(draft, amount, currency)
    fields = [id_, time, *([amount] if amount else [])]
    names = {field.name for field in fields}
    rest = [_field(draft, column, names) for column in draft.free()]
    fields += [field for field in rest if field is not None]
    if currency is not None:
        code = next(field for field in fields if field.column is currency)
        code.type = "text" if currency.is_full else "text?"
        code.expression = code.expression or (
            "" if currency.codes.issuperset(currency.distinct) else f"upper({currency.row})"
        )
        assert amount is not None
        amount.type = f"{amount.type} in {code.name}"
    entities = _entities(draft, fields, amount)
    places = amount.column.places if amount and amount.column and not amount.expression.startswith("money(") else 0
    money = draft.currency
    if draft.currencies is not None:
        money = f"{{ currency: {draft.currency}, rates: fx }}"
    elif amount and amount.column and not amount.column.is_float and places > places_of(draft.currency):
        money = f"{{ currency: {draft.currency}, places: {places} }}"
    settings = ["shroff: 1", f"name: {name}", f"money: {money}" + (draft.guess(told) if told else "")]
    if lateness:
        settings.append(f"lateness: {lateness}" + draft.guess(_LATE))
    if ahead_off:
        settings.append("ahead: off" + draft.guess("the events lie in the future, as those of a simulation"))
    files = {
        "shroff.yaml": "\n".join(settings) + "\n",
        "events.yaml": _events(draft, fields, label, entities, currency),
        **_signals(draft, entities, time, amount, fields),
    }
    if currency is not None:
        files["tables/fx.csv"] = "currency,valid_from,rate\n"
    return Proposal(files, draft.guesses)


def _yaml(text: str) -> str:
    """A text as it may stand in a mapping: in quotation marks where it could be read otherwise."""
    is_plain = re.fullmatch(r"[A-Za-z][^\n\"\\#]*", text) and ": " not in text and not text.endswith(":")
    return text if is_plain else json.dumps(text, ensure_ascii=not text.isprintable())


def _field(draft: Draft, column: FileColumn, names: set[str]) -> ProposedField | None:
    """The field of any other column; None where nothing can be said of it."""
    name = slug(column.path[-1:])
    if name in names or name in TAKEN:
        name = slug(column.path) if len(column.path) > 1 and slug(column.path) not in names else f"{name}_value"
    if not column.values or name in names:
        return None
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
    elif column.is_boolean:
        found.type = "boolean?"
        if not {"true", "false"}.issuperset(column.distinct):
            found.expression = f"lower({column.row})"
    elif column.is_time:
        found.type = "time?"
    elif column.is_number and not is_key:
        places = 2 if column.is_float and is_money else column.places
        if column.most * 10 ** max(places, 2) > UNITS_MAX or places > NUMBER_PLACES:
            found.type = "real?"
        elif is_money and places <= 2 and draft.currencies is None:
            found.type = "money?"
        else:
            found.type = "integer?" if column.is_whole else "number?"
    elif is_small and all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text) for text in column.distinct):
        found.type = f"choice({', '.join(column.distinct)}, ...)?"
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


def _events(
    draft: Draft,
    fields: Sequence[ProposedField],
    label: FileColumn | None,
    entities: dict[str, tuple[str, ProposedField | None]],
    currency: FileColumn | None,
) -> str:
    profile = draft.profile
    id_, time = fields[0], fields[1]
    form = MAPPING_OF[profile.format]
    layout = _layout(draft)
    lines = [
        *([] if currency is None else ["tables:", "  fx: { currency: text, from: valid_from, rate: number(12) }", ""]),
        f"{TYPE}:",
        f"  id: {id_.name}" + (draft.guess(id_.guess) if id_.guess else ""),
        f"  time: {time.name}" + (draft.guess(time.guess) if time.guess else ""),
        "  decide: true",
        "  fields:  # a question mark: may be missing",
    ]
    for field in fields:
        guess = "" if field is id_ or field is time else field.guess
        lines.append(f"    {field.name}: {field.type}" + (draft.guess(guess) if guess else ""))
    mapped = [f"      {field.name}: {_yaml(field.expression)}" for field in fields if field.expression]
    if mapped or layout:
        lines += ["  from:", f"    {form}:", *layout, *mapped]
    if label is not None:
        words = sorted(label.codes.intersection(map(str.upper, FRAUD))) or ["1"]
        unclear = "" if label.is_full else f"'unclear' when {label.row} is missing else "
        verdict = f"'fraud' when upper({label.row}) in [{', '.join(map(repr, words))}] else {unclear}'genuine'"
        known = time.expression if "(" in time.expression else f"time({time.expression or f'row.{time.name}'})"
        lines += [
            "",
            "label:" + draft.guess(f"{label.path[-1]} is the verdict; read it by 'shroff ingest FILE --labels FILE'"),
            "  from:",
            f"    {form}:",
            *layout,
            f"      event: {_yaml(id_.expression or f'row.{id_.name}')}",
            f"      verdict: {_yaml(verdict)}",
            f"      known_at: {_yaml(f'{known} + 7d')}" + draft.guess("verdicts are known a week after the event"),
        ]
    told = draft.guess(draft.entity_guess) if draft.entity_guess else ""
    lines += ["", f"entities:{told}"]
    lines += [f"  {name}: {{ {TYPE}: {_yaml(key)} }}" for name, (key, _) in entities.items()]
    return "\n".join(lines) + "\n"


def _layout(draft: Draft) -> list[str]:
    """The settings of a mapping: how a CSV begins, and how its cells are written."""
    layout, found = draft.profile.layout, []
    told = draft.guess(draft.profile.beginning) if draft.profile.beginning else ""
    if layout.skip:
        found.append(f"skip: {layout.skip}{told}")
        told = ""
    if layout.separator is not None:
        found.append(f"separator: {next(sign for sign, text in SEPARATORS.items() if text == layout.separator)!r}")
    if layout.columns is not None:
        found.append(f"columns: [{', '.join(map(json.dumps, layout.columns))}]{told}")
    if layout.missing:
        found.append(
            f"missing: ['', {', '.join(repr(word).replace(chr(92) * 2, chr(92)) for word in sorted(layout.missing))}]"
        )
    if draft.profile.mark:
        found.append(f"decimal: '{draft.profile.mark}'")
    if draft.zone_guessed:
        found.append(
            "zone: UTC" + draft.guess("times have no offset; write the zone of their clock, such as Europe/Berlin")
        )
    return [f"      {line}" for line in found]


def _signals(
    draft: Draft,
    entities: dict[str, tuple[str, ProposedField | None]],
    time: ProposedField,
    amount: ProposedField | None,
    fields: Sequence[ProposedField],
) -> dict[str, str]:
    """The features and the rules."""
    main, *others = entities
    features = [f"payments_1h: count({TYPE}) over 1h including this"]
    if amount is not None and amount.type.startswith("money"):
        features += [
            f"spent_24h: sum({TYPE}.{amount.name}) over 24h including this",
            f"mean_30d: mean({TYPE}.{amount.name}) over 30d",
        ]
    else:
        features += [
            f"payments_24h: count({TYPE}) over 24h including this",
            f"payments_7d: count({TYPE}) over 7d including this",
        ]
    features.append(f"since_last: this.{time.name} - last({TYPE}.{time.name})")
    other = next((entities[name][1] for name in others), None)
    features.append(
        f"payments_30d: count({TYPE}) over 30d including this"
        if other is None
        else f"{other.name}_count_24h: distinct({TYPE}.{other.name}) over 24h including this"
    )
    key = entities[main][1]
    code = next((field for field in fields if draft.currencies is not None and field.column is draft.currencies), None)
    cells = [f"{key.name}: a1"] if key else []
    cells += [f"{code.name}: {draft.currency}"] if code else []
    if amount is not None and key is not None and amount.type.startswith("money"):
        when = (
            f"this.{amount.name} * count({TYPE}) over 30d > 5 * sum({TYPE}.{amount.name}) over 30d "
            f"and count({TYPE}) over 30d including this > 3"
        )
        reason = f"{{this.{amount.name}}} is more than 5 times the mean of 30 days, {{{main}.mean_30d}}"
        name, test = "amount_far_above_mean", "a fourth payment of ten times the others"
        amounts = [100, 100, 100, 1000]
    else:
        when, name, test = f"{main}.payments_1h >= 5", "many_payments", "the fifth within an hour"
        reason = f"{{{main}.payments_1h}} payments in an hour"
        amounts = [100] * 5
    events = []
    for minute, value in enumerate(amounts):
        at = f"{time.name}: 2026-01-05T10:0{minute}:00Z"
        paid = [f"{amount.name}: {value}.00"] if amount else []
        events.append(f"        - {TYPE}: {{ {', '.join([*cells, at, *paid])} }}")
    lines = [
        f"- id: {name}  # an example; 'shroff backtest' shows what another threshold would have done",
        f"  on: {TYPE}",
        f"  by: {main}",
        f"  when: {when}",
        f"  reason: {json.dumps(reason)}",
        "  effect: review",
        "  tests:",
        f"    - name: {test}",
        "      events:",
        *events,
        f"      hits: [{'false, ' * (len(amounts) - 1)}true]",
    ]
    if code is not None and amount is not None:
        lines += [
            "- id: no_rate  # the amount cannot be converted, so no other rule sees it",
            f"  on: {TYPE}",
            f"  by: {main}",
            f"  when: this.{amount.name} is missing and original(this.{amount.name}) is not missing",
            f'  reason: "No rate of {{this.{code.name}}} was valid"',
            "  effect: review",
        ]
    return {
        "features.yaml": "\n  ".join([f"{main}:", *features]) + "\n",
        "rules/first.yaml": "\n".join(lines) + "\n",
    }
