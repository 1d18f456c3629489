"""The summary that the demo ends with: for people as tables, for programs as one JSON document."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from shroff.cli.demo_past import SEED as SEED_OF_THE_RULES
from shroff.cli.demo_past import DemoTraining
from shroff.cli.demo_progress import OUTCOME_STYLES
from shroff.cli.session import argument, many, one_line, program_word
from shroff.examples.demo import MONEY_PLACES, REVIEW, Caught, DemoFigures, Example, Fraud, Sum, Tally
from shroff.language.values import show_decimal
from shroff.project.policy import Policy

if TYPE_CHECKING:
    from shroff.explain.explanation import Explained

OUTCOMES: Final = ("approve", "challenge", "review", "decline")
WIDTH_MAX: Final = 100
BAR_WIDTH: Final = 12
SAVED: Final = (
    "Caught: declined, or held for a review or a challenge. Money saved: the amounts of the frauds caught. The "
    "costs of reviews and false declines are in policy.yaml; only the last line subtracts them."
)
NOT_SERVED: Final = "Without --once, the demo also serves this bank: open its link to work through the queue."
MODEL_REASONS: Final = (
    "The number before a reason is what it added to the score, in log-odds. Typical values are those of this card; "
    "with little history, those of all cards."
)
REASONS_SHOWN: Final = 6  # of the model's, for people


@dataclass(frozen=True, slots=True)
class DemoSummary:
    """Summary of the demo. `currency` and `policy` are the project's; `explained` is the tally's example.

    Of one that is served `folder` is the project, `cases` are open, `asked` customers are asked by mail, and `url` is
    the address that lets somebody in, once it can be opened.
    """

    tally: Tally
    learnt: DemoTraining
    seed: int
    events: int
    labels: int
    seconds: float
    currency: str
    policy: Policy
    explained: Explained | None
    folder: str | None = None
    cases: int = 0
    asked: int = 0
    url: str | None = None


# ---- for programs


def document(summary: DemoSummary) -> dict[str, Any]:
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
        "rules_alone": _figures(tally.rules_alone, summary.policy),
        "with_model": _figures(tally.all, summary.policy),
        "model": _model(summary),
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
        "example": json.loads(summary.explained.json()) if summary.explained else None,
        "example_fraud": example.fraud.kind if example and example.fraud else None,
        "project": summary.folder,
        "cases": summary.cases,
        "asked": summary.asked,
        "url": summary.url,
    }


def _figures(found: DemoFigures, policy: Policy) -> dict[str, Any]:
    """What one way to decide came to; `money_left` is what was saved less what stopping cost."""
    return {
        "fraud_caught": found.frauds.caught.payments,
        "fraud_missed": found.frauds.missed.payments,
        "money_saved": money(found.frauds.caught),
        "stopped": found.stopped,
        "reviewed": found.by_outcome[REVIEW],
        "honest_declined": found.honest_declined,
        "cost": show_decimal(found.cost_minor(policy), MONEY_PLACES),
        "money_left": show_decimal(found.gained_minor(policy), MONEY_PLACES),
    }


def _model(summary: DemoSummary) -> dict[str, Any]:
    """The model, where it comes from, and what it added to the rules: in money saved, and in that less costs."""
    learnt, tally = summary.learnt, summary.tally
    ours, rules = tally.all, tally.rules_alone
    added = ours.frauds.caught.amount_minor - rules.frauds.caught.amount_minor
    left = ours.gained_minor(summary.policy) - rules.gained_minor(summary.policy)
    return {
        "id": learnt.model,
        "in_force": learnt.is_in_force,
        "why_not": learnt.why_not,
        "average_precision": learnt.average_precision,
        "average_precision_of_rules": learnt.average_precision_of_rules,
        "gates": {gate.name: gate.passed for gate in learnt.report.gates},
        "review_at": learnt.review_at,
        "decline_at": learnt.decline_at,
        "learnt_from": {
            "seed": learnt.seed,
            "events": learnt.events,
            "labels": learnt.labels,
            "rows": learnt.report.rows,
            "frauds": learnt.report.fraud,
        },
        "money_added": show_decimal(added, MONEY_PLACES),
        "money_left_added": show_decimal(left, MONEY_PLACES),
    }


def money(amounts: Sum) -> str:
    return show_decimal(amounts.amount_minor, MONEY_PLACES)


# ---- for people


def print_report(summary: DemoSummary, console: Console) -> None:
    """Print the summary to the console."""
    console.width = min(console.width, WIDTH_MAX)
    tally = summary.tally
    console.print()
    _print_head(summary, console)
    for table in (_added(summary), _outcomes(tally), _frauds(tally, summary.currency), _rules(tally)):
        console.print()
        console.print(table)
    console.print()
    console.print(f"[dim]{SAVED}[/]")
    console.print()
    console.print(_about_the_model(summary))
    if tally.example is not None and summary.explained is not None:
        _explain(tally.example, summary.explained, summary.currency, console)
    console.print()
    if summary.folder is None or summary.url is None:
        console.print(NOT_SERVED)
        return
    _print_next(summary.folder, summary.learnt.model, summary.explained, console)
    _print_way_in(summary.url, summary.cases, summary.asked, console)


def _print_head(summary: DemoSummary, console: Console) -> None:
    frauds, pace = summary.tally.frauds, summary.events / summary.seconds
    console.print(
        f"Synthetic bank, seed {summary.seed}: [bold]{many(summary.events, 'payment')}[/] decided "
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


def _added(summary: DemoSummary) -> Table:
    """What the model added to the rules, in payments and in money."""
    rules, ours, policy = summary.tally.rules_alone, summary.tally.all, summary.policy
    table = _table("What the model adds", "rules alone", "with the model", "added")

    def row(name: str, alone: int, together: int, *, is_money: bool = False, style: str | None = None) -> None:
        show = _cents if is_money else "{:,}".format
        table.add_row(name, show(alone), show(together), show(together - alone), style=style)

    caught = rules.frauds.caught, ours.frauds.caught
    row("frauds caught", *(one.payments for one in caught))
    row("payments to review", rules.by_outcome[REVIEW], ours.by_outcome[REVIEW])
    row("honest payments declined", rules.honest_declined, ours.honest_declined)
    row(f"{summary.currency} saved", *(one.amount_minor for one in caught), is_money=True)
    row(f"{summary.currency} these cost", rules.cost_minor(policy), ours.cost_minor(policy), is_money=True)
    left = rules.gained_minor(policy), ours.gained_minor(policy)
    row(f"{summary.currency} left", *left, is_money=True, style="bold")
    return table


def _about_the_model(summary: DemoSummary) -> str:
    """Where the model comes from, how it was tested, and what it had seen of what is shown: nothing."""
    learnt, report = summary.learnt, summary.learnt.report
    ours, rules = (
        "-" if one is None else f"{one:.2f}" for one in (learnt.average_precision, learnt.average_precision_of_rules)
    )
    first = (
        f"[bold]The model.[/] {learnt.model} was trained on another synthetic bank, seed {learnt.seed}: "
        f"{learnt.events:,} payments, and the labels that were there at its end; {many(report.rows, 'payment')} with "
        f"{many(report.fraud, 'fraud')} were old enough. Tested there on two later weeks: average precision {ours}, "
        f"of the rules {rules}."
    )
    if not learnt.is_in_force:
        return f"{first} It is not active: {learnt.why_not}. Only rules decided."
    cuts = ", ".join(
        f"{word} from {cut:.3f}"
        for word, cut in (("review", learnt.review_at), ("decline", learnt.decline_at))
        if cut is not None
    )
    seen = (
        "Neither the rules nor the model have seen the bank above."
        if summary.seed != SEED_OF_THE_RULES
        else "The rules were written for a bank with this seed; the model has not seen it."
    )
    return f"{first} Its gates passed, costs gave its thresholds ({cuts or 'none'}). {seen}"


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
        "all, with the model",
        "",
        f"{tally.stopped:,}",
        f"{caught:,}",
        _percent(tally.precision),
        _percent(tally.recall),
        style="bold",
    )
    return table


def _amount(amounts: Sum) -> str:
    return _cents(amounts.amount_minor)


def _cents(amount_minor: int) -> str:
    return f"{amount_minor / 10**MONEY_PLACES:,.{MONEY_PLACES}f}"


def _percent(share: float | None, places: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{places}f} %"


# ---- one decision


def _explain(example: Example, explained: Explained, currency: str, console: Console) -> None:
    """One decision: what it was about, why it came out so, and the features beside it."""
    row, document = explained.row, explained.document
    style = OUTCOME_STYLES[row.outcome]
    console.print()
    named = escape(one_line(f"{row.event}/{row.id}"))
    console.print(f"[bold]One decision explained.[/] {named}: [{style}]{row.outcome}[/]. {_truth(example.fraud)}")
    if example.fraud is not None:
        console.print(Padding(_payment(example.fraud.event, currency), (0, 0, 0, 2), expand=False))
    reasons = Table.grid(padding=(0, 2))
    reasons.add_column(justify="right", no_wrap=True)
    reasons.add_column(no_wrap=True)
    reasons.add_column()
    for one in document["reasons"]:
        effect = Text(one["effect"], style=OUTCOME_STYLES.get(one["effect"], ""))
        reasons.add_row(effect, one["code"], Text(one_line(explained.rule_words.get(one["code"], one["text"]))))
    for reason in explained.reasons[:REASONS_SHOWN]:
        style = "red" if reason.contribution > 0 else "green"
        reasons.add_row(Text(f"{reason.contribution:+.2f}", style=style), reason.code, Text(one_line(reason.text)))
    console.print(Padding(reasons, (1, 0, 1, 2), expand=False))
    if document["score"] is not None:
        words = f"Its score is {document['score']:.3f}. {MODEL_REASONS}"
        console.print(Padding(Text(words, style="dim"), (0, 0, 1, 2), expand=False))
    read = _read(document["rules"], explained)
    console.print(Padding(_features(document["features"], read), (0, 0, 0, 2), expand=False))


def _truth(fraud: Fraud | None) -> str:
    return f"Actually it was {fraud.kind.replace('_', ' ') if fraud else 'an honest payment'}."


def _read(rules: Collection[str], explained: Explained) -> frozenset[str]:
    """The features that stand in the words of the rules behind a decision, and in the model's first reasons."""
    words = [rule.text for rule in explained.explanation.rules if rule.id in rules]
    told = {feature.name for feature in explained.explanation.features if any(feature.name in text for text in words)}
    return frozenset([*told, *(reason.code for reason in explained.reasons[:REASONS_SHOWN])])


