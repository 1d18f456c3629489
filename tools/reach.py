"""The tests that a change can reach, nearest first: `python -m tools.reach [BASE]` lists them and says why.

A changed module reaches the tests that import it, directly or through others (`tools/imports.py`). Every file reaches
tests by the first row of `RULES` that fits its path. `python -m tools.suite --changed [BASE]` runs these tests.

A central module reaches nearly all tests, so the order counts: changed tests, those of the module's room that import
it, others that import it, those of its room, then all others. Among equals, a test that says more of the changed lines
comes first: that has more of their rare words.
"""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from tools.imports import ImportGraph, words_of

ROOT: Final = Path(__file__).parent.parent
MAIN: Final = "main"
# How near a test is to a change; nearer tests run first.
CHANGED, OWN, IMPORTS, ROOM, THROUGH, NAMES, EACH_RUN = range(7)
LINES_NEAR: Final = 2  # lines around a changed one whose words count
CHAIN_MAX: Final = 4  # modules that a line shows
TEXTS: Final = frozenset({".html", ".jinja", ".j2", ".sql", ".toml", ".css", ".js", ".json", ".txt"})


HUNK: Final = re.compile(r"@@ -\S+ \+(\d+)(?:,(\d+))? @@")


class Reach(NamedTuple):
    """How a change reaches a test; the order of these is the order of the run."""

    nearness: int
    strangeness: float  # 0 less what the test's words share with those of the changed lines
    distance: int  # imports between
    size: int  # modules that the test imports
    test: str  # its file, from the root
    why: str


class Target(NamedTuple):
    """What a changed file reaches: tests that import some modules, tests by themselves, or all tests."""

    why: str
    modules: frozenset[str] = frozenset()
    tests: frozenset[str] = frozenset()
    is_all: bool = False


class Plan(NamedTuple):
    """The tests that a change reaches, nearest first."""

    changed: Mapping[str, str]  # why each changed file reaches what it does
    reached: Sequence[Reach]
    n_tests: int  # files of tests there are

    @property
    def tests(self) -> list[str]:
        return [reach.test for reach in self.reached]

    def lines(self) -> Iterator[str]:
        """Say what changed, and why each folder of tests is taken."""
        for path, why in self.changed.items():
            yield f"  {path}: {why}"
        yield f"{len(self.reached)} of {self.n_tests} files of tests, nearest first:"
        folders = defaultdict[str, list[Reach]](list)
        for reach in self.reached:
            folders[str(PurePosixPath(reach.test).parent)].append(reach)
        for folder, found in folders.items():
            yield f"  {folder} ({len(found)}): {PurePosixPath(found[0].test).name} {found[0].why}"


def all_tests(graph: ImportGraph, path: str, *, why: str) -> Target:
    """Reach all tests; first those that import the file, if it is a module."""
    module = graph.module_of(path)
    return Target(f"all tests: {why}", frozenset({module} if module else ()), is_all=True)


def module(graph: ImportGraph, path: str) -> Target:
    """Reach what imports a module; if it is gone, what imports its package, since its importers changed, too."""
    if found := graph.module_of(path):
        return Target("tests that import it, and tests that read sources", frozenset({found}), naming(graph, "src"))
    package = package_of(graph, path)
    return Target(f"it is gone: tests that import {package}", frozenset(graph.below(package)), naming(graph, "src"))


def data_file(graph: ImportGraph, path: str) -> Target:
    """Reach the modules of its package that name a file of data, or a file of data that names it.

    So a template reaches its page, and a file of SQL its store. A file that nobody names reaches its whole package.
    """
    package = package_of(graph, path)
    folder = graph.root / "src" / package.replace(".", "/")
    texts = {file: file.read_text("utf-8", "replace") for file in folder.rglob("*") if file.suffix in TEXTS}
    names = {PurePosixPath(path).name}
    while more := {file.name for file, text in texts.items() if any(name in text for name in names)} - names:
        names |= more
    stems = {name.partition(".")[0] for name in names} | {PurePosixPath(path).parent.name}
    found = {
        each
        for each in graph.below(package)
        if any(text in stems or PurePosixPath(text).name in names for text in graph.sources[each].texts)
    }
    why = "tests that import what names it" if found else f"nothing names it: tests that import {package}"
    readers = naming(graph, PurePosixPath(path).name) | naming(graph, "src")
    return Target(why, frozenset(found or graph.below(package)), readers)


def folders(graph: ImportGraph, path: str, *, of: Sequence[str]) -> Target:
    """Reach some folders of tests, tests that name the file or its top folder, and what imports it."""
    top = path.partition("/")[0]
    found = {test for test in graph.tests if test.startswith(tuple(f"tests.{name}." for name in of))}
    why = f"{', '.join(f'tests/{name}' for name in of)}, and tests that name {top}"
    own = graph.module_of(path)
    return Target(why, frozenset({own} if own else ()), naming(graph, top) | found)


