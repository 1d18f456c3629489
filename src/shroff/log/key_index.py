"""Key index: hashes of entity keys with the sequence numbers of their events, so one query finds a key's events.

An entity is identified by its form, the expressions of its keys. If a version changes them, the index of the old form
stays for earlier decisions, and the writer that starts with the new version indexes the whole log for the new form.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any

import numpy as np
from msgspec.json import encode as to_json

from shroff.arrays import Hashes, Ints
from shroff.engine.verdicts import SequencedBatch, SequencedEvent
from shroff.events.definitions import Events
from shroff.events.labels import LabelEvent, LogEvent
from shroff.features.frames import Frame, Translation, frames_of
from shroff.features.naive import Key
from shroff.features.online.engine import FEW
from shroff.language.expression import ItemField, Node, ThisField
from shroff.language.row import Evaluate, compile_row
from shroff.language.values import key_text
from shroff.log.columns.stored import log_columns
from shroff.project.definitions import Definitions
from shroff.streams.log import Batch, Log, Offset, kept_offset
from shroff.streams.log_columns import KeyPlaces

KEYED = "keys of events"  # source name of the offsets that say how far each form is indexed
_LABEL = b"label"


def forms_of(events: Events) -> dict[str, bytes]:
    """Return 8 bytes for each entity that identify how its keys are made, equal in every process and for ever."""
    return {
        name: blake2b(repr((name, sorted(entity.keys.items()))).encode(), digest_size=8).digest()
        for name, entity in events.entities.items()
    }


def key_hash(form: bytes, key: Any, *, of_labels: bool = False) -> int:
    """Return the hash of a key: 64 bits, never 0. The labels of a key's events have another hash.

    Args:
        key: The value of a key with one part, else a tuple.
    """
    text = key_text(key).encode("utf-8", "surrogatepass")
    return (
        int.from_bytes(blake2b(text, digest_size=8, key=form + _LABEL if of_labels else form).digest(), "little") or 1
    )


class KeyHasher:
    """Hashes the keys of events for one version of a project."""

    def __init__(self, definitions: Definitions) -> None:
        self._events = definitions.events
        self._reference = definitions.reference
        self._forms = forms_of(self._events)
        self._readers: dict[tuple[str, str], list[Evaluate]] = {}
        self._of_texts = {name: Translation(np.uint64(0)) for name in self._forms}

    def of(self, placed: Sequence[SequencedEvent]) -> KeyPlaces | None:
        """Return the keys of events and labels. Cost: 1 µs for each distinct key, and 0.03 µs an event and entity."""
        if not self._forms or not placed:
            return None
        if isinstance(placed, SequencedBatch):
            return self.of_frames(placed.frames(self._events, self._reference), placed.first)
        if len(placed) > FEW:
            frames = frames_of([event.event for event in placed], self._events, self._reference)
            return self.of_frames(frames, placed[0].seq)
        hashes = list[int]()
        seqs = list[int]()
        for event in placed:
            for hashed in self._of_event(event.event):
                hashes.append(hashed)
                seqs.append(event.seq)
        return KeyPlaces(hashes, seqs) if hashes else None

    def of_frames(self, frames: Mapping[str, Frame], first: int) -> KeyPlaces | None:
        """Return the keys of frames; `first` is the sequence number of their first row."""
        hashes = list[Hashes]()
        seqs = list[Ints]()
        for name, frame in frames.items():
            for entity in self._forms:
                of_rows = self._of_frame(name, frame, entity)
                if of_rows is not None:
                    is_there = of_rows != 0
                    hashes.append(of_rows[is_there])
                    seqs.append(frame.rows[is_there] + first)
        return KeyPlaces(np.concatenate(hashes), np.concatenate(seqs)) if hashes else None

    def _of_frame(self, name: str, frame: Frame, entity: str) -> Hashes | None:
        """Return the hash of each row's key, 0 for no key; None if events of this type have no key of the entity."""
        parts = self._events.entities[entity].keys.get(name, ())
        is_label = name == "label"
        if not parts and not is_label:
            return None
        hash_of = partial(key_hash, self._forms[entity], of_labels=is_label)
        only = parts[0] if len(parts) == 1 else None
        coded = frame.coded(only.name) if isinstance(only, ThisField | ItemField) else None
        if coded is not None:
            return self._of_texts[entity].of(coded, lambda texts: list(map(hash_of, texts)))
        values = frame.key_values(entity)
        hash_by_key = {key: 0 if key is None else hash_of(key) for key in set(values)}
        return np.fromiter(map(hash_by_key.__getitem__, values), np.uint64, len(values))

    def _of_event(self, event: LogEvent) -> Iterator[int]:
        for entity, form in self._forms.items():
            key = self.key(entity, event)
            if key is not None:
                yield key_hash(form, key[0] if len(key) == 1 else key, of_labels=isinstance(event, LabelEvent))

    def key(self, entity: str, event: LogEvent) -> Key | None:
        """Return the entity's key at an event, or at a label's event; None if a part is missing."""
        event = event.of if isinstance(event, LabelEvent) else event
        key = tuple([read(event) for read in self._reader(entity, event.type)])
        return None if not key or None in key else key

    def _reader(self, entity: str, type_: str) -> list[Evaluate]:
        if (entity, type_) not in self._readers:
            parts = self._events.entities[entity].keys.get(type_, ())
            names = self._events.types[type_].field_names if parts else ()
            at = {name: place for place, name in enumerate(names)}

            def leaf(node: Node) -> Evaluate:
                assert isinstance(node, ThisField | ItemField)
                place = at.get(node.name)
                return lambda event: None if place is None else event.values[place]

            self._readers[entity, type_] = [compile_row(part, leaf, self._reference) for part in parts]
        return self._readers[entity, type_]


