"""The online engine: features and conditions of each event from running state, batch by batch.

State is a fold over the log: the same events give the same values in batches of any size. What does not depend on
`since flag` is computed by columns, stage by stage; a rule with `since flag` goes row by row, since each hit changes
what the next row reads. Few events are computed one by one, with the same values (`features.online.row_engine`).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Self

from shroff.errors import StateError
from shroff.events.definitions import Events
from shroff.events.labels import LogEvent
from shroff.features.batch.remarks import Remarks
from shroff.features.computed import Computed
from shroff.features.frames import Frame, Frames, frames_of, masked, times_of
from shroff.features.kernels.layout import VERSION
from shroff.features.key_texts import Hits
from shroff.features.online.group_keys import SharedCodes
from shroff.features.online.group_state import GroupState
from shroff.features.online.key_space import KeySpaces
from shroff.features.online.row_engine import RowEngine
from shroff.features.online.row_reads import Row, RowReads
from shroff.features.online.since_flag import SinceFlag
from shroff.features.online.trial import is_ready
from shroff.features.online.value_codec import pack, unpack
from shroff.features.plan import Plan, make_plan, stored_files_of, with_rules
from shroff.language.row import Reference

# Keys examined between batches by states that release no keys: more than a batch can add.
SWEEP_A_ROW = 2
SWEEP_A_BATCH = 4
FEW = 24  # up to so many events are faster one by one than by columns: see bench/few.py


def is_ready_to_foresee() -> bool:
    """Return whether `Online.foresee` needs no compilation; if it does, start a second process that compiles."""
    return is_ready()


class Lateness(int):
    """How late the events of a log may be, in ms, sufficient for every engine.

    Includes the leap of a watermark that was set back. An engine with permanent state uses `usual_ms` instead, since it
    would keep that much forever; events with times in `leaps` do not move what it releases.
    """

    usual_ms: int
    leaps: tuple[tuple[int, int], ...]

    def __new__(cls, usual_ms: int, more_ms: int = 0, leaps: tuple[tuple[int, int], ...] = ()) -> Self:
        made = super().__new__(cls, usual_ms + more_ms)
        made.usual_ms = usual_ms
        made.leaps = leaps
        return made


class Online:
    """Running state of everything that a project computes.

    Args:
        events: The declared event types and entities.
        computed: What to compute, each after the features that it reads.
        reference: Lists and tables.
        lateness_ms: How far an event may be behind the watermark.
        plan: The part of their plan to compute here; by default all.
    """

    def __init__(
        self,
        events: Events,
        computed: Sequence[Computed],
        reference: Reference,
        lateness_ms: int,
        plan: Plan | None = None,
    ) -> None:
        self._events = events
        self._reference = reference
        self._lateness_ms = lateness_ms
        late = lateness_ms if isinstance(lateness_ms, Lateness) else Lateness(lateness_ms)
        self._leaps = late.leaps
        self._plan = make_plan(computed) if plan is None else plan
        codes = SharedCodes()
        self._keys = codes.keys
        self._texts = codes.texts
        self._trial = codes.trial
        self.remarks = Remarks()  # on the last batch
        self.groups = [
            GroupState(group, late.usual_ms, codes, events, reference, remarks=self.remarks)
            for group in self._plan.groups
        ]
        self._looks = [group.look for group in self.groups if group.look is not None]
        self._spaces = KeySpaces(codes, self.groups)
        self._after: dict[str, list[Computed]] = {}
        for _, feature in self._plan.computed:
            if feature.is_reason and feature.looks_since_flag and feature.rule is not None:
                self._after.setdefault(feature.rule, []).append(feature)
        self._has_scores = any(feature.is_score for _, feature in self._plan.computed)
        of_rules: dict[str | None, list[GroupState]] = {}
        for group in self.groups:
            of_rules.setdefault(group.key.rule, []).append(group)
        self.rules = [
            SinceFlag(wanted, groups, events.entities[wanted.entity], is_told=wanted.rule in self._after)
            for _, wanted in self._plan.computed
            if wanted.is_condition and (groups := of_rules.get(wanted.rule, []))
        ]
        self._by_row = {rule.wanted.name for rule in self.rules}
        self._by_row |= {feature.name for features in self._after.values() for feature in features}
        self._kept = stored_files_of(self._plan)
        self._rows = RowEngine(self._plan, self.groups, self.rules, self._after, events, reference, self.remarks)
        self.watermark_ms: int | None = None

    def compute(self, batch: Sequence[LogEvent], hits: Sequence[Hits | None] | None = None) -> dict[str, Frame]:
        """Process a batch of events in log order; return them by type, with the computed columns.

        `hits` has for a recorded event the rules that hit it when it was decided, with its keys: replay repeats these,
        and evaluates no condition and no model. It is None for an event that is decided now.
        """
        frames = frames_of(batch, self._events, self._reference)
        self.take(frames, len(batch), hits)
        return frames

    def compute_columns(self, make: Callable[[Events, Reference], dict[str, Frame]], size: int) -> dict[str, Frame]:
        """Process events that are decided now and came as columns, from which `make` makes frames; see `compute`."""
        frames = make(self._events, self._reference)
        self.take(frames, size, None)
        return frames

    def take(self, frames: Frames, size: int, hits: Sequence[Hits | None] | None = None) -> None:
        """Process a batch split by type, and add the computed columns to its frames."""
        self.remarks.clear()
        times = times_of(frames, size)
        scored = self._scored(frames, hits)
        for stage in range(self._plan.stages):
            for group in self.groups:
                if group.key.stage == stage and group.key.rule is None:
                    group.run(times, frames, self.watermark_ms)
            for at, wanted in self._plan.computed:
                if at == stage and wanted.name not in self._by_row:
                    compute(wanted, scored if wanted.is_score else frames)
        for rule in self.rules:
            rule.run(times, frames, self.watermark_ms, hits)
            for wanted in self._after.get(rule.wanted.rule or "", ()):  # before another rule replaces the aggregates
                compute(wanted, frames)
        self._advance(frames)

    def pass_over(self, frames: Frames, size: int, hits: Sequence[Hits]) -> None:
        """Add recorded events to the state without computing anything that state does not need.

        The state is then as after `take`. If events came as columns, call `passed` after the last.
        """
        times = times_of(frames, size)
        kept = self._kept
        for stage in range(self._plan.stages):
            for group, is_asked in zip(self.groups, kept.asked, strict=True):
                if group.key.stage == stage and group.key.rule is None:
                    (group.run if is_asked else group.pass_over)(times, frames, self.watermark_ms)
            for at, wanted in self._plan.computed:
                if at == stage and wanted.name in kept.names:
                    compute(wanted, frames)
        for rule in self.rules:
            rule.run(times, frames, self.watermark_ms, hits)
        self._advance(frames)

    def passed(self) -> None:
        """Release the columns of `pass_over`."""
        for codes in (self._texts, *self._keys.values()):
            codes.forget_columns()

    def take_rules(self, rules: Mapping[str, Sequence[Computed] | None]) -> bool:
        """Compute other rules from the next batch on, with the same features and state.

        Return False, and change nothing, if they need other state. Cost: that of the changed rules.

        Args:
            rules: As for `plan.with_rules`.
        """
        plan = with_rules(self._plan, rules)
        if plan is not None:
            self._plan = plan
            self._rows.take_plan(plan)
        return plan is not None

    def takes_rows(self, batch: Sequence[LogEvent]) -> bool:
        return len(batch) <= FEW and self._rows.takes(batch)

    def few(self, batch: Sequence[LogEvent]) -> list[Row]:
        """Process a few events in log order, one by one; return a row for each, in the layout of `reads`.

        Values and state equal those of `compute` for the same events.
        """
        self.remarks.clear()
        found, self.watermark_ms = self._rows.take(batch, self.watermark_ms, self._leaps)
        self._trim(len(batch))
        return found

    def foresee(self, event: LogEvent) -> Row:
        """Return the row that `few` would give for this event now, and leave the state unchanged.

        Only for events that `takes_rows` accepts. Cost: that of `few`, and a quarter more.
        """
        self.remarks.clear()
        self._trial.begin((self._texts, *self._keys.values()))
        try:
            (row,), _ = self._rows.take([event], self.watermark_ms, self._leaps)
        finally:
            self._trial.end()
            self.remarks.clear()
        return row

    def reads(self, event: str) -> RowReads:
        """Return the row layout of `few` for events of a type; call it before they are processed."""
        return self._rows.reads(event)

    def _scored(self, frames: Frames, hits: Sequence[Hits | None] | None) -> Frames:
        if hits is None or not self._has_scores:
            return frames
        return {name: frame for name, frame in frames.items() if any(hits[row] is None for row in frame.rows.tolist())}

    def _advance(self, frames: Frames) -> None:
        """Advance the watermark by the events of a batch; labels do not move it."""
        times = [frame.times for name, frame in frames.items() if name != "label"]
        for low, high in self._leaps:
            times = [time[(time < low) | (time > high)] for time in times]
        newest = [int(time.max()) for time in times if len(time)]
        if newest:
            self.watermark_ms = max([*newest, *([] if self.watermark_ms is None else [self.watermark_ms])])
        self._trim(sum(len(frame) for frame in frames.values()))

    def _trim(self, rows: int) -> None:
        """Remove events beyond reach after a batch, and release the codes of keys without events."""
        if self.watermark_ms is not None:
            for look in self._looks:
                look.trim(self.watermark_ms, SWEEP_A_ROW * rows + SWEEP_A_BATCH)
            self._spaces.visit(rows, self.watermark_ms)

    # ---- snapshots

    def layout(self) -> str:
        """Return a hash of the state layout; state can be moved only between engines of equal layout."""
        late = repr((self._lateness_ms, self._leaps) if self._leaps else self._lateness_ms)
        groups = [repr((group.key, group.group.aggregates, sorted(group.group.asked_at))) for group in self.groups]
        return sha256("\n".join([sys.byteorder, repr(VERSION), late, *groups]).encode()).hexdigest()

    def state(self) -> Iterator[bytes | memoryview]:
        """Yield all running state in parts, for `restore`. Use them before the next batch.

        Cost: a copy of one part at a time, so a large state is never in memory twice.
        """
        yield pack([self.watermark_ms, len(self._keys)])
        for codes in (self._texts, *self._keys.values()):
            yield pack(codes.values)
        for group in self.groups:
            yield group.state()

    def restore(self, parts: Iterator[bytes | memoryview]) -> None:
        """Continue from the state of an engine with the same layout.

        Raises: StateError if it does not fit; this engine is then unusable.
        """
        try:
            self.watermark_ms, spaces = unpack(next(parts))
            if spaces != len(self._keys):
                raise StateError(f"the state has {spaces} dictionaries of keys, and {len(self._keys)} are needed")
            for codes in (self._texts, *self._keys.values()):
                codes.restore(unpack(next(parts)))
            for group in self.groups:
                group.restore(next(parts))
        except (StopIteration, ValueError, IndexError) as error:  # includes msgspec's errors
            raise StateError(f"the state cannot be read: {str(error) or 'a part is missing'}") from None

    @property
    def memory_bytes(self) -> int:
        """Memory of all histories and dictionaries. Cost: a step for each key."""
        dictionaries = sum(codes.memory_bytes for codes in (self._texts, *self._keys.values()))
        return dictionaries + sum(group.memory_bytes for group in self.groups)

    @property
    def cell_bytes(self) -> int:
        """Memory of the events in all histories: what grows with each event of a known key."""
        return sum(group.cell_bytes for group in self.groups)

    @property
    def keys(self) -> int:
        """Number of keys with state, of all entities. Cost: a step for each key."""
        return sum(len(codes.known) - 1 for codes in self._keys.values())


def compute(wanted: Computed, frames: Frames) -> None:
    """Compute a value for the frames of its event types, which have the aggregates and features that it reads."""
    for event in wanted.events & frames.keys():
        frame = frames[event]
        column = frame.evaluate(wanted.node)
        if wanted.needs_key:
            column = frame.with_key(column, wanted.entity, wanted.node.type)
        if wanted.expires_ms is not None:
            column = masked(column, frame.times < wanted.expires_ms, wanted.node.type)
        frame.computed[wanted.name] = column
