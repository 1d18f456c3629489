"""Examples in docstrings return what they show, and the names in docstrings and comments lead somewhere."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
from collections import defaultdict
from functools import cache

import pytest

from tests.architecture.sources import ROOT, Module, all_modules, texts
from tests.architecture.test_secrets import tracked

WITH_EXAMPLES = [source.name for source in texts() if ">>> " in source.text]


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_the_examples_of_a_module_give_what_they_show(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)

    assert result.attempted > 0
    assert result.failed == 0


# ---- names in docstrings lead somewhere

DOTTED = re.compile(r"`([A-Za-z_]\w*(?:\.\w+)+)(?:\([^`]*\))?`")
FILES = {"c", "csv", "exe", "json", "parquet", "py", "sql", "txt", "yaml", "yml"}
COMMENT = re.compile(r"(?m)(?:^|\s)# (.+)$")
CODE_FILE = re.compile(r"(?<![\w./-])((?:[\w-]+/)*\w+\.(?:py|md))\b(?!/)")
DECISION = re.compile(r"\b[Dd]ecisions? (\d{4})\b")
# What is no name of Python: fields, features and columns of the language's examples, acts of the audit log, hosts.
OF_EXAMPLES = frozenset(
    "card country entity features fields label list object of payment row sinks sns this type user".split()
)

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


@cache
def prose(module):
    """The docstrings of a module, except those of settings, and its comments."""
    documented = [
        node
        for node in module.nodes
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not is_of_settings(module, node)
    ]
    return [ast.get_docstring(node) or "" for node in documented] + COMMENT.findall(module.text)


def aliases(module):
    """Full names of what a module imports under another name, such as `pyarrow` of `pa`."""
    imports = [node for node in module.nodes if isinstance(node, ast.Import | ast.ImportFrom)]
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in imports
        for alias in node.names
    }


def unresolved(modules, names):
    found = []
    for module in modules:
        wrong = {
            dotted for text in prose(module) for dotted in DOTTED.findall(text) if not names.leads_somewhere(dotted)
        }
        full_names = aliases(module) if wrong else {}
        for dotted in sorted(wrong):
            first, _, rest = dotted.partition(".")
            if first not in full_names or not is_imported([*full_names[first].split("."), *rest.split(".")]):
                found.append(f"{module.name}: {dotted}")
    return found


@cache
def other_modules():
    """The modules of tests, benches and tools, which are not part of the package."""
    paths = [path for folder in ("tests", "bench", "tools") for path in (ROOT / folder).rglob("*.py")]
    parts = {path: [*path.relative_to(ROOT).with_suffix("").parts] for path in sorted(paths)}
    return [
        Module(".".join(part for part in names if part != "__init__"), is_package=False, text=path.read_text())
        for path, names in parts.items()
    ]


def test_every_dotted_name_in_a_docstring_or_comment_leads_somewhere():
    modules = all_modules()

    assert unresolved(modules, Names(modules)) == []


@pytest.mark.long  # parses all tests
def test_every_dotted_name_in_tests_benches_and_tools_leads_somewhere():
    names = Names([*all_modules(), *other_modules()])

    assert unresolved(other_modules(), names) == []


def missing_files(text, files, decisions):
    """Files and decisions that a text names and that do not exist. A file is named by any end of its path."""
    named = [name for name in CODE_FILE.findall(text) if name not in files and "WORD" not in name]
    return named + [number for number in DECISION.findall(text) if number not in decisions]


def test_every_file_and_decision_that_prose_names_exists():
    paths = [path.relative_to(ROOT).parts for path in tracked(ROOT)]
    files = {"/".join(parts[start:]) for parts in paths for start in range(len(parts))}
    decisions = set(re.findall(r"\b\d{4}\b", (ROOT / "docs/decisions/index.md").read_text()))
    found = {
        f"{module.name}: {name}"
        for module in all_modules()
        for text in prose(module)
        for name in missing_files(text, files, decisions)
    }

    assert missing_files("see `attic.py`, cellar/attic.md, decision 9999", files, decisions) == [
        "attic.py",
        "cellar/attic.md",
        "9999",
    ]
    assert found == set()


def test_a_name_that_leads_nowhere_is_found():
    settings = 'class _Fence:\n    """A fence.\n\n    high: As `costs.review`.\n    """\nmapping_shape(_Fence)'
    text = (
        '"""See `box.lid`, `box.Lid.open`, `box.Lid.shut`, `ast.parse`, `ast.sparse`, `row.amount`, `log.db.yaml`."""'
        "\n# see `lid.hinge`"
    )
    modules = [
        Module("shroff.attic.box", is_package=False, text="class Base:\n    def open(self): ...\nclass Lid(Base): ..."),
        Module("shroff.attic.shelf", is_package=False, text=text),
        Module("shroff.attic.fence", is_package=False, text=settings),
    ]

    found = unresolved(modules, Names(modules))

    assert found == [f"shroff.attic.shelf: {name}" for name in ("ast.sparse", "box.Lid.shut", "box.lid", "lid.hinge")]
