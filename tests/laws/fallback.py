"""The engines without programs: what no kernel can be asked goes in Python, row by row, and then all of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from shroff.features.online import group_state, since_flag


@contextmanager
def without_programs() -> Iterator[None]:
    """Engines made inside ask every condition in Python that could be a program."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(group_state, "scan_plan", lambda *_: None)
        patch.setattr(since_flag, "rule_program", lambda wanted, groups: None)
        yield
