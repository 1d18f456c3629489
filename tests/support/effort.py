"""Which tests a run has, and how much each tries.

A test belongs to `make test` unless it is marked `long`: the choice stands beside the test and is the same in each run.
SHROFF_TEST_PROFILE is the size of what runs: `default`, `long` (set by `make test-long`), or `thorough`: for a night,
with twelve times the examples of each law.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

import pytest

PROFILE: Final = os.environ.get("SHROFF_TEST_PROFILE", "default")
IS_LONG: Final = PROFILE != "default"
LAW_EXAMPLES: Final = 12  # of a law at most, where a change is tried
THOROUGH: Final = 12  # times the examples of a campaign


def examples(campaign: int, *, usual: int = LAW_EXAMPLES) -> int:
    """Examples of a law: so many in a campaign, and at most `usual` where a change is tried."""
    if not IS_LONG:
        return min(campaign, usual)
    return campaign if PROFILE == "long" else THOROUGH * campaign


def times(usual: int, campaign: int) -> int:
    """How often something random is tried: where a change is, and in a campaign."""
    return campaign if IS_LONG else usual


def long_after(count: int, cases: Iterable[Any]) -> list[Any]:
    """Cases for `parametrize`: the first `count` in every run, all others in `make test-long`."""
    return [case if number < count else long(case) for number, case in enumerate(cases)]


def one_in(count: int, cases: Iterable[Any]) -> list[Any]:
    """Cases for `parametrize`: the first and each `count`-th after it in every run, all others in `make test-long`."""
    return [long(case) if number % count else case for number, case in enumerate(cases)]


def long_but(cases: Iterable[Any], *usual: object) -> list[Any]:
    """Cases for `parametrize`: these in every run, all others in `make test-long`.

    Raises: ValueError if one of these is not there.
    """
    found = list(cases)
    if gone := [case for case in usual if case not in found]:
        raise ValueError(f"no such case: {gone}")
    return [case if case in usual else long(case) for case in found]


def long(case: Any) -> Any:
    """A case of `parametrize` that only `make test-long` runs; a tuple has the values of several arguments."""
    if hasattr(case, "values") and hasattr(case, "marks"):
        return pytest.param(*case.values, marks=[*case.marks, pytest.mark.long], id=case.id)
    return pytest.param(*(case if type(case) is tuple else (case,)), marks=pytest.mark.long)


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
