"""JSON schemas of decisions and labels, and of a project's event types."""

from __future__ import annotations

from typing import Annotated, Any, Final, NotRequired, TypedDict

import msgspec

from shroff.engine.decision import ExperimentLine
from shroff.events.definitions import SOURCES, VERDICTS, EventType, Field
from shroff.events.event import Scalar
from shroff.events.readers import ID_LENGTH_MAX
from shroff.explain.explanation import Explanation
from shroff.explain.model import InputPart
from shroff.json_types import JsonMapping, JsonObject, TextDict
from shroff.language.field_types import Bounds
from shroff.language.values import to_real
from shroff.project.policy import OUTCOMES

Schema = JsonMapping

TEXT: Final[Schema] = {"type": "string"}
_DECIMAL: Final[Schema] = {"type": ["string", "number"], "description": "A decimal; as a string it keeps all digits."}
# Schemas of input, which allow more forms than those of responses.
_MONEY: Final[Schema] = {
    "type": ["string", "number", "object"],
    "description": "A decimal, preferably as a string; or an object with the currency, which must be the project's.",
    "required": ["amount", "currency"],
    "additionalProperties": False,
    "properties": {"amount": {"type": ["string", "number"]}, "currency": TEXT},
}
_INSTANT: Final[Schema] = {
    "type": ["string", "integer"],
    "format": "date-time",
    "description": "RFC 3339, or Unix time in whole milliseconds.",
}


class Reason(TypedDict):
    """A reason of a decision. `code` is stable: a rule's id or a feature's name."""

    code: str
    kind: Annotated[str, msgspec.Meta(extra_json_schema={"enum": ["rule", "model"]})]
    text: str
    effect: NotRequired[str]
    contribution: NotRequired[float]
    inputs: NotRequired[list[InputPart]]


class Drawn(TypedDict):
    """The result of exploration for a decline by the score: `explored` says whether the event was approved.

    An approval, with `would_be` approve, has one if it is in the sample that analysts review.
    """

    explored: bool
    propensity: float
    would_be: str


class Decision(TypedDict):
    """A decision.

    `seq` is its sequence number, null if nothing was written. `experiments` are those that decided about it: their
    names are in `rules` (arm B) or `shadow_rules` (arm A) too, and are no rules. `answered` is the override: the
    outcome that the sender gave before this decision. `explanation` is present on request. Of a type with `money in`
    a currency, `original` is its amount as sent, and `amount` what it is in the project's currency by this `rate`.
    Both are null without a rate, which the `remark` says.
    """

    event: str
    id: str
    seq: int | None
    as_of_seq: int
    outcome: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(OUTCOMES)})]
    score: float | None
    reasons: list[Reason]
    rules: list[str]
    shadow_rules: list[str]
    features: dict[str, Scalar]
    versions: TextDict
    receipt: Annotated[str, msgspec.Meta(pattern="^sha256:[0-9a-f]{64}$")]
    amount: NotRequired[str | None]
    original: NotRequired[str | None]
    currency: NotRequired[str | None]
    rate: NotRequired[str | None]
    remark: NotRequired[str | None]
    exploration: NotRequired[Drawn]
    experiments: NotRequired[list[ExperimentLine]]
    answered: NotRequired[str]
    explanation: NotRequired[Explanation]


class Undecided(TypedDict):
    """An event of a type that is not decided."""

    event: str
    id: str
    seq: int | None
    decided: Annotated[bool, msgspec.Meta(extra_json_schema={"const": False})]


class Label(TypedDict):
    """A label to record."""

    event: NotRequired[
        Annotated[str, msgspec.Meta(description="The event, such as payment/p-1; or instead a field declared unique.")]
    ]
    verdict: Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(VERDICTS)})]
    source: NotRequired[Annotated[str | None, msgspec.Meta(extra_json_schema={"enum": [*SOURCES, None]})]]
    known_at: Annotated[Any, msgspec.Meta(extra_json_schema=dict(_INSTANT))]
    reason: NotRequired[str | None]
    amount: NotRequired[Annotated[Any, msgspec.Meta(extra_json_schema={**_MONEY, "type": [*_MONEY["type"], "null"]})]]


def ref(name: str) -> TextDict:
    return {"$ref": f"#/components/schemas/{name}"}


def event_schema(type_: EventType) -> JsonObject:
    required = [field.name for field in type_.declared if not field.shape.is_optional]
    return {
        "type": "object",
        "required": required,
        "additionalProperties": False,
        "properties": {field.name: field_schema(field, type_) for field in type_.declared},
    }


def field_schema(field: Field, type_: EventType) -> JsonObject:
    """Return the schema of a field's values in posted events."""
    schema = dict(_value_schema(field))
    if field.name == type_.id_field:
        schema |= {
            "maxLength": ID_LENGTH_MAX,
            "minLength": 1,
            "description": "The event's id; sending it again returns the same answer (idempotent).",
        }
    elif field.shape.is_hashed:
        schema["description"] = "Hashed on input; the clear value is not stored."
    elif field.shape.is_personal:
        schema["description"] = "Personal; stored apart from the event, and can be erased."
    if field.shape.bounds is not None:
        schema |= _limits(field.shape.bounds, field, str(schema.get("description", "")))
    if field.shape.is_optional:
        kinds = schema.get("type")
        schema["type"] = [*(kinds if isinstance(kinds, list) else [kinds]), "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _limits(bounds: Bounds, field: Field, description: str) -> Schema:
    limits = str(bounds)
    schema: JsonObject = {"description": f"{description} {limits[:1].upper()}{limits[1:]}.".lstrip()}
    for end in bounds.ends if field.type.kind not in {"time", "duration"} else ():
        key = "minimum" if end.is_lower else "maximum"
        limit = end.limit if isinstance(end.limit, float) else to_real(end.limit, field.type.places)
        schema[f"exclusive{key.capitalize()}" if end.is_strict else key] = int(limit) if limit == int(limit) else limit
    return schema


def _value_schema(field: Field) -> Schema:
    type_ = field.type
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
