"""Warnings of one group of aggregates: values that it ignores, and sums that are missing because of their size."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shroff.arrays import Bools, Bytes, Ints
from shroff.features.batch.remarks import Remarks
from shroff.features.frames import Frame, Frames
from shroff.features.plan import Group, SeriesKey, series_of
from shroff.language.aggregates import AGGREGATES
from shroff.language.expression import Aggregate, Node, ThisField, walk
from shroff.language.values import Value
from shroff.runtime.values import replace


class GroupRemarks:
    """Records warnings for the features and rules of a group; `sums` are the indexes of its totals."""

    def __init__(self, group: Group, remarks: Remarks | None) -> None:
        self._group = group
        self._remarks = remarks
        self.sums = [at for at, aggregate in enumerate(group.aggregates) if AGGREGATES[aggregate.function].is_total]
        self._sum_rows = np.array(self.sums, np.int64)

    def note_left_out(self, key: SeriesKey, frame: Frame, inserts: Ints, left_out: Bools) -> None:
        """Record values of a series that do not fit, for events that enter the history."""
        left_out = left_out & (inserts[frame.places] >= 0)
        if self._remarks is None or not left_out.any():
            return
        for aggregate, askers in self._group.askers.items():
            series = series_of(aggregate)
            if series is None or replace(series, where=None) != replace(key, where=None):
                continue
            if series.where == key.where:
                self._remarks.leave_out(askers, frame.rows[left_out])
            elif self._group.key.is_look and series.where is not None:
                # each look checks the rest of its condition
                taken = frame.evaluate(series.where).values.astype(np.bool_)
                self._remarks.leave_out(askers, frame.rows[left_out & taken])

    def note_sums(self, valid: Bytes, asks: Ints, frames: Frames) -> None:
        """Record sums that are missing although the key is present: they are outside 64 bits.

        Args:
            valid: Which answers are present, a row for each aggregate of the group.
        """
        if self._remarks is None or not self.sums or valid.take(self._sum_rows, 0).all():
            return
        for at in self.sums:
            missing = (asks >= 0) & (valid[at] == 0)
            for event in self._group.asked_at & frames.keys() if missing.any() else ():
                frame = frames[event]
                aggregate = self._group.aggregates[at]
                outside = missing[frame.places]
                for node in this_fields(aggregate):
                    outside = outside & frame.field(node.name, node.type).valid
                self._remarks.miss_sums(self._group.askers[aggregate], frame, outside)

    def note_missing(self, answers: Sequence[Sequence[Value]], asks: list[int], frames: Frames) -> None:
        """Record missing sums for answers given as values, a list for each row of the batch."""
        if self.sums and answers:
            valid = np.array([[value is not None for value in values] for values in answers], np.uint8)
            self.note_sums(valid.T, np.array(asks, np.int64), frames)

    def note_operand(self, node: Node, frame: Frame, left_out: Bools) -> None:
        if self._remarks is not None:
            for aggregate, askers in self._group.askers.items():
                if node in walk(aggregate):
                    self._remarks.leave_out(askers, frame.rows[left_out])


def this_fields(aggregate: Aggregate) -> list[ThisField]:
    """Return the fields of `this` that an aggregate's condition reads; if one is missing, so is the aggregate."""
    found = walk(aggregate.condition) if aggregate.condition is not None else ()
    return list(dict.fromkeys(node for node in found if isinstance(node, ThisField)))
