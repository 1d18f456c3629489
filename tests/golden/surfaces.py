"""The surfaces that stay while the code changes, as lines of text: one fact a line, so that a difference reads well.

Prose (help, summaries, meanings) is left out: `docs/reference` has it, compared by `tests/docs/test_reference.py`.
"""

from __future__ import annotations

import difflib
import inspect
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import click

from shroff import errors
from shroff.cli.failures import _kind
from shroff.cli.main import EXIT_STATUS, program
from shroff.project.definitions import Definitions, load_definitions
from shroff.web.http.openapi import openapi
from shroff.web.table import table
from tests.golden.answers import command_answers, template_decisions, typed
from tests.support.projects import FILES

PROSE: Final = {"description", "summary"}
PROBLEM: Final = '{"content": {"application/problem+json": {Problem}}}'
TYPE: Final = re.compile(r"^.* = <\w+>$")


# ---- commands


def command_lines(folder: Path) -> Iterator[str]:
    """Every argument and option of every command, hidden ones too, with its type and default."""
    for words, command in [((), program), *commands()]:
        hidden = " (hidden)" if command.hidden else ""
        yield f"shroff {' '.join(words)}{hidden}".strip()
        yield from (f"  {parameter_text(parameter)}" for parameter in command.params)


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(program, info_name="shroff")
    for name in program.list_commands(context):
        command = program.get_command(context, name)
        assert command is not None
        yield from below((name,), command)


