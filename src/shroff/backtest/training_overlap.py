"""Events of a backtest that lie before the end of a model's training data. They are reported separately, because they
are no forecast.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from shroff.arrays import Bools, count_true
from shroff.backtest.document import ReportBalance, ReportLearnt
from shroff.events.event import time_text
from shroff.runtime.texts import many

if TYPE_CHECKING:
    from shroff.backtest.outcomes import JudgedEvents
    from shroff.backtest.plan import DecidingVersion
    from shroff.project.definitions import Definitions
    from shroff.project.scoring import Scorer


def learnt_rows(versions: Sequence[DecidingVersion], judged: Sequence[JudgedEvents]) -> list[Bools]:
    """Return a mask for each event type: events before the end of the training data of a model that can change their
    outcome.
    """
    masks = [np.zeros(len(events), np.bool_) for events in judged]
    for judged_events, rows in zip(judged, masks, strict=True):
        for version in versions:
            learnt_until = [scorer.learnt_until_ms or 0 for scorer in _scorers(version, judged_events.event)]
            segment = slice(*np.searchsorted(judged_events.seqs, [version.start, version.end], "right").tolist())
            rows[segment] = judged_events.times_ms[segment] < max(learnt_until, default=0)
    return masks


def learnt_of(
    versions: Sequence[DecidingVersion], judged: Sequence[JudgedEvents], rows: Sequence[Bools], balance: ReportBalance
) -> ReportLearnt | None:
    """Report the events that `learnt_rows` selects; None if no outcome depends on a model's score.

    Args:
        rows: Result of `learnt_rows`.
    """
    models = {
        scorer.id: scorer
        for judged_events in judged
        for version in versions
        for scorer in _scorers(version, judged_events.event)
    }
    if not models:
        return None
    learnt_until = {id_: model.learnt_until_ms for id_, model in models.items() if model.learnt_until_ms is not None}
    events = sum(count_true(row) for row in rows)
    return ReportLearnt(
        sorted(learnt_until),
        sorted(models.keys() - learnt_until.keys()),
        time_text(max(learnt_until.values())) if learnt_until else None,
        sum(model.learnt_rows for model in models.values()),
        events,
        sum(map(len, judged)) - events,
        balance,
    )


def learnt_remarks(learnt: ReportLearnt, mature: int) -> list[str]:
    """Return warnings for the reader, with a remedy if no event is left to judge by.

    Args:
        mature: Number of events that are new to the models and older than the label delay.
    """
    names = ", ".join(learnt.models)
    remarks = []
    end = f"{learnt.until}, the end of the training data of {names} ({learnt.rows:,} events)"
    if learnt.events and not mature:
        young = f" but {learnt.behind:,} that are younger than the label delay" if learnt.behind else ""
        remarks.append(
            f"NO EVENT IS NEW TO THE MODEL: {learnt.events:,} lie before {end}, so they are no forecast; there are no "
            f"later events{young}. Train as of an earlier time ('shroff train --as-of T') and backtest the events "
            "after it, or wait for new events."
        )
    elif learnt.events:
        lie = many(learnt.events, "event lies", "events lie")
        remarks.append(f"{lie} before {end}, so they are no forecast and are reported separately.")
    if learnt.not_told:
        remarks.append(
            f"{', '.join(learnt.not_told)} does not name its training data. If events here were part of it, the "
            "result is too good ('shroff models import --trained-until' declares it)."
        )
    return remarks


def unscored(versions: Sequence[DecidingVersion], judged: Sequence[JudgedEvents], draft: Definitions) -> int:
    """Count the events without an active model at their sequence number, although the draft has a model that could
    change their outcome.
    """
    return sum(
        count_true((events.seqs > version.start) & (events.seqs <= version.end))
        for events in judged
        for version in versions
        if draft.scoring_of(events.event).deciding
        and draft.hangs_on_score(events.event)
        and not version.draft.scoring_of(events.event).deciding
    )


def _scorers(version: DecidingVersion, event: str) -> Sequence[Scorer]:
    """Return the models of a draft whose scores can change an outcome of an event type."""
    return version.draft.scoring_of(event).deciding if version.draft.hangs_on_score(event) else ()
