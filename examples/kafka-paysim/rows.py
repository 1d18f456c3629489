"""Writes payments in PaySim's eleven columns, made up: python rows.py 2000 > paysim.csv. Always the same ones."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator

HEAD = (
    *("step", "type", "amount", "nameOrig", "oldbalanceOrg", "newbalanceOrig"),
    *("nameDest", "oldbalanceDest", "newbalanceDest", "isFraud", "isFlaggedFraud"),
)
HOURS = 48
KNOWN_HOURS = 36  # of these the file says which payments were fraud; later ones are not charged back yet
THEFT = 0.015  # this share of payments empties an account


def rows(count: int) -> Iterator[tuple[object, ...]]:
    """Payments in order of time; thieves take all that is there, by way of a few accounts."""
    draw = random.Random(1)  # noqa: S311 - made-up data, the same on every machine
    customers, mules = [f"C{draw.randrange(10**9)}" for _ in range(count // 4)], [f"C{n}0007" for n in range(5)]
    for number in range(count):
        step, is_theft = 1 + number * HOURS // count, draw.random() < THEFT
        held = round(draw.lognormvariate(10, 1.3), 2)
        kind = (
            draw.choice(("TRANSFER", "CASH_OUT"))
            if is_theft
            else draw.choice(("PAYMENT", "PAYMENT", "CASH_IN", "DEBIT", "TRANSFER", "CASH_OUT"))
        )
        amount = (
            held
            if is_theft
            else round(held * draw.uniform(0.01, 0.9) * (draw.random() < 0.1) * 3 + draw.uniform(1, 900), 2)
        )
        after = round(held + amount if kind == "CASH_IN" else max(held - amount, 0), 2)
        payee = f"M{draw.randrange(60)}" if kind == "PAYMENT" else draw.choice(mules if is_theft else customers)
        there = 0.0 if kind == "PAYMENT" else round(draw.lognormvariate(9, 1), 2)
        got = 0.0 if kind == "PAYMENT" else round(there + amount, 2)
        yield (
            step,
            kind,
            amount,
            f"C{draw.randrange(10**9)}",
            held,
            after,
            payee,
            there,
            got,
            int(is_theft and step <= KNOWN_HOURS),
            0,
        )


def main() -> None:
    print(",".join(HEAD))
    for row in rows(int(sys.argv[1])):
        print(",".join(map(str, row)))


if __name__ == "__main__":
    main()
