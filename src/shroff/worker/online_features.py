"""Online features: feature values of each entity key for other services, and the contract of their store.

The values of a key are those that its last decided event used, as of that event's time. They are written after the
commit, so a crash delays them and harms nothing else; docs/decisions/0029 explains this choice of values.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from operator import attrgetter
from typing import Any, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.json import decode as from_json

from shroff.engine.stored import stored
from shroff.errors import StateError
from shroff.events.definitions import EventType
from shroff.events.event import Codec, read_shown_time, time_text
from shroff.features.frames import Frame, joined_key
from shroff.json_types import JsonMapping, JsonObject, TextDict, TextMapping
from shroff.language.expression import Node, ThisField, walk
from shroff.language.types import Type
from shroff.language.values import key_text, parse_time
from shroff.project.definitions import Definitions
from shroff.replay.compare import segments
from shroff.runtime.values import replace
from shroff.streams.log import Log, LogReader
from shroff.streams.sink import Outgoing, Undelivered

PLACES_MAX = 4_096  # records sent at once; a key with several events among them is written once
_TOLD = ("definitions", "rules", "policy", "lists", "tables")  # versions that a document lists first, in this order
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class EntityRow(NamedTuple):
    """The features of one key as of its last decided event: JSON by full names, as in the decision.

    `event` is that event (`payment/p-1`), `as_of` its time, and `as_of_seq` the last sequence number that its features
    include. `definitions` is the version that computed them.
    """

    entity: str
    key: str
    as_of_seq: int
    as_of: str
    event: str
    definitions: str
    features: TextMapping


class OnlineStore(Protocol):
    """A store from which other services read features. Thread-safe."""

    def write(self, rows: Sequence[EntityRow]) -> None:
        """Store these rows, at most one for each key; each replaces the row before it. They are readable on return.

        A row whose sequence number is not above that of the stored row changes nothing, whichever process wrote that
        one; a row of another log is always replaced.
        Raises: TransientError if a retry may succeed; some of the rows may then be stored.
        """

    def read(self, entity: str, keys: Sequence[str]) -> list[EntityRow | None]:
        """Return the rows of keys, in their order, each as one writer wrote it; None for an unknown key.

        Raises: TransientError if a retry may succeed.
        """

    def mark(self) -> str:
        """Return the mark of `set_mark`; empty if the store is new or lost its content. Raises: as `read`."""

    def set_mark(self, mark: str, before: str) -> bool:
        """Set the mark if it still is `before`, in one step; return whether it was. Raises: as `write`."""

    def close(self) -> None:
        """Release the connection. Closing twice does nothing."""


@runtime_checkable
class EvictingStore(OnlineStore, Protocol):
    """A store that may evict keys, such as a server whose memory is full."""

    def eviction(self) -> tuple[str, int]:
        """Return the eviction policy, empty for none, and the number of keys evicted since the server started.

        Raises: as `read`.
        """


class EntityFeatures(NamedTuple):
    """The features of one key, as of its last decided event.

    `features` are as in `Decision.features`: money and numbers are decimal texts. `values` are the same values as
    Python types: `Decimal`, `datetime` in UTC, `timedelta`. A value of an earlier version is in `features` alone if its
    feature is no longer declared or it does not fit the type declared now, as are durations and times beyond the range
    of Python's types.
    """

    entity: str
    key: str
    as_of_seq: int
    as_of: datetime
    event: str
    definitions: str
    features: JsonMapping
    values: JsonMapping


def read_features(
    store: OnlineStore, definitions: Definitions, entity: str, keys: Sequence[str]
) -> list[EntityFeatures | None]:
    """Return the features of keys in a store. Raises: StateError for content that shroff did not write."""
    return [None if row is None else _features(row, definitions) for row in store.read(entity, keys)]


def origin_of(log: LogReader) -> str:
    """Return the identity of a log: a hash of its first record, which holds the time the log was created."""
    for records in log.read(0, 1):
        first = records[0]
        return sha256(b"%d %s %d %s" % (first.seq, first.id.encode(), first.time_ms, first.body)).hexdigest()[:16]
    return ""


class OnlineSink:
    """A sink that writes the features of decisions to a store, after the commit.

    Args:
        log: The log of the decisions; it is closed with the sink. It says which version decided an event, and so which
            keys the event has.
        entities: Entities whose features are written; empty for all.

    Cost: 1.5 µs an event, and 12 µs for each key that is written, at 20 features a key.
    """

    wants_fields = True
    places_max = PLACES_MAX

    def __init__(self, store: OnlineStore, log: Log, entities: Collection[str] = ()) -> None:
        self._store = store
        self._log = log
        self._versions = _VersionDecisions(log, entities)
        self._layouts: dict[tuple[str, ...], dict[str, list[str]]] = {}

    def send(self, rows: Sequence[Outgoing]) -> list[Undelivered]:
        last: dict[tuple[str, str], tuple[Outgoing, int]] = {}
        for keys, decisions in self._versions.parted([row for row in rows if row.kind == "decision"]):
            last |= keys.last(decisions)
        if last:
            self._store.write(self._rows(last))
        return []

    def mark(self) -> str:
        return self._store.mark()

    def set_mark(self, mark: str, before: str) -> bool:
        return self._store.set_mark(mark, before)

    def missing(self, rows: Sequence[Outgoing]) -> list[Outgoing]:
        """Return the decisions of which the store has no features for some key."""
        last: dict[tuple[str, str], tuple[Outgoing, int]] = {}
        for keys, decisions in self._versions.parted(rows):
            last |= keys.last(decisions)
        seqs = set[int]()
        for row in self._rows(last):
            if self._store.read(row.entity, [row.key]) == [None]:
                seqs.add(row.as_of_seq + 1)
        return [row for row in rows if row.seq in seqs]

    def close(self) -> None:
        self._store.close()
        self._log.close()

    def _rows(self, last: Mapping[tuple[str, str], tuple[Outgoing, int]]) -> list[EntityRow]:
        documents: dict[int, _ShownFeatures] = {}
        entity_rows = []
        for (entity, key), (row, time_ms) in last.items():
            if row.seq not in documents:
                documents[row.seq] = stored(row.body, _ShownFeatures, f"the decision at sequence number {row.seq}")
            features = documents[row.seq].features
            version = documents[row.seq].versions["definitions"]
            part = self._part(tuple(features), entity)
            if part is not None:
                values = {name: bytes(features[name]).decode() for name in part}
                event = f"{row.event}/{row.id}"
                entity_rows.append(EntityRow(entity, key, row.seq - 1, time_text(time_ms), event, version, values))
        return entity_rows

    def _part(self, names: tuple[str, ...], entity: str) -> list[str] | None:
        """Return the names of an entity's features in a decision; None if there are none."""
        parts = self._layouts.get(names)
        if parts is None:
            parts = self._layouts[names] = {}
            for name in names:
                parts.setdefault(name.partition(".")[0], []).append(name)
        return parts.get(entity)


