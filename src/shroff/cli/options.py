"""Options that several commands have."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import wraps
from typing import Any, Final, cast

import click

from shroff.cli import completion
from shroff.cli.session import Function

FORMAT: Final = click.option(
    "--format",
    "format_",
    metavar="FORMAT",
    shell_complete=completion.formats,
    help="csv, jsonl, parquet or avro.  [default: by the file's extension, else by its content]",
)


def cluster_options(words: str, names: Sequence[str] = ("local", "dask", "spark")) -> Callable[[Function], Function]:
    """`--backend`, of these names, with what its help says in these words, `--cluster` and `--partitions`."""
    return _with(
        click.option(
            "--backend",
            default=names[0],
            show_default=True,
            shell_complete=completion.words(*names),
            help=words,
        ),
        click.option(
            "--cluster",
            metavar="ADDRESS",
            help="Address of a running cluster, such as tcp://HOST:8786 or spark://HOST:7077.  [default: one is "
            "started here]",
        ),
        click.option(
            "--partitions",
            metavar="N",
            type=int,
            help="Number of partitions of each entity's keys (16); each must fit into the memory of one process.",
        ),
    )


def gathered(kind: type[Any]) -> Callable[[Function], Function]:
    """The options of a command as one value: `options`, a dataclass whose fields have the options' names."""
    names = [field.name for field in fields(kind)]

    def decorate(function: Function) -> Function:
        @wraps(function)
        def run(*args: Any, **values: Any) -> Any:
            options = kind(**{name: values.pop(name) for name in names})
            return function(*args, options=options, **values)

        return cast("Function", run)

    return decorate


def _with(*options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """All of them, in this order."""

    def add(function: Function) -> Function:
        for option in reversed(options):  # the last one that is added stands first
            function = option(function)
        return function

    return add
