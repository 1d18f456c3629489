"""The numbers that screens, answers and files show: one definition of each, which gives them its name.

Two places that show one name show one value for the same subject and period. A number that is counted otherwise has a
name of its own. The page docs/reference/numbers.md is made from this table.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import field

from shroff.runtime.values import FrozenStruct

COUNT = "events"
MONEY = "money"
SHARE = "share"
RANGE = "range"
DECIDED = "decided events of the period"
HITS = "hits: events at which the rule was true, in shadow too"
OLDER_HITS = "hits older than the label delay"
OLDER = "decided events of the backtest that are older than the label delay"
TEST_DAYS = "events of the test days of a model"
KNOWN = "known at `as_of`, else by now"
PRESUMED = f"{KNOWN}; no label counts as genuine, once any event has a label"
KNOWN_THEN = "labels that became known in the period"
FOUND = "events whose active label became known in the period, whenever they happened"
CLOSED = "cases closed in the period"


class NamedNumber(FrozenStruct):
    """A number that people and programs read.

    Args:
        name: Its name on pages, in tables and in mails.
        meaning: What it is, in one sentence.
        events: The events that it counts.
        labels: The labels that it reads, and when they were known; empty if it reads none.
        unit: `events`, `labels`, `cases`, `money` of the project's currency, `share` (0 to 1 in JSON, percent for
            people), `hours`, `basis points`, or `range`.
        keys: Its keys in JSON and its columns in CSV, by answer; with a dot for each level.
    """

    name: str
    meaning: str
    events: str
    labels: str = ""
    unit: str = COUNT
    keys: Mapping[str, str] = field(default_factory=dict)


def _results(key: str) -> dict[str, str]:
    return {"results": key, "experiment": key}


NUMBERS: Final = {
    "events": NamedNumber("Events", "Decided events.", DECIDED, keys=_results("events")),
    "volume": NamedNumber(
        "Volume", "The sum of the amounts of decided events.", DECIDED, unit=MONEY, keys=_results("volume")
    ),
    "approved": NamedNumber("Approved", "Events with the outcome `approve`.", DECIDED, keys=_results("approved")),
    "challenged": NamedNumber(
        "Challenged", "Events with the outcome `challenge`.", DECIDED, keys=_results("challenged")
    ),
    "reviewed": NamedNumber("Reviewed", "Events with the outcome `review`.", DECIDED, keys=_results("reviewed")),
    "declined": NamedNumber("Declined", "Events with the outcome `decline`.", DECIDED, keys=_results("declined")),
    "stopped": NamedNumber("Stopped", "Events that were not approved.", DECIDED),
    "stopped_amount": NamedNumber(
        "Amount stopped", "The sum of the amounts of events that were not approved.", DECIDED, unit=MONEY
    ),
    "fraud": NamedNumber(
        "Fraud",
        "Events whose active label is `fraud`, whatever their age.",
        f"{DECIDED}; of a rule, its hits",
        KNOWN,
        keys={**_results("fraud.count"), "rules": "fraud", "summaries": "confirmed_fraud_count"},
    ),
    "decided_as_fraud": NamedNumber(
        "Decided as fraud",
        "Events with an outcome that `fraud` of `summaries` names, `review` and `decline` by default, whatever their "
        "label. Metrics of earlier dashboards count the outcomes of `earlier_names`, by default the same.",
        "decided events of a window; in metrics, since the start of the process",
        keys={"summaries": "fraud_count", "metrics": "fraudulent_transactions_total"},
    ),
    "fraud_amount": NamedNumber(
        "Fraud amount",
        "The sum of the amounts of these frauds.",
        f"{DECIDED}; of a rule, its hits",
        KNOWN,
        MONEY,
        {**_results("fraud.money"), "rules": "fraud_money"},
    ),
    "basis_points": NamedNumber(
        "Basis points",
        "Fraud amount divided by volume, times 10,000, rounded once to two decimal places.",
        DECIDED,
        KNOWN,
        "basis points",
        _results("fraud.basis_points"),
    ),
    "caught": NamedNumber(
        "Caught", "Frauds that were not approved, challenged ones included.", DECIDED, KNOWN, keys=_results("caught")
    ),
    "missed": NamedNumber("Missed", "Frauds that were approved.", DECIDED, KNOWN, keys=_results("missed")),
    "false_declines": NamedNumber(
        "False declines",
        "Declined events whose active label is `genuine`. Screens say *not known* if no declined event has a label.",
        DECIDED,
        KNOWN,
        keys=_results("false_declines"),
    ),
    "unlabeled_declines": NamedNumber(
        "Declines without a label",
        "Declined events without a label.",
        DECIDED,
        KNOWN,
        keys=_results("unlabeled_declines"),
    ),
    "money_saved": NamedNumber(
        "Money saved",
        "The sum of the amounts of caught frauds. The cost of reviews and false declines is not subtracted.",
        DECIDED,
        KNOWN,
        MONEY,
        _results("money_saved"),
    ),
    "review_fraud_rate": NamedNumber(
        "Fraud rate of reviews",
        "The share of frauds among reviewed events that are labeled fraud or genuine. It is not the precision of a "
        "rule, for which older hits without a label count as genuine.",
        "reviewed events of the period",
        KNOWN,
        SHARE,
        _results("review_fraud_rate"),
    ),
    "decline_rate": NamedNumber(
        "Decline rate", "The share of events that were declined.", DECIDED, unit=SHARE, keys=_results("decline_rate")
    ),
    "false_positive_rate": NamedNumber(
        "False positive rate",
        "The share of the events without a fraud label that were reviewed or declined. By rule there is none: every "
        "hit of a rule that reviews is reviewed, so it would be 100 %.",
        DECIDED,
        KNOWN,
        SHARE,
        _results("false_positive_rate"),
    ),
    "estimate": NamedNumber(
        "Expected final fraud",
        "The 90 % interval of the fraud amount once all labels are known.",
        DECIDED,
        KNOWN,
        RANGE,
        _results("estimate"),
    ),
    "review_hours": NamedNumber(
        "Hours of review",
        "The time from claim to decision of cases that people decided in the period; of each case at most the time "
        "for which a claim locks it.",
        "cases decided in the period",
        unit="hours",
        keys={"results": "review_hours"},
    ),
    "hits": NamedNumber(
        "Hits",
        "Events at which the rule was true. An experiment is not a rule.",
        HITS,
        keys={"rules": "hits", "backtest": "hits"},
    ),
    "in_shadow": NamedNumber(
        "Hits in shadow", "Hits while the rule was in shadow, without effect.", HITS, keys={"rules": "in_shadow"}
    ),
    "immature": NamedNumber(
        "Too new for labels",
        "Hits that are not older than the label delay.",
        HITS,
        keys={"rules": "immature", "backtest": "immature"},
    ),
    "amount_hit": NamedNumber(
        "Amount hit",
        "The sum of the amounts of all hits.",
        HITS,
        unit=MONEY,
        keys={"rules": "money", "backtest": "money"},
    ),
    "older_fraud": NamedNumber(
        "Older fraud",
        "Older hits labeled fraud.",
        OLDER_HITS,
        KNOWN,
        keys={"rules": "older_fraud", "backtest": "older_fraud"},
    ),
    "older_genuine": NamedNumber(
        "Older genuine",
        "Older hits labeled genuine. Those without a label are apart, as `older_none`.",
        OLDER_HITS,
        KNOWN,
        keys={"rules": "older_genuine", "backtest": "older_genuine"},
    ),
    "older_fraud_amount": NamedNumber(
        "Older fraud amount",
        "The sum of the amounts of older hits labeled fraud.",
        OLDER_HITS,
        KNOWN,
        MONEY,
        {"backtest": "older_fraud_money"},
    ),
    "precision": NamedNumber(
        "Precision of older hits",
        "The share of frauds among older hits. Hits labeled unclear are left out.",
        OLDER_HITS,
        PRESUMED,
        SHARE,
        {"rules": "precision", "backtest": "precision"},
    ),
    "frauds_stopped": NamedNumber(
        "Frauds reviewed or declined",
        "Frauds with the outcome `review` or `decline`. A challenge stops nothing here: policy.yaml has no figure for "
        "its effect.",
        OLDER,
        KNOWN,
        keys={"backtest": "balance.new.frauds_stopped"},
    ),
    "presumed_false_declines": NamedNumber(
        "Presumed false declines",
        "Declined events that are not labeled fraud or unclear.",
        OLDER,
        PRESUMED,
        keys={"backtest": "balance.new.presumed_false_declines"},
    ),
    "missed_cost": NamedNumber(
        "Cost of missed fraud",
        "The cost of approved frauds, a day.",
        TEST_DAYS,
        PRESUMED,
        MONEY,
        {"thresholds": "missed_cost"},
    ),
    "false_declines_cost": NamedNumber(
        "Cost of false declines",
        "The number of declined events that are not labeled fraud, times `false_decline` of policy.yaml, a day.",
        TEST_DAYS,
        PRESUMED,
        MONEY,
        {"thresholds": "false_declines_cost"},
    ),
    "fraud_labels": NamedNumber(
        "Fraud labels",
        "Labels with the verdict fraud that became known in the period, whether they are active or not. An event may "
        "have several.",
        KNOWN_THEN,
        "all",
        "labels",
    ),
    "found_stopped": NamedNumber(
        "Fraud found, stopped", "Events that became known as fraud and were not approved.", FOUND, "all"
    ),
    "found_approved": NamedNumber(
        "Fraud found, approved", "Events that became known as fraud and were approved.", FOUND, "all"
    ),
    "found_genuine": NamedNumber(
        "Genuine found, stopped", "Events that became known as genuine and were not approved.", FOUND, "all"
    ),
    "customers_yes": NamedNumber(
        "Customers who said yes", "Labels of customers with the verdict genuine.", KNOWN_THEN, "all", "labels"
    ),
    "customers_no": NamedNumber(
        "Customers who said no", "Labels of customers with the verdict fraud.", KNOWN_THEN, "all", "labels"
    ),
    "case_fraud": NamedNumber("Closed as fraud", "Closed cases that were answered with fraud.", CLOSED, unit="cases"),
    "case_genuine": NamedNumber(
        "Closed as genuine", "Closed cases that were answered with genuine.", CLOSED, unit="cases"
    ),
    "case_unclear": NamedNumber(
        "Closed as unclear", "Closed cases that were answered with unclear.", CLOSED, unit="cases"
    ),
    "cases_answered": NamedNumber(
        "Cases answered", "Answers of a person, of cases that were reopened each.", CLOSED, unit="cases"
    ),
    "cases_closed": NamedNumber("Cases closed", "Cases that the answer of a person closed.", CLOSED, unit="cases"),
    "usual_hits": NamedNumber(
        "Usual hits an hour",
        "The least and the most hits in the typical 9 of 10 of the hours before, of those in the week before; on Live "
        "as *usual*.",
        "hits of a rule by hour",
        unit=RANGE,
        keys={"live": "usual_1h"},
    ),
    "typical_range": NamedNumber(
        "Typical range",
        "From the 5th to the 95th percentile of the values of the last 100 earlier decisions of the same key. With "
        "fewer than five values there is none; reasons of a model then use the latest decisions of all keys.",
        "earlier decisions of the key",
        unit=RANGE,
    ),
}
"""By the name that code and templates use."""


# Names of numbers in German mails
GERMAN: Final = {
    "approved": "genehmigt",
    "challenged": "Rückfrage",
    "reviewed": "zu prüfen",
    "declined": "abgelehnt",
    "events": "zusammen",
    "found_stopped": "Betrugsfälle, die angehalten wurden",
    "found_approved": "Betrugsfälle, die genehmigt wurden",
    "found_genuine": "Fehlalarme",
    "customers_yes": "Kunden, die Ja gesagt haben",
    "customers_no": "Kunden, die Nein gesagt haben",
}


def name_of(number: str, language: str = "en") -> str:
    """Return the name of a number on pages, or in mails of a language."""
    return GERMAN[number] if language == "de" else NUMBERS[number].name
