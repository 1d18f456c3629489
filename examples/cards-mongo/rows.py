"""Writes card payments in sixteen columns, made up: python rows.py 500 > cards.csv. Always the same ones."""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterator

HEAD = (
    *("Transaction ID", "Date", "Day of Week", "Time", "Type of Card", "Entry Mode", "Amount", "Type of Transaction"),
    *("Merchant Group", "Country of Transaction", "Shipping Address", "Country of Residence"),
    *("Gender", "Age", "Bank", "Fraud"),
)
DAYS = (("14-Oct-20", "Wednesday"), ("15-Oct-20", "Thursday"))
GROUPS = ("Restaurant", "Electronics", "Fashion", "Food", "Gaming", "Services", "Entertainment", "Children", "Products")
BANKS = ("Barclays", "Barlcays", "HSBC", "Lloyds", "RBS", "Monzo", "Metro", "Halifax")  # the second as in the real file
HOME, ABROAD = "United Kingdom", ("USA", "India", "Russia", "China")
FRAUD = 0.07


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """Payments in order of time: frauds lie abroad and before dawn, as in the real file."""
    draw = random.Random(1)  # noqa: S311 - made-up data, the same on every machine
    for number in range(count):
        hour = number * 48 // count
        is_fraud = draw.random() < (0.5 if hour % 24 < 4 else FRAUD)
        mode = draw.choice(("Tap", "PIN", "CVC"))
        channel = {"Tap": "POS", "PIN": draw.choice(("POS", "ATM")), "CVC": "Online"}[mode]
        residence = HOME if draw.random() < 0.8 else draw.choice(ABROAD)
        country = draw.choice(ABROAD) if is_fraud else residence
        pounds = round(draw.uniform(100, 400) if is_fraud else min(draw.lognormvariate(3, 0.8) + 5, 400))
        yield (
            f"#{draw.randrange(1_000, 4_000)} {draw.randrange(100, 1_000)}",
            *DAYS[hour // 24],
            hour % 24,
            draw.choice(("Visa", "MasterCard")),
            mode,
            f"£{pounds}",
            channel,
            draw.choice(GROUPS),
            country,
            country if is_fraud and draw.random() < 0.5 else residence,
            residence,
            draw.choice("MF"),
            round(draw.uniform(18, 80), 1),
            draw.choice(BANKS),
            int(is_fraud),
        )


def main() -> None:
    """All of it, to standard output."""
    writer = csv.writer(sys.stdout)
    writer.writerows((HEAD, *rows(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
