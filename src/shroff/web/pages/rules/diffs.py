"""Differences of two texts, line by line, and word by word in changed lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct

AROUND = 2  # unchanged lines before and after a change
LINES_MAX = 300  # old and new lines of the result, each
PAIRS_MAX = 40_000  # pairs of equal lines or words; above, comparing them would take too long
_WORDS = re.compile(r"\s+|[\w.']+|.")

Part = tuple[str, bool]  # part of a line, and whether it differs
Step = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]  # an opcode of `difflib`


class DiffLine(FrozenStruct):
    """One line: `kind` is `same`, `gone`, `new`, `skip` (lines are left out) or `more` (a count of further lines)."""

    kind: str
    parts: Sequence[Part] = ()


def diff(before: str, after: str) -> list[DiffLine]:
    """Return the first differences of two texts with the lines around them; empty for equal texts.

    Texts or lines with more than `PAIRS_MAX` pairs of equal parts are not compared in detail: all between their common
    beginning and end counts as replaced.
    """
    old = before.splitlines()
    new = after.splitlines()
    more = 0
    lines: list[DiffLine] = []
    for number, group in enumerate(_Bounded(old, new).get_grouped_opcodes(AROUND)):
        if not more and (number or group[0][1]):
            lines.append(DiffLine("skip"))
        for kind, start, end, new_start, new_end in group:
            capacity = max(0, LINES_MAX - len(lines))
            removed = old[start:end]
            added = [] if kind == "equal" else new[new_start:new_end]
            more += len(removed[capacity:]) + len(added[capacity:])
            if kind == "equal":
                lines += [DiffLine("same", [(line, False)]) for line in removed[:capacity]]
            else:
                lines += _changed(removed[:capacity], added[:capacity])
    return [*lines, DiffLine("more", [(f"and {many(more, 'more line')}", False)])] if more else lines


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    pairs = [_words(*pair) for pair in zip(old, new, strict=False)]
    yield from (DiffLine("gone", removed) for removed, _ in pairs)
    yield from (DiffLine("gone", [(line, True)]) for line in old[len(pairs) :])
    yield from (DiffLine("new", added) for _, added in pairs)
    yield from (DiffLine("new", [(line, True)]) for line in new[len(pairs) :])


def _words(old: str, new: str) -> tuple[list[Part], list[Part]]:
    old_words = _WORDS.findall(old)
    new_words = _WORDS.findall(new)
    removed = list[Part]()
    added = list[Part]()
    for kind, start, end, new_start, new_end in _Bounded(old_words, new_words).get_opcodes():
        differs = kind != "equal"
        if end > start:
            removed.append(("".join(old_words[start:end]), differs))
        if new_end > new_start:
            added.append(("".join(new_words[new_start:new_end]), differs))
    return removed, added


class _Bounded(SequenceMatcher[str]):
    """A matcher with bounded time, for texts of untrusted users."""

    def __init__(self, old: Sequence[str], new: Sequence[str]) -> None:
        super().__init__(None, old, new, autojunk=False)
        self._old = old
        self._new = new

    def get_opcodes(self) -> list[Step]:
        """Return the steps from the old to the new text. Common beginnings and ends are not compared again."""
        old = self._old
        new = self._new
        prefix = _common_length(old, new)
        suffix = _common_length(old[prefix:][::-1], new[prefix:][::-1])
        old_part = old[prefix : len(old) - suffix]
        new_part = new[prefix : len(new) - suffix]
        steps = [_moved(step, prefix) for step in _between(old_part, new_part)]
        if prefix:
            steps.insert(0, ("equal", 0, prefix, 0, prefix))
        if suffix:
            steps.append(("equal", len(old) - suffix, len(old), len(new) - suffix, len(new)))
        return steps


def _between(old: Sequence[str], new: Sequence[str]) -> list[Step]:
    counts = Counter(new)
    if sum(counts[item] for item in old) > PAIRS_MAX:
        return [("replace", 0, len(old), 0, len(new))]
    return SequenceMatcher(None, old, new, autojunk=False).get_opcodes()


def _common_length(left: Sequence[str], right: Sequence[str]) -> int:
    pairs = zip(left, right, strict=False)
    return next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(left), len(right)))


def _moved(step: Step, by: int) -> Step:
    kind, start, end, new_start, new_end = step
    return kind, start + by, end + by, new_start + by, new_end + by
