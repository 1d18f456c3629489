"""The windows of `bench.online` in plain Python: a deque, running totals and a deque of maxima for each window.

What one writes without a library: integers for exact totals, the mean and the deviation made
of them when asked, and events dropped from the left as time passes.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from math import sqrt

Answers = list[tuple[int, int, float | None, float | None, int | None]]


class Window:
    """The events of one key in one window, the present one excluded."""

    __slots__ = ("count", "length_ms", "maxima", "seen", "squares", "total")

    def __init__(self, length_ms: int) -> None:
        self.length_ms = length_ms
        self.seen: deque[tuple[int, int]] = deque()
        self.maxima: deque[tuple[int, int]] = deque()
        self.count = self.total = self.squares = 0

    def ask(self, time_ms: int) -> tuple[int, int, float | None, float | None, int | None]:
        """Count, sum, mean, std and max before a time."""
        cut_ms = time_ms - self.length_ms
        seen, maxima = self.seen, self.maxima
        while seen and seen[0][0] <= cut_ms:
            amount = seen.popleft()[1]
            self.count -= 1
            self.total -= amount
            self.squares -= amount * amount
        while maxima and maxima[0][0] <= cut_ms:
            maxima.popleft()
        n, total = self.count, self.total
        mean = total / n if n else None
        std = sqrt((n * self.squares - total * total) / (n * (n - 1))) if n > 1 else None
        return n, total, mean, std, maxima[0][1] if maxima else None

    def add(self, time_ms: int, amount: int) -> None:
        self.seen.append((time_ms, amount))
        self.count += 1
        self.total += amount
        self.squares += amount * amount
        maxima = self.maxima
        while maxima and maxima[-1][1] <= amount:
            maxima.pop()
        maxima.append((time_ms, amount))


class Deques:
    """All windows of all keys of some entities."""

    def __init__(self, entities: int, lengths_ms: Sequence[int]) -> None:
        self._keys: list[defaultdict[int, list[Window]]] = [
            defaultdict(lambda: [Window(length_ms) for length_ms in lengths_ms]) for _ in range(entities)
        ]

    def take(self, time_ms: int, keys: Sequence[int], amount: int) -> Answers:
        """The answers before an event, then the event itself."""
        answers = []
        for windows_of, key in zip(self._keys, keys, strict=True):
            for window in windows_of[key]:
                answers.append(window.ask(time_ms))
                window.add(time_ms, amount)
        return answers
