# ruff: noqa: E501 - a law is a line
"""Laws about the templates' policies: true ones, and false ones that a policy breaks; and drafts that break one."""

from __future__ import annotations

from pathlib import Path

from shroff.config import read_files
from shroff.project.definitions import Definitions, load_definitions
from shroff.project.laws import Law, load_laws

TEMPLATES = Path(__file__).parents[2] / "src" / "shroff" / "templates"

TRUE = [
    ("payments", "on: payment\n  when: this.card in lists.blocked_cards\n  never: [approve, challenge, review]"),
    ("payments", "on: payment\n  rule: blocked_card\n  never: [approve, challenge, review]"),
    ("payments", "on: payment\n  rule: card_testing\n  never: [approve, challenge, review]"),
    ("payments", "on: payment\n  rule: card_testing\n  when: not ((card.payments_1h >= 4) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.largest_10m >= this.amount) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.spent_24h >= this.amount) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.payments_10m >= 1 and card.payments_10m <= card.payments_1h + 1) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.payments_1h <= card.payments_30d + 1) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: (card.payments_30d >= 1) and not ((card.mean_30d >= 0 and card.mean_30d <= card.spent_30d * 1.01 + 0 * this.amount) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: (card.payments_30d >= 1) and not ((card.web_share_30d >= 0 and card.web_share_30d <= 1) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.devices_30d <= card.payments_30d) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: (card.payments_30d == 0) and not ((card.mean_30d is missing and card.spent_30d == 0) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: card.payments_1h >= 4 and card.spent_24h > 500\n  never: [approve, challenge]"),
    ("payments", "on: payment\n  when: card.payments_10m >= 5 and card.spent_24h > 500\n  never: [approve, challenge]"),
    ("payments", "on: payment\n  when: this.amount > 2 and this.amount <= 2\n  never: [approve, challenge, review]"),
    ("payments", "on: payment\n  when: (this.device is not missing) and not ((device.cards_24h >= 1) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: (this.channel == 'pos' and this.country is not missing) and not ((card.pos_countries_2h >= 1) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  rule: two_countries_at_tills\n  hits: two_countries_at_tills"),
    ("payments", "on: payment\n  when: (card.payments_10m >= 9) and not ((card.payments_1h >= 9) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: merchant.small_payments_1h < 0\n  never: [approve, challenge, review, decline]"),
    ("paysim", "on: payment\n  when: this.type == 'TRANSFER' and this.amount > 250_000\n  never: [approve, challenge]"),
    ("paysim", "on: payment\n  when: not ((payer.sent_24h >= this.amount) else false)\n  never: [approve, challenge, review, decline]"),
    ("paysim", "on: payment\n  when: not ((payee.cash_outs_24h <= payee.payments_24h) else false)\n  never: [approve, challenge, review, decline]"),
    ("paysim", "on: payment\n  rule: account_emptied\n  when: not ((this.payer_balance_before > 0) else false)\n  never: [approve, challenge, review, decline]"),
    ("savings", "on: saving\n  when: this.amount > 100_000\n  never: [approve, challenge]"),
    ("savings", "on: saving\n  when: not ((account.saved_30d >= this.amount or account.saved_30d is missing) else false)\n  never: [approve, challenge, review, decline]"),
    ("orders", "on: order\n  when: not ((customer.orders_before <= 10 and customer.ip_addrs <= 10) else false)\n  never: [approve, challenge, review, decline]"),
    ("orders", "on: order\n  when: (customer.orders_before >= 1) and not ((customer.amount_least <= customer.amount_most) else false)\n  never: [approve, challenge, review, decline]"),
    ("orders", "on: order\n  rule: many_customers_of_one_mail\n  never: [approve, challenge]"),
    ("cards", "on: payment\n  when: this.channel == 'ATM' and this.country != this.residence\n  never: [approve]"),
]  # fmt: skip

