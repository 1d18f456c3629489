"""The shape of the package: sizes of folders, classes and signatures. What exceeds a limit is listed, and shrinks."""

from __future__ import annotations

import ast
import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from scipy.sparse import lil_array
from scipy.sparse.csgraph import connected_components

from tests.architecture.sources import ROOT, Module, all_modules, imports

SHAPES = Path(__file__).with_name("shapes.toml")
MODULES_MAX = 20  # of a folder
METHODS_MAX, BASES_MAX = 20, 5  # of a class
OPTIONS = "shroff.app."  # functions whose keyword arguments with a default are options for people
PARAMETERS_MAX = 7  # of a function outside kernels
SHORT = 60  # lines: a shorter module has to say why it does not stand in its only user
KERNELS = (
    "shroff.features.kernels.",
    "shroff.features.batch.backfill",
    "shroff.models.trees.",
    "shroff.engine.kernels.",
)
ACTS = frozenset(
    "mapping monitoring pruning retraining scoring serving sorting streaming testing training".split()
)  # what the field itself calls by an act: ten, and no more
RIDDLE = re.compile(
    r"^(What (is|was|has|had|comes|came|leaves|left|stands) |Who |How all )"
    r"|\b(who(so)?ever|what somebody|who ask(s|ed)|(is|are|be) told)\b"
)
LOOPS = ast.For | ast.AsyncFor | ast.comprehension
LEEWAY = 0.9  # a count that fell below this part of its limit lowers it
SHOWN = 400  # of what is counted, where it is too many


def full_folders(modules: list[Module]) -> list[str]:
    sizes = Counter(module.name.rpartition(".")[0] for module in modules if not module.is_package)
    return [
        f"{folder}: {size}" for folder, size in sorted(sizes.items()) if size > MODULES_MAX and folder != "shroff.cli"
    ]


def classes(modules: list[Module]) -> Iterator[tuple[str, ast.ClassDef]]:
    for module in modules:
        for node in module.nodes:
            if isinstance(node, ast.ClassDef):
                yield f"{module.name}.{node.name}", node


def wide_classes(modules: list[Module]) -> list[str]:
    def methods(node: ast.ClassDef) -> int:
        return sum(isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef) for item in node.body)

    return sorted(name for name, node in classes(modules) if methods(node) > METHODS_MAX or len(node.bases) > BASES_MAX)


def wide_functions(modules: list[Module]) -> list[str]:
    """Functions with too many parameters; options of a project's calls, which a notebook shows, do not count."""
    found = []
    for module in modules:
        if module.name.startswith(KERNELS) or module.name.endswith("kernel"):
            continue
        for node in module.nodes:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                options = zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True)
                named = [name for name, default in options if default is None or not module.name.startswith(OPTIONS)]
                names = [*node.args.posonlyargs, *node.args.args, *named]
                if sum(name.arg not in {"self", "cls"} for name in names) > PARAMETERS_MAX:
                    found.append(f"{module.name}.{node.name}")
    return sorted(set(found))


def shared_class_names(modules: list[Module]) -> list[str]:
    names = Counter(node.name for _, node in classes(modules) if not node.name.startswith("_"))
    return sorted(name for name, count in names.items() if count > 1)


def short_modules(modules: list[Module]) -> list[str]:
    """Short modules but for commands, of which each has a file of its own, and lists of public names."""
    own = "shroff.cli.", "shroff.plugins."
    kept = (module for module in modules if not module.is_package and not module.name.startswith(own))
    return [module.name for module in kept if module.text.count("\n") < SHORT]


def abstract_stubs(modules: list[Module]) -> list[str]:
    return [
        f"{module.name}.{node.name}"
        for module in modules
        if module.name.startswith("shroff.app.")
        for node in module.nodes
        if isinstance(node, ast.FunctionDef)
        for decorator in node.decorator_list
        if "abstractmethod" in ast.dump(decorator)
    ]


def modules_in_ing(modules: list[Module]) -> list[str]:
    """Modules called by an act, where the field has a noun; packages count as well."""
    last = ((module.name, module.name.rpartition(".")[2]) for module in modules)
    return [name for name, word in last if word.endswith("ing") and word not in ACTS]


def loop_variables(modules: list[Module]) -> list[str]:
    """Loops whose variable does not say what it is, and any other variable named `one`."""
    return [
        f"{module.name}:{node.lineno}"
        for module in modules
        for nodes in (module.nodes,)
        for targets in ({id(name) for node in nodes if isinstance(node, LOOPS) for name in ast.walk(node.target)},)
        for node in nodes
        if (isinstance(node, ast.arg) and node.arg == "one")
        or (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id == "one")
        or (isinstance(node, ast.Name) and node.id == "found" and id(node) in targets)
    ]


