"""Contract suites: the promises of each contract as tests, for our adapters and for anybody's.

A suite is a plain class; bind it in a test file of yours by a subclass that makes the adapter.
"""

from __future__ import annotations

from pkgutil import iter_modules

import pytest

# So that a broken promise shows both sides of its comparison, as tests of one's own do.
pytest.register_assert_rewrite(*(f"{__name__}.{suite.name}" for suite in iter_modules(__path__)))
