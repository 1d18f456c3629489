"""Conversion between events and their records in the log, and the versions that control events activated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Struct
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json
from msgspec.structs import asdict

from shroff.engine.stored import damaged, stored
from shroff.errors import DefinitionError, Problem, StateError
from shroff.events.definitions import SOURCES, VERDICTS, Events, EventType
from shroff.events.event import Codec, Event, time_text
from shroff.events.labels import LabelEvent, LogEvent
from shroff.events.loader import load_events
from shroff.events.unique import UniqueFields
from shroff.events.validation import LabelInput
from shroff.features.key_texts import Hits
from shroff.json_types import JsonObject, TextDict, TextMapping
from shroff.language.values import parse_decimal, parse_time, rescale_half_even, show_decimal, show_number
from shroff.language.yaml import text as yamltext
from shroff.log.prepared import typed_id
from shroff.runtime.contents import check_stored
from shroff.runtime.texts import edit_of
from shroff.runtime.values import FrozenStruct, replace
from shroff.streams.log import Log, LogReader, Record, WaitingLabel

if TYPE_CHECKING:
    from shroff.project.checked_files import ListRows
    from shroff.project.definitions import Definitions

_Verdict = Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(VERDICTS)})$")]
_SAVED_MIN = 4_096  # characters that an edit must save over the full text, which is easier to read
_Source = Annotated[str, msgspec.Meta(pattern=f"^({'|'.join(SOURCES)})$")]


class _StoredLabel(msgspec.Struct, omit_defaults=True):
    """The body of a label's record, keys sorted."""

    changes: bool
    event: str
    known_at: str
    of: msgspec.Raw
    of_type: str
    source: _Source
    verdict: _Verdict
    amount: str | None = None
    reason: str | None = None


class Said(FrozenStruct):
    """Parts of a label's body that identify a repeated label, whenever it became known."""

    verdict: str
    source: str
    reason: str | None = None
    amount: str | None = None


class _WaitingLabel(msgspec.Struct, omit_defaults=True):
    """The body of a pending label. Its amount is text, since a version with other decimals may read it.

    `event_id` is empty if only `unique` fields name the event.
    """

    event_type: str
    event_id: str
    verdict: _Verdict
    source: _Source
    known_at_ms: int
    reason: str | None
    amount: str | None
    unique: TextDict = {}
    is_undated: bool = False
    is_day: bool = False
    arrived_ms: int = 0


class _TextChange(msgspec.Struct):
    """A change of a long text of `length` characters: `gone` characters from `at` on are replaced by `text`."""

    at: int
    gone: int
    length: int
    text: str


class _StoredControl(msgspec.Struct):
    """The body of a control event. If it has `edits`, it lacks `removed`, so that earlier programs, which do not
    know edits, reject the log.
    """

    files: TextDict
    versions: TextDict
    removed: list[str] = []
    edits: dict[str, _TextChange] = {}


class Records:
    """Reads and writes record bodies by the event types of one version of a project."""

    def __init__(self, events: Events, money_places: int) -> None:
        self._codecs = {name: Codec(type_) for name, type_ in events.types.items()}
        self.unique = UniqueFields(events.types.values())
        self.money_places = money_places
        self._labels = msgspec.json.Decoder(_StoredLabel)

    def encode(self, event: Event) -> bytes:
        return self._codecs[event.type].encode(event)

    def decode(self, record: Record) -> LogEvent | None:
        """Decode an event or label; None for a control event and for a type that is no longer declared.

        Raises: DefinitionError if the current type cannot read the stored body; StateError if no type can.
        """
        if record.kind == "control":
            return None
        if record.kind == "label":
            return self._decode_label(record)
        codec = self._codecs.get(record.type)
        return None if codec is None else _decoded(codec, record.body, record.seq)

    def _decode_label(self, record: Record) -> LabelEvent | None:
        try:
            body = self._labels.decode(record.body)
            amount = None if body.amount is None else _units(body.amount, self.money_places)
            known_at_ms = parse_time(body.known_at)
        except ValueError as error:
            raise damaged(f"the label at sequence number {record.seq}", error) from None
        codec = self._codecs.get(body.of_type)
        if codec is None:
            return None
        values = (body.event, body.verdict, body.source, known_at_ms, body.reason, amount)
        of = _decoded(codec, bytes(body.of), record.seq)
        return LabelEvent(record.id, known_at_ms, values, of, body.changes)

    def join(
        self, label: LabelInput, id_: str, event: Event, body: bytes, *, changes: bool
    ) -> tuple[LabelEvent, bytes]:
        """Return a label with its event, and the body of its record."""
        event_name = f"{event.type}/{event.id}"
        amount = None if label.amount is None else show_decimal(label.amount, self.money_places)
        body_of_label = _StoredLabel(
            changes,
            event_name,
            time_text(label.known_at_ms),
            msgspec.Raw(body),
            event.type,
            label.source,
            label.verdict,
            amount,
            label.reason,
        )
        values = (event_name, label.verdict, label.source, label.known_at_ms, label.reason, label.amount)
        return LabelEvent(id_, label.known_at_ms, values, event, changes), _sorted_json(body_of_label)


