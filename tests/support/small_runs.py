"""Runs of ids with small limits, so that few ids make many of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from shroff.adapters.log.ids import memory, runs


@contextmanager
def small_runs(**limits: Any) -> Iterator[None]:
    """Within this, the limits of runs are these, by their names in the modules."""
    with (
        patch.multiple(memory, **{name: limits[name] for name in limits if hasattr(memory, name)}),
        patch.multiple(runs, **{name: limits[name] for name in limits if hasattr(runs, name)}),
    ):
        yield
