"""How much a run tries: `make test` what a change needs, `make test-long` the campaigns as well.

SHROFF_TEST_PROFILE is `default`, `long` (what `make test-long` sets), or `thorough`: for a night, with twelve times the
examples of each law.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, NamedTuple, TypeVar

PROFILE: Final = os.environ.get("SHROFF_TEST_PROFILE", "default")
IS_LONG: Final = PROFILE != "default"
LAW_EXAMPLES: Final = 12  # of a law at most, where a change is tried
THOROUGH: Final = 12  # times the examples of a campaign
Case = TypeVar("Case")


def examples(campaign: int, *, usual: int = LAW_EXAMPLES) -> int:
    """Examples of a law: so many in a campaign, and at most `usual` where a change is tried."""
    if not IS_LONG:
        return min(campaign, usual)
    return campaign if PROFILE == "long" else THOROUGH * campaign


def times(usual: int, campaign: int) -> int:
    """How often something is tried: where a change is, and in a campaign."""
    return campaign if IS_LONG else usual


def some(cases: Collection[Case], usual: int) -> list[Case]:
    """All cases in a campaign, and `usual` of them, always the same ones, where a change is tried.

    For tables of errors that a law or a contract must catch: they try the law, not the program.
    """
    found = list(cases)
    places = range(len(found)) if IS_LONG else sorted(random.Random(len(found)).sample(range(len(found)), usual))
    return [found[place] for place in places]


def some_of_each(cases: Collection[Case], kind: Callable[[Case], object], every: int = 4) -> list[Case]:
    """All cases in a campaign; where a change is tried, of each kind the first and every fourth after it."""
    if IS_LONG:
        return list(cases)
    seen = Counter[object]()
    found = []
    for case in cases:
        if seen[kind(case)] % every == 0:
            found.append(case)
        seen[kind(case)] += 1
    return found


class Share(NamedTuple):
    """What a test that is marked `sample` is drawn with: a group, what is drawn of it, and how many of these."""

    group: str
    unit: str
    drawn: int


def share_of(test: str, place: str, drawn: int, of: str = "") -> Share:
    """How a test is drawn whose function, class or module, at `place`, is marked `sample(drawn)`.

    A function's cases are drawn one by one, and of a class or a module the functions with all their cases. What is
    marked `of` the same words, wherever it stands, is drawn whole: functions, or modules with all that they make first.
    """
    function = test.partition("[")[0]
    is_function = place == test
    if of:
        return Share(of, function if is_function else place, drawn)
    return Share(function, test, drawn) if is_function else Share(place, function, drawn)


def drawn_long(cases: Mapping[str, Sequence[Share]], seed: object) -> set[str]:
    """Tests that one run of `make test` leaves to the next ones and to `make test-long`.

    Args:
        cases: Names of tests that are marked `sample`, with what each mark draws them with: all of them must.
        seed: Of the run, which says it in its first line: the same seed draws the same tests.
    """
    groups: dict[tuple[str, int], set[str]] = {}
    for shares in cases.values():
        for share in shares:
            groups.setdefault((share.group, share.drawn), set()).add(share.unit)
    drawn = {
        (group, n): set(random.Random(f"{seed} {group}").sample(sorted(units), min(len(units), n)))
        for (group, n), units in groups.items()
    }
    return {
        name
        for name, shares in cases.items()
        if any(share.unit not in drawn[share.group, share.drawn] for share in shares)
    }


def quickest_s(call: Callable[[], object], tries: int = 3) -> float:
    """Seconds of this thread's processor that `call` needs: of several tries the least.

    One try can hold what is not the call's: a collection of the garbage of ten thousand tests takes 0.2 s.
    """
    took_s = []
    for _ in range(tries):
        began_s = time.thread_time()
        call()
        took_s.append(time.thread_time() - began_s)
    return min(took_s)
