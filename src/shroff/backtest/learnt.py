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
    from shroff.backtest.judged import JudgedEvents
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


def learnt_rows(draft: Definitions, judged: Sequence[JudgedEvents]) -> list[Flags]:
    """Events of each type before the end of a model's training data that may change their outcomes."""
    ends = [_until(draft, one.event) for one in judged]
    return [
        np.zeros(len(one), np.bool_) if end is None else one.times_ms < end
        for one, end in zip(judged, ends, strict=True)
    ]


def learnt_of(draft: Definitions, judged: Sequence[JudgedEvents], rows: Sequence[Flags]) -> Learnt | None:
    """Events judged apart; None where no outcome depends on a model's score.

    Args:
        rows: What `learnt_rows` gives.
    """
    models = [scorer for one in judged if draft.hangs_on_score(one.event) for scorer in _scorers(draft, one.event)]
    if not models:
        return None
    told = sorted(model.id for model in models if model.learnt_until_ms is not None)
    untold = sorted(model.id for model in models if model.learnt_until_ms is None)
    until_ms = max((model.learnt_until_ms for model in models if model.learnt_until_ms is not None), default=0)
    events = sum(int(np.count_nonzero(row)) for row in rows)
    policies = [draft.policy(one.event) for one in judged]
    behind = sum(map(len, judged)) - events
    mature = sum(int(np.count_nonzero(~one.is_immature & ~apart)) for one, apart in zip(judged, rows, strict=True))
    return Learnt(tuple(told), tuple(untold), until_ms, events, behind, mature, balance(judged, policies, rows))


def score_remark(draft: Definitions, judged: Sequence[JudgedEvents], rows: Sequence[Flags]) -> str:
    """A warning where events are judged together although a model of the draft has learned from them; else empty.

    Args:
        rows: What `learnt_rows` gives.
    """
    found = learnt_of(draft, judged, rows)
    if found is None or not found.events:
        return ""
    until = time_text(found.until_ms)
    return (
        f"{found.events:,} events are from before {until}, and {', '.join(found.models)} has learned from there. Its "
        "score counts in the draft's outcomes, also where no model or another one decided then, so part of the "
        f"difference can come from the model. See the rules alone with --from {until}."
    )


def _scorers(draft: Definitions, event: str) -> Sequence[Scorer]:
    return draft.scoring_of(event).deciding


def _until(draft: Definitions, event: str) -> int | None:
    """End of the training data of a type's models; None if no score changes an outcome."""
    if not draft.hangs_on_score(event):
        return None
    return max((scorer.learnt_until_ms or 0 for scorer in _scorers(draft, event)), default=None)
