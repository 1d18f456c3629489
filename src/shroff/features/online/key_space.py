"""Key spaces: the keys of an engine by dictionary, each with the states that use its codes.

A key leaves its dictionary once no state has anything of it: all its events are beyond the reach of every window, and
no window is without end. The next new key gets its code. A key that comes back is like one that never came before.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shroff.features.frames import Codes
from shroff.features.online.group_keys import Links, SharedCodes
from shroff.features.online.group_state import GroupState
from shroff.features.online.link_state import LinkState
from shroff.features.online.scan_state import ScanState
from shroff.features.online.window_state import WindowState

# Keys visited for each event. An event adds at most a few keys, and a key without reach is found after at most one
# round. So a dictionary of n keys has at most n / 8 that could be released, n / 16 on average.
VISITS_A_ROW = 8
VISITS_A_BATCH = 16


class KeySpace:
    """The keys of one dictionary, visited in turn: events beyond reach are removed, and keys without state released."""

    def __init__(self, codes: Codes) -> None:
        self.codes = codes
        self.histories: list[tuple[WindowState, int, int]] = []  # code n has the head n * step + offset
        self.looks: list[ScanState] = []  # by these keys
        self.owners: list[LinkState] = []  # by link values, each event with one of these keys
        self.pairs: Links | None = None  # the chains of these keys, which are pair keys
        self.chains: list[Links] = []  # chains that begin at these keys
        self._next = 0

    def visit(self, rows: int, watermark_ms: int) -> None:
        """Visit the next keys after a batch of so many rows. No code of the batch may be used afterwards."""
        count = len(self.codes.values)
        visits = min(VISITS_A_ROW * rows + VISITS_A_BATCH, count)
        first = min(self._next, count)
        self._next = first + visits
        if self._next > count:  # the round ends here, and the next one begins
            self._visit(first, count, watermark_ms)
            first = 0
            self._next -= count
        self._visit(first, self._next, watermark_ms)

    def _visit(self, first: int, end: int, watermark_ms: int) -> None:
        held = np.zeros(end - first, np.uint8)
        for history, step, offset in self.histories:
            history.trim(first * step + offset, step, watermark_ms, held)
        if b"\0" in held.tobytes():  # faster than numpy for the few keys of an event
            self._release((np.flatnonzero(held == 0) + first).tolist())

    def _release(self, codes: list[int]) -> None:
        if self.looks or self.owners or self.chains:
            codes = [code for code in codes if not self._is_held(code)]
        if self.pairs is not None:
            for pair in codes:
                if self.codes.values[pair] is not None:
                    self.pairs.remove(pair)
        self.codes.release(codes)

    def _is_held(self, code: int) -> bool:
        return (
            any(code in look.cells for look in self.looks)
            or any(code in owner.owned for owner in self.owners)
            or any(code < len(chain.last) and chain.last[code] >= 0 for chain in self.chains)
        )


class KeySpaces:
    """All key spaces of an engine."""

    def __init__(self, shared: SharedCodes, groups: Sequence[GroupState]) -> None:
        spaces = {id(codes): KeySpace(codes) for codes in shared.keys.values()}
        for group in groups:
            space = spaces[id(group.keys.codes)]
            link_space = spaces[id(group.keys.link_codes)]
            if isinstance(group.look, LinkState):
                space.owners.append(group.look)
                link_space.looks.append(group.look)
            elif group.look is not None:
                space.looks.append(group.look)
            elif group.history is not None and group.key.via is not None:
                link_space.histories.append((group.history, 2, 0))
                space.histories.append((group.history, 2, 1))
            elif group.history is not None:
                space.histories.append((group.history, 1, 0))
        self._links = list(shared.links.values())
        for links in self._links:
            spaces[id(links.pairs)].pairs = links
            spaces[id(links.keys)].chains.append(links)
        self._spaces = list(spaces.values())

    def visit(self, rows: int, watermark_ms: int) -> None:
        """Visit the next keys of all dictionaries after a batch; see `KeySpace.visit`."""
        for links in self._links:
            links.extend()
        for space in self._spaces:
            space.visit(rows, watermark_ms)
