"""Terraform's files as Python values: texts without their quotes, expressions as `${...}`, blocks by type and name."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hcl2
from lark.exceptions import LarkError

NOISE = ("__is_block__", "__comments__", "__inline_comments__")


class HclError(Exception):
    """A file that is no HCL."""


@dataclass
class Module:
    """The `.tf` files of one folder.

    Args:
        resources: Bodies by type and name; `ephemeral.` and `data.` stand before the types of these.
        text: Of all files, to look for references.
    """

    resources: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    variables: dict[str, dict[str, Any]] = field(default_factory=dict)
    outputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    locals: dict[str, Any] = field(default_factory=dict)
    modules: dict[str, dict[str, Any]] = field(default_factory=dict)
    terraform: list[dict[str, Any]] = field(default_factory=list)
    text: str = ""

    def of(self, *types: str) -> dict[str, dict[str, Any]]:
        """The resources of some types, by `type.name`."""
        return {f"{kind}.{name}": body for (kind, name), body in self.resources.items() if kind in types}

    def one(self, address: str) -> dict[str, Any]:
        kind, _, name = address.rpartition(".")
        return self.resources.get((kind, name), {})


def read(folder: Path) -> Module:
    """The module in a folder. Raises: HclError."""
    found = Module()
    for path in sorted(folder.glob("*.tf")):
        text = path.read_text(encoding="utf-8")
        found.text += text
        for kind, blocks in parsed(text, path.name).items():
            for block in blocks:
                _take(found, kind, block)
    return found


def _take(found: Module, kind: str, block: dict[str, Any]) -> None:
    if kind == "locals":
        found.locals |= block
    elif kind == "terraform":
        found.terraform.append(block)
    elif kind in {"variable", "output", "module"}:
        getattr(found, f"{kind}s").update(block)
    elif kind in {"resource", "data", "ephemeral"}:
        for type_, named in block.items():
            for name, body in named.items():
                found.resources[type_ if kind == "resource" else f"{kind}.{type_}", name] = body
    elif kind != "provider":
        raise HclError(f"{kind}: no such block is used here")


@functools.cache
def parsed(text: str, name: str) -> dict[str, Any]:
    """The blocks of a file. Parsed once for each text: a planted fault changes one file of many."""
    try:
        found: dict[str, Any] = plain(hcl2.loads(text))
    except LarkError as error:
        raise HclError(f"{name}: it is no HCL: {str(error).splitlines()[0]}") from None
    return found


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items() if key not in NOISE}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, str) and len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]
        if here := re.match(r"<<-?(\w+)\n(?s:(.*?))\n?\s*\1\Z", value):
            return here[2]
        return value.replace('\\"', '"')
    return value


def words(value: Any) -> list[str]:
    """Every text inside a value."""
    if isinstance(value, dict):
        return [text for item in value.values() for text in words(item)]
    if isinstance(value, list):
        return [text for item in value for text in words(item)]
    return [value] if isinstance(value, str) else []
