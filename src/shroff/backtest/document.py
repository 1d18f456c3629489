"""A backtest's report as JSON has it, and its methods for people: the answer of `shroff backtest`."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import msgspec

from shroff.events.event import TimeText
from shroff.operations.declaration import OperationAnswer
from shroff.runtime.texts import Printed

if TYPE_CHECKING:
    from shroff.backtest.outcomes import DraftVerdicts


class ReportCell(msgspec.Struct):
    """Events of one type with the same outcomes and label: their number and amount."""

    event: str
    old: str
    new: str
    label: str
    immature: bool
    count: int
    money: str


class ReportHits(msgspec.Struct):
    """Hits of a rule, and those older than the label delay by label, with their precision (95 % interval)."""

    hits: int
    older_fraud: int
    older_genuine: int
    older_unclear: int
    older_none: int
    immature: int
    precision: float | None
    precision_low: float | None
    precision_high: float | None
    money: str
    older_fraud_money: str


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


class ReportSide(msgspec.Struct):
    """Outcomes of mature events, without the draft or with it.

    A presumed false decline is a declined event that is not labeled fraud or unclear, so also one without a label.
    """

    frauds_stopped: int
    fraud_money_stopped: str
    reviews: int
    presumed_false_declines: int


class ReportWeek(msgspec.Struct):
    """The value of a draft in a week, from Monday or the first day on, and how many mature events that has."""

    day: str
    net: str
    events: int


class ReportBalance(msgspec.Struct):
    """Both sides, and the value of their difference with its 95 % confidence interval `low` to `high`.

    `net` is null, and there are no weeks, where no event has a label; `mature` events are older than the label delay.
    """

    old: ReportSide
    new: ReportSide
    net: str | None
    low: str | None
    high: str | None
    days: int
    events: int
    mature: int
    labelled: int
    weeks: list[ReportWeek]


class ReportCosts(msgspec.Struct):
    """Costs in policy.yaml: of a review and a false decline, null where event types differ; whether it names any."""

    review: str | None
    false_decline: str | None
    named: bool


class ReportLearnt(msgspec.Struct):
    """Events before `until`, the end of the training data of the draft's models; `behind` are later.

    Of the `events`, the models were trained on some: on `rows`, where all of their training data is in the backtest.
    """

    models: list[str]
    not_told: list[str]
    until: TimeText | None
    rows: int
    events: int
    behind: int
    balance: ReportBalance


class ReportRecorded(msgspec.Struct):
    """Recorded decisions that differ from those of the project without the draft: their number, and what changed."""

    differ: int
    because: list[str]


class ReportRow(msgspec.Struct):
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


class ReportExploration(msgspec.Struct):
    """Exploration of one event type; numbers of the events that these stand for are estimates.

    `immature` are younger than the label delay, `reviewed` a person was to look at first; `cost` is what those cost
    that are known as frauds so far and were not reviewed.
    """

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


class BacktestReport(OperationAnswer, Printed, rename={"start": "from", "end": "to"}, dict=True):
    """The draft compared with the project without it: outcomes, rules and money of both, with some changed events."""

    draft: list[str]
    events: int
    seconds: float
    start: TimeText | None
    end: TimeText | None
    as_of: TimeText
    money: str
    outcomes: list[ReportCell]
    immature: int
    recorded: ReportRecorded
    balance: ReportBalance
    costs: ReportCosts
    learnt_from: ReportLearnt | None
    remarks: list[str]
    rules: list[ReportRule]
    rules_gone: dict[str, int]
    changed: int
    changed_rows: list[ReportRow]
    exploration: list[ReportExploration]
    undecided: int
    unknowable: str

    @property
    def verdicts(self) -> DraftVerdicts:
        """Outcomes of all events; only where the backtest ran."""
        return cast("DraftVerdicts", vars(self)["verdicts"])

    def text(self) -> str:
        from shroff.backtest.report import text

        return text(self)

    def __repr__(self) -> str:
        return self.text()

    def _charts(self) -> str:
        from shroff.backtest.report import page

        return page(self)

    def hints(self) -> list[str]:
        command = vars(self).get("command", "")
        return [command] if command else []
