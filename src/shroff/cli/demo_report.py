"""The summary at the end of the demo: text for people, a JSON document for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from shroff.cli.session import argument, many, one_line, program_word, table
from shroff.examples.demo import MONEY_PLACES, REVIEW, Caught, DemoFigures, Tally
from shroff.json_types import JsonObject
from shroff.language.values import show_decimal
from shroff.runtime.values import FrozenStruct

if TYPE_CHECKING:
    from shroff.explain.explanation import Explained
    from shroff.project.definitions import Definitions
    from shroff.project.policy import Policy
    from shroff.training.train import TrainReport
    from shroff.worker.ingest import IngestReport

SEED_OF_THE_RULES = 1  # seed of the bank for which the template's rules were written
OUTCOMES = ("approve", "challenge", "review", "decline")
WIDTH = 80
REASONS_SHOWN = 6  # of the model


class DemoTraining(FrozenStruct):
    """The bank on which the model was trained, the training report, and the recommended thresholds."""

    seed: int
    taken: IngestReport
    report: TrainReport
    review_at: float | None = None
    decline_at: float | None = None

    @property
    def model(self) -> str:
        return self.report.stored.id

    @property
    def average_precision(self) -> float | None:
        return self.report.evaluation.metrics["average_precision"].mean

    @property
    def average_precision_of_rules(self) -> float | None:
        compared = self.report.evaluation.compared["rules_only"].metrics.get("average_precision")
        return None if compared is None else compared.mean


class DemoSummary(FrozenStruct):
    """Summary of the demo; `explained` is the tally's example.

    If the demo is served, `folder` is the project, `cases` counts open cases, `asked` counts customers asked by mail,
    and `url` signs a user in.
    """

    tally: Tally
    learnt: DemoTraining
    seed: int
    reports: Sequence[IngestReport]
    definitions: Definitions
    explained: Explained | None
    folder: str | None = None
    cases: int = 0
    asked: int = 0
    url: str | None = None

    @property
    def events(self) -> int:
        return sum(report.events.appended for report in self.reports)

    @property
    def seconds(self) -> float:
        return sum(report.seconds for report in self.reports)

    @property
    def policy(self) -> Policy:
        return self.definitions.policy("payment")


# ---- for programs


def document(summary: DemoSummary) -> JsonObject:
    """Return the document of `--json`: money as decimal strings, rates in [0, 1], null if undefined."""
    tally = summary.tally
    example = tally.example
    return {
        "events": summary.events,
        "labels": sum(report.labels.appended for report in summary.reports),
        "decisions": tally.decisions,
        "by_outcome": {outcome: tally.by_outcome[outcome] for outcome in OUTCOMES},
        **_caught(tally.frauds, "fraud_"),
        "rules_alone": _figures(tally.rules_alone, summary.policy),
        "with_model": _figures(tally.all, summary.policy),
        "model": _model(summary),
        "precision": tally.precision,
        "recall": tally.recall,
        "recall_of_money": tally.recall_of_money,
        "frauds": {kind: _caught(caught) for kind, caught in sorted(tally.kinds.items())},
        "rules": [
            {
                "id": id_,
                "effect": rule.effect,
                "hits": rule.hits,
                "frauds": rule.frauds,
                "precision": rule.precision,
                "recall": tally.recall_of(id_),
            }
            for id_, rule in sorted(tally.rules.items())
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


def _caught(frauds: Caught, prefix: str = "") -> JsonObject:
    return {
        f"{prefix}caught": frauds.caught.payments,
        f"{prefix}missed": frauds.missed.payments,
        "money_saved": _money(frauds.caught.amount_minor),
        "money_lost": _money(frauds.missed.amount_minor),
    }


def _figures(figures: DemoFigures, policy: Policy) -> JsonObject:
    caught = _caught(figures.frauds, "fraud_")
    del caught["money_lost"]
    return {
        **caught,
        "stopped": figures.stopped,
        "reviewed": figures.by_outcome[REVIEW],
        "honest_declined": figures.honest_declined,
        "cost": _money(figures.cost_minor(policy)),
        "money_left": _money(figures.gained_minor(policy)),
    }


def _model(summary: DemoSummary) -> JsonObject:
    training = summary.learnt
    with_model = summary.tally.all
    rules = summary.tally.rules_alone
    report = training.report
    policy = summary.policy
    return {
        "id": training.model,
        "in_force": report.promoted,
        "why_not": report.why_not,
        "average_precision": training.average_precision,
        "average_precision_of_rules": training.average_precision_of_rules,
        "gates": {gate.name: gate.passed for gate in report.gates},
        "review_at": training.review_at,
        "decline_at": training.decline_at,
        "learnt_from": {
            "seed": training.seed,
            "events": training.taken.events.appended,
            "labels": training.taken.labels.appended,
            "rows": report.rows,
            "frauds": report.fraud,
        },
        "money_added": _money(with_model.frauds.caught.amount_minor - rules.frauds.caught.amount_minor),
        "money_left_added": _money(with_model.gained_minor(policy) - rules.gained_minor(policy)),
    }


def _money(minor: int) -> str:
    return show_decimal(minor, MONEY_PLACES)


# ---- for people


def text_of(summary: DemoSummary) -> str:
    """Render `templates/demo.txt.jinja`: paragraphs are wrapped, links and commands are not."""
    from jinja2 import Environment, PackageLoader

    tally = summary.tally
    training = summary.learnt
    explained = summary.explained
    thresholds = ("review", training.review_at), ("decline", training.decline_at)
    ids = [f"explain {argument(explained.row.id)}"] if explained else []
    program = f"{program_word()} -C {argument(summary.folder or '')}"
    environment = Environment(  # noqa: S701 - of text for a terminal
        loader=PackageLoader(__package__), trim_blocks=True, lstrip_blocks=True
    )
    filled = partial(textwrap.fill, width=WIDTH)
    environment.filters |= {"cents": _cents, "filled": filled, "one_line": one_line, "percent": _percent}
    environment.filters["precision"] = lambda value: "-" if value is None else f"{value:.2f}"
    rows = [
        (outcome, count, _percent(count / max(tally.decisions, 1), places=2), tally.frauds_by_outcome[outcome])
        for outcome, count in ((outcome, tally.by_outcome[outcome]) for outcome in OUTCOMES)
    ]
    return environment.get_template("demo.txt.jinja").render(
        summary=summary,
        currency=summary.definitions.settings.currency,
        tables=[
            _added(summary),
            table(rows, ("Outcome", "payments", "share", "frauds among them"), ""),
            _frauds(summary),
            _rules(tally),
        ],
        cuts=", ".join(f"{word} from {threshold:.3f}" for word, threshold in thresholds if threshold is not None),
        seed_of_the_rules=SEED_OF_THE_RULES,
        reasons="" if explained is None else _reasons(explained),
        commands=[f"{program} {words}" for words in (*ids, f"models show {argument(training.model)}", "verify")],
        many=many,
    )


def _reasons(explained: Explained) -> str:
    reasons = [(effect, text) for _, effect, text in explained.rule_reasons]
    reasons += [(f"{reason.contribution:+.2f}", reason.text) for reason in explained.reasons[:REASONS_SHOWN]]
    return "\n".join(
        textwrap.fill(one_line(text), WIDTH, initial_indent=f"{mark:>10}  ", subsequent_indent=" " * 12)
        for mark, text in reasons
    )


def _added(summary: DemoSummary) -> str:
    rules = summary.tally.rules_alone
    with_model = summary.tally.all
    policy = summary.policy
    currency = summary.definitions.settings.currency
    count = "{:,}".format
    measures: Sequence[tuple[str, Callable[[DemoFigures], int], Callable[[int], str]]] = (
        ("frauds caught", lambda way: way.frauds.caught.payments, count),
        ("payments to review", lambda way: way.by_outcome[REVIEW], count),
        ("honest payments declined", lambda way: way.honest_declined, count),
        (f"{currency} saved", lambda way: way.frauds.caught.amount_minor, _cents),
        (f"{currency} these cost", lambda way: way.cost_minor(policy), _cents),
        (f"{currency} left", lambda way: way.gained_minor(policy), _cents),
    )
    rows = [
        (name, show(count_of(rules)), show(count_of(with_model)), show(count_of(with_model) - count_of(rules)))
        for name, count_of, show in measures
    ]
    return table(rows, ("What the model adds", "rules alone", "with the model", "added"), "")


def _frauds(summary: DemoSummary) -> str:
    tally = summary.tally
    currency = summary.definitions.settings.currency
    rows = [
        (
            name.replace("_", " "),
            frauds.payments,
            frauds.caught.payments,
            frauds.missed.payments,
            _cents(frauds.caught.amount_minor),
            _cents(frauds.missed.amount_minor),
        )
        for name, frauds in [*sorted(tally.kinds.items()), ("all", tally.frauds)]
    ]
    return table(rows, ("Fraud", "frauds", "caught", "missed", f"{currency} saved", f"{currency} lost"), "")


def _rules(tally: Tally) -> str:
    ordered = sorted(tally.rules.items(), key=lambda item: (-item[1].frauds, -item[1].hits, item[0]))
    rows = [
        (id_, rule.effect, rule.hits, rule.frauds, _percent(rule.precision), _percent(tally.recall_of(id_)))
        for id_, rule in ordered
    ]
    caught = tally.frauds.caught.payments
    shares = (_percent(tally.precision), _percent(tally.recall))
    rows.append(("all, with the model", "", tally.stopped, caught, *shares))
    return table(rows, ("Rule", "effect", "hits", "frauds", "precision", "recall"), "")


def _cents(minor: int) -> str:
    return f"{minor / 10**MONEY_PLACES:,.{MONEY_PLACES}f}"


def _percent(share: float | None, places: int = 1) -> str:
    return "-" if share is None else f"{100 * share:.{places}f} %"