def riddling_docstrings(modules: list[Module]) -> list[str]:
    """Docstrings whose first line is a riddle: a clause with `what` or `who`, or a person in place of a program."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    return [
        f"{module.name}: {text.splitlines()[0]}"
        for module in modules
        for node in module.nodes
        if isinstance(node, kinds) and (text := ast.get_docstring(node)) and RIDDLE.search(text.splitlines()[0])
    ]


def decision_pages(_: list[Module]) -> list[str]:
    return sorted(page.name for page in (ROOT / "docs" / "decisions").glob("0*.md"))


def used_from_other_rooms(modules: list[Module]) -> list[str]:
    """The modules that are imported from outside their room, plug-ins aside; fewer are easier to change.

    Declared operations do not count: pages and commands are there to render their answers.
    """
    ours = (module for module in modules if module.name.partition(".")[0] == "shroff")
    modules = [module for module in ours if not module.name.startswith("shroff.plugins")]
    names = {path.name for path in modules}
    found = set()
    for path in modules:
        for target in imports(path):
            name = target if target in names else target.rpartition(".")[0]
            if (
                name.startswith("shroff.")
                and not name.endswith("_operations")
                and name.count(".") > 1
                and name.split(".")[1] != [*path.name.split("."), ""][1]
            ):
                found.add(name)
    return sorted(found)


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


LISTS = {"wide_classes": wide_classes, "wide_functions": wide_functions, "import_cycles": import_cycles}
COUNTS = {
    "abstract_stubs": abstract_stubs,
    "decision_pages": decision_pages,
    "loop_variables": loop_variables,
    "modules_in_ing": modules_in_ing,
    "riddling_docstrings": riddling_docstrings,
    "shared_class_names": shared_class_names,
    "short_modules": short_modules,
    "used_from_other_rooms": used_from_other_rooms,
}


def listed():
    return tomllib.loads(SHAPES.read_text(encoding="utf-8"))


def test_no_folder_has_more_than_20_modules():
    assert full_folders(all_modules()) == []


@pytest.mark.parametrize("what", sorted(LISTS))
def test_what_is_too_wide_is_listed_and_the_list_only_shrinks(what):
    assert LISTS[what](all_modules()) == listed()[what], f"mend it, or take what is mended off {SHAPES.name}"


@pytest.mark.parametrize("what", sorted(COUNTS))
def test_a_count_never_grows(what):
    found, limit = COUNTS[what](all_modules()), listed()[what]

    assert len(found) <= limit, "\n".join([f"{len(found)} {what}:", *found[:SHOWN]])
    assert len(found) > limit * LEEWAY - 2, f"{len(found)} now: lower the limit in {SHAPES.name}, so that it stays won"


def test_the_two_tables_name_the_same():
    assert listed().keys() == LISTS.keys() | COUNTS.keys()


def planted(text: str, name: str = "shroff.attic.box") -> list[Module]:
    return [Module(name, is_package=False, text=text)]


def test_each_check_finds_what_is_planted():
    many = "\n".join(f"    def m{number}(self): ..." for number in range(METHODS_MAX + 1))
    cycle = planted("def late():\n    from shroff.attic import lid", "shroff.attic.box")
    cycle += planted("import shroff.attic.box", "shroff.attic.lid")

    assert full_folders([planted("", f"shroff.attic.m{number}")[0] for number in range(21)]) == ["shroff.attic: 21"]
    assert wide_classes(planted(f"class A:\n{many}")) == ["shroff.attic.box.A"]
    assert wide_classes(planted("class A(B, C, D, E, F, G): ...")) == ["shroff.attic.box.A"]
    assert wide_functions(planted("def f(a, b, c, d, e, f, *, g, h): ...")) == ["shroff.attic.box.f"]
    assert import_cycles(cycle) == [["shroff.attic.box", "shroff.attic.lid"]]
    assert shared_class_names(planted("class A: ...") + planted("class A: ...")) == ["A"]
    assert short_modules(planted("pass\n")) == ["shroff.attic.box"]
    assert short_modules(planted("pass\n", "shroff.cli.jar")) == []
    assert abstract_stubs(planted("class A:\n    @abstractmethod\n    def f(self): ...", "shroff.app.box"))
    shelf = planted("from shroff.cellar.shelf import jar") + planted("", "shroff.cellar.shelf")
    assert used_from_other_rooms(shelf) == ["shroff.cellar.shelf"]
    assert modules_in_ing(planted("", "shroff.attic.tidying") + planted("", "shroff.training")) == [
        "shroff.attic.tidying"
    ]
    assert sorted(
        loop_variables(planted("for number, one in a:\n    b = [found for found in c]\none = found = 1\n"))
    ) == ["shroff.attic.box:1", "shroff.attic.box:2", "shroff.attic.box:3"]
    assert riddling_docstrings(planted('"""What is told to whoever asks."""')) == [
        "shroff.attic.box: What is told to whoever asks."
    ]


def test_what_is_within_the_limits_is_not_found():
    modules = planted("class A(B):\n    def f(self, a, b, c, d, e, f, g): ...\n" + "\n" * SHORT)

    assert [check(modules) for check in LISTS.values()] == [[], [], []]
    assert (full_folders(modules), short_modules(modules), shared_class_names(modules)) == ([], [], [])
