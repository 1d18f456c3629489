"""The summary that the demo ends with: for people as tables, for programs as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shroff.cli.demo_progress import OUTCOME_STYLES
from shroff.cli.session import argument, many, one_line
from shroff.examples.demo import MONEY_PLACES, Caught, Example, Sum, Tally
from shroff.language.values import show_decimal

OUTCOMES: Final = ("approve", "challenge", "review", "decline")
WIDTH_MAX: Final = 100
BAR_WIDTH: Final = 12
SAVED: Final = (
    "Caught: declined, or held for a review or a challenge. Money saved: the amounts of the frauds caught; "
    "what reviews and honest customers held up cost is not taken off."
)
NOT_YET: Final = "This version neither trains a model nor serves screens yet, so there is no address to open."


@dataclass(frozen=True, slots=True)
class Summary:
    """What the demo did. `currency` is the project's; `read` has the features that the example's rules read."""

    tally: Tally
    seed: int
    events: int
    labels: int
    seconds: float
    currency: str
    read: frozenset[str]
    folder: str | None = None


# ---- for programs


def document(summary: Summary) -> dict[str, Any]:
    """The summary as `--json` gives it; money as decimal strings, rates in [0, 1] or null of nothing."""
    tally = summary.tally
    frauds, example = tally.frauds, tally.example
    return {
        "events": summary.events,
        "labels": summary.labels,
        "decisions": tally.decisions,
        "by_outcome": {outcome: tally.by_outcome[outcome] for outcome in OUTCOMES},
        "fraud_caught": frauds.caught.payments,
        "fraud_missed": frauds.missed.payments,
        "money_saved": money(frauds.caught),
        "money_lost": money(frauds.missed),
        "precision": tally.precision,
        "recall": tally.recall,
        "recall_of_money": tally.recall_of_money,
        "frauds": {
            kind: {
                "caught": one.caught.payments,
                "missed": one.missed.payments,
                "money_saved": money(one.caught),
                "money_lost": money(one.missed),
            }
            for kind, one in sorted(tally.kinds.items())
        },
        "rules": [
            {
                "id": rule,
                "effect": one.effect,
                "hits": one.hits,
                "frauds": one.frauds,
                "precision": one.precision,
                "recall": tally.recall_of(rule),
            }
            for rule, one in sorted(tally.rules.items())
        ],
        "seconds": round(summary.seconds, 3),
        "events_per_second": round(summary.events / summary.seconds, 1),
        "seed": summary.seed,
        "example": json.loads(example.document) if example else None,
        "example_fraud": example.fraud.kind if example and example.fraud else None,
        "project": summary.folder,
        "url": None,
    }


def money(amounts: Sum) -> str:
    return show_decimal(amounts.amount_minor, MONEY_PLACES)


# ---- for people


def print_report(summary: Summary, console: Console) -> None:
    """Print the summary to the console."""
    console.width = min(console.width, WIDTH_MAX)
    tally = summary.tally
    console.print()
    _print_head(summary, console)
    for table in (_outcomes(tally), _frauds(tally, summary.currency), _rules(tally)):
        console.print()
        console.print(table)
    console.print()
    console.print(f"[dim]{SAVED}[/]")
    if tally.example is not None:
        _explain(tally.example, summary, console)
    console.print()
    console.print(NOT_YET)
    if summary.folder is not None:
        _print_next(summary.folder, tally.example, console)


def _print_head(summary: Summary, console: Console) -> None:
    frauds, pace = summary.tally.frauds, summary.events / summary.seconds
    console.print(
        f"A made-up bank, seed {summary.seed}: [bold]{many(summary.events, 'payment')}[/] decided "
        f"in {summary.seconds:.1f} s, [bold]{pace:,.0f} a second[/]."
    )
    console.print(
        f"[bold]{frauds.caught.payments:,} of {frauds.payments:,} frauds caught[/], {_percent(summary.tally.recall)}: "
        f"[bold]{_amount(frauds.caught)} {summary.currency} saved[/], "
        f"{_percent(summary.tally.recall_of_money)} of the money."
    )
    console.print(f"Missed: {many(frauds.missed.payments, 'fraud')}, {_amount(frauds.missed)} {summary.currency}.")


def _table(*columns: str) -> Table:
    """A calm table: no lines but one below the head; the first column is text, the others figures."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold", padding=(0, 1))
    for at, name in enumerate(columns):
        table.add_column(name, justify="left" if at == 0 else "right", no_wrap=True)
    return table


def _outcomes(tally: Tally) -> Table:
    table = _table("Outcome", "payments", "share", "frauds among them")
    for outcome in OUTCOMES:
        count = tally.by_outcome[outcome]
        share = _percent(count / tally.decisions if tally.decisions else None, places=2)
        name = Text(outcome, style=OUTCOME_STYLES[outcome])
        table.add_row(name, f"{count:,}", share, f"{tally.frauds_by_outcome[outcome]:,}")
    return table


