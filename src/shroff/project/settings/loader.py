"""Parse the settings of shroff.yaml that affect decisions: name, money, and limits on event times."""

from __future__ import annotations

import re

from shroff.config import PROJECT_FILE
from shroff.errors import Problem, nearest
from shroff.events.definitions import Settings
from shroff.language import loader
from shroff.language.types import CODES, places_of
from shroff.language.values import DAY_MS
from shroff.language.yaml.text import Mapping, Node, Scalar
from shroff.project.file_kinds import added_keys, settings_shape
from shroff.project.settings.project_keys import LANGUAGE_VERSION, MONEY, SETTINGS, UNTAKEN

EVER_MS = 1 << 62
NOT_THERE_YET = frozenset(key.name for key in SETTINGS.keys if key.shape is None)


def load_settings(node: Node | None, problems: list[Problem]) -> Settings:
    root = loader.mapping(node, problems, "shroff.yaml", settings_shape(added_keys(node)))
    if root is None:
        if not problems:
            problems.append(Problem("shroff.yaml", 1, 1, "", "shroff.yaml is empty; it needs shroff, name and money."))
        return Settings()
    loader.one_of(root.get("shroff"), (LANGUAGE_VERSION,), problems, "the version of the language")
    for key, _ in root.entries:
        if key.text in NOT_THERE_YET:
            key.report(
                problems, f"'{key.text}:' is not supported yet; all state is stored in .shroff/ beside this file."
            )
    name = loader.scalar(root.get("name"), problems, "name")
    currency, decimals, rates = _money(root.get("money"), problems)
    lateness = loader.duration_ms(root.get("lateness"), problems, "lateness")
    ahead = _ahead_ms(root.get("ahead"), problems)
    untaken = loader.one_of(root.get("untaken"), UNTAKEN, problems, "untaken")
    return Settings(
        name.text if name else "project",
        currency,
        decimals,
        DAY_MS if lateness is None else lateness,
        DAY_MS if ahead is None else ahead,
        untaken or "",
        rates,
    )


def _ahead_ms(node: Node | None, problems: list[Problem]) -> int | None:
    """Parse how far ahead of the clock events may be; `off` is no limit."""
    return EVER_MS if isinstance(node, Scalar) and node.text == "off" else loader.duration_ms(node, problems, "ahead")


def _money(node: Node | None, problems: list[Problem]) -> tuple[str, int, str]:
    if isinstance(node, Mapping):
        loader.check_keys(node, MONEY, problems, "money")
        decimals = loader.one_of(node.get("places"), tuple("012345678"), problems, "the places of money")
        currency = _currency(node.get("currency"), problems)
        rates = loader.scalar(node.get("rates"), problems, "the rates of money")
        return currency, places_of(currency) if decimals is None else int(decimals), rates.text if rates else ""
    currency = _currency(node, problems)
    return currency, places_of(currency), ""


def currency_warning(settings: Settings) -> list[Problem]:
    """Warn of a currency that is not in ISO 4217, for which two decimals are assumed."""
    currency = settings.currency
    if currency in CODES or settings.money_places != 2:
        return []
    message = f"{currency} is not a currency of ISO 4217, so amounts have 2 decimal places"
    cure = f"{nearest(currency, CODES)} If it is right, write its places: money: {{ currency: {currency}, places: 8 }}."
    return [Problem(PROJECT_FILE, 0, 0, "money", f"{message}. {cure.strip()}")]


def _currency(node: Node | None, problems: list[Problem]) -> str:
    scalar = loader.scalar(node, problems, "money")
    if isinstance(scalar, Scalar) and not re.fullmatch(r"[A-Z]{3}", scalar.text):
        scalar.report(problems, f"a currency is three capital letters such as EUR, not {scalar.text!r}.")
    return scalar.text if scalar else "EUR"