def _sorted_json(value: object) -> bytes:
    return to_json(value, order="sorted")


def label_id(label: LabelInput, money_places: int, event_id: str = "") -> str:
    """Return the id of a label: its event and a hash of its content, so that a repeated label has the same id.

    If neither `event_id` nor the label says which event it is, the value of a unique field replaces the event's id.
    """
    amount = None if label.amount is None else show_number(label.amount, money_places)
    content = to_json([label.verdict, label.source, label.known_at_ms, label.reason, amount])
    field, value = label_key(label)[1:]
    event_name = f"?{field}={value}" if field and not event_id else f"/{event_id or value}"
    return f"{label.event_type}{event_name}#{hashlib.sha256(content).hexdigest()[:16]}"


def label_key(label: LabelInput) -> tuple[str, str, str]:
    """Return the key under which a label waits: event type, field and value; without a field the value is an id."""
    type_ = label.event_type or ""
    return (type_, "", label.event_id) if label.event_id or not label.unique else (type_, *label.unique[0])


def said_last(log: LogReader, event: str, seq: int, source: str) -> Said | None:
    """Return the latest label of a source for the event `payment/p-1`. Cost: 3 µs for each later label."""
    last: Said | None = None
    for records in log.labels_after(seq):
        for record in records:
            if record.id.startswith(f"{event}#"):
                body = stored(record.body, Said, f"the label at sequence number {record.seq}")
                last = body if body.source == source else last
    return last


def is_said(log: Log, label: LabelInput, money_places: int) -> bool:
    """Return whether an undated label repeats the latest one of its source for the event, stored or pending."""
    amount = None if label.amount is None else show_decimal(label.amount, money_places)
    type_ = label.event_type or ""
    event = log.find(type_, [label.event_id]).get(label.event_id)
    if event is not None:
        last = said_last(log, f"{type_}/{event.id}", event.seq, label.source)
        return last == Said(label.verdict, label.source, label.reason, amount)
    pending = [waiting_label(row.body, money_places) for row in log.waiting.for_events(type_, [label.event_id])]
    pending_label = next((candidate for candidate in reversed(pending) if candidate.source == label.source), None)
    return pending_label is not None and replace(pending_label, known_at_ms=label.known_at_ms, is_undated=True) == label


def waiting_body(label: LabelInput, money_places: int, arrived_ms: int = 0) -> bytes:
    """Encode a pending label, which arrived at this time."""
    amount = None if label.amount is None else show_decimal(label.amount, money_places)
    verdict_fields = (label.verdict, label.source, label.known_at_ms, label.reason)
    fields = (label.event_type or "", label.event_id, *verdict_fields, amount, dict(label.unique))
    return to_json(_WaitingLabel(*fields, label.is_undated, label.is_day, arrived_ms))


def label_of(body: bytes, money_places: int) -> LabelInput:
    """Decode a pending label, which may not be validated. Raises: ValueError."""
    pending = from_json(body, type=_WaitingLabel)
    amount = None if pending.amount is None else _units(pending.amount, money_places)
    verdict_fields = (pending.verdict, pending.source, pending.known_at_ms, pending.reason)
    fields = (pending.event_type, pending.event_id, *verdict_fields, amount, tuple(pending.unique.items()))
    return LabelInput(*fields, pending.is_undated, pending.is_day)


def waiting_label(body: bytes, money_places: int) -> LabelInput:
    """Decode a pending label of the log. Raises: StorageError if it is damaged."""
    try:
        return label_of(body, money_places)
    except ValueError as error:
        raise damaged("a waiting label", error) from None


