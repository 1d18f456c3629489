"""The online engine: features and conditions of each event from running state, batch by batch.

State is a fold over the log: the same events give the same values in batches of any size.
What does not stand on `since flag` is computed by columns, stage by stage; a rule that
looks `since flag` goes row by row, since each hit changes what the next row sees.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any, Final

import numpy as np

from shroff.errors import StateError
from shroff.events.definitions import Events
from shroff.events.labels import LogEvent
from shroff.features.computed import Computed
from shroff.features.frames import Codes, Frame, frames_of, masked
from shroff.features.kernel_layout import VERSION
from shroff.features.packing import pack, unpack
from shroff.features.plan import make_plan
from shroff.features.running import Running
from shroff.features.since_flag import SinceFlag
from shroff.language.expression import aggregates
from shroff.language.row import Reference

# Idle keys looked at between batches: more than a batch can bring, so that the walk keeps up with new ones.
SWEEP_A_ROW: Final = 2
SWEEP_A_BATCH: Final = 4


class Online:
    """Running state of everything that a project computes.

    Args:
        events: The declared event types and entities.
        computed: What to compute, each after the features that it reads.
        reference: Lists and tables.
        lateness_ms: How far an event may be behind the watermark.
    """

    def __init__(self, events: Events, computed: Sequence[Computed], reference: Reference, lateness_ms: int) -> None:
        self._events, self._reference, self._lateness_ms = events, reference, lateness_ms
        self._plan = make_plan(computed)
        self._keys: dict[Any, Codes] = {}
        self._texts = Codes()
        self._groups = [
            Running(group, lateness_ms, self._keys, self._texts, events, reference) for group in self._plan.groups
        ]
        self._rules = [
            SinceFlag(wanted, [group for group in self._groups if group.key.rule == wanted.rule])
            for _, wanted in self._plan.computed
            if wanted.rule is not None and any(one.since_flag for one in aggregates(wanted.node))
        ]
        self._by_row = {rule.wanted.name for rule in self._rules}
        self.watermark_ms: int | None = None

    def compute(
        self, batch: Sequence[LogEvent], hits: Sequence[frozenset[str] | None] | None = None
    ) -> dict[str, Frame]:
        """Take a batch of events in log order; gives them by type, with the columns of what was computed.

        `hits` says for an event which rules hit it when it was decided: replaying the past
        follows what was, and asks no condition. None for an event: it is decided now.
        """
        frames = frames_of(batch, self._events, self._reference)
        size = len(batch)
        times = np.fromiter((event.time_ms for event in batch), np.int64, size)
        for stage in range(self._plan.stages):
            for group in self._groups:
                if group.key.stage == stage and group.key.rule is None:
                    group.run(times, frames, self.watermark_ms)
            for at, wanted in self._plan.computed:
                if at == stage and wanted.name not in self._by_row:
                    self._column(wanted, frames)
        for rule in self._rules:
            rule.run(times, frames, self.watermark_ms, hits)
        self._advance(frames)
        return frames

    def _column(self, wanted: Computed, frames: Mapping[str, Frame]) -> None:
        for event in wanted.events:
            frame = frames.get(event)
            if frame is None:
                continue
            column = frame.evaluate(wanted.node)
            if wanted.needs_key:
                has_key = np.array([key is not None for key in frame.key_values(wanted.entity)], np.bool_)
                column = masked(column, has_key, wanted.node.type)
            if wanted.expires_ms is not None:
                column = masked(column, frame.times < wanted.expires_ms, wanted.node.type)
            frame.computed[wanted.name] = column

    def _advance(self, frames: Mapping[str, Frame]) -> None:
        """Labels do not move the watermark."""
        newest = [int(frame.times.max()) for name, frame in frames.items() if name != "label"]
        if newest:
            self.watermark_ms = max([*newest, *([] if self.watermark_ms is None else [self.watermark_ms])])
        if self.watermark_ms is None:
            return
        rows = sum(len(frame) for frame in frames.values())
        for group in self._groups:
            group.trim(self.watermark_ms, SWEEP_A_ROW * rows + SWEEP_A_BATCH)

    # ---- snapshots

    def layout(self) -> str:
        """A hash of what the state is laid out by. State moves between engines of equal layout only."""
        groups = [repr((group.key, group.group.aggregates, sorted(group.group.asked_at))) for group in self._groups]
        return sha256("\n".join([sys.byteorder, repr(VERSION), repr(self._lateness_ms), *groups]).encode()).hexdigest()

    def state(self) -> Iterator[bytes]:
        """All running state in parts, to be given to `restore`. Take them before the next batch.

        Cost: a copy of one part at a time, so a large state is never there twice.
        """
        yield pack([self.watermark_ms, len(self._keys)])
        for codes in (self._texts, *self._keys.values()):
            yield pack(codes.values)
        for group in self._groups:
            yield from group.state()

    def restore(self, parts: Iterator[bytes]) -> None:
        """Continue from the state of an engine with the same layout.

        Raises: StateError if it does not fit; this engine is of no use then.
        """
        try:
            self.watermark_ms, spaces = unpack(next(parts))
            if spaces != len(self._keys):
                raise StateError(f"the state has {spaces} dictionaries of keys, and {len(self._keys)} are needed")
            for codes in (self._texts, *self._keys.values()):
                codes.restore(unpack(next(parts)))
            for group in self._groups:
                group.restore(next(parts), next(parts))
        except (StopIteration, ValueError, IndexError) as error:  # msgspec's errors are of ValueError
            raise StateError(f"the state cannot be read: {str(error) or 'a part is missing'}") from None

    @property
    def memory_bytes(self) -> int:
        """Bytes of the histories' cells and heads."""
        return sum(group.memory_bytes for group in self._groups)