class _VersionDecisions(Struct, eq=False):
    """Decisions by version, each version with a reader of event keys.

    Nearly all have the version of those before, which their documents show; else the log is queried.
    """

    _log: Log
    _wanted: Collection[str]
    _start: int = -1
    _keys: _Keys | None = None

    def parted(self, decisions: Sequence[Outgoing]) -> Iterator[tuple[_Keys, Sequence[Outgoing]]]:
        """Split the decisions, which are in log order, into stretches of one version."""
        keys = self._keys
        if not decisions:
            return
        if keys is not None and all(keys.mark in row.body for row in decisions):
            yield keys, decisions
            return
        versions = segments(self._log)
        seqs = [row.seq for row in decisions]
        for number, version in enumerate(versions):
            until = versions[number + 1].start if number + 1 < len(versions) else seqs[-1]
            part = decisions[bisect_right(seqs, version.start) : bisect_right(seqs, until)]
            if part:
                if self._keys is None or self._start != version.start:
                    self._keys = _Keys(version.definitions, self._wanted)  # may raise
                    self._start = version.start
                yield self._keys, part


class _Keys:
    """Reader of entity keys from events of one version; decodes only the fields of keys."""

    def __init__(self, definitions: Definitions, wanted: Collection[str]) -> None:
        self._events = definitions.events
        self._reference = definitions.reference
        versions = [f'"{name}":"{getattr(definitions.versions, name)}"' for name in _TOLD]
        self.mark = f'"versions":{{{",".join(versions)}'.encode()
        # Entities without a feature would hide what an earlier decision of their key showed.
        with_features = {feature.entity for feature in definitions.features.values()}
        self._entities = {
            event: [
                name
                for name, entity in definitions.events.entities.items()
                if event in entity.keys and name in with_features and (name in wanted or not wanted)
            ]
            for event in definitions.events.types
        }
        self._types = {name: self._narrowed(type_) for name, type_ in definitions.events.types.items()}
        self._codecs = {name: Codec(type_) for name, type_ in self._types.items()}
        self._texts = {name: msgspec.json.Decoder(_texts_of(type_)) for name, type_ in self._types.items()}

    def last(self, decisions: Sequence[Outgoing]) -> dict[tuple[str, str], tuple[Outgoing, int]]:
        """Return the last decision of each key, with the time of its event."""
        latest: dict[tuple[str, str], Outgoing] = {}
        by_type: dict[str, list[Outgoing]] = {}
        for decision in decisions:
            by_type.setdefault(decision.event, []).append(decision)
        for name, rows in by_type.items():
            for entity, keys in self._keys_of(name, rows).items():
                for key, row in dict(zip(keys, rows, strict=True)).items():
                    if key is not None:
                        entity_key = entity, key_text(key)
                        current = latest.get(entity_key)
                        latest[entity_key] = row if current is None or current.seq < row.seq else current
        times = {row.seq: self._codecs[row.event].decode(row.fields).time_ms for row in latest.values()}
        return {entity_key: (row, times[row.seq]) for entity_key, row in latest.items()}

    def _keys_of(self, event: str, rows: Sequence[Outgoing]) -> dict[str, list[Any]]:
        """Return the keys of events of one type, by entity; None if a part of a key is missing.

        Keys made only of text fields, which most are, are read without creating events.
        """
        type_ = self._types[event]
        keys = {entity: self._events.entities[entity].keys[event] for entity in self._entities[event]}
        names = {entity: _names_of_texts(parts) for entity, parts in keys.items()}
        if all(names.values()):
            bodies = [self._texts[event].decode(row.fields) for row in rows]
            texts = {name: list(map(attrgetter(f"f{at}"), bodies)) for at, name in enumerate(type_.field_names)}
            return {name: joined_key([texts[part] for part in parts], len(rows)) for name, parts in names.items()}
        events = [self._codecs[event].decode(row.fields) for row in rows]
        frame = Frame(type_, events, np.arange(len(rows), dtype=np.int64), self._events, self._reference)
        return {entity: frame.key_values(entity) for entity in keys}

    def _narrowed(self, type_: EventType) -> EventType:
        read = {type_.id_field, type_.time_field}
        for name in self._entities[type_.name]:
            leaves = [leaf for part in self._events.entities[name].keys[type_.name] for leaf in walk(part)]
            read |= {leaf.name for leaf in leaves if isinstance(leaf, ThisField)}
        return replace(type_, fields=tuple(field for field in type_.fields if field.name in read))


