"""Results of exploration in the log: how many events were approved, their precision, their cost so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pyarrow as pa

from shroff.backtest.document import ExploredDocument
from shroff.backtest.outcomes import FRAUD, UNCLEAR, JudgedEvents
from shroff.backtest.tally import exact_sums
from shroff.engine.stored import damaged, decision_of
from shroff.language.values import show_decimal
from shroff.models.evaluation.exploration import DeclinePrecision, decline_precision
from shroff.models.sets import Floats
from shroff.project.policy import OUTCOMES
from shroff.streams.log import LogReader

AT_ONCE: Final = 1_000  # decisions that are asked for together
_REVIEW: Final = OUTCOMES.index("review")


@dataclass(frozen=True, slots=True)
class Explored:
    """The events of one type that were let through in a stretch of the log.

    Args:
        count: All of them; `immature` of them are younger than the label delay, `unclear` have such a label.
        cost_minor: What those cost that are known as frauds so far and were not reviewed, in smallest units.
        reviewed: How many a person was to look at first.
    """

    event: str
    count: int
    immature: int
    unclear: int
    reviewed: int
    cost_minor: int
    found: DeclinePrecision

    def document(self, money_places: int) -> ExploredDocument:
        """As JSON."""
        one = self.found
        return {
            "event": self.event,
            "explored": self.count,
            "immature": self.immature,
            "unclear": self.unclear,
            "reviewed": self.reviewed,
            "known": one.explored,
            "frauds": one.frauds,
            "precision": _rounded(one.precision),
            "low": _rounded(one.low),
            "high": _rounded(one.high),
            "declines": round(one.declines, 1),
            "frauds_declined": round(one.frauds_declined, 1),
            "cost": show_decimal(self.cost_minor, money_places),
        }


def explored_in(log: LogReader, judged: Sequence[JudgedEvents]) -> tuple[Explored, ...]:
    """Exploration among the events of a backtest, by event type; none where nothing was drawn.

    Raises: StorageError where a decision is damaged.
    Cost: reading the decisions of those events.
    """
    return tuple(_explored(log, one) for one in judged if len(one.was_explored))


def _explored(log: LogReader, judged: JudgedEvents) -> Explored:
    rows = judged.was_explored
    propensities = propensities_of(log, judged.event, judged.ids.take(pa.array(rows)).to_pylist())
    labels, is_mature = judged.labels[rows], ~judged.is_immature[rows]
    is_reviewed = judged.recorded[rows] >= _REVIEW
    lost = judged.amounts_minor[rows][(labels == FRAUD) & ~is_reviewed]
    (cost_minor,) = exact_sums(np.zeros(len(lost), np.int64), lost, 1)
    known = is_mature & (labels != UNCLEAR)
    return Explored(
        judged.event,
        len(rows),
        int((~is_mature).sum()),
        int((is_mature & (labels == UNCLEAR)).sum()),
        int(is_reviewed.sum()),
        cost_minor,
        decline_precision(labels[known] == FRAUD, propensities[known]),
    )


def propensities_of(log: LogReader, event: str, ids: Sequence[str]) -> Floats:
    """Probability that each of these events was explored, from their decisions.

    Raises: StorageError where one of them says nothing of it.
    """
    found = np.empty(len(ids))
    for first in range(0, len(ids), AT_ONCE):
        part = ids[first : first + AT_ONCE]
        rows = log.decisions(event, part)
        for place, id_ in enumerate(part, first):
            exploration = decision_of(rows[id_]).exploration
            if exploration is None or exploration.propensity <= 0:
                raise damaged(
                    f"the decision at sequence number {rows[id_].seq}", "it was explored and has no propensity"
                )
            found[place] = exploration.propensity
    return found


def words_of(one: Explored, money_places: int, currency: str) -> str:
    """Results and cost of exploration, in sentences."""
    found = one.found
    that = "that the score would have declined"
    were = f"event {that} was" if one.count == 1 else f"events {that} were"
    text = (
        f"{one.event}: {one.count:,} {were} explored (approved); {found.explored:,} have labels by now, "
        f"{found.frauds:,} are frauds."
    )
    if found.precision is not None and found.low is not None and found.high is not None:
        text += f" So about {found.precision:.1%} of such declines are right (95 % confidence interval {found.low:.1%} "
        text += f"to {found.high:.1%}): {found.frauds_declined:,.0f} frauds of {found.declines:,.0f}."
    cost = f"{show_decimal(one.cost_minor, money_places)} {currency}"
    return f"{text} Approving them has cost {cost} by the labels so far."


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 4)