class ListedWaiting(FrozenStruct):
    """A pending label for a list.

    `event` is only a type if the label waits for an event with the values of `unique`.
    """

    event: str
    unique: TextMapping
    verdict: str
    source: str
    known_at_ms: int
    arrived_ms: int

    @property
    def as_typed(self) -> str:
        """`login/1` for a label of `payment/login/1`: an undeclared event type `login` may be meant; else empty."""
        return typed_id(self.event)


def waiting_row(waiting: WaitingLabel) -> ListedWaiting:
    """Return a pending label for a list. Raises: StorageError if it is damaged."""
    body = stored(waiting.body, _WaitingLabel, "a waiting label")
    event = f"{body.event_type}/{body.event_id}" if body.event_id else body.event_type
    return ListedWaiting(
        event=event,
        unique=body.unique,
        verdict=body.verdict,
        source=body.source,
        known_at_ms=body.known_at_ms,
        arrived_ms=body.arrived_ms,
    )


def _units(text: str, money_places: int) -> int:
    """Convert a stored amount to current minor units, whatever its decimals."""
    return rescale_half_even(*parse_decimal(text), money_places)


def _decoded(codec: Codec, body: bytes, seq: int) -> Event:
    try:
        return codec.decode(body)
    except StateError as error:
        raise _unreadable(codec.event_type, body, seq, error) from None


def _unreadable(type_: EventType, body: bytes, seq: int, error: StateError) -> StateError | DefinitionError:
    """Return why a stored body cannot be read: its type has changed since, or it is damaged."""
    body_fields = JsonObject()
    name = None
    with suppress(ValueError):
        body_fields = from_json(body, type=JsonObject)
        name = _misfit(type_, body_fields)
    if name is None:
        return damaged(f"the {type_.name} at sequence number {seq}", error)
    declared = type_.fields[type_.at(name)].type
    decimals = f" with {declared.places} places" if declared.kind in {"number", "money"} else ""
    value = "has a value that this type cannot read" if name in body_fields else "has none"
    return changed_type(
        type_.name,
        name,
        f"it is {declared}{decimals} now, and the {type_.name} at sequence number {seq} of the log {value}.",
    )


def _misfit(type_: EventType, stored: JsonObject) -> str | None:
    """Return the first field whose stored value does not fit; each is decoded with a valid id and time."""
    codec = Codec(type_)
    plain = {type_.id_field: "1", type_.time_field: "2026-01-01T00:00:00Z"}
    for name in type_.field_names:
        if name not in stored and name not in plain:
            continue
        try:
            codec.decode(to_json({**plain, name: stored.get(name)}))
        except StateError:
            return name
    return None


def changed_type(type_name: str, field_name: str, words: str) -> DefinitionError:
    """Return the error for a field that was declared differently when the log stored its events."""
    hint = (
        "Declare it as it was before, or give the new field a name of its own: "
        "the events that the log has are then without it."
    )
    return DefinitionError([Problem("events.yaml", 0, 0, f"{type_name}.fields.{field_name}", words, hint)])


class Control(Struct):
    """The active files of a project, as control events left them."""

    versions: TextDict = {}
    _files: TextDict = {}
    _more: dict[str, list[str]] = {}  # appended parts of a text, joined by `files`
    _lengths: dict[str, int] = {}  # of texts with appended parts

    @property
    def files(self) -> TextDict:
        """The texts of the files, by path within the project."""
        for name, parts in self._more.items():
            self._files[name] += "".join(parts)
        self._more.clear()
        self._lengths.clear()
        return self._files

    def take(self, record: Record, only: str | None = None) -> None:
        """Apply a control event, or its changes to one file. Raises: StorageError if it is damaged."""
        what = f"the control event at sequence number {record.seq}"
        change = stored(record.body, _StoredControl, what)
        for name in change.removed:
            self.files.pop(name, None)
        for name, edit in change.edits.items():
            if only is None or name == only:
                self._edit(name, edit, what)
        files = change.files if only is None else {name: change.files[name] for name in {only} & change.files.keys()}
        if files:
            self.files.update(files)
        self.versions = change.versions

    def become(self, files: TextMapping, versions: TextMapping) -> None:
        """Set files and versions that an event of `control_of` activated, without applying its edits."""
        self._files = {**files}
        self._more = {}
        self._lengths = {}
        self.versions = {**versions}

    def _edit(self, name: str, edit: _TextChange, what: str) -> None:
        length = self._lengths.get(name, len(self._files.get(name, "")))
        if name not in self._files or length != edit.length or not 0 <= edit.at <= edit.at + edit.gone <= length:
            raise damaged(what, f"its edit is not one of {name} as that stood before")
        if edit.at == length:  # the most frequent edit: a row was appended
            self._more.setdefault(name, []).append(edit.text)
            self._lengths[name] = length + len(edit.text)
        else:
            text = self.files[name]
            self.files[name] = text[: edit.at] + edit.text + text[edit.at + edit.gone :]

    def change_to(self, files: TextMapping, versions: TextMapping) -> bytes:
        """Return the body of the control event that activates `files`: the changes, with edits for long texts."""
        old_files = self.files
        changed = {name: text for name, text in files.items() if old_files.get(name) != text}
        removed = sorted(name for name in old_files if name not in files)
        if removed:
            return _sorted_json({"files": changed, "removed": removed, "versions": versions})
        all_edits = {name: _edit_of(old_files[name], text) for name, text in changed.items() if name in old_files}
        edits = {name: edit for name, edit in all_edits.items() if len(changed[name]) - len(edit.text) > _SAVED_MIN}
        if not edits:
            return _sorted_json({"files": changed, "removed": [], "versions": versions})
        full_texts = {name: text for name, text in changed.items() if name not in edits}
        return _sorted_json({"edits": edits, "files": full_texts, "versions": versions})


