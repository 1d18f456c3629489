"""The sample data of the template `orders`: as hard as it says, the same each time, and good for the whole way.

What a fraud is says the generator; features and rules are those of the template.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from shroff.errors import UsageError
from shroff.log.columns.tables import Way
from shroff.services import project as app
from shroff_orders.periods import generate_orders, orders_table, periods
from shroff_orders.shop import FRAUDS
from tests.docs.pages import ROOT
from tests.journeys.alone import Values, best_alone
from tests.support.effort import long_after

SEEDS = (2, 3)  # the shop was made looking at seed 1
PERIODS, ORDERS = 8, 2_500
FIELDS = ("customer_id", "email", "ip_addr", "location", "amount")
README = ROOT / "src" / "shroff" / "templates" / "orders" / "README.md"


@dataclass(frozen=True, slots=True)
class Judged:
    """A shop: what an attacker may look at by columns, and the truth beside it."""

    columns: dict[str, Values]
    frauds: NDArray[np.bool_]
    kinds: set[str | None]


@cache
def judged(seed: int) -> Judged:
    """A shop's orders with the template's features. Cost: about 2 s."""
    weeks = list(periods(PERIODS, ORDERS, seed))
    table = pa.concat_tables([orders_table(week) for week in weeks])
    kinds = [order.fraud for week in weeks for _, order in week.orders]
    with TemporaryDirectory() as folder:
        project, _ = app.make_project(Path(folder) / "shop", "orders")
        file = Path(folder) / "orders.parquet"
        pq.write_table(table, file)
        features = pa.concat_tables(list(project.tables.feature_parts("order", [file], Way())))
    columns = {name: table[name].to_pylist() for name in FIELDS}
    columns |= {
        "hour": [row.hour for row in table["ordered_at"].to_pylist()],
        "weekday": [row.weekday() for row in table["ordered_at"].to_pylist()],
        "cents": [str(column)[-2:] for column in columns["amount"]],
        "number in the stream": list(range(len(kinds))),
        **{name: features[name].to_pylist() for name in features.column_names[2:]},
    }
    return Judged(columns, np.array([kind is not None for kind in kinds]), set(kinds))


@pytest.mark.slow
# Each seed draws another shop.
@pytest.mark.parametrize("seed", long_after(1, SEEDS))
def test_no_field_and_no_feature_of_an_order_alone_reaches_an_average_precision_of_one_half(seed):
    shop = judged(seed)
    found = {name: best_alone(values, shop.frauds) for name, values in shop.columns.items()}

    assert len(found) == len(FIELDS) + 4 + 36
    assert {name: precision for name, precision in found.items() if precision >= 0.5} == {}


@pytest.mark.slow
# Each seed draws another shop.
@pytest.mark.parametrize("seed", long_after(1, SEEDS))
def test_frauds_among_orders_are_few_of_three_kinds_and_can_be_learned(seed):
    shop = judged(seed)
    base = shop.frauds.mean()
    clues = [name for name, values in shop.columns.items() if best_alone(values, shop.frauds) > 3 * base]

    assert 0.008 < base < 0.022
    assert shop.kinds == {None, *FRAUDS}
    assert len(clues) >= 3


def test_labels_of_a_week_stand_beside_its_orders_where_they_are_asked_for(tmp_path):
    made = generate_orders(tmp_path, 2, 200, 1, has_labels_each=True)
    parts = [pq.read_table(tmp_path / f"batch-0{number}-labels.parquet") for number in (1, 2)]

    assert [path.name for path in made.files] == ["batch-01.parquet", "batch-02.parquet"]
    assert pa.concat_tables(parts) == pq.read_table(made.labels_file)
    assert all(map(len, parts))


def test_a_file_holds_its_week_in_order_and_only_labels_known_in_it():
    weeks = list(periods(4, 400, 1))
    seen: set[str] = set()
    end_ms = 0

    for week in weeks:
        times = [order.at_ms for _, order in week.orders]
        seen |= {id_ for id_, _ in week.orders}
        assert times == sorted(times)
        assert times[0] >= end_ms
        assert times[-1] - times[0] < 7 * 86_400_000
        assert {label.order for label in week.labels} <= seen
        assert all(end_ms <= label.known_at_ms for label in week.labels)
        end_ms = times[-1]
    assert len(seen) == sum(len(week.orders) for week in weeks)


@pytest.mark.parametrize(("batches", "size"), [(0, 5), (5, 0)])
def test_nothing_cannot_be_made(batches, size):
    with pytest.raises(UsageError, match="1 at least"):
        next(periods(batches, size, 1))


@pytest.mark.long
def test_the_commands_of_the_readme_lead_from_nothing_to_orders_that_a_model_scored(tmp_path):
    commands = sample_commands(README.read_text(encoding="utf-8"))
    app.make_project(tmp_path / "shop", "orders")

    for command in commands:
        ran = subprocess.run(
            ["bash", "-euc", in_this_python(command)],
            cwd=tmp_path / "shop",
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}{ran.stderr}"

    decided = [json.loads(line) for line in (tmp_path / "shop" / "decided.jsonl").read_text().splitlines()]
    assert len(decided) > 2_000
    assert all(decision["score"] is not None and decision["versions"]["model"] for decision in decided)
    assert (
        sum(decision["features"]["customer.orders_before"] > 0 for decision in decided) > 1_000
    )  # of the weeks before


def sample_commands(text: str) -> list[str]:
    """The indented lines below the heading of the sample data."""
    part = text.split("## With sample data", 1)[1].split("\n## ", 1)[0]
    return [re.sub(r"\s+#.*$", "", line.strip()) for line in part.splitlines() if line.startswith("    ")]


def in_this_python(command: str) -> str:
    shroff = f'{sys.executable} -c "from shroff.cli.main import main; main()"'
    return re.sub(r"(?<!\S)shroff(?= )", shroff, command.replace("python -m", f"{sys.executable} -m"))
