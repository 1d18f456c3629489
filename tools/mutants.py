"""Whether tests notice small faults: `python -m tools.mutants SEED` plants some and runs the tests they reach.

A seed draws places in the rooms of ROOMS, from each room in turn. Each mutant is planted in a clone of its own and
runs the tests that `tools.reach` names for its line, nearest first, until one fails or its minutes are over. A test
counts only if it passes without the mutant. Outcomes are kept in .pytest_cache/mutants.jsonl, and `--table` writes
those of a seed to bench/results/mutants.md.

These change nothing, by proof, and are never planted:
- a mutant whose module compiles to the same bytecode;
- annotations, and what stands below `if TYPE_CHECKING`;
- a default of a function without a body (a protocol, an overload), which nobody calls;
- a moved boundary between two values of which one is chosen (`a if a < b else b`): where they are equal, both are one.

Why no kept tool: mutmut puts a trampoline into each function, which numba cannot compile, and learns from a whole run
of the suite in one process which tests reach a mutant, while many tests here start the program as another process.
cosmic-ray runs one command for each mutant, and knows nothing of what reaches it.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from itertools import chain, pairwise, repeat
from pathlib import Path
from queue import SimpleQueue
from types import CodeType
from typing import Final, NamedTuple

from tools.imports import ImportGraph
from tools.reach import ROOT, git, plan

ROOMS: Final = (
    "src/shroff/features",
    "src/shroff/engine",
    "src/shroff/log",
    "src/shroff/rules",
    "src/shroff/cases",
    "src/shroff/backtest",
    "src/shroff_plugins/analytics",
    "src/shroff/people",
)
KEPT: Final = ROOT / ".pytest_cache" / "mutants.jsonl"
TABLE: Final = ROOT / "bench" / "results" / "mutants.md"
TURNED: Final = {
    ast.Eq: "!=", ast.NotEq: "==", ast.Is: "is not", ast.IsNot: "is", ast.In: "not in", ast.NotIn: "in",
    ast.Lt: ">=", ast.GtE: "<", ast.Gt: "<=", ast.LtE: ">",
}  # fmt: skip
MOVED: Final = {ast.Lt: "<=", ast.LtE: "<", ast.Gt: ">=", ast.GtE: ">"}
OPERATORS: Final = re.compile(r"==|!=|<=|>=|<|>|\bis\s+not\b|\bnot\s+in\b|\bis\b|\bin\b")
BATCHES: Final = (3, 5, 8, 20)  # files of tests in the first runs of a mutant; each later run has as many as the last
USUAL: Final = "not server and not long"  # those take longer than a mutant is worth
BELOW: Final = "## "  # what begins with it in the table's file was written by hand
MINUTE_S: Final = 60
FAILED: Final = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)


class Mutant(NamedTuple):
    """One small fault."""

    path: str
    line: int
    kind: str
    before: str  # the text from `start` on that is replaced
    after: str
    start: int  # characters in the file

    @property
    def name(self) -> str:
        return f"{self.path.removeprefix('src/')}:{self.line} {self.kind}: `{self.before}` to `{self.after}`"

    def planted(self, text: str) -> str:
        """Return the text of the module with the fault."""
        return text[: self.start] + self.after + text[self.start + len(self.before) :]


class Outcome(NamedTuple):
    """What became of a mutant."""

    mutant: Mutant
    is_found: bool
    test: str  # the first that failed, or how far the run came
    took_s: float


class Text:
    """A module's text, by the lines and bytes that syntax trees count in."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tree = ast.parse(text)
        self._lines = text.splitlines(keepends=True)
        self._starts = [0]
        for line in self._lines:
            self._starts.append(self._starts[-1] + len(line))

    @cached_property
    def choices(self) -> set[ast.expr]:
        """Comparisons of the two values of which they choose one."""
        return {
            node.test
            for node in ast.walk(self.tree)
            if isinstance(node, ast.IfExp)
            and isinstance(node.test, ast.Compare)
            and {ast.dump(node.body), ast.dump(node.orelse)}
            == {ast.dump(node.test.left), *map(ast.dump, node.test.comparators)}
        }

    def between(self, node: ast.expr, within: ast.expr) -> str:
        return self.text[self.start(node) : self.start(within)]

    def start(self, node: ast.expr) -> int:
        return self._offset(node.lineno, node.col_offset)

    def end(self, node: ast.expr) -> int:
        return self._offset(node.end_lineno or 0, node.end_col_offset or 0)

    def line_of(self, start: int) -> int:
        return self.text.count("\n", 0, start) + 1

    def _offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def mutants(path: str, source: str) -> list[Mutant]:
    """Return the faults that can be planted in a module, without those that change nothing."""
    text = Text(source)
    same = code_of(source)
    found = []
    for kind, start, before, after in sorted(changes(text)):
        mutant = Mutant(path, text.line_of(start), kind, before, after, start)
        if code_of(mutant.planted(source)) not in {None, same}:
            found.append(mutant)
    return found


