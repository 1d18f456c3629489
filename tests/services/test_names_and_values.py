"""A word in the name of a column never beats values: names choose only between columns that values hold equal."""

from __future__ import annotations

import csv
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Final

import pytest
import yaml

from shroff.services.proposals.profile import profile_of
from shroff.services.proposals.project_text import Proposal, Wishes, propose
from tests.support.effort import long_after

BEGIN: Final = datetime(2026, 1, 5, tzinfo=UTC)
LINES: Final = 60
NAMES: Final = (
    "id transaction_id date created_at updated_at birth_date amount total fee currency card_no customer merchant "
    "is_fraud flag score refund note step unit x7 value expiry settlement_date chargeback_type v12"
).split()


def cells(seed: int) -> dict[str, list[str]]:
    """Columns by what each is by its values; those of one role differ in evidence."""
    rng = Random(seed)
    at = [BEGIN + timedelta(seconds=97 * number + rng.randrange(90)) for number in range(LINES)]
    frauds = [number % 3 == 0 for number in range(LINES)]
    return {
        "time": [f"{each.timestamp():.0f}" if seed % 2 else f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in at],
        "birth": [f"{1950 + rng.randrange(50)}-{1 + rng.randrange(12):02d}-17" for _ in at],
        "money": [f"€ {rng.uniform(5, 900):.2f}" for _ in at],
        "rate": [f"{rng.uniform(0, 1):.2f}" for _ in at],
        "constant": ["12.50" for _ in at],
        "id": [f"k{number:04d}{rng.getrandbits(32):08x}" for number in range(LINES)],
        "repeated": [f"k{rng.randrange(9):04d}" for _ in at],
        "label": ["fraud" if each else "genuine" for each in frauds],
        "flag": [f"{rng.randrange(2)}" for _ in at],
        "late": ["reversed" if each else "" for each in frauds],
    }


def proposed(folder: Path, columns: dict[str, list[str]], names: list[str]) -> tuple[Proposal, dict[str, str]]:
    """The proposal for these columns under these names, and what each column is by its role."""
    file = folder / "file.csv"
    with file.open("w", newline="") as text:
        csv.writer(text).writerows([names, *zip(*columns.values(), strict=True)])
    proposal = propose(profile_of(file), "bank", Wishes())
    kinds = dict(zip(names, columns, strict=True))
    return proposal, {plan.role: kinds[plan.column] for plan in proposal.columns if plan.role}


@pytest.mark.parametrize("seed", long_after(8, range(60)))
def test_no_name_moves_a_role_to_a_column_with_less_evidence(tmp_path, seed):
    columns = cells(seed)
    proposal, roles = proposed(tmp_path, columns, Random(f"names {seed}").sample(NAMES, len(columns)))

    assert {role: roles.get(role) for role in ("time", "money", "label")} == {
        "time": "time",
        "money": "money",
        "label": "label",
    }
    assert roles.get("id", "id") == "id"
    left_out = {plan.column: plan.reason for plan in proposal.columns if not plan.field and not plan.role}
    assert [reason.partition(":")[0] for reason in left_out.values()] == ["known only afterwards"], left_out


@pytest.mark.parametrize(("share_of_others", "is_left_out"), [(0.0, True), (0.3, False)])
def test_a_refund_is_left_out_if_its_values_follow_the_label_and_else_asked_about(
    tmp_path, share_of_others, is_left_out
):
    columns = cells(0)
    rng = Random(1)
    columns["late"] = ["9.90" if late or rng.random() < share_of_others else "0" for late in columns["late"]]
    proposal, _ = proposed(tmp_path, columns, [*list(columns)[:-1], "refund"])
    plan = proposal.columns[-1]
    asked = [question["why"] for question in proposal.questions if question["role"] == "feature"]

    assert bool(plan.field) != is_left_out
    assert bool(asked) != is_left_out, "what only its name tells is asked"


def statement(zero: str) -> dict[str, list[str]]:
    """A bank's statement with debit and credit in two columns, and the balance."""
    rng = Random(4)
    amounts = [f"{rng.uniform(1, 90):.2f}" for _ in range(LINES)]
    return {
        "at": [f"{BEGIN + timedelta(hours=number):%Y-%m-%dT%H:%M:%SZ}" for number in range(LINES)],
        "account": [f"a{number % 7}" for number in range(LINES)],
        "debit": [text if number % 3 else zero for number, text in enumerate(amounts)],
        "credit": [zero if number % 3 else text for number, text in enumerate(amounts)],
        "balance": [f"{5_000 + 7 * number}.10" for number in range(LINES)],
    }


@pytest.mark.parametrize("zero", ["", "0.00"])
@pytest.mark.parametrize("names", [["debit", "credit", "balance"], ["balance", "x1", "amount"]])
def test_of_debit_and_credit_each_line_has_one_whatever_they_are_called(tmp_path, zero, names):
    columns = statement(zero)
    proposal, roles = proposed(tmp_path, columns, ["at", "account", *names])
    (amount,) = [plan.field for plan in proposal.columns if plan.role == "money"]

    assert roles["money"] in {"debit", "credit"}
    (read,) = re.findall(f"^      {amount}: .*", proposal.files["events.yaml"], re.MULTILINE)
    assert all(f"row.{name}" in read for name in names[:2])


def test_amounts_in_words_are_asked_about(tmp_path):
    columns = statement("")
    words = ["two hundred" if number % 2 else "twelve" for number in range(LINES)]
    proposal, _ = proposed(tmp_path, {"at": columns["at"], "debit": words}, ["at", "amount"])

    assert [question["why"] for question in proposal.questions if question["role"] == "money"] == [
        "amount has no numbers, such as 'twelve'; no mapping reads words: write digits"
    ]


@pytest.mark.parametrize(
    ("name", "other", "key"),
    [
        ("card_no", [f"k{number % 2}" for number in range(LINES)], "merchant"),
        ("AcctSvcrRef", [f"r{number}" for number in range(LINES)], "merchant"),
        ("Kundenreferenz", [f"r{number}" if number % 3 else "NOTPROVIDED" for number in range(LINES)], "merchant"),
        ("customer_id", [f"k{number % 15}" for number in range(LINES)], "merchant"),  # equal in each line
        ("insured_zip", [f"{80_331 + number % 19}" for number in range(LINES)], "note"),
    ],
)
def test_entities_are_keys_whose_values_return_and_no_references_copies_or_places(tmp_path, name, other, key):
    columns = {"at": statement("")["at"], "keys": [f"k{number % 15}" for number in range(LINES)], "other": other}
    proposal, _ = proposed(tmp_path, columns, ["at", key, name])

    entities = yaml.safe_load(proposal.files["events.yaml"])["entities"]
    assert [of["payment"] for of in entities.values()] == ["customer_id" if name == "customer_id" else key]


def test_a_lone_reference_is_no_entity(tmp_path):
    columns = {"at": statement("")["at"], "other": [f"{number:05x}" for number in range(LINES)]}
    proposal, _ = proposed(tmp_path, columns, ["at", "account_ref"])

    assert "no column names a card" in proposal.files["events.yaml"]
