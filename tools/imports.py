"""The import graph of src, tests, tools and bench, with the modules that are loaded by name: `ImportGraph`.

grimp, which import-linter uses, sees imports inside functions, too. What it cannot see stands in the tables below.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

import grimp

PACKAGES: Final = ("shroff", "shroff_plugins", "tests", "tools", "bench", "docs")
# Packages that load all their modules, by walking through them.
WALKS: Final[Mapping[str, tuple[str, ...]]] = {
    "shroff.web.table": ("shroff.web.api", "shroff.web.pages"),
    "tests.laws.test_projects": ("tests.laws",),
}
# Modules that load others by the end of their names: `links.operations:Links` in `services.parts` is below `services`.
PREFIXES: Final[Mapping[str, str]] = {"shroff.services.parts": "shroff.services."}
LOADS_ALL_COMMANDS: Final = ("shroff.web.api.operations", "shroff.services.jobs.kinds")
MANIFEST: Final = "shroff.operations.manifest"
COMMANDS: Final = "src/shroff/operations/commands.txt"
ENTRY_POINTS: Final = "shroff.runtime.entry_points"
PROGRAM: Final = "shroff.__main__"
FORKS: Final = frozenset({"tests.support.forks", "tests.support.served"})  # from which tests start the program
SHROFF: Final = frozenset({"SHROFF", "PYTHON"})  # the names of the program there
# Tests of scripts and pages that start any command.
STARTING: Final = ("tests.clients.", "tests.deploy.", "tests.docs.test_pages", "tests.examples.")
CONFTEST: Final = "tests.conftest"
DOTTED: Final = re.compile(rf"\b(?:{'|'.join(PACKAGES)})(?:\.\w+)+")
PART: Final = re.compile(r"([\w.]+):\w+")
NAME: Final = re.compile(r"[A-Za-z_]\w+")
WORD_MIN: Final = 4  # letters
LINE: Final = re.compile(r"(?:^|[\s\"'])shroff(?: -C \S+)? ([a-z-]+)", re.MULTILINE)


class Source(NamedTuple):
    """What a module's text says beyond its imports."""

    texts: frozenset[str]  # constants, without docstrings
    names: frozenset[str]  # variables and attributes


