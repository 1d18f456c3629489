"""The base of contract suites: promises that an adapter may declare as unsupported, and unusual ids for tests."""

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
    """The base of contract suites. `unsupported` has the promises that an adapter cannot keep, each with the reason."""

    unsupported: ClassVar[TextMapping] = {}


_Test = TypeVar("_Test", bound=Callable[..., None])


def promise(name: str) -> Callable[[_Test], _Test]:
    """Mark a test as the check of a promise that an adapter may declare as unsupported.

    If the promise is declared as unsupported, the test must fail; otherwise the declaration is wrong.
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
