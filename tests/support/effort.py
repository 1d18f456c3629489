"""How much a run tries: `make test` what a change needs, `make test-long` the campaigns as well.

SHROFF_TEST_PROFILE is `default`, `long` (what `make test-long` sets), or `thorough`: for a night, with twelve times the
examples of each law.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final, TypeVar

PROFILE: Final = os.environ.get("SHROFF_TEST_PROFILE", "default")
IS_LONG: Final = PROFILE != "default"
LAW_EXAMPLES: Final = 20  # of a law at most, where a change is tried
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


def drawn_long(cases: Mapping[str, int], seed: object) -> set[str]:
    """Tests that one run of `make test` leaves to the next ones and to `make test-long`.

    Args:
        cases: Names of tests that are marked `sample`, with how many of each function's a run tries.
        seed: Of the run, which says it in its first line: the same seed draws the same tests.
    """
    functions: dict[str, list[str]] = {}
    for name in sorted(cases):
        functions.setdefault(name.partition("[")[0], []).append(name)
    left = set[str]()
    for function, names in functions.items():
        tried = random.Random(f"{seed} {function}").sample(names, min(len(names), cases[names[0]]))
        left.update(set(names) - set(tried))
    return left


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