class KeyLookup:
    """Looks up the sequence numbers of keys in one log, for one version of a project."""

    def __init__(self, log: Log, definitions: Definitions) -> None:
        self._log = log
        self._forms = forms_of(definitions.events)
        self._covered = covered(log)

    def has(self, entity: str, end: int) -> bool:
        """Return whether all events up to `end` are indexed for an entity, as this version declares it."""
        upto = self._covered.get(self._forms[entity].hex(), -1)
        return upto is None or upto >= end

    def places(self, keys: Iterable[tuple[str, Key]], *, of_labels: bool = False) -> dict[tuple[str, Key], Ints]:
        """Return, by entity and key, the sequence numbers of its events or labels, in order; see `Log.key_places`."""
        hashes = {
            (entity, key): key_hash(self._forms[entity], key[0] if len(key) == 1 else key, of_labels=of_labels)
            for entity, key in keys
        }
        by_hash = self._log.key_places(hashes.values()) if hashes else {}
        return {entity_key: by_hash[hashed] for entity_key, hashed in hashes.items()}


def covered(log: Log) -> Mapping[str, int | None]:
    """Return the sequence number up to which each form is indexed; None for a form that the writer keeps indexing."""
    offsets = log.offsets.of(KEYED)
    return kept_offset(KEYED, "", offsets[""], dict[str, int | None]) if offsets else {}


def index_keys(log: Log, definitions: Definitions) -> list[Offset]:
    """Index the keys of a log under new forms; return offsets to store when the version becomes active.

    Cost: none if all forms are known; else a pass over the log, 1 µs for each distinct key in 65,536 records.
    """
    indexed = covered(log)
    last = log.last_seq()
    current = {form.hex() for form in forms_of(definitions.events).values()}
    if {form for form, upto in indexed.items() if upto is None} == current:
        return []
    behind = {name: indexed.get(form.hex(), 0) for name, form in forms_of(definitions.events).items()}
    after = min((upto for upto in behind.values() if upto is not None), default=last)
    hasher = KeyHasher(definitions)
    for piece in log_columns(log, definitions, last, after=after, is_apart=True):
        keys = hasher.of_frames(piece.frames, piece.after + 1)
        if keys is not None:
            log.append(Batch(keys=keys))
    forms = {form: last if upto is None else upto for form, upto in indexed.items()} | dict.fromkeys(current)
    return [Offset(KEYED, "", to_json(forms).decode())]
