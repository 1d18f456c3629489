"""Input of which no event type accepts a line: which conditions were asked, and what they found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple


class Asked(NamedTuple):
    """One `when` that was not true: its event type, its expression, and the values that it read."""

    event: str
    when: str
    found: str


@dataclass(slots=True)
class Unmatched:
    """The lines of one source that no `when` accepts, while none was accepted.

    Args:
        line: The number of the first of them.
        asked: What each `when` found there.
    """

    source: str
    line: int
    asked: Callable[[], list[Asked]]
    lines: int = 0