def test_data(graph: ImportGraph, path: str) -> Target:
    """Reach the tests of the folder in which a file of data is, and tests that name it."""
    folder = str(PurePosixPath(path).parent).replace("/", ".")
    found = {test for test in graph.tests if test.startswith(f"{folder}.")}
    if not found:
        return all_tests(graph, path, why="no test is beside it")
    return Target("tests of its folder, and tests that name it", tests=naming(graph, PurePosixPath(path).name) | found)


def commands(graph: ImportGraph, _path: str) -> Target:
    """Reach what imports the table of commands."""
    return Target("tests that import shroff.operations.manifest", frozenset({"shroff.operations.manifest"}))


# The first row whose expression fits a changed path says what it reaches.
RULES: Final[Sequence[tuple[str, Callable[[ImportGraph, str], Target]]]] = (
    (r"src/shroff/__init__\.py", partial(all_tests, why="each import runs it")),
    (r"src/.*\.py", module),
    (r"src/shroff/operations/commands\.txt", commands),
    (r"src/shroff/(templates|tutorial)/.*", partial(all_tests, why="most projects of tests begin with it")),
    (r"src/.*", data_file),
    (r"tests/(.*/)?conftest\.py", partial(all_tests, why="it prepares them")),
    (r"tests/(support|bin)/.*", partial(all_tests, why="they share it")),
    (r"tests/golden/.*", partial(all_tests, why="golden files hold what others rely on")),
    (r"tests/.*\.py", module),
    (r"tests/.*", test_data),
    (r"tools/servers/.*", partial(all_tests, why="their servers come from it")),
    (r"tools/.*", partial(folders, of=["tools"])),
    (r"deploy/.*", partial(folders, of=["deploy"])),
    (r"docs/.*", partial(folders, of=["docs"])),
    (r"examples/.*", partial(folders, of=["examples"])),
    (r"clients/.*", partial(folders, of=["clients"])),
    (r"verify/.*", partial(folders, of=["proofs"])),
    (r"bench/.*", partial(folders, of=["examples"])),
    (r"[A-Z]+\.md|LICENSE", partial(folders, of=["docs", "architecture"])),
    (r"Makefile|\.ci/.*|\.github/.*|\..*", partial(folders, of=["tools", "deploy", "architecture"])),
    (r"pyproject\.toml|requirements/.*|hatch_build\.py", partial(all_tests, why="what is installed comes from it")),
    (r".*", partial(all_tests, why="no rule fits it")),
)


Lines = Mapping[str, Collection[int]]  # the changed lines of each file


def plan(graph: ImportGraph, changed: Sequence[str], lines: Lines | None = None) -> Plan:
    """Return the tests that changed files reach, nearest first."""
    best: dict[str, Reach] = {}
    reasons = {}
    for path in changed:
        target = target_of(graph, path)
        reasons[path] = target.why
        shared = shared_words(graph, path, (lines or {}).get(path, ()))
        for reach in reached(graph, path, target, shared):
            best[reach.test] = min(reach, best.get(reach.test, reach))
    return Plan(reasons, sorted(best.values()), len(graph.tests))


def target_of(graph: ImportGraph, path: str) -> Target:
    """Return what a changed file reaches, by the first row of RULES that fits."""
    return next(rule(graph, path) for pattern, rule in RULES if re.fullmatch(pattern, path))


def reached(graph: ImportGraph, path: str, target: Target, shared: Mapping[str, float]) -> Iterator[Reach]:
    """Yield how a changed file reaches each test.

    Args:
        graph: Who imports whom.
        path: The changed file.
        target: What it reaches.
        shared: How much each test says of the changed lines.
    """
    distance, towards = graph.distances(target.modules)
    rooms = {room_of(module) for module in target.modules}
    is_each_run = target.is_all or bool(target.modules & graph.of_each_run)
    for test in graph.tests:
        away = distance.get(test, len(graph.paths))
        file = graph.paths[test].relative_to(graph.root).as_posix()
        nearness = nearness_of(away, is_in_room=room_of(test) in rooms)
        if test in distance:
            why = f"imports {chain(test, towards)}" if away else "changed"
        elif test in target.tests:
            nearness, why = NAMES, f"is taken with {path}"
        elif is_each_run:
            nearness, why = EACH_RUN, f"runs with {path}"
        else:
            continue
        yield Reach(nearness, -shared.get(test, 0.0), away, graph.sizes[test], file, why)


def nearness_of(distance: int, *, is_in_room: bool) -> int:
    """Return how near a test is that reaches a changed module over so many imports."""
    if distance == 0:
        return CHANGED
    if distance == 1:
        return OWN if is_in_room else IMPORTS
    return ROOM if is_in_room else THROUGH


def room_of(module: str) -> str:
    """Return the room of a module or of its tests: `log` for `shroff.log.writer` and for `tests.log.test_writer`."""
    return module.partition(".")[2].partition(".")[0]


