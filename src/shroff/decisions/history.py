"""Between events and the records that the log keeps of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from shroff.errors import StateError
from shroff.events.definitions import Events
from shroff.events.door import LabelInput
from shroff.events.event import Codec, Event, time_text
from shroff.events.labels import LabelEvent, LogEvent, Standing
from shroff.language.values import parse_time, show_decimal
from shroff.streams.log import Log, Record


class _StoredLabel(msgspec.Struct, omit_defaults=True):
    """The body of a label's record, keys sorted."""

    changes: bool
    event: str
    known_at: str
    of: msgspec.Raw
    of_type: str
    source: str
    verdict: str
    amount: str | None = None
    reason: str | None = None


class Records:
    """Reads and writes record bodies by the event types of one version of a project."""

    def __init__(self, events: Events, money_places: int) -> None:
        self._codecs = {name: Codec(type_) for name, type_ in events.types.items()}
        self._money_places = money_places
        self._labels = msgspec.json.Decoder(_StoredLabel)

    def encode(self, event: Event) -> bytes:
        return self._codecs[event.type].encode(event)

    def decode(self, record: Record) -> LogEvent | None:
        """The event or label of a record; None for a control event and for a type that is no longer declared."""
        if record.kind == "control":
            return None
        if record.kind == "label":
            return self._decode_label(record)
        codec = self._codecs.get(record.type)
        return None if codec is None else codec.decode(record.body)

    def _decode_label(self, record: Record) -> LabelEvent | None:
        try:
            stored = self._labels.decode(record.body)
        except msgspec.DecodeError as error:
            raise StateError(f"the label at place {record.seq} cannot be read: {error}") from None
        codec = self._codecs.get(stored.of_type)
        if codec is None:
            return None
        amount = None if stored.amount is None else int(stored.amount.replace(".", ""))
        known_at_ms = parse_time(stored.known_at)
        values = (stored.event, stored.verdict, stored.source, known_at_ms, stored.reason, amount)
        return LabelEvent(record.id, known_at_ms, values, codec.decode(bytes(stored.of)), stored.changes)

    def join(self, label: LabelInput, event: Event, body: bytes, *, changes: bool) -> tuple[LabelEvent, bytes]:
        """A label with its event, and the body of its record."""
        named = f"{event.type}/{event.id}"
        amount = None if label.amount is None else show_decimal(label.amount, self._money_places)
        stored = _StoredLabel(
            changes,
            named,
            time_text(label.known_at_ms),
            msgspec.Raw(body),
            event.type,
            label.source,
            label.verdict,
            amount,
            label.reason,
        )
        values = (named, label.verdict, label.source, label.known_at_ms, label.reason, label.amount)
        return LabelEvent(label_id(label), label.known_at_ms, values, event, changes), msgspec.json.encode(
            stored, order="sorted"
        )


def label_id(label: LabelInput) -> str:
    """The id of a label: its event and a hash of its content, so the same label again has the same id."""
    content = msgspec.json.encode([label.verdict, label.source, label.known_at_ms, label.reason, label.amount])
    return f"{label.event_type}/{label.event_id}#{hashlib.sha256(content).hexdigest()[:16]}"


def waiting_body(label: LabelInput) -> bytes:
    return msgspec.json.encode(label)


def waiting_label(body: bytes) -> LabelInput:
    return msgspec.json.decode(body, type=LabelInput)


@dataclass(slots=True)
class Control:
    """What is in force: the files of a project as control events left them."""

    files: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def take(self, record: Record) -> None:
        """Apply a control event."""
        stored: dict[str, Any] = msgspec.json.decode(record.body)
        for name in stored["removed"]:
            self.files.pop(name, None)
        self.files |= stored["files"]
        self.versions = stored["versions"]

    def change_to(self, files: Mapping[str, str], versions: Mapping[str, str]) -> bytes:
        """The body of the control event that puts `files` in force: what changed, with its whole text."""
        changed = {name: text for name, text in files.items() if self.files.get(name) != text}
        removed = sorted(name for name in self.files if name not in files)
        stored = {"files": changed, "removed": removed, "versions": versions}
        return msgspec.json.encode(stored, order="sorted")


def hits_by_place(log: Log, upto: int | None = None, after: int = 0) -> Iterator[tuple[int, frozenset[str]]]:
    """The recorded hits of `after < seq <= upto`, place by place."""
    place, rules = 0, set[str]()
    for rows in log.hits_after(after, upto):
        for row in rows:
            if row.seq != place:
                if rules:
                    yield place, frozenset(rules)
                place, rules = row.seq, set()
            rules.add(row.rule)
    if rules:
        yield place, frozenset(rules)


def standing_of(event: LabelEvent) -> Standing:
    return Standing(str(event.values[1]), str(event.values[2]), event.time_ms)