def _payment(event: Mapping[str, str], currency: str) -> Text:
    where = f"{event['merchant']} ({event['channel']}, {event['country']})"
    device = f", device {event['device']}" if "device" in event else ""
    when = event["paid_at"].replace("T", " ").partition(".")[0]
    return Text(one_line(f"{event['amount']} {currency} at {when} UTC: card {event['card']} at {where}{device}"))


def _features(features: Mapping[str, Any], read: Collection[str]) -> Table:
    """Two columns of names and values; those behind the reasons come first, in bold."""
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


def _print_next(folder: str, model: str, explained: Explained | None, console: Console) -> None:
    ids: Sequence[str] = [explained.row.id] if explained else []
    console.print("The project is kept. Try in another terminal:")
    commands = [*(f"explain {argument(id_)}" for id_ in ids), f"models show {argument(model)}", "verify"]
    for command in commands:
        console.print(escape(one_line(f"  {program_word()} -C {argument(folder)} {command}")), soft_wrap=True)


def _print_way_in(url: str, cases: int, asked: int, console: Console) -> None:
    """Last what is done next, so that it stands at the foot of the terminal."""
    waiting = f"{many(cases, 'case')} in the queue"
    mails = f", {many(asked, 'mail')} to customers to answer" if asked else ""
    console.print()
    console.print(f"[bold]The service is running:[/] {waiting}{mails}.")
    console.print("Open this link. It signs you in once, only on this machine:")
    console.print()
    console.print(escape(one_line(f"  {url}")), style="bold", soft_wrap=True)
    console.print()
    console.print("More payments arrive as you look around. Press Ctrl-C to stop.")
