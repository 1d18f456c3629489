"""Rates of recorded decisions, with their confidence intervals."""

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
