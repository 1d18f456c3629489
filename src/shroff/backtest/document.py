"""A backtest's report as JSON has it: the types of its parts."""

from __future__ import annotations

from typing import TypedDict

from shroff.events.event import TimeText
from shroff.models.evaluation.exploration import RulePrecision


class ReportCell(TypedDict):
    """Events of one type with the same outcomes and label: their number and amount."""

    event: str
    old: str
    new: str
    label: str
    immature: bool
    count: int
    money: str


class ReportHits(RulePrecision):
    """Hits of a rule; those of mature events by label."""

    hits: int
    fraud: int
    genuine: int
    unclear: int
    none: int
    immature: int
    money: str
    fraud_money: str


class ReportRule(ReportHits):
    """A rule of the draft: its hits, hits of this rule alone, and `old` hits without the draft."""

    id: str
    on: str
    effect: str
    shadow: bool
    kept: bool
    effective: int
    only: ReportHits
    overlap: dict[str, int]
    old: ReportHits


class ReportSide(TypedDict):
    """Outcomes of mature events, without the draft or with it."""

    frauds_stopped: int
    fraud_money_stopped: str
    reviews: int
    false_declines: int


class ReportBalance(TypedDict):
    """Both sides, and the value of their difference with its 95 % confidence interval `low` to `high`."""

    old: ReportSide
    new: ReportSide
    net: str | None
    low: str | None
    high: str | None
    days: int
    events: int
    labelled: int


class ReportLearnt(TypedDict):
    """Events that the draft's models were trained on."""

    models: list[str]
    not_told: list[str]
    until: TimeText | None
    events: int
    behind: int
    balance: ReportBalance


class ReportRecorded(TypedDict):
    """Recorded decisions that differ from those of the project without the draft: their number, and what changed."""

    differ: int
    because: list[str]


class ReportRow(TypedDict):
    """An event whose outcome changes."""

    event: str
    id: str
    seq: int
    time: TimeText
    old: str
    new: str
    label: str
    immature: bool
    money: str
    old_rules: list[str]
    rules: list[str]


class ExploredDocument(TypedDict):
    """Exploration of one event type, as JSON; numbers of the events that these stand for are estimates."""

    event: str
    explored: int
    immature: int
    unclear: int
    reviewed: int
    known: int
    frauds: int
    precision: float | None
    low: float | None
    high: float | None
    declines: float
    frauds_declined: float
    cost: str


ReportDocument = TypedDict(
    "ReportDocument",
    {
        "draft": list[str],
        "events": int,
        "seconds": float,
        "from": TimeText | None,
        "to": TimeText | None,
        "as_of": TimeText,
        "money": str,
        "outcomes": list[ReportCell],
        "immature": int,
        "recorded": ReportRecorded,
        "balance": ReportBalance,
        "learnt_from": ReportLearnt | None,
        "remarks": list[str],
        "rules": list[ReportRule],
        "rules_gone": dict[str, int],
        "changed": int,
        "changed_rows": list[ReportRow],
        "exploration": list[ExploredDocument],
        "undecided": int,
        "unknowable": str,
    },
)
