"""Tests of a rule as rows of a form, and the text edits that a changed row makes.

A row is an event on one line, `- payment: { card: c1, amount: 5 }`, of a test whose `hits` are on one line too. A test
in any other notation has no rows and can only be changed as text.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import TypeVar

from msgspec.json import encode as to_json

from shroff.errors import UsageError
from shroff.json_types import TextDict
from shroff.language.yaml.text import Mapping, Node, Scalar, Sequence
from shroff.rules.text_positions import end_of, first_line, line_begins, offset_of, only_rule, scalar_of, written
from shroff.runtime.values import FrozenStruct

_FLOW = only_rule("- { a: b }")  # flow mapping: the place of a row's values

Row = TypeVar("Row", "RuleTestForm", "RuleTestEvent")
Edit = tuple[int, int, str]  # start and end of the replaced range, and the new text


class RuleTestEvent(FrozenStruct):
    """An event of a test.

    Args:
        values: Text of each field; `at` is the time.
        hits: `true`, `false` or the row of a table that hits; empty for an event of another type than the rule's.
    """

    type: str
    values: TextDict
    hits: str = ""


class RuleTestForm(FrozenStruct):
    """A test of a rule; without events it can only be edited as text."""

    name: str
    events: list[RuleTestEvent]


def tests_of(text: str) -> list[RuleTestForm] | None:
    """Parse the tests of a rule; None if they are in brackets, or the text is not one rule."""
    try:
        rule = only_rule(text)
    except UsageError:
        return None
    tests = rule.get("tests")
    if rule.source or (tests is not None and (not isinstance(tests, Sequence) or tests.source)):
        return None
    on = scalar_of(rule, "on")
    return [_form(item, on.text if on else "") for item in (tests.items if tests else ())]


def with_tests(text: str, tests: list[RuleTestForm]) -> str:
    """Return the rule's text with changed tests; comments stay with their rows.

    Raises: UsageError if the text is not one rule.
    """
    old = tests_of(text)
    rule = only_rule(text)
    if old is None or old == tests:
        return text
    items = rule.get("tests")
    on = scalar_of(rule, "on")
    type_ = on.text if on else ""
    if not isinstance(items, Sequence):
        indent = " " * (rule.column - 1)
        added = "".join(_new_test(test, rule.column + 1, type_) for test in tests)
        return f"{text.rstrip()}\n{indent}tests:\n{added}"
    edits = list[Edit]()
    for place, old_test, test in _aligned(old, tests):
        item = items.items[place] if old_test else None
        if test is None:
            edits.append((*_lines(text, items, place), ""))
        elif item is None:
            at = _begin(text, items, place)
            edits.append((at, at, _new_test(test, items.column - 1, type_)))
        elif isinstance(item, Mapping) and test != old_test and old_test is not None:
            if old_test.events or not test.events:
                edits += _changed(text, item, old_test, test, type_)
            else:
                edits.append((*_lines(text, items, place), _new_test(test, items.column - 1, type_)))
    if not tests:
        key = next(key for key, _ in rule.entries if key.text == "tests")
        edits = [(line_begins(text)[key.line - 1], _lines(text, items, len(items.items) - 1)[1], "")]
    for start, end, new in reversed(sorted(edits, key=lambda edit: edit[0])):  # noqa: C413 - equal ones stay in order
        text = text[:start] + new + text[end:]
    return text


def _form(test: Node, on: str) -> RuleTestForm:
    name, events, hits = (test.get(key) if isinstance(test, Mapping) else None for key in ("name", "events", "hits"))
    test_name = name.text if isinstance(name, Scalar) else ""
    rows = [_parse_event(item) for item in events.items] if isinstance(events, Sequence) and not events.source else []
    valid_rows = [row for row in rows if row is not None]
    hit_texts = [hit.text for hit in hits.items if isinstance(hit, Scalar)] if isinstance(hits, Sequence) else []
    is_line = isinstance(hits, Sequence) and hits.source and "\n" not in hits.source
    if not is_line or len(valid_rows) != len(rows) or sum(row.type == on for row in valid_rows) != len(hit_texts):
        return RuleTestForm(test_name, [])
    expected = iter(hit_texts)
    return RuleTestForm(
        test_name, [RuleTestEvent(row.type, row.values, next(expected) if row.type == on else "") for row in valid_rows]
    )


def _parse_event(item: Node) -> RuleTestEvent | None:
    ((key, fields),) = item.entries if isinstance(item, Mapping) and len(item.entries) == 1 else ((None, None),)
    if key is None or not isinstance(fields, Mapping) or not fields.source or "\n" in fields.source:
        return None
    values = fields.texts()
    return RuleTestEvent(key.text, values) if len(values) == len(fields.entries) else None


def _aligned(old: list[Row], new: list[Row]) -> Iterator[tuple[int, Row | None, Row | None]]:
    """Pair old and new rows, with the old row's index; an added or removed row is paired with None."""
    old_texts = [to_json(row).decode() for row in old]
    new_texts = [to_json(row).decode() for row in new]
    for _, start, end, first, last in SequenceMatcher(None, old_texts, new_texts, autojunk=False).get_opcodes():
        pairs = zip_longest(old[start:end], new[first:last])
        for at, (going, coming) in enumerate(pairs):
            yield min(start + at, end), going, coming


