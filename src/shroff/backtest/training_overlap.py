"""Events of a backtest that a model was trained on: they are evaluated apart, since it knows their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from shroff.backtest.tally import Balance, balance
from shroff.events.event import time_text

if TYPE_CHECKING:
    from shroff.backtest.fold import Flags
    from shroff.backtest.outcomes import JudgedEvents
    from shroff.backtest.plan import DecidingVersion
    from shroff.project.definitions import Definitions
    from shroff.project.scoring import Scorer


@dataclass(frozen=True, slots=True)
class Learnt:
    """The events that models of a draft have learned from, though they may change their outcomes.

    Args:
        models: Their ids, sorted; `untold` are those that do not say what they have learned from.
        until_ms: Behind the last of these moments there is nothing that one of them has learned from.
        events: How many of the judged events lie before it, and `behind` at or after it; `mature` of those are old
            enough to judge by.
        balance: Of those before it.
    """

    models: tuple[str, ...]
    untold: tuple[str, ...]
    until_ms: int
    events: int
    behind: int
    mature: int
    balance: Balance

    def remarks(self) -> list[str]:
        """Warnings for the reader, with the fix where nothing is left to judge by."""
        names = ", ".join(self.models)
        until = time_text(self.until_ms)
        found = []
        if self.events and not self.mature:
            young = f" but {self.behind:,} that are younger than the label delay" if self.behind else ""
            found.append(
                f"NO EVENT IS NEW TO THE MODEL: {names} was trained on events before {until}, and knows their "
                f"outcomes; there are no later events{young}. Train as of an earlier time ('shroff train --as-of T') "
                "and backtest the events after it, or wait for new events."
            )
        elif self.events:
            found.append(
                f"{self.events:,} events from before {until} are reported separately: {names} was trained on them, and "
                "knows the answers."
            )
        if self.untold:
            found.append(
                f"{', '.join(self.untold)} does not name its training data. If events here were part of it, the "
                "result is too good ('shroff models import --trained-until' declares it)."
            )
        return found


def learnt_rows(versions: Sequence[DecidingVersion], judged: Sequence[JudgedEvents]) -> list[Flags]:
    """Events of each type before the end of the training data of the draft's models that may change their outcomes."""
    found = [np.zeros(len(one), np.bool_) for one in judged]
    for one, rows in zip(judged, found, strict=True):
        for version in versions:
            ends = [scorer.learnt_until_ms or 0 for scorer in _scorers(version, one.event)]
            there = slice(*np.searchsorted(one.seqs, [version.start, version.end], "right").tolist())
            rows[there] = one.times_ms[there] < max(ends, default=0)
    return found


def learnt_of(
    versions: Sequence[DecidingVersion], judged: Sequence[JudgedEvents], rows: Sequence[Flags]
) -> Learnt | None:
    """Events judged apart; None where no outcome depends on a model's score.

    Args:
        rows: What `learnt_rows` gives.
    """
    models = {scorer.id: scorer for one in judged for version in versions for scorer in _scorers(version, one.event)}
    if not models:
        return None
    told = sorted(id_ for id_, model in models.items() if model.learnt_until_ms is not None)
    until_ms = max((model.learnt_until_ms or 0 for model in models.values()), default=0)
    events = sum(int(np.count_nonzero(row)) for row in rows)
    policies = [versions[-1].draft.policy(one.event) for one in judged]
    behind = sum(map(len, judged)) - events
    mature = sum(int(np.count_nonzero(~one.is_immature & ~apart)) for one, apart in zip(judged, rows, strict=True))
    untold = tuple(sorted(models.keys() - set(told)))
    return Learnt(tuple(told), untold, until_ms, events, behind, mature, balance(judged, policies, rows))


def unscored(versions: Sequence[DecidingVersion], judged: Sequence[JudgedEvents], draft: Definitions) -> int:
    """Number of events that have no score as of their place, though the project has a model that would change them."""
    return sum(
        int(np.count_nonzero((one.seqs > version.start) & (one.seqs <= version.end)))
        for one in judged
        for version in versions
        if draft.scoring_of(one.event).deciding
        and draft.hangs_on_score(one.event)
        and not version.draft.scoring_of(one.event).deciding
    )


def _scorers(version: DecidingVersion, event: str) -> Sequence[Scorer]:
    """The models of a draft whose scores can change an outcome of a type."""
    return version.draft.scoring_of(event).deciding if version.draft.hangs_on_score(event) else ()
