"""Read the body of a mapped call (calls.yaml) as an event, and write its decision as the response."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.json import decode as from_json
from msgspec.json import encode as to_json

from shroff.errors import InputError
from shroff.plugins.events import (
    REQUEST_DEPTH_MAX,
    Event,
    EventType,
    Instant,
    MappedRow,
    Mapper,
    RawDuration,
    RefusedValue,
    canonical_json,
    canonical_value,
    json_columns,
    stored_reader,
    text_of,
    undeclared,
)
from shroff.plugins.language import Evaluate, FeatureValue, Node, Score, ThisField, compile_row
from shroff.plugins.values import FrozenStruct, replace
from shroff.plugins.web import Mistakes
from shroff_plugins.earlier_calls.calls import OF_DECISION, UNREAD, Answered, MappedCall

MADE_ID = "call:"  # beginning of a generated id
_NOTHING = {None: "null", "": "an empty text"}
_SHOWN_MAX = 8  # names of a list in a message

Raw = msgspec.Raw


class _AnswerParts(FrozenStruct):
    event: Event
    decision: Mapping[str, Raw]
    features: Mapping[str, Raw]


class CallReader:
    """Reads the bodies of one call, and writes its responses.

    Args:
        secret: Fields whose values no message shows (see `events.validation.secret_fields`).
        money_places: Decimals of the project's currency.

    Attributes:
        mapped: The event type with the mapping of the call.
        hidden: Fields that read a value which a secret field reads; no message shows them either.
    """

    def __init__(self, call: MappedCall, event_type: EventType, secret: frozenset[str], money_places: int) -> None:
        self.call = call
        self._type = event_type
        self.mapped = replace(event_type, mappings={"json": call.mapping})
        self._mapper = Mapper(self.mapped, "jsonl", secret)
        self.hidden = self._mapper.hidden
        self._places = {name: f"{key}[{at}]" for key, names in call.lists.items() for at, name in enumerate(names)}
        read = {str(path[0]) for name in self._mapper.names for path in self._mapper.paths(name)}
        self._known = {*call.lists, *(read - self._places.keys())}
        self._answer = [(to_json(name), self._part(part, money_places)) for name, part in call.answer.items()]

    # ---- requests

    def event_of(self, raw: bytes, now_ms: int) -> tuple[bytes, Mistakes]:
        """Return the event of a body as JSON, as if it had been posted, and the mistakes of fields that it lacks.

        Raises: InputError with the path of each mistake if the body does not fit this call.
        """
        columns, words = columns_of(raw)
        if columns is None:
            raise InputError([("", words)])
        row = MappedRow("", 0, self._laid_out(columns))
        mapped = self._mapper.fields(row)
        fields = {name: value for name in self._mapper.names if (value := mapped.get(name)) is not None and value != ""}
        refused = [(name, field.words) for name, field in fields.items() if isinstance(field, RefusedValue)]
        if not self.call.writes:
            self._complete(fields, raw, now_ms)
        written = ",".join(
            f'"{name}":{_json(value)}' for name, value in fields.items() if type(value) is not RefusedValue
        )
        return f"{{{written}}}".encode("utf-8", "surrogatepass"), refused

    def values_of(self, raw: bytes) -> Mapping[str, object] | None:
        """Return the values of a body by their names in the mapping; None if the body is not a JSON object.

        A list of another length than its names is left out if one of them is secret.
        """
        columns, _ = columns_of(raw)
        if columns is None:
            return None
        secret = {path[0] for path in self._mapper.secret_paths}
        found = dict(columns)
        for key, names in self.call.lists.items():
            values = found.get(key)
            if isinstance(values, list) and len(values) == len(names):
                del found[key]
                found |= {name: value for name, value in zip(names, values, strict=True) if name != UNREAD}
            elif secret.intersection(names):
                found.pop(key, None)
        return found

    def place_of(self, path: str) -> str:
        """Return the path in the body of a field's value; the field itself if it uses several values."""
        name, dot, rest = path.partition(".")
        paths = self._mapper.paths(name) if name in self._mapper.names else frozenset()
        if len(paths) != 1:
            return path
        first, *inner = map(str, next(iter(paths)))
        return ".".join([self._places.get(first, first), *inner, *([rest] if dot else [])])

    def told(self, refused: Mistakes, mistakes: Mistakes) -> list[tuple[str, str]]:
        """Merge the mistakes of fields and of the event, with their paths in the body."""
        names = {name for name, _ in refused}
        found = [*refused, *(mistake for mistake in mistakes if mistake[0] not in names)]
        return [(self.place_of(path), words) for path, words in found]

    def _laid_out(self, columns: Mapping[str, object]) -> dict[str, object]:
        """Return the values of the body by name, including those of its lists. Raises: InputError."""
        unknown = [name for name in columns if name not in self._known]
        mistakes = undeclared(unknown, sorted(self._known), "this call has no such value", "It reads")
        found = {name: value for name, value in columns.items() if name not in self.call.lists}
        for key, names in self.call.lists.items():
            values = columns.get(key)
            if isinstance(values, list) and len(values) == len(names):
                read = {name: value for name, value in zip(names, values, strict=True) if name != UNREAD}
                found |= read
                mistakes += [
                    (self._places[name], f"expected the value of {name}; found {_NOTHING[value]}")
                    for name, value in read.items()
                    if (value is None or value == "") and name not in self.call.may_lack
                ]
            else:
                mistakes.append((key, f"expected a list of {len(names)} values: {_shown(names)}; {_instead(values)}"))
        if mistakes:
            raise InputError(mistakes)
        return found

    def _complete(self, fields: dict[str, object], raw: bytes, now_ms: int) -> None:
        """Add a missing id and time to an event that is not stored; equal bodies get equal ids."""
        made = {self._type.id_field: f"{MADE_ID}{sha256(raw).hexdigest()[:32]}", self._type.time_field: Instant(now_ms)}
        for name, value in made.items():
            if name not in fields and name not in self.call.mapping.fields:
                fields[name] = value

    # ---- responses

    def answer(self, event: Event, document: bytes) -> bytes:
        decision = from_json(document, type=dict[str, Raw])
        found = _AnswerParts(event, decision, from_json(decision["features"], type=dict[str, Raw]))
        return b"{" + b",".join([name + b":" + part(found) for name, part in self._answer]) + b"}"

    def _part(self, part: Answered, money_places: int) -> Callable[[_AnswerParts], bytes]:
        if isinstance(part, tuple):
            return lambda decided: to_json({name: decided.features[name] for name in part})
        evaluate = compile_row(part, self._leaf)
        type_ = part.type
        return lambda decided: canonical_value(evaluate(decided), type_, money_places).encode()

    def _leaf(self, node: Node) -> Evaluate:
        match node:
            case ThisField():
                at = self._type.at(node.name)
                return lambda decided: decided.event.values[at]
            case Score():
                return lambda decided: _value(decided.decision["score"])
            case FeatureValue():
                owner, _, own = node.name.partition(".")
                if owner == OF_DECISION:
                    return lambda decided: _value(decided.decision[own])
                name = node.name
                read = float if node.type.kind == "real" else stored_reader(node.type)
                return lambda decided: _read(read, _value(decided.features[name]))
            case _:
                raise AssertionError(f"an answer reads {node}")


def columns_of(raw: bytes) -> tuple[Mapping[str, object] | None, str]:
    """Return the values of a body by name, or None with the reason why it is no object."""
    columns, words = json_columns(raw, REQUEST_DEPTH_MAX)
    return columns, (words or "").replace("the line", "it", 1)


def _value(raw: Raw) -> Any:
    return from_json(raw)


def _read(read: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if value is None or read is None else read(value)


def _json(value: object) -> str:
    """Write a field's value as in a posted event: durations are seconds."""
    return text_of(value) or "null" if type(value) is RawDuration else canonical_json(value)


def _shown(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= _SHOWN_MAX else f"{', '.join(names[: _SHOWN_MAX - 1])}, …, {names[-1]}"


def _instead(found: object) -> str:
    if found is None:
        return "it is missing"
    return f"found {len(found)}" if isinstance(found, list) else "found no list"
