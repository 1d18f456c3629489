"""Promises by name, and honest gaps: what an adapter cannot do is stated, and checked to be true; odd ids."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar, TypeVar, cast

import pytest

from shroff.json_types import TextMapping

ODD_IDS = (
    "",
    "a'b",
    'a"b',
    "a%b_",
    "A",
    "a",
    "a ",
    "é",
    "e\u0301",
    "\U0001f4b6",
    "x,y",
    "[1]",
    "null",
    "007",
    "7",
    "z" * 900,
    "a\x00b",
    "\x1a0",
    "\\N",
    "a\tb\r\nc\\",
)


class Contract:
    """The base of contract suites. `unsupported` names promises that the adapter cannot keep, each with its why."""

    unsupported: ClassVar[TextMapping] = {}


_Test = TypeVar("_Test", bound=Callable[..., None])


def promise(name: str) -> Callable[[_Test], _Test]:
    """Mark a test as the proof of a promise that an adapter may state as unsupported.

    Where it is, the test must fail: a stated gap that works after all is a mistake in the statement.
    """

    def mark(test: _Test) -> _Test:
        @wraps(test)
        def run(self: Contract, *args: Any, **kwargs: Any) -> None:
            why = self.unsupported.get(name)
            if why is None:
                test(self, *args, **kwargs)
            elif _passes(test, self, *args, **kwargs):
                pytest.fail(f"{name!r} is stated as unsupported ({why}), and works")

        return cast("_Test", run)

    return mark


def _passes(test: Callable[..., None], *args: Any, **kwargs: Any) -> bool:
    try:
        test(*args, **kwargs)
    except (Exception, pytest.fail.Exception):  # noqa: BLE001 - whatever goes wrong shows that the gap is real
        return False
    return True
