"""Recorded reasons of rules as people read them: money with its currency, numbers with separators."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from shroff.config import TEMPLATE_FOLDER
from shroff.project.definitions import Definitions
from shroff.project.dependency_hash import reasons_of, teller_of
from shroff.rules.rule_text import in_words
from shroff.services import project as app

RULES = """
- id: dear
  on: payment
  by: card
  when: this.amount > 10
  reason: "{this.amount} at {this.merchant}, {card.payments_1h} payments, {sum(payment.amount) over 30d} in 30 days"
  effect: review
- id: named
  on: payment
  by: card
  when: this.amount > 10
  reason: "{this.amount} EUR, new device: {card.new_device}, {card.amount_to_mean} times"
  effect: review
- id: coded
  on: payment
  by: card
  when: this.amount > 10
  reason: "code {this.code}, then {max(payment.code) over 30d}"
  effect: review
- id: night
  on: payment
  by: card
  when: hour(this.paid_at) < 6 and weekday(this.paid_at, 'Europe/Berlin') < 5
  reason: "paid at {hour(this.paid_at)} on {weekday(this.paid_at)}, {hour(this.paid_at)}:00, {hour(this.paid_at)} h"
  effect: review
- id: clock
  on: payment
  by: card
  when: hour(this.paid_at) < 6
  reason: >-
    {hour(this.paid_at)} o'clock, {hour(this.paid_at)} Uhr, {hour(this.paid_at)} here, {weekday(this.paid_at)}: d
  effect: review
- id: linked
  on: payment
  by: card
  when: distinct(payment.card via payment.merchant) over 30d including this >= 3
  reason: many
  effect: review
- id: texts
  on: payment
  by: card
  when: this.amount > 10
  reason: >-
    {this.payment_id} at {this.card} at {this.merchant} at {this.payment_id} at {this.card} at {this.merchant} for
    {this.amount}
  effect: review
"""
MORE = " at b at c at d at e at f"


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Definitions:
    folder: Path = tmp_path_factory.mktemp("words") / "bank"
    shutil.copytree(TEMPLATE_FOLDER / "payments", folder)
    events = (folder / "events.yaml").read_text(encoding="utf-8")
    events = events.replace("    amount: money", "    code: integer?\n    amount: money", 1)
    (folder / "events.yaml").write_text(events, encoding="utf-8")
    (folder / "rules" / "more.yaml").write_text(RULES, encoding="utf-8")
    return app.open_exactly(folder).definitions


@pytest.fixture(scope="module")
def told(bank: Definitions) -> Callable[[str, str], str]:
    return reasons_of(bank)


@pytest.mark.parametrize(
    ("rule", "stored", "words"),
    [
        (
            "dear",
            "1661.90 at Hotel (5.00 at sea), 1234 payments, 27779.50 in 30 days",
            "1,661.90 EUR at Hotel (5.00 at sea), 1,234 payments, 27,779.50 EUR in 30 days",
        ),
        ("dear", "-5.00 at a\nb, 0 payments, missing in 30 days", "-5.00 EUR at a\nb, 0 payments, missing in 30 days"),
        ("named", "12.50 EUR, new device: true, 22.1234 times", "12.50 EUR, new device: yes, 22.12 times"),
        ("named", "12.50 GBP of another version", "12.50 GBP of another version"),
        ("night", "paid at 3 on 6, 3:00, 3 h", "paid at 03:00 on Sunday, 3:00, 3 h"),
        (
            "night",
            "paid at missing on missing, missing:00, missing h",
            "paid at missing on missing, missing:00, missing h",
        ),
        ("clock", "4 o'clock, 4 Uhr, 4 here, 6: d", "4 o'clock, 4 Uhr, 04:00 here, Sunday: d"),
        ("gone", "1661.90 at m-1", "1661.90 at m-1"),
        ("texts", "a at b at c at d at e at f for 1000.00", "a at b at c at d at e at f for 1,000.00 EUR"),
        ("texts", f"{'a' * 463}{MORE} for 1000.00", f"{'a' * 463}{MORE} for 1,000.00 EUR"),
        ("texts", f"{'a' * 464}{MORE} for 1000.00", f"{'a' * 464}{MORE} for 1000.00"),
        ("texts", f"{' at ' * 120}x", f"{' at ' * 120}x"),  # 180 million ways to part it, and
        ("texts", " at " * 16_384, " at " * 16_384),  # of 64 KiB as good as endlessly many
        ("coded", "code 5411, then 1234", "code 5411, then 1234"),
    ],
)
def test_a_recorded_reason_is_told_with_currency_and_separators(told, rule, stored, words):
    assert told(rule, stored) == words


@pytest.mark.parametrize(
    ("id_", "words"),
    [
        ("new_device_and_large", "and it is the first payment with this device in 30 days, and the card has at least"),
        ("night", "when it is paid before 06:00 UTC, and it is paid Monday to Friday (Berlin time)."),
        ("linked", "when the card is linked by merchant to 3 or more cards in 30 days."),
        ("customer_said_no", "when the card has at least one label in 24 h with source customer and verdict fraud."),
    ],
)
def test_a_rule_says_what_its_features_mean(bank, id_, words):
    assert words in in_words(next(rule for rule in bank.rules if rule.id == id_), teller_of(bank))


def test_nested_features_are_spelled_out_to_a_length_and_named_beyond(tmp_path: Path):
    shutil.copytree(TEMPLATE_FOLDER / "payments", tmp_path / "deep")
    features = tmp_path / "deep" / "features.yaml"
    nested = "".join(f"  n{at}: card.n{at - 1} + 2 * card.n{at - 1}\n" for at in range(1, 20))
    text = features.read_text(encoding="utf-8").replace("card:\n", f"card:\n  n0: count(payment) over 3h\n{nested}", 1)
    features.write_text(text, encoding="utf-8")
    rule = "- { id: deep, on: payment, by: card, effect: review, when: card.n19 > 3 and card.n1 > 2 }\n"
    (tmp_path / "deep" / "rules" / "deep.yaml").write_text(rule, encoding="utf-8")
    bank = app.open(tmp_path / "deep").definitions
    words = in_words(next(rule for rule in bank.rules if rule.id == "deep"), teller_of(bank))

    assert "the card's n19 is above 3" in words
    assert "the card's payments in 3 h + (2 * payments in 3 h) is above 2" in words
    assert len(words) < 300
