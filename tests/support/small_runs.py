"""Runs of ids with small limits, so that few ids make many of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from shroff.adapters.log.ids import entries, filters, id_index


@contextmanager
def small_runs(**limits: Any) -> Iterator[None]:
    """Within this, the limits of runs are these, by their names in the modules."""
    with ExitStack() as stack:
        for module in (entries, filters, id_index):
            for name in limits.keys() & vars(module).keys():
                stack.enter_context(patch.object(module, name, limits[name]))
        yield