FALSE = [
    ("payments", "on: payment\n  when: this.amount > 10_000\n  never: [approve]"),
    ("payments", "on: payment\n  when: card.payments_10m >= 6\n  never: [approve]"),
    ("payments", "on: payment\n  when: card.payments_1h >= 4\n  hits: many_payments"),
    ("payments", "on: payment\n  when: card.payments_10m >= 4 and card.largest_10m <= 2.50\n  never: [approve, challenge, review]"),
    ("payments", "on: payment\n  when: card.payments_10m >= 5 and card.largest_10m <= 2.51\n  never: [approve, challenge, review]"),
    ("payments", "on: payment\n  when: card.payments_1h >= 4 and card.spent_24h > 499\n  never: [approve]"),
    ("payments", "on: payment\n  rule: many_payments\n  never: [decline]"),
    ("payments", "on: payment\n  rule: many_payments\n  hits: card_testing"),
    ("payments", "on: payment\n  rule: card_testing\n  hits: many_payments"),
    ("payments", "on: payment\n  when: this.channel == 'web' and this.amount > 100\n  never: [approve]"),
    ("payments", "on: payment\n  when: device.cards_24h >= 2\n  never: [approve]"),
    ("payments", "on: payment\n  when: not ((card.payments_10m < card.payments_1h) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.spent_24h > this.amount) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: not ((card.payments_30d >= card.payments_10m) else false)\n  never: [approve, challenge, review, decline]"),
    ("payments", "on: payment\n  when: card.pos_countries_2h >= 2\n  never: [approve]"),
    ("payments", "on: payment\n  when: merchant.small_payments_1h >= 6 and this.amount <= 2\n  hits: small_payments_at_a_merchant"),
    ("payments", "on: payment\n  when: card.new_device\n  never: [approve]"),
    ("payments", "on: payment\n  never: [challenge, decline]"),
    ("paysim", "on: payment\n  when: this.type == 'TRANSFER' and this.amount >= 200_000\n  never: [approve]"),
    ("paysim", "on: payment\n  when: payer.sent_24h > 200_000\n  never: [approve]"),
    ("paysim", "on: payment\n  when: payer.emptied\n  never: [approve]"),
    ("paysim", "on: payment\n  when: payee.payers_24h >= 3\n  never: [approve]"),
    ("savings", "on: saving\n  when: this.amount > 50_000\n  never: [approve]"),
    ("savings", "on: saving\n  when: user.large_savings_6mo >= 1\n  hits: saving_events_greater_than_benchmark_within_six_months"),
    ("orders", "on: order\n  when: customer.orders_before >= 5 and this.amount > 2 * customer.amount_most\n  never: [approve]"),
    ("orders", "on: order\n  when: customer.orders_before >= 3 and not customer.known_location\n  never: [approve]"),
    ("cards", "on: payment\n  when: this.country != this.residence\n  never: [approve]"),
    ("cards", "on: payment\n  when: hour(this.paid_at) < 6\n  never: [approve]"),
]  # fmt: skip

# template, the replaced text and its replacement in rules/, the law
DRAFTS = [
    ("payments", "card.payments_10m >= 5", "card.payments_10m >= 6", "on: payment\n  draft: loosens_nothing"),
    ("payments", "card.spent_24h > 500", "card.spent_24h > 400", "on: payment\n  when: card.spent_24h > 450\n  draft: differs_only_here"),
]  # fmt: skip


def loaded(template: str, old: str = "", new: str = "") -> Definitions:
    files = read_files(TEMPLATES / template, [])
    assert any(old in text for text in files.values())
    return load_definitions({name: text.replace(old, new) if old else text for name, text in files.items()}).or_raise()


def law(text: str, definitions: Definitions) -> Law:
    problems = []
    laws = load_laws({"laws/a.yaml": f"of_test:\n  sentence: s\n  {text}"}, definitions, problems)
    assert not problems
    return laws["of_test"]
