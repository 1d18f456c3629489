"""The examples in docstrings give what they show, and the names in them lead somewhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections import defaultdict

import pytest

from tests.architecture.sources import Module, all_modules, texts

WITH_EXAMPLES = [source.name for source in texts() if ">>> " in source.text]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert result.attempted > 0
    assert result.failed == 0


# ---- names in docstrings lead somewhere

DOTTED = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)+)(?:\([^`]*\))?`")
FILES = {"csv", "exe", "json", "parquet", "sql", "txt", "yaml", "yml"}
# What is no name of Python: fields, features and columns of the language's examples, acts of the audit log, hosts.
OF_EXAMPLES = frozenset("card entity features fields label list object of payment row sinks sns this user".split())

ENTRY_POINTS = "shroff.settings"  # a group of pyproject.toml


class Names:
    """The names that some modules give: each module by every end of its own name, each class with its attributes."""

    def __init__(self, modules):
        self.modules, self.classes, bases = defaultdict(set), defaultdict(set), defaultdict(set)
        for module in modules:
            parts = module.name.split(".")
            blocks = [inner for node in module.tree.body if isinstance(node, ast.If) for inner in node.body]
            given = {name for node in [*module.tree.body, *blocks] for name in given_by(node)}
            for start in range(len(parts)):
                self.modules[".".join(parts[start:])] |= given
            for node in module.nodes:
                if isinstance(node, ast.ClassDef):
                    self.classes[node.name] |= {name for inner in ast.walk(node) for name in given_by(inner)}
                    bases[node.name] |= {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in node.bases}
        for _ in range(4):  # as deep as classes inherit
            for name, above in bases.items():
                self.classes[name] |= {given for base in above for given in self.classes.get(base, ())}

    def leads_somewhere(self, dotted):
        first, *rest = parts = dotted.split(".")
        if (
            dotted == ENTRY_POINTS
            or first in OF_EXAMPLES
            or first.isupper()
            or parts[-1].isupper()
            or parts[-1] in FILES
        ):
            return True
        if first in self.classes:
            return rest[0] in self.classes[first]
        for end in range(len(parts), 0, -1):
            if (given := self.modules.get(".".join(parts[:end]))) is not None:
                rest = parts[end:]
                is_there = not rest or rest[0] in given
                is_whole = len(rest) < 2 or rest[0] not in self.classes or rest[1] in self.classes[rest[0]]
                return (is_there and is_whole) or is_imported(parts)
        return is_imported(parts)


def given_by(node):
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
    elif isinstance(node, ast.Assign | ast.AnnAssign):
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            yield from (name.id for name in ast.walk(target) if isinstance(name, ast.Name))
            yield from (name.attr for name in ast.walk(target) if isinstance(name, ast.Attribute))


def is_imported(parts):
    """Whether it is something of the standard library or of another package."""
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ImportError:
            continue
        return all((found := getattr(found, name, None)) is not None for name in parts[end:])
    return False


def is_of_settings(module, node):
    """Whether it is the text of a mapping in a project file, whose names are those of the file."""
    return isinstance(node, ast.ClassDef) and f"mapping_shape({node.name})" in module.text


def unresolved(modules, names):
    return [
        f"{module.name}: {dotted}"
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not is_of_settings(module, node)
        for dotted in DOTTED.findall(ast.get_docstring(node) or "")
        if not names.leads_somewhere(dotted)
    ]


def test_every_dotted_name_in_a_docstring_leads_somewhere():
    modules = all_modules()

    assert unresolved(modules, Names(modules)) == []


def test_a_name_that_leads_nowhere_is_found():
    settings = 'class _Fence:\n    """A fence.\n\n    high: As `costs.review`.\n    """\nmapping_shape(_Fence)'
    text = (
        '"""See `box.lid`, `box.Lid.open`, `box.Lid.shut`, `ast.parse`, `ast.sparse`, `row.amount`, `log.db.yaml`."""'
    )
    modules = [
        Module("shroff.attic.box", is_package=False, text="class Base:\n    def open(self): ...\nclass Lid(Base): ..."),
        Module("shroff.attic.shelf", is_package=False, text=text),
        Module("shroff.attic.fence", is_package=False, text=settings),
    ]

    found = unresolved(modules, Names(modules))

    assert found == [f"shroff.attic.shelf: {name}" for name in ("box.lid", "box.Lid.shut", "ast.sparse")]