def _names_of_texts(parts: Sequence[Node]) -> list[str]:
    names = [part.name for part in parts if isinstance(part, ThisField) and part.type.is_text]
    return names if len(names) == len(parts) else []


def _texts_of(type_: EventType) -> type[msgspec.Struct]:
    fields = [(f"f{at}", str | None if field.type.is_text else Any, None) for at, field in enumerate(type_.fields)]
    return msgspec.defstruct("Texts", fields, rename={f"f{at}": field.name for at, field in enumerate(type_.fields)})


class _ShownFeatures(msgspec.Struct):
    features: dict[str, msgspec.Raw]
    versions: TextDict


def _features(row: EntityRow, definitions: Definitions) -> EntityFeatures:
    declared = definitions.features
    values = JsonObject()
    try:
        features = {name: from_json(value) for name, value in sorted(row.features.items())}
        as_of = _EPOCH + timedelta(milliseconds=parse_time(row.as_of))
        for name in features.keys() & declared.keys():
            try:
                values[name] = typed(features[name], declared[name].type)
            except (ValueError, TypeError, ArithmeticError) as error:
                is_beyond = isinstance(error, OverflowError) and declared[name].type.kind in {"duration", "time"}
                if row.definitions == definitions.versions.definitions and not is_beyond:
                    raise
    except (ValueError, TypeError, ArithmeticError) as error:
        raise StateError(
            f"what other services read of {row.entity} {row.key} is nothing that this project would write: {error}"
        ) from None
    return EntityFeatures(*row[:3], as_of, row.event, row.definitions, features, values)


def typed(value: Any, type_: Type) -> Any:
    """Convert a value of a decision's document to its Python type.

    >>> typed("412.00", Type("money", 2)), typed(1.5, Type("duration"))
    (Decimal('412.00'), datetime.timedelta(seconds=1, microseconds=500000))
    """
    if value is None:
        return None
    match type_.kind:
        case "money" | "number":
            return Decimal(value)
        case "integer":
            return int(value)
        case "real":
            return float(value)
        case "time":
            return _EPOCH + timedelta(milliseconds=read_shown_time(value))
        case "duration":
            return timedelta(milliseconds=round(value * 1_000))
        case _:
            return value