def _edit_of(before: str, after: str) -> _TextChange:
    edit = edit_of(before, after)
    return _TextChange(edit.at, len(edit.gone), len(before), edit.text)


def changed_by(record: Record) -> set[str]:
    """Return the files that a control event changes. Raises: StorageError if it is damaged."""
    change = stored(record.body, _StoredControl, f"the control event at sequence number {record.seq}")
    return {*change.files, *change.edits, *change.removed}


def control_of(control: Control, now: Definitions | ListRows, seq: int, now_ms: int) -> Record | None:
    """Return the control event, at `seq`, that activates definitions; None if they are active already."""
    versions = asdict(now.versions)
    if control.versions == versions:
        return None
    check_stored(now.files.values())
    body = control.change_to(now.files, versions)
    return Record(seq, "control", "control", str(seq), now_ms, body, decided=False)


def control_at(log: LogReader, seq: int | None = None) -> Control:
    """Return the active files at a sequence number, by default at the end; empty before the first version.

    Raises: StorageError if a control event is damaged.
    """
    control = Control()
    for record in log.controls(upto=seq):
        control.take(record)
    return control


def hits_by_place(log: LogReader, upto: int | None, after: int = 0) -> Iterator[tuple[int, Hits]]:
    """Yield recorded hits of `after < seq <= upto`, by sequence number."""
    seq = 0
    rules = dict[str, str | None]()
    for rows in log.hits.after(after, upto):
        for row in rows:
            if row.seq != seq:
                if rules:
                    yield seq, rules
                seq = row.seq
                rules = {}
            rules[row.rule] = row.key
    if rules:
        yield seq, rules


def texts_of(log: LogReader, name: str) -> list[str]:
    """Return the distinct texts of a project file over all versions of this log; empty for a version without it.

    Nothing is parsed: most versions change a line of a list, and parsing YAML takes some milliseconds.
    """
    control = Control()
    texts = dict[str, None]()
    for record in log.controls():
        control.take(record, name)
        texts[control.files.get(name, "")] = None
    return list(texts)


def events_of(log: LogReader, money_places: int = 0) -> Iterator[Events]:
    """Yield the distinct event types and entities of all versions that were active in this log, in order."""
    for text in texts_of(log, "events.yaml"):
        yield load_events(yamltext.read(text, "events.yaml", []), frozenset(), money_places, [])


@lru_cache(maxsize=64)
def decided_types(text: str) -> frozenset[str]:
    return frozenset(load_events(yamltext.read(text, "events.yaml", []), frozenset(), 0, []).decided)


def types_of(log: LogReader) -> dict[str, bool]:
    """Return the event types of all versions that were active in this log, and whether each was ever decided."""
    types = dict[str, bool]()
    for events in events_of(log):
        for name in events.types:
            types[name] = types.get(name, False) or name in events.decided
    return types


def has_hashed(log: LogReader) -> bool:
    """Return whether a version that was active in this log hashed a field."""
    return any(events.has_hashed for events in events_of(log))
