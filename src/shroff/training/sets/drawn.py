"""What rows of a training set stand for where the policy let a share of would-be declines through."""

from __future__ import annotations

import numpy as np

from shroff.engine.decision import DrawnDecision, kind_of
from shroff.engine.stored import decision_of
from shroff.log.history import Control
from shroff.models.sets import Floats, Words
from shroff.streams.log import Log


def stands_for(log: Log | None, seqs: Words) -> Floats | None:
    """For how many would-be declines each row stands about which a lot was drawn; NaN for all others.

    One that was let through stands for 1 / propensity of them, one that was not for none: nobody knows what it was.
    None where no version ever let anything through.

    Args:
        seqs: Places of the rows, ascending.

    Raises: StorageError where a decision is damaged.
    Cost: a pass over the decisions from the place where the policy first let something through; else none.
    """
    first = None if log is None else _first_place(log)
    if log is None or first is None:
        return None
    found = np.full(len(seqs), np.nan)
    for rows in log.decisions_after(first):
        drawn = [row for row in rows if kind_of(row.document) is DrawnDecision]
        places = np.searchsorted(seqs, [row.seq for row in drawn])
        for row, place in zip(drawn, places.tolist(), strict=True):
            exploration = decision_of(row).exploration
            if exploration is not None and place < len(seqs) and seqs[place] == row.seq:
                found[place] = 1 / exploration.propensity if exploration.explored else 0.0
    return found


def _first_place(log: Log) -> int | None:
    """The place at which a policy that may let something through first came into force."""
    control = Control()
    for record in log.controls():
        control.take(record)
        if "explore" in control.files.get("policy.yaml", ""):
            return record.seq
    return None
