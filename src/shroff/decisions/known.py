"""What is there already of a batch's submissions: asked of the log at once, before the batch is drafted.

So a draft needs no log, and may be made while the batch before it is committed; what that
one brings is known too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from shroff.decisions.history import label_id
from shroff.events.intake import Submission
from shroff.streams.log import Batch, DecisionRow, Log, Record, WaitingLabel

Key = tuple[str, str]  # a type and an id


@dataclass(slots=True)
class Known:
    """What submissions meet: records with the ids that they have or name, decisions of those that come again, labels.

    `seq` is the place behind which the submissions will stand.
    """

    seq: int = 0
    records: dict[Key, Record] = field(default_factory=dict)
    decisions: dict[Key, DecisionRow] = field(default_factory=dict)
    waiting: dict[Key, list[WaitingLabel]] = field(default_factory=dict)
    waiting_ids: frozenset[str] = frozenset()


def look_up(
    submissions: Iterable[Submission], log: Log, coming: Batch | None, money_places: int, *, has_waiting: bool
) -> Known:
    """What the log has, and what a batch brings that it does not have yet: some queries for each type.

    Args:
        coming: A batch that nobody commits meanwhile, without waiting labels of its own.
        has_waiting: Whether the log has waiting labels at all.
    """
    events: dict[str, list[str]] = defaultdict(list)
    named: dict[str, set[str]] = defaultdict(set)
    labels: list[str] = []
    for one in submissions:
        if one.event is not None:
            events[one.type].append(one.event.id)
        elif one.label is not None:
            named[one.label.event_type or ""].add(one.label.event_id)
            labels.append(label_id(one.label, money_places))
    found = Known()
    wanted = {type_: named[type_].union(events.get(type_, ())) for type_ in dict.fromkeys((*events, *named))}
    if labels:
        wanted["label"] = set(labels)
    for type_, ids in wanted.items():
        records = log.find(type_, list(ids))
        found.records.update({(type_, id_): record for id_, record in records.items()})
        again = [id_ for id_ in dict.fromkeys(events.get(type_, ())) if id_ in records] if records else []
        if again:
            found.decisions.update({(type_, id_): row for id_, row in log.decisions(type_, again).items()})
    if has_waiting:
        for type_, in_order in events.items():
            for label in log.waiting_for(type_, in_order):
                found.waiting.setdefault((type_, label.event_id), []).append(label)
        found.waiting_ids = frozenset(row.id for row in log.waiting_with_ids(labels))
    if coming is not None:
        _add(found, wanted, coming)
    return found


def _add(found: Known, wanted: dict[str, set[str]], coming: Batch) -> None:
    """Add what a batch brings of what is wanted."""
    records = [record for record in coming.records if record.id in wanted.get(record.type, ())]
    if not records:
        return
    found.records.update({(record.type, record.id): record for record in records})
    decisions = {row.seq: row for row in coming.decisions}
    found.decisions.update(
        {(record.type, record.id): decisions[record.seq] for record in records if record.seq in decisions}
    )
