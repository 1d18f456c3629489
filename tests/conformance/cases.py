"""The cases of the conformance suite, read from the folder that lies beside the repository, and ours beside them.

They are read as YAML nodes, since a number that goes into an event keeps its digits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tests.support.beside import SHARED, beside

FOLDER = SHARED / "conformance"
OWN = Path(__file__).parent / "own"
CASE_KEYS = {"case", "why", "timeline", "project", "input", "expect", "never"}
EVENT_KEYS = {
    "features",
    "rules",
    "shadow_rules",
    "flags",
    "outcome",
    "score",
    "reasons",
    "decided",
    "duplicate",
    "quarantined",
    "waiting",
    "untaken",
}
CHECK_KEYS = {"check", "errors", "warnings", "cost"}
PROBLEM_KEYS = {"file", "line", "column", "contains"}
FILE_KEYS = {"file", "text", "as", "labels", "columns", "rows"}
CHANGE = "project"
# The language's page names both values of a verdict since the suite was written, and `check` refuses this form.
ONE_VALUE = "'fraud' when row.Fraud == '1' else 'genuine'\""
BOTH_VALUES = "'fraud' when row.Fraud == '1' else 'genuine' when row.Fraud == '0'\""


class Core(yaml.CSafeLoader):
    """YAML 1.2's core schema, read by a C library: every worker of a run reads all cases before its first test."""

    yaml_implicit_resolvers: ClassVar = {}


for kind, pattern, begins in (
    ("null", r"null|Null|NULL|~|", ["n", "N", "~", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
):
    Core.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", re.compile(f"^(?:{pattern})$"), begins)


@dataclass(frozen=True)
class Case:
    """One case. `project` is laid over the base; `lines` is None where the input is a file or nothing.

    `expect` has an entry for each event, or is one mapping about `check`.
    """

    id: str
    project: Mapping[str, str | None]
    lines: tuple[tuple[str, Any], ...] | None
    file: Mapping[str, Any] | None
    expect: Any
    never: tuple[str, ...]

    @property
    def is_check(self) -> bool:
        return self.lines is None and self.file is None

    def files(self) -> dict[str, str]:
        """The project's files as the case begins."""
        return laid_over(base(), self.project)


def base() -> dict[str, str]:
    """The project that every case starts from."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(beside("conformance", "base").iterdir())}


def laid_over(files: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """The files with some of them changed; None takes one away."""
    merged: dict[str, str | None] = {**files, **changes}
    return {name: text for name, text in merged.items() if text is not None}


@cache
def all_cases() -> list[Case]:
    """Every case of the suite, by file and place."""
    return [
        case
        for path in [*sorted(FOLDER.glob("*.yaml")), *sorted(OWN.glob("*.yaml"))]
        for case in read_cases(path.stem, path.read_text(encoding="utf-8"))
    ]


def read_cases(stem: str, text: str) -> list[Case]:
    """The cases of one file. Raises: ValueError for a key that this runner does not know."""
    top = yaml.compose(text, Loader=Core)
    return [_case(stem, node) for node in top.value]


def _case(stem: str, node: MappingNode) -> Case:
    entries = {key.value: value for key, value in node.value}
    id_ = f"{stem}-{entries['case'].value}"
    _known(entries, CASE_KEYS, id_)
    written = entries.get("input")
    lines = file = None
    if isinstance(written, SequenceNode):
        lines = tuple(_line(item) for item in written.value)
    elif written is not None:
        file = _plain(written, _number)
        _known(file, FILE_KEYS, id_)
    expect = _plain(entries["expect"], _number)
    for case in [expect] if isinstance(expect, dict) else expect:
        _known(case, CHECK_KEYS if isinstance(expect, dict) else EVENT_KEYS, id_)
    for problem in [*expect.get("errors", ()), *expect.get("warnings", ())] if isinstance(expect, dict) else ():
        _known(problem, PROBLEM_KEYS, id_)
    project = _plain(entries["project"], _number) if "project" in entries else {}
    project = {name: text if text is None else text.replace(ONE_VALUE, BOTH_VALUES) for name, text in project.items()}
    never = _plain(entries["never"], _number) if "never" in entries else ()
    return Case(id_, project, lines, file, expect, tuple(never))


def _line(node: MappingNode) -> tuple[str, Any]:
    """One entry of the input: its type, and its fields with numbers as they are written."""
    ((key, value),) = node.value
    return key.value, _plain(value, _token)


def _known(found: Mapping[str, Any], known: set[str], case: str) -> None:
    unknown = sorted(set(found) - known)
    if unknown:
        raise ValueError(f"{case}: this runner does not know {', '.join(unknown)}")


def _plain(node: Node, number: Callable[[str], object]) -> Any:
    if isinstance(node, MappingNode):
        return {str(_plain(key, str)): _plain(value, number) for key, value in node.value}
    if isinstance(node, SequenceNode):
        return [_plain(item, number) for item in node.value]
    assert isinstance(node, ScalarNode)
    kind = node.tag.rpartition(":")[2]
    if kind == "null":
        return None
    if kind == "bool":
        return node.value == "true"
    return number(node.value) if kind in {"int", "float"} else str(node.value)


def _token(text: str) -> msgspec.Raw:
    """A number as a JSON token with its digits. Raises: msgspec.DecodeError where it is none."""
    msgspec.json.decode(text)
    return msgspec.Raw(text.encode())


def _number(text: str) -> int | float:
    return int(text) if text.lstrip("-").isdigit() else float(text)
