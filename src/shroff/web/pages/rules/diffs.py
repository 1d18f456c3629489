"""Two texts held against each other, line by line, and in changed lines word by word."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from shroff.runtime.texts import many
from shroff.runtime.values import FrozenStruct

AROUND = 2  # lines that are shown beside what differs
LINES_MAX = 300  # that are shown, or up to twice as many
PAIRS_MAX = 40_000  # equal lines or words compared; the time grows faster than linearly
_WORDS = re.compile(r"\s+|[\w.']+|.")

Part = tuple[str, bool]  # a piece of a line, and whether it differs
Step = tuple[Literal["replace", "delete", "insert", "equal"], int, int, int, int]  # as `difflib` has them


class DiffLine(FrozenStruct):
    """One line: `kind` is same, gone, new, skip for lines that are left out, or more for how many follow."""

    kind: str
    parts: Sequence[Part] = ()


def diff(before: str, after: str) -> list[DiffLine]:
    """Differences, with some lines around them; nothing for equal texts, and of very many the first.

    Where too much is alike in two texts, or in two lines of them, to be distinguished in good time, all that lies
    between what they begin with and what they end with is gone and new.
    """
    old = before.splitlines()
    new = after.splitlines()
    more = 0
    found: list[DiffLine] = []
    for number, group in enumerate(_Bounded(old, new).get_grouped_opcodes(AROUND)):
        if not more and (number or group[0][1]):
            found.append(DiffLine("skip"))
        for kind, start, end, new_start, new_end in group:
            room = max(0, LINES_MAX - len(found))
            gone = old[start:end]
            come = [] if kind == "equal" else new[new_start:new_end]
            more += len(gone[room:]) + len(come[room:])
            if kind == "equal":
                found += [DiffLine("same", [(line, False)]) for line in gone[:room]]
            else:
                found += _changed(gone[:room], come[:room])
    return [*found, DiffLine("more", [(f"and {many(more, 'more line')}", False)])] if more else found


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    pairs = [_words(*pair) for pair in zip(old, new, strict=False)]
    yield from (DiffLine("gone", gone) for gone, _ in pairs)
    yield from (DiffLine("gone", [(line, True)]) for line in old[len(pairs) :])
    yield from (DiffLine("new", come) for _, come in pairs)
    yield from (DiffLine("new", [(line, True)]) for line in new[len(pairs) :])


def _words(old: str, new: str) -> tuple[list[Part], list[Part]]:
    ours = _WORDS.findall(old)
    theirs = _WORDS.findall(new)
    gone = list[Part]()
    come = list[Part]()
    for kind, start, end, new_start, new_end in _Bounded(ours, theirs).get_opcodes():
        differs = kind != "equal"
        gone += [("".join(ours[start:end]), differs)] if end > start else []
        come += [("".join(theirs[new_start:new_end]), differs)] if new_end > new_start else []
    return gone, come


class _Bounded(SequenceMatcher[str]):
    """A matcher for texts that anybody may have written: it leaves aside what would take too long."""

    def __init__(self, ours: Sequence[str], theirs: Sequence[str]) -> None:
        super().__init__(None, ours, theirs, autojunk=False)
        self._ours = ours
        self._theirs = theirs

    def get_opcodes(self) -> list[Step]:
        """The steps from one text to the other. What both begin and end with is not looked at twice."""
        ours = self._ours
        theirs = self._theirs
        begins = _alike(ours, theirs)
        ends = _alike(ours[begins:][::-1], theirs[begins:][::-1])
        mine = ours[begins : len(ours) - ends]
        other = theirs[begins : len(theirs) - ends]
        steps = [_moved(step, begins) for step in _between(mine, other)]
        if begins:
            steps.insert(0, ("equal", 0, begins, 0, begins))
        if ends:
            steps.append(("equal", len(ours) - ends, len(ours), len(theirs) - ends, len(theirs)))
        return steps


def _between(ours: Sequence[str], theirs: Sequence[str]) -> list[Step]:
    counts = Counter(theirs)
    if sum(counts[our] for our in ours) > PAIRS_MAX:
        return [("replace", 0, len(ours), 0, len(theirs))]
    return SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes()


def _alike(ours: Sequence[str], theirs: Sequence[str]) -> int:
    pairs = zip(ours, theirs, strict=False)
    return next((place for place, (own, other) in enumerate(pairs) if own != other), min(len(ours), len(theirs)))


def _moved(step: Step, by: int) -> Step:
    kind, start, end, new_start, new_end = step
    return kind, start + by, end + by, new_start + by, new_end + by
