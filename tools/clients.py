"""The clients of other languages, written from the OpenAPI document: `python -m tools.clients`.

Each client is two parts: one by hand (decisions, labels, retries, fallback) and one from here, with a type for each
schema and a method for each operation. What a project adds, the types of its events, stays a map of fields.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from shroff.web.http.openapi import openapi
from shroff.web.table import table
from tests.golden.surfaces import definitions

ROOT: Final = Path(__file__).parent.parent / "clients"
REF: Final = "#/components/schemas/"
JSON: Final = "application/json"
BY_HAND: Final = re.compile(r"/api/v1/(events|score)/|/hooks/|/metrics$")  # and labels, which are posted
METHODS: Final = ("get", "put", "post", "patch", "delete")
HEAD: Final = "Made by tools/clients.py from the OpenAPI document; do not edit."
JAVA_WORDS: Final = frozenset(  # words of the language, and methods that a record cannot have
    (
        "abstract assert boolean break byte case catch char class clone const continue default do double else enum "
        "extends false final finalize finally float for getClass goto hashCode if implements import instanceof int "
        "interface long native new notify notifyAll null package private protected public return short static strictfp "
        "super switch synchronized this throw throws toString transient true try void volatile wait while"
    ).split()
)
GO_INITIALS: Final = {"id": "ID", "url": "URL", "api": "API", "csv": "CSV", "json": "JSON"}


@dataclass(frozen=True)
class Parameter:
    """A value of a path, a query or a header."""

    name: str
    place: str
    doc: str


@dataclass(frozen=True)
class Operation:
    """A route: its parameters, and the schemas of its body and its answer."""

    name: str
    method: str
    path: str
    doc: str
    parameters: Sequence[Parameter]
    body: Mapping[str, Any] | None
    answer: Mapping[str, Any]

    def of(self, *places: str) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.place in places]


def operations(document: Mapping[str, Any]) -> Iterator[Operation]:
    """The operations that send and answer JSON and that no client has by hand."""
    for path, methods in document["paths"].items():
        for method in METHODS:
            found = methods.get(method)
            if found is None or BY_HAND.search(path) or (method, path) == ("post", "/api/v1/labels"):
                continue
            contents = found.get("requestBody", {}).get("content")
            answers = [answer for status, answer in found["responses"].items() if status[0] == "2"]
            if (contents and JSON not in contents) or JSON not in answers[0].get("content", {}):
                continue
            yield Operation(
                found["operationId"],
                method.upper(),
                path,
                found["summary"],
                [
                    Parameter(each["name"], each["in"], each.get("description", ""))
                    for each in found.get("parameters", ())
                ],
                contents[JSON]["schema"] if contents else None,
                answers[0]["content"][JSON]["schema"] if len(answers) == 1 else {},
            )


def reached(document: Mapping[str, Any], begun: Sequence[Any]) -> dict[str, Any]:
    """The schemas that these, operations of a document, speak of, by name."""
    schemas, found, waiting = document["components"]["schemas"], dict[str, Any](), list(begun)
    while waiting:
        for name in re.findall(rf"'{REF}([^']+)'", str(waiting.pop())):
            if name not in found:
                found[name] = schemas[name]
                waiting.append(schemas[name])
    return dict(sorted(found.items()))


# ---- schemas


def branches(schema: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]], bool]:
    """The types that a value may have, and whether it may be null."""
    parts = schema.get("anyOf") or schema.get("oneOf")
    if parts is None and isinstance(schema.get("type"), list):
        parts = [{"type": each} for each in schema["type"]]
    if parts is None:
        return [schema], False
    there = [part for part in parts if part.get("type") != "null"]
    return there, len(there) < len(parts)


def words(name: str) -> list[str]:
    return [word for word in re.split(r"[^A-Za-z0-9]+", name) if word]


def camel(name: str) -> str:
    first, *others = words(name)
    return first[0].lower() + first[1:] + "".join(word[0].upper() + word[1:] for word in others)


def pascal(name: str) -> str:
    return "".join(GO_INITIALS.get(word, word[0].upper() + word[1:]) for word in words(name))


def comment(text: str, before: str, indent: str = "") -> str:
    lines = textwrap.wrap(" ".join(text.split()), 110 - len(indent) - len(before))
    return "".join(f"{indent}{before}{line}\n" for line in lines)


def java_doc(text: str, indent: str = "") -> str:
    lines = textwrap.wrap(" ".join(text.split()).replace("*/", "* /").replace("@", "{@literal @}"), 110 - len(indent))
    if len(lines) == 1:
        return f"{indent}/** {lines[0]} */\n"
    return "".join([f"{indent}/**\n", *(f"{indent} * {line}\n" for line in lines), f"{indent} */\n"]) if lines else ""


# ---- TypeScript


def ts_type(schema: Mapping[str, Any]) -> str:
    there, is_null = branches(schema)
    return " | ".join(dict.fromkeys([*map(_ts_type, there), *(["null"] if is_null else [])]))


def _ts_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].removeprefix(REF))
    if "enum" in schema:
        return " | ".join("null" if value is None else f'"{value}"' for value in schema["enum"])
    kind = schema.get("type")
    if kind == "array":
        if "prefixItems" in schema:
            return f"[{', '.join(map(ts_type, schema['prefixItems']))}]"
        inner = ts_type(schema["items"])
        return f"({inner})[]" if " " in inner else f"{inner}[]"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"Record<string, {ts_type(more) if isinstance(more, dict) and more else 'unknown'}>"
    return {"string": "string", "integer": "number", "number": "number", "boolean": "boolean"}.get(str(kind), "unknown")


def typescript(found: Sequence[Operation], schemas: Mapping[str, Any]) -> str:
    lines = [f"// {HEAD}\n", 'import { Transport, part } from "./transport.js";\n']
    for name, schema in schemas.items():
        lines.append("\n" + java_doc(schema.get("description", name)))
        lines.append(f"export interface {name} {{\n")
        required = schema.get("required", ())
        for field, kind in schema.get("properties", {}).items():
            lines.append(java_doc(kind.get("description", ""), "  ") if kind.get("description") else "")
            lines.append(f"  {field}{'' if field in required else '?'}: {ts_type(kind)};\n")
        lines.append("}\n")
    lines.append("\n/** The operations of a service, one method each. */\nexport class Api extends Transport {\n")
    for number, each in enumerate(found):
        given = [f"{camel(parameter.name)}: string" for parameter in each.of("path")]
        given += [f"body: {ts_type(each.body)}"] if each.body is not None else []
        options = each.of("query", "header")
        if options:
            kinds = "; ".join(f"{ts_name(option.name)}?: string" for option in options)
            given.append(f"options: {{ {kinds} }} = {{}}")
        sent = [
            f'"{each.method}"',
            "`" + re.sub(r"\{([^}]+)\}", lambda of: f"${{part({camel(of[1])})}}", each.path) + "`",
        ]
        more = ["body"] if each.body is not None else []
        for place, name in (("query", "query"), ("header", "headers")):
            if each.of(place):
                pairs = ", ".join(f'"{option.name}": options{ts_get(option.name)}' for option in each.of(place))
                more.append(f"{name}: {{ {pairs} }}")
        lines.append(("\n" if number else "") + java_doc(each.doc, "  "))
        lines.append(f"  {camel(each.name)}({', '.join(given)}): Promise<{ts_type(each.answer)}> {{\n")
        lines.append(
            f"    return this.call({', '.join(sent)}{', { ' + ', '.join(more) + ' }' if more else ''});\n  }}\n"
        )
    return "".join([*lines, "}\n"])


def ts_name(name: str) -> str:
    return name if name.isidentifier() else f'"{name}"'


def ts_get(name: str) -> str:
    return f".{name}" if name.isidentifier() else f'["{name}"]'


# ---- Go


def go_type(schema: Mapping[str, Any], *, is_optional: bool = False) -> str:
    there, is_null = branches(schema)
    kinds = {_go_type(each) for each in there}
    if len(kinds) > 1:
        return "any"
    (kind,) = kinds
    is_pointer = (is_null or is_optional) and kind != "any" and not kind.startswith(("[]", "map["))
    return f"*{kind}" if is_pointer else kind


def _go_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].removeprefix(REF))
    kind = schema.get("type", "string" if "enum" in schema else None)
    if kind == "array":
        return "[]any" if "prefixItems" in schema else f"[]{go_type(schema['items'])}"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"map[string]{go_type(more) if isinstance(more, dict) and more else 'any'}"
    return {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}.get(str(kind), "any")


def go(found: Sequence[Operation], schemas: Mapping[str, Any]) -> str:
    lines = ["// Code generated from the OpenAPI document by tools/clients.py. DO NOT EDIT.\n\npackage shroff\n"]
    lines.append('\nimport "context"\n')
    for name, schema in schemas.items():
        lines.append("\n" + comment(f"{name}: {schema.get('description', 'a document.')}", "// "))
        required, fields = schema.get("required", ()), []
        for field, kind in schema.get("properties", {}).items():
            is_there = field in required
            tag = f'`json:"{field}{"" if is_there else ",omitempty"}"`'
            fields.append((pascal(field), go_type(kind, is_optional=not is_there), tag))
        lines.append(f"type {name} struct {{\n{aligned(fields)}}}\n" if fields else f"type {name} struct{{}}\n")
    for each in found:
        own, options = pascal(each.name), each.of("query", "header")
        given = ["ctx context.Context", *(f"{go_local(parameter.name)} string" for parameter in each.of("path"))]
        given += [f"body {go_type(each.body)}"] if each.body is not None else []
        if options:
            lines.append(f"\n// {own}Options are the options of {own}; empty ones are not sent.\n")
            lines.append(f"type {own}Options struct {{\n{aligned([(pascal(o.name), 'string') for o in options])}}}\n")
            given.append(f"options {own}Options")
        answer = go_type(each.answer)
        path = re.sub(r"\{([^}]+)\}", lambda of: f'"+part({go_local(of[1])})+"', each.path)
        maps = [
            "map[string]string{" + ", ".join(f'"{o.name}": options.{pascal(o.name)}' for o in each.of(place)) + "}"
            if each.of(place)
            else "nil"
            for place in ("query", "header")
        ]
        body = "body" if each.body is not None else "nil"
        lines.append("\n" + comment(f"{own}: {each.doc}", "// "))
        lines.append(f"func (c *Client) {own}({', '.join(given)}) (answer {answer}, err error) {{\n")
        sent = f'ctx, "{each.method}", "{path}", {maps[0]}, {maps[1]}, {body}, &answer'.replace('+""', "")
        lines.append(f"\terr = c.call({sent})\n\treturn\n}}\n")
    return "".join(lines)


def go_local(name: str) -> str:
    return camel(name) if camel(name) not in {"type", "range", "func"} else f"{camel(name)}_"


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Fields of a struct in columns, as gofmt has them."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    return "".join(
        f"\t{' '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()}\n" for row in rows
    )


# ---- Java


def java_type(schema: Mapping[str, Any]) -> str:
    there, _ = branches(schema)
    kinds = {_java_type(each) for each in there}
    return kinds.pop() if len(kinds) == 1 else "Object"


def _java_type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return f"Types.{schema['$ref'].removeprefix(REF)}"
    kind = schema.get("type", "string" if "enum" in schema else None)
    if kind == "array":
        return "List<Object>" if "prefixItems" in schema else f"List<{java_type(schema['items'])}>"
    if kind == "object":
        more = schema.get("additionalProperties")
        return f"Map<String, {java_type(more) if isinstance(more, dict) and more else 'Object'}>"
    return {"string": "String", "integer": "Long", "number": "Double", "boolean": "Boolean"}.get(str(kind), "Object")


def java_name(name: str) -> str:
    return f"{camel(name)}_" if camel(name) in JAVA_WORDS else camel(name)


def java_types(schemas: Mapping[str, Any]) -> str:
    lines = [f"// {HEAD}\npackage shroff.client;\n"]
    lines.append(
        "\nimport com.fasterxml.jackson.annotation.JsonInclude;\n"
        "import com.fasterxml.jackson.annotation.JsonProperty;\n"
    )
    lines.append(
        "import java.util.List;\nimport java.util.Map;\n\n"
        "/** The documents of the service. Absent and null values are null. */\n"
    )
    lines.append("public interface Types {\n")
    for number, (name, schema) in enumerate(schemas.items()):
        fields = [
            f'@JsonProperty("{field}") {java_type(kind)} {java_name(field)}'
            for field, kind in schema.get("properties", {}).items()
        ]
        inner = ",\n            ".join(fields)
        lines.append(("\n" if number else "") + java_doc(schema.get("description", name), "    "))
        lines.append("    @JsonInclude(JsonInclude.Include.NON_NULL)\n")
        lines.append(f"    record {name}(\n            {inner}) {{}}\n".replace("Types.", ""))
    return "".join([*lines, "}\n"])


def java_api(found: Sequence[Operation]) -> str:
    lines = [f"// {HEAD}\npackage shroff.client;\n\nimport com.fasterxml.jackson.core.type.TypeReference;\n"]
    lines.append("import java.time.Duration;\nimport java.util.List;\nimport java.util.Map;\n")
    lines.append("\n/** The operations of a service, one method each. */\npublic class Api extends Transport {\n")
    lines.append("    Api(String url, String key, Duration timeout) {\n        super(url, key, timeout);\n    }\n")
    for each in found:
        options = each.of("query", "header")
        given = [f"String {java_name(parameter.name)}" for parameter in each.of("path")]
        given += [f"{java_type(each.body)} body"] if each.body is not None else []
        given += ["Map<String, String> options"] if options else []
        answer = java_type(each.answer)
        path = '"' + re.sub(r"\{([^}]+)\}", lambda of: f'" + part({java_name(of[1])}) + "', each.path) + '"'
        path = path.removesuffix(' + ""')
        doc = each.doc + (f" Options: {', '.join(option.name for option in options)}." if options else "")
        lines.append("\n" + java_doc(doc, "    "))
        lines.append(f"    public {answer} {camel(each.name)}({', '.join(given)}) {{\n")
        more = f"{'options' if options else 'Map.of()'}, {'body' if each.body is not None else 'null'}"
        sent = f'"{each.method}", {path}, {more}'
        lines.append(f"        return call({sent}, new TypeReference<{answer}>() {{}});\n    }}\n")
    return "".join([*lines, "}\n"])


def files() -> dict[Path, str]:
    """What is generated, by its place."""
    found = definitions()
    document = openapi(table(found), found.events)
    wanted = list(operations(document))
    kept = ["Decision", "Undecided", "Label", "Labelled", "Problem"]
    schemas = reached(document, [*wanted, *({"$ref": f"{REF}{name}"} for name in kept)])
    java = ROOT / "java" / "src" / "main" / "java" / "shroff" / "client"
    return {
        ROOT / "typescript" / "src" / "api.ts": typescript(wanted, schemas),
        ROOT / "go" / "api.go": go(wanted, schemas),
        java / "Types.java": java_types(schemas),
        java / "Api.java": java_api(wanted),
    }


def main() -> None:
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(f"{path.relative_to(ROOT.parent)}: {text.count(chr(10)):,} lines")


if __name__ == "__main__":
    main()
