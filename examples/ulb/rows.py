"""Write synthetic card payments in the columns of the ULB data set: `python rows.py 1 2 > days-1-2.csv`.

The same numbers on every machine. From day 3 on there is a second kind of fraud, which a model of days 1 and 2 has
never seen. The labels of day 4 are wrong: each row has the label of the row before it.
"""

from __future__ import annotations

import csv
import random
import sys
from collections.abc import Iterable, Iterator

HEAD = ("", "Time", *(f"V{number}" for number in range(1, 29)), "Amount", "Class")
DAY_S = 86_400
ROWS_A_DAY = 600
FIRST_DAY_OF_NEW_FRAUD = 3
MISLABELED_DAY = 4
OLD_FRAUD_SHARE = 0.2
NEW_FRAUD_SHARE = 0.12
# Mean and standard deviation of the components in which a kind of fraud differs; all others have 0 and 1.
OLD_FRAUD = {4: (1.5, 1.5), 10: (-1.5, 1.5), 12: (-1.5, 1.5), 14: (-3.0, 2.0), 17: (-2.0, 2.0)}
NEW_FRAUD = {7: (2.5, 1.0), 20: (2.5, 1.0), 21: (-2.0, 1.0)}

Row = tuple[object, ...]


def rows(days: Iterable[int]) -> Iterator[Row]:
    """Generate the payments of some days, the first day being 1, in order of time."""
    for day in days:
        draw = random.Random(day)  # noqa: S311 - synthetic data, nothing secret
        label_before = 0
        for number in range(ROWS_A_DAY):
            kind = _kind(draw, day)
            seconds = (day - 1) * DAY_S + number * DAY_S // ROWS_A_DAY
            components = [f"{draw.gauss(*kind.get(component, (0.0, 1.0))):.6f}" for component in range(1, 29)]
            amount = f"{draw.lognormvariate(3.2, 1.3):.2f}"
            true_label = int(bool(kind))
            label = label_before if day == MISLABELED_DAY else true_label
            label_before = true_label
            yield (number, f"{seconds}.0", *components, amount, label)


def _kind(draw: random.Random, day: int) -> dict[int, tuple[float, float]]:
    """Draw a kind of payment: its unusual components, none for a genuine payment."""
    share = draw.random()
    if share < OLD_FRAUD_SHARE:
        return OLD_FRAUD
    if day >= FIRST_DAY_OF_NEW_FRAUD and share < OLD_FRAUD_SHARE + NEW_FRAUD_SHARE:
        return NEW_FRAUD
    return {}


def main() -> None:
    writer = csv.writer(sys.stdout)
    writer.writerow(HEAD)
    writer.writerows(rows(map(int, sys.argv[1:])))


if __name__ == "__main__":
    main()
