"""The options of commands that may compute in processes of a cluster."""

from __future__ import annotations

from collections.abc import Callable

import click

from shroff.cli import completion
from shroff.cli.session import Function


def cluster_options(words: str) -> Callable[[Function], Function]:
    """`--backend`, with what its help says in these words, `--cluster` and `--partitions`."""
    options = (
        click.option(
            "--backend",
            default="local",
            show_default=True,
            shell_complete=completion.words("local", "dask", "spark"),
            help=words,
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="A running cluster, such as tcp://HOST:8786 or spark://HOST:7077. Without it one is started here.",
        ),
        click.option(
            "--partitions",
            metavar="N",
            type=int,
            help="Into how many partitions each entity's keys go (16): each must fit into the memory of one process.",
        ),
    )

    def add(function: Function) -> Function:
        for option in reversed(options):  # the last one that is added stands first
            function = option(function)
        return function

    return add
