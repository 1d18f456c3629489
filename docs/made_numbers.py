"""The reference page of numbers, made from the table that screens, answers and mails take their names from."""

from __future__ import annotations

from typing import Final

from docs.made_files import MADE, markdown_table
from shroff.operations.numbers import NUMBERS, NamedNumber

INTRODUCTION: Final = (
    "Two places that show the same name show the same value for the same subject (a rule, a value of a field, "
    "everything) and period. A number that is counted otherwise has another name.\n\n"
    "- **Labels**: the active label of an event counts, by the strongest source and then the latest. *By now* is the "
    "time of the newest record or of the clock, whichever is later. Answers with `as_of` use only labels known then.\n"
    "- **Label delay**: `label_delay` in model.yaml, 7 days if there is none. Ages are counted in hours, not in "
    "calendar days: an event is older if its time is at least that long ago.\n"
    "- **Amounts**: *Results* by money shows the amounts of the events that each number counts.\n"
    "- **Rounding**: a value is rounded once, when it is shown. Shares in JSON are not rounded, except the precision "
    "of a rule and its interval: four decimal places.\n"
    "- **Metrics of models** are on the page [Metrics](../explain/metrics.md).\n"
)


def numbers_page() -> str:
    """All numbers with their definitions."""
    heads = ("name", "meaning", "events", "labels", "unit", "key in JSON and CSV")
    rows = [
        (number.name, number.meaning, number.events, number.labels or "none", number.unit, keys_of(number))
        for number in NUMBERS.values()
    ]
    return f"{MADE}# What each number is\n\n{INTRODUCTION}\n{markdown_table(heads, rows)}"


def keys_of(number: NamedNumber) -> str:
    """The keys of a number with the answers that have them, such as `precision` (rules, backtest)."""
    answers: dict[str, list[str]] = {}
    for answer, key in number.keys.items():
        answers.setdefault(key, []).append(answer)
    return "; ".join(f"`{key}` ({', '.join(names)})" for key, names in answers.items()) or "none"
