"""The shapes of what is sent and answered, as JSON Schema: the program's own, and those of a project's event types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from shroff.decisions.policy import OUTCOMES
from shroff.events.definitions import SOURCES, VERDICTS, EventType, Field
from shroff.events.readers import ID_LENGTH_MAX
from shroff.language.field_types import Bounds
from shroff.language.values import to_real

Schema = Mapping[str, Any]

TEXT: Final[Schema] = {"type": "string"}
NULLABLE_TEXT: Final[Schema] = {"type": ["string", "null"]}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_DECIMAL: Final[Schema] = {"type": ["string", "number"], "description": "A decimal; as a string it loses nothing."}
# What is sent, where the door takes more than what is answered.
_MONEY: Final[Schema] = {
    "type": ["string", "number", "object"],
    "description": "A decimal, as a string it loses nothing; or one with the currency, which must be the project's.",
    "required": ["amount", "currency"],
    "additionalProperties": False,
    "properties": {"amount": {"type": ["string", "number"]}, "currency": TEXT},
}
_INSTANT: Final[Schema] = {
    "type": ["string", "integer"],
    "format": "date-time",
    "description": "RFC 3339; or whole milliseconds since 1970 began in UTC.",
}


def ref(name: str) -> dict[str, str]:
    """A schema that the document has under this name."""
    return {"$ref": f"#/components/schemas/{name}"}


def record(required: str, **properties: Schema) -> dict[str, Any]:
    """An object with these properties, the named ones always there."""
    return {"type": "object", "required": required.split(), "properties": properties}


def list_of(schema: Schema) -> dict[str, Any]:
    """A list."""
    return {"type": "array", "items": schema}


def event_schema(type_: EventType) -> dict[str, Any]:
    """The JSON Schema of the events of a type, as they are posted."""
    required = [one.name for one in type_.declared if not one.shape.is_optional]
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {one.name: field_schema(one, type_) for one in type_.declared},
    }


def field_schema(one: Field, type_: EventType) -> dict[str, Any]:
    """The schema of the values of a field, as they are posted."""
    found = dict(_value_schema(one))
    if one.name == type_.id_field:
        found |= {
            "maxLength": ID_LENGTH_MAX,
            "minLength": 1,
            "description": "The event's id: sent again, it is answered again.",
        }
    elif one.shape.is_hashed:
        found["description"] = "Hashed at the door: the clear value is kept nowhere."
    elif one.shape.is_personal:
        found["description"] = "Personal: it lies beside the event, and can be erased."
    if one.shape.bounds is not None:
        found |= _limits(one.shape.bounds, one, str(found.get("description", "")))
    if one.shape.is_optional:
        kinds = found.get("type")
        found["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
        if "enum" in found:
            found["enum"] = [*found["enum"], None]
    return found


def _limits(bounds: Bounds, one: Field, words: str) -> Schema:
    """What a number keeps to; of a text, as money may be sent, the words say it."""
    told = str(bounds)
    found: dict[str, Any] = {"description": f"{words} {told[:1].upper()}{told[1:]}.".lstrip()}
    for end in bounds.ends if one.type.kind not in {"time", "duration"} else ():
        key = "minimum" if end.is_lower else "maximum"
        limit = end.limit if isinstance(end.limit, float) else to_real(end.limit, one.type.places)
        found[f"exclusive{key.capitalize()}" if end.is_strict else key] = int(limit) if limit == int(limit) else limit
    return found


def _value_schema(one: Field) -> Schema:
    type_ = one.type
    match type_.kind:
        case "integer":
            return {"type": ["integer", "string"]}
        case "boolean":
            return {"type": ["boolean", "string"], "enum": [True, False, "true", "false"]}
        case "money":
            return _MONEY
        case "number":
            return _DECIMAL
        case "real":
            return {"type": ["number", "string"]}
        case "duration":
            return {"type": ["number", "string"], "description": "Seconds; or a text such as 90s, 1h or 7d."}
        case "time":
            return _INSTANT
        case "choice" if type_.choices and not type_.is_open:
            return {"type": "string", "enum": list(type_.choices)}
        case _:
            return {"type": "string", "maxLength": 65_536}


REASON: Final = record(
    "code kind text",
    code={"type": "string", "description": "Stable: a rule's id or a feature's name."},
    kind={"type": "string", "enum": ["rule", "model"]},
    text=TEXT,
    effect=TEXT,
    contribution={"type": "number"},
)
DECISION: Final = record(
    "event id seq as_of_seq outcome score reasons rules shadow_rules features versions receipt",
    event=TEXT,
    id=TEXT,
    seq={"type": ["integer", "null"], "description": "Its place in the log; null where nothing was written."},
    as_of_seq=COUNT,
    outcome={"type": "string", "enum": list(OUTCOMES)},
    score={"type": ["number", "null"]},
    reasons=list_of(ref("Reason")),
    rules=list_of(TEXT),
    shadow_rules=list_of(TEXT),
    features={"type": "object"},
    versions={"type": "object", "additionalProperties": TEXT},
    receipt={"type": "string", "pattern": "^sha256:[0-9a-f]{64}$"},
    answered={"type": "string", "description": "What was answered before this decision came; no part of it."},
)
UNDECIDED: Final = record(
    "event id seq decided", event=TEXT, id=TEXT, seq={"type": ["integer", "null"]}, decided={"const": False}
)
PROBLEM: Final = record(
    "type title status detail",
    type={"type": "string", "description": "Stable, for programs."},
    title=TEXT,
    status={"type": "integer"},
    detail=TEXT,
    errors=list_of({"type": "object"}),
)
LABEL: Final = {
    "type": "object",
    "required": ["verdict", "known_at"],
    "properties": {
        "event": {"type": "string", "description": "payment/p-1; or one of the fields declared unique in its place."},
        "verdict": {"type": "string", "enum": list(VERDICTS)},
        "source": {"type": ["string", "null"], "enum": [*SOURCES, None]},
        "known_at": _INSTANT,
        "reason": NULLABLE_TEXT,
        "amount": {**_MONEY, "type": [*_MONEY["type"], "null"]},
    },
}
LABELLED: Final = record(
    "label state seq",
    label=TEXT,
    state={"type": "string", "enum": ["appended", "pending", "duplicate"]},
    seq={"type": ["integer", "null"]},
    in_force=record("verdict source", verdict=TEXT, source=TEXT),
)
FLAG: Final = record(
    "id seq rule entity key event reason accuracy created time updated",
    id=TEXT,
    seq=COUNT,
    rule=TEXT,
    entity=TEXT,
    key=TEXT,
    event=TEXT,
    reason=TEXT,
    accuracy={"type": "string", "enum": ["PENDING_CONFIRMATION", "FALSE_ALARM", "ACCURATE_PREDICTION"]},
    created=TIME,
    time=TIME,
    updated=TIME,
)
_COUNT: Final = {"type": "integer", "minimum": 0}
RULE: Final = record(
    "id on by effect shadow rollout notify tests hits fraud genuine precision",
    id=TEXT,
    on=TEXT,
    by=TEXT,
    effect=TEXT,
    shadow={"type": "boolean"},
    rollout={"type": "number"},
    notify=NULLABLE_TEXT,
    tests=_COUNT,
    hits=_COUNT,
    fraud=_COUNT,
    genuine=_COUNT,
    precision={"type": ["number", "null"], "description": "Share of fraud among the hits with a verdict."},
)
RULE_FILE: Final = record(
    "file etag rules",
    file=TEXT,
    etag=TEXT,
    rules=list_of(RULE),
    text=TEXT,
    in_force={"type": "boolean"},
    why_not=NULLABLE_TEXT,
)
SCHEMAS: Final = {
    "Decision": DECISION,
    "Flag": FLAG,
    "Label": LABEL,
    "Labelled": LABELLED,
    "Problem": PROBLEM,
    "Reason": REASON,
    "RuleFile": RULE_FILE,
    "Undecided": UNDECIDED,
}
