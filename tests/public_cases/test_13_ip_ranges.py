"""The country of an address by a table of ranges, as the file has them, and of networks made of these."""

from __future__ import annotations

import csv
import ipaddress

from shroff.project.definitions import load_definitions
from tests.public_cases import SETTINGS
from tests.support.beside import beside

EVENTS = """
payment:
  id: id
  time: at
  decide: true
  fields: { id: text, at: time, card: text, ip: text? }
entities: { card: { payment: card } }
tables:
  ips: { network: network, country: text }
  ranges: { low: network, high: network, country: text }
"""


def test_an_address_has_the_country_of_the_range_that_holds_it():
    with beside("cases", "13-ip-ranges", "ips.csv").open(encoding="utf-8", newline="") as file:
        ranges = list(csv.DictReader(file))
    rows = [
        f"{network},{row['country']}"
        for row in ranges
        for network in ipaddress.summarize_address_range(
            *(ipaddress.ip_address(int(row[end])) for end in ("low", "high"))
        )
    ]
    files = {
        "shroff.yaml": SETTINGS,
        "events.yaml": EVENTS,
        "features.yaml": "card: { country: 'tables.ips[this.ip].country' }\n",
        "tables/ips.csv": "\n".join(["network,country", *rows]),
        "tables/ranges.csv": beside("cases", "13-ip-ranges", "ips.csv").read_text("utf-8"),
    }
    tables = load_definitions(files).definitions.reference.tables

    for name in ("ips", "ranges"):
        table = tables[name]
        for row in ranges:
            for end in ("low", "high"):
                address = ipaddress.ip_address(int(row[end]))
                assert table.value("country", str(address), 0) == row["country"]
        assert table.value("country", "0.255.255.255", 0) is None
