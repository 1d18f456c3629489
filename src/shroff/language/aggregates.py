"""The aggregates: one row each with everything known of it outside the kernels.

Checker, plan, histories, back-fill, wording, reference and the generators of the law tests read this table. A meaning
is the definition, slow and obvious; the engines keep running results instead, which must equal it to the bit.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from shroff.language.types import INTEGER, INTEGER_MAX, INTEGER_MIN, NAMES, REAL, UNITS_MAX, Type
from shroff.language.values import Value
from shroff.runtime.values import FrozenStruct, replace

# State kept of a window: numbers of values and of events; running sums, and sums of squares; the smallest and the
# largest value; the oldest and the newest; the count of each value; the values by rank. For `looks` nothing is kept:
# the meaning is computed over all events of the window.
State = Literal["counts", "events", "sums", "squares", "extremes", "ends", "values", "ranks", "looks"]

# Bound that one event in the window sets on the result: at least 1; at least the event's value, always or if no value
# is negative; at most that value; or equal to it, if the event is the latest one.
OwnEvent = Literal["", "counts", "most", "adds", "least", "latest"]
Ends = tuple[float, float]
NTH_LAST_MAX = 1_000_000


class WindowView(FrozenStruct):
    """A window as an aggregate reads it."""

    values: Sequence[Any]  # present values of its argument, ordered by (time, place); the events, without an argument
    events: int  # all of the window, including those that the condition rejects
    scale: int = 1  # smallest units in a whole one
    rank: tuple[int, int] = (0, 1)  # the q of a quantile


class AggregateRow(FrozenStruct):
    """Definition of one aggregate."""

    name: str
    gives: str  # for the reference
    meaning: Callable[[WindowView], Value]
    state: State
    takes: frozenset[str] | None  # types of its argument; None if it takes an event type
    type: Type | None  # type of its value; None: that of its argument
    words: str = ""  # before the argument in a reason; `{q}` is the rank in percent, `{n}` the number as written
    stands_behind: bool = False  # in a reason, the value follows these words
    event_of_time: str = ""  # name of the event whose time it returns, if its argument is a time
    has_rank: bool = False  # a second argument is the share of values below, or which value
    scans: bool = False  # reads each event of its window, and so needs a window
    is_tally: bool = False  # 0 without events, and grows with each: rules compare it with a threshold
    is_of_one_event: bool = False  # its value is the value of one event
    own: OwnEvent = ""

    @property
    def needs_where(self) -> bool:
        return self.state == "events"

    @property
    def is_never_negative(self) -> bool:
        return self.state in {"counts", "events", "squares", "values"}

    @property
    def is_summed(self) -> bool:
        """Return whether its values are added up and so limited in size."""
        return self.state in {"sums", "squares"}

    @property
    def is_total(self) -> bool:
        """Return whether it is missing only if it does not fit 64 bits, which is reported."""
        return self.is_summed and self.is_tally

    @property
    def ends(self) -> Ends:
        """Return the smallest and the largest possible value, for any events."""
        least = 0.0 if self.is_never_negative else -math.inf
        return least, 1.0 if self.needs_where else math.inf

    def ends_with(self, value: float, rank: tuple[int, int] | None, *, has_negatives: bool) -> Ends:
        """Return the smallest and the largest possible value of a window whose latest event has this value."""
        is_latest = self.own == "latest" and (not self.has_rank or rank == (1, 1))
        if self.own == "counts":
            return 1.0, math.inf
        is_least = is_latest or self.own == "most" or (self.own == "adds" and not has_negatives)
        return value if is_least else -math.inf, value if is_latest or self.own == "least" else math.inf

    def of(self, seen: WindowView) -> Value:
        """Return the value of a window; integers too large for the aggregate are left out."""
        low, high = (-UNITS_MAX, UNITS_MAX) if self.is_summed else (INTEGER_MIN, INTEGER_MAX)
        fitting = [value for value in seen.values if not isinstance(value, int) or low <= value <= high]
        return self.meaning(replace(seen, values=fitting))


def _sum(seen: WindowView) -> int | None:
    total: int = sum(seen.values)
    return total if INTEGER_MIN <= total <= INTEGER_MAX else None


def _mean(seen: WindowView) -> Value:
    total = _sum(seen)
    return None if total is None or not seen.values else float(total) / float(len(seen.values) * seen.scale)


def _std(seen: WindowView) -> Value:
    count = len(seen.values)
    total = sum(seen.values)
    if count < 2:
        return None
    squares = sum(value * value for value in seen.values)
    return math.sqrt(float(count * squares - total * total) / float(count * (count - 1) * seen.scale**2))


def _quantile(seen: WindowView) -> Value:
    rank = max(-(-seen.rank[0] * len(seen.values) // seen.rank[1]), 1)
    return sorted(seen.values)[rank - 1] if seen.values else None


def _median(seen: WindowView) -> Value:
    ordered = sorted(seen.values)
    count = len(seen.values)
    twice = ordered[(count + 1) // 2 - 1] + ordered[count // 2] if ordered else math.nan
    middle = float(twice) / float(2 * seen.scale)
    return middle if math.isfinite(middle) else None


def _mode(seen: WindowView) -> Value:
    counts = Counter(seen.values)
    most = max(counts.values(), default=0)
    return next((value for value in reversed(seen.values) if counts[value] == most), None)


_EXACT = frozenset(["integer", "number", "money"])
_SUMMED = _EXACT | {"duration"}  # durations in milliseconds
_ORDERED = _EXACT | {"real", "time", "duration"}
_ANY = frozenset([*NAMES, "missing"])
COUNT = "count"
_ROWS = (
    AggregateRow(COUNT, "How many events there are.",
        lambda seen: len(seen.values), "counts", None, INTEGER, is_tally=True, own="counts"),
    AggregateRow("sum", "The sum, exact; missing, and reported by `doctor`, where it does not fit 64 bits.",
        _sum, "sums", _SUMMED, None, "sum of", stands_behind=True, is_tally=True, own="adds"),
    AggregateRow("mean", "The sum by the number of values.", _mean, "sums", _SUMMED, REAL, "mean"),
    AggregateRow("std", "The spread of a sample (n-1); of one value missing.",
        _std, "squares", _SUMMED, REAL, "spread of", stands_behind=True),
    AggregateRow("min", "The least value.",
        lambda seen: min(seen.values, default=None), "extremes", _ORDERED, None, "smallest", event_of_time="first",
        own="least", is_of_one_event=True),
    AggregateRow("max", "The greatest value.",
        lambda seen: max(seen.values, default=None), "extremes", _ORDERED, None, "largest", event_of_time="last",
        own="most", is_of_one_event=True),
    AggregateRow("distinct", "How many different values there are.",
        lambda seen: len(set(seen.values)), "values", _ANY, INTEGER, is_tally=True, own="counts"),
    AggregateRow("first", "The value of the first event that has one, in the order (time, place).",
        lambda seen: next(iter(seen.values), None), "ends", _ANY, None, "first",
        stands_behind=True, event_of_time="first", is_of_one_event=True),
    AggregateRow("last", "The value of the last event that has one, in the order (time, place).",
        lambda seen: next(reversed(seen.values), None), "ends", _ANY, None, "last",
        stands_behind=True, event_of_time="last", own="latest", is_of_one_event=True),
    AggregateRow("quantile", "The value at rank ⌈q·n⌉, at least 1; q is written out, from 0 to 1.",
        _quantile, "ranks", _ORDERED, None, "{q} % quantile of", has_rank=True, scans=True, is_of_one_event=True),
    AggregateRow("median", "The mean of the two middle values, at ranks ⌈n/2⌉ and ⌊n/2⌋ + 1.",
        _median, "ranks", _EXACT | {"real"}, REAL, "median", scans=True),
    AggregateRow("mode", "The most frequent value; of equally frequent ones the one whose newest event is newest.",
        _mode, "looks", _ANY, None, "most frequent", stands_behind=True, scans=True, is_of_one_event=True),
    AggregateRow("nth_last",
        f"The value of the n-th latest event that has one; n is written out, from 1 to {NTH_LAST_MAX:,}.",
        lambda seen: seen.values[-seen.rank[0]] if len(seen.values) >= seen.rank[0] else None,
        "looks", _ANY, None, "{n}. latest", stands_behind=True, has_rank=True, own="latest", is_of_one_event=True),
    AggregateRow("share", "Events with the condition true, by all events of the window.",
        lambda seen: len(seen.values) / seen.events if seen.events else None, "events", None, REAL),
)  # fmt: skip
AGGREGATES: Final[dict[str, AggregateRow]] = {row.name: row for row in _ROWS}
