"""Figures of a result row: fraud, money, and rates of recorded decisions with their intervals."""

from __future__ import annotations

import msgspec

from shroff.runtime.texts import percent


class OutcomeRate(msgspec.Struct):
    """A share of events with its 95 % confidence interval (Wilson)."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        share, low, high = (percent(value, ".2") for value in (self.share, self.low, self.high))
        return f"{share} ({low} to {high})"

    @classmethod
    def of(cls, part: int, whole: int) -> OutcomeRate | None:
        from shroff.models.evaluation.exploration import wilson

        return cls(part / whole, *wilson(part / whole, whole)) if whole else None


class FraudFigures(msgspec.Struct):
    """Known fraud: events, their money, and that money in basis points of the volume (null without volume)."""

    count: int
    money: str
    basis_points: float | None


class FraudEstimate(msgspec.Struct):
    """The 90 % interval of the fraud money of a row once all of it is known."""

    low: str
    high: str


class ResultMoney(msgspec.Struct):
    """The money of the events that the counts of the same names count."""

    approved: str
    challenged: str
    reviewed: str
    declined: str
    caught: str
    missed: str
    false_declines: str


class SchemeRatio(msgspec.Struct):
    """Reports by payments of an acquirer or a merchant in a calendar month, and the limit of a scheme's programme.

    `merchants` are those with most reports, for an acquirer. The ratio is null without payments. At the pace of the
    last 28 days the limit is reached in `days_left` days, after `money_left` of further reported payments; null if not
    in this month.
    """

    programme: str
    month: str
    acquirer: str | None
    merchant: str | None
    reports: int
    money: str
    payments: int
    ratio: float | None
    limit: float
    minimum: int
    days_left: int | None = None
    money_left: str | None = None
    merchants: dict[str, int] = {}

    def __str__(self) -> str:
        ratio = "unknown" if self.ratio is None else percent(self.ratio, ".2")
        days = "not in this month" if self.days_left is None else f"in {self.days_left} d, after {self.money_left}"
        return f"{self.programme} {self.subject} {self.month}: {ratio} of {percent(self.limit, '.2')}, {days}"

    @property
    def subject(self) -> str:
        return " / ".join(filter(None, (self.acquirer, self.merchant)))


class DeclineValue(msgspec.Struct):
    """What the score's declines are worth, by explored events, each weighted by 1 / its propensity.

    The precision is the share of frauds among declines, with its 95 % interval; `fraud_money` is that of these frauds.
    """

    explored: int
    precision: float | None
    low: float | None
    high: float | None
    fraud_money: str


class MissedFraudRate(msgspec.Struct):
    """Fraud among approvals by the sample of them, reported or not.

    Of `sampled` approvals `reviewed` have an answer. The rate is the share of frauds among all approvals, with its 95 %
    confidence interval; null before the first answer. `fraud_money` is that of these frauds. `uncovered` approvals of
    the sample are in groups of one probability without any answer: rate and money leave the events of these out.
    """

    sampled: int
    reviewed: int
    uncovered: int
    frauds: int
    rate: float | None
    low: float | None
    high: float | None
    fraud_money: str
