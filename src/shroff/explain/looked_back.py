"""Records that one decision can depend on: the earlier events of its keys, as far back as its windows reach."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Final

from shroff.events.event import Event
from shroff.explain.finding_keys import KeyEvents, KeyFinder
from shroff.explain.key_index import KeyIndex
from shroff.features.naive import Key
from shroff.language.expression import Aggregate, ItemFeature, aggregates, walk
from shroff.log.history import Records
from shroff.log.state.fold import lateness_of
from shroff.project.definitions import Definitions, computed_of
from shroff.streams.log import Log, Record

MOST: Final = 16_384  # records: more are folded sooner by columns


def looked_back(log: Log, definitions: Definitions, seq: int, index: KeyIndex | None = None) -> list[Record] | None:
    """The records before a place that its decision can depend on, in the order of the log.

    None where that cannot be told: where a value depends on earlier hits, on earlier values of features, on another
    field than the key or on a draw, where records were pruned, and where there are more than MOST.

    Cost: see `KeyEvents.backwards`; 3 µs for each label of the log where a value counts labels.
    """
    record = log.records_at([seq]).get(seq)
    records = Records(definitions.events, definitions.settings.money_places)
    event = None if record is None else records.decode(record)
    if not isinstance(event, Event) or log.pruned_to() or definitions.policy(event.type).explore is not None:
        return None
    nodes = [one.node for one in computed_of(definitions) if event.type in one.events]
    if any(isinstance(part, ItemFeature) for node in nodes for part in walk(node)):
        return None
    used = {one for node in nodes for one in aggregates(node)}
    if any(one.since_flag or one.matching for one in used):
        return None
    events = KeyEvents(log, definitions, records, index)
    keys = events.keyed.keys(event, {one.entity for one in used})
    found = _events(events, keys, seq, _windows(used, event.time_ms - lateness_of(log, definitions)))
    if found is None:
        return None
    of_labels = {one.entity for one in used if one.event == "label"} & keys.keys()
    labels = _labels(log, seq, events.keyed, records, {entity: keys[entity] for entity in of_labels})
    return sorted([*found, *labels], key=lambda one: one.seq)


def _windows(used: Iterable[Aggregate], end_ms: int) -> dict[str, float]:
    """For each entity the time at which its longest window begins, for a watermark; that of labels is none of them."""
    found: dict[str, float] = {}
    for one in used:
        if one.event != "label":
            start = -math.inf if one.over_ms is None else end_ms - one.delay_ms - one.over_ms
            found[one.entity] = min(start, found.get(one.entity, math.inf))
    return found


def _events(events: KeyEvents, keys: Mapping[str, Key], seq: int, windows: Mapping[str, float]) -> list[Record] | None:
    """The events of these keys before a place, an entity's as far back as its window; None where they are too many."""
    wanted = {entity: [keys[entity]] for entity in windows if entity in keys}
    found: list[Record] = []
    looked_to = seq - 1
    for part_start, records in events.backwards(seq - 1, wanted) if wanted else ():
        found, looked_to = [*found, *records], part_start
        if len(found) > MOST:
            return None
        # No event before one that was not late is newer than it by more than the lateness.
        oldest_ms = min((one.time_ms for one in records), default=math.inf)
        for entity in [entity for entity in wanted if oldest_ms <= windows[entity]]:
            del wanted[entity]
        if not wanted:
            break
    return None if wanted and looked_to > 0 else found


def _labels(log: Log, seq: int, keyed: KeyFinder, records: Records, keys: Mapping[str, Key]) -> list[Record]:
    """The labels of these keys' events before a place."""
    if not keys:
        return []
    return [
        record
        for some in log.labels_after(0, seq - 1)
        for record in some
        if any(keyed.has_label(record, entity, key) for entity, key in keys.items())
    ]
