"""Hits of a draft that are counted while it is written."""

from __future__ import annotations

import msgspec

from tests.support.telling import FILES, Bank, payment

RULE = """
- id: abroad
  on: payment
  by: card
  when: count(payment where tables.shops[payment.merchant].zone == 'far') over 1d including this > 0
  effect: review
"""


def test_a_count_reads_the_table_as_of_each_event(tmp_path):
    events = FILES["events.yaml"] + "tables: { shops: { merchant: text, zone: text } }\n"
    table = "merchant,zone\nCorvane,near\n"
    bank = Bank(tmp_path, {"events.yaml": events, "tables/shops.csv": table, "rules/abroad.yaml": RULE})
    bank.pay(payment("p-1"))
    history = tmp_path / "history.jsonl"  # a draft is tried on what was only taken, too
    history.write_bytes(msgspec.json.encode(payment("p-2")))
    bank.project.ingest(history, as_type="payment", decide=False)
    counts = []
    for text in (table, table.replace("near", "far")):
        bank.write({"tables/shops.csv": text})
        definitions = bank.project.definitions
        rules = [rule for rule in definitions.rules if rule.id == "abroad"]
        if "far" in text:  # it is active from this payment on
            bank.pay(payment("p-3"))
        counts.append(bank.project.backtests.count_hits(rules, definitions).hits)

    assert counts == [0, 1]
