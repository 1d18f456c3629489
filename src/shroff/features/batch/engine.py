"""The batch engine: features and conditions of every event of a history, computed by columns.

The online engine works batch by batch; this one works in rounds over the whole history (see `Rounds`), with a
`Backfill` for each group of aggregates.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from shroff.arrays import NO_INTS, Ints
from shroff.events.definitions import Events
from shroff.features.batch.feed import GroupFeed
from shroff.features.batch.rounds import Rounds
from shroff.features.computed import Computed
from shroff.features.online.group_keys import SharedCodes
from shroff.features.online.group_state import GroupState
from shroff.language.row import Reference
from shroff.runtime.values import replace

# Memory for prepared answers of the groups of a stage; further groups write theirs to a file.
HELD_BYTES = 1 << 30


class BatchEngine(Rounds[GroupFeed]):
    """A whole history in the memory of this process.

    The first four arguments are those of `Online`.

    Args:
        threads: Number of threads that answer, at least one.
        also: Event types to return although nothing is computed at them.
        spill: Folder for answers that do not fit into memory; by default the system's temporary one.

    Cost: two rounds if no feature stacks, one more for each `f of E` of another.
    Memory: until all is added about 15 bytes for each event and group of aggregates, then that of `Backfill`, up to
    `HELD_BYTES`; the fields still needed; the results of a piece.
    """

    def __init__(
        self,
        events: Events,
        computed: Sequence[Computed],
        reference: Reference,
        lateness_ms: int,
        *,
        threads: int,
        also: Collection[str] = (),
        spill: Path | None = None,
    ) -> None:
        super().__init__(events, computed, reference, also)
        lateness_ms = int(lateness_ms)
        codes = SharedCodes()
        self._groups = [
            GroupState(group, lateness_ms, codes, events, reference, is_fed_only=not group.key.is_look)
            for group in self._plan.groups
        ]
        self._feeds = [GroupFeed(group, lateness_ms, threads, spill) for group in self._groups if not group.key.is_look]
        self._here = [group for group in self._groups if group.key.is_look]

    def close(self) -> None:
        for feed in self._feeds:
            feed.close()

    def _end_stage(self, stage: int) -> None:
        """Make the groups of a stage ready to answer: those that memory cannot hold first, one after the other."""
        times = self._joined_times()
        feeds = sorted(self._of_stage(stage), key=lambda feed: feed.bytes_wanted)
        room = HELD_BYTES
        in_memory: list[GroupFeed] = []
        for feed in feeds:
            room -= feed.bytes_wanted
            in_memory += [feed] if room >= 0 else []
        for feed in feeds[len(in_memory) :]:
            feed.end(times, is_held=False)
        for feed in in_memory:
            feed.end(times, is_held=True)

    def _joined_times(self) -> Ints:
        """Return the times of all chunks as one array, of which each chunk then has a view."""
        assert isinstance(self._chunks, deque)
        times = np.concatenate([NO_INTS, *(chunk.times for chunk in self._chunks)])
        ends = np.cumsum([chunk.size for chunk in self._chunks]).tolist()
        self._chunks = deque(
            replace(chunk, times=times[end - chunk.size : end]) for chunk, end in zip(self._chunks, ends, strict=True)
        )
        return times
