"""Exploration: a capped random share of declines is approved, drawn by the event's id, capped by day.

The draw has no state, so every engine and every replay agrees on it. The cap counts the approvals of a day in log
order. An approval is recorded among the log's hits under a name that no rule can have, so the count results from the
fold like any other state.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from shroff.arrays import Bools, Ints, Ints8
from shroff.features.key_texts import Hits
from shroff.language.columns import Column
from shroff.language.types import Type
from shroff.language.values import DAY_MS, in_share
from shroff.project.exploration import Explore
from shroff.project.policy import OUTCOMES, Policy, outcome
from shroff.runtime.values import FrozenStruct

LET_THROUGH = "let-through"  # used in place of a rule's id, which cannot contain a hyphen
SAMPLED = "approval-sample"  # likewise, for approvals that are reviewed
DRAWS = frozenset([LET_THROUGH, SAMPLED])
WOULD_BE = "decline"
APPROVED = "approve"
Days = dict[tuple[str, int], int]  # approvals by event type and day since 1970-01-01, UTC


class Draw(FrozenStruct):
    """Result of an exploration draw: the probability of approval, and if it was approved."""

    propensity: float
    is_explored: bool


class LetThrough:
    """Number of explored (approved) declines per day: state of a fold, a few words per day."""

    def __init__(self, days: Iterable[tuple[tuple[str, int], int]] = ()) -> None:
        self._days: defaultdict[tuple[str, int], int] = defaultdict(int, days)

    @property
    def days(self) -> Days:
        return dict(self._days)

    def of_day(self, event: str, time_ms: int) -> LetThrough:
        """Return a copy limited to the day of this time, for a draw that must not count."""
        day = event, time_ms // DAY_MS
        return LetThrough([(day, self._days[day])] if day in self._days else ())

    def note(self, event: str, time_ms: int, hits: Hits | None) -> None:
        if hits and LET_THROUGH in hits:
            self._days[event, time_ms // DAY_MS] += 1

    def draw(self, explore: Explore, event: str, id_: str, time_ms: int) -> Draw:
        """Draw for a would-be decline that is small and early enough; call it once for each, in log order.

        Beyond the day's cap no event can be approved, so the propensity is 0.
        """
        day = event, time_ms // DAY_MS
        if self._days[day] >= explore.at_most_a_day:
            return Draw(0.0, is_explored=False)
        is_explored = in_share(f"{explore.seed}\x00{event}", explore.share, id_)
        self._days[day] += is_explored
        return Draw(explore.share, is_explored)


def explorable(explore: Explore, amounts: Column, type_: Type, money_places: int, times_ms: Ints) -> Bools:
    """Return which events may be explored if the score declines them: small enough, and before the end date.

    An event without an amount may not, since its size is unknown.
    """
    minor = explore.amount_at_most_minor
    places = type_.places
    limit = minor / 10**money_places if type_.kind == "real" else minor * 10**places // 10**money_places
    is_small: Bools = amounts.valid & (amounts.values <= limit).astype(np.bool_)
    return is_small & (times_ms < explore.expires_ms)


def instead_of_decline(effects: Sequence[str], explore: Explore) -> str:
    """Return the outcome of an explored event: that of the rules alone, or `instead` if that is stronger."""
    return max(outcome(effects, Policy()), explore.instead, key=OUTCOMES.index)


def would_be_declines(outcomes: Ints8, by_rules: Ints8, may_be: Bools) -> Ints:
    """Return the rows to draw for: events that the score alone declines and that may be explored."""
    declined = np.int8(OUTCOMES.index(WOULD_BE))
    return np.flatnonzero((outcomes == declined) & (by_rules != declined) & may_be)
