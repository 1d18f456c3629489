"""Results of past exploration, for the report of a backtest.

Exploration let a random share of the declines by score through; their labels show the precision of all such declines.
Unreviewed frauds are the cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from shroff.arrays import Floats
from shroff.backtest.document import ReportExploration
from shroff.backtest.outcomes import JudgedEvents
from shroff.backtest.tally import Money, exact_sum
from shroff.engine.stored import damaged, decision_of
from shroff.models.evaluation.exploration import fraud_share
from shroff.project.policy import OUTCOMES
from shroff.streams.log import LogReader
from shroff.training.sets.labels import FRAUD_LABEL, NO_LABEL, UNCLEAR_LABEL

AT_ONCE = 1_000  # decisions per read
_REVIEW = OUTCOMES.index("review")


def explored_in(log: LogReader, judged: Sequence[JudgedEvents], money: Money) -> list[ReportExploration]:
    """Report exploration among the events of a backtest, by event type; empty if nothing was explored.

    Raises: as `propensities_of`.
    Cost: reads the decision of each explored event.
    """
    return [_explored(log, events, money) for events in judged if len(events.was_explored)]


def _explored(log: LogReader, judged: JudgedEvents, money: Money) -> ReportExploration:
    """Report one event type. Mature events without a label count as genuine if any event has one."""
    rows = judged.was_explored
    propensities = propensities_of(log, judged.event, judged.ids.take(pa.array(rows)).to_pylist())
    labels = judged.labels[rows]
    is_mature = ~judged.is_immature[rows]
    is_reviewed = judged.recorded[rows] >= _REVIEW
    lost = judged.amounts_minor[rows][(labels == FRAUD_LABEL) & ~is_reviewed]
    is_known = is_mature & (labels != UNCLEAR_LABEL) & (judged.labels != NO_LABEL).any()
    share = fraud_share(labels[is_known] == FRAUD_LABEL, propensities[is_known])
    return ReportExploration(
        judged.event,
        len(rows),
        int((~is_mature).sum()),
        int((is_mature & (labels == UNCLEAR_LABEL)).sum()),
        int(is_reviewed.sum()),
        share.drawn,
        share.frauds,
        share.share,
        share.low,
        share.high,
        round(share.all, 1),
        round(share.all_frauds, 1),
        money(exact_sum(lost)),
    )


def propensities_of(log: LogReader, event: str, ids: Sequence[str]) -> Floats:
    """Return the probability with which each of these explored events was chosen, from its decision.

    Raises: StorageError if a decision is damaged or has no propensity.
    """
    propensities = np.empty(len(ids))
    for first in range(0, len(ids), AT_ONCE):
        part = ids[first : first + AT_ONCE]
        rows = log.decisions.of(event, part)
        for index, id_ in enumerate(part, first):
            exploration = decision_of(rows[id_]).exploration
            if exploration is None or exploration.propensity <= 0:
                raise damaged(
                    f"the decision at sequence number {rows[id_].seq}", "it was explored and has no propensity"
                )
            propensities[index] = exploration.propensity
    return propensities