def code_of(source: str) -> tuple[object, ...] | None:
    """Return the bytecode of a module, without lines and columns; None if it does not compile."""
    try:
        return _code(compile(source, "", "exec"))
    except SyntaxError:
        return None


def _code(code: CodeType) -> tuple[object, ...]:
    constants = [_code(each) if isinstance(each, CodeType) else (type(each), repr(each)) for each in code.co_consts]
    return (code.co_code, code.co_names, code.co_varnames, code.co_exceptiontable, *constants)


def changes(text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Yield the kind, place, old and new text of each fault that can be planted."""
    for node in relevant(text.tree):
        match node:
            case ast.Compare():
                yield from comparison_faults(node, text)
            case ast.BoolOp():
                yield from condition_faults(node, text)
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as operator, right=right) if not is_text(left, right):
                sign, other = ("+", "-") if isinstance(operator, ast.Add) else ("-", "+")
                start = text.text.index(sign, text.end(left), text.start(right))
                yield "sign", start, sign, other
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield "not lost", text.start(node), text.between(node, operand), ""
            case ast.Await(value=value):
                yield "await lost", text.start(node), text.between(node, value), ""
            case ast.FunctionDef() | ast.AsyncFunctionDef() if has_body(node):
                yield from default_faults(node, text)


def relevant(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes in which a fault can change something."""
    yield node
    for name, value in ast.iter_fields(node):
        is_for_types = name == "body" and isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if is_for_types or name in {"annotation", "returns"}:
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from relevant(child)


def comparison_faults(node: ast.Compare, text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Turn each operator, and move each boundary by one."""
    for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
        match = OPERATORS.search(text.text, text.end(left), text.start(right))
        if match is None:
            continue
        yield "comparison turned", match.start(), match[0], TURNED[type(operator)]
        if type(operator) in MOVED and node not in text.choices:
            yield "boundary moved", match.start(), match[0], MOVED[type(operator)]


def condition_faults(node: ast.BoolOp, text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Drop each part after the first, and let one be enough, or all be needed."""
    word, other = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
    for left, right in pairwise(node.values):
        between = text.text[text.end(left) : text.start(right)]
        if "#" in between or between.count("(") != between.count(")"):
            continue
        yield "condition dropped", text.end(left), text.text[text.end(left) : text.end(right)], ""
        yield "condition turned", text.text.index(word, text.end(left)), word, other


def default_faults(node: ast.FunctionDef | ast.AsyncFunctionDef, text: Text) -> Iterator[tuple[str, int, str, str]]:
    """Turn each default that is a truth value, and raise each number by one."""
    for default in (*node.args.defaults, *node.args.kw_defaults):
        if isinstance(default, ast.Constant) and isinstance(default.value, int):
            value = default.value
            other = str(not value) if isinstance(value, bool) else str(value + 1)
            yield "default changed", text.start(default), text.text[text.start(default) : text.end(default)], other


def has_body(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """Tell whether a function does anything."""
    return not all(isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) for line in node.body)


def is_text(*nodes: ast.expr) -> bool:
    """Tell whether a sum joins texts or lists."""
    kinds = (ast.JoinedStr, ast.List, ast.ListComp, ast.Tuple, ast.Dict)
    return any(
        isinstance(node, kinds) or (isinstance(node, ast.Constant) and isinstance(node.value, str | bytes))
        for node in nodes
    )


def drawn(root: Path, seed: int, count: int) -> list[Mutant]:
    """Return mutants that a seed draws: from each room in turn, a module by chance and a place in it by chance."""
    chance = random.Random(seed)  # noqa: S311 - a draw that a number repeats
    modules = {room: sorted((root / room).rglob("*.py")) for room in ROOMS}
    found = list[Mutant]()
    while len(found) < count:
        module = chance.choice(modules[ROOMS[len(found) % len(ROOMS)]])
        path = module.relative_to(root).as_posix()
        if (places := mutants(path, module.read_text("utf-8"))) and (one := chance.choice(places)) not in found:
            found.append(one)
    return found


class Clone:
    """A clone of this one, in which mutants are planted one at a time."""

    def __init__(self, folder: Path) -> None:
        self.root = folder
        subprocess.run(["git", "clone", "-q", "--shared", str(ROOT), str(folder)], check=True)
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
        beside = folder.with_name("shared")  # data that some tests read
        if (ROOT.parent / beside.name).is_dir() and not beside.exists():
            beside.symlink_to(ROOT.parent / beside.name)
        for kernel in (ROOT / "src").rglob("*.kernel"):
            target = folder / kernel.relative_to(ROOT)
            target.parent.mkdir(exist_ok=True)
            shutil.copy(kernel, target)

    def judge(self, mutant: Mutant, tests: Sequence[str], limit_s: float) -> Outcome:
        """Plant a mutant, run the tests until one fails, and take the mutant out again."""
        began_s = time.monotonic()
        file = self.root / mutant.path
        source = file.read_text("utf-8")
        waiting = deque(batches(tests))
        n_passed, is_over = 0, False
        while waiting and not is_over:
            batch = waiting.popleft()
            left_s = limit_s - (time.monotonic() - began_s)
            file.write_text(mutant.planted(source), "utf-8")
            try:
                failed = self.first_failure(batch, left_s) if left_s > 0 else ""
            finally:
                file.write_text(source, "utf-8")
            is_over = failed == ""
            if failed:
                took_s = time.monotonic() - began_s
                if self.first_failure([failed], limit_s) is None:
                    return Outcome(mutant, test=failed, took_s=took_s, is_found=True)
                # It fails without the mutant, too: go on with the files after its own.
                index = batch.index(failed.partition("::")[0])
                n_passed += index
                if after := batch[index + 1 :]:
                    waiting.appendleft(after)
            elif not is_over:
                n_passed += len(batch)
        far = f"{n_passed} of {len(tests)} files of tests pass"
        return Outcome(mutant, test=far, took_s=time.monotonic() - began_s, is_found=False)

    def first_failure(self, tests: Sequence[str], limit_s: float) -> str | None:
        """Return the first test that fails; None if all pass, an empty text if the time is over."""
        command = [".venv/bin/python", "-m", "pytest", "-q", "-x", "-p", "no:randomly", "-p", "no:cacheprovider"]
        command += ["-m", USUAL, f"--basetemp={self.root.parent / self.root.name}-files", *tests]
        environment = os.environ | {"PYTHONPATH": str(self.root / "src"), "COLUMNS": "1000"}
        with tempfile.TemporaryFile("w+") as said:
            process = subprocess.Popen(
                command, cwd=self.root, env=environment, stdout=said, stderr=said, start_new_session=True
            )
            try:
                status = process.wait(limit_s)
            except subprocess.TimeoutExpired:
                return ""
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            if status in {0, 5}:  # 5: no test was selected
                return None
            said.seek(0)
            match = FAILED.search(said.read())
            return match[1] if match else tests[0]


def batches(tests: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut the tests into few that begin soon, and more after them."""
    start = 0
    for size in chain(BATCHES, repeat(BATCHES[-1])):
        if start >= len(tests):
            return
        yield tests[start : start + size]
        start += size


def main() -> int:
    """Plant mutants, run what they reach, and write the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("seed", type=int)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--skip", type=int, default=0, help="of those that the seed draws, so many at the beginning")
    parser.add_argument("--minutes", type=float, default=4, help="for each mutant")
    parser.add_argument("--jobs", type=int, default=2, help="mutants at the same time")
    parser.add_argument("--only", action="append", default=[], help="PATH:LINE instead of what the seed draws")
    parser.add_argument("--list", action="store_true", help="plant nothing")
    parser.add_argument("--table", action="store_true", help="plant nothing, and write what became of the mutants")
    asked = parser.parse_args()
    planted = drawn(ROOT, asked.seed, asked.skip + asked.count)[asked.skip :]
    if asked.only:
        planted = [mutant for place in asked.only for mutant in at_line(ROOT, place)]
    if asked.list:
        print(*(mutant.name for mutant in planted), sep="\n")
        return 0
    if asked.table:
        write_table(kept(planted), f"seed {asked.seed}")
        return 0
    judge_all(planted, asked.jobs, asked.minutes * MINUTE_S)
    return 0


def at_line(root: Path, place: str) -> list[Mutant]:
    """Return all faults that can be planted in a line."""
    path, _, line = place.rpartition(":")
    return [mutant for mutant in mutants(path, (root / path).read_text("utf-8")) if mutant.line == int(line)]


def judge_all(planted: Sequence[Mutant], jobs: int, limit_s: float) -> None:
    """Judge mutants, so many at the same time; print and keep what became of each."""
    graph = ImportGraph(ROOT)
    reached = {
        mutant: plan(graph, [mutant.path], {mutant.path: [mutant.line]}).tests for mutant in dict.fromkeys(planted)
    }
    with tempfile.TemporaryDirectory(prefix="shroff-mutants-") as folder, ThreadPoolExecutor(jobs) as threads:
        clones: SimpleQueue[Clone] = SimpleQueue()
        for number in range(jobs):
            clones.put(Clone(Path(folder) / f"clone-{number}"))

        def judge(mutant: Mutant) -> None:
            clone = clones.get()
            try:
                outcome = clone.judge(mutant, reached[mutant], limit_s)
            finally:
                clones.put(clone)
            state = "found" if outcome.is_found else "LIVES"
            print(f"{state} {outcome.took_s:.0f} s  {mutant.name}  {outcome.test}", flush=True)
            with KEPT.open("a", encoding="utf-8") as file:
                print(json.dumps([mutant.name, outcome.is_found, outcome.test]), file=file)

        list(threads.map(judge, planted))


def kept(planted: Sequence[Mutant]) -> list[tuple[Mutant, bool, str]]:
    """Return what became of these mutants, by the newest run of each."""
    lines = map(json.loads, KEPT.read_text("utf-8").splitlines())
    newest = {name: (is_found, test) for name, is_found, test in lines}
    return [(mutant, *newest[mutant.name]) for mutant in planted if mutant.name in newest]


def write_table(outcomes: Sequence[tuple[Mutant, bool, str]], draw: str) -> None:
    """Write what became of the mutants to bench/results/mutants.md; what stands below its table stays."""
    n_found = sum(is_found for _, is_found, _ in outcomes)
    (commit,) = git(ROOT, "rev-parse", "--short", "HEAD")
    rows = [
        f"| `{mutant.path.removeprefix('src/')}:{mutant.line}` | {mutant.kind} | `{cell(mutant.before)}` "
        f"| `{cell(mutant.after)}` | {'found' if is_found else '**lives**'} | {cell(test)} |"
        for mutant, is_found, test in outcomes
    ]
    lines = [
        "# Mutants",
        "",
        f"{datetime.now(UTC).date()}, commit {commit}, {draw}: tests found {n_found} of {len(outcomes)} small faults,",
        "planted one at a time by `python -m tools.mutants`.",
        "",
        "| place | fault | before | after | | first test that failed, or what ran |",
        "| --- | --- | --- | --- | --- | --- |",
        *rows,
    ]
    before = TABLE.read_text("utf-8") if TABLE.exists() else ""
    _, mark, below = before.partition(BELOW)
    TABLE.write_text("\n".join(lines) + "\n" + (f"\n{mark}{below}" if mark else ""), "utf-8")


def cell(text: str) -> str:
    """Return a text as it stands in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
