"""An amount has the decimal places of its currency by ISO 4217, and a message names the setting for others."""

from __future__ import annotations

import pytest

from shroff.services import project as app
from tests.public_cases import project_of

CASE = "11-yen-and-dinar"


def taken(tmp_path, money, file):
    folder = project_of(CASE, tmp_path, settings=f"shroff: 1\nname: people\nmoney: {money}\n")
    project = app.open(folder)
    (row,) = project.taking.look_at(folder / file, "payment").rows
    return row


@pytest.mark.parametrize(
    ("money", "file", "units"),
    [
        ("KWD", "dinar.csv", 100_555),
        ("TND", "dinar.csv", 100_555),
        ("EUR", "yen.csv", 10_055),
        ("KWD", "yen.csv", 100_550),
        ("CLF", "dinar.csv", 1_005_550),
        ("{ currency: JPY, places: 2 }", "yen.csv", 10_055),
        ("{ currency: KRW, places: 3 }", "dinar.csv", 100_555),
    ],
)
def test_the_places_are_those_of_the_currency(tmp_path, money, file, units):
    row = taken(tmp_path, money, file)

    assert row.refusal is None
    assert row.event.values[-1] == units


@pytest.mark.parametrize(
    ("money", "file", "most", "cure"),
    [
        ("JPY", "yen.csv", 0, "money: { currency: JPY, places: 2 }"),
        ("KRW", "yen.csv", 0, "money: { currency: KRW, places: 2 }"),
        ("EUR", "dinar.csv", 2, "money: { currency: EUR, places: 3 }"),
        ("{ currency: KWD, places: 2 }", "dinar.csv", 2, "money: { currency: KWD, places: 3 }"),
    ],
)
def test_more_are_refused_with_the_setting_that_takes_them(tmp_path, money, file, most, cure):
    words = taken(tmp_path, money, file).refusal

    assert f"with at most {most} decimal places" in words
    assert cure in words


@pytest.mark.parametrize(
    ("money", "words"),
    [
        ("EUR", ""),
        ("JPY", ""),
        ("{ currency: BTC, places: 8 }", ""),
        ("EUX", "EUX is not a currency of ISO 4217, so amounts have 2 decimal places."),
    ],
)
def test_a_code_that_is_none_is_warned_of(tmp_path, money, words):
    folder = project_of(CASE, tmp_path, settings=f"shroff: 1\nname: people\nmoney: {money}\n")
    said = " ".join(str(warning) for warning in app.open(folder).check().warnings)

    assert (words in said) if words else "ISO 4217" not in said
