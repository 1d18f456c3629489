"""What tests of training share: fewer drawings for intervals, so models are trained in a third less."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shroff.models.evaluation import intervals


@pytest.fixture(autouse=True, scope="module")
def _few_drawings() -> Iterator[None]:
    """As few as the largest sets get; tests of models hold intervals themselves to what they say."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "TIMES", intervals.TIMES_MIN)
        yield
