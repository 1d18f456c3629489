"""The shape of the package: no module imports itself by way of others, and a long function is listed."""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from pathlib import Path

from scipy.sparse import lil_array
from scipy.sparse.csgraph import connected_components

from tests.architecture.sources import Module, all_modules

SHAPES = Path(__file__).with_name("shapes.toml")
LINES_MAX = 70  # of a function


def long_functions(modules: list[Module]) -> list[str]:
    """Functions of more than 70 lines, docstring included."""
    return sorted(
        f"{module.name}.{node.name}"
        for module in modules
        for node in module.nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno >= LINES_MAX
    )


def import_cycles(modules: list[Module]) -> list[list[str]]:
    """Modules that reach each other by imports that run, late ones included; the root package does not count."""
    names = sorted({module.name for module in modules} - {"shroff"})
    at = {name: number for number, name in enumerate(names)}
    graph = lil_array((len(names), len(names)), dtype=bool)
    for module in modules:
        for target in {known(target, at) for target in running_imports(module)} - {None}:
            if module.name in at:
                graph[at[module.name], at[target]] = True
    _, parts = connected_components(graph, connection="strong")
    found = defaultdict(list)
    for name, part in zip(names, parts, strict=True):
        found[part].append(name)
    return sorted(part for part in found.values() if len(part) > 1)


def known(target: str, names: dict[str, int]) -> str | None:
    """The module that an import loads: the dotted name, or what stands before its last dot."""
    return next((name for name in (target, target.rpartition(".")[0]) if name in names), None)


def running_imports(module: Module) -> set[str]:
    checked = [
        node
        for node in module.nodes
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    ]
    lines = {line for node in checked for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}
    found = set()
    for node in module.nodes:
        if isinstance(node, ast.ImportFrom) and node.module and node.lineno not in lines:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import) and node.lineno not in lines:
            found |= {alias.name for alias in node.names}
    return found


def test_no_module_imports_itself_by_way_of_others():
    assert import_cycles(all_modules()) == []


def test_a_function_above_70_lines_is_one_of_the_list():
    listed = tomllib.loads(SHAPES.read_text(encoding="utf-8"))["long_functions"]

    assert set(long_functions(all_modules())) <= set(listed), "make it shorter; the list only shrinks"


def planted(text: str, name: str = "shroff.attic.box") -> list[Module]:
    return [Module(name, is_package=False, text=text)]


def test_each_check_finds_what_is_planted_and_nothing_else():
    cycle = planted("def late():\n    from shroff.attic import lid", "shroff.attic.box")
    cycle += planted("import shroff.attic.box", "shroff.attic.lid")
    within = "def f():\n" + "    pass\n" * (LINES_MAX - 1)

    assert import_cycles(cycle) == [["shroff.attic.box", "shroff.attic.lid"]]
    assert import_cycles(cycle[:1]) == []
    assert long_functions(planted(f"{within}    pass\n")) == ["shroff.attic.box.f"]
    assert long_functions(planted(within)) == []
