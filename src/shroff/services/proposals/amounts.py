"""Amount and currency of a proposed project, by the values and names of a file's columns."""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import compress, permutations

from shroff.events.field_roles import KEYS, is_named
from shroff.language.types import CODES, ORIGINAL_PLACES, UNITS_MAX, places_of
from shroff.services.proposals.numbered_fields import AMOUNT
from shroff.services.proposals.profile import FileColumn
from shroff.services.proposals.roles import SAME, TAKEN, Candidate, Draft, ProposedField, has, joined, slug

TYPES_MAX = 8
FILL_RATES = "fill tables/fx.csv with rates; until then, people review all payments in other currencies"
_EVIDENT = 3.0  # for values that nothing but amounts have
_SIDE = 0.02  # share of the lines that have a side
_TOKEN_DIGITS = 16
_WEI_PLACES = 18
_SIGNS = {"£": "GBP", "€": "EUR", "¥": "JPY", "₹": "INR", "₩": "KRW", "₺": "TRY", "₦": "NGN", "$": "USD"}
_ZEROS = 0.3  # share of zeros, of an amount that most events do not have


def money_of(draft: Draft) -> tuple[ProposedField | None, FileColumn | None]:
    """The field of the event's amount, and the column with its currency where there are several."""
    codes = [column for column in draft.free() if column.codes and column.codes <= CODES]
    code = draft.settled.get("currency") or next((column for column in codes if has(column, "currency")), None)
    if code is not None and code not in codes:
        draft.choose("currency", [])
    columns = draft.free_for("money")
    candidates = [candidate for column in columns if (candidate := _money_candidate(draft, column, code))]
    is_settled = not draft.settled.keys().isdisjoint({"cents", "units"})
    if not is_settled:
        candidates += [*_of_sides(draft, candidates), *_with_fractions(draft, candidates), *_in_token_units(draft)]
    chosen = draft.choose("money", candidates)
    if chosen is None:
        draft.words = next((column for column in draft.free("amount") if column.values and not column.is_number), None)
        return None, None
    found = chosen.field
    best = chosen.columns[0]
    if found.is_composed:
        return found, code if code is not None and len(code.codes) > 1 else None
    several = code if code is not None and len(code.codes) > 1 else None
    draft.smallest = _smallest_units(draft, best, code)
    if is_settled:
        found.guess = ""
    if draft.smallest:
        found.expression = draft.smallest.replace("{}", best.row)
        if code is not None and not is_settled:
            found.other_units = "units"
            found.guess = (
                f"whole numbers beside {code.path[-1]} are smallest units, so {best.most:.0f} is "
                f"{best.most * _unit_of(code.codes):.2f}; --role units={best.name} reads them as they are"
            )
    elif not is_settled and best.is_whole and code is not None and best.most >= 100 and any(map(places_of, code.codes)):
        found.other_units = "cents"
        found.guess = (
            f"all are whole numbers; are they smallest units, so that {best.most:.0f} is "
            f"{best.most * _unit_of(code.codes):.2f}? --role cents={best.name} reads them so"
        )
    elif best.places > max(ORIGINAL_PLACES, 2) and not best.is_float:
        found.expression, found.guess = f"money(text(round(number({best.row}), 2)))", "rounded to 2 places"
    elif best.most * 10 ** (2 if best.is_float else max(best.places, 2)) > UNITS_MAX:
        found.type = found.type.replace("money", "real")
    if draft.also["money"]:
        found.guess = joined(found.guess, f"it could also be {' or '.join(draft.also['money'])}")
    return found, several


def _money_candidate(draft: Draft, column: FileColumn, code: FileColumn | None) -> Candidate | None:
    if column.path == AMOUNT:
        whole = f"integer({column.row})"
        field = ProposedField("amount", "money", column.row, "", column)
        if "units" not in draft.settled:
            field.expression = f"money({whole} * 0.01)" if code is None else _in_units(whole, code)
            field.guess = "the amount is in smallest units"
            field.is_composed = True
            field.other_units = "units"
        return Candidate(_EVIDENT, 0, field, [column])
    name = slug(column.path[-1:])
    is_settled = column is draft.settled.get("money")
    is_amount = has(column, "amount")
    is_money = has(column, "money")
    has_sign = any(sign in text for sign in _SIGNS for text in column.distinct[:300])
    is_key = any(has(column, key) for key in KEYS) and not has(column, "no_key")
    is_code = is_key or has(column, "id") or has(column, "digits") or has(column, "phone")
    is_other = has(column, "no_money") or (is_code and (column.is_whole or column.is_unique))
    if not column.is_number or column.is_percent or ((is_other and not is_amount) and not (has_sign or is_settled)):
        return None
    is_unnamed = not (is_amount or is_money or has_sign or is_settled)
    if is_unnamed and (column.is_whole or column.places > 3 or len(column.distinct) < 2):
        return None
    filled = len(column.values) / len(column.texts)
    is_seldom = sum(not text.strip("0.,-+ ") for text in column.values) > _ZEROS * len(column.values)
    is_constant = len(column.distinct) < 3 < len(column.values)
    names = 3.0 * is_amount + 1.5 * is_money - 3 * is_unnamed
    names += re.fullmatch("amount|total|price|value", name) is not None
    names += 2.0 * (re.search("(^|_)total(_|$)", name) is not None)
    names -= 3 * (has(column, "afterwards") or has(column, "known")) + 2 * has(column, "not_amount")
    names += code is not None and code.path[:-1] == column.path[:-1] and len(column.path) > 1
    values = 2.0 * has_sign - 3 * (1 - filled) - 2 * is_seldom - 2 * is_constant
    values += 0.5 * (not column.is_whole and column.places <= 2)
    values += 0.5 * (code is not None and _are_together(column, code))
    shown = "amount" if name.startswith(("column", "c_")) or name in TAKEN else name
    type_ = "money" if column.is_full else "money?"
    guess = "" if is_amount or is_money else "the amount"
    expression = "" if column.path == (shown,) else column.row
    return Candidate(values, names, ProposedField(shown, type_, expression, guess, column), [column])