def _frauds(tally: Tally, currency: str) -> Table:
    table = _table("Fraud", "frauds", "caught", "missed", f"{currency} saved", f"{currency} lost")
    table.add_column("saved", max_width=BAR_WIDTH)
    rows = [*sorted(tally.kinds.items()), ("all", tally.frauds)]
    for name, one in rows:
        cells = (
            f"{one.payments:,}",
            f"{one.caught.payments:,}",
            f"{one.missed.payments:,}",
            _amount(one.caught),
            _amount(one.missed),
            _bar(one),
        )
        table.add_row(name.replace("_", " "), *cells, style="bold" if name == "all" else None)
    return table


def _bar(one: Caught) -> ProgressBar:
    """The money that was saved, of all that was at stake."""
    saved, lost = one.caught.amount_minor, one.missed.amount_minor
    return ProgressBar(saved + lost, saved, style="red", complete_style="green", finished_style="green")


def _rules(tally: Tally) -> Table:
    """Rules by how many frauds they hit; last a row for what all of them came to."""
    table = _table("Rule", "effect", "hits", "frauds", "precision", "recall")
    table.columns[1].justify = "left"
    for rule, one in sorted(tally.rules.items(), key=lambda item: (-item[1].frauds, -item[1].hits, item[0])):
        effect = Text(one.effect, style=OUTCOME_STYLES.get(one.effect, ""))
        table.add_row(
            rule, effect, f"{one.hits:,}", f"{one.frauds:,}", _percent(one.precision), _percent(tally.recall_of(rule))
        )
    caught = tally.frauds.caught.payments
    table.add_row(
        "any of them",
        "",
        f"{tally.stopped:,}",
        f"{caught:,}",
        _percent(tally.precision),
        _percent(tally.recall),
        style="bold",
    )
    return table


def _amount(amounts: Sum) -> str:
    whole, _, cents = money(amounts).partition(".")
    return f"{int(whole):,}.{cents}"


def _percent(share: float | None, places: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{places}f} %"


# ---- one decision


class _Reason(msgspec.Struct):
    code: str
    text: str
    effect: str


class _Decision(msgspec.Struct):
    event: str
    id: str
    outcome: str
    reasons: list[_Reason]
    features: dict[str, Any]


def _explain(example: Example, summary: Summary, console: Console) -> None:
    """One decision: what it was about, why it came out so, and the features beside it."""
    decision = msgspec.json.decode(example.document, type=_Decision)
    style = OUTCOME_STYLES[decision.outcome]
    truth = example.fraud.kind.replace("_", " ") if example.fraud else "an honest payment"
    console.print()
    named = escape(one_line(f"{decision.event}/{decision.id}"))
    console.print(f"[bold]One decision explained.[/] {named}: [{style}]{decision.outcome}[/]. In truth it was {truth}.")
    if example.fraud is not None:
        console.print(Padding(_payment(example.fraud.event, summary.currency), (0, 0, 0, 2), expand=False))
    reasons = Table.grid(padding=(0, 2))
    reasons.add_column(no_wrap=True)
    reasons.add_column(no_wrap=True)
    reasons.add_column()
    for one in decision.reasons:
        reasons.add_row(Text(one.effect, style=OUTCOME_STYLES.get(one.effect, "")), one.code, Text(one_line(one.text)))
    console.print(Padding(reasons, (1, 0, 1, 2), expand=False))
    console.print(Padding(_features(decision.features, summary.read), (0, 0, 0, 2), expand=False))


def _payment(event: Mapping[str, str], currency: str) -> Text:
    where = f"{event['merchant']} ({event['channel']}, {event['country']})"
    device = f", device {event['device']}" if "device" in event else ""
    when = event["paid_at"].replace("T", " ").partition(".")[0]
    return Text(one_line(f"{event['amount']} {currency} at {when} UTC: card {event['card']} at {where}{device}"))


def _features(features: Mapping[str, Any], read: Collection[str]) -> Table:
    """Two columns of names and values; those that the rules read come first, in bold."""
    names = sorted(features, key=lambda name: (name not in read, name))
    cells = [
        (_named(name, name in read), Text(_value(features[name]), "bold" if name in read else "dim")) for name in names
    ]
    half = -(-len(cells) // 2)
    table = Table.grid(padding=(0, 2))
    for side in range(2):
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        if side == 0:
            table.add_column(width=2)
    for row in range(half):
        left, right = cells[row], cells[row + half] if row + half < len(cells) else (Text(), Text())
        table.add_row(*left, "", *right)
    return table


def _named(name: str, is_read: bool) -> Text:
    return Text(name, style="bold" if is_read else "dim")


def _value(value: object) -> str:
    """A feature's JSON value for people."""
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1 else f"{value:,.2f}"
    return one_line(value)


def _print_next(folder: str, example: Example | None, console: Console) -> None:
    ids: Sequence[str] = [msgspec.json.decode(example.document, type=_Decision).id] if example else []
    console.print()
    console.print("The project stays where it is. Try next:")
    commands = [*(f"explain {argument(id_)}" for id_ in ids), "verify", "export decisions --out decisions.jsonl"]
    for command in commands:
        console.print(escape(one_line(f"  shroff -C {argument(folder)} {command}")), soft_wrap=True)
