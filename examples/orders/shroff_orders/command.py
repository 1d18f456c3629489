"""`shroff generate`: synthetic data, with fraud."""

from __future__ import annotations

from pathlib import Path

import click

from shroff.plugins.commands import ExampleGroup, Session, argument, bars, command, json_option, many


@click.group("generate", cls=ExampleGroup, no_args_is_help=False)
@json_option
def generate() -> None:
    """Generate synthetic data. The same seed gives the same rows."""


generate.examples = ("shroff generate orders --batches 12 --size 100000 --out orders",)


@command("orders", group=generate)
@click.option("--batches", type=click.IntRange(1, 520), default=12, show_default=True, help="Number of files.")
@click.option(
    "--by",
    type=click.Choice(["week", "month"]),
    default="week",
    show_default=True,
    help="What one file has; the first month begins on the 5th.",
)
@click.option(
    "--size", type=click.IntRange(1, 2_000_000), default=100_000, show_default=True, help="Approximate orders per file."
)
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Random seed; another gives another shop."
)
@click.option(
    "--out",
    metavar="FOLDER",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder to write into.",
)
@click.option(
    "--labels-each", is_flag=True, help="Also write batch-01-labels.parquet and so on: labels that arrived in each."
)
def orders(session: Session, batches: int, by: str, size: int, seed: int, out: Path, labels_each: bool) -> None:
    """Generate orders of a synthetic shop: a Parquet file per week or month, and one with the labels known at the end.

    Customers behave as in real data: they move, share addresses and use relays. The orders include three kinds of
    fraud: account takeover, stolen cards, and rings of new customers. Labels arrive days to weeks later; nine of ten
    frauds are reported, and two of a hundred labels are wrong. The template 'orders' reads the files.

    The command belongs to a plug-in of the repository, which `make setup` installs: 'pip install ./examples/orders'.

    Examples:
        shroff generate orders --batches 12 --size 100000 --seed 1 --out orders
        shroff generate orders --by month --batches 6 --out orders
    """
    from shroff_orders.periods import generate_orders

    with bars("generating, files") as (progress,):
        made = generate_orders(out, batches, size, seed, progress, by, has_labels_each=labels_each)
    document = {
        "folder": str(out),
        "files": [str(path) for path in made.files],
        "labels_file": str(made.labels_file),
        "orders": made.orders,
        "fraud": made.fraud,
        "labels": made.labels,
    }
    share = made.fraud / made.orders if made.orders else 0.0
    text = f"{out}: {many(made.orders, 'order')} in {many(batches, 'file')}, {made.fraud:,} of them fraud ({share:.1%})"
    session.answer(document, f"{text}; {many(made.labels, 'label')} in {made.labels_file}.")
    first = f"{argument(out)}/batch-01"
    session.next(
        "shroff init shop --template orders",
        f"shroff ingest {first}.parquet --as order --labels {first}-labels.parquet"
        if labels_each
        else f"shroff train {argument(out)}/batch-*.parquet --labels {argument(made.labels_file)} --order time",
    )
