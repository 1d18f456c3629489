"""Two texts held against each other, line by line, and in changed lines word by word."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final

AROUND: Final = 2  # lines that are shown beside what differs
_WORDS: Final = re.compile(r"\s+|[\w.']+|.")

Part = tuple[str, bool]  # a piece of a line, and whether it differs


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line: `kind` is same, gone, new, or skip for lines that are left out."""

    kind: str
    parts: Sequence[Part] = ()


def diff(before: str, after: str) -> list[DiffLine]:
    """What differs, with some lines around it; nothing for equal texts."""
    old, new = before.splitlines(), after.splitlines()
    groups = list(SequenceMatcher(None, old, new, autojunk=False).get_grouped_opcodes(AROUND))
    found: list[DiffLine] = []
    for number, group in enumerate(groups):
        if number or group[0][1]:
            found.append(DiffLine("skip"))
        for kind, start, end, new_start, new_end in group:
            if kind == "equal":
                found += [DiffLine("same", [(line, False)]) for line in old[start:end]]
            else:
                found += _changed(old[start:end], new[new_start:new_end])
    return found


def _changed(old: Sequence[str], new: Sequence[str]) -> Iterator[DiffLine]:
    pairs = [_words(*pair) for pair in zip(old, new, strict=False)]
    yield from (DiffLine("gone", gone) for gone, _ in pairs)
    yield from (DiffLine("gone", [(line, True)]) for line in old[len(pairs) :])
    yield from (DiffLine("new", come) for _, come in pairs)
    yield from (DiffLine("new", [(line, True)]) for line in new[len(pairs) :])


def _words(old: str, new: str) -> tuple[list[Part], list[Part]]:
    ours, theirs = _WORDS.findall(old), _WORDS.findall(new)
    gone, come = list[Part](), list[Part]()
    for kind, start, end, new_start, new_end in SequenceMatcher(None, ours, theirs, autojunk=False).get_opcodes():
        differs = kind != "equal"
        gone += [("".join(ours[start:end]), differs)] if end > start else []
        come += [("".join(theirs[new_start:new_end]), differs)] if new_end > new_start else []
    return gone, come
