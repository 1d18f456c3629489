"""Search in the newest part of a log: ids and keys by their beginnings and ends, names, and amounts.

The log has no index of parts of texts. Its newest lines are read backwards, as text, and only those that hold the
wanted bytes are decoded; whole ids and whole keys are found elsewhere, by index, however old they are.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from shroff.events.summary import summary_of
from shroff.language.expression import ThisField
from shroff.project.definitions import Definitions
from shroff.streams.log import Log, Record

PLACES: Final = 100_000  # of the log that are searched, the newest: 2 to 3 µs each
LASTS_S: Final = 0.2  # of processor time, after which a search ends, however far it came
FOUND_MAX: Final = 20
TEXT_MIN: Final = 3  # of a part of a text: of two signs almost every line has them
_BLOCK: Final = 8_192
_AMOUNT: Final = re.compile(r"[0-9]{1,15}([.][0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class PartFound:
    """Search results: events with this id or amount, and keys with their entity and name; all newest first.

    `looked_to` is the position after which all was searched; 0 where that was all of the log.
    """

    events: Sequence[Record]
    keys: Sequence[tuple[str, str, str]]
    looked_to: int
    places: int = PLACES
    text_min: int = TEXT_MIN


def search_parts(log: Log, definitions: Definitions, text: str, upto: int | None = None) -> PartFound:
    """Ids and keys with this beginning or end among the newest events, at most FOUND_MAX events and as many keys.

    Cost: at most PLACES positions and LASTS_S of processor time, plus one block, however long the log is.
    """
    amount = amount_of(text, definitions.settings.money_places)
    if len(text) < TEXT_MIN:
        return PartFound([], [], 0)
    fields = _SearchFields(definitions, text, amount)
    places, keys = list[int](), dict[tuple[str, str], str]()
    end, ends_s = log.last_seq() if upto is None else min(upto, log.last_seq()), time.thread_time() + LASTS_S
    least = max(log.pruned_to(), end - PLACES)
    while end > least and len(places) < FOUND_MAX and len(keys) < FOUND_MAX and time.thread_time() < ends_s:
        start = max(least, end - _BLOCK)
        for place, line in sorted(_lines(log, start, end, fields.needles).items(), reverse=True):
            is_named, found = fields.of(line)
            if is_named:
                places.append(place)
            for entity, key, name in found:
                keys.setdefault((entity, key), name)
        end = start
    there = log.records_at(places[:FOUND_MAX])
    is_all = end <= log.pruned_to()
    events = [there[place] for place in places[:FOUND_MAX] if place in there]
    return PartFound(events, [(*key, name) for key, name in keys.items()][:FOUND_MAX], 0 if is_all else end)


def amount_of(text: str, places: int) -> str:
    """An amount as events have it; empty where the text is none.

    >>> amount_of("1,661.9 EUR", 2), amount_of("278.99", 2), amount_of("p-1", 2)
    ('1661.90', '278.99', '')
    """
    bare = (text.rpartition(" ")[0] if text[-3:].isalpha() and " " in text else text).replace(",", "")
    if not _AMOUNT.fullmatch(bare):
        return ""
    found = Decimal(bare)
    return f"{found:.{places}f}" if found == round(found, places) else ""


class _SearchFields:
    """Which fields of which events are searched, and for what."""

    def __init__(self, definitions: Definitions, text: str, amount: str) -> None:
        self._text, self._amount = text, amount
        self._types = types = definitions.events.types
        self._ids = {name: one.id_field for name, one in types.items()}
        self._money = {
            name: [field.name for field in one.fields if field.type.kind == "money"] for name, one in types.items()
        }
        self._keys: dict[str, list[tuple[str, str, str]]] = {name: [] for name in types}
        for entity, declared in definitions.events.entities.items():
            for name, parts in declared.keys.items():
                if len(parts) == 1 and isinstance(parts[0], ThisField):
                    field = parts[0].name
                    shown = (f"{entity}{ending}" for ending in ("", "_name", "_label"))
                    self._keys[name] += [(entity, field, fromkey) for fromkey in dict.fromkeys((field, *shown))]
        # A text of JSON ends before a quotation mark that is escaped in no text looked for, and begins behind one.
        inner = msgspec.json.encode(text)[1:-1]
        self.needles = [b'"' + inner, inner + b'"', *([f'"{self._amount}"'.encode()] if self._amount else [])]

    def of(self, line: bytes) -> tuple[bool, list[tuple[str, str, str]]]:
        """Whether the text is part of the id or the amount of an event, and of which of its keys."""
        head, _, body = line.partition(b" ")
        kind, type_ = head[:1], head[2:].decode()
        if kind != b"e" or type_ not in self._ids:
            return False, []
        fields: Mapping[str, Any] = msgspec.json.decode(body)
        is_amount = bool(self._amount) and any(fields.get(one) == self._amount for one in self._money[type_])
        keys = [
            (entity, str(fields[key]), summary_of(self._types[type_], fields, "").name_of(entity, str(fields[key])))
            for entity, key, shown in self._keys[type_]
            if fields.get(key) is not None and self._is_part(str(fields.get(shown) or ""))
        ]
        return is_amount or self._is_part(str(fields.get(self._ids[type_]) or "")), keys

    def _is_part(self, text: str) -> bool:
        return text.startswith(self._text) or text.endswith(self._text)


def _lines(log: Log, start: int, end: int, needles: Sequence[bytes]) -> dict[int, bytes]:
    """The lines of (start, end] that hold one of these bytes, by position."""
    found = dict[int, bytes]()
    for text in log.lines(start, end, _BLOCK):
        for needle in needles:
            found.update((start + 1 + line, of) for line, of in _lines_with(text, needle))
        start += text.count(b"\n")
    return found


def _lines_with(text: bytes, needle: bytes) -> Iterator[tuple[int, bytes]]:
    line, counted, at = 0, 0, text.find(needle)
    while at >= 0:
        line += text.count(b"\n", counted, at)
        first, counted = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        yield line, text[first:counted]
        at = text.find(needle, counted)