def _lines(text: str, top: Sequence, at: int) -> tuple[int, int]:
    """Return the offsets of an item's lines, with the comments above it."""
    lines = text.split("\n")
    begins = line_begins(text)
    start = first_line(lines, top.items[at], top.column) - 1
    if at + 1 < len(top.items):
        return begins[start], begins[first_line(lines, top.items[at + 1], top.column) - 1]
    return begins[start], min(begins[_last_line(top.items[at])], len(text))


def _begin(text: str, top: Sequence, at: int) -> int:
    return _lines(text, top, at)[0] if at < len(top.items) else _lines(text, top, at - 1)[1]


def _last_line(node: Node) -> int:
    if isinstance(node, Scalar) or node.source:
        return node.line + node.source.count("\n")
    parts = [value for _, value in node.entries] if isinstance(node, Mapping) else node.items
    return max([node.line, *map(_last_line, parts)])


def _changed(text: str, item: Mapping, old: RuleTestForm, test: RuleTestForm, on: str) -> Iterator[Edit]:
    name, events, hits = (item.get(key) for key in ("name", "events", "hits"))
    if isinstance(name, Scalar) and test.name != old.name:
        yield offset_of(text, name.line, name.column), end_of(text, name), written(test.name, item)
    if not old.events or not isinstance(events, Sequence) or not isinstance(hits, Sequence):
        return
    for place, old_row, row in _aligned(old.events, test.events):
        if row is None:
            yield (*_lines(text, events, place), "")
        elif old_row is None:
            at = _begin(text, events, place)
            yield at, at, f"{' ' * (events.column - 1)}- {written_row(row)}\n"
        elif (row.type, row.values) != (old_row.type, old_row.values):
            node = events.items[place]
            assert isinstance(node, Mapping)
            ((key, fields),) = node.entries
            end = offset_of(text, fields.line, fields.column) + len(fields.source)
            yield offset_of(text, key.line, key.column), end, written_row(row, fields)
    new_hits = _written_hits(test, on)
    if new_hits != _written_hits(old, on):
        start = offset_of(text, hits.line, hits.column)
        yield start, start + len(hits.source), new_hits


def _new_test(test: RuleTestForm, indent: int, on: str) -> str:
    margin = " " * (indent + 2)
    rows = "".join(f"{margin}  - {written_row(row)}\n" for row in test.events)
    name_line = f"{' ' * indent}- name: {written(test.name, _FLOW)}\n"
    return f"{name_line}{margin}events:\n{rows}{margin}hits: {_written_hits(test, on)}\n"


def written_row(row: RuleTestEvent, old: Node | None = None) -> str:
    """Format a row on one line; unchanged values keep their notation."""
    old_values = dict[str, Scalar]()
    if isinstance(old, Mapping):
        old_values = {name.text: value for name, value in old.entries if isinstance(value, Scalar)}
    parts = []
    for name, value in row.values.items():
        node = old_values.get(name)
        is_same = node is not None and node.text == value
        parts.append(f"{name}: {node.source or node.text if node and is_same else written(value, _FLOW)}")
    return f"{row.type}: {{ {', '.join(parts)} }}"


def _written_hits(test: RuleTestForm, on: str) -> str:
    return f"[{', '.join(row.hits.strip() or 'false' for row in test.events if row.type == on)}]"
