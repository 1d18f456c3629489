"""JSON Schemas of the project files, for editors: made from the same tables of keys that the loaders use.

The schemas are draft 7, which the YAML language server and the IDEs of JetBrains both read.
"""

from __future__ import annotations

from shroff.events.keys import EVENTS, FIELD_EXAMPLES, FIELD_TYPE
from shroff.json_types import JsonObject
from shroff.language.keys import EXPRESSION, TEXT, Either, Key, Late, Many, MappingShape, One, Shape, own_names
from shroff.models.keys import MODELS
from shroff.project.file_kinds import ProjectFile, settings_shape
from shroff.project.laws import LAWS
from shroff.project.policy import POLICIES
from shroff.project.schedules import SCHEDULES
from shroff.rules.keys import RULES
from shroff.runtime.entry_points import FILES, KEYS, installed

DRAFT = "http://json-schema.org/draft-07/schema#"

FEATURES = own_names(
    "entities with their features",
    own_names("features of this entity: a name, and the expression that computes it", EXPRESSION),
)
OWN_FILES = (
    ProjectFile("events", "events.yaml", "Event types and their file mappings, entities and tables.", EVENTS),
    ProjectFile("features", "features.yaml", "Features, one line each, under their entity.", FEATURES),
    ProjectFile("rules", "rules/*.yaml", "Rules and their tests.", RULES),
    ProjectFile("policy", "policy.yaml", "How rule effects and the score become an outcome.", POLICIES),
    ProjectFile("laws", "laws/*.yaml", "Laws about the policy, which `shroff prove` proves or refutes.", LAWS),
    ProjectFile("model", "model.yaml", "Models: inputs, time split, training and gates.", MODELS),
    ProjectFile("schedules", "schedules.yaml", "Scheduled jobs.", SCHEDULES),
)


def project_files() -> tuple[ProjectFile, ...]:
    """Return all kinds of project files; those of installed plug-ins are last."""
    meaning = "The project: its name, its currency, and the lateness of events."
    project = ProjectFile("shroff", "shroff.yaml", meaning, settings_shape(installed(KEYS).values()))
    return project, *OWN_FILES, *installed(FILES).values()


def schema_of(file: ProjectFile) -> JsonObject:
    return {"$schema": DRAFT, "title": f"shroff: {file.place}", "description": file.meaning, **_shape(file.shape)}


def _shape(shape: Shape) -> JsonObject:
    match shape:
        case One():
            return _one(shape)
        case Many(_, item):
            return {"type": "array", "items": _shape(item)}
        case Either(shapes):
            return {"anyOf": [_shape(part) for part in shapes]}
        case MappingShape():
            return _keys(shape)
        case Late(make):
            return _shape(make())


def _one(shape: One) -> JsonObject:
    if shape is FIELD_TYPE:
        return {"type": TEXT, "pattern": shape.pattern, "examples": list(FIELD_EXAMPLES)}
    if shape.options:
        return {"enum": [value for text in shape.options for value in _readings(text)]}
    schema: JsonObject = {"type": [*shape.kinds, *(["null"] if shape.may_be_empty else [])]}
    if len(schema["type"]) == 1:
        schema["type"] = shape.kinds[0]
    if TEXT in shape.kinds and not shape.may_be_empty:
        schema["pattern"] = shape.pattern or r"\S"
    if shape.limits is not None:
        schema["minimum"], schema["maximum"] = shape.limits
    return schema


def _readings(text: str) -> list[str | int | bool]:
    """Return the values that a YAML parser may read an option as: `true` is a bool, and `"true"` a text."""
    if text in {"true", "false"}:
        return [text == "true", text]
    return [int(text), text] if text.isdigit() else [text]


def _keys(shape: MappingShape) -> JsonObject:
    schema: JsonObject = {"type": "object", "additionalProperties": False}
    if shape.keys:
        schema["properties"] = {key.name: _key(key) for key in shape.keys}
    if shape.required:
        schema["required"] = list(shape.required)
    if shape.named is not None:
        words = f"{shape.named.what[:1].upper()}{shape.named.what[1:]}."
        schema["patternProperties"] = {_names(shape): {"description": words, **_shape(shape.named)}}
    if shape.is_single:
        schema["minProperties"] = schema["maxProperties"] = 1
    return schema


def _names(shape: MappingShape) -> str:
    excluded = sorted({*shape.names, *shape.reserved})
    return shape.pattern.replace("^", f"^(?!({'|'.join(excluded)})$)", 1) if excluded else shape.pattern


def _key(key: Key) -> JsonObject:
    if key.shape is None:
        return {"description": key.meaning, "not": {}}
    words = f"{key.meaning} Takes {key.shape.what}."
    if key.default:
        words += f" Left out: {key.default}."
    schema: JsonObject = {"description": words}
    # Editors offer examples as values, so only single values qualify, and only if the schema lists no options.
    shape = key.shape.make() if isinstance(key.shape, Late) else key.shape
    is_offered = isinstance(shape, One | Either) and not (isinstance(shape, One) and shape.options)
    plain = [example for example in key.examples if not example.startswith(("{", "[", '"'))]
    if plain and is_offered:
        schema["examples"] = plain
    return {**schema, **_shape(key.shape)}
