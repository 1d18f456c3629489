"""The modules of the package as trees, for the tests beside this file."""

from __future__ import annotations

import ast
import gc
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SRC = ROOT / "src"


@dataclass(frozen=True, slots=True)
class Module:
    """One module: its dotted name, its text and its tree."""

    name: str
    is_package: bool
    text: str

    @property
    def tree(self) -> ast.Module:
        return parsed(self.text)

    @property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All nodes of the tree, as `ast.walk` gives them."""
        return walked(self.text)


@cache
def parsed(text: str) -> ast.Module:
    """The tree of a text, made once: six tests look at every module."""
    return ast.parse(text)


@cache
def walked(text: str) -> tuple[ast.AST, ...]:
    """The nodes of a text's tree, walked through once: a walk takes ten times as long as a look at what it gave."""
    return tuple(ast.walk(parsed(text)))


def texts() -> list[Module]:
    """Every module of `shroff`, not parsed yet; what lies in templates/ is data that a user gets."""
    return [module(path) for path in sorted(SRC.rglob("*.py")) if "templates" not in path.parts]


@cache
def all_modules() -> list[Module]:
    """Every module of `shroff`, with its tree."""
    gc.disable()  # trees of all modules stay; looking through them again and again would take longer than making them
    found = texts()
    assert len(found) > 10, f"found only {len(found)} modules below {SRC}"
    for item in found:
        walked(item.text)
    gc.freeze()
    gc.enable()
    return found


def module(path: Path) -> Module:
    """Read one file as the module that it is imported as."""
    parts = path.relative_to(SRC).with_suffix("").parts
    is_package = parts[-1] == "__init__"
    name = ".".join(parts[:-1] if is_package else parts)
    return Module(name, is_package=is_package, text=path.read_text(encoding="utf-8"))


def imports(source: Module) -> set[str]:
    """The dotted names that a module imports, anywhere in it, relative ones resolved.

    `from a import b` counts as "a.b", since `b` may be a module.
    """
    names: set[str] = set()
    for node in source.nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = origin(source, node)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def origin(source: Module, node: ast.ImportFrom) -> str:
    """Where a `from ... import` looks, as a dotted name."""
    if node.level == 0:
        return node.module or ""
    up = node.level - 1 if source.is_package else node.level
    package = source.name.split(".")[: len(source.name.split(".")) - up]
    return ".".join([*package, *([node.module] if node.module else [])])
