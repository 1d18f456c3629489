"""Text search in the newest part of a log: ids and keys by prefix or suffix, names, places, people, and amounts.

The log has no full-text index. Its newest lines are read backwards as bytes, and only lines with the searched bytes are
decoded. Complete ids and keys are found elsewhere by an index, whatever their age. The search ignores case.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.events.summary import NAMES, label_of, summary_of
from shroff.json_types import JsonMapping
from shroff.language.expression import ThisField
from shroff.language.values import written_amount
from shroff.project.definitions import Definitions
from shroff.runtime.values import FrozenStruct
from shroff.streams.log import Log, Record

PLACES = 100_000  # newest sequence numbers that are searched: 2 to 3 µs each, about 10 with personal values
LASTS_S = 0.2  # processor time after which a search ends
FOUND_MAX = 20
TEXT_MIN = 3  # characters: almost every line contains any two
_BLOCK = 8_192


class PartFound(FrozenStruct):
    """Search results, newest first: events with the matching field, and keys as entity, key, name and matching field.

    All records after the sequence number `looked_to` were searched; 0 if that is the whole log.
    """

    events: Sequence[tuple[Record, str]]
    keys: Sequence[tuple[str, str, str, str]]
    looked_to: int
    places: int = PLACES
    text_min: int = TEXT_MIN


def search_parts(
    log: Log, definitions: Definitions, text: str, upto: int | None = None, *, may_see: bool = False
) -> PartFound:
    """Search the newest events: ids and keys by prefix or suffix, names, places and amounts. At most FOUND_MAX events
    and as many keys.

    Args:
        may_see: Search personal values too, unless the text has digits and is no mail address.

    Cost: at most PLACES records and LASTS_S of processor time, plus one block, however long the log is.
    """
    if len(text) < TEXT_MIN:
        return PartFound([], [], 0)
    fields = _SearchFields(definitions, text, may_see=may_see)
    matched_fields = dict[int, str]()
    keys = dict[tuple[str, str], tuple[str, str]]()
    end = log.last_seq() if upto is None else min(upto, log.last_seq())
    ends_s = time.thread_time() + LASTS_S
    start_seq = max(log.pruned_to(), end - PLACES)
    while end > start_seq and len(matched_fields) < FOUND_MAX and len(keys) < FOUND_MAX and time.thread_time() < ends_s:
        start = max(start_seq, end - _BLOCK)
        people = _people(log, start, end, fields)
        lines = {**lines_in(log, start, end, fields.needles), **{seq: line for seq, (line, _) in people.items()}}
        for seq, line in sorted(lines.items(), reverse=True):
            matched, matched_keys = fields.of(line, people[seq][1] if seq in people else "")
            if matched:
                matched_fields[seq] = matched
            for entity, key, name, matched_field in matched_keys:
                keys.setdefault((entity, key), (name, matched_field))
        end = start
    first = [*matched_fields][:FOUND_MAX]
    records = log.records_at(first)
    is_all = end <= log.pruned_to()
    events = [(records[seq], matched_fields[seq]) for seq in first if seq in records]
    return PartFound(
        events, [(*key, *found_keys) for key, found_keys in keys.items()][:FOUND_MAX], 0 if is_all else end
    )


def _people(log: Log, start: int, end: int, fields: _SearchFields) -> dict[int, tuple[bytes, str]]:
    """Return the events of (start, end] with the text in a personal value: the line, and the field with its value."""
    matches = dict[int, tuple[bytes, str]]()
    lines = dict[str, dict[str, tuple[int, bytes]]]()
    for text in log.lines(start, end, _BLOCK) if fields.personal else ():
        for seq, line in enumerate(text.split(b"\n"), start=start + 1):
            head, _, body = line.partition(b" ")
            type_ = head[2:].decode()
            if head[:1] == b"e" and type_ in fields.personal:
                id_ = str(from_json(body)[fields.personal[type_]])
                lines.setdefault(type_, {})[id_] = seq, line
        start += text.count(b"\n")
    for type_, records in lines.items():
        for id_, values in log.personal.of(type_, list(records)).items():
            field_name = next((name for name, value in values.items() if fields.has(value)), "")
            if field_name:
                seq, line = records[id_]
                matches[seq] = line, f"{label_of(field_name)} {values[field_name]}"
    return matches


class _SearchFields:
    """The fields of each event type that are searched, and the searched text."""

    def __init__(self, definitions: Definitions, text: str, *, may_see: bool) -> None:
        self._text, self._amount = text.casefold(), written_amount(text, definitions.settings.money_places)
        self._types = types = definitions.events.types
        self._ids = {name: type_.id_field for name, type_ in types.items()}
        self._money = {
            name: [field.name for field in type_.fields if field.type.kind == "money"] for name, type_ in types.items()
        }
        self._keys: dict[str, list[tuple[str, str, str]]] = {name: [] for name in types}
        for entity, declared in definitions.events.entities.items():
            for name, parts in declared.keys.items():
                if len(parts) == 1 and isinstance(parts[0], ThisField):
                    field = parts[0].name
                    shown = (f"{entity}{ending}" for ending in ("", *NAMES))
                    self._keys[name] += [
                        (entity, field, name_in_event) for name_in_event in dict.fromkeys((field, *shown))
                    ]
        of_keys = {name: {shown for _, _, shown in keys} for name, keys in self._keys.items()}
        self._places = {
            name: [
                field.name
                for field in type_.fields
                if field.name in type_.summary and field.name not in of_keys[name]
                if field.type.is_text and not field.shape.is_hashed
            ]
            for name, type_ in types.items()
        }
        is_person = may_see and ("@" in text or not any(sign.isdecimal() for sign in text))
        self.personal = {name: type_.id_field for name, type_ in types.items() if is_person and type_.personal}
        # ^The bytes are lowered for ASCII only, so try the other letters in each case.
        written = {text.lower(), text.upper(), text.title(), text.capitalize(), text}
        self.needles = sorted({to_json(place)[1:-1].lower() for place in written})
        self.needles += [f'"{self._amount}"'.encode()] if self._amount else []

    def has(self, value: str) -> bool:
        return self._text in value.casefold()

    def of(self, line: bytes, person: str) -> tuple[str, list[tuple[str, str, str, str]]]:
        """Return the field of an event that matches, or an empty text, and the event's keys that match, each with its
        field.

        Args:
            person: Personal field that matches, with its value; else empty.
        """
        head, _, body = line.partition(b" ")
        kind = head[:1]
        type_ = head[2:].decode()
        if kind != b"e" or type_ not in self._ids:
            return "", []
        fields: JsonMapping = from_json(body)
        matched = person or next((label_of(place) for place in self._places[type_] if self._is_in(fields, place)), "")
        if self._amount and any(fields.get(word) == self._amount for word in self._money[type_]):
            matched = "amount"
        if self._is_end(str(fields.get(self._ids[type_]) or "")):
            matched = "id"
        keys = [
            (entity, text, summary_of(self._types[type_], fields, "").name_of(entity, text), matched_field)
            for entity, key, shown in self._keys[type_]
            if fields.get(key) is not None
            if (matched_field := self._by(fields, key, shown))
            for text in (str(fields[key]),)
        ]
        if person and (first := next(iter(self._keys[type_]), None)) and fields.get(first[1]) is not None:
            name = summary_of(self._types[type_], fields, "").name_of(first[0], str(fields[first[1]]))
            keys.append((first[0], str(fields[first[1]]), name, person))
        return matched, keys

    def _by(self, fields: JsonMapping, key: str, shown: str) -> str:
        """Return the field by which a key matches: its id by prefix or suffix, its name anywhere; empty if none
        matches.
        """
        if shown == key:
            return "id" if self._is_end(str(fields[key])) else ""
        return label_of(shown) if self._is_in(fields, shown) else ""

    def _is_in(self, fields: JsonMapping, name: str) -> bool:
        value = fields.get(name)
        return value is not None and self.has(str(value))

    def _is_end(self, text: str) -> bool:
        text = text.casefold()
        return text.startswith(self._text) or text.endswith(self._text)


def lines_in(log: Log, start: int, end: int, needles: Sequence[bytes]) -> dict[int, bytes]:
    """Return the lines of (start, end] that contain one of the needles, which are lower case, by sequence number."""
    lines = dict[int, bytes]()
    for text in log.lines(start, end, _BLOCK):
        small = text.lower()
        for needle in needles:
            lines.update((start + 1 + line, line_bytes) for line, line_bytes in lines_with(text, small, needle))
        start += text.count(b"\n")
    return lines


def lines_with(text: bytes, small: bytes, needle: bytes) -> Iterator[tuple[int, bytes]]:
    """Iterate over the lines of `text` at which `small`, its lowered form or itself, contains the needle: line number
    from 0, and bytes.
    """
    line = 0
    counted_to = 0
    position = small.find(needle)
    while position >= 0:
        line += text.count(b"\n", counted_to, position)
        first = text.rfind(b"\n", 0, position) + 1
        counted_to = text.find(b"\n", position)
        yield line, text[first:counted_to]
        position = small.find(needle, counted_to + 1) if counted_to >= 0 else -1
