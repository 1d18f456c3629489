"""Orders of the synthetic shop, a Parquet file for each week or month, and the labels known at the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from heapq import heappop, heappush
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

from shroff.errors import UsageError
from shroff_orders.shop import DAY_MS, START_MS, Shop, ShopOrder

if TYPE_CHECKING:
    import pyarrow as pa

DAYS: Final = 7  # of a period
NEVER_REPORTED_RATE: Final = 0.10  # of frauds
WRONG_RATE: Final = 0.02  # of labels
ASKED_RATE: Final = 0.005  # of honest orders
ORDERS_A_CUSTOMER: Final = 0.97  # in a week, about
_DELAY_DAYS: Final = {  # the shortest and the longest until it is known, and who says so
    "takeover": (0.2, 12.0, "customer"),
    "stolen_cards": (2.0, 30.0, "chargeback"),
    "ring": (1.0, 25.0, "analyst"),
    None: (0.1, 6.0, "analyst"),
}


@dataclass(frozen=True, slots=True)
class OrderLabel:
    """A label of an order, right or wrong."""

    known_at_ms: int
    order: str
    verdict: str
    source: str


@dataclass(frozen=True, slots=True)
class OrderPeriod:
    """A week or month: its orders, each with its id, and the labels that came to be known in it."""

    orders: tuple[tuple[str, ShopOrder], ...]
    labels: tuple[OrderLabel, ...]


def period_ends(count: int, by: str) -> list[int]:
    """The days behind each of so many weeks or calendar months, counted from 2026-01-05, which is day 0."""
    if by == "week":
        return [(number + 1) * DAYS for number in range(count)]
    first = datetime.fromtimestamp(START_MS / 1_000, UTC).date()
    months = (first.year * 12 + first.month + number for number in range(count))
    return [(date(month // 12, month % 12 + 1, 1) - first).days for month in months]


def periods(count: int, orders: int, seed: int, by: str = "week") -> Iterator[OrderPeriod]:
    """Give so many weeks or months one after the other, the first from 2026-01-05 on, of about so many orders each.

    Fourteen orders in a thousand are frauds. Nine frauds in ten are reported, days or weeks later; one
    honest order in two hundred is asked about; two labels in a hundred are wrong.

    Raises: UsageError if a number is below 1.
    Cost: about 20 us an order.
    """
    if count < 1 or orders < 1:
        raise UsageError(f"periods and orders are 1 at least, got {count} and {orders}.")
    ends = period_ends(count, by)
    customers = max(50, round(orders / ORDERS_A_CUSTOMER * DAYS * count / ends[-1]))
    shop, chance = Shop(customers, seed), Random(seed)  # noqa: S311 - made-up data
    waiting: list[ShopOrder] = []  # orders that an episode of fraud has set for later days
    known: list[tuple[int, int, OrderLabel]] = []
    given = 0
    for first, end in zip((0, *ends), ends, strict=False):
        end_ms = START_MS + end * DAY_MS
        drawn = [order for day in range(first, end) for order in shop.day(day)]
        drawn = sorted([*waiting, *drawn])
        waiting = [order for order in drawn if order.at_ms >= end_ms]
        taken = []
        for order in drawn[: len(drawn) - len(waiting)]:
            given += 1
            taken.append((f"o-{given}", order))
            label = _label(f"o-{given}", order, chance)
            if label is not None:
                heappush(known, (label.known_at_ms, given, label))
        labels = []
        while known and known[0][0] < end_ms:
            labels.append(heappop(known)[2])
        yield OrderPeriod(tuple(taken), tuple(labels))


@dataclass(frozen=True, slots=True)
class GeneratedOrders:
    """The files written: one for each period, and one of all labels known at the end."""

    files: tuple[Path, ...]
    labels_file: Path
    orders: int
    fraud: int
    labels: int


def generate_orders(
    folder: Path,
    batches: int,
    size: int,
    seed: int,
    progress: Callable[[int], None] | None = None,
    by: str = "week",
    *,
    has_labels_each: bool = False,
) -> GeneratedOrders:
    """Write `batch-01.parquet` and so on into a folder, one for each week or month, and `labels/labels.parquet`.

    Files of these names are replaced, each as a whole; a file of an earlier run with more batches goes.

    Args:
        size: Orders of a week or month, about.
        progress: Told of each file.
        has_labels_each: Write `batch-01-labels.parquet` and so on, too: the labels that became known in each.

    Cost: some 30 us an order, and 600 bytes of memory for each of one file.
    """
    import pyarrow as pa

    (folder / "labels").mkdir(parents=True, exist_ok=True)
    for path in folder.glob("batch-*.parquet"):
        path.unlink()
    files, labels, orders, fraud = list[Path](), list[pa.Table](), 0, 0
    for number, period in enumerate(periods(batches, size, seed, by), 1):
        files.append(folder / f"batch-{number:02}.parquet")
        _write(orders_table(period), files[-1])
        labels.append(labels_table(period))
        if has_labels_each:
            _write(labels[-1], files[-1].with_name(f"batch-{number:02}-labels.parquet"))
        orders += len(period.orders)
        fraud += sum(order.fraud is not None for _, order in period.orders)
        if progress is not None:
            progress(1)
    known = pa.concat_tables(labels)
    _write(known, folder / "labels" / "labels.parquet")
    return GeneratedOrders(tuple(files), folder / "labels" / "labels.parquet", orders, fraud, len(known))


def _write(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    from shroff.plugins.project import unfinished

    with unfinished(path) as file:
        pq.write_table(table, file)


def orders_table(period: OrderPeriod) -> pa.Table:
    """The orders as the template's events.yaml has them."""
    from decimal import Decimal

    import pyarrow as pa

    orders = [order for _, order in period.orders]
    return pa.table(
        {
            "order_id": pa.array([id_ for id_, _ in period.orders], pa.string()),
            "ordered_at": pa.array([order.at_ms for order in orders], pa.timestamp("ms", "UTC")),
            "customer_id": pa.array([order.customer for order in orders], pa.string()),
            "email": pa.array([order.email for order in orders], pa.string()),
            "ip_addr": pa.array([order.ip for order in orders], pa.string()),
            "location": pa.array([order.town for order in orders], pa.string()),
            "amount": pa.array([Decimal(order.cents).scaleb(-2) for order in orders], pa.decimal128(18, 2)),
        }
    )


def labels_table(period: OrderPeriod) -> pa.Table:
    """The labels as `shroff label FILE` takes them."""
    import pyarrow as pa

    rows = [
        {
            "event": f"order/{label.order}",
            "verdict": label.verdict,
            "source": label.source,
            "known_at": _moment(label.known_at_ms),
        }
        for label in period.labels
    ]
    texts = [pa.field(name, pa.string()) for name in ("event", "verdict", "source")]
    return pa.Table.from_pylist(rows, pa.schema([*texts, pa.field("known_at", pa.timestamp("ms", "UTC"))]))


def _label(id_: str, order: ShopOrder, chance: Random) -> OrderLabel | None:
    """What somebody finds out about an order; None where nobody does."""
    draw = chance.random()
    if draw >= ASKED_RATE if order.fraud is None else draw < NEVER_REPORTED_RATE:
        return None
    least, most, source = _DELAY_DAYS[order.fraud]
    # Most reports come early, a few take long: the square of an even draw.
    known_at_ms = order.at_ms + round((least + (most - least) * chance.random() ** 2) * DAY_MS)
    is_fraud = (order.fraud is not None) != (chance.random() < WRONG_RATE)
    return OrderLabel(known_at_ms, id_, "fraud" if is_fraud else "genuine", source)


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)
