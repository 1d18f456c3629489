"""Warnings of a batch: values that aggregates ignore, and sums that are missing because they are too large.

Both follow from the definition, and neither stops anything; but the author of the feature or rule may not know that its
values are so large.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from shroff.arrays import Array, Bools
from shroff.features.computed import Computed
from shroff.features.frames import Frame

LEFT_OUT = "value left out"
SUM_OUTSIDE = "sum outside 64 bits"
UNRATED = "no rate was valid"  # for an amount in another currency, which is then missing


class Remarks:
    """Rows of a batch with warnings, by kind and by feature or rule."""

    def __init__(self) -> None:
        self._rows: defaultdict[tuple[str, str], set[int]] = defaultdict(set)

    def note(self, what: str, askers: Iterable[Computed], row: int) -> None:
        """Record one event for all features and rules concerned."""
        for asker in askers:
            self._rows[what, asker.asker].add(row)

    def leave_out(self, askers: Iterable[Computed], rows: Array) -> None:
        """Record events whose value entered a history and is ignored there."""
        for asker in askers:
            self._rows[LEFT_OUT, asker.asker].update(rows.tolist())

    def miss_sums(self, askers: Iterable[Computed], frame: Frame, missing: Bools) -> None:
        """Record events that read a sum outside 64 bits; `missing` tells which of the frame."""
        for asker in askers:
            if frame.type.name in asker.events:
                concerned = missing if asker.expires_ms is None else missing & (frame.times < asker.expires_ms)
                self._rows[SUM_OUTSIDE, asker.asker].update(frame.rows[concerned].tolist())

    def found(self) -> dict[tuple[str, str], list[int]]:
        """Return the warnings with sorted rows; an event counts once for each feature or rule."""
        return {key: sorted(rows) for key, rows in sorted(self._rows.items()) if rows}

    def clear(self) -> None:
        self._rows.clear()