class ImportGraph:
    """Who imports whom, and who loads whom by name. Building it takes about five seconds.

    Args:
        root: The folder of the clone.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        sys.path[:0] = [str(root), str(root / "src")]  # grimp looks for packages as an import does
        self._grimp = grimp.build_graph(
            *PACKAGES, cache_dir=str(root / ".pytest_cache" / "grimp"), exclude_type_checking_imports=True
        )
        self.modules = self._grimp.modules
        self.paths = {module: path for module in self.modules if (path := self._path(module)) is not None}
        self.tests = sorted(
            module
            for module in self.paths
            if module.startswith("tests.") and module.rpartition(".")[2].startswith("test_")
        )

    def module_of(self, path: str) -> str | None:
        """Return the module of a file, named from the root; None if there is none in the graph."""
        if not path.endswith(".py"):
            return None
        module = path.removeprefix("src/").removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        return module if module in self.paths else None

    def below(self, package: str) -> list[str]:
        """Return the modules of a package, with itself."""
        return sorted(module for module in self.paths if module == package or module.startswith(f"{package}."))

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """Texts and names of each module."""
        return {module: read_source(path) for module, path in self.paths.items()}

    @cached_property
    def imported_by(self) -> Mapping[str, frozenset[str]]:
        """What each module imports, or loads by name."""
        found: dict[str, set[str]] = {}
        for module in self.paths:
            parents = module.split(".")
            above = {".".join(parents[:end]) for end in range(2, len(parents))}  # their `__init__` runs before
            imports = self._grimp.find_modules_directly_imported_by(module)
            found[module] = {*imports, *(above & self.paths.keys()), *self._loaded_by_name(module)}
        for module, packages in WALKS.items():
            found.setdefault(module, set()).update(each for package in packages for each in self.below(package))
        if "tests.recovery.conftest" in self.paths:
            for test in self.below("tests.recovery"):
                found[test].add("tests.recovery.conftest")
        return {module: frozenset(imports & self.paths.keys() - {module}) for module, imports in found.items()}

    @cached_property
    def importers(self) -> Mapping[str, frozenset[str]]:
        """Who imports each module, or loads it by name."""
        found = defaultdict[str, set[str]](set)
        for module, imports in self.imported_by.items():
            for imported in imports:
                found[imported].add(module)
        return {module: frozenset(importers) for module, importers in found.items()}

    @cached_property
    def commands(self) -> Mapping[str, frozenset[str]]:
        """The modules of each command, by its first word."""
        found: dict[str, frozenset[str]] = {}
        for line in (self.root / COMMANDS).read_text("utf-8").splitlines():
            word, module, _ = re.split("  +", line)
            found[word] = frozenset({f"shroff.{module}", f"shroff.cli.{word.replace('-', '_')}"})
        for packages in self.entry_points.get("shroff.operations", {}).values():
            modules = frozenset(module for package in packages for module in self.below(package))
            found |= dict.fromkeys(self._words_of(packages), modules)
        return {word: modules & self.paths.keys() for word, modules in found.items()}

    @cached_property
    def entry_points(self) -> Mapping[str, Mapping[str, frozenset[str]]]:
        """The modules that entry points of pyproject.toml name, by group and name."""
        project = tomllib.loads((self.root / "pyproject.toml").read_text("utf-8"))["project"]
        return {
            group: {name: frozenset({value.partition(":")[0]}) for name, value in points.items()}
            for group, points in project["entry-points"].items()
        }

    @cached_property
    def of_each_run(self) -> frozenset[str]:
        """The modules that are imported with tests/conftest.py or the package, so in each run, but for late imports."""
        found = {CONFTEST, "shroff"}
        waiting = deque(found)
        while waiting:
            module = waiting.popleft()
            lines = self.paths[module].read_text("utf-8").splitlines()
            for imported in self._grimp.find_modules_directly_imported_by(module) & self.paths.keys() - found:
                details = self._grimp.get_import_details(importer=module, imported=imported)
                if any(not lines[detail["line_number"] - 1].startswith(" ") for detail in details):
                    found.add(imported)
                    waiting.append(imported)
        return frozenset(found)

    def distances(self, modules: Iterable[str]) -> tuple[dict[str, int], dict[str, str]]:
        """Return how many imports lie between each module and the nearest of these, and its next one on the way."""
        distance = dict.fromkeys(sorted(modules), 0)
        towards: dict[str, str] = {}
        waiting = deque(distance)
        while waiting:
            module = waiting.popleft()
            for importer in sorted(self.importers.get(module, ())):
                if importer not in distance:
                    distance[importer] = distance[module] + 1
                    towards[importer] = module
                    waiting.append(importer)
        return distance, towards

    @cached_property
    def sizes(self) -> Mapping[str, int]:
        """How many modules each test imports, through others, too; one that starts the program counts all modules."""
        starts = len(self.paths)
        return {
            test: len(self._grimp.find_upstream_modules(test)) + starts * (PROGRAM in self.imported_by[test])
            for test in self.tests
        }

    @cached_property
    def tests_by_word(self) -> Mapping[str, frozenset[str]]:
        """The tests that have each word, in their names and texts."""
        found = defaultdict[str, set[str]](set)
        for test in self.tests:
            for word in words_of(self.paths[test].read_text("utf-8")):
                found[word].add(test)
        return {word: frozenset(tests) for word, tests in found.items()}

    def _path(self, module: str) -> Path | None:
        folder = self.root / "src" if module.startswith("shroff") else self.root
        path = folder.joinpath(*module.split("."))
        found = (path.with_suffix(".py"), path / "__init__.py")
        return next((file for file in found if file.is_file()), None)

    def _loaded_by_name(self, module: str) -> Iterator[str]:
        texts, names = self.sources[module]
        for text in texts:
            for dotted in DOTTED.findall(text):
                yield from self._longest(dotted)
            if module in PREFIXES and (part := PART.fullmatch(text)):
                yield f"{PREFIXES[module]}{part[1]}"
        if ENTRY_POINTS in self._grimp.find_modules_directly_imported_by(module):
            yield from self._plugins_of(module, names)
        if module in LOADS_ALL_COMMANDS:
            yield from (each for modules in self.commands.values() for each in modules)
        if module.startswith("tests."):
            yield from self._started_by(module)

    def _longest(self, dotted: str) -> Iterator[str]:
        """Return the module of a name such as `shroff.log.writer.PAGE`."""
        while "." in dotted and dotted not in self.paths:
            dotted = dotted.rpartition(".")[0]
        if dotted in self.paths and "." in dotted:
            yield dotted

    def _plugins_of(self, module: str, names: frozenset[str]) -> Iterator[str]:
        """Yield the modules of the groups of entry points that a module names; all adapters if it names none."""
        constants = ast.parse(self.paths[ENTRY_POINTS].read_text("utf-8")).body
        groups = {
            target.id: node.value.value
            for node in constants
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
            for target in node.targets
            if isinstance(target, ast.Name) and isinstance(node.value.value, str)
        }
        tree = ast.parse(self.paths[module].read_text("utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names}
        named = {group for name, group in groups.items() if name in imported | names} or {"shroff.adapters"}
        for group in named:
            for modules in self.entry_points.get(group, {}).values():
                yield from modules

    def _started_by(self, module: str) -> Iterator[str]:
        """Yield the modules of the commands that a test starts, or calls by their words; all if it names none."""
        texts, names = self.sources[module]
        is_forking = FORKS & self._grimp.find_modules_directly_imported_by(module) and SHROFF & names
        is_script = module.startswith(STARTING)
        is_starting = is_script or bool(is_forking) or any(LINE.search(text) or text == "shroff" for text in texts)
        words = {word for text in texts for word in LINE.findall(text)} if is_starting else set[str]()
        if is_starting or self._calls_operations(module):
            words |= {text.split()[0] for text in texts if text[:1].isalpha()}
        if is_starting:
            yield PROGRAM
            words = (not is_script and words & self.commands.keys()) or set(self.commands)
        for word in words & self.commands.keys():
            yield from self.commands[word]

    def _calls_operations(self, module: str) -> bool:
        return MANIFEST in self._grimp.find_upstream_modules(module)

    def _words_of(self, modules: Iterable[str]) -> Iterator[str]:
        """Yield the words of commands that a plug-in's `OPERATIONS` adds."""
        for module in modules:
            for node in ast.walk(ast.parse(self.paths[module].read_text("utf-8"))):
                if isinstance(node, ast.Dict):
                    yield from (str(key.value) for key in node.keys if isinstance(key, ast.Constant))


def words_of(text: str) -> set[str]:
    """Return the identifiers and words of a text, with the parts of names such as `shadow_rules`; short ones not."""
    names = {name.strip("_").lower() for name in NAME.findall(text)}
    return {word for name in names for word in (name, *name.split("_")) if len(word) >= WORD_MIN}


def read_source(path: Path) -> Source:
    """Read the texts and names of a module."""
    texts, names = set[str](), set[str]()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                texts.add(node.value)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            node.value.value = None  # a docstring, which this walk reaches later
    return Source(frozenset(texts), frozenset(names))