def below(words: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from below((*words, name), command.commands[name])


def leaves() -> set[tuple[str, ...]]:
    """The words of each command that has none below it."""
    return {words for words, command in commands() if not isinstance(command, click.Group)}


def parameter_text(parameter: click.Parameter) -> str:
    names = parameter.metavar or parameter.name if isinstance(parameter, click.Argument) else None
    told = [names or ", ".join([*parameter.opts, *parameter.secondary_opts])]
    told += [f"type {type_text(parameter.type)}"] if not getattr(parameter, "is_flag", False) else ["flag"]
    told += ["required"] * parameter.required + ["many"] * (parameter.multiple or parameter.nargs == -1)
    told += ["hidden"] * getattr(parameter, "hidden", False)
    told += [f"default {parameter.default!r}"] if isinstance(parameter.default, str | int | float) else []
    told += [f"metavar {parameter.metavar}"] * bool(parameter.metavar and names is None)
    return "; ".join(told)


def type_text(type_: click.ParamType) -> str:
    if isinstance(type_, click.Choice):
        return "|".join(str(choice) for choice in type_.choices)
    if isinstance(type_, click.IntRange | click.FloatRange):
        return f"{type_.name} {type_.min}..{type_.max}"
    return type_.name


# ---- exit statuses


def exit_lines(folder: Path) -> Iterator[str]:
    """Each error that a command may raise, with the type of its problem document and its exit status."""
    yield f"documented = {' '.join(status for status, _ in EXIT_STATUS)}"
    classes = [
        error for _, error in inspect.getmembers(errors, inspect.isclass) if issubclass(error, errors.ShroffError)
    ]
    others = [click.ClickException, click.UsageError, click.Abort, OSError, KeyboardInterrupt, MemoryError, ValueError]
    for class_ in [*classes, *others]:
        type_, _, status = _kind(class_.__new__(class_))
        yield f"{class_.__module__.partition('.')[0]}.{class_.__name__} = {status} {type_}"


# ---- routes


def definitions() -> Definitions:
    return load_definitions(FILES).or_raise()


def route_lines(folder: Path) -> Iterator[str]:
    """Every route of the service with its right; `page` for those that answer with a page."""
    for route in table(definitions()):
        right = route.right.value if route.right else "anybody"
        yield f"{route.method} {route.path} = {right}{' page' * route.is_page}"


def openapi_lines(folder: Path) -> Iterator[str]:
    """The OpenAPI document of a small project: its operations and schemas, without its prose."""
    found = definitions()
    document = without_prose(openapi(table(found), found.events))
    for path, operations in document.pop("paths").items():
        for method, operation in operations.items():
            yield from operation_lines(f"{method.upper()} {path}", operation)
    for name, schema in document["components"].pop("schemas").items():
        properties = schema.pop("properties", {})
        yield f"schema {name} = {brief(schema)}"
        yield from (f"  {name} = {brief(part)}" for name, part in properties.items())
    yield from (f"{key} = {brief(part)}" for key, part in document.items())


def operation_lines(words: str, operation: dict[str, Any]) -> Iterator[str]:
    """An operation: its parameters, body, answers and, in one line, the statuses of its problems."""
    yield f"{words} = {operation.pop('operationId')}"
    problems = []
    for parameter in operation.pop("parameters", ()):
        required = " required" * parameter.pop("required", False)
        yield f"  {parameter.pop('in')} {parameter.pop('name')} = {brief(parameter)}{required}"
    for kind, content in operation.pop("requestBody", {}).items():
        yield f"  body {kind} = {brief(content)}"
    for status, answer in operation.pop("responses").items():
        if brief(answer) == PROBLEM:
            problems.append(status)
        else:
            yield f"  {status} = {brief(answer)}"
    yield f"  problems = {' '.join(problems)}"
    yield from (f"  {key} = {brief(part)}" for key, part in operation.items())


def brief(value: object) -> str:
    """JSON on one line, with the bare names of schemas."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r'\{"\$ref": "#/components/schemas/([^"]+)"\}', r"\1", text).replace('{"schema": ', "{")


def without_prose(value: Any) -> Any:
    """A document without its descriptions and summaries; a property may be called so."""
    if isinstance(value, list):
        return [without_prose(part) for part in value]
    if not isinstance(value, dict):
        return value
    kept = {key: part for key, part in value.items() if not (key in PROSE and isinstance(part, str))}
    return {key: without_prose(part) for key, part in kept.items()}


# ---- comparing

SURFACES: Final[dict[str, Callable[[Path], Iterator[str]]]] = {
    "commands": command_lines,
    "exits": exit_lines,
    "routes": lambda folder: iter(sorted(route_lines(folder))),
    "openapi": openapi_lines,
    "decisions": template_decisions,
    "answers": command_answers,
}


def golden_file(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.txt")


def text_of(name: str, folder: Path) -> str:
    return "".join(f"{line}\n" for line in SURFACES[name](folder))


def written(name: str, folder: Path) -> str:
    """The text of a golden file; a value that differs between two runs is written as its type."""
    first, second = (text_of(name, folder / number) for number in ("first", "second"))
    pairs = zip(first.splitlines(), second.splitlines(), strict=True)
    return "".join(f"{line if line == other else typed(line)}\n" for line, other in pairs)


def difference(name: str, folder: Path) -> str:
    """What a golden file says otherwise, as a diff; empty where nothing."""
    return compared(name, golden_file(name).read_text(encoding="utf-8"), text_of(name, folder))


def compared(name: str, golden: str, now: str) -> str:
    """The diff of two texts, in which a value fits the golden file's `<type>`."""
    open_ = {(part, line.partition(" = ")[0]) for part, line in in_parts(golden) if TYPE.match(line)}
    shown = [typed(line) if (part, line.partition(" = ")[0]) in open_ else line for part, line in in_parts(now)]
    said = "now (if it is meant: python -m tests.golden --write)"
    return "\n".join(difflib.unified_diff(golden.splitlines(), shown, f"{name}.txt", said, n=1, lineterm=""))


def in_parts(text: str) -> Iterator[tuple[str, str]]:
    """The lines of a text, each with the line without indent that it stands below."""
    part = ""
    for line in text.splitlines():
        part = part if line.startswith("  ") else line.partition(":")[0]
        yield part, line
