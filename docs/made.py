"""The pages of the reference that are made from the program: functions, aggregates, commands;
files and Python come from `docs/made_files.py`, errors from `docs/made_errors.py`.

`docs/build.py` writes them; a test fails when one of them is stale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final, NoReturn, TypeGuard

import click

from docs.made_api import api_page
from docs.made_errors import errors_page
from docs.made_files import MADE, REFERENCE, made_file_pages, markdown_table
from docs.made_limits import limits_page
from docs.made_metrics import metrics_page
from docs.made_numbers import numbers_page
from docs.made_plugins import plugins_page
from docs.made_subjects import PAGE as ARCHITECTURE
from docs.made_subjects import architecture_page
from shroff.cli.main import CommandGroup, program
from shroff.events.validation import EventValidator
from shroff.features.definitions import cost
from shroff.features.naive import Naive
from shroff.language.aggregates import AGGREGATES, AggregateRow
from shroff.language.checker import check
from shroff.language.expression import Node
from shroff.language.functions import FUNCTIONS
from shroff.language.names import DeclaredNames, Scope
from shroff.language.row import compile_row
from shroff.language.syntax import ExpressionError
from shroff.language.types import BOOLEAN, DURATION, INTEGER, REAL, TEXT, TIME, Type, money, number
from shroff.language.values import Value, show
from shroff.operations import manifest
from shroff.project.definitions import Definitions, computed_of, load_definitions

TYPES: Final[dict[str, Type]] = {
    "integer": INTEGER,
    "number": number(),
    "money": money(2),
    "real": REAL,
    "text": TEXT,
    "boolean": BOOLEAN,
    "time": TIME,
    "duration": DURATION,
}
AMOUNTS: Final = ("10.00", "20.00", "20.00", "50.00")
PROJECT: Final = {
    "shroff.yaml": "shroff: 1\nname: example\nmoney: EUR\n",
    "events.yaml": "payment:\n  id: id\n  time: at\n  decide: true\n  fields:\n    id: text\n    at: time\n"
    "    card: text\n    amount: money\nentities:\n  card: { payment: card }\n",
}


def made_pages() -> dict[Path, str]:
    """Each made page with its text."""
    return {
        REFERENCE / "functions.md": functions_page(),
        REFERENCE / "aggregates.md": aggregates_page(),
        REFERENCE / "commands.md": commands_page(),
        REFERENCE / "api.md": api_page(),
        REFERENCE / "errors.md": errors_page(),
        REFERENCE / "limits.md": limits_page(),
        REFERENCE / "metrics.md": metrics_page(),
        REFERENCE / "numbers.md": numbers_page(),
        REFERENCE / "plugin-names.md": plugins_page(),
        ARCHITECTURE: architecture_page(),
        **made_file_pages(),
    }


# ---- functions


def functions_page() -> str:
    rows = [
        (f"`{function.form}`", function.meaning, f"`{function.example}`", f"`{value_of(function.example)}`")
        for function in sorted(FUNCTIONS.values(), key=lambda function: function.name)
    ]
    return (
        f"{MADE}# Functions\n\n"
        "A function of missing is missing. In rules and features so is one that has no result, such as\n"
        "`integer('many')`; in the mapping of a file that is a mistake of the line, which goes to quarantine.\n"
        "Arguments shown as pattern, format and places are written out; the last ones may be left out where an\n"
        "example does so. [The language](language.md) has everything else.\n\n"
        f"{markdown_table(('function', 'gives', 'example', 'which is'), rows)}"
    )


def value_of(text: str) -> str:
    """The value of an expression that reads nothing, as a person would be shown it."""
    node = check(text, Scope(DeclaredNames(), "an example"))
    return shown(compile_row(node, reads_nothing)(None), node.type)


def reads_nothing(node: Node) -> NoReturn:
    raise AssertionError(f"an example reads {node}")


def shown(value: Value, type_: Type) -> str:
    return f"'{value}'" if isinstance(value, str) else show(value, type_, 2)


# ---- aggregates


def aggregates_page() -> str:
    rows = [aggregate_row(row) for row in AGGREGATES.values()]
    *summed, last = (f"`{row.name}`" for row in AGGREGATES.values() if row.is_summed)
    counting = " and ".join(f"`{row.name}`" for row in AGGREGATES.values() if row.takes is None)
    amounts = ", ".join(AMOUNTS)
    return (
        f"{MADE}# Aggregates\n\n"
        "An aggregate looks at the events of one type and one key in a window. [Windows](../explain/windows.md) says\n"
        f"which these are; any aggregate may have a `where`, last in its brackets. {counting} take an event\n"
        "type and count events; the others take an expression over its fields and leave out events where that is\n"
        f"missing. A value beyond 10^15 of its smallest unit counts as missing in {', '.join(summed)} and {last},\n"
        "one beyond 64 bits in all others; `shroff doctor` reports both. The last two columns are what each gives of\n"
        "no event at all, and of four payments of\n"
        f"{amounts}, in this order.\n\n"
        f"{markdown_table(('aggregate', 'gives', 'takes', 'type', 'cost', 'of nothing', 'of the four'), rows)}\n"
        "*Cost*, as `shroff check` says it, is that of the form shown. A `where` that compares with `this` in any way\n"
        "but `E.f == this.f` makes it *a look per event in the window*; `via` *a look per linked event*; without\n"
        "`over` it *grows for ever*, by a few words for each key, and `distinct` by each value too.\n"
    )


def aggregate_row(row: AggregateRow) -> Sequence[str]:
    text = aggregate_text(row, "payment.amount")
    nothing, four = values_of_amounts(text)
    node = example_definitions(text).features["card.x"].node
    takes = takes_of(row)
    type_ = "the same" if node.type.kind == "money" else str(node.type)
    return (f"`{text}`", row.gives, ", ".join(takes), type_, cost(node), nothing, four)


def aggregate_text(row: AggregateRow, argument: str) -> str:
    inside = "payment" if row.takes is None else argument
    inside += (", 2" if row.state == "looks" else ", 0.95") if row.has_rank else ""
    inside += " where payment.amount >= 20" if row.needs_where else ""
    return f"{row.name}({inside}) over 7d"


def takes_of(row: AggregateRow) -> list[str]:
    """The types that an aggregate takes, by trying each."""
    if row.takes is None:
        return ["an event type"]
    scope = Scope(
        DeclaredNames({"payment": TYPES}, {"card": frozenset(["payment"])}, frozenset(["payment"])),
        this=("payment",),
        entity="card",
    )
    found = []
    for kind in TYPES:
        try:
            check(aggregate_text(row, f"payment.{kind}"), scope)
        except ExpressionError:
            continue
        found.append(kind)
    return ["any type"] if len(found) == len(TYPES) else found


def example_definitions(text: str) -> Definitions:
    loaded = load_definitions(PROJECT | {"features.yaml": f"card:\n  x: {text}\n"})
    if loaded.definitions is None:
        raise AssertionError(loaded.problems)
    return loaded.definitions


def values_of_amounts(text: str) -> tuple[str, str]:
    """What an aggregate gives of no event, and of a payment of each amount, by the naive engine."""
    definitions = example_definitions(text)
    naive = Naive(definitions.events, computed_of(definitions), definitions.reference)
    validator = EventValidator(definitions.events, definitions.settings)
    type_ = definitions.features["card.x"].type
    values = []
    for minute, amount in enumerate((*AMOUNTS, "1.00")):
        given = {"id": f"p{minute}", "at": f"2026-01-01T10:0{minute}:00Z", "card": "c", "amount": amount}
        values.append(shown(naive.add(validator.admit("payment", given, is_strict=False))["card.x"], type_))
    return values[0], values[-1]


# ---- commands


def commands_page() -> str:
    context = click.Context(program, info_name="shroff")
    commands = CommandGroup(name="shroff")
    parts = [
        command_part(name, command) for name in manifest.commands() if (command := commands.get_command(context, name))
    ]
    return (
        f"{MADE}# Commands\n\n"
        "`shroff [-C DIR] COMMAND`: DIR is the project's folder. The default is the nearest parent folder with a\n"
        "`shroff.yaml`. Every command also has `--json`: it prints one JSON document on standard output, and nothing\n"
        "else. `decide` prints its lines instead, and so does `export` without `--out`.\n\n"
        "See also [errors and exit statuses](errors.md).\n\n"
        f"{''.join(parts).rstrip()}\n"
    )


def command_part(name: str, command: click.Command, level: int = 2) -> str:
    usage = " ".join(["shroff", name, *arguments_of(command)])
    words = "\n".join(line.strip() for line in (command.help or "").strip().splitlines())
    text = f"{'#' * level} {name}\n\n`{usage}`\n\n{words}\n\n"
    rows = [
        (f"`{said.metavar or (said.name or '').upper()}`", said.help or "") for said in command.params if _is_told(said)
    ]
    if rows:
        text += f"{markdown_table(('argument', 'is'), rows)}\n"
    options = [option_row(option) for option in command.params if _is_shown(option)]
    options = [row for row in options if row[0] != "`--json`"]
    if options:
        text += f"{markdown_table(('option', 'does'), options)}\n"
    examples: Sequence[str] = getattr(command, "examples", ())
    if examples:
        text += "```sh\n" + "".join(f"{example}\n" for example in examples) + "```\n\n"
    if isinstance(command, click.Group):
        parts = [command_part(f"{name} {sub}", command.commands[sub], level + 1) for sub in sorted(command.commands)]
        text += "".join(parts)
    return text


def _is_shown(parameter: click.Parameter) -> TypeGuard[click.Option]:
    """Whether it has a row; what every command has stands on top of the page."""
    return isinstance(parameter, click.Option) and not parameter.hidden


def _is_told(parameter: click.Parameter) -> TypeGuard[click.Argument]:
    """Whether it is an argument with words of its own."""
    return isinstance(parameter, click.Argument) and bool(parameter.help)


def arguments_of(command: click.Command) -> Iterable[str]:
    if isinstance(command, click.Group):
        yield "COMMAND"
    for argument in command.params:
        if isinstance(argument, click.Argument):
            shape = argument.metavar or (argument.name or "").upper()
            yield shape if argument.required or shape.startswith("[") else f"[{shape}]"


def option_row(option: click.Option) -> tuple[str, str]:
    names = " / ".join((*option.opts, *option.secondary_opts))
    shape = option.type.name.upper()
    if isinstance(option.type, click.Choice):
        shape = "|".join(map(str, option.type.choices))
    value = "" if option.is_flag else f" {option.metavar or shape}"
    return f"`{names}{value}`", option.help or ""
