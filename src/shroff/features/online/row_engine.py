"""The online engine for a few events: one by one, by functions made once for each event type.

A column costs the same few microseconds with one value or a hundred, and a project has a hundred columns. So few events
are computed as rows: with the same state and kernels, and an evaluator for one row, which a law test compares with that
of columns. Recorded events and labels are computed by columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from shroff.events.definitions import Events
from shroff.events.event import Event
from shroff.events.labels import LogEvent
from shroff.features.batch.remarks import Remarks
from shroff.features.computed import Computed
from shroff.features.online.group_state import GroupState
from shroff.features.online.row_groups import Now, RowGroup
from shroff.features.online.row_reads import Row, RowReads, Step
from shroff.features.online.since_flag import SinceFlag
from shroff.features.plan import Plan
from shroff.language.expression import Aggregate
from shroff.language.row import Evaluate, Reference


class RowEngine:
    """An engine for single events; the state is in its groups and rules.

    Args:
        after: For each rule with `since flag`, the values that its reason shows.
    """

    def __init__(
        self,
        plan: Plan,
        groups: Sequence[GroupState],
        rules: Sequence[SinceFlag],
        after: Mapping[str, Sequence[Computed]],
        events: Events,
        reference: Reference,
        remarks: Remarks,
    ) -> None:
        self._plan = plan
        self._rules = rules
        self._after = after
        self._events = events
        self._reference = reference
        self._now = Now()
        self._groups = [RowGroup(group, remarks, self._now) for group in groups]
        self._by_row = {rule.wanted.name for rule in rules} | {
            feature.name for features in after.values() for feature in features
        }
        self._reads: dict[str, RowReads] = {}

    def take_plan(self, plan: Plan) -> None:
        """Switch to another plan over the same groups, which differs only in values of rules."""
        previous = {feature.name: feature for _, feature in self._plan.computed}
        current = {feature.name: feature for _, feature in plan.computed}
        removed = [name for name, feature in previous.items() if current.get(name) is not feature]
        added = [feature for name, feature in current.items() if previous.get(name) is not feature]
        self._plan = plan
        for event, reads in self._reads.items():
            reads.drop(removed)
            for wanted in added:
                if event in wanted.events:
                    _add_computed(reads, wanted)

    def takes(self, batch: Sequence[LogEvent]) -> bool:
        return all(isinstance(event, Event) for event in batch)

    def reads(self, event: str) -> RowReads:
        """Return the row layout for events of a type; call it before the first is processed."""
        if event not in self._reads:
            self._reads[event] = self._made(event)
        return self._reads[event]

    def take(
        self, batch: Iterable[LogEvent], watermark_ms: int | None, leaps: Sequence[tuple[int, int]] = ()
    ) -> tuple[list[Row], int | None]:
        """Process events in log order; return their rows, and the new watermark, which times in `leaps` do not move."""
        now = self._now
        rows = list[Row]()
        for number, event in enumerate(batch):
            assert isinstance(event, Event)
            reads = self.reads(event.type)
            now.watermark_ms = watermark_ms
            row = reads.row(event, number)
            for step in reads.steps:
                step(row)
            rows.append(row)
            is_newest = watermark_ms is None or watermark_ms < event.time_ms
            if is_newest and not any(low <= event.time_ms <= high for low, high in leaps):
                watermark_ms = event.time_ms
        return rows, watermark_ms

    # ---- steps for an event of a type, in the order of `Online.take`

    def _made(self, event: str) -> RowReads:
        reads = RowReads(self._events.types[event], self._events, self._reference)
        for stage in range(self._plan.stages):
            for group in self._groups:
                if group.group.key.stage == stage and group.group.key.rule is None:
                    _add(reads, group.step(reads))
            for at, wanted in self._plan.computed:
                if at == stage and wanted.name not in self._by_row and event in wanted.events:
                    _add_computed(reads, wanted)
        for rule in self._rules:
            self._add_rule(reads, rule)
            for wanted in self._after.get(rule.wanted.rule or "", ()):
                if event in wanted.events:
                    _add_computed(reads, wanted)
        return reads

    def _add_rule(self, reads: RowReads, rule: SinceFlag) -> None:
        """Add a rule with `since flag`: its histories answer, its condition is evaluated, and a hit empties them."""
        groups = [group for group in self._groups if group.group in rule.groups]
        for row_group in groups:
            _add(reads, row_group.step(reads))
        wanted = rule.wanted
        if reads.type.name not in wanted.events:
            return
        key = reads.key(wanted.entity)
        codes = rule.keys
        time = reads.time
        expires_ms = wanted.expires_ms
        evaluate = reads.evaluate(wanted.node)
        at = reads.place(wanted.name)

        def step(row: Row) -> None:
            if expires_ms is not None and time(row) >= expires_ms:
                return
            row[at] = evaluate(row)
            if row[at] is not True:
                return
            code = codes.add(key(row))
            for cleared in groups if code >= 0 else ():
                cleared.group.link_pairs()
                cleared.group.clear(code)

        reads.steps.append(step)


def _add(reads: RowReads, step: Step | None) -> None:
    if step is not None:
        reads.steps.append(step)


def _add_computed(reads: RowReads, wanted: Computed) -> None:
    """Add the computation of one value; see `online.engine.compute`."""
    is_masked = wanted.needs_key and not (isinstance(wanted.node, Aggregate) and wanted.node.entity == wanted.entity)
    slot = reads.place_of(wanted.node) if isinstance(wanted.node, Aggregate) else None
    if slot is not None and not is_masked and wanted.expires_ms is None:
        reads.alias(wanted.name, slot)  # the aggregate itself is the value
        return
    evaluate = reads.evaluate(wanted.node)
    if is_masked:
        evaluate = _with_key(evaluate, reads.key(wanted.entity))
    if wanted.expires_ms is not None:
        evaluate = _before(evaluate, reads.time, wanted.expires_ms)
    at = reads.place(wanted.name)

    def step(row: Row) -> None:
        row[at] = evaluate(row)

    reads.give(wanted.name, step)


def _with_key(evaluate: Evaluate, key: Evaluate) -> Evaluate:
    return lambda row: None if key(row) is None else evaluate(row)


def _before(evaluate: Evaluate, time: Evaluate, expires_ms: int) -> Evaluate:
    return lambda row: evaluate(row) if time(row) < expires_ms else None
