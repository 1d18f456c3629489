"""`shroff rates import`: the central bank's files of one day and of its history, and what `check` says of rates."""

from __future__ import annotations

import pytest

from shroff.errors import UsageError
from shroff.services import project as app
from shroff.services.lookup_tables.rate_operations import ImportRates
from tests.laws.test_currencies import FILES
from tests.support.projects import write_files

DAY = "Date, USD, JPY, GBP, \n26 November 2026, 1.0800, 160.00, 0.80000, \n"
HISTORY = "Date,USD,JPY,SIT,GBP,\n2026-11-26,1.25,160,N/A,0.8,\n2026-11-25,1.09,161,239.64,N/A,\n"


def imported(folder, text: str, start: str = "", *, inverse: bool = False):
    (folder / "bank.csv").write_text(text)
    return app.open(folder).run(ImportRates(file=folder / "bank.csv", start=start, inverse=inverse))


def rows_of(folder) -> list[str]:
    return (folder / "tables" / "fx.csv").read_text().splitlines()


def test_rates_of_a_day_and_of_the_history_come_into_one_table(tmp_path):
    folder = write_files(tmp_path, FILES)
    first = imported(folder, DAY)
    second = imported(folder, HISTORY)

    assert (first.files, first.read, first.added, first.changed) == (["tables/fx.csv"], 3, 3, 0)
    assert (second.read, second.added, second.changed, second.skipped) == (5, 2, 1, ["SIT"])
    assert rows_of(folder) == [
        "currency,valid_from,rate",
        "JPY,2026-11-25,0.006211180124",
        "USD,2026-11-25,0.917431192661",
        "GBP,2026-11-26,1.25",
        "JPY,2026-11-26,0.00625",
        "USD,2026-11-26,0.8",
    ]
    assert app.open(folder).check().is_ok


def test_rates_of_another_currency_go_over_the_euro(tmp_path):
    folder = write_files(tmp_path, FILES | {"shroff.yaml": FILES["shroff.yaml"].replace("EUR", "GBP")})
    imported(folder, HISTORY, start="2026-11-26")

    assert rows_of(folder)[1:] == ["EUR,2026-11-26,0.8", "JPY,2026-11-26,0.005", "USD,2026-11-26,0.64"]


@pytest.mark.parametrize(("inverse", "usd"), [(False, "0.92"), (True, "1.086956521739")])
def test_a_table_of_date_currency_and_rate_says_which_way_it_was_read(tmp_path, inverse, usd):
    folder = write_files(tmp_path, FILES)
    lines = ["source,Rate,Currency,Date", "x,1.1,GBP,2026-11-25", "x,0.92,usd,2026-11-26", "x,1,EUR,2026-11-26"]
    told = imported(folder, "\n".join([*lines, "x,2,SIT,2026-11-01"]), inverse=inverse)

    assert (told.read, told.added, told.skipped) == (2, 2, ["SIT"])
    assert rows_of(folder)[-1] == f"USD,2026-11-26,{usd}"
    assert f" The latest: 2026-11-26: 1 USD = {usd} EUR. Skipped" in told.text()


@pytest.mark.parametrize(
    ("text", "changes", "words"),
    [
        ("id,at\n1,2\n", {}, "bank.csv has no columns date, currency, rate. A file of the European Central Bank"),
        ("date,currency,rate\n2026-11-26,USD\n", {}, "bank.csv:2 has 2 columns, and its first line 3"),
        ("date,currency,rate\n2026-11-26,USD,-1\n", {}, "bank.csv:2: a rate is above 0, not -1"),
        ("Date,USD,\n26.11.2026,1.08,\n", {}, "bank.csv:2: '26.11.2026' is not a day such as 2026-11-26"),
        ("Date,USD,\n2026-11-26,0,\n", {}, "bank.csv:2: a rate is above 0, not 0"),
        ("Date,USD,\n2026-11-26,9e13,\n", {}, "of USD on 2026-11-26 does not fit number(12): it is too small"),
        ("Date,USD,\n2026-11-26,1e-6,\n", {}, "does not fit number(12): write its column as number(9) in events.yaml"),
        (DAY, {"shroff.yaml": "shroff: 1\nname: fx\nmoney: EUR\n"}, "Write money: { currency: EUR, rates: fx }"),
    ],
)
def test_a_file_or_project_without_rates_is_refused_with_the_cure(tmp_path, text, changes, words):
    folder = write_files(tmp_path, FILES | changes)
    with pytest.raises(UsageError) as raised:
        imported(folder, text)

    assert words in str(raised.value)
    assert not (folder / "tables" / "fx.csv").exists()


def test_two_rates_of_one_day_are_refused_and_one_twice_is_not(tmp_path):
    folder = write_files(tmp_path, FILES)
    rows = "date,currency,rate\n2026-03-02,USD,1\n2026-03-02,USD,{}\n"

    with pytest.raises(UsageError, match="two rates of USD on 2026-03-02"):
        imported(folder, rows.format(2))
    assert imported(folder, rows.format(1)).added == 1


def test_check_warns_of_a_comparison_without_a_rule_for_a_missing_rate(tmp_path):
    rules = FILES["rules/large.yaml"]
    without = rules[: rules.index("- id: without_rate")]
    warnings = {}
    for name, text in (("with", rules), ("without", without)):
        folder = write_files(tmp_path / name, FILES | {"rules/large.yaml": text})
        imported(folder, DAY)
        warnings[name] = [f"{warning.message} {warning.hint}" for warning in app.open(folder).check().warnings]

    words = "rule large compares payment.amount, which is missing where no rate is valid; no rule asks for that."
    assert warnings == {
        "with": [],
        "without": [f"{words} Add a rule with the effect review: when: payment.amount is missing"],
    }
