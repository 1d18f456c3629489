"""From a key to its pairs: which of a history's keys a hit must empty, where its keys are pairs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shroff.features.frames import Codes

_FIRST_ROOM: Final = 64


@dataclass(slots=True)
class Links:
    """Chains of pair codes: `last` has the newest pair of each key, `before` the one before each pair; -1: none.

    All of it follows from the dictionary of pairs, so a snapshot need not have it.
    """

    pairs: Codes
    keys: Codes
    last: NDArray[np.int64] = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    before: NDArray[np.int64] = field(default_factory=lambda: np.full(_FIRST_ROOM, -1, np.int64))
    _linked: int = 0
    _values: list[Any] | None = None  # the dictionary's values that are linked: others after a restore

    def extend(self) -> None:
        """Link the pairs that came since."""
        values = self.pairs.values
        if values is not self._values:
            self._values, self._linked = values, 0
            self.last.fill(-1)
        for pair in range(self._linked, len(values)):
            key = self.keys.add(values[pair][0])
            self.last, self.before = _with_room(self.last, key), _with_room(self.before, pair)
            self.before[pair] = self.last[key]
            self.last[key] = pair
        self._linked = len(values)

    def of(self, key: int) -> Iterator[int]:
        """The pairs of a key."""
        pair = int(self.last[key]) if key < len(self.last) else -1
        while pair >= 0:
            yield pair
            pair = int(self.before[pair])


def _with_room(array: NDArray[np.int64], place: int) -> NDArray[np.int64]:
    if place < len(array):
        return array
    return np.concatenate([array, np.full(max(len(array), place + 1 - len(array)), -1, np.int64)])