def shared_words(graph: ImportGraph, path: str, lines: Collection[int]) -> Mapping[str, float]:
    """Return how much each test says of the changed lines of a module: the sum of the words that both have.

    A word counts as the inverse of the number of tests that have it, so common ones hardly count.
    """
    module = graph.module_of(path)
    if not module or not lines:
        return {}
    text = graph.paths[module].read_text("utf-8")
    rows = text.splitlines()
    near = {row for line in lines for row in range(line - LINES_NEAR, line + LINES_NEAR + 1) if 0 < row <= len(rows)}
    names = {name for start, end, name in functions(text) if any(start <= line <= end for line in lines)}
    said = words_of("\n".join([*(rows[row - 1] for row in near), *names]))
    weight = {word: 1 / len(tests) for word in said if (tests := graph.tests_by_word.get(word))}
    shared = defaultdict[str, float](float)
    for word, value in sorted(weight.items()):
        for test in graph.tests_by_word[word]:
            shared[test] += value
    return shared


def functions(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the first and last line and the name of each function and class."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.lineno, node.end_lineno or node.lineno, node.name


def chain(test: str, towards: Mapping[str, str]) -> str:
    """Name the modules between a test and what changed, the changed one last."""
    steps = []
    while test in towards:
        test = towards[test]
        steps.append(test)
    if len(steps) > CHAIN_MAX:
        steps[CHAIN_MAX - 1 : -1] = ["..."]
    return " > ".join(steps)


def package_of(graph: ImportGraph, path: str) -> str:
    """Return the nearest package above a file that has modules."""
    parts = path.removeprefix("src/").split("/")[:-1]
    while len(parts) > 1 and not graph.below(".".join(parts)):
        parts.pop()
    return ".".join(parts)


@lru_cache(maxsize=64)
def naming(graph: ImportGraph, name: str) -> frozenset[str]:
    """Return the tests that name a file or folder, themselves or in a module of tests that they import."""
    part = re.compile(rf"(?:^|[/\s]){re.escape(name)}(?:$|[/\s])")
    found = {module for module in graph.below("tests") if any(map(part.search, graph.sources[module].texts))}
    waiting = list(found - graph.of_each_run)
    while waiting:
        importers = {each for each in graph.importers.get(waiting.pop(), ()) if each.startswith("tests.")} - found
        found |= importers
        waiting += importers
    return frozenset(found & set(graph.tests))


def changed_files(root: Path, base: str = "") -> tuple[str, list[str]]:
    """Return the commit that a change began at, and the files that differ from it, with new ones.

    Args:
        root: The folder of the clone.
        base: A commit; without one that at which the branch left `main`, or the last one if it stands there.
    """
    if not base:
        left = git(root, "merge-base", "HEAD", MAIN, check=False)
        base = left[0] if left and left != git(root, "rev-parse", "HEAD") else "HEAD~1"
    (commit,) = git(root, "rev-parse", "--short", f"{base}^{{commit}}")
    differing = git(root, "diff", "--name-only", "--no-renames", commit)
    return commit, sorted({*differing, *git(root, "ls-files", "--others", "--exclude-standard")})


def changed_lines(root: Path, commit: str) -> dict[str, set[int]]:
    """Return the lines of each file that differ from a commit, as they are numbered now."""
    found = defaultdict[str, set[int]](set)
    path = ""
    for line in git(root, "diff", "--unified=0", "--no-renames", "--no-prefix", commit):
        if line.startswith("+++ "):
            path = line.removeprefix("+++ ")
        elif match := HUNK.match(line):
            start, count = int(match[1]), int(match[2] or 1)
            found[path].update(range(start, start + max(count, 1)))
    found.pop("/dev/null", None)  # of files that are gone
    return dict(found)


def git(root: Path, *words: str, check: bool = True) -> list[str]:
    """Return the lines that a command of git prints."""
    said = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=False)
    if check and said.returncode:
        sys.exit(f"git {' '.join(words)}: {said.stderr.strip()}")
    return said.stdout.splitlines()


def main() -> int:
    """Print the tests that a change reaches, and why."""
    parser = argparse.ArgumentParser(prog="python -m tools.reach", description=__doc__.splitlines()[0])
    parser.add_argument("base", nargs="?", default="", help="a commit; otherwise where the branch left main")
    parser.add_argument("--files", nargs="+", help="as if these files had changed")
    parser.add_argument("--list", action="store_true", help="only the tests, one a line")
    asked = parser.parse_args()
    commit, changed = ("", asked.files) if asked.files else changed_files(ROOT, asked.base)
    found = plan(ImportGraph(ROOT), changed, changed_lines(ROOT, commit) if commit else None)
    if asked.list:
        print(*found.tests, sep="\n")
        return 0
    print(f"{len(changed)} changed files{f' since {commit}' if commit else ''}:")
    print(*found.lines(), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
