"""Lookup of a batch in the log: known ids, unique values and labeled events, in a few queries.

`log.writer` calls it before it classifies a batch. The batch can then be prepared without the log, while the previous
batch is committed; the lookup includes that batch.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from shroff.events.intake import Submission
from shroff.events.validation import LabelInput
from shroff.log.columns.lines import EventRun
from shroff.log.history import Records, label_id, label_key
from shroff.streams.log import Batch, DecisionRow, LateEvent, Log, LogReader, Record, WaitingLabel
from shroff.streams.log_columns import DecisionColumns, RecordColumns, by_type

Key = tuple[str, str]  # a type and an id
IdsByType = Mapping[str, Collection[str]]
NameKey = tuple[str, str, str]  # a type, a unique field and a value; an empty field means that the value is an id


class KnownRecords(Struct):
    """Existing records that submissions refer to.

    `records` are those with an id that a submission has or names, `decisions` those of duplicates, `personal` the
    personal values of those. The submissions are appended after `seq`. `holder` describes the event that keeps the
    watermark beyond the clock.
    """

    seq: int = 0
    holder: str = ""
    records: dict[Key, Record] = {}
    unique: dict[NameKey, Record] = {}
    decisions: dict[Key, DecisionRow] = {}
    waiting: dict[NameKey, list[WaitingLabel]] = {}
    waiting_ids: frozenset[str] = frozenset()
    late: dict[Key, LateEvent] = {}
    personal: dict[Key, Mapping[str, str]] = {}

    def find_personal(self, log: Log, type_: str, ids: Iterable[str]) -> None:
        for id_, values in log.personal.of(type_, list(ids)).items():
            self.personal[type_, id_] = values


def look_up(
    submissions: Sequence[Submission],
    log: Log,
    coming: Batch | None,
    types: Records,
    *,
    has_waiting: bool,
    has_late: bool,
) -> KnownRecords:
    """Look up submissions in the log and in an open batch, with some queries for each type.

    Args:
        coming: An open batch without pending labels of its own; it must not be committed meanwhile.
        types: How events are stored, and which of their fields are unique.
        has_waiting: Whether the log has pending labels at all; `has_late`: whether it has stored late events.
    """
    events: dict[str, list[str]] = defaultdict(list)
    labeled: dict[str, set[str]] = defaultdict(set)
    known = KnownRecords()
    values, repeated = _unique(known, submissions, log, coming, types) if types.unique else ({}, {})
    for type_, ids in repeated.items():
        labeled[type_] |= ids
    labels: list[str] = []
    undated: list[LabelInput] = []
    alone: Iterable[Submission] = submissions
    if isinstance(submissions, EventRun):
        alone = submissions.others.values()
        for type_, of_type in by_type(submissions.types, submissions.ids).items():
            events[type_] += of_type
    for submission in alone:
        event = submission.event or submission.refused
        if event is not None:
            events[submission.type].append(event.id)
        elif submission.label is not None:
            label = submission.label
            places = types.money_places
            if label.event_id:
                labeled[label.event_type or ""].add(label.event_id)
            labels.append(label_id(label, places))
            if label.is_undated or label.is_day:
                undated.append(label)
            record = known.unique.get(label_key(label)) if label.unique else None
            if record is not None:
                labels.append(label_id(label, places, record.id))
    ids_by_type = {type_: labeled[type_].union(events.get(type_, ())) for type_ in dict.fromkeys((*events, *labeled))}
    _find_events(known, ids_by_type, events, repeated, log)
    if labels:
        labels += _dated_ids(known, undated, coming, types.money_places)
        ids_by_type["label"] = set(labels)
        known.records.update(
            {("label", id_): row for id_, row in log.find("label", list(ids_by_type["label"])).items()}
        )
    if has_waiting:
        ids_of_fields = {(type_, ""): ids for type_, ids in events.items()}
        ids_of_fields |= {key: list(brought) for key, brought in values.items()}
        for (type_, field_name), ids_in_order in ids_of_fields.items():
            for waiting in log.waiting.for_events(type_, ids_in_order, field_name):
                known.waiting.setdefault((type_, field_name, waiting.event_id), []).append(waiting)
        known.waiting_ids = frozenset(row.id for row in log.waiting.with_ids(labels))
    if has_late:
        for type_, in_order in events.items():
            late = log.late.with_ids(type_, in_order)
            known.late |= {(type_, id_): late_event for id_, late_event in late.items()}
            known.find_personal(log, type_, late)
    if coming is not None:
        _add(known, ids_by_type, coming)
    return known


def _find_events(
    known: KnownRecords, requested: Mapping[str, set[str]], events: IdsByType, repeated: IdsByType, log: Log
) -> None:
    """Find the records of the requested ids by type, and the decisions of events that the log already has."""
    for type_, ids in requested.items():
        # In order of arrival, as their insertion reads the log later.
        submitted = list(dict.fromkeys(events.get(type_, ())))
        records = log.find(type_, submitted) if submitted else {}
        others = ids.difference(submitted)
        if others:
            records |= log.find(type_, list(others))
        known.records.update({(type_, id_): record for id_, record in records.items()})
        duplicates = records.keys() & {*submitted, *repeated.get(type_, ())}
        if duplicates:
            known.find_personal(log, type_, duplicates)
            known.decisions.update(
                {(type_, id_): row for id_, row in log.decisions.of(type_, list(duplicates)).items()}
            )


def _dated_ids(
    known: KnownRecords, undated: Sequence[LabelInput], coming: Batch | None, money_places: int
) -> list[str]:
    """Return the ids of labels without their own time, if their event is later than they were sent."""
    if not undated:
        return []
    coming_events = (
        {}
        if coming is None
        else {(record.type, record.id): record for record in coming.records if record.kind == "event"}
    )
    ids: list[str] = []
    for label in undated:
        key = label.event_type or "", label.event_id
        record = known.records.get(key) or coming_events.get(key) or known.unique.get(label_key(label))
        if record is not None:
            ids.append(label_id(label.dated(record.time_ms), money_places, record.id))
    return ids


def _unique(
    known: KnownRecords, submissions: Sequence[Submission], log: LogReader, coming: Batch | None, types: Records
) -> tuple[dict[Key, dict[str, None]], dict[str, set[str]]]:
    """Look up the events that have the unique values of submissions.

    Returns: The values of the submitted events; and, by type, the ids of events that they repeat by a value that is
        unique within a duration.
    """
    near: dict[NameKey, None] = {}
    brought: dict[Key, dict[str, None]] = defaultdict(dict)
    requested: dict[Key, dict[str, None]] = defaultdict(dict)
    for submission in submissions:
        event = submission.event or submission.refused
        if event is not None:
            for name, value in types.unique.keys(event):
                brought[submission.type, name][value] = None
            for (name, value), _ in types.unique.near(event):
                requested[submission.type, name][value] = None
                near[submission.type, name, value] = None
        elif submission.label is not None:
            for name, value in submission.label.unique:
                requested[submission.label.event_type or "", name][value] = None
    for key, values in brought.items():
        requested[key] |= values
    for (type_, name), values in requested.items():
        records = log.find_unique(type_, name, list(values))
        known.unique.update({(type_, name, value): record for value, record in records.items()})
    if coming is not None and coming.unique:
        first = coming.records[0].seq
        for row in coming.unique:
            if row.value in requested.get((row.type, row.field), ()):
                known.unique[row.type, row.field, row.value] = coming.records[row.seq - first]
    repeated: dict[str, set[str]] = defaultdict(set)
    for name_key in near:
        if name_key in known.unique:
            repeated[name_key[0]].add(known.unique[name_key].id)
    return brought, repeated


def _add(known: KnownRecords, requested: dict[str, set[str]], coming: Batch) -> None:
    for row in coming.personal:
        known.personal[row.type, row.id] = {**known.personal.get((row.type, row.id), {}), row.field: row.value}
    known.late.update(
        {
            (late_event.type, late_event.id): late_event
            for late_event in coming.late
            if late_event.id in requested.get(late_event.type, ())
        }
    )
    records = coming.records
    decisions = coming.decisions
    if isinstance(records, RecordColumns):
        ids = set[str]().union(*requested.values())
        rows = [] if ids.isdisjoint(records.ids) else [row for row, id_ in enumerate(records.ids) if id_ in ids]
        if isinstance(decisions, DecisionColumns):
            decisions = list(decisions.by_seq(records.seqs[row] for row in rows).values())
        records = [*map(records.made, rows), *records.others.values()]
    records = [record for record in records if record.id in requested.get(record.type, ())]
    if not records:
        return
    known.records.update({(record.type, record.id): record for record in records})
    decided = {row.seq: row for row in decisions}
    known.decisions.update(
        {(record.type, record.id): decided[record.seq] for record in records if record.seq in decided}
    )