def _of_sides(draft: Draft, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    """Yield pairs of amount columns, such as debit and credit: nearly each line has exactly one of them."""
    for one, two in permutations(candidates, 2):
        column, other = one.columns[0], two.columns[0]
        if (column.is_full and not column.zeros) or one.names < two.names:
            continue
        has_one = [bool(text) and text not in column.zeros for text in column.texts]
        has_two = [bool(text) and text not in other.zeros for text in other.texts]
        count = sum(map(operator.ne, has_one, has_two))
        if min(sum(has_one), sum(has_two)) < _SIDE * len(has_one) or count < SAME * len(has_one):
            continue
        # Only columns and functions read the decimal mark of the file, and groups of thousands.
        first, second = (f"money({row})" if draft.profile.mark else row for row in (column.row, other.row))
        if column.zeros:
            first = f"{first} when {column.row} not in {sorted(column.zeros)}"
        type_ = "money" if count == len(has_one) else "money?"
        guess = f"the amount is of {column.path[-1]} or {other.path[-1]}, of which each line has one"
        if all(digits >= 0 for side in (column, other) for digits, _ in side.numbers):
            guess += "; both are without sign"
        name = "amount" if "amount" not in (one.field.name, two.field.name) else "amount_of_side"
        field = ProposedField(name, type_, f"{first} else {second}", guess, column, is_composed=True)
        yield Candidate(_EVIDENT, one.names, field, [column])


def _with_fractions(draft: Draft, candidates: Sequence[Candidate]) -> Iterator[Candidate]:
    for one in candidates:
        column = one.columns[0]
        words = set(slug(column.path[-1:]).split("_"))
        for other in draft.free_for("money", "hundredths") if column.is_whole and column.is_full else ():
            own = {word for word in slug(other.path[-1:]).split("_") if not is_named(word, "hundredths")}
            if has(other, "doubtful_hundredths") and not any(is_named(word, "amount") for word in own):
                continue  # minor may say that the customer is under age
            is_part = other.is_whole or all(re.fullmatch(r"\d\d", text) for text in other.distinct)  # such as 05
            is_part = (
                is_part and other.is_full and 1 < other.most < 100 and not any("-" in text for text in other.distinct)
            )
            if other is column or not is_part or not own <= words:
                continue
            parts = f"integer({column.row})", f"integer({other.row}) * 0.01"
            read = f"money({' + '.join(parts)})"
            if any("-" in text for text in column.distinct):
                read = f"money({' - '.join(parts)}) when left(trim({column.row}), 1) == '-' else {read}"
            guess = f"the amount is of {column.path[-1]}, with hundredths in {other.path[-1]}; "
            guess += f"--role units={column.name} reads it without them"
            field = ProposedField(one.field.name, "money", read, guess, column, is_composed=True, other_units="units")
            yield Candidate(_EVIDENT, one.names + 1, field, [column, other])


def _in_token_units(draft: Draft) -> Iterator[Candidate]:
    """Yield amounts in the smallest units of a token, such as wei: whole numbers of several lengths, some of 16
    digits.
    """
    for column in draft.free_for("money", "money"):
        lengths = set(map(len, column.distinct))
        if max(lengths, default=0) < _TOKEN_DIGITS or len(lengths) < 2 or not all(map(str.isdecimal, column.distinct)):
            continue
        named = next((each for each in draft.free() if slug(each.path[-1:]) == "token_decimal"), None)
        places = named.row if named is not None else repr(str(_WEI_PLACES))
        field = ProposedField(slug(column.path[-1:]), "number(9)" if column.is_full else "number(9)?")
        field.expression, field.column = f"round(number(join({column.row}, 'e-', {places})), 9)", column
        field.guess = f"the amount is in smallest units of a token, of which 10^{_WEI_PLACES} or tokenDecimal make one"
        field.is_composed = True
        field.other_units = "units"
        yield Candidate(_EVIDENT, 1.5, field, [column])


def _are_together(one: FileColumn, two: FileColumn) -> bool:
    same = sum(bool(first) == bool(second) for first, second in zip(one.texts, two.texts, strict=True))
    return same >= SAME * len(one.texts)


def _smallest_units(draft: Draft, amount: FileColumn, code: FileColumn | None) -> str:
    """Return how to read amounts that JSON has as whole numbers of cents, with `{}` for the column; else ''.

    Signs are numbers that are no texts, currency codes in small letters, or the name `value`. If no currency of the
    file has decimals, nothing is to be converted.
    """
    is_cents = "cents" in draft.settled
    if is_cents and amount.places > 0:
        draft.choose("cents", [])
    whole = "integer({})" if amount.is_whole else "integer(number({}))"  # such as 1250.0
    if is_cents and code is None:
        return f"money({whole} * 0.01)"
    if not (amount.is_whole or is_cents) or code is None or "units" in draft.settled:
        return ""
    is_json = draft.profile.format == "jsonl"
    is_told = is_json and (amount.has_other or code.codes.isdisjoint(code.distinct) or amount.path[-1] == "value")
    if not (is_told or is_cents) or not any(map(places_of, code.codes)):
        return ""
    return _in_units(whole, code)


def _in_units(whole: str, code: FileColumn) -> str:
    usual = _unit_of(code.codes)
    parts = [
        f"money({whole} * {10.0**-places:.{places}f}) when upper({code.row}) in {sorted(others)}"
        for places in range(ORIGINAL_PLACES + 1)
        if 10.0**-places != usual and (others := [currency for currency in code.codes if places_of(currency) == places])
    ]
    return " else ".join([*parts, f"money({whole} * {usual:g})"])


def _unit_of(codes: Iterable[str]) -> float:
    return 10.0 ** -min(map(places_of, codes), key=lambda places: abs(places - 2))  # as most currencies have


def types_of(draft: Draft, amount: ProposedField | None) -> tuple[FileColumn | None, set[str]]:
    """The column that names the type of each line, if lines of some types never have an amount; those types."""
    if amount is not None and amount.column is not None:
        amounts = amount.column.texts
        for column in draft.free_for("type", "type"):
            others = {kind for kind, text in zip(column.texts, amounts, strict=True) if not text}
            is_clear = column.is_full and others.isdisjoint(compress(column.texts, amounts))
            are_names = len({slug([kind]) for kind in others}) == len(others)
            if others and is_clear and are_names and len(column.distinct) <= TYPES_MAX:
                draft.used.append(column)
                draft.roles[id(column)] = "type"
                amount.type = amount.type.replace("?", "", 1)
                return column, others
    return None, set()


def choose_currency(draft: Draft, amount: ProposedField | None, several: FileColumn | None, role: str) -> str:
    """Set the draft's currency: the code that the user named as the role, else what the file says.

    Returns: A comment on the choice and on what is left to do; may be empty.
    """
    draft.currencies = several
    if role in CODES:
        draft.currency = role
        return "" if several is None else FILL_RATES
    draft.currency, note = _currency_of(draft, amount, several)
    return note


def _currency_of(draft: Draft, amount: ProposedField | None, several: FileColumn | None) -> tuple[str, str]:
    column = amount.column if amount else None
    if several is not None:
        codes = [code for text in several.values if (code := text.strip().upper()) in several.codes]
        most = max(dict.fromkeys(codes), key=codes.count)
        return most, f"{most} is the most frequent of {len(set(codes))} currencies; {FILL_RATES}"
    named = (found for found in draft.profile.columns if has(found, "currency") and found.codes)
    coded = (found for found in named if found.codes <= CODES and (column is None or _are_together(found, column)))
    alone = draft.settled.get("currency") or next(coded, None)
    if alone is not None:
        return next(iter(alone.codes)), ""
    if column is not None:
        words = [part.upper() for part in slug(column.path).split("_")]
        texts = (column.name, *column.distinct[:300])
        signs = [code for sign, code in _SIGNS.items() if any(sign in text for text in texts)]
        if signs == ["JPY"] and column.places > places_of("JPY"):
            signs = ["CNY"]  # which has the same sign
        said = [*signs, *(word for word in words if word in CODES and word not in {"ALL", "TOP", "TRY"})]
        if said:
            return said[0], f"the currency by the sign or name of {column.path[-1]}"
    draft.is_currency_guessed = amount is not None
    return "EUR", "EUR as the currency, since the file names none" if amount else ""
