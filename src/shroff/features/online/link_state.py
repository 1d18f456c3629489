"""Link state: events by link value, for aggregates with `via` over events that share a link value with a key's events.

`group_state` uses it for groups without a kernel. The cells are those of a `ScanState` with link values as keys;
`owned` has the same cells by key.
"""

from __future__ import annotations

from bisect import bisect_right, insort

import numpy as np
from msgspec import field

from shroff.arrays import Ints
from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent
from shroff.features.frames import Codes, Frames, frames_of
from shroff.features.online.scan_state import TIME, Cell, Keyed, ScanState, evaluate, remove_newest
from shroff.features.plan import GroupKey
from shroff.language.row import Reference
from shroff.language.values import Value

# Names of cell values besides the fields that aggregates read; no field can have such a name.
LINK = " link"  # the code of its link value
IS_SEEN = " is seen"  # whether aggregates read it; otherwise it only links
_KEY = " key"  # the code of its key; -1 without a key
_NUMBER = " number"  # its number in order of arrival
_NO_KEY = -1


class LinkState(ScanState):
    """Events by link value and by key, for aggregates with one `via`."""

    owned: dict[int, list[Cell]] = field(default_factory=dict)
    _number: int = 0
    _up_to: int = 0  # all aggregates of the group have the same `via`

    def __post_init__(self) -> None:
        ScanState.__post_init__(self)
        self._up_to = max(aggregate.via.up_to for aggregate in self.aggregates if aggregate.via is not None)

    def row(self, time_ms: int, insert: Keyed | None, asked: Keyed | None) -> list[Value]:
        """Answer a query, and insert an event, which has a link value and possibly a key. Call in log order.

        Args:
            insert: The event's key code, -1 without a key, and its fields; None if it is not stored.
            asked: The code of the key whose aggregates are needed, and the fields of `this`; None if none are.
        """
        answers: list[Value] = [None] * len(self._looks)
        own: int | None = None
        for including in (False, True):
            if including and insert is not None:
                key, fields = insert
                self._number += 1
                self.taken += 1
                cell = time_ms, {**fields, _KEY: key, _NUMBER: self._number}
                insort(self.cells.setdefault(int(fields[LINK] or 0), []), cell, key=TIME)
                if key != _NO_KEY:
                    insort(self.owned.setdefault(key, []), cell, key=TIME)
                    own = int(fields[LINK] or 0)
            for at, look in enumerate(self._looks):
                aggregate = look.aggregate
                if asked is not None and aggregate.including == including:
                    end_ms = time_ms - aggregate.delay_ms
                    window = end_ms - (aggregate.over_ms or 0), end_ms
                    answers[at] = evaluate(look, self._linked(asked[0], window, own), (time_ms, asked[1]))
        return answers

    def take_back(self, inserted: Keyed, time_ms: int) -> None:
        key, fields = inserted
        self._number -= 1
        remove_newest(self.cells, int(fields[LINK] or 0), time_ms)
        if key != _NO_KEY:
            remove_newest(self.owned, key, time_ms)

    def _linked(self, key: int, window: tuple[int, int], own: int | None) -> list[Cell]:
        """Return the aggregated events in a window, (start, end], with a link value that the key has in it, too.

        `own` is the link value of the asking event, if it counts for the key even outside the window; else None.
        """
        links = {fields[LINK] for _, fields in _within(self.owned.get(key, []), window)} | ({own} - {None})
        found: list[Cell] = []
        for link in links:
            cells = _within(self.cells.get(link, []), window)  # type: ignore[arg-type]  # a code
            if len({_NO_KEY, key, *(fields[_KEY] for _, fields in cells)}) <= self._up_to + 1:
                found += [cell for cell in cells if cell[1][IS_SEEN]]
        return sorted(found, key=lambda cell: (cell[0], cell[1][_NUMBER]))

    def forget(self, cells: list[Cell]) -> None:
        for _, fields in cells:
            mine = self.owned.get(fields[_KEY], [])  # type: ignore[arg-type]  # a code
            del mine[: bisect_right(mine, cells[-1][0], key=TIME)]
            if not mine:
                self.owned.pop(fields[_KEY], None)  # type: ignore[arg-type]  # a code

    def restore(self, snapshot: bytes | memoryview) -> None:
        ScanState.restore(self, snapshot)
        self.owned = {}
        cells = [cell for cells in self.cells.values() for cell in cells]
        for cell in sorted(cells, key=lambda cell: (cell[0], cell[1][_NUMBER])):
            self._number = max(self._number, int(cell[1][_NUMBER] or 0))
            if cell[1][_KEY] != _NO_KEY:
                self.owned.setdefault(int(cell[1][_KEY] or 0), []).append(cell)


def linked_codes(
    key: GroupKey, codes: tuple[Codes, Codes], events: Events, reference: Reference, frames: Frames, size: int
) -> tuple[Ints, Ints]:
    """Return the codes of key and link value of each row, -1 for none.

    A label has the link value of its event, and no key.
    """
    assert key.via is not None
    keys, links = np.full((2, size), -1, np.int64)
    linking = frames.get(key.via.event)
    seen = frames.get(key.event)
    if linking is not None:
        keys[linking.places] = linking.key_codes(key.entity, codes[0])
        links[linking.places] = linking.value_codes(key.via.operand, codes[1])
    if seen is not None and seen.type.name == "label":
        labels = [event for event in seen.events if isinstance(event, LabelEvent)]
        labelled = frames_of([label.of for label in labels], events, reference).get(key.via.event)
        if labelled is not None:
            counts = np.array([labels[row].changes or key.each_source for row in labelled.rows.tolist()])
            found = labelled.value_codes(key.via.operand, codes[1])
            links[seen.rows[labelled.rows]] = np.where(counts, found, -1)
    return keys, links


def _within(cells: list[Cell], window: tuple[int, int]) -> list[Cell]:
    return cells[bisect_right(cells, window[0], key=TIME) : bisect_right(cells, window[1], key=TIME)]
