"""Figures of a row of results: fraud, money, and rates of recorded decisions with their intervals."""

from __future__ import annotations

import msgspec


class OutcomeRate(msgspec.Struct):
    """A share of events with its 95 % confidence interval (Wilson)."""

    share: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.share:.2%} ({self.low:.2%} to {self.high:.2%})"

    @classmethod
    def of(cls, part: int, whole: int) -> OutcomeRate | None:
        """The rate of a part of some events; None where there are none."""
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
