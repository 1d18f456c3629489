"""The page of the reference with the names that plug-ins may import, made from `shroff.plugins`."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Final

from docs.made_files import MADE, markdown_table
from shroff import plugins
from shroff.language.keys import Key
from shroff.operations import manifest
from shroff.operations.declaration import OPERATIONS

HEAD: Final = """# Public names for plug-ins

A plug-in imports only these modules of `shroff.plugins`, and `shroff.errors`, `shroff.webhooks`, `shroff.client`,
`shroff.testing.contracts` and `shroff.open`. All other names may change without notice. The docstring of each name
gives shapes, units and errors: `python -m pydoc shroff.plugins.log.LogReader` shows it. Times are milliseconds since
1970 in UTC and amounts whole numbers of the smallest unit, unless a name says otherwise.
[Write a plug-in](../howto/write-a-plugin.md) begins with an example, and [plug-ins](plugins.md) lists the entry points.
"""


def modules() -> list[str]:
    """The names of the public modules, sorted."""
    return sorted(f"{plugins.__name__}.{module.name}" for module in iter_modules(plugins.__path__))


def names_of(module: str) -> Iterator[str]:
    """The names that a public module has, in its order."""
    tree = ast.parse(Path(str(import_module(module).__file__)).read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            yield from (alias.asname or alias.name for alias in node.names)


def plugins_page() -> str:
    """The page of all public names with what they are."""
    text = f"{MADE}{HEAD}"
    for module in modules():
        value = import_module(module)
        rows = [(f"`{name}`", what_of(getattr(value, name))) for name in sorted(names_of(module), key=str.lower)]
        text += f"\n## {module}\n\n{value.__doc__}\n\n{markdown_table(('name', 'what it is'), rows)}"
    return text


def what_of(value: object) -> str:
    """The first paragraph of a docstring; for a constant what it says of itself, or its value."""
    manifest.load_all()
    declared = [each for each in OPERATIONS.values() if each.request is value]
    if declared:
        return f"Request of `{declared[0].name}`. {declared[0].summary}"
    if inspect.isclass(value) or inspect.isfunction(value):
        return " ".join((value.__doc__ or "").partition("\n\n")[0].split())
    if words := getattr(value, "what", "") or getattr(value, "meaning", ""):
        return f"{words[:1].upper()}{words[1:].rstrip('.')}."
    if isinstance(value, tuple) and all(isinstance(key, Key) for key in value):
        return f"The keys {', '.join(f'`{key.name}`' for key in value)}."
    value = sorted(value) if isinstance(value, frozenset) else value  # whose order differs from run to run
    text = re.sub(r"\b(?:[a-z_]+\.)+(?=[A-Za-z])", "", str(value) if callable(value) else repr(value))
    return f"`{text}`"
