"""The contract of backends that answer partitions: bind it by a class with a fixture `backend`, which makes yours.

A backend may take seconds to start, so one may serve all tests of a class; each leaves it as it was.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import pytest

from shroff.errors import StateError, UsageError
from shroff.features.cluster.partitioned import Backend
from shroff.testing.contracts.promises import Contract, promise
from tests.support.patience import PATIENCE_S


class BackendContract(Contract):
    """The promises of `features.cluster.partitioned.Backend`. Bind it with a fixture `backend`."""

    @promise("each result once")
    def test_each_item_has_its_result_once_in_any_order(self, backend: Backend) -> None:
        for count in (1, 2, 30):
            assert sorted(backend.run(doubled, range(count))) == [2 * number for number in range(count)]

    @promise("nothing gives nothing")
    def test_no_item_gives_no_result(self, backend: Backend) -> None:
        assert list(backend.run(doubled, [])) == []

    @promise("another process")
    def test_nothing_is_computed_in_the_asking_process(self, backend: Backend) -> None:
        found = set(backend.run(process_after, [0.05] * 12))

        assert found
        assert os.getpid() not in found

    @promise("values as they are")
    def test_items_and_results_keep_their_values_and_types(self, backend: Backend) -> None:
        given: list[object] = [None, (1, -0.0, "ü"), 2**80, frozenset({b"\0"}), {"a": [1.5, True]}]

        found = {repr(result) for result in backend.run(itself, given)}

        assert found == {repr(item) for item in given}

    @promise("errors keep their type")
    @pytest.mark.parametrize("kind", [StateError, UsageError, ZeroDivisionError])
    def test_an_error_is_raised_where_results_are_taken(self, backend: Backend, kind: type[Exception]) -> None:
        with pytest.raises(kind, match=r"^it is number 3$"):
            list(backend.run(fails_at_3, [(kind, number) for number in range(6)]))

    @promise("goes on after an error")
    def test_an_error_is_the_end_of_its_call_alone(self, backend: Backend) -> None:
        with pytest.raises(StateError):
            list(backend.run(fails_at_3, [(StateError, 3)]))

        assert list(backend.run(doubled, [4])) == [8]


def doubled(number: int) -> int:
    """Runs in a process of the backend."""
    return 2 * number


def itself(value: object) -> object:
    """Gives back what it was given, from a process of the backend."""
    return value


def process_after(seconds: float) -> int:
    """The number of the process, which takes its time so that others get some of the work."""
    time.sleep(seconds)
    return os.getpid()


def fails_at_3(item: tuple[type[Exception], int]) -> int:
    """Fails for the one item."""
    kind, number = item
    if number == 3:
        raise kind(f"it is number {number}")
    return number


def ended(close: Callable[[], None], processes: set[int]) -> bool:
    """Whether these processes of this machine are gone soon after a backend was closed."""
    close()
    until = time.monotonic() + PATIENCE_S
    while any(_is_there(process) for process in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def _is_there(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True
