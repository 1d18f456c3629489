"""Contract suites of what this project alone implements: they hold each of its stores to the same promises.

What an adapter of somebody else's may implement is in `shroff.testing.contracts`.
"""

from __future__ import annotations

import pytest

# So that a broken promise shows both sides of its comparison.
pytest.register_assert_rewrite(
    *(f"{__name__}.{part}" for part in ("cases", "controls", "notices", "people", "people_rows", "schemas", "wire"))
)
