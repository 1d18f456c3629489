"""Contract suites: the promises of each contract as tests, for our adapters and for anybody's.

A suite is a plain class; bind it in a test file of yours by a subclass that makes the adapter.
"""

from __future__ import annotations

import pytest

# So that a broken promise shows both sides of its comparison, as tests of one's own do.
pytest.register_assert_rewrite(
    "shroff.testing.contracts.backend",
    "shroff.testing.contracts.lake",
    "shroff.testing.contracts.log.basics",
    "shroff.testing.contracts.log.beside",
    "shroff.testing.contracts.log.inbox",
    "shroff.testing.contracts.log.large_batches",
    "shroff.testing.contracts.log.lead",
    "shroff.testing.contracts.log.pruning",
    "shroff.testing.contracts.log.stuck",
    "shroff.testing.contracts.log.unique",
    "shroff.testing.contracts.online",
    "shroff.testing.contracts.sender",
    "shroff.testing.contracts.sink",
    "shroff.testing.contracts.source",
    "shroff.testing.contracts.streaming",
)
