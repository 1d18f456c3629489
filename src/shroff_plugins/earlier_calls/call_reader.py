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
        self._places = {
            name: f"{key}[{index}]" for key, names in call.lists.items() for index, name in enumerate(names)
        }
        read_names = {str(path[0]) for name in self._mapper.names for path in self._mapper.paths(name)}
        self._known = {*call.lists, *(read_names - self._places.keys())}
        self._answer = [(to_json(name), self._part(part, money_places)) for name, part in call.answer.items()]

    # ---- requests

    def event_of(self, raw: bytes, now_ms: int) -> tuple[bytes, Mistakes]:
        """Return the event of a body as JSON, as if it had been posted, and the mistakes of fields that it lacks.

        Raises: InputError with the path of each mistake if the body does not fit this call.
        """
        columns, error = columns_of(raw)
        if columns is None:
            raise InputError([("", error)])
        row = MappedRow("", 0, self._lay_out(columns))
        mapped = self._mapper.fields(row)
        fields: dict[str, object] = {}
        for name in self._mapper.names:
            value = mapped.get(name)
            if value is not None and value != "":
                fields[name] = value
        refused = [(name, field.words) for name, field in fields.items() if isinstance(field, RefusedValue)]
        if not self.call.writes:
            self._complete(fields, raw, now_ms)
        event_json = ",".join(
            f'"{name}":{_json(value)}' for name, value in fields.items() if type(value) is not RefusedValue
        )
        return f"{{{event_json}}}".encode("utf-8", "surrogatepass"), refused

    def values_of(self, raw: bytes) -> Mapping[str, object] | None:
        """Return the values of a body by their names in the mapping; None if the body is not a JSON object.

        A list of another length than its names is left out if one of them is secret.
        """
        columns, _ = columns_of(raw)
        if columns is None:
            return None
        secret = {path[0] for path in self._mapper.secret_paths}
        all_values = dict(columns)
        for key, names in self.call.lists.items():
            values = all_values.get(key)
            if isinstance(values, list) and len(values) == len(names):
                del all_values[key]
                all_values |= {name: value for name, value in zip(names, values, strict=True) if name != UNREAD}
            elif secret.intersection(names):
                all_values.pop(key, None)
        return all_values

    def place_of(self, path: str) -> str:
        """Return the path in the body of a field's value; the field itself if it uses several values."""
        name, dot, suffix = path.partition(".")
        paths = self._mapper.paths(name) if name in self._mapper.names else frozenset()
        if len(paths) != 1:
            return path
        first, *inner = map(str, next(iter(paths)))
        return ".".join([self._places.get(first, first), *inner, *([suffix] if dot else [])])

    def merge_mistakes(self, refused: Mistakes, field_mistakes: Mistakes) -> list[tuple[str, str]]:
        """Merge the mistakes of fields and of the event, with their paths in the body."""
        names = {name for name, _ in refused}
        all_mistakes = [*refused, *(mistake for mistake in field_mistakes if mistake[0] not in names)]
        return [(self.place_of(path), message) for path, message in all_mistakes]

    def _lay_out(self, columns: Mapping[str, object]) -> dict[str, object]:
        """Return the values of the body by name, including those of its lists. Raises: InputError."""
        unknown = [name for name in columns if name not in self._known]
        problems = undeclared(unknown, sorted(self._known), "this call has no such value", "It reads")
        laid_out = {name: value for name, value in columns.items() if name not in self.call.lists}
        for key, names in self.call.lists.items():
            values = columns.get(key)
            if isinstance(values, list) and len(values) == len(names):
                list_values = {name: value for name, value in zip(names, values, strict=True) if name != UNREAD}
                laid_out |= list_values
                problems += [
                    (self._places[name], f"expected the value of {name}; found {_NOTHING[value]}")
                    for name, value in list_values.items()
                    if (value is None or value == "") and name not in self.call.may_lack
                ]
            else:
                problems.append(
                    (key, f"expected a list of {len(names)} values: {_list_names(names)}; {_found_instead(values)}")
                )
        if problems:
            raise InputError(problems)
        return laid_out

    def _complete(self, fields: dict[str, object], raw: bytes, now_ms: int) -> None:
        """Add a missing id and time to an event that is not stored; equal bodies get equal ids."""
        defaults = {
            self._type.id_field: f"{MADE_ID}{sha256(raw).hexdigest()[:32]}",
            self._type.time_field: Instant(now_ms),
        }
        for name, value in defaults.items():
            if name not in fields and name not in self.call.mapping.fields:
                fields[name] = value

    # ---- responses

    def answer(self, event: Event, document: bytes) -> bytes:
        decision = from_json(document, type=dict[str, Raw])
        parts = _AnswerParts(event, decision, from_json(decision["features"], type=dict[str, Raw]))
        return b"{" + b",".join([name + b":" + part(parts) for name, part in self._answer]) + b"}"

    def _part(self, part: Answered, money_places: int) -> Callable[[_AnswerParts], bytes]:
        if isinstance(part, tuple):
            return lambda decided: to_json({name: decided.features[name] for name in part})
        evaluate = compile_row(part, self._leaf)
        type_ = part.type
        return lambda decided: canonical_value(evaluate(decided), type_, money_places).encode()

    def _leaf(self, node: Node) -> Evaluate:
        match node:
            case ThisField():
                position = self._type.at(node.name)
                return lambda decided: decided.event.values[position]
            case Score():
                return lambda decided: _value(decided.decision["score"])
            case FeatureValue():
                owner, _, feature_name = node.name.partition(".")
                if owner == OF_DECISION:
                    return lambda decided: _value(decided.decision[feature_name])
                name = node.name
                reader = float if node.type.kind == "real" else stored_reader(node.type)
                return lambda decided: _convert(reader, _value(decided.features[name]))
            case _:
                raise AssertionError(f"an answer reads {node}")


def columns_of(raw: bytes) -> tuple[Mapping[str, object] | None, str]:
    """Return the values of a body by name, or None with the reason why it is no object."""
    columns, error = json_columns(raw, REQUEST_DEPTH_MAX)
    return columns, (error or "").replace("the line", "it", 1)


def _value(raw: Raw) -> Any:
    return from_json(raw)


def _convert(reader: Callable[[Any], Any] | None, value: Any) -> Any:
    return value if value is None or reader is None else reader(value)


def _json(value: object) -> str:
    """Write a field's value as in a posted event: durations are seconds."""
    return text_of(value) or "null" if type(value) is RawDuration else canonical_json(value)


def _list_names(names: tuple[str, ...]) -> str:
    return ", ".join(names) if len(names) <= _SHOWN_MAX else f"{', '.join(names[: _SHOWN_MAX - 1])}, …, {names[-1]}"


def _found_instead(value: object) -> str:
    if value is None:
        return "it is missing"
    return f"found {len(value)}" if isinstance(value, list) else "found no list"
