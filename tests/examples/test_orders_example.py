"""The example `orders` by its one command: the whole way, held against a computation of our own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter, defaultdict, deque
from decimal import Decimal

import pyarrow.parquet as pq
import pytest
from redis import Redis

from tests.support.forks import PYTHON

pytestmark = [pytest.mark.slow, pytest.mark.long]
LAST = 10  # orders of a key that the template looks back at


def orders_of(folder):
    """All generated orders, by their time."""
    return [row for path in sorted(folder.glob("batch-*.parquet")) for row in pq.read_table(path).to_pylist()]


def by_hand(orders):
    """For each order the sum of the ten before it of its customer, how many these are, and the addresses with this."""
    before, found = defaultdict(lambda: deque(maxlen=LAST)), {}
    for order in orders:
        past = before[order["customer_id"]]
        mails = {row["email"] for row in [*past, order][-LAST:]} - {None}
        found[order["order_id"]] = sum((row["amount"] for row in past), Decimal("0.00")), len(past), len(mails)
        past.append(order)
    return found


def test_one_call_leads_from_nothing_to_a_service_that_answers_about_orders(root, tmp_path, redis):
    command = [PYTHON, str(root / "examples" / "orders" / "run.py"), "--batches", "3", "--size", "2500"]
    done = subprocess.run(
        [*command, "--folder", tmp_path / "orders"],
        env={**os.environ, "REDIS": redis.address},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    made = tmp_path / "orders" / "shop" / "out" / "orders"
    orders, shown = orders_of(made), done.stdout
    features = {row["id"]: row for row in pq.read_table(made / "tables" / "features.parquet").to_pylist()}
    names = ("customer.amount_sum", "customer.orders_before", "customer.emails")
    expected = by_hand(orders)

    assert {order["ordered_at"].month for order in orders} == {1, 2, 3}
    assert {id_: tuple(row[name] for name in names) for id_, row in features.items()} == expected
    for column in ("customer_id", "email"):
        parts = [pq.read_table(path).to_pylist() for path in sorted((made / "tables" / f"by-{column}").iterdir())]
        places = Counter(key for part in parts for key in {row[column].lower() for row in part})
        assert set(places.values()) == {1}, "a key lies in one part, whole"
        assert sum(map(len, parts)) == sum(order[column] is not None for order in orders)
    assert "is the champion" in shown
    assert f"orders: 3 files, {len(orders):,} in the log, 0 refused" in shown
    newest = [json.loads(line)["order_id"] for line in re.findall(r'^  (\{"order_id".*\})$', shown, re.MULTILINE)]
    assert newest == [order["order_id"] for order in orders[:-4:-1]]
    last = {order["customer_id"]: order["order_id"] for order in orders}
    with Redis.from_url(redis.address, decode_responses=True) as store:
        assert len(list(store.scan_iter("shop:customer:*"))) == len(last)
        for customer, id_ in list(last.items())[:50]:
            total, count, _ = expected[id_]
            kept = store.hmget(f"shop:customer:{customer}", "customer.amount_sum", "customer.orders_before")
            assert [json.loads(text) for text in kept] == [str(total), count]
