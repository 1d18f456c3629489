"""Tests wait for what must happen, and for two minutes if need be: no machine is so busy that a right program fails.

What waits for less says why beside it, in a comment with `brief:`. Such a reason is that nothing comes, that the
product must give up by itself, or that the wait is one of many.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT

ENOUGH_S = 120
REASON = re.compile(r"#.*\bbrief: \w")
# A limit that says no unit is of milliseconds where it is a thousand or more.
IN_MS = re.compile(r"[._]ms(_max)?$", re.IGNORECASE)
IN_S = re.compile(r"_s(_max)?$", re.IGNORECASE)
NAMED = re.compile(r"(^|_)(timeout|within|patience|limit|wait|longest)(_m?s)?$")  # parameters
KEPT = re.compile(
    r"(^|_)(BEGINS?|ENDS?|FREE|GIVEN_UP|HEARD|LIMIT|LONGEST|OVERTAKEN|PATIENCE|READY|SETTLED|STARTS?|STOPS?|STUCK|"
    r"TIMEOUT|WAITS?|WITHIN)(_\w+)?_M?S(_MAX)?$",
    re.IGNORECASE,
)  # constants
SETTING = re.compile(r"timeout(\.ms)?$")  # of clients of brokers
SLOWLY = re.compile(r"too_slow|list\(HealthCheck\)|\.suppress_health_check")  # a law may draw slowly
TOOK = re.compile(r"(^|_)(took|longest|elapsed|lasted)")
CLOCKS = frozenset({"monotonic", "perf_counter", "thread_time", "process_time"})
# What every such line has in it; to parse what has none of it is half of the time.
WORDS = re.compile(
    r"health_check|timeout|within|patience|(limit|wait|longest)_m?s\b|httpx|sleep\(|monotonic|perf_counter|thread_time|process_time"
    r"|\.(join|result|settimeout|flush|wait|poll|wait_for|select|to_thread)\([^)\n]*\d|create_connection"
    r"|_M?S(_MAX)?\b.* = |took|lasted",
    re.IGNORECASE,
)
# Where a method has its limit, and from how much on it is no step of a loop.
WAITS = {"join": (0, 0.0), "result": (0, 0.0), "settimeout": (0, 0.0), "flush": (0, 0.0), "wait": (0, 1.0)}
WAITS |= {"poll": (-1, 1.0), "wait_for": (1, 0.0), "create_connection": (1, 0.0), "timeout": (0, 0.0)}
WAITS |= {"select": (3, 0.0), "to_thread": (1, 0.0)}
ASKS = frozenset({"get", "post", "put", "patch", "delete", "request", "stream", "Client", "AsyncClient"})


def brief_waits(text: str) -> list[str]:
    """The lines of a module that wait for less than two minutes, or for no longer than a library would, unexplained."""
    if not WORDS.search(text):
        return []
    tree, lines = ast.parse(text), text.splitlines()
    constants, nodes = dict(_constants(tree)), list(ast.walk(tree))
    found = {*_calls(nodes, constants), *_clocks(nodes, constants), *_settings(nodes), *_loops(nodes)}
    return [f"{number}: {lines[number - 1].strip()}" for number in sorted(found) if not _is_explained(lines, number)]


def _is_explained(lines: list[str], number: int) -> bool:
    above = number - 2
    while above >= 0 and lines[above].lstrip().startswith("#"):
        if REASON.search(lines[above]):
            return True
        above -= 1
    return bool(REASON.search(lines[number - 1]))


def _constants(tree: ast.Module) -> Iterator[tuple[str, float]]:
    for node in tree.body:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=value)
            ):
                if not KEPT.search(name) and (known := _number(value, {})) is not None:
                    yield name, known


def _number(node: ast.AST | None, constants: Mapping[str, float]) -> float | None:
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return float(value)
        case ast.Constant(value=str() as value) if value.isdecimal():
            return float(value)
        case ast.Name(id=name):
            return constants.get(name)
    return None


def _is_limit(parameter: str | None) -> bool:
    return parameter is not None and NAMED.search(parameter) is not None and parameter != "limit"


def _is_brief(value: float | None, name: str = "", least: float = 0.0) -> bool:
    if value is None or value <= least:
        return False
    in_ms = IN_MS.search(name) or (value >= 1_000 and not IN_S.search(name))
    return value < (1_000 * ENOUGH_S if in_ms else ENOUGH_S)


def _calls(nodes: list[ast.AST], constants: Mapping[str, float]) -> Iterator[int]:
    for node in nodes:
        if not isinstance(node, ast.Call):
            continue
        yield from (
            keyword.value.lineno
            for keyword in node.keywords
            if (_is_limit(keyword.arg) and _is_brief(_number(keyword.value, constants), keyword.arg or ""))
            or (keyword.arg == "suppress_health_check" and not SLOWLY.search(ast.unparse(keyword.value)))
        )
        match node.func:
            case ast.Attribute(attr=name) if name in WAITS:
                place, least = WAITS[name]
                given = node.args[place] if len(node.args) > max(place, 0) else None
                if _is_brief(_number(given, constants), f"{name}_s", least * 0.999):
                    yield node.lineno
            case ast.Attribute(value=ast.Name(id="httpx2" | "httpx"), attr=name) if name in ASKS:
                if not any(keyword.arg in {"timeout", "transport", None} for keyword in node.keywords):
                    yield node.lineno


def _clocks(nodes: list[ast.AST], constants: Mapping[str, float]) -> Iterator[int]:
    """Ends that are soon, and times that an assertion wants to be short."""
    for node in nodes:
        match node:
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                if _is_brief(_number(right, constants)) and _asks_a_clock(left):
                    yield node.lineno
            case ast.Compare(left=left, comparators=[ast.BinOp(op=ast.Add(), right=right)]):
                if _is_brief(_number(right, constants)) and _asks_a_clock(left):
                    yield node.lineno
            case ast.Assert(test=test):
                for compared in ast.walk(test):
                    if isinstance(compared, ast.Compare):
                        limits = [
                            _number(right, constants)
                            for sign, right in zip(compared.ops, compared.comparators, strict=True)
                            if isinstance(sign, ast.Lt | ast.LtE)
                        ]
                        if any(map(_is_brief, limits)) and _tells_time(compared):
                            yield compared.lineno


def _asks_a_clock(node: ast.AST) -> bool:
    return any(isinstance(item, ast.Attribute) and item.attr in CLOCKS for item in ast.walk(node))


def _tells_time(node: ast.AST) -> bool:
    return _asks_a_clock(node) or any(isinstance(item, ast.Name) and TOOK.search(item.id) for item in ast.walk(node))


def _settings(nodes: list[ast.AST]) -> Iterator[int]:
    """Constants, defaults of parameters and settings of clients that are a limit."""
    for node in nodes:
        match node:
            case (
                ast.Assign(targets=[ast.Name(id=name) | ast.Attribute(attr=name)], value=value)
                | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
            ):
                if KEPT.search(name) and _is_brief(_number(value, {}), name):
                    yield node.lineno
            case ast.arguments():
                given = zip(reversed([*node.posonlyargs, *node.args]), reversed(node.defaults), strict=False)
                yield from (
                    default.lineno
                    for parameter, default in (*given, *zip(node.kwonlyargs, node.kw_defaults, strict=True))
                    if default and _is_limit(parameter.arg) and _is_brief(_number(default, {}), parameter.arg)
                )
            case ast.Dict():
                pairs = zip(node.keys, node.values, strict=True)
                named = ((ast.unparse(key).strip("'"), value) for key, value in pairs if key)
                yield from (
                    value.lineno
                    for name, value in named
                    if SETTING.search(name) and _is_brief(_number(value, {}), name)
                )


def _loops(nodes: list[ast.AST]) -> Iterator[int]:
    """Loops that look too seldom, and sleeps outside of a loop: a condition is waited for, not a time."""
    for node in nodes if any(_slept(node) or _ticked(node) for node in nodes) else ():
        match node:
            case ast.For(iter=ast.Call(func=ast.Name(id="range"), args=[count])):
                slept = sum(_slept(item) or _ticked(item) or 0.0 for item in ast.walk(node))
                if slept and _is_brief((_number(count, {}) or 0.0) * slept, "sleep_s"):
                    yield node.lineno
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from _alone(node)


def _alone(function: ast.AST) -> Iterator[int]:
    for node in ast.iter_child_nodes(function):
        if isinstance(node, ast.While | ast.For | ast.AsyncFor | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Call) and _is_brief(_slept(node), "sleep_s"):
            yield node.lineno
        yield from _alone(node)


def _slept(node: ast.AST) -> float | None:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id="time" | "asyncio"), attr="sleep"), args=[seconds]):
            return _number(seconds, {})
    return None


def _ticked(node: ast.AST) -> float | None:
    match node:
        case ast.Call(func=ast.Attribute(attr="wait"), args=[seconds]):
            return _number(seconds, {})
    return None


@pytest.mark.slow
def test_what_must_happen_is_waited_for_two_minutes():
    found = {
        str(path.relative_to(ROOT)): lines
        for folder in ("tests", "tools")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path != Path(__file__) and (lines := brief_waits(path.read_text(encoding="utf-8")))
    }

    assert found == {}, "wait for a condition for PATIENCE_S (tests/support/patience.py), or say why not: # brief: ..."


@pytest.mark.parametrize(
    "line",
    [
        "answer = urlopen(url, timeout=30)",
        "page.click('a', timeout=5_000)",
        "thread.join(10)",
        "assert begun.wait(30)",
        "message = consumer.poll(20)",
        "socket.create_connection(place, 1)",
        "assert source.poll(10, 5.0)",
        "reply = await asyncio.wait_for(asked, 60)",
        "async with asyncio.timeout(10): pass",
        "await asyncio.to_thread(begun.wait, 30)",
        "end = time.monotonic() + 20",
        "while time.monotonic() < began + 60:\n    look()",
        "assert time.monotonic() - began < 3",
        "assert took_s < 15",
        "ENDS_S = 20.0",
        "PATIENCE_MS: Final = 60_000",
        "def until(is_so, within_s=30): pass",
        "httpx2.get(url)",
        "client = httpx2.Client(base_url=url)",
        "settings = {'session.timeout.ms': 6_000}",
        "@settings(suppress_health_check=[HealthCheck.data_too_large])\ndef test_it(): pass",
        "def test_it():\n    time.sleep(0.5)",
        "for _ in range(100):\n    time.sleep(0.1)",
        "for _ in range(2_000):\n    tick.wait(0.005)",
    ],
)
def test_a_brief_wait_is_found_and_one_that_says_why_is_not(line: str):
    last = line.splitlines()[-1 if line.startswith("def test") else 0]

    assert len(brief_waits(line)) == 1
    assert brief_waits(line.replace(last, f"{last}  # brief: nothing comes")) == []


@pytest.mark.parametrize(
    "line",
    [
        "answer = urlopen(url, timeout=120)",
        "page.click('a', timeout=PATIENCE_MS)",
        "thread.join()",
        "stop.wait(0.01)",
        "assert source.poll(10, 0) == []",
        "while not is_so():\n    time.sleep(0.1)",
        "parts = ', '.join(names)",
        "httpx2.get(url, timeout=120)",
        "for _ in range(2_400):\n    time.sleep(0.05)",
        "for _ in range(24_000):\n    tick.wait(0.005)",
    ],
)
def test_a_patient_wait_is_none(line: str):
    assert brief_waits(line) == []
