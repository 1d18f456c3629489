"""Amounts with grouping commas, accounting forms and currency signs are read with `decimal: '.'`, as a message says."""

from __future__ import annotations

import csv
from decimal import Decimal

import pytest

from shroff.cli.main import run
from shroff.services import project as app
from tests.public_cases import project_of

CASE = "27-thousands-commas"
AMOUNTS = {
    "1,234.50": "1234.50",
    "12,34,567.00": "1234567.00",
    "1234.5": "1234.50",
    "(1.00)": "-1.00",
    "1.00-": "-1.00",
    "$1,234.50": "1234.50",
    "-$5": "-5.00",
    "($5.25)": "-5.25",
    "5.00 €": "5.00",
    "£ 5": "5.00",
    "US$ 1,000": "1000.00",
    "1'234.50": "1234.50",
    " 7.00 ": "7.00",
}
REFUSED = ["1,50", "1.234,50", "1,2345", "(1.00", "--1", "$", "1,,000", "12,345,67"]


def opened(tmp_path, mapping):
    folder = project_of(CASE, tmp_path)
    events = folder / "events.yaml"
    events.write_text(events.read_text().replace("entities:", f"  from: {{ csv: {{ {mapping} }} }}\nentities:"))
    return folder


def taken(folder, amounts):
    with (folder / "in.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["id", "at", "account", "amount"])
        rows.writerows([n, f"2026-03-01T10:00:{n:02}Z", "a", amount] for n, amount in enumerate(amounts))
    project = app.open(folder)
    report = project.ingest([folder / "in.csv"], as_type="payment")
    return report, project.events("payment")["amount"].to_pylist()


def test_the_message_names_the_setting(tmp_path, capsys):
    folder = project_of(CASE, tmp_path)

    assert run(["-C", str(folder), "check", "--with", str(folder / "us.csv")]) == 1
    assert "for a CSV write `decimal: '.'` under from.csv in events.yaml" in capsys.readouterr().out


@pytest.mark.parametrize("mapping", ["decimal: '.'", "decimal: '.', amount: money(row.amount)"])
def test_with_it_they_are_read(tmp_path, mapping):
    report, amounts = taken(opened(tmp_path, mapping), AMOUNTS)

    assert report.events.quarantined == 0
    assert amounts == [Decimal(amount) for amount in AMOUNTS.values()]


def test_what_is_written_otherwise_is_refused(tmp_path):
    report, amounts = taken(opened(tmp_path, "decimal: '.'"), REFUSED)

    assert (report.events.quarantined, amounts) == (len(REFUSED), [])


def test_accounting_forms_and_signs_are_read_with_a_comma_as_well(tmp_path):
    report, amounts = taken(opened(tmp_path, "decimal: ','"), ["(1.250,00)", "1.250,00-", "€ 12,50", "3,00 kr"])

    assert (report.events.quarantined, amounts) == (1, [Decimal("-1250.00"), Decimal("-1250.00"), Decimal("12.50")])


def test_the_words_that_mean_missing_are_missing(tmp_path):
    folder = opened(tmp_path, "missing: ['', 'NULL', '\\N', NaN, '-'], decimal: '.'")
    events = folder / "events.yaml"
    events.write_text(events.read_text().replace("account: text,", "account: text?,"))
    words = ["NULL", "\\N", "NaN", " - ", "", " ", "null", "a-"]
    lines = ["id,at,account,amount", *(f"{n},2026-03-01T10:00:00Z,{word},1.00" for n, word in enumerate(words))]
    (folder / "in.csv").write_text("\n".join(lines))
    project = app.open(folder)
    project.ingest([folder / "in.csv"], as_type="payment")

    assert project.events("payment")["account"].to_pylist() == [*[None] * 6, "null", "a-"]
