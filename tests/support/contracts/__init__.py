"""Contract suites of what this project alone implements: they hold each of its stores to the same promises.

What an adapter of somebody else's may implement is in `shroff.testing.contracts`.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# So that a broken promise shows both sides of its comparison.
pytest.register_assert_rewrite(*(f"{__name__}.{suite.name}" for suite in iter_modules(__path__)))
